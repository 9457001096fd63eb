"""Carry a plan out: blobs first, manifests when theirs are there, tags last.

Each blob crosses the line once and is mounted into the other repositories that need it. A manifest
follows as soon as its own blobs are there, so an interrupted run leaves whole images and no half one.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from _registry_client import Registry
from _registry_errors import RegistryError, Unauthorized, Unreachable, WrongContent
from _registry_jobs import Job, run_jobs
from _registry_model import Descriptor, Manifest
from _registry_plan import Lack, Plan, Registries, Tag
from _registry_settings import Transfer

# On loopback or a fast LAN the registries' own disks and hashes are the limit: more workers only cost.
WORKERS_NEAR = 4
# Small work that completes an image goes before the next large blob.
SOON = (0, 0)


@dataclass(slots=True)
class Tally:
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


def carry_out(plan: Plan, registries: Registries, transfer: Transfer) -> Tally:
    """Move what the plan says; every tag of the comparison gets its final status.

    Args:
        plan: of ``make_plan``.
        registries: the same that the plan was made with.
        transfer: how many blobs may be in flight.

    Returns:
        What was moved. Tags are then ``current``, ``copied`` or ``failed``.
    """
    graph = _Graph(plan, registries)
    near = min(WORKERS_NEAR, transfer.parallel)
    run_jobs(graph.jobs, transfer.parallel if registries.far else near)
    for tag, job in graph.landings:
        if job.error is None:
            tag.status, tag.local = "copied", tag.upstream
            plan.comparison.holdings.tags.setdefault(tag.target, set()).add(tag.landing)
        else:
            tag.fail("failed", job.error)
    for tag in plan.comparison.tags:
        if tag.status not in ("current", "copied"):
            tag.status = "failed"
    return graph.tally


class _Graph:
    """The jobs of a plan; building it does nothing yet."""

    def __init__(self, plan: Plan, registries: Registries) -> None:
        self.jobs: list[Job] = []
        self.landings: list[tuple[Tag, Job]] = []
        self.tally = Tally()
        self._plan = plan
        self._registries = registries
        self._blobs: dict[tuple[str, str], Job] = {}
        self._manifests: dict[tuple[str, str], Job] = {}
        for lack in plan.lacks.values():
            self._place(lack)
        for tag, root in plan.moves:
            self.landings.append((tag, self._land(tag, root)))

    def _add(self, job: Job) -> Job:
        self.jobs.append(job)
        return job

    def _place(self, lack: Lack) -> None:
        """One job for each repository; the first copies, the others find it there to mount."""
        placement = _Placement(lack, self._registries, self.tally)
        first: Job | None = None
        for target in lack.targets:
            copies = first is None and not lack.origin
            job = Job(
                partial(placement.place, target),
                (1, -lack.blob.size) if copies else SOON,
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

        return self._add(Job(put, SOON, needs=self._requirements(tag.target, root)))


class _Placement:
    """Where one blob has got to; shared by the jobs of all repositories that need it."""

    def __init__(self, lack: Lack, registries: Registries, tally: Tally) -> None:
        self._lack = lack
        self._registries = registries
        self._tally = tally
        self._origin = lack.origin

    def place(self, target: str) -> None:
        """Mount the blob from where it already is, else copy it."""
        if self._origin and self._mounted(target):
            self._tally.mount()
            return
        endpoint, repository = self._lack.sources[target]
        source = self._registries.upstream(endpoint)
        copy_blob(source, repository, self._registries.local, target, self._lack.blob)
        self._origin = self._origin or target
        self._tally.copy(self._lack.blob.size)

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


def copy_blob(source: Registry, repository: str, local: Registry, target: str, blob: Descriptor) -> None:
    """Stream a blob from one registry into another, verified on the way.

    No more than a few pieces of it are ever in memory, and nothing is written to disk.

    Args:
        source: the upstream.
        repository: where it has the blob.
        local: the local registry.
        target: where the blob is to be.
        blob: digest and size in bytes.

    Raises:
        SourceFailed: upstream could not give it, with the cause of that.
        RegistryError: the local registry could not take it.
    """

    def send() -> None:
        reader = BlobReader(source, repository, blob)
        upload = local.start_upload(target)
        try:
            local.finish_upload(target, upload, blob, reader.chunks())
        except RegistryError as failure:
            local.cancel_upload(target, upload)
            if reader.failure is not None:
                raise SourceFailed(reader.failure) from failure
            raise

    try:
        local.pace.attempt(send)
    except SourceFailed as failure:
        # A line can garble bytes once; whoever sends them wrong twice has them wrong.
        if failure.cause != WrongContent.cause:
            raise
        local.pace.attempt(send)


class SourceFailed(RegistryError):
    """Upstream could not give a blob; trying the local side again does not help."""

    def __init__(self, failure: RegistryError) -> None:
        super().__init__(str(failure))
        self.cause = failure.cause


class BlobReader:
    """Reads one blob from upstream, takes up again where a line broke, and verifies it.

    Args:
        source: the upstream.
        repository: where it has the blob.
        blob: digest and size in bytes.
    """

    def __init__(self, source: Registry, repository: str, blob: Descriptor) -> None:
        self.failure: RegistryError | None = None
        self._source = source
        self._repository = repository
        self._blob = blob
        self._offset = 0

    def chunks(self) -> Iterator[bytes]:
        """The blob's bytes; the last piece only after the whole has proved right.

        Raises:
            RegistryError: kept in ``failure`` too, so that one can tell which side failed.
        """
        try:
            yield from self._verified()
        except RegistryError as failure:
            self.failure = failure
            raise

    def _verified(self) -> Iterator[bytes]:
        sha256 = hashlib.sha256()
        held = b""
        for chunk in self._resumed():
            self._source.pace.run.spend(len(chunk))
            sha256.update(chunk)
            if held:
                yield held
            held = chunk
        if f"sha256:{sha256.hexdigest()}" != self._blob.digest:
            raise WrongContent(f"{self._named} is not what its digest says")
        if held:
            yield held

    def _resumed(self) -> Iterator[bytes]:
        """The bytes in order, over as many connections as it takes."""
        idle = 0
        while self._offset < self._blob.size:
            before = self._offset
            try:
                yield from self._rest()
            except Unreachable as failure:
                idle = 0 if self._offset > before else idle + 1
                if idle > self._source.pace.run.transfer.retries:
                    raise
                self._source.pace.back_off(idle + 1, failure)
            else:
                if self._offset < self._blob.size:
                    raise WrongContent(f"{self._named} is shorter than the manifest says")

    def _rest(self) -> Iterator[bytes]:
        stream = self._source.open_blob(self._repository, self._blob.digest, self._offset)
        # A server that knows no ranges sends everything once more.
        skip = self._offset if stream.status == 200 else 0
        for chunk in stream.chunks():
            self._source.pace.run.check()
            fresh = chunk[skip:]
            skip -= len(chunk) - len(fresh)
            self._offset += len(fresh)
            if self._offset > self._blob.size:
                raise WrongContent(f"{self._named} is longer than the manifest says")
            if fresh:
                yield fresh

    @property
    def _named(self) -> str:
        return f"{self._source}: blob {self._blob.digest} of {self._repository}"
