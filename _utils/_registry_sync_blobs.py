"""One blob from one registry into another.

Blobs are streamed. Where a run has to leave one, a journal says how far it has got, and the next run
goes on there; one whose loss would hurt is noted every few MB, so that not even a kill costs more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from _registry_http_transport import CHUNK
from _registry_oci_errors import DigestMismatch, RateLimited, RegistryError, Stopped, Unreachable
from _registry_oci_manifest import Descriptor
from _registry_show_progress import BlobProgress, BlobTracker
from _registry_store_remote import Registry
from _registry_store_remote_read import MIB, PIECE, Batch, BlobReader
from _registry_sync_jobs import ReadAhead
from _registry_sync_journal import Journal

# Threads that fetch parts of large blobs on a far line; each holds a piece.
READERS_AHEAD = 10
# From here on an upload is brought to an end whatever fails. That takes a request more and costs a registry
# near by some percent, so smaller ones are simply cut; of those the registry's disk keeps less than this.
WORTH_ENDING = 32 * MIB
# From here on an upload grows in steps: on a far line soon, on a near one where it takes many seconds.
WORTH_STEPS_FAR = 64 * MIB
WORTH_STEPS = 512 * MIB
# Bytes of a step at least; each worker holds one.
STEP_NEAR = 4 * MIB
STEP_FAR = PIECE


class SourceFailed(RegistryError):
    """Upstream could not give a blob; trying the local side again does not help."""

    def __init__(self, failure: RegistryError) -> None:
        super().__init__(str(failure))
        self.cause = failure.cause


class BlobCopier:
    """Carries blobs from upstreams into one local registry.

    Args:
        local: the registry.
        far: whether upstream is far away.
        workers: blobs in flight.
        share: bytes that each worker has to carry if all carry the same. On a far line a blob that is
            larger is fetched by several requests at a time; those of others keep the line busy.
        watch: told what is under way, and where every chunk that comes is counted.
        journals: directory for what a later run needs to go on; empty = nothing is kept.
    """

    def __init__(
        self,
        local: Registry,
        *,
        far: bool,
        workers: int,
        share: int,
        watch: BlobTracker,
        journals: str = "",
    ) -> None:
        self._local = local
        self._watch = watch
        self._far = far
        self._share = share
        readers = min(workers, READERS_AHEAD)
        self._ahead: ReadAhead[Batch] = ReadAhead(threads=readers, places=readers)
        self._journals = journals

    def carry(self, source: Registry, repository: str, target: str, blob: Descriptor) -> int:
        """Copy one blob, verified on the way.

        Args:
            source: the upstream.
            repository: where it has the blob.
            target: the local repository.
            blob: digest and size in bytes.

        Returns:
            Bytes that came from upstream: fewer than the blob has where an upload was taken up again.

        Raises:
            SourceFailed: upstream could not give it, with the cause of that.
            RegistryError: the local registry could not take it.
        """
        with self._watch(target, blob) as flight:
            send = partial(self._send, source, repository, target, blob, flight)
            try:
                return self._local.pace.attempt(send)
            except RegistryError as failure:
                # A line can garble bytes once; whoever sends them wrong twice has them wrong.
                if failure.cause != DigestMismatch.cause:
                    raise
                return self._local.pace.attempt(send)

    def close(self) -> None:
        """End the threads that read ahead."""
        self._ahead.close()

    def _send(
        self, source: Registry, repository: str, target: str, blob: Descriptor, flight: BlobProgress
    ) -> int:
        send = self._send_at_once if blob.size < WORTH_ENDING else self._send_streamed
        return send(source, repository, target, blob, flight)

    def _send_at_once(
        self, source: Registry, repository: str, target: str, blob: Descriptor, flight: BlobProgress
    ) -> int:
        """Send a small blob in one request; what fits in one chunk has been verified before."""
        flight.starts()
        reader = BlobReader(source, repository, blob, count=flight.moved)
        upload = ""
        try:
            chunks = list(reader.chunks()) if blob.size <= CHUNK else reader.chunks()
            upload = self._local.start_upload(target)
            self._local.finish_upload(target, upload, blob, chunks)
        except RegistryError as failure:
            if upload:
                self._local.cancel_upload(target, upload)
            raise _blamed(reader, failure) from failure
        return blob.size

    def _send_streamed(
        self, source: Registry, repository: str, target: str, blob: Descriptor, flight: BlobProgress
    ) -> int:
        uploads = _Uploads(self._local, target, blob, self._journals)
        start = uploads.offset
        ahead = self._ahead if self._far and blob.size > self._share else None
        flight.starts(start)
        reader = BlobReader(source, repository, blob, count=flight.moved, ahead=ahead, start=start)
        try:
            self._fill(uploads, reader, blob)
            uploads.commit()
        except RegistryError as failure:
            if not (
                self._journals and isinstance(reader.failure or failure, (Unreachable, RateLimited, Stopped))
            ):
                uploads.cancel()
            raise _blamed(reader, failure) from failure
        return blob.size - start

    def _fill(self, uploads: _Uploads, reader: BlobReader, blob: Descriptor) -> None:
        if blob.size < (WORTH_STEPS_FAR if self._far else WORTH_STEPS):
            uploads.stream(reader.chunks_until_failure())
        else:
            for piece in _gathered(reader.batches(), STEP_FAR if self._far else STEP_NEAR):
                uploads.append(piece)
                # Not to be held while the next one comes.
                del piece
        if reader.failure:
            raise reader.failure


class _Uploads:
    """An upload that can be taken up again, or given up.

    docker-distribution does either only at the offset that its last answer has signed: of an upload
    that is cut in the middle of a request nothing is left but bytes on its disk, for a week. So
    whatever fails, the request is brought to an end. Against a kill, which nothing can bring to an
    end, a large blob goes in steps and into two uploads, one step behind the other: of two, one is
    always whole. https://github.com/distribution/distribution/blob/v2.8.2/registry/handlers/blobupload.go
    """

    def __init__(self, local: Registry, target: str, blob: Descriptor, journals: str) -> None:
        self._local = local
        self._target = target
        self._blob = blob
        self._journal = Journal(journals, local.endpoint.url, target, blob.digest)
        self._uploads = self._kept() or self._begun()

    @property
    def offset(self) -> int:
        """Bytes that the registry has already."""
        return self._uploads[0][1]

    def append(self, piece: Batch) -> None:
        """Send the next bytes and note where the upload goes on."""
        for position, (url, offset) in enumerate(self._uploads):
            url = self._local.append_to_upload(self._target, url, piece, offset)
            self._uploads[position] = (url, offset + sum(map(len, piece)))
            self._journal.save(self._uploads)

    def stream(self, chunks: Iterator[bytes]) -> None:
        """Send all that comes in one request, and note where the upload goes on."""
        ((url, offset),) = self._uploads
        sent = _Counted(chunks)
        url = self._local.stream_to_upload(self._target, url, sent)
        self._uploads = [(url, offset + sent.size)]
        self._journal.save(self._uploads)

    def commit(self) -> None:
        """Have the registry verify the digest and keep the blob."""
        (url, _), *others = self._uploads
        self._local.finish_upload(self._target, url, self._blob)
        self._journal.forget()
        for other, _ in others:
            self._local.cancel_upload(self._target, other)

    def cancel(self) -> None:
        """Give up what has been sent."""
        self._journal.forget()
        for url, _ in self._uploads:
            self._local.cancel_upload(self._target, url)

    def _kept(self) -> list[tuple[str, int]]:
        for url, offset in self._journal.read():
            if 0 < offset <= self._blob.size and self._local.upload_offset(self._target, url) == offset:
                return [(url, offset)]
        return []

    def _begun(self) -> list[tuple[str, int]]:
        count = 2 if self._blob.size >= WORTH_STEPS else 1
        return [(self._local.start_upload(self._target), 0) for _ in range(count)]


class _Counted:
    """Chunks, and how many bytes of them have been taken."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.size = 0
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size += len(chunk)
            yield chunk


def _blamed(reader: BlobReader, failure: RegistryError) -> RegistryError:
    return failure if reader.failure is None else SourceFailed(reader.failure)


def _gathered(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Chunks in groups of at least so many bytes: each is a request."""
    group: Batch = []
    for batch in batches:
        group += batch
        if sum(map(len, group)) >= size:
            yield group
            group = []
    if group:
        yield group
