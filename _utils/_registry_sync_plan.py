"""Say what a sync would move: the manifests of the tags that differ, and the blobs that are lacking here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from _registry_config_values import Endpoint
from _registry_oci_errors import RegistryError, Unsupported
from _registry_oci_manifest import (
    NESTING_LIMIT,
    Descriptor,
    Manifest,
)
from _registry_sync_compare import Comparison, Inventory, Registries, Tag, chosen, image_of


@dataclass(slots=True)
class MissingBlob:
    """A blob that local repositories need and do not have.

    Args:
        blob: digest and size in bytes.
        sources: where upstream has it.
        targets: local repositories that need it.
        origin: a local repository that has it already; empty = it must be copied once.
    """

    blob: Descriptor
    sources: dict[str, tuple[Endpoint, str]]
    targets: list[str]
    origin: str = ""


@dataclass(slots=True)
class Plan:
    """What a sync will do.

    Args:
        comparison: what it starts from.
        moves: tags to move and the manifest each will point to.
        manifests: every manifest read, by digest.
        lacks: blobs to place, by digest.
    """

    comparison: Comparison
    moves: list[tuple[Tag, Manifest]]
    manifests: dict[str, Manifest]
    lacks: dict[str, MissingBlob]

    @property
    def bytes_to_move(self) -> int:
        """Bytes that come from upstream."""
        return sum(lack.blob.size for lack in self.lacks.values() if not lack.origin)

    @property
    def blobs_to_copy(self) -> int:
        """Blobs that come from upstream; the others are mounted."""
        return sum(1 for lack in self.lacks.values() if not lack.origin)


def make_plan(comparison: Comparison, registries: Registries) -> Plan:
    """Say which manifests and blobs the tags that differ need.

    Args:
        comparison: both sides; a tag whose manifests cannot be read becomes ``unreadable`` in it.
        registries: how they are reached.
    """
    reader = _ManifestReader(registries)
    lagging = [tag for tag in comparison.tags if tag.status in ("missing", "stale")]
    moves = reader.read(lagging)
    plan = Plan(comparison, moves, reader.manifests, {})
    _find_lacks(plan, registries)
    _share_out_bytes(plan)
    return plan


def blobs_below(manifest: Manifest, manifests: dict[str, Manifest]) -> list[Descriptor]:
    """Every blob that a manifest and its children need, each once."""
    found = dict.fromkeys(manifest.blobs)
    for child in manifest.children:
        found.update(dict.fromkeys(blobs_below(manifests[child.digest], manifests)))
    return list(found)


def _source_of(tag: Tag) -> tuple[Endpoint, str, str, tuple[str, ...]]:
    """What a tag's manifest is read from and made of."""
    image = image_of(tag)
    reference = tag.reference if image.platforms else tag.upstream
    return image.source, image.repository, reference, image.platforms


class _ManifestReader:
    """Reads the manifests of tags, then their children, wave by wave; each digest once."""

    def __init__(self, registries: Registries) -> None:
        self.manifests: dict[str, Manifest] = {}
        self._registries = registries

    def read(self, tags: Sequence[Tag]) -> list[tuple[Tag, Manifest]]:
        """The root manifest of each tag that can be read whole; the others become unreadable."""
        # Tags of one digest are one manifest.
        unique = list({_source_of(tag): tag for tag in tags}.values())
        outcomes = dict(
            zip(map(_source_of, unique), self._registries.ask(self._read_root, unique), strict=True)
        )
        moves = []
        for tag in tags:
            outcome = outcomes[_source_of(tag)]
            if isinstance(outcome, Manifest):
                tag.upstream = outcome.digest
                moves.append((tag, outcome))
            else:
                tag.fail("unreadable", outcome)
        wave = moves
        for _ in range(NESTING_LIMIT):
            wave = self._read_children(wave)
        for tag, manifest in wave:
            if manifest.children:
                deep = f"{tag.name}: indexes nest deeper than {NESTING_LIMIT}"
                tag.fail("unreadable", Unsupported(deep))
        return [(tag, root) for tag, root in moves if tag.status != "unreadable"]

    def _read_root(self, tag: Tag) -> Manifest | Exception:
        image = image_of(tag)
        try:
            upstream = self._registries.upstream(image.source)
            # By digest, so that a tag that moves meanwhile does not mix two images.
            reference = tag.reference if image.platforms else tag.upstream
            root = chosen(tag, upstream.manifest(image.repository, reference))
        except Exception as failure:  # noqa: BLE001 - whatever it is, the other tags go on
            return failure
        self.manifests[root.digest] = root
        return root

    def _read_children(self, wave: list[tuple[Tag, Manifest]]) -> list[tuple[Tag, Manifest]]:
        wanted = [(tag, child) for tag, manifest in wave for child in manifest.children]
        fresh = list({child.digest: (tag, child) for tag, child in wanted}.values())
        fresh = [pair for pair in fresh if pair[1].digest not in self.manifests]
        failures = dict(
            zip(
                (child.digest for _, child in fresh),
                self._registries.ask(self._read_child, fresh),
                strict=True,
            )
        )
        below = []
        for tag, child in wanted:
            failure = failures.get(child.digest)
            if failure:
                tag.fail("unreadable", failure)
            else:
                below.append((tag, self.manifests[child.digest]))
        return below

    def _read_child(self, pair: tuple[Tag, Descriptor]) -> Exception | None:
        tag, child = pair
        image = image_of(tag)
        try:
            upstream = self._registries.upstream(image.source)
            self.manifests[child.digest] = upstream.manifest(image.repository, child.digest)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the other tags go on
            return failure
        return None


def _find_lacks(plan: Plan, registries: Registries) -> None:
    """Fill in the blobs that the target repositories lack, and what each tag has to move."""
    needed: dict[tuple[str, str], Descriptor] = {}
    for tag, root in plan.moves:
        for blob in blobs_below(root, plan.manifests):
            needed[tag.target, blob.digest] = blob
    there = _blobs_there(list(needed), plan.comparison.holdings, registries)
    for tag, root in plan.moves:
        image = image_of(tag)
        for blob in blobs_below(root, plan.manifests):
            if (tag.target, blob.digest) in there:
                continue
            lack = plan.lacks.get(blob.digest)
            if lack is None:
                lack = plan.lacks[blob.digest] = MissingBlob(blob, {}, [])
            lack.sources.setdefault(tag.target, (image.source, image.repository))
            if tag.target not in lack.targets:
                lack.targets.append(tag.target)
    _find_origins(plan, there, registries)


def _blobs_there(
    needed: Sequence[tuple[str, str]], holdings: Inventory, registries: Registries
) -> set[tuple[str, str]]:
    """Which blobs their target repositories have already; an empty repository is not asked."""
    askable = [(target, digest) for target, digest in needed if target in holdings.tags]

    def has(pair: tuple[str, str]) -> bool:
        try:
            return registries.local.has_blob(*pair)
        except RegistryError:
            # Taken as lacking: the copy then says what is wrong.
            return False

    found = registries.ask_local(has, askable)
    return {pair for pair, there in zip(askable, found, strict=True) if there}


def _find_origins(plan: Plan, there: set[tuple[str, str]], registries: Registries) -> None:
    """Find local repositories from which lacking blobs can be mounted instead of copied.

    One current tag a repository is enough to find the layers that images share.
    """
    known = {digest: target for target, digest in there}
    if any(digest not in known for digest in plan.lacks):
        samples = {tag.target: tag for tag in plan.comparison.tags if tag.status == "current"}

        def blobs_of(tag: Tag) -> Iterable[str]:
            try:
                manifest = registries.local.manifest(tag.target, tag.local)
            except RegistryError:
                return ()
            return [blob.digest for blob in manifest.blobs]

        tags = list(samples.values())
        for tag, digests in zip(tags, registries.ask_local(blobs_of, tags), strict=True):
            for digest in digests:
                known.setdefault(digest, tag.target)
    for digest, lack in plan.lacks.items():
        lack.origin = known.get(digest, "")


def _share_out_bytes(plan: Plan) -> None:
    """Count each blob that must be copied for the first tag that needs it."""
    counted: set[str] = set()
    for tag, root in plan.moves:
        for blob in blobs_below(root, plan.manifests):
            lack = plan.lacks.get(blob.digest)
            if lack and not lack.origin and blob.digest not in counted:
                counted.add(blob.digest)
                tag.size += blob.size
