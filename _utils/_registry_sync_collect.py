"""What may be freed on a registry's disk, and whether its own ``garbage-collect`` agrees; no I/O.

Our mark comes from the disk. What ``garbage-collect`` says in a dry run is compared with it before anything
goes: it has been seen to end well with 466 of 600 manifests unmarked, when others were deleted meanwhile.
https://github.com/distribution/distribution/blob/v2.8.2/registry/storage/garbagecollect.go
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from _registry_oci_manifest import DOCKER_MANIFEST
from _registry_store_disk import BlobFile
from _registry_store_disk_mark import Broken, Kind, Mark, What

# A repository that is there while space is freed. It sorts first: distribution 3 takes the links of a
# repository's blobs away that none before it has named.
LEASE = "0-registry-sync-lease"
# What one manifest of the lease names: such a manifest is far below any limit of a size.
BLOBS_IN_A_LEASE = 5000
_NAMED = 3
_UNCLEAR = (Kind.EMPTY, Kind.WRONG, Kind.UNREADABLE)


@dataclass(slots=True)
class Collected:
    """What came of a collection.

    Args:
        manifests: that some repository serves.
        blobs: freed, or to be freed.
        size: bytes of these.
        leased: blobs that nothing names and that stay, since they are young.
        repositories: empty ones, removed or to be removed.
        read_only_seconds: how long this host could not push.
        refused: why nothing was done; empty where nothing stood against it.
        error: what went wrong; empty where all went well.
    """

    manifests: int = 0
    blobs: int = 0
    size: int = 0
    leased: int = 0
    repositories: list[str] = field(default_factory=list)
    read_only_seconds: float = 0.0
    refused: str = ""
    error: str = ""


@dataclass(frozen=True)
class Sweep:
    """What ``garbage-collect`` has said.

    Args:
        marked: repository and digest of each manifest that it has found.
        swept: digests of the blobs and manifests that go.
    """

    marked: frozenset[tuple[str, str]]
    swept: frozenset[str]


@dataclass(frozen=True)
class View:
    """What lies on the disk.

    Args:
        mark: what is reached.
        blobs: by digest.
        young: of what nothing reaches, what came within the grace.
        unseen: repositories without a directory of layers, which distribution 2 does not take for one.
    """

    mark: Mark
    blobs: Mapping[str, BlobFile]
    young: frozenset[str] = frozenset()
    unseen: frozenset[str] = frozenset()

    @property
    def kept(self) -> set[str]:
        """Every digest that must stay."""
        return self.mark.reached | self.young

    @property
    def loose(self) -> set[str]:
        """Every digest on the disk that may go."""
        return self.blobs.keys() - self.kept

    def size_of(self, digests: Iterable[str]) -> int:
        """Bytes of what is on the disk."""
        return sum(self.blobs[digest].size for digest in digests if digest in self.blobs)


_MARKED = re.compile(r"(\S+): marking manifest (\S+?:[0-9a-f]{64,128})\s*")
_SWEPT = re.compile(r"blob eligible for deletion: (\S+?:[0-9a-f]{64,128})\s*")


def read_output(lines: Iterable[str]) -> Sweep:
    """Read what ``garbage-collect`` prints, dry or not.

    Args:
        lines: of its standard output.
    """
    marked, swept = set(), set()
    for line in lines:
        if match := _MARKED.fullmatch(line):
            marked.add((match[1], match[2]))
        elif match := _SWEPT.fullmatch(line):
            swept.add(match[1])
    return Sweep(frozenset(marked), frozenset(swept))


def damage(mark: Mark) -> str:
    """Why nothing may be freed: a manifest cannot be read, so that it is not known what it needs.

    What is only missing elsewhere (a layer, a child that never came) is no reason: nothing hangs on it.

    Returns:
        A sentence that names the files; empty where all can be read.
    """
    served = mark.manifests
    told = [f"{broken.path} ({broken.kind.value})" for broken in mark.broken if _hides(broken, served)]
    told += mark.unknown.values()
    if not told:
        return ""
    return f"what is needed cannot be told, as these files cannot be read: {some(told)}"


def _hides(broken: Broken, served: Collection[str]) -> bool:
    """Whether something that is needed may be out of sight behind what is broken."""
    if broken.what is What.MANIFEST:
        return broken.kind is not Kind.MISSING or broken.digest in served
    return broken.what in (What.REVISION, What.TAG) and broken.kind in _UNCLEAR


def doubts(view: View, sweep: Sweep, leases: Collection[str] | None = None) -> str:
    """Why ``garbage-collect`` must not run: it would take what is needed, or has not looked everywhere.

    Args:
        view: ours.
        sweep: what a dry run has said.
        leases: digests of the manifests of the lease; None = there is none yet, and pushes go on.

    Returns:
        A sentence; empty where both agree.
    """
    ours = {
        (name, digest)
        for name, found in view.mark.repositories.items()
        if name not in view.unseen
        for digest in found.revisions
    }
    missed = sorted(f"{name}@{digest}" for name, digest in ours - sweep.marked)
    if missed:
        marked = len(ours) - len(missed)
        return f"garbage-collect has marked {marked} of {len(ours)} manifests; not {some(missed)}"
    if leases is None:
        return ""
    if any((LEASE, digest) not in sweep.marked for digest in leases):
        return "garbage-collect has not seen what protects young blobs"
    if needed := sorted(sweep.swept & view.kept):
        return f"garbage-collect would take what is needed: {some(needed)}"
    if unknown := sorted(sweep.swept - view.blobs.keys()):
        return f"somebody writes to the disk meanwhile: {some(unknown)} came since it was read"
    return ""


def lease_manifests(digests: Collection[str], nonce: str) -> Iterator[bytes]:
    """Manifests that name blobs, so that they are kept.

    Args:
        digests: what is to be kept.
        nonce: makes them unlike all others, whose files would be theirs, too.
    """
    ordered: Sequence[str] = sorted(digests)
    for start in range(0, len(ordered), BLOBS_IN_A_LEASE):
        layers = [_descriptor(digest) for digest in ordered[start : start + BLOBS_IN_A_LEASE]]
        body = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": layers[0],
            "layers": layers,
            "lease": nonce,
        }
        yield json.dumps(body).encode()


def _descriptor(digest: str) -> dict[str, str | int]:
    return {"mediaType": "application/octet-stream", "size": 0, "digest": digest}


def some(names: Sequence[str]) -> str:
    """The first of some names, and how many there are besides."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
