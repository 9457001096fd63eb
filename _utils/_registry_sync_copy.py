"""Carry a plan out: blobs first, manifests when theirs are there, tags last.

Each blob crosses the line once and is mounted into the other repositories that need it. A manifest
follows as soon as its own blobs are there, so an interrupted run leaves whole images and no half one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from _registry_oci_errors import Unauthorized
from _registry_oci_manifest import Manifest
from _registry_show_progress import Progress
from _registry_sync_blobs import BlobCopier
from _registry_sync_compare import Registries, Tag
from _registry_sync_jobs import Job, run_jobs
from _registry_sync_plan import MissingBlob, Plan

# On loopback or a fast LAN the registries' own hashes and disks are the limit. Four keep the processors busy
# where a disk is fast; more wait together for one that is slow, and cost next to nothing elsewhere.
WORKERS_NEAR = 8
# Bytes a second that one more worker is worth where the bandwidth has a cap.
BANDWIDTH_A_WORKER = 10_000_000
# Small work that completes an image goes before the next large blob.
SOON = (0, 0)


@dataclass(slots=True)
class TransferStats:
    """What a sync has moved.

    Args:
        copied: blobs that came from upstream.
        mounted: blobs that another local repository lent.
        size: bytes that came from upstream as blobs.
    """

    copied: int = 0
    mounted: int = 0
    size: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def copy(self, size: int) -> None:
        """Count a blob that came from upstream."""
        with self._lock:
            self.copied += 1
            self.size += size

    def mount(self) -> None:
        """Count a blob that was mounted."""
        with self._lock:
            self.mounted += 1


def carry_out(plan: Plan, registries: Registries, progress: Progress, *, journals: str = "") -> TransferStats:
    """Move what the plan says; every tag of the comparison gets its final status.

    Args:
        plan: of ``make_plan``.
        registries: the same that the plan was made with.
        progress: is told what moves and lands.
        journals: directory for what a later run needs to go on with a large blob; empty = none.

    Returns:
        What was moved. Tags are then ``current``, ``copied`` or ``failed``.
    """
    workers = _workers(registries)
    carrier = BlobCopier(
        registries.local,
        far=registries.far,
        workers=workers,
        share=plan.bytes_to_move // workers,
        watch=progress.carrying,
        journals=journals,
    )
    graph = _Graph(plan, registries, carrier, progress)
    progress.start(len(plan.moves), plan.blobs_to_copy, plan.bytes_to_move)
    run_jobs(graph.jobs, workers, registries.run.stopping)
    carrier.close()
    for tag, job in graph.landings:
        if job.error is None:
            tag.status, tag.local = "copied", tag.upstream
            plan.comparison.holdings.tags.setdefault(tag.target, set()).add(tag.landing)
        else:
            tag.fail("failed", job.error)
            progress.landed(tag.name, tag.status, tag.cause, tag.error)
    progress.finish()
    for tag in plan.comparison.tags:
        if tag.status not in ("current", "copied"):
            tag.status = "failed"
    return graph.tally


def _workers(registries: Registries) -> int:
    transfer = registries.run.transfer
    if transfer.bandwidth:
        # One connection fills a narrow line; more only make its shares uneven.
        return min(transfer.parallel, 1 + transfer.bandwidth // BANDWIDTH_A_WORKER)
    return transfer.parallel if registries.far else min(WORKERS_NEAR, transfer.parallel)


class _Graph:
    """The jobs of a plan; building it does nothing yet."""

    def __init__(self, plan: Plan, registries: Registries, carrier: BlobCopier, progress: Progress) -> None:
        self.jobs: list[Job] = []
        self.landings: list[tuple[Tag, Job]] = []
        self.tally = TransferStats()
        self._plan = plan
        self._registries = registries
        self._carrier = carrier
        self._progress = progress
        self._blobs: dict[tuple[str, str], Job] = {}
        self._manifests: dict[tuple[str, str], Job] = {}
        for turn, lack in enumerate(_by_turns(plan.lacks.values())):
            self._place(lack, (1, turn))
        for tag, root in plan.moves:
            self.landings.append((tag, self._land(tag, root)))

    def _add(self, job: Job) -> Job:
        self.jobs.append(job)
        return job

    def _place(self, lack: MissingBlob, turn: tuple[int, int]) -> None:
        """One job for each repository; the first copies, the others find it there to mount."""
        placement = _Placement(lack, self._registries, self._carrier, self.tally)
        first: Job | None = None
        for target in lack.targets:
            copies = first is None and not lack.origin
            job = Job(
                partial(placement.place, target),
                turn if copies else SOON,
                after=[first] if first else [],
            )
            first = first or (job if copies else None)
            self._blobs[target, lack.blob.digest] = self._add(job)

    def _requirements(self, target: str, manifest: Manifest) -> list[Job]:
        blobs = [self._blobs.get((target, blob.digest)) for blob in manifest.blobs]
        children = [self._child(target, child.digest) for child in manifest.children]
        return [job for job in (*blobs, *children) if job is not None]

    def _child(self, target: str, digest: str) -> Job:
        job = self._manifests.get((target, digest))
        if job is None:
            manifest = self._plan.manifests[digest]
            job = Job(
                lambda: self._registries.local.put_manifest(target, digest, manifest),
                SOON,
                needs=self._requirements(target, manifest),
            )
            self._manifests[target, digest] = self._add(job)
        return job

    def _land(self, tag: Tag, root: Manifest) -> Job:
        def put() -> None:
            self._registries.local.put_manifest(tag.target, tag.landing, root)
            self._progress.landed(tag.name, "copied")

        return self._add(Job(put, SOON, needs=self._requirements(tag.target, root)))


def _by_turns(lacks: Iterable[MissingBlob]) -> Iterator[MissingBlob]:
    """Large and small ones by turns: those keep the line busy while these wait for answers."""
    by_size = deque(sorted(lacks, key=lambda lack: -lack.blob.size))
    while by_size:
        yield by_size.popleft()
        if by_size:
            yield by_size.pop()


class _Placement:
    """Where one blob has got to; shared by the jobs of all repositories that need it."""

    def __init__(
        self, lack: MissingBlob, registries: Registries, carrier: BlobCopier, tally: TransferStats
    ) -> None:
        self._lack = lack
        self._registries = registries
        self._carrier = carrier
        self._tally = tally
        self._origin = lack.origin

    def place(self, target: str) -> None:
        """Mount the blob from where it already is, else copy it."""
        if self._origin and self._mounted(target):
            self._tally.mount()
            return
        endpoint, repository = self._lack.sources[target]
        source = self._registries.upstream(endpoint)
        moved = self._carrier.carry(source, repository, target, self._lack.blob)
        self._origin = self._origin or target
        self._tally.copy(moved)

    def _mounted(self, target: str) -> bool:
        local, digest = self._registries.local, self._lack.blob.digest
        try:
            upload = local.mount_blob(target, digest, self._origin)
        except Unauthorized:
            # We may not read where it lies: sent again, it is ours.
            return False
        if upload:
            local.cancel_upload(target, upload)
        return not upload
