"""Threads: jobs that wait for one another, and calls for every item of a list.

Planning has made the whole graph before the first job starts, so there is nothing to lock but the
queue: no job starts another, and none waits while it holds a thread. All threads are daemons: one
that hangs in a dead connection does not keep the process when a run is stopped.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from _registry_oci_errors import Stopped

Item = TypeVar("Item")
Result = TypeVar("Result")

# What jobs get to close their uploads when a run is stopped; the process should be gone in two seconds.
GRACE_SECONDS = 1.5
LOOK_SECONDS = 0.1


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
        work: Callable[[], object],
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
        self.ended = False

    def run(self) -> None:
        """Do the work unless what it needs has failed; keeps the error."""
        error = next((job.error for job in self.needs if job.error), None)
        if error is None:
            try:
                self.work()
            except Exception as failure:  # noqa: BLE001 - told by whoever reads the job
                error = failure
        self.error = error
        self.ended = True


def run_jobs(jobs: Sequence[Job], workers: int, stopping: threading.Event | None = None) -> None:
    """Run all jobs and return when the last has ended; what failed stands in the jobs.

    Args:
        jobs: every job of the graph, in any order; the graph has no circle.
        workers: threads at most.
        stopping: once it is set, jobs that have not ended a moment later are left behind as stopped.
    """
    pool = _Pool(jobs)
    try:
        for number in range(min(workers, len(jobs))):
            _start(pool, number)
        pool.wait(stopping)
    except BaseException:
        pool.abandon()
        raise
    for job in jobs:
        if not job.ended:
            job.error = Stopped("stopped before this was done")


def _start(pool: _Pool, number: int) -> None:
    thread = threading.Thread(target=pool.work, name=f"registry-{number}", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        # A host at its limit of threads: those that there are do the work.
        if not number:
            raise


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

    def abandon(self) -> None:
        """Have no job start any more."""
        with self._changed:
            self._left = 0
            self._ready.clear()
            self._changed.notify_all()

    def wait(self, stopping: threading.Event | None) -> None:
        leave_at = None
        with self._changed:
            while self._left and (leave_at is None or time.monotonic() < leave_at):
                self._changed.wait(LOOK_SECONDS)
                if leave_at is None and stopping is not None and stopping.is_set():
                    leave_at = time.monotonic() + GRACE_SECONDS

    def _next(self) -> Job | None:
        with self._changed:
            while self._left and not self._ready:
                self._changed.wait()
            return heapq.heappop(self._ready)[2] if self._left else None

    def _ended(self, job: Job) -> None:
        with self._changed:
            if not self._left:
                return
            self._left -= 1
            for follower in self._followers.get(job, ()):
                self._waiting[follower] -= 1
                if not self._waiting[follower]:
                    self._push(follower)
            self._changed.notify_all()

    def _push(self, job: Job) -> None:
        heapq.heappush(self._ready, (job.urgency, next(self._order), job))


def in_parallel(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    stopping: threading.Event | None = None,
) -> list[Result]:
    """Call for every item, in threads, and give the results in the order of the items.

    Raises:
        Exception: the first that a call raised, once all have ended.
    """
    results: dict[int, Result] = {}

    def keep(position: int) -> None:
        results[position] = work(items[position])

    jobs = [Job(lambda position=position: keep(position)) for position in range(len(items))]  # type: ignore[misc]
    run_jobs(jobs, workers, stopping)
    for job in jobs:
        if job.error:
            raise job.error
    return [results[position] for position in range(len(items))]
