"""Threads that fetch what will be wanted soon, and where that waits for its turn."""

from __future__ import annotations

import contextlib
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from typing import BinaryIO, Generic, TypeVar

from _registry_oci_errors import RegistryError, Unreachable

Result = TypeVar("Result")

# Bytes that are read at a time of what has waited.
BLOCK = 256 * 1024
# A try follows the one that failed within so long, or there will be none.
LEFT_SECONDS = 30.0


class ReadAhead(Generic[Result]):
    """A few threads that fetch what will be wanted soon, with a bound on what they hold together.

    Args:
        threads: how many fetch at a time.
        places: results that may wait, or be under way, at a time.
    """

    def __init__(self, threads: int, places: int) -> None:
        self._threads = threads
        self._places = threading.Semaphore(places)
        self._queue: queue.SimpleQueue[tuple[Future[Result], Callable[[], Result]] | None]
        self._queue = queue.SimpleQueue()
        self._running = 0
        self._lock = threading.Lock()

    def begin(self, fetch: Callable[[], Result]) -> Future[Result] | None:
        """Have something fetched, if there is a place for it; ``give_back`` must follow."""
        if not self._places.acquire(blocking=False):
            return None
        if not self._start():
            self._places.release()
            return None
        future: Future[Result] = Future()
        self._queue.put((future, fetch))
        return future

    def give_back(self, future: Future[Result]) -> None:
        """The result has been used, or is not wanted any more: its place is free once it is there."""
        future.cancel()
        future.add_done_callback(lambda _: self._places.release())

    def _start(self) -> bool:
        """Whether there is a thread; a host at its limit may have none left."""
        with self._lock:
            if not self._running:
                for number in range(self._threads):
                    thread = threading.Thread(target=self._work, name=f"registry-ahead-{number}", daemon=True)
                    try:
                        thread.start()
                    except RuntimeError:
                        break
                    self._running += 1
            return self._running > 0

    def close(self) -> None:
        """Let the threads end once they have nothing left to do."""
        for _ in range(self._threads):
            self._queue.put(None)

    def _work(self) -> None:
        while (wanted := self._queue.get()) is not None:
            future, fetch = wanted
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(fetch())
            except Exception as failure:  # noqa: BLE001 - raised again where the result is taken
                future.set_exception(failure)


class Waiting:
    """Bytes of a range that came ahead of their turn: on a disk, or in memory where that has no room.

    Args:
        directory: of the file, which has no name there.
    """

    def __init__(self, directory: str) -> None:
        self._rest: list[bytes] = []
        self._file: BinaryIO | None = None
        with contextlib.suppress(OSError):
            # Closed once it is read, or forgotten.
            self._file = tempfile.TemporaryFile(dir=directory or None, buffering=0)  # noqa: SIM115

    def add(self, chunk: bytes) -> None:
        """Keep the bytes that follow."""
        rest = memoryview(chunk)
        with contextlib.suppress(OSError):
            while rest and self._file and not self._rest:
                rest = rest[self._file.write(rest) :]
        if rest:
            self._rest.append(bytes(rest))

    def chunks(self) -> Iterator[bytes]:
        """All that was kept, once.

        Raises:
            Unreachable: the disk does not give back what it took; it is to be fetched again.
        """
        if self._file:
            with self._file as file:
                file.seek(0)
                while block := _read(file):
                    yield block
        yield from self._rest


def _read(file: BinaryIO) -> bytes:
    try:
        return file.read(BLOCK)
    except OSError as failure:
        raise Unreachable(f"a range that waits on this host's disk: {failure.strerror}") from failure


# What came of a range, and why no more did.
Fetched = tuple[Waiting, RegistryError | None]


class RangesAhead(ReadAhead[Fetched]):
    """Threads that fetch ranges of large blobs.

    Args:
        threads: how many fetch at a time, each one range; as many may wait or be under way.
        directory: where what came waits; empty = where temporary files are.
    """

    def __init__(self, threads: int, directory: str) -> None:
        super().__init__(threads, threads)
        self.directory = directory
        self._left: dict[tuple[Hashable, int], tuple[float, Future[Fetched]]] = {}

    def begin(self, fetch: Callable[[], Fetched]) -> Future[Fetched] | None:
        """Have a range fetched, if there is a place for it, or what was left has kept one for too long."""
        future = super().begin(fetch)
        if future is None and self._forget_old():
            future = super().begin(fetch)
        return future

    def leave(self, blob: Hashable, begin: int, future: Future[Fetched]) -> None:
        """Keep a range of a blob for the next try, which comes soon or not at all."""
        self._left[blob, begin] = time.monotonic(), future

    def take(self, blob: Hashable, begin: int) -> Future[Fetched] | None:
        """A range of a blob that an earlier try has left, unless it failed, too: that is told once."""
        future = self._left.pop((blob, begin), (0, None))[1]
        if future and future.done() and (future.exception() or future.result()[1]):
            self.give_back(future)
            return None
        return future

    def _forget_old(self) -> bool:
        old = [
            key for key, (left_at, _) in [*self._left.items()] if time.monotonic() - left_at > LEFT_SECONDS
        ]
        for key in old:
            self.give_back(self._left.pop(key)[1])
        return bool(old)
