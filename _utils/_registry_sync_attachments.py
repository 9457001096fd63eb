"""What upstream has attached to images: found while both sides are compared, and what of it is lacking here.

``compare`` gives each tag in ``tag.attached`` an ``Attachment`` for everything that upstream has attached to
the manifest that the tag is to have here, to that manifest's children, and to what is attached to these in
turn. Whoever wants to look into them before a blob moves, as a check of signatures does, calls

    read_manifests(tags, stores)

which fills in ``attachment.manifest`` of each, read from upstream by its digest and hashed (one that was read
already is not read again), and makes a tag whose attachments cannot be read ``unreadable``. Its blobs are
then ``attachment.manifest.blobs``, to be read from ``source_of(tag, stores)``. ``attachment.subject`` is the
digest that it is about: ``tag.upstream`` for the image itself, else a child or another attachment.
``attachment.tag`` ends in ``.sig``, ``.att`` or ``.sbom`` for what cosign 2 attached, and is empty for a
referrer, whose kind is ``attachment.manifest.artifact_type``. A referrer's ``subject`` was read and is
right; of what stands under a tag nothing was read yet.
"""

from __future__ import annotations

import contextlib
import fnmatch
import logging
from collections.abc import Iterable, Sequence
from functools import partial

from _registry_config_values import Attachments
from _registry_oci_errors import NotFound, RegistryError, Unsupported
from _registry_oci_manifest import DOCKER_MANIFEST, NESTING_LIMIT, OCI_MANIFEST, Manifest
from _registry_oci_referrers import Attachment, is_attachment_tag, stems_of
from _registry_sync_attachments_look import Here, Place, Subject, Upstream, covers
from _registry_sync_blobs import Source
from _registry_sync_inventory import Inventory
from _registry_sync_memory import Memory
from _registry_sync_stores import Stores
from _registry_sync_tag import Tag, chosen

log = logging.getLogger(__name__)

ALL = Attachments()
COMPARED = ("current", "missing", "stale")


def find_attachments(
    tags: Iterable[Tag], stores: Stores, memory: Memory, inventory: Inventory, rule: Attachments = ALL
) -> None:
    """Find what upstream has attached to tags, and what of it is here.

    Args:
        tags: with their digests; one that is ``current`` and lacks something becomes ``stale``, one of which
            it cannot be told becomes ``unreadable``.
        stores: how both sides are reached.
        memory: what earlier runs have read.
        inventory: of the target.
        rule: of the pillar.
    """
    compared = [tag for tag in tags if tag.status in COMPARED and tag.upstream]
    if rule.travel and compared:
        _Finder(stores, memory, inventory, rule).find(compared)


def place_of(tag: Tag) -> Place:
    """Where a tag is from, and where it goes."""
    image = tag.wanted_by
    return Place(image.source, image.repository, tag.target)


class _Finder:
    """Looks from manifests to what is attached to them, and on from there."""

    def __init__(self, stores: Stores, memory: Memory, inventory: Inventory, rule: Attachments) -> None:
        self._stores = stores
        self._memory = memory
        self._inventory = inventory
        self._rule = rule
        self._here = Here(stores, memory, inventory)
        self._upstream = Upstream(stores, memory, self._here.may_have)
        self._found: dict[Subject, list[Attachment]] = {}

    def find(self, tags: Sequence[Tag]) -> None:
        read_below(self._may_be_below(tags), self._stores, self._memory)
        tags = [tag for tag in tags if tag.status in COMPARED]
        local = next((tag for tag in tags if tag.local), None)
        anchor = (local.target, local.local) if local else ("", "")
        level = {subject for tag in tags for subject in self._subjects(tag)}
        for _ in range(NESTING_LIMIT):
            fresh = [(subject, self._upstream.names(subject)) for subject in level - self._found.keys()]
            found: dict[Subject, list[Attachment]] = {subject: [] for subject, _ in fresh}
            self._found.update(found)
            asked = self._here.resolve_many([one for one in fresh if one[1]], found)
            more, _ = self._stores.run_both(
                partial(self._upstream.attached, asked), partial(self._here.look, asked, anchor)
            )
            self._compare(more)
            for subject, attachments in more.items():
                found[subject] += attachments
            if not any(found.values()):
                break
            level = {
                Subject(subject.place, one.descriptor.digest)
                for subject, attachments in found.items()
                for one in attachments
                if not one.skipped
            }
        for tag in tags:
            self._tell(tag)

    def _subjects(self, tag: Tag) -> list[Subject]:
        place = place_of(tag)
        return [Subject(place, digest) for digest in (tag.upstream, *tag.below)]

    def _tell(self, tag: Tag) -> None:
        """Give a tag what was found, and the status that it has by that."""
        subjects = self._subjects(tag)
        for subject in subjects:
            if failure := self._upstream.failures.get(subject):
                tag.fail("unreadable", failure)
                return
            for attachment in self._found[subject]:
                tag.attached.append(attachment)
                below = Subject(subject.place, attachment.descriptor.digest)
                if below in self._found and below not in subjects:
                    subjects.append(below)
        if tag.status == "current" and any(attachment.lacking for attachment in tag.attached):
            tag.status = "stale"

    def _compare(self, found: dict[Subject, list[Attachment]]) -> None:
        """Say of each whether it is here, or is to stay behind."""
        lacking = []
        for subject, attachments in found.items():
            for attachment in attachments:
                attachment.is_here = self._is_here(subject.place, attachment)
                if attachment.lacking:
                    lacking.append((subject.place, attachment))
        if self._rule.exclude or self._rule.largest:
            self._stores.map_sources(self._judge, lacking)

    def _is_here(self, place: Place, attachment: Attachment) -> bool:
        if not attachment.tag:
            return self._here.has(place.target, attachment)
        here = self._here.digest(place.target, attachment.tag)
        return covers(self._stores, self._memory, place, here, attachment.descriptor.digest)

    def _judge(self, item: tuple[Place, Attachment]) -> None:
        """Skip what the pillar leaves out; what cannot be read is left to whoever is to bring it."""
        place, attachment = item
        known = self._memory.get("kinds", attachment.descriptor.digest)
        if known is None:
            store = self._stores.source(place.source)
            if _read((Source(store, place.repository), attachment)) or attachment.manifest is None:
                return
            known = _kinds(attachment.manifest)
            self._memory.put(known, "kinds", attachment.descriptor.digest)
        size, *kinds = known.split("\n")
        excluded = any(fnmatch.fnmatchcase(kind, one) for kind in kinds for one in self._rule.exclude)
        attachment.skipped = excluded or 0 < self._rule.largest < int(size)

    def _may_be_below(self, tags: Sequence[Tag]) -> list[Tag]:
        """Tags below whose manifests something may be attached to others, as far as names can tell."""
        roots: dict[Place, set[str]] = {}
        for tag in tags:
            roots.setdefault(place_of(tag), set()).update((tag.upstream, tag.local))
        unclear = {place for place, digests in roots.items() if self._is_unclear(place, digests)}
        return [tag for tag in tags if place_of(tag) in unclear]

    def _is_unclear(self, place: Place, digests: set[str]) -> bool:
        there = self._stores.listings.few(place.source, place.repository)
        if there is None or self._upstream.has_api(Subject(place, next(filter(None, digests)))):
            return True
        stems = stems_of(digests)
        names = (*there, *self._inventory.tags.get(place.target, ()))
        return any(is_attachment_tag(name) and name.partition(".")[0] not in stems for name in names)


def read_below(tags: Sequence[Tag], stores: Stores, memory: Memory) -> None:
    """Find out which manifests are below those of tags: the children of indexes.

    Args:
        tags: whose ``below`` is filled in; one that cannot be read becomes ``unreadable``.
        stores: how both sides are reached; what is here is read here.
        memory: what earlier runs have read.
    """
    groups: dict[tuple[Place, str], list[Tag]] = {}
    for tag in tags:
        groups.setdefault((place_of(tag), tag.upstream), []).append(tag)

    def read(group: Sequence[Tag]) -> None:
        try:
            below = digests_below(group[0], stores, memory)
        except RegistryError as failure:
            for tag in group:
                tag.fail("unreadable", failure)
            return
        for tag in group:
            tag.below = below
            tag.root = tag.root or group[0].root

    stores.map_sources(read, list(groups.values()))


def digests_below(tag: Tag, stores: Stores, memory: Memory) -> tuple[str, ...]:
    """The manifests below that of a tag: the children of an index, and theirs.

    Raises:
        RegistryError: they cannot be read.
    """
    if tag.media_type in (DOCKER_MANIFEST, OCI_MANIFEST):
        return ()
    known = memory.get("below", tag.upstream)
    if known is not None:
        return tuple(known.split())
    (store, repository), root = _root(tag, stores)
    found: dict[str, None] = {}
    level = [root]
    for _ in range(NESTING_LIMIT):
        children = [child for manifest in level for child in manifest.children if child.digest not in found]
        found.update((child.digest, None) for child in children)
        level = [store.manifest(repository, child.digest) for child in children if child.is_index]
    memory.put(" ".join(found), "below", tag.upstream)
    return tuple(found)


def _root(tag: Tag, stores: Stores) -> tuple[Source, Manifest]:
    """The manifest that a tag is to have, and where it was read: here if it is here, as pulls may count."""
    if tag.local == tag.upstream:
        # Of an inventory nothing can be read.
        with contextlib.suppress(NotFound):
            return Source(stores.target, tag.target), stores.target.manifest(tag.target, tag.upstream)
    image = tag.wanted_by
    there = Source(stores.source(image.source), image.repository)
    tag.root = tag.root or chosen(tag, there.store.manifest(image.repository, tag.source))
    return there, tag.root


def _kinds(manifest: Manifest) -> str:
    """Bytes of its blobs, its artifact type, and what its layers are: one a line."""
    size = sum(blob.size for blob in manifest.blobs)
    return "\n".join([str(size), manifest.artifact_type, *(blob.media_type for blob in manifest.blobs[1:])])


def read_manifests(tags: Iterable[Tag], stores: Stores, *, lacking: bool = False) -> None:
    """Read the manifests of what is attached to tags; a tag of which one cannot be read is ``unreadable``.

    What is gone by now, or is of a kind that no registry here takes, is ``skipped``.

    Args:
        tags: of ``compare``.
        stores: that ``compare`` was called with.
        lacking: read only what is not here.
    """
    users: dict[int, list[Tag]] = {}
    unread: dict[int, tuple[Source, Attachment]] = {}
    for tag in tags:
        for attachment in tag.attached:
            if attachment.manifest is None and not attachment.skipped and (attachment.lacking or not lacking):
                users.setdefault(id(attachment), []).append(tag)
                image = tag.wanted_by
                source = Source(stores.source(image.source), image.repository)
                unread.setdefault(id(attachment), (source, attachment))
    failures = stores.map_sources(_read, list(unread.values()))
    for key, failure in zip(unread, failures, strict=True):
        if isinstance(failure, (NotFound, Unsupported)):
            log.warning("%s; it does not travel", failure)
            unread[key][1].skipped = True
        elif failure:
            for tag in users[key]:
                tag.fail("unreadable", failure)


def _read(item: tuple[Source, Attachment]) -> RegistryError | None:
    (store, repository), attachment = item
    try:
        attachment.manifest = store.manifest(repository, attachment.descriptor.digest)
    except RegistryError as failure:
        return failure
    return None
