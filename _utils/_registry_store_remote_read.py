"""One blob's bytes from a registry, in one attempt.

On a far line a connection is slower than the line: a large blob is fetched by several requests at a
time. What comes ahead of its turn waits in files without a name, not in memory.
"""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future
from functools import partial

from _registry_http_client import Client, pull_scope
from _registry_http_transport import Stream
from _registry_oci_errors import DigestMismatch, RegistryError, Unauthorized, Unreachable, Unsupported
from _registry_oci_manifest import Descriptor
from _registry_store_read_ahead import Fetched, RangesAhead, Waiting

MIB = 1024 * 1024
# What one request fetches while others fetch what comes before and after.
RANGE = 3 * MIB // 2
# What it fetches while nobody reads ahead: longer, since each request costs a round-trip.
RANGES_ALONE = 8
# From here on several requests fetch one blob.
SPLIT_SIZE = 4 * RANGE


class _NoRangesError(RegistryError):
    """The whole blob came where a range of it was asked for."""


class BlobReader:
    """Reads one blob.

    Args:
        client: the registry.
        repository: where it has the blob.
        blob: digest and size in bytes.
        ahead: threads that fetch ranges of it side by side; None = one request.
    """

    def __init__(
        self, client: Client, repository: str, blob: Descriptor, ahead: RangesAhead | None = None
    ) -> None:
        self._client = client
        self._repository = repository
        self._blob = blob
        self._ahead = ahead if blob.size >= SPLIT_SIZE else None
        # Another registry's bytes may be wrong, and are not mixed with this one's.
        self._key = (client, repository, blob.digest)
        self._elsewhere = ""
        self._ranges = True
        self._gave_part = False

    def chunks(self, offset: int = 0) -> Iterator[bytes]:
        """The bytes from an offset on, in order.

        Raises:
            RegistryError: what had come before was handed out.
        """
        if self._ahead is None or self._blob.size - offset < SPLIT_SIZE:
            return self._range(offset, self._blob.size)
        return self._side_by_side(self._ahead, offset)

    def _side_by_side(self, ahead: RangesAhead, offset: int) -> Iterator[bytes]:
        """Fetch what comes next by as many requests as there are places; without any, by our own."""
        ranges = deque(_ranges(offset, self._blob.size))
        # The first tells whether this registry can send a part of this blob at all.
        come = ranges[0][1]
        yield from self._range(*ranges.popleft())
        under_way: deque[tuple[int, Future[Fetched]]] = deque()
        try:
            while self._ranges and (ranges or under_way):
                self._begin_more(ahead, ranges, under_way)
                if under_way:
                    fetched = under_way[0][1].result()
                    if isinstance(fetched[1], _NoRangesError):
                        self._ranges = False
                        break
                    yield from _in_full(fetched)
                    come = _end_of_range(come, self._blob.size)
                    ahead.give_back(under_way.popleft()[1])
                else:
                    own = [ranges.popleft() for _ in range(min(RANGES_ALONE, len(ranges)))]
                    yield from self._range(own[0][0], own[-1][1])
                    come = own[-1][1]
            # A registry, or a cache in front of it, may send ranges of a blob now and then.
            yield from self._range(come, self._blob.size)
        except RegistryError:
            # The range that failed is asked for again; those after it need not be.
            if under_way:
                ahead.give_back(under_way.popleft()[1])
            while under_way:
                ahead.leave(self._key, *under_way.popleft())
            raise
        finally:
            for _, future in under_way:
                ahead.give_back(future)

    def _begin_more(
        self,
        ahead: RangesAhead,
        ranges: deque[tuple[int, int]],
        under_way: deque[tuple[int, Future[Fetched]]],
    ) -> None:
        while ranges:
            begin, end = ranges[0]
            future = ahead.take(self._key, begin) or ahead.begin(
                partial(self._fetch, ahead.directory, begin, end)
            )
            if future is None:
                return
            under_way.append((begin, future))
            ranges.popleft()

    def _fetch(self, directory: str, begin: int, end: int) -> Fetched:
        waiting = Waiting(directory)
        try:
            for chunk in self._range(begin, end, only_range=True):
                waiting.add(chunk)
        except RegistryError as failure:
            return waiting, failure
        return waiting, None

    def _range(self, begin: int, end: int, *, only_range: bool = False) -> Iterator[bytes]:
        """The bytes of one range; of a registry that sends all of the blob, if that will do."""
        while begin < end:
            begin += yield from self._part(begin, end, only_range=only_range)

    def _part(self, begin: int, end: int, *, only_range: bool) -> Generator[bytes, None, int]:
        """The bytes of one range, or as many of them as one answer has; how many that were.

        Less than was asked for is allowed: https://www.rfc-editor.org/rfc/rfc9110#section-15.3.7
        """
        to_the_end = end == self._blob.size
        stream = self._open(begin, None if to_the_end else end - 1)
        if only_range and stream.status == 200:
            stream.close()
            raise _NoRangesError
        # A registry that knows no ranges sends everything once more.
        skip = begin if stream.status == 200 else 0
        left = end - begin
        with contextlib.closing(stream):
            for chunk in stream.chunks():
                fresh = chunk[skip:] if skip else chunk
                skip -= len(chunk) - len(fresh)
                if len(fresh) > left:
                    if to_the_end or stream.status != 200:
                        raise self._client.error(
                            DigestMismatch, f"{self._what} is longer than the manifest says", ":"
                        )
                    fresh = fresh[:left]
                left -= len(fresh)
                if fresh:
                    yield fresh
                if not left and not to_the_end:
                    break
        came = end - begin - left
        if left and not (came and _ends_at(stream, begin + came)):
            # Where only the end of the connection ends a body nobody knows whether it was cut.
            kind = Unreachable if came and not _is_framed(stream) else DigestMismatch
            raise self._client.error(kind, f"{self._what} is shorter than the manifest says", ":")
        return came

    def _open(self, begin: int, last: int | None) -> Stream:
        """Ask where the blob was found before, else the registry.

        https://www.rfc-editor.org/rfc/rfc9110#name-range-requests
        """
        asks_for_part = bool(begin) or last is not None
        headers = {"Range": f"bytes={begin}-{'' if last is None else last}"} if asks_for_part else {}
        try:
            stream = self._ask(headers)
        except (Unauthorized, Unsupported, DigestMismatch):
            if not asks_for_part or self._gave_part:
                raise
            # Some refuse a range as such; all of it they give.
            stream = self._ask({})
        self._ranges = self._ranges and (not asks_for_part or stream.status == 206)
        self._gave_part = self._gave_part or stream.status == 206
        if stream.status == 206 and not _starts_at(stream, begin):
            stream.close()
            raise self._client.error(
                Unreachable, f"another range of {self._what} came than was asked for", ":"
            )
        return stream

    def _ask(self, headers: Mapping[str, str]) -> Stream:
        stream = self._client.open_elsewhere(self._elsewhere, headers) if self._elsewhere else None
        if stream is None:
            url = self._client.url(f"{self._repository}/blobs/{self._blob.digest}")
            scope = pull_scope(self._repository)
            stream = self._client.pace.once(
                lambda: self._client.open("GET", url, scope, self._what, headers), is_pull=False
            )
            self._elsewhere = "" if self._client.is_same_origin(stream.url) else stream.url
        return stream

    @property
    def _what(self) -> str:
        return f"blob {self._blob.digest} of {self._repository}"


def _in_full(fetched: Fetched) -> Iterator[bytes]:
    waiting, failure = fetched
    yield from waiting.chunks()
    if failure:
        raise failure


def _starts_at(stream: Stream, begin: int) -> bool:
    told = re.match(r"\s*bytes\s+(\d+)-", stream.headers.get("Content-Range", ""))
    # Without the header, which is required, the hash tells.
    return told is None or int(told[1]) == begin


def _ends_at(stream: Stream, end: int) -> bool:
    """Whether an answer says itself that it has a part up to there."""
    told = re.match(r"\s*bytes\s+\d+-(\d+)", stream.headers.get("Content-Range", ""))
    return bool(stream.status == 206 and told and int(told[1]) + 1 == end)


def _is_framed(stream: Stream) -> bool:
    return "Content-Length" in stream.headers or "Transfer-Encoding" in stream.headers


def _ranges(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Ranges that end at the same places wherever the first begins."""
    while begin < end:
        yield begin, _end_of_range(begin, end)
        begin = _end_of_range(begin, end)


def _end_of_range(begin: int, end: int) -> int:
    return min((begin // RANGE + 1) * RANGE, end)
