"""One blob's bytes from upstream: taken up again where a line broke, and verified.

On a far line a connection is slower than the line: a large blob is fetched by several requests at a
time. Memory is bounded for the whole process: a chunk or two for each worker, and what ``ReadAhead``
has places for.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial

from _registry_oci_errors import DigestMismatch, RegistryError, Unreachable
from _registry_oci_manifest import Descriptor
from _registry_store_remote import Registry
from _registry_sync_jobs import ReadAhead

MIB = 1024 * 1024
# What one request fetches while others fetch what comes before and after.
PIECE = 3 * MIB // 2
# What it fetches while nobody reads ahead: longer, since each request costs a round-trip.
PIECES_ALONE = 8
# From here on several requests fetch one blob.
WORTH_SPLITTING = 4 * PIECE
# What has come is handed on together, up to so many pieces.
PIECES_TOGETHER = 4

# Chunks in order.
Batch = list[bytes]


class BlobReader:
    """Reads one blob.

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
        ahead: ReadAhead[Batch] | None = None,
        start: int = 0,
    ) -> None:
        self.failure: RegistryError | None = None
        self._source = source
        self._repository = repository
        self._blob = blob
        self._count = count
        self._ahead = ahead if blob.size >= WORTH_SPLITTING else None
        self._start = start
        self._shortcut = ""

    def chunks(self) -> Iterator[bytes]:
        """The blob's bytes; the last chunk only after the whole has proved right.

        Raises:
            RegistryError: kept in ``failure`` too, so that one can tell which side failed.
        """
        for batch in self.batches():
            yield from batch

    def chunks_until_failure(self) -> Iterator[bytes]:
        """The same, but what is wrong is only noted in ``failure``."""
        with contextlib.suppress(RegistryError):
            yield from self.chunks()

    def batches(self) -> Iterator[Batch]:
        """The same, in groups of what has come already."""
        try:
            yield from self._verified()
        except RegistryError as failure:
            self.failure = failure
            raise

    def _verified(self) -> Iterator[Batch]:
        sha256 = hashlib.sha256()
        last: Batch = []
        for batch in self._in_order():
            for chunk in batch:
                sha256.update(chunk)
            if ready := last + batch[:-1]:
                yield ready
            last = batch[-1:]
        if not self._start and f"sha256:{sha256.hexdigest()}" != self._blob.digest:
            raise DigestMismatch(f"{self._named} is not what its digest says")
        if last:
            yield last

    def _in_order(self) -> Iterator[Batch]:
        if self._ahead is None:
            yield from self._alone(self._start, self._blob.size)
        else:
            yield from self._side_by_side(self._ahead)

    def _alone(self, begin: int, end: int) -> Iterator[Batch]:
        return ([chunk] for chunk in self._span(begin, end))

    def _side_by_side(self, ahead: ReadAhead[Batch]) -> Iterator[Batch]:
        """Fetch what comes next by as many requests as there are places; without any, by our own."""
        spans = deque(_pieces(self._start, self._blob.size))
        under_way: deque[Future[Batch]] = deque()
        if not spans:
            return
        # The first tells whether this registry can send a part of a blob at all.
        yield from self._alone(*spans.popleft())
        if not self._source.sends_ranges:
            yield from self._alone(self._start + PIECE, self._blob.size)
            return
        try:
            while spans or under_way:
                self._begin_more(ahead, spans, under_way)
                if under_way:
                    together = _what_has_come(under_way)
                    yield [chunk for piece in together for chunk in piece.result()]
                    for piece in together:
                        ahead.give_back(piece)
                        under_way.popleft()
                else:
                    own = [spans.popleft() for _ in range(min(PIECES_ALONE, len(spans)))]
                    yield from self._alone(own[0][0], own[-1][1])
        finally:
            for piece in under_way:
                ahead.give_back(piece)

    def _begin_more(
        self, ahead: ReadAhead[Batch], spans: deque[tuple[int, int]], under_way: deque[Future[Batch]]
    ) -> None:
        while spans:
            piece = ahead.begin(partial(self._fetched, *spans[0]))
            if piece is None:
                return
            under_way.append(piece)
            spans.popleft()

    def _fetched(self, begin: int, end: int) -> Batch:
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
                    raise DigestMismatch(f"{self._named} is shorter than the manifest says")

    def _rest_of(self, begin: int, end: int) -> Iterator[bytes]:
        """What one request gives of a span."""
        whole = end == self._blob.size
        stream = self._source.open_blob(
            self._repository,
            self._blob.digest,
            begin,
            None if whole else end - 1,
            shortcut=self._shortcut,
        )
        self._shortcut = self._source.leads_away(stream)
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
                        raise DigestMismatch(f"{self._named} is longer than the manifest says")
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


def _what_has_come(under_way: deque[Future[Batch]]) -> list[Future[Batch]]:
    """The next piece, for which one has to wait, and those after it that have come already."""
    together = [under_way[0]]
    under_way[0].result()
    for piece in list(under_way)[1:PIECES_TOGETHER]:
        # A failed one fails when it is its turn.
        if not piece.done() or piece.exception():
            break
        together.append(piece)
    return together


def _pieces(begin: int, end: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + PIECE, end)) for start in range(begin, end, PIECE))
