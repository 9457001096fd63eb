"""Keep the simple signatures of the images that a run mirrors: those of an image before its tag."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from _registry_oci_errors import RegistryError
from _registry_oci_manifest import Manifest
from _registry_sync_attachments import digests_below
from _registry_sync_jobs import in_parallel
from _registry_sync_lookaside import Lookaside
from _registry_sync_memory import Memory
from _registry_sync_plan import Plan
from _registry_sync_signature_notes import SignatureNotes
from _registry_sync_stores import LOOKUPS_FAR, LOOKUPS_NEAR, Stores
from _registry_sync_tag import Tag


class Publisher:
    """Fetches and keeps the signatures of a plan's images.

    Engines ask for the signature of the child that they pull, not of its index, so each of both is asked for.
    A tag whose signatures cannot be had becomes what it would be without, and says so in its ``error``. After
    ``prepare``, ``digests`` has by the ``id`` of each tag the manifests whose signatures were asked for.

    Args:
        lookaside: the stores.
        plan: what is going to be moved, and what is current.
        stores: where indexes of current tags are read.
        memory: what earlier runs have read of these.
    """

    def __init__(self, lookaside: Lookaside, plan: Plan, stores: Stores, memory: Memory) -> None:
        self._lookaside = lookaside
        self._plan = plan
        self._stores = stores
        self._memory = memory
        self._roots = {id(tag): root for tag, root in plan.roots}
        self.digests: dict[int, list[str]] = {}

    def prepare(self, notes: SignatureNotes | None = None) -> None:
        """Ask the stores for all signatures, and keep what is new of the tags that are current.

        Args:
            notes: are told of each file that is, or is going to be, written.

        Raises:
            Stopped: the run was asked to stop.
        """
        tags = [tag for tag in self._plan.comparison.tags if self._concerns(tag)]
        digests = self._stores.map_target(self._digests, tags)
        self.digests = {id(tag): below for tag, below in zip(tags, digests, strict=True)}
        unique = {
            (tag.wanted_by.source, tag.wanted_by.repository, tag.target, digest): (tag, digest)
            for tag, below in zip(tags, digests, strict=True)
            for digest in below
        }
        self._find(list(unique.values()))
        if notes:
            for tag, digest in unique.values():
                new = self._lookaside.find(tag.wanted_by, digest).new
                notes.writes(tag.target, digest, new)
        for tag, below in zip(tags, digests, strict=True):
            if _is_here(tag):
                self._publish(tag, below)

    def _find(self, wanted: Sequence[tuple[Tag, str]]) -> None:
        """Look all up; the first alone, since it tells how far a store is, which may be another place."""
        for some in (wanted[:1], wanted[1:]):
            workers = LOOKUPS_FAR if self._stores.far or self._lookaside.far else LOOKUPS_NEAR
            in_parallel(
                lambda pair: self._lookaside.find(pair[0].wanted_by, pair[1]),
                some,
                workers,
                self._stores.run.stopping,
            )

    def publish(self, tag: Tag) -> None:
        """Keep the signatures of a tag that is about to become another image."""
        if self._lookaside.covers(tag.wanted_by):
            self._publish(tag, self._digests(tag))

    def _concerns(self, tag: Tag) -> bool:
        return (_is_here(tag) or id(tag) in self._roots) and self._lookaside.covers(tag.wanted_by)

    def _publish(self, tag: Tag, digests: Iterable[str]) -> None:
        failures = [self._lookaside.publish(tag.wanted_by, digest) for digest in digests]
        for failure in filter(None, failures):
            tag.error = f"its signatures are not all here: {failure}"

    def _digests(self, tag: Tag) -> list[str]:
        """What upstream may have signed: the image, or an index and its children."""
        root = self._roots.get(id(tag))
        children = self._below(root) if root else self._below_current(tag)
        # An index of chosen platforms is our own, and nobody has signed it.
        return [*([tag.upstream] if tag.upstream == tag.source else []), *children]

    def _below(self, manifest: Manifest) -> list[str]:
        children = [child.digest for child in manifest.children]
        return [
            *children,
            *(digest for child in children for digest in self._below(self._plan.manifests[child])),
        ]

    def _below_current(self, tag: Tag) -> list[str]:
        try:
            return list(digests_below(tag, self._stores, self._memory))
        except RegistryError as failure:
            # The next run asks again.
            tag.error = f"its signatures are not all here: {failure}"
            return []


def _is_here(tag: Tag) -> bool:
    """Whether the image itself is here, be it without all that upstream has attached to it."""
    return tag.status in ("current", "stale") and tag.local == tag.upstream
