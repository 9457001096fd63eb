"""A pool of threads for jobs that wait for one another.

Planning has made the whole graph before the first job starts, so there is nothing to lock but the
queue: no job starts another, and none waits while it holds a thread.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Job:
    """One piece of work.

    Args:
        work: what is done; an exception is kept, and fails the jobs that need this one.
        urgency: of the jobs that could start, the one with the smallest starts first.
        needs: jobs that must have succeeded before.
        after: jobs that must have ended before, however.
    """

    def __init__(
        self,
        work: Callable[[], None],
        urgency: tuple[int, int] = (0, 0),
        *,
        needs: Iterable[Job] = (),
        after: Iterable[Job] = (),
    ) -> None:
        self.work = work
        self.urgency = urgency
        self.needs = tuple(needs)
        self.after = tuple(after)
        self.error: Exception | None = None

    def run(self) -> None:
        """Do the work unless what it needs has failed; keeps the error."""
        self.error = next((job.error for job in self.needs if job.error), None)
        if self.error is None:
            try:
                self.work()
            except Exception as failure:  # noqa: BLE001 - told by whoever reads the job
                self.error = failure


def run_jobs(jobs: Sequence[Job], workers: int) -> None:
    """Run all jobs and return when the last has ended; what failed stands in the jobs.

    Args:
        jobs: every job of the graph, in any order; the graph has no circle.
        workers: threads at most.
    """
    pool = _Pool(jobs)
    threads = [
        threading.Thread(target=pool.work, name=f"registry-{number}", daemon=True)
        for number in range(min(workers, len(jobs)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class _Pool:
    def __init__(self, jobs: Sequence[Job]) -> None:
        self._left = len(jobs)
        self._changed = threading.Condition()
        self._order = itertools.count()
        self._ready: list[tuple[tuple[int, int], int, Job]] = []
        self._waiting: dict[Job, int] = {}
        self._followers: dict[Job, list[Job]] = {}
        for job in jobs:
            before = {*job.needs, *job.after}
            self._waiting[job] = len(before)
            for other in before:
                self._followers.setdefault(other, []).append(job)
            if not before:
                self._push(job)

    def work(self) -> None:
        while (job := self._next()) is not None:
            job.run()
            self._ended(job)

    def _next(self) -> Job | None:
        with self._changed:
            while not self._ready and self._left:
                self._changed.wait()
            return heapq.heappop(self._ready)[2] if self._ready else None

    def _ended(self, job: Job) -> None:
        with self._changed:
            self._left -= 1
            for follower in self._followers.get(job, ()):
                self._waiting[follower] -= 1
                if not self._waiting[follower]:
                    self._push(follower)
            self._changed.notify_all()

    def _push(self, job: Job) -> None:
        heapq.heappush(self._ready, (job.urgency, next(self._order), job))


def in_parallel(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> list[Result]:
    """Call for every item, in threads, and give the results in the order of the items."""
    if len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(workers, len(items))) as pool:
        return list(pool.map(work, items))
