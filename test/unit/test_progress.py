"""Progress: what sinks are told, and that nothing they do reaches the run."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

import _registry_show_progress as progress
import _registry_show_sinks as listeners
from _registry_oci_manifest import Descriptor
from _registry_show_progress import BlobStatus, Progress, State, TagResult
from _registry_show_sinks import Events, Lines

TICK = 0.01
DIGEST = "sha256:" + "9be1f00c7a31" + "0" * 52
HORIZON = BlobStatus("rhosp13/openstack-horizon", DIGEST, 312_000_000, 140_400_000)
CRON = BlobStatus("rhosp13/openstack-cron", DIGEST.replace("9", "8"), 2_000_000, 1_000_000)


class Ear:
    """Keeps what it was told, and by which thread."""

    def __init__(self) -> None:
        self.states: list[State] = []
        self.landings: list[TagResult] = []
        self.threads: set[int] = set()

    def __call__(self, state: State, landings: Sequence[TagResult]) -> None:
        self.states.append(state)
        self.landings += landings
        self.threads.add(threading.get_ident())


def test_many_workers_are_counted_and_one_thread_tells() -> None:
    ear = Ear()
    told = Progress([ear], tick=TICK)
    told.start(8, 80, 8000)

    def work(number: int) -> None:
        with told.carrying("a/b", Descriptor(DIGEST, 1000)) as flight:
            for _ in range(1000):
                flight.received(1)
        told.tag_done(f"a/b:{number}", "copied" if number else "failed", "" if number else "auth", "")

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    told.finish()
    last = ear.states[-1]
    assert (last.tags, last.blobs, last.size) == (8, 80, 8000)
    assert (last.moved, last.landed, last.failed, last.ended, last.flying) == (8000, 8, 1, True, ())
    assert sorted(landing.name for landing in ear.landings) == [f"a/b:{number}" for number in range(8)]
    assert len(ear.threads) == 1
    assert threading.get_ident() not in ear.threads


def test_only_the_last_telling_has_ended() -> None:
    ear = Ear()
    told = Progress([ear], tick=TICK)
    told.start(1, 1, 1)
    time.sleep(5 * TICK)
    told.finish()
    assert [state.ended for state in ear.states][-1:] == [True]
    assert not any(state.ended for state in ear.states[:-1])
    assert len(ear.states) > 1


def test_counting_is_cheap() -> None:
    told = Progress([])
    # Of this process, so that a busy machine does not count.
    began = time.process_time()
    with told.carrying("a/b", Descriptor(DIGEST, 100_000)) as flight:
        for _ in range(100_000):
            flight.received(1)
    # A chunk of 1 MiB takes some 300 microseconds on a 25 Gbit/s line.
    assert time.process_time() - began < 1.0


def test_a_sink_that_fails_is_dropped_and_the_others_hear_on() -> None:
    calls: list[State] = []

    def broken(state: State, landings: Sequence[TagResult]) -> None:
        calls.append(state)
        raise RuntimeError("no ear")

    ear = Ear()
    told = Progress([broken, ear], tick=TICK)
    told.start(1, 1, 1)
    time.sleep(5 * TICK)
    told.finish()
    assert len(calls) == 1
    assert ear.states[-1].ended


def test_a_sink_that_hangs_holds_the_run_up_for_moments_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LAST_WORD_SECONDS", 0.05)
    released = threading.Event()
    told = Progress([lambda state, landings: released.wait(10)], tick=TICK)
    told.start(1, 1, 1)
    time.sleep(3 * TICK)
    began = time.monotonic()
    told.finish()
    assert time.monotonic() - began < 1
    released.set()


def test_without_sinks_there_is_no_thread() -> None:
    before = threading.active_count()
    told = Progress()
    told.start(1, 1, 1)
    told.tag_done("a/b:1", "copied")
    assert threading.active_count() == before
    told.finish()


def test_a_run_that_never_started_tells_nothing_when_it_finishes() -> None:
    ear = Ear()
    Progress([ear]).finish()
    assert ear.states == []


def test_rate_and_time_left() -> None:
    state = State(2, 4, size=1000, moved=250, seconds=5.0)
    assert state.rate == 50
    assert state.seconds_left == 15
    assert State(2, 4, 1000).seconds_left is None
    assert State(2, 4, size=10, moved=20, seconds=1.0).seconds_left == 0


def test_what_is_under_way_is_told_until_it_is_not() -> None:
    ear = Ear()
    told = Progress([ear], tick=TICK)
    told.start(1, 2, 300)
    small, large = Descriptor("sha256:a", 100), Descriptor("sha256:b", 200)
    with told.carrying("a/b", small) as one, told.carrying("c/d", large) as other:
        one.received(10)
        other.received(60)
        other.received(40)
        wait_until(lambda: bool(ear.states) and ear.states[-1].moved == 110)
        # The largest first, whichever began first.
        assert ear.states[-1].flying == (
            BlobStatus("c/d", "sha256:b", 200, 100),
            BlobStatus("a/b", "sha256:a", 100, 10),
        )
        assert [blob.percent for blob in ear.states[-1].flying] == [50, 10]
    wait_until(lambda: not ear.states[-1].flying)
    told.finish()


def test_a_blob_that_fails_is_not_under_way_any_more() -> None:
    ear = Ear()
    told = Progress([ear], tick=TICK)
    told.start(1, 1, 100)
    with contextlib.suppress(OSError), told.carrying("a/b", Descriptor("sha256:a", 100)):
        raise OSError
    told.finish()
    assert ear.states[-1].flying == ()


def test_a_blob_taken_up_again_counts_what_is_there_and_one_begun_anew_does_not() -> None:
    told = Progress()
    with told.carrying("a/b", Descriptor("sha256:a", 100)) as flight:
        flight.restart(70)
        flight.received(10)
        assert flight.now.percent == 80
        flight.restart()
        flight.received(30)
        assert flight.now.percent == 30
        # A registry that knows no ranges sends some bytes twice.
        flight.received(90)
        assert flight.now.percent == 99


def test_an_empty_blob_has_a_share_too() -> None:
    assert BlobStatus("a/b", "sha256:a", 0).percent == 0


def wait_until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not what():
        assert time.monotonic() < deadline
        time.sleep(TICK)


class Bus:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def send(self, tag: str, data: dict[str, Any]) -> None:
        self.events.append((tag, data))

    def tags(self) -> list[str]:
        return [tag for tag, _ in self.events]


def test_progress_is_sent_at_most_every_two_seconds() -> None:
    bus = Bus()
    events = Events(bus.send, "salt/registry_sync/x")
    for tenths in range(100):
        events(State(1, 1, 1, seconds=tenths / 10), [])
    assert bus.tags() == ["salt/registry_sync/x/progress"] * 4
    moments = [data["seconds"] for _, data in bus.events]
    assert all(later - earlier >= 2 for earlier, later in itertools.pairwise(moments))


def test_every_landing_is_an_event_and_so_is_the_end() -> None:
    bus = Bus()
    events = Events(bus.send, "t")
    events(State(2, 1, 1), [TagResult("a/b:1", "copied"), TagResult("a/b:2", "failed", "auth", "refused")])
    events(State(2, 1, 1, landed=2, failed=1, ended=True), [])
    assert bus.events[:2] == [
        ("t/image", {"name": "a/b:1", "status": "copied", "cause": "", "error": ""}),
        ("t/image", {"name": "a/b:2", "status": "failed", "cause": "auth", "error": "refused"}),
    ]
    assert bus.tags()[2:] == ["t/done"]
    assert set(bus.events[2][1]) == {
        "tags", "landed", "failed", "blobs", "bytes", "moved", "rate", "seconds", "seconds_left",
    }  # fmt: skip


def test_lines_come_now_and_then() -> None:
    lines: list[str] = []
    tell = Lines(lines.append, 5)
    for second in range(11):
        tell(State(132, 9, size=1_300_000_000, moved=25_000_000 * second, landed=7, seconds=second), [])
    assert lines == [
        "7 of 132 tags, 125 of 1300 MB, 25.0 MB/s, 47 s left",
        "7 of 132 tags, 250 of 1300 MB, 25.0 MB/s, 42 s left",
    ]


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (0, "rhosp13/openstack-horizon 9be1f00c7a31 45 % of 312 MB; 7 more"),
        (61, "rhosp13/openstack-horizon 9be1f00c7a31 45 % of 312 MB; 7 more"),
        (60, "openstack-horizon 9be1f00c7a31 45 % of 312 MB; 7 more"),
        (52, "openstack-horizon 45 % of 312 MB; 7 more"),
        (39, "45 % of 312 MB; 7 more"),
        (21, ""),
    ],
)
def test_what_is_under_way_is_said_in_the_room_there_is(width: int, text: str) -> None:
    state = State(132, 9, 1, flying=(HORIZON, *[CRON] * 7))
    assert listeners.under_way(state, width) == text


def test_a_single_blob_has_no_others_and_none_says_nothing() -> None:
    alone = State(1, 1, 1, flying=(HORIZON,))
    assert listeners.under_way(alone) == "rhosp13/openstack-horizon 9be1f00c7a31 45 % of 312 MB"
    assert listeners.under_way(State(1, 1, 1)) == ""


WHOLE = "7 of 132 tags, 125 of 1300 MB, 25.0 MB/s, 47 s left"


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (0, f"{WHOLE}; rhosp13/openstack-horizon 9be1f00c7a31 45 % of 312 MB; 1 more"),
        (114, f"{WHOLE}; rhosp13/openstack-horizon 9be1f00c7a31 45 % of 312 MB; 1 more"),
        (113, f"{WHOLE}\n  rhosp13/openstack-horizon 9be1f00c7a31 45 % of 312 MB; 1 more"),
        (62, f"{WHOLE}\n  openstack-horizon 9be1f00c7a31 45 % of 312 MB; 1 more"),
        (20, WHOLE),
    ],
)
def test_a_line_that_is_too_long_becomes_two(width: int, text: str) -> None:
    state = State(132, 9, 1_300_000_000, moved=125_000_000, landed=7, seconds=5, flying=(HORIZON, CRON))
    assert listeners.in_words(state, width) == text


def test_a_log_has_each_tag() -> None:
    lines: list[str] = []
    tell = listeners.in_log(lines.append)
    tell(State(2, 1, 1), [TagResult("a/b:1", "copied"), TagResult("a/b:2", "failed", "auth", "refused")])
    assert lines == ["copied a/b:1", "failed a/b:2 (auth: refused)"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_live_line_that_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Terminal()
    sink = listeners.on_terminal(stream)
    way = State(132, 9, 1_300_000_000, moved=310_000_000, landed=7, failed=1, seconds=4)
    sink(replace(way, flying=(HORIZON, CRON)), [])
    assert "7 of 132 tags (1 failed)" in stream.getvalue()
    assert "0.3/1.3 GB" in stream.getvalue()
    assert "rhosp13/openstack-horizon 9be1f00c7a31 45 % of 312 MB; 1 more" in stream.getvalue()
    before = len(stream.getvalue())
    sink(State(132, 9, size=1_300_000_000, moved=1_300_000_000, landed=132, seconds=9, ended=True), [])
    # The cursor goes up and the line is erased: the report follows.
    assert "\x1b[2K" in stream.getvalue()[before:]


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_live_lines_keep_to_the_width_of_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    sink = listeners.on_terminal(stream)
    sink(State(132, 9, 1_300_000_000, moved=310_000_000, landed=7, seconds=4, flying=(HORIZON, CRON)), [])
    lines = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", stream.getvalue()).splitlines()
    assert max(map(len, lines)) <= columns
    # Two lines: one that broke would be drawn over wrongly.
    assert len([line for line in lines if line.strip()]) == 2


def test_nothing_to_move_draws_nothing() -> None:
    stream = Terminal()
    listeners.on_terminal(stream)(State(0, 0, 0, ended=True), [])
    assert stream.getvalue() == ""


def test_without_rich_a_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    stream = Terminal()
    listeners.on_terminal(stream)(State(2, 1, size=10_000_000, moved=5_000_000, seconds=5), [])
    assert stream.getvalue() == "0 of 2 tags, 5.0 of 10 MB, 1.0 MB/s, 5 s left\n"
