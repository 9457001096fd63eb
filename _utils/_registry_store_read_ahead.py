"""Threads that fetch what will be wanted soon, with a bound on what they hold."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Result = TypeVar("Result")


class ReadAhead(Generic[Result]):
    """A few threads that fetch what will be wanted soon, with a bound on what they hold together.

    Args:
        threads: how many fetch at a time.
        places: results that may wait, or be under way, at a time: the bound on memory.
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
