"""Say what a sync would move: the manifests of the tags that differ, and the blobs that are missing here."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from _registry_oci_errors import RegistryError, Unsupported
from _registry_oci_manifest import NESTING_LIMIT, Descriptor, Manifest
from _registry_sync_attachments import read_manifests
from _registry_sync_blobs import Source
from _registry_sync_compare import Comparison
from _registry_sync_stores import Stores
from _registry_sync_tag import Tag, chosen

Blob = tuple[str, int]


@dataclass(slots=True)
class MissingBlob:
    """A blob that repositories of the target need and do not have.

    Args:
        blob: digest and size in bytes.
        sources: for each of these repositories, where upstream has it.
        mount_from: a repository of the target that has it already; empty = it must be copied once.
    """

    blob: Descriptor
    sources: dict[str, Source] = field(default_factory=dict)
    mount_from: str = ""


@dataclass(slots=True)
class Plan:
    """What a sync will do.

    Args:
        comparison: what it starts from.
        roots: tags to move and the manifest each will point to.
        manifests: every manifest read, by digest.
        missing: blobs to place, by digest and size, in the order in which they complete images soonest.
        attaching: tags that get something attached to them, be they to move or not.
    """

    comparison: Comparison
    roots: list[tuple[Tag, Manifest]]
    manifests: dict[str, Manifest]
    missing: dict[Blob, MissingBlob]
    attaching: list[Tag] = field(default_factory=list)

    @property
    def content(self) -> list[tuple[Tag, list[Manifest]]]:
        """Of each tag what it is to get: its own manifest where it moves, and what is attached."""
        roots = {id(tag): root for tag, root in self.roots}
        only_attached = [tag for tag in self.attaching if id(tag) not in roots]
        return [(tag, [root, *lacking_manifests(tag)]) for tag, root in self.roots] + [
            (tag, lacking_manifests(tag)) for tag in only_attached
        ]

    @property
    def to_copy(self) -> list[MissingBlob]:
        """Blobs that come from upstream; the others are mounted."""
        return [missing for missing in self.missing.values() if not missing.mount_from]

    @property
    def bytes_to_copy(self) -> int:
        """Bytes that come from upstream."""
        return sum(missing.blob.size for missing in self.to_copy)


def make_plan(
    comparison: Comparison,
    stores: Stores,
    unfinished: Iterable[str] = (),
    leaves_out: Callable[[str], bool] = lambda digest: False,
) -> Plan:
    """Say which manifests and blobs the tags that differ need.

    Args:
        comparison: both sides; a tag whose manifests cannot be read becomes ``unreadable`` in it.
        stores: how they are reached.
        unfinished: repositories of the target that may have blobs and no tag.
        leaves_out: whether upstream has no blob of a digest, since the target has it in some repository.
    """
    reader = _ManifestReader(stores)
    differing = [tag for tag in comparison.tags if tag.status in ("missing", "stale")]
    roots = reader.read([tag for tag in differing if tag.local != tag.upstream])
    attaching = [tag for tag in differing if tag.status != "unreadable" and tag.lacking]
    reader.read_attached(attaching)
    roots = [(tag, root) for tag, root in roots if tag.status != "unreadable"]
    attaching = [tag for tag in attaching if tag.status != "unreadable"]
    plan = Plan(comparison, roots, reader.manifests, {}, attaching)
    _find_missing(plan, stores, set(unfinished))
    _find_left_out(plan, stores, leaves_out)
    _attribute_bytes(plan)
    return plan


def blobs_below(manifest: Manifest, manifests: dict[str, Manifest]) -> list[Descriptor]:
    """Every blob that a manifest and its children need, each once."""
    found = dict.fromkeys(manifest.blobs)
    for child in manifest.children:
        found.update(dict.fromkeys(blobs_below(manifests[child.digest], manifests)))
    return list(found)


def lacking_manifests(tag: Tag) -> list[Manifest]:
    """The manifests of what is to be attached to a tag."""
    return [attachment.manifest for attachment in tag.lacking if attachment.manifest]


def source_of(tag: Tag, stores: Stores) -> Source:
    """Where upstream has what a tag needs."""
    image = tag.wanted_by
    return Source(stores.source(image.source), image.repository)


class _ManifestReader:
    """Reads the manifests of tags, then their children, level by level; each digest once."""

    def __init__(self, stores: Stores) -> None:
        self.manifests: dict[str, Manifest] = {}
        self._stores = stores

    def read(self, tags: Sequence[Tag]) -> list[tuple[Tag, Manifest]]:
        """The root manifest of each tag that can be read whole; the others become unreadable."""
        # Tags of one digest are one manifest.
        unique = list({_root_key(tag): tag for tag in tags}.values())
        outcomes = dict(
            zip(map(_root_key, unique), self._stores.map_sources(self._read_root, unique), strict=True)
        )
        roots = []
        for tag in tags:
            outcome = outcomes[_root_key(tag)]
            if isinstance(outcome, Manifest):
                tag.upstream = outcome.digest
                roots.append((tag, outcome))
            else:
                tag.fail("unreadable", outcome)
        self._read_all_below(roots)
        return [(tag, root) for tag, root in roots if tag.status != "unreadable"]

    def read_attached(self, tags: Sequence[Tag]) -> None:
        """Read what is to be attached to tags; a tag of which that fails becomes unreadable."""
        read_manifests(tags, self._stores, lacking=True)
        attached = [(tag, manifest) for tag in tags for manifest in lacking_manifests(tag)]
        self.manifests.update((manifest.digest, manifest) for _, manifest in attached)
        self._read_all_below(attached)

    def _read_all_below(self, level: list[tuple[Tag, Manifest]]) -> None:
        for _ in range(NESTING_LIMIT):
            level = self._read_children(level)
        for tag, manifest in level:
            if manifest.children:
                tag.fail("unreadable", Unsupported(f"{tag.name}: indexes nest deeper than {NESTING_LIMIT}"))

    def _read_root(self, tag: Tag) -> Manifest | Exception:
        try:
            store, repository = source_of(tag, self._stores)
            # By digest, so that a tag that moves meanwhile does not mix two images.
            root = tag.root or chosen(tag, store.manifest(repository, tag.source))
        except Exception as failure:  # noqa: BLE001 - whatever it is, the other tags go on
            return failure
        self.manifests[root.digest] = root
        return root

    def _read_children(self, level: list[tuple[Tag, Manifest]]) -> list[tuple[Tag, Manifest]]:
        wanted = [(tag, child) for tag, manifest in level for child in manifest.children]
        sources: dict[str, dict[Source, None]] = {}
        for tag, child in wanted:
            if child.digest not in self.manifests:
                sources.setdefault(child.digest, {})[source_of(tag, self._stores)] = None
        unread = list(sources.items())
        failures = dict(zip(sources, self._stores.map_sources(self._read_child, unread), strict=True))
        below = []
        for tag, child in wanted:
            failure = failures.get(child.digest)
            if failure:
                tag.fail("unreadable", failure)
            else:
                below.append((tag, self.manifests[child.digest]))
        return below

    def _read_child(self, child: tuple[str, Iterable[Source]]) -> Exception | None:
        """Read a child; what one source cannot give is asked of the next."""
        digest, sources = child
        first_failure: Exception | None = None
        for store, repository in sources:
            try:
                self.manifests[digest] = store.manifest(repository, digest)
            except Exception as failure:  # noqa: BLE001 - whatever it is, the other tags go on
                first_failure = first_failure or failure
            else:
                return None
        return first_failure


def _root_key(tag: Tag) -> tuple[object, ...]:
    """What a tag's manifest is read from and made of."""
    image = tag.wanted_by
    return image.source, image.repository, tag.source, image.platforms


def _find_missing(plan: Plan, stores: Stores, unfinished: set[str]) -> None:
    """Fill in the blobs that repositories of the target lack, in the order in which they are best copied."""
    needed: dict[tuple[str, str], None] = {}
    for tag, manifests in plan.content:
        for blob in _blobs_for(manifests, plan):
            needed[tag.target, blob.digest] = None
    holding = unfinished | _holding(plan.comparison)
    there = _blobs_there([pair for pair in needed if pair[0] in holding], stores)
    for tag, blob in _in_order_of_images(plan, there):
        key = (blob.digest, blob.size)
        missing = plan.missing.setdefault(key, MissingBlob(blob))
        missing.sources.setdefault(tag.target, source_of(tag, stores))
    _find_origins(plan, there, stores)


def _in_order_of_images(plan: Plan, there: set[tuple[str, str]]) -> Iterator[tuple[Tag, Descriptor]]:
    """The blobs that each tag lacks: the tag that lacks least bytes first, when those before it are done.

    A layer that tags share comes with the first of them, so that after half of the bytes about half of the
    images stand.
    """
    content = plan.content
    lacking = [
        [blob for blob in _blobs_for(manifests, plan) if (tag.target, blob.digest) not in there]
        for tag, manifests in content
    ]
    users: dict[Blob, list[int]] = {}
    for number, blobs in enumerate(lacking):
        for blob in blobs:
            users.setdefault((blob.digest, blob.size), []).append(number)
    left = [sum(blob.size for blob in blobs) for blobs in lacking]
    queue = [(size, number) for number, size in enumerate(left)]
    heapq.heapify(queue)
    while queue:
        size, number = heapq.heappop(queue)
        if size != left[number]:
            continue
        left[number] = -1
        for blob in sorted(lacking[number], key=lambda blob: -blob.size):
            yield content[number][0], blob
            for other in users.pop((blob.digest, blob.size), ()):
                if left[other] >= 0:
                    left[other] -= blob.size
                    heapq.heappush(queue, (left[other], other))


def _blobs_for(manifests: Iterable[Manifest], plan: Plan) -> list[Descriptor]:
    """Every blob that manifests and their children need, each once."""
    return list(dict.fromkeys(blob for one in manifests for blob in blobs_below(one, plan.manifests)))


def _blobs_there(needed: Sequence[tuple[str, str]], stores: Stores) -> set[tuple[str, str]]:
    """Which blobs their repositories have already."""
    found = stores.map_target(lambda pair: _has(stores, *pair), needed)
    return {pair for pair, is_there in zip(needed, found, strict=True) if is_there}


def _holding(comparison: Comparison) -> set[str]:
    """Repositories that may have blobs: with tags, named by the catalog, or not to be listed."""
    inventory = comparison.inventory
    tagged = {name for name, tags in inventory.tags.items() if tags}
    by_name = {tag.target for tag in comparison.tags if tag.local}
    return tagged | by_name | inventory.known | inventory.unread.keys()


def _find_origins(plan: Plan, there: set[tuple[str, str]], stores: Stores) -> None:
    """Find repositories of the target from which missing blobs can be mounted instead of copied.

    One current tag a repository is enough to find the layers that images share.
    """
    known = {digest: target for target, digest in there}
    wanted = {missing.blob.digest for missing in plan.missing.values()} - known.keys()
    if wanted:
        samples = {tag.target: tag for tag in plan.comparison.tags if tag.status == "current"}
        held = stores.map_target(lambda tag: _blobs_of(tag, stores), list(samples.values()))
        found = {
            digest: target
            for target, digests in zip(samples, held, strict=True)
            for digest in digests & wanted
        }
        pairs = [(target, digest) for digest, target in found.items()]
        has = stores.map_target(lambda pair: _has(stores, *pair), pairs)
        known.update(
            {digest: target for (target, digest), is_there in zip(pairs, has, strict=True) if is_there}
        )
    for missing in plan.missing.values():
        missing.mount_from = known.get(missing.blob.digest, "")


def _find_left_out(plan: Plan, stores: Stores, leaves_out: Callable[[str], bool]) -> None:
    """Find of blobs that can only be mounted the repository of the target that has them."""
    inventory = plan.comparison.inventory
    left = [missing for missing in plan.to_copy if leaves_out(missing.blob.digest)]
    for repository in dict.fromkeys([*inventory.tags, *inventory.others]) if left else ():
        pairs = [(repository, missing.blob.digest) for missing in left]
        has = stores.map_target(lambda pair: _has(stores, *pair), pairs)
        for missing, is_there in zip(left, has, strict=True):
            missing.mount_from = repository if is_there else ""
        left = [missing for missing in left if not missing.mount_from]


def _has(stores: Stores, repository: str, digest: str) -> bool:
    try:
        return stores.target.has(repository, digest)
    except RegistryError:
        # Taken as missing: the copy then says what is wrong.
        return False


def _blobs_of(tag: Tag, stores: Stores) -> set[str]:
    """The blobs of a current tag, those of its children included."""
    digests: set[str] = set()
    level = [tag.local]
    for _ in range(NESTING_LIMIT):
        below: list[str] = []
        for digest in level:
            try:
                manifest = stores.target.manifest(tag.target, digest)
            except RegistryError:
                continue
            digests.update(blob.digest for blob in manifest.blobs)
            below += [child.digest for child in manifest.children]
        level = below
    return digests


def _attribute_bytes(plan: Plan) -> None:
    """Count each blob that must be copied for the first tag that needs it."""
    counted: set[Blob] = set()
    for tag, manifests in plan.content:
        for blob in _blobs_for(manifests, plan):
            key = (blob.digest, blob.size)
            missing = plan.missing.get(key)
            if missing and not missing.mount_from and key not in counted:
                counted.add(key)
                tag.size += blob.size
