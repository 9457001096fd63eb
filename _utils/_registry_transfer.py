"""One blob from one registry into another.

Small blobs are streamed in one request a side. On a far line a large one is fetched by several
requests at a time, since there a connection is slower than the line. A blob whose loss would hurt
goes up in pieces, each acknowledged by the registry and noted in a journal, so that a later run can
go on where this one ended.

Memory is bounded for the whole process: a piece and two chunks for each worker, and what ``ReadAhead``
has places for.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial

from _registry_client import Registry
from _registry_errors import RegistryError, Unreachable, WrongContent
from _registry_jobs import ReadAhead
from _registry_journal import Journal
from _registry_model import Descriptor

MIB = 1024 * 1024
PIECE = 2 * MIB
# From here on several requests fetch one blob.
WORTH_SPLITTING = 4 * PIECE
PIECES_ALONE = 8
# How far one blob may be read ahead; all blobs together share the places of ReadAhead.
AHEAD = 16
# From here on an upload is kept for the next run: on a far line soon, on a near one where it takes
# many seconds.
WORTH_KEEPING_FAR = 64 * MIB
WORTH_KEEPING = 512 * MIB

Pieces = list[bytes]


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
        count: called with the bytes of every chunk that comes, from any thread.
        ahead: threads that fetch parts of it side by side; None = one request after the other.
        start: bytes to leave out at the beginning; the digest cannot be verified then.
    """

    def __init__(
        self,
        source: Registry,
        repository: str,
        blob: Descriptor,
        *,
        count: Callable[[int], None],
        ahead: ReadAhead[Pieces] | None = None,
        start: int = 0,
    ) -> None:
        self.failure: RegistryError | None = None
        self._source = source
        self._repository = repository
        self._blob = blob
        self._count = count
        self._ahead = ahead if blob.size >= WORTH_SPLITTING else None
        self._start = start

    def chunks(self) -> Iterator[bytes]:
        """The blob's bytes; the last chunk only after the whole has proved right.

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
        for chunk in self._in_order():
            sha256.update(chunk)
            if held:
                yield held
            held = chunk
        if not self._start and f"sha256:{sha256.hexdigest()}" != self._blob.digest:
            raise WrongContent(f"{self._named} is not what its digest says")
        if held:
            yield held

    def _in_order(self) -> Iterator[bytes]:
        if self._ahead is None:
            yield from self._span(self._start, self._blob.size)
        else:
            yield from self._side_by_side(self._ahead)

    def _side_by_side(self, ahead: ReadAhead[Pieces]) -> Iterator[bytes]:
        """Fetch what comes next by as many requests as there are places; without any, by our own."""
        spans = deque(_pieces(self._start, self._blob.size))
        under_way: deque[Future[Pieces]] = deque()
        if not spans:
            return
        # The first tells whether this registry can send a part of a blob at all.
        yield from self._span(*spans.popleft())
        if not self._source.sends_ranges:
            yield from self._span(self._start + PIECE, self._blob.size)
            return
        try:
            while spans or under_way:
                while spans and len(under_way) < AHEAD:
                    future = ahead.begin(partial(self._fetched, *spans[0]))
                    if future is None:
                        break
                    under_way.append(future)
                    spans.popleft()
                if under_way:
                    yield from under_way[0].result()
                    ahead.give_back(under_way.popleft())
                else:
                    # Nobody reads ahead: a longer span spares round-trips.
                    own = [spans.popleft() for _ in range(min(PIECES_ALONE, len(spans)))]
                    yield from self._span(own[0][0], own[-1][1])
        finally:
            for future in under_way:
                ahead.give_back(future)

    def _fetched(self, begin: int, end: int) -> Pieces:
        return list(self._span(begin, end))

    def _span(self, begin: int, end: int) -> Iterator[bytes]:
        """The bytes of one span in order, over as many connections as it takes."""
        pace, tries = self._source.pace, 0
        while begin < end:
            before = begin
            try:
                for chunk in self._rest_of(begin, end):
                    begin += len(chunk)
                    yield chunk
            except Unreachable as failure:
                tries = 1 if begin > before else tries + 1
                if tries > pace.run.transfer.retries:
                    raise
                pace.back_off(tries, failure)
            else:
                if begin < end:
                    raise WrongContent(f"{self._named} is shorter than the manifest says")

    def _rest_of(self, begin: int, end: int) -> Iterator[bytes]:
        """What one request gives of a span."""
        whole = end == self._blob.size
        stream = self._source.open_blob(
            self._repository, self._blob.digest, begin, None if whole else end - 1
        )
        # A registry that knows no ranges sends everything once more.
        skip = begin if stream.status == 200 else 0
        left = end - begin
        run = self._source.pace.run
        try:
            for chunk in stream.chunks():
                run.check()
                run.spend(len(chunk))
                self._count(len(chunk))
                fresh = chunk[skip:]
                skip -= len(chunk) - len(fresh)
                if len(fresh) > left:
                    if whole or stream.status != 200:
                        raise WrongContent(f"{self._named} is longer than the manifest says")
                    fresh = fresh[:left]
                left -= len(fresh)
                if fresh:
                    yield fresh
                if not left and not whole:
                    return
        finally:
            stream.close()

    @property
    def _named(self) -> str:
        return f"{self._source}: blob {self._blob.digest} of {self._repository}"


class Carrier:
    """Carries blobs from upstreams into one local registry.

    Args:
        local: the registry.
        far: whether upstream is far away.
        workers: blobs in flight.
        count: called with the bytes of every chunk that comes, from any thread.
        journals: directory for what a later run needs to go on; empty = nothing is kept.
    """

    def __init__(
        self,
        local: Registry,
        *,
        far: bool,
        workers: int,
        count: Callable[[int], None],
        journals: str = "",
    ) -> None:
        self._local = local
        self._count = count
        self._far = far
        self._ahead: ReadAhead[Pieces] = ReadAhead(threads=workers, places=workers)
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
        send = partial(self._send, source, repository, target, blob)
        try:
            return self._local.pace.attempt(send)
        except RegistryError as failure:
            # A line can garble bytes once; whoever sends them wrong twice has them wrong.
            if failure.cause != WrongContent.cause:
                raise
            return self._local.pace.attempt(send)

    def close(self) -> None:
        """End the threads that read ahead."""
        self._ahead.close()

    def _send(self, source: Registry, repository: str, target: str, blob: Descriptor) -> int:
        large = blob.size >= (WORTH_KEEPING_FAR if self._far else WORTH_KEEPING)
        if large:
            return self._send_in_pieces(source, repository, target, blob)
        ahead = self._ahead if self._far else None
        reader = BlobReader(source, repository, blob, count=self._count, ahead=ahead)
        upload = self._local.start_upload(target)
        try:
            # Without a byte to send nobody would read, and so verify, the chunks.
            chunks = reader.chunks() if blob.size else list(reader.chunks())
            self._local.finish_upload(target, upload, blob, chunks)
        except RegistryError as failure:
            self._local.cancel_upload(target, upload)
            raise _blamed(reader, failure) from failure
        return blob.size

    def _send_in_pieces(self, source: Registry, repository: str, target: str, blob: Descriptor) -> int:
        uploads = _Uploads(self._local, target, blob, self._journals)
        start = uploads.offset
        reader = BlobReader(source, repository, blob, count=self._count, ahead=self._ahead, start=start)
        try:
            for piece in _gathered(reader.chunks(), PIECE):
                uploads.append(piece)
            uploads.commit()
        except RegistryError as failure:
            if failure.cause == WrongContent.cause:
                uploads.cancel()
            raise _blamed(reader, failure) from failure
        return blob.size - start


class _Uploads:
    """An upload that a later run can go on with.

    docker-distribution takes up an upload only at the offset that its last answer has signed, so one
    that is cut while a piece is under way is lost, whatever the registry has of it. A blob that is
    large enough therefore goes into two uploads, one piece behind the other: of two, one is always
    whole. https://github.com/distribution/distribution/blob/v2.8.2/registry/handlers/blobupload.go
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

    def append(self, piece: Pieces) -> None:
        """Send the next bytes and note where the upload goes on."""
        for position, (url, offset) in enumerate(self._uploads):
            url = self._local.append_to_upload(self._target, url, piece, offset)
            self._uploads[position] = (url, offset + sum(map(len, piece)))
            self._journal.save(self._uploads)

    def commit(self) -> None:
        """Have the registry verify the digest and keep the blob."""
        (url, _), *others = self._uploads
        self._local.finish_upload(self._target, url, self._blob, None)
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
        count = 2 if self._blob.size >= WORTH_KEEPING else 1
        return [(self._local.start_upload(self._target), 0) for _ in range(count)]


def _blamed(reader: BlobReader, failure: RegistryError) -> RegistryError:
    return failure if reader.failure is None else SourceFailed(reader.failure)


def _pieces(begin: int, end: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + PIECE, end)) for start in range(begin, end, PIECE))


def _gathered(chunks: Iterable[bytes], size: int) -> Iterator[Pieces]:
    """Chunks in groups of about so many bytes."""
    group: Pieces = []
    for chunk in chunks:
        group.append(chunk)
        if sum(map(len, group)) >= size:
            yield group
            group = []
    if group:
        yield group
