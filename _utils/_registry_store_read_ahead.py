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
        self._started = False
        self._lock = threading.Lock()

    def begin(self, fetch: Callable[[], Result]) -> Future[Result] | None:
        """Have something fetched, if there is a place for it; ``give_back`` must follow."""
        if not self._places.acquire(blocking=False):
            return None
        self._start()
        future: Future[Result] = Future()
        self._queue.put((future, fetch))
        return future

    def give_back(self, future: Future[Result]) -> None:
        """The result has been used, or is not wanted any more: its place is free once it is there."""
        future.cancel()
        future.add_done_callback(lambda _: self._places.release())

    def _start(self) -> None:
        with self._lock:
            if self._started:
                return
            self._started = True
        for number in range(self._threads):
            threading.Thread(target=self._work, name=f"registry-ahead-{number}", daemon=True).start()

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
