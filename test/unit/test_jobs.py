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


def test_only_what_there_is_room_for_runs_and_all_that_takes_none():
    small_ran, may_end = threading.Event(), threading.Event()
    early = []

    def take_room():
        early.append(may_end.is_set())
        assert may_end.wait(10)

    jobs = [Job(take_room, (1, turn), width=2) for turn in range(4)]
    small = Job(small_ran.set, (0, 0), needs=[Job(lambda: None, (0, 0))])
    threading.Timer(0.3, may_end.set).start()
    run_jobs([*jobs, *small.needs, small], workers=9, room=5)
    assert small_ran.is_set()
    assert [job.error for job in jobs] == [None] * 4
    assert early.count(False) == 2


def test_a_job_that_needs_no_more_room_lets_the_next_begin_before_it_ends():
    next_ran = threading.Event()

    def narrow():
        first.narrow()
        assert next_ran.wait(10)

    first = Job(narrow, (1, 0), width=2)
    second = Job(next_ran.set, (1, 1), width=2)
    run_jobs([first, second], workers=2, room=3)
    assert [first.error, second.error] == [None, None]


def test_a_job_wider_than_all_the_room_runs_alone():
    done = []
    run_jobs([Job(lambda: done.append(1), width=9), Job(lambda: done.append(2), width=1)], 2, room=2)
    assert sorted(done) == [1, 2]


def test_results_come_in_the_order_of_the_items():
    assert in_parallel(lambda number: number * 2, list(range(50)), 4) == [n * 2 for n in range(50)]
