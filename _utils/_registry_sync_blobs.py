"""Copy one blob from whoever has it into a store: the one place where blobs are tried again and hashed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from _registry_http_retry import Attempts, Health, Run
from _registry_oci_errors import LOCAL, DigestMismatch, RegistryError, Retryable, Stopped, Unreachable
from _registry_oci_manifest import Descriptor
from _registry_oci_names import hasher
from _registry_show_progress import BlobProgress, BlobTracker
from _registry_store_protocol import Store, Written
from _registry_sync_spool import BLOCK, Spool, SpoolFile

# An upload that is cut cannot be cancelled on docker-distribution. What is spooled is sent when so much of it
# has come: late enough to be open for a short time, early enough to end when the last byte has come.
SENT_FROM = 2 / 3


class SpoolError(RegistryError):
    """This host's disk cannot keep a blob that is under way: it is then streamed."""


class Source(NamedTuple):
    """Where a blob can be read."""

    store: Store
    repository: str


class Copied(NamedTuple):
    """How a blob came to be in a repository, and how many bytes of it came from upstream for that."""

    written: Written
    size: int
    read_back: bool = False


class Reading(Protocol):
    """The bytes of one blob from one source, verified."""

    failure: RegistryError | None

    @property
    def source(self) -> Source:
        """Where from."""
        ...

    @property
    def size(self) -> int:
        """How many bytes have come from upstream."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """All bytes from the first on, each time; the last come only after all have proved right."""
        ...

    def close(self, *, done: bool) -> None:
        """Nobody will read on; what has come is of no use any more where the blob is done."""
        ...


class BlobCopier:
    """Copies blobs into one store.

    Args:
        target: the store.
        run: limits, and the end of all.
        health_of: whether a store answers.
        tracker: is told what is under way and where every chunk that comes from upstream is counted.
        spool: where large blobs are kept while they are under way.
        spool_from: bytes from which a blob is large.
    """

    def __init__(
        self,
        target: Store,
        *,
        run: Run,
        health_of: Callable[[Store], Health],
        tracker: BlobTracker,
        spool: Spool,
        spool_from: int,
    ) -> None:
        self._target = target
        self._run = run
        self._health_of = health_of
        self._tracker = tracker
        self._spool = spool
        self._spool_from = spool_from

    def copy(
        self,
        repository: str,
        blob: Descriptor,
        sources: Sequence[Source],
        mount_from: str = "",
    ) -> Copied:
        """Copy one blob; what one source cannot give is asked of the next.

        Args:
            repository: where to.
            blob: digest and size in bytes.
            sources: where it can be read, the first choice first.
            mount_from: a repository of the target that has it.

        Raises:
            RegistryError: the target cannot take it, or why the first source could not give it.
        """
        first_failure: RegistryError | None = None
        with self._tracker(repository, blob) as progress:
            for reading in self._readings(sources, blob, progress):
                try:
                    return self._copy_from(reading, repository, blob, mount_from)
                except Stopped:
                    raise
                except RegistryError as failure:
                    if failure is not reading.failure:
                        raise
                    # What the target could not give back matters less than why upstream could not, either.
                    if not isinstance(failure, SpoolError) and (
                        not first_failure or first_failure.side == LOCAL
                    ):
                        first_failure = failure
                mount_from = ""
        raise first_failure or RegistryError(f"nobody is known to have blob {blob.digest}")

    def _copy_from(self, reading: Reading, repository: str, blob: Descriptor, mount_from: str) -> Copied:
        written = None
        try:
            written = self._write(reading, repository, blob, mount_from)
        finally:
            reading.close(done=written is not None)
        return Copied(written, reading.size, reading.source.store is self._target)

    def _write(self, reading: Reading, repository: str, blob: Descriptor, mount_from: str) -> Written:
        attempts = Attempts(self._run, self._health_of(self._target))
        garbled = 0
        while True:
            try:
                return self._target.write(repository, blob, reading.chunks(), mount_from=mount_from)
            except DigestMismatch:
                # A line can garble bytes once; whoever sends them wrong twice has them wrong.
                garbled += 1
                if garbled > 1:
                    raise
            except Retryable as failure:
                if failure is reading.failure:
                    raise
                self._wait(attempts, failure, repository, blob)
            if self._target.has(repository, blob.digest):
                return Written.EXISTED

    def _wait(self, attempts: Attempts, failure: Retryable, repository: str, blob: Descriptor) -> None:
        """Wait before the next try; before none is left, a lost answer may have been a good one."""
        try:
            attempts.wait_or_raise(failure)
        except Stopped:
            raise
        except Unreachable:
            with contextlib.suppress(RegistryError):
                if self._target.has(repository, blob.digest):
                    return
            raise

    def _readings(
        self,
        sources: Sequence[Source],
        blob: Descriptor,
        progress: BlobProgress,
    ) -> Iterator[Reading]:
        """The ways to read a blob, one after the other; without the spool where that is of no help."""
        for source in sources:
            is_far = source.store is not self._target
            attempts = Attempts(self._run, self._health_of(source.store))
            download = _Download(source, blob, attempts, self._run, progress.received if is_far else None)
            file = self._spool.open(blob) if is_far and blob.size >= self._spool_from else None
            if file:
                spooled = _Spooled(download, file, self._spool, progress)
                yield spooled
                if not isinstance(spooled.failure, SpoolError):
                    continue
            yield _Streamed(download, progress)


class Limits(Protocol):
    """What reading keeps to."""

    run: Run

    def health_of(self, store: Store) -> Health:
        """Whether a store answers, as all workers have seen it."""
        ...


def read_whole(source: Source, blob: Descriptor, limits: Limits) -> bytes:
    """All bytes of a small blob, tried again where that may help, and verified.

    Raises:
        RegistryError: why it could not be read.
    """
    attempts = Attempts(limits.run, limits.health_of(source.store))
    return b"".join(_Streamed(_Download(source, blob, attempts, limits.run, None)).chunks())


class _Download:
    """Reads a blob on from wherever it has got to, over as many tries as it takes."""

    def __init__(
        self,
        source: Source,
        blob: Descriptor,
        attempts: Attempts,
        run: Run,
        count: Callable[[int], None] | None,
    ) -> None:
        self.source = source
        self.blob = blob
        self.run = run
        self.size = 0
        self._count = count
        self._attempts = attempts

    def chunks(self, offset: int) -> Iterator[bytes]:
        """The bytes from an offset on."""
        while offset < self.blob.size:
            try:
                for chunk in self.source.store.read(self.source.repository, self.blob, offset):
                    self._account(len(chunk))
                    offset += len(chunk)
                    yield chunk
                return
            except Retryable as failure:
                self._attempts.wait_or_raise(failure)

    def _account(self, size: int) -> None:
        self._attempts.progressed()
        self.run.check()
        if self._count:
            self.run.spend(size)
            self.size += size
            self._count(size)

    def mismatch(self) -> DigestMismatch:
        """What is wrong with bytes that do not hash to their digest."""
        store, repository = self.source
        said = f"{store}: blob {self.blob.digest} of {repository} is not what its digest says"
        return DigestMismatch(said, side=store.side)


class _Streamed:
    """Bytes that go from source to target and lie nowhere."""

    def __init__(self, download: _Download, progress: BlobProgress | None = None) -> None:
        self.failure: RegistryError | None = None
        self._download = download
        self._progress = progress

    @property
    def source(self) -> Source:
        return self._download.source

    @property
    def size(self) -> int:
        return self._download.size

    def chunks(self) -> Iterator[bytes]:
        self.failure = None
        if self._progress:
            self._progress.restart()
        digest = hasher(self._download.blob.digest)
        last = b""
        try:
            for chunk in self._download.chunks(0):
                digest.update(chunk)
                if last:
                    yield last
                last = chunk
            if not _is(digest, self._download.blob):
                raise self._download.mismatch()
        except RegistryError as failure:
            self.failure = failure
            raise
        if last:
            yield last

    def close(self, *, done: bool) -> None:
        pass


class _Spooled:
    """Bytes that a thread of their own brings into a file, and that an upload follows."""

    def __init__(
        self,
        download: _Download,
        file: SpoolFile,
        spool: Spool,
        progress: BlobProgress,
    ) -> None:
        self.failure: RegistryError | None = None
        self._download = download
        self._file = file
        self._spool = spool
        self._progress = progress
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._come = 0
        self._whole = False
        self._closed = False

    @property
    def source(self) -> Source:
        return self._download.source

    @property
    def size(self) -> int:
        return self._download.size

    def chunks(self) -> Iterator[bytes]:
        self._fetch_on()
        self._wait_for(int(self._download.blob.size * SENT_FROM))
        sent = 0
        while sent < self._download.blob.size:
            ready = self._wait_for(sent + 1)
            for block in self._blocks(sent, ready):
                self._download.run.check()
                sent += len(block)
                yield block

    def close(self, *, done: bool) -> None:
        self._closed = True
        if done or isinstance(self.failure, (DigestMismatch, SpoolError)):
            self._file.remove()
        self._file.release()
        self._spool.give_back(self._download.blob)

    def _blocks(self, begin: int, end: int) -> Iterator[bytes]:
        try:
            yield from self._file.blocks(begin, end)
        except OSError as failure:
            self._fail(SpoolError(f"spool: {failure}"))
            raise self.failure from None  # type: ignore[misc]

    def _fetch_on(self) -> None:
        """Fetch what is lacking, unless that is under way."""
        if self._whole or (self._thread and self._thread.is_alive()):
            return
        if isinstance(self.failure, DigestMismatch):
            self._file.truncate()
            self._come = 0
        self.failure = None
        self._thread = threading.Thread(target=self._fetch, name="registry-spool", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as failure:
            self._fail(SpoolError(f"spool: {failure}"))

    def _wait_for(self, offset: int) -> int:
        """Wait until so many bytes may be sent; how many may be by then."""
        with self._changed:
            while not (self._whole or self.failure or self._come > offset):
                self._changed.wait(1.0)
                self._download.run.check()
            if self._whole:
                return self._download.blob.size
            if self.failure:
                raise self.failure
            return self._come

    def _fetch(self) -> None:
        try:
            self._bring()
        except RegistryError as failure:
            self._fail(failure)
        except OSError as failure:
            self._fail(SpoolError(f"spool: {failure.strerror or failure}"))

    def _bring(self) -> None:
        digest = hasher(self._download.blob.digest)
        for block in self._file.blocks(0, self._file.size):
            digest.update(block)
        self._progress.restart(self._file.size)
        for chunk in self._download.chunks(self._file.size):
            digest.update(chunk)
            # The last bytes are not to be sent before all have proved right.
            self._came(self._file.size)
            self._file.append(chunk)
            if self._closed:
                return
        if not _is(digest, self._download.blob):
            raise self._download.mismatch()
        with self._changed:
            self._whole = True
            self._changed.notify_all()

    def _came(self, size: int) -> None:
        # Waking whoever sends for each chunk costs more than sending it.
        if size - self._come < BLOCK:
            return
        with self._changed:
            self._come = size
            self._changed.notify_all()

    def _fail(self, failure: RegistryError) -> None:
        with self._changed:
            self.failure = failure
            self._changed.notify_all()


def _is(digest: object, blob: Descriptor) -> bool:
    return bool(digest.hexdigest() == blob.digest.partition(":")[2])  # type: ignore[attr-defined]
