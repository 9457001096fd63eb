"""Ask both sides what is attached to manifests: by name where tags tell it, by the API where there is one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from _registry_oci_errors import NotFound, RegistryError, Retryable, Stopped, Unauthorized, Unsupported
from _registry_oci_manifest import Descriptor, Manifest
from _registry_oci_referrers import (
    Attachment,
    cosign_tags,
    fallback_tag,
    layers_of,
    listed_referrers,
    refers_to,
    tags_of,
)
from _registry_store_protocol import Store
from _registry_sync_inventory import Inventory
from _registry_sync_memory import Memory
from _registry_sync_stores import Stores

log = logging.getLogger(__name__)

# In the memory, of an index under a fallback tag that is no list of referrers.
NO_LIST = "-"
# Instead of a tag's name: the registry's own list of referrers is to be asked for.
API = ""


class Place(NamedTuple):
    """A repository of upstream and the one that it fills here."""

    source: Hashable
    repository: str
    target: str


class Subject(NamedTuple):
    """A manifest to which something may be attached."""

    place: Place
    digest: str


class Upstream:
    """What upstream has attached to manifests.

    Args:
        stores: how it is reached.
        memory: what earlier runs have read.
        may_be_here: whether the target may have a tag; what it has not is read at once: it will be needed.
    """

    def __init__(self, stores: Stores, memory: Memory, may_be_here: Callable[[str, str], bool]) -> None:
        self.failures: dict[Subject, Exception] = {}
        self._stores = stores
        self._memory = memory
        self._may_be_here = may_be_here
        self._read: dict[str, Manifest] = {}
        self._warned = False

    def names(self, subject: Subject) -> list[str]:
        """What is to be asked for: tags, and the API, which is the empty name.

        Where the repository does not list its tags, these are all that may be.
        """
        place, digest = subject
        there = self._stores.listings.few(place.source, place.repository)
        last = API if self.has_api(subject) else fallback_tag(digest)
        if there is None:
            return [*cosign_tags(digest), last]
        return [*tags_of(digest, there), *([last] if last == API or last in there else [])]

    def has_api(self, subject: Subject) -> bool:
        """Whether the registry lists referrers itself."""
        place = subject.place
        try:
            return self._stores.source(place.source).lists_referrers(place.repository, subject.digest)
        except Stopped:
            raise
        except RegistryError:
            return False

    def attached(self, subjects: Iterable[tuple[Subject, list[str]]]) -> dict[Subject, list[Attachment]]:
        """What is attached to each; nothing where that cannot be told, which then is in ``failures``.

        Args:
            subjects: each with what is to be asked for.
        """
        items = [(subject, name) for subject, names in subjects for name in names]
        found: dict[Subject, list[Attachment]] = {}
        unproven: list[tuple[Subject, Descriptor]] = []
        for (subject, name), answer in zip(items, self._stores.map_sources(self._ask, items), strict=True):
            if name not in (API, fallback_tag(subject.digest)):
                found.setdefault(subject, []).extend(
                    Attachment(subject.digest, one, name, self._read.get(one.digest)) for one in answer
                )
            else:
                unproven += [(subject, descriptor) for descriptor in answer]
        proven = self._stores.map_sources(self._prove, unproven)
        for (subject, _), attachment in zip(unproven, proven, strict=True):
            if attachment:
                found.setdefault(subject, []).append(attachment)
        return found

    def _ask(self, item: tuple[Subject, str]) -> list[Descriptor]:
        """What one name, or the API, gives for a subject."""
        subject, name = item
        place = subject.place
        try:
            store = self._stores.source(place.source)
            if name == API:
                return store.referrers(place.repository, subject.digest)
            descriptor = self._resolve(store, place, name)
            if name == fallback_tag(subject.digest):
                return self._listed(store, subject, descriptor)
            return [descriptor]
        except Stopped:
            raise
        except (NotFound, Unauthorized):
            return []
        except Unsupported as failure:
            log.warning("%s; it does not travel", failure)
            return []
        except Exception as failure:  # noqa: BLE001 - whatever it is, the other tags go on
            self.failures[subject] = failure
            return []

    def _resolve(self, store: Store, place: Place, name: str) -> Descriptor:
        if self._may_be_here(place.target, name):
            return store.resolve(place.repository, name)
        manifest = store.manifest(place.repository, name)
        self._read[manifest.digest] = manifest
        return Descriptor(manifest.digest, manifest.size, manifest.media_type)

    def _listed(self, store: Store, subject: Subject, descriptor: Descriptor) -> list[Descriptor]:
        manifest = self._read.get(descriptor.digest)
        there = read_listed(
            store, subject.place.repository, subject.digest, descriptor.digest, self._memory, manifest
        )
        if there is None and not self._warned:
            self._warned = True
            name = f"{subject.place.repository}:{fallback_tag(subject.digest)}"
            log.warning("%s has no list of referrers under %s; what is there is ignored", store, name)
        return there or []

    def _prove(self, item: tuple[Subject, Descriptor]) -> Attachment | None:
        """What a list names, if its manifest says so itself."""
        subject, descriptor = item
        attachment = Attachment(subject.digest, descriptor)
        known = self._memory.get("subject", descriptor.digest)
        if known is not None:
            return attachment if known == subject.digest else None
        place = subject.place
        try:
            manifest = self._stores.source(place.source).manifest(place.repository, descriptor.digest)
        except (Stopped, NotFound) as failure:
            if isinstance(failure, Stopped):
                raise
            return None
        except RegistryError as failure:
            if isinstance(failure, (Retryable, Unauthorized)):
                self.failures[subject] = failure
            else:
                log.warning("%s; it does not travel", failure)
                attachment.skipped = True
            return attachment
        about = manifest.subject.digest if manifest.subject else ""
        self._memory.put(about, "subject", descriptor.digest)
        attachment.manifest = manifest
        return attachment if refers_to(manifest, subject.digest) else None


class Here:
    """What the target has of what upstream has attached.

    Args:
        stores: how it is reached.
        memory: what earlier runs have read.
        inventory: of the target.
    """

    def __init__(self, stores: Stores, memory: Memory, inventory: Inventory) -> None:
        self._stores = stores
        self._memory = memory
        self._inventory = inventory
        self._tags: dict[tuple[str, str], str] = {}
        self._referrers: dict[tuple[str, str], set[str]] = {}

    def look(self, subjects: Sequence[tuple[Subject, list[str]]], anchor: tuple[str, str]) -> None:
        """Read what is here under the names that upstream has.

        Args:
            subjects: each with those names.
            anchor: repository and digest of a manifest that is here, by which the API is tried.
        """
        if not anchor[1]:
            return
        listed = any(_is_listed(subject, names) for subject, names in subjects)
        api = listed and self._stores.target.lists_referrers(*anchor)
        items: dict[tuple[str, str, str], None] = {}
        for subject, names in subjects:
            target, own = subject.place.target, fallback_tag(subject.digest)
            wanted = {name for name in names if name not in (API, own) and self.may_have(target, name)}
            if _is_listed(subject, names) and (api or self.may_have(target, own)):
                wanted.add(API if api else own)
            items.update(dict.fromkeys((target, subject.digest, name) for name in wanted))
        self._stores.map_target(self._ask, list(items))

    def resolve_many(
        self, asked: Sequence[tuple[Subject, list[str]]], found: dict[Subject, list[Attachment]]
    ) -> list[tuple[Subject, list[str]]]:
        """Settle by a first look at both sides what is the same on both.

        Args:
            asked: what upstream has names of.
            found: is filled with what is settled.

        Returns:
            What is still to be asked for.
        """
        items = [
            (subject, name)
            for subject, names in asked
            for name in names
            if name != API and self.may_have(subject.place.target, name)
        ]
        mine, theirs = self._stores.run_both(
            partial(self._stores.resolve_target, [(one.place.target, name) for one, name in items]),
            partial(
                self._stores.resolve_sources,
                [(one.place.source, one.place.repository, name) for one, name in items],
            ),
        )
        settled = set()
        for item, here, there in zip(items, mine, theirs, strict=True):
            same = self._same(*item, here.digest, there.digest) if here and there else []
            if same:
                settled.add(item)
                found[item[0]] += same
        left = [
            (subject, [name for name in names if (subject, name) not in settled]) for subject, names in asked
        ]
        return [(subject, names) for subject, names in left if names]

    def _same(self, subject: Subject, name: str, here: str, there: str) -> list[Attachment]:
        """What is attached, where both sides are known to have all of it by these digests; else nothing."""
        memory = self._memory
        if name != fallback_tag(subject.digest):
            same = here == there or memory.get("covers", here, there) == "yes"
            return [Attachment(subject.digest, Descriptor(there, 0), name, is_here=True)] if same else []
        listed_here, listed_there = ((memory.get("listed", one) or "").split() for one in (here, there))
        proven = all(memory.get("subject", one) == subject.digest for one in listed_there)
        if not proven or not set(listed_there) <= set(listed_here):
            return []
        return [Attachment(subject.digest, Descriptor(one, 0), is_here=True) for one in listed_there]

    def has(self, target: str, attachment: Attachment) -> bool:
        """Whether a referrer is listed here."""
        return attachment.descriptor.digest in self._referrers.get((target, attachment.subject), ())

    def digest(self, target: str, tag: str) -> str:
        """What stands under a tag here; empty = nothing."""
        return self._tags.get((target, tag), "")

    def may_have(self, target: str, name: str) -> bool:
        """Whether a tag is here as far as the list of tags tells."""
        return target in self._inventory.unread or name in self._inventory.tags.get(target, ())

    def _ask(self, item: tuple[str, str, str]) -> None:
        target, subject, name = item
        store = self._stores.target
        try:
            if name == API:
                listed = [one.digest for one in store.referrers(target, subject)]
            elif name != fallback_tag(subject):
                self._tags[target, name] = store.resolve(target, name).digest
                return
            else:
                digest = store.resolve(target, name).digest
                there = read_listed(store, target, subject, digest, self._memory)
                listed = [one.digest for one in there or ()]
        except Stopped:
            raise
        except RegistryError:
            # Taken as lacking: the copy then says what is wrong.
            return
        self._referrers[target, subject] = set(listed)


def _is_listed(subject: Subject, names: Sequence[str]) -> bool:
    """Whether upstream may have referrers of a manifest."""
    return API in names or fallback_tag(subject.digest) in names


def read_listed(
    store: Store, repository: str, subject: str, digest: str, memory: Memory, manifest: Manifest | None = None
) -> list[Descriptor] | None:
    """What an index under a fallback tag lists; None where it is no such list.

    Args:
        store: that has it.
        repository: in which.
        subject: the digest that the tag is made of.
        digest: of the index.
        memory: what earlier runs have read.
        manifest: the index, where it was read already.

    Raises:
        RegistryError: it cannot be read.
    """
    known = memory.get("listed", digest)
    if digest == subject or known == NO_LIST:
        return None
    if known is not None:
        return [Descriptor(one, 0) for one in known.split()]
    manifest = manifest or store.manifest(repository, digest)
    listed = listed_referrers(manifest, subject)
    memory.put(NO_LIST if listed is None else " ".join(one.digest for one in listed), "listed", digest)
    return listed


def covers(stores: Stores, memory: Memory, place: Place, here: str, there: str) -> bool:
    """Whether what is here under a tag has all that upstream has there: a site may have added its own."""
    if here == there:
        return True
    if not here:
        return False
    known = memory.get("covers", here, there)
    if known is None:
        try:
            mine = stores.target.manifest(place.target, here)
            theirs = stores.source(place.source).manifest(place.repository, there)
        except RegistryError:
            return False
        known = "yes" if layers_of(theirs) <= layers_of(mine) else "no"
        memory.put(known, "covers", here, there)
    return known == "yes"
