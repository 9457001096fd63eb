"""Carry a plan out: blobs first, manifests when theirs are there, tags last.

Each blob crosses the line once and is mounted into the other repositories that need it. A manifest
follows as soon as its own blobs are there, so an interrupted run leaves whole images and no half one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from _registry_oci_errors import BlobUnknown
from _registry_oci_manifest import Manifest
from _registry_show_progress import Progress
from _registry_store_protocol import Written
from _registry_sync_attachments_copy import Attacher
from _registry_sync_blobs import BlobCopier, Copied, Source
from _registry_sync_jobs import Job, run_jobs
from _registry_sync_plan import MissingBlob, Plan, source_of
from _registry_sync_spool import Spool
from _registry_sync_stores import Stores
from _registry_sync_tag import Tag

MIB = 1024 * 1024
# On loopback or a fast LAN the registries' own hashes and disks are the limit. Four keep the processors busy
# where a disk is fast; one more helps where it is slow. The fewer are under way, the earlier images stand.
WORKERS_NEAR = 5
# Bytes a second that one more worker is worth where the bandwidth has a cap.
BANDWIDTH_A_WORKER = 10_000_000
# A blob is kept on this host's disk while it is under way where its loss would hurt: on a far line soon, on a
# near one where it takes many seconds.
SPOOLED_SIZE_FAR = 64 * MIB
SPOOLED_SIZE = 512 * MIB
# On a far line a blob comes over several connections if it is larger than this part of each worker's share of
# the bytes: a large layer that many images need would else keep them all waiting until most bytes have come.
SPLIT_SHARE = 4
# Small work that completes an image goes before the next large blob.
FIRST = (0, 0)


@dataclass(slots=True)
class TransferStats:
    """What a sync has moved.

    Args:
        copied: blobs that came from upstream.
        mounted: blobs that the target had already in another repository.
        size: bytes that came from upstream as blobs.
        attached: repository and tag → digest of what was put under a tag of its own to attach something.
        lists: digest → of each list of referrers that was put, the digests in it, as the memory has them.
    """

    copied: int = 0
    mounted: int = 0
    size: int = 0
    attached: Mapping[tuple[str, str], str] = field(default_factory=dict)
    lists: Mapping[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, copied: Copied) -> None:
        """Count a blob."""
        with self._lock:
            self.size += copied.size
            if copied.written is Written.MOUNTED or copied.read_back:
                self.mounted += 1
            else:
                self.copied += 1


def execute(
    plan: Plan,
    stores: Stores,
    progress: Progress,
    *,
    directory: str = "",
    before_overwriting: Callable[[Tag], None] = lambda tag: None,
    put_here: Callable[[str, str], str] = lambda repository, tag: "",
) -> TransferStats:
    """Move what the plan says; every tag of the comparison gets its final status.

    Args:
        plan: of ``make_plan``.
        stores: the same that the plan was made with.
        progress: is told what moves and what is done.
        directory: for what a later run needs to go on with a large blob; empty = none.
        before_overwriting: is called with each tag before it becomes another image; what it raises
            stops that.
        put_here: what an earlier run has put under a tag of a repository; empty = nothing that is known.

    Returns:
        What was moved. Tags are then ``current``, ``copied`` or ``failed``.
    """
    workers = _workers(stores)
    stores.read_ahead(workers, plan.bytes_to_copy // workers // SPLIT_SHARE, directory)
    transfer = stores.run.transfer
    copier = BlobCopier(
        stores.target,
        run=stores.run,
        health_of=stores.health_of,
        tracker=progress.carrying,
        spool=Spool(directory, transfer.spool),
        spool_from=SPOOLED_SIZE_FAR if stores.far else SPOOLED_SIZE,
    )
    graph = _Graph(plan, stores, copier, progress, before_overwriting, put_here)
    progress.start(len(graph.tags), len(plan.to_copy), plan.bytes_to_copy)
    try:
        run_jobs(graph.jobs, workers, stores.run.stopping)
    except BaseException:
        stores.run.stop()
        raise
    finally:
        stores.close()
        for tag, job in graph.tags:
            _set_outcome(tag, job, plan, progress)
        progress.finish()
    for tag in plan.comparison.tags:
        if tag.status not in ("current", "copied", "held"):
            tag.status = "failed"
    return graph.stats


def _set_outcome(tag: Tag, job: Job, plan: Plan, progress: Progress) -> None:
    if job.error is None and job.ended:
        tag.status = "copied"
        for attachment in tag.lacking:
            attachment.is_here = True
        plan.comparison.inventory.tags.setdefault(tag.target, set()).add(tag.target_reference)
    elif job.error:
        tag.fail("failed", job.error)
        progress.tag_done(tag.name, tag.status, tag.cause, tag.error)


def _workers(stores: Stores) -> int:
    transfer = stores.run.transfer
    if transfer.bandwidth:
        # One connection fills a narrow line; more only make its shares uneven.
        return min(transfer.parallel, 1 + transfer.bandwidth // BANDWIDTH_A_WORKER)
    return transfer.parallel if stores.far else min(WORKERS_NEAR, transfer.parallel)


class _Graph:
    """The jobs of a plan; building it does nothing yet."""

    def __init__(
        self,
        plan: Plan,
        stores: Stores,
        copier: BlobCopier,
        progress: Progress,
        before_overwriting: Callable[[Tag], None],
        put_here: Callable[[str, str], str],
    ) -> None:
        self._before_overwriting = before_overwriting
        self.jobs: list[Job] = []
        self.tags: list[tuple[Tag, Job]] = []
        self.stats = TransferStats()
        self._plan = plan
        self._stores = stores
        self._copier = copier
        self._progress = progress
        self._blobs: dict[tuple[str, str, int], Job] = {}
        self._manifests: dict[tuple[str, str], Job] = {}
        self._placements: dict[tuple[str, int], _Placement] = {}
        for turn, missing in enumerate(plan.missing.values()):
            self._add_blob(missing, (1, turn))
        self._attacher = Attacher(stores.target, self._put, self._requirements, put_here)
        self.stats.attached, self.stats.lists = self._attacher.written, self._attacher.lists
        self._add_attached()
        for tag, root in plan.roots:
            self.tags.append((tag, self._add_tag(tag, root)))

    def _add(self, job: Job) -> Job:
        self.jobs.append(job)
        return job

    def _add_blob(self, missing: MissingBlob, turn: tuple[int, int]) -> None:
        """One job for each repository; the first copies, the others find it there to mount."""
        placement = self._placement(missing)
        self._placements[missing.blob.digest, missing.blob.size] = placement
        first: Job | None = None
        for target in missing.sources:
            if first is None and not missing.mount_from:
                job = first = Job(partial(placement.place, target), turn)
            else:
                job = Job(partial(placement.place, target), FIRST, after=[first] if first else [])
            self._blobs[target, missing.blob.digest, missing.blob.size] = self._add(job)

    def _placement(self, missing: MissingBlob) -> _Placement:
        return _Placement(missing, self._stores, self._copier, self.stats)

    def _requirements(self, tag: Tag, manifest: Manifest) -> list[Job]:
        blobs = [self._blobs.get((tag.target, blob.digest, blob.size)) for blob in manifest.blobs]
        children = [self._add_child(tag, child.digest) for child in manifest.children]
        return [job for job in (*blobs, *children) if job is not None]

    def _add_attached(self) -> None:
        """What is attached comes after the image's manifests and before its tag, which so is last."""
        moving = {id(tag): root for tag, root in self._plan.roots}
        self._attacher.add(
            (tag, self._add_child(tag, moving[id(tag)].digest) if id(tag) in moving else None)
            for tag in self._plan.attaching
        )
        self.jobs += self._attacher.jobs
        for tag in self._plan.attaching:
            if id(tag) not in moving:
                self.tags.append((tag, self._add_attached_only(tag)))

    def _add_attached_only(self, tag: Tag) -> Job:
        def done() -> None:
            tag.previous = tag.local
            self._progress.tag_done(tag.name, "copied")

        return self._add(Job(done, FIRST, needs=self._attacher.jobs_of(tag)))

    def _add_child(self, tag: Tag, digest: str) -> Job:
        job = self._manifests.get((tag.target, digest))
        if job is None:
            manifest = self._plan.manifests[digest]
            job = Job(
                lambda: self._put(tag, digest, manifest),
                FIRST,
                needs=self._requirements(tag, manifest),
            )
            self._manifests[tag.target, digest] = self._add(job)
        return job

    def _add_tag(self, tag: Tag, root: Manifest) -> Job:
        def put() -> None:
            self._before_overwriting(tag)
            self._put(tag, tag.target_reference, root)
            tag.previous, tag.local = tag.local, tag.upstream
            self._progress.tag_done(tag.name, "copied")

        needs = [*self._requirements(tag, root), *self._attacher.jobs_of(tag)]
        return self._add(Job(put, FIRST, needs=needs))

    def _put(self, tag: Tag, reference: str, manifest: Manifest) -> None:
        """Store a manifest; what was collected since the plan was made is brought once more."""
        try:
            self._stores.target.put(tag.target, reference, manifest)
        except BlobUnknown:
            self._restore(tag, manifest)
            self._stores.target.put(tag.target, reference, manifest)

    def _restore(self, tag: Tag, manifest: Manifest) -> None:
        for blob in manifest.blobs:
            if not self._stores.target.has(tag.target, blob.digest):
                placement = self._placements.get((blob.digest, blob.size)) or self._placement(
                    MissingBlob(blob, {tag.target: source_of(tag, self._stores)})
                )
                placement.copy(tag.target)
        for child in manifest.children:
            self._put(tag, child.digest, self._plan.manifests[child.digest])


class _Placement:
    """Where one blob has got to; shared by the jobs of all repositories that need it."""

    def __init__(
        self, missing: MissingBlob, stores: Stores, copier: BlobCopier, stats: TransferStats
    ) -> None:
        self._missing = missing
        self._target = stores.target
        self._copier = copier
        self._stats = stats
        self._placed_at = missing.mount_from

    def place(self, repository: str) -> None:
        """Mount the blob from where it already is, else copy it."""
        self.copy(repository, self._placed_at)

    def copy(self, repository: str, mount_from: str = "") -> None:
        """Copy the blob from where it is nearest."""
        blob = self._missing.blob
        copied = self._copier.copy(repository, blob, self._sources(repository), mount_from)
        if copied.written is not Written.MOUNTED:
            self._placed_at = repository
        self._stats.add(copied)

    def _sources(self, repository: str) -> Sequence[Source]:
        """The target itself where it has the blob; then where this repository and the others are from."""
        own = [Source(self._target, self._placed_at)] if self._placed_at not in ("", repository) else []
        sources = self._missing.sources
        return list(dict.fromkeys([*own, sources[repository], *sources.values()]))
