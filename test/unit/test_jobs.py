from __future__ import annotations

import threading

from _registry_sync_jobs import Job, in_parallel, run_jobs


def test_a_job_starts_when_all_it_needs_have_succeeded():
    done = []
    first = Job(lambda: done.append("first"))
    second = Job(lambda: done.append("second"), needs=[first])
    third = Job(lambda: done.append("third"), needs=[first, second])
    run_jobs([third, second, first], workers=3)
    assert done == ["first", "second", "third"]


def test_a_failure_fails_what_needs_it_and_nothing_else():
    def fail():
        raise ValueError("broken")

    done = []
    broken = Job(fail)
    needs = Job(lambda: done.append("needs"), needs=[broken])
    below = Job(lambda: done.append("below"), needs=[needs])
    after = Job(lambda: done.append("after"), after=[broken])
    other = Job(lambda: done.append("other"))
    run_jobs([broken, needs, below, after, other], workers=2)
    assert sorted(done) == ["after", "other"]
    assert below.error is broken.error
    assert str(broken.error) == "broken"
    assert after.error is None


def test_the_most_urgent_goes_first():
    done = []
    jobs = [Job(lambda size=size: done.append(size), (1, -size)) for size in (1, 3, 2)]
    run_jobs([*jobs, Job(lambda: done.append("soon"), (0, 0))], workers=1)
    assert done == ["soon", 3, 2, 1]


def test_jobs_run_side_by_side():
    meeting = threading.Barrier(3, timeout=10)
    jobs = [Job(meeting.wait) for _ in range(3)]
    run_jobs(jobs, workers=3)
    assert [job.error for job in jobs] == [None] * 3


def test_results_come_in_the_order_of_the_items():
    assert in_parallel(lambda number: number * 2, list(range(50)), 4) == [n * 2 for n in range(50)]
