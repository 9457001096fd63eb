"""What last and runs look like on a terminal."""

from __future__ import annotations

import time
from typing import Any

import pytest

from _registry_last_table import last_lines, run_lines
from support.cursor import moving, spoilt

AT = time.mktime((2026, 11, 25, 3, 0, 0, 0, 0, -1))
COUNTS = dict.fromkeys(("current", "missing", "stale", "held", "extra", "unreadable", "copied", "failed"), 0)


def snapshot(**more: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "at": AT,
        "function": "check",
        "url": "http://mirror.example.com:5000",
        "up": True,
        "tags": {"a/b:1": "4f1c2b7d9e0a"},
        "behind": {},
        "counts": {**COUNTS, "current": 1, "tags": 1},
        "seconds": 0.42,
        "moved": 0,
        "code": 0,
        "cause": "",
        "error": "",
        "running": False,
    }
    return usual | more


def lag(status: str, cause: str = "", error: str = "") -> dict[str, Any]:
    return {"status": status, "since": AT, "cause": cause, "error": error}


def test_a_mirror_that_is_current_needs_two_lines() -> None:
    assert last_lines(snapshot(), now=AT + 7200) == [
        "mirror.example.com:5000  up, 1 of 1 tag here  check of 2026-11-25 03:00, 2 h ago",
        "",
        "1 current; 0.4 s",
    ]


def test_what_lags_is_told_by_repository_with_its_age_and_what_failed_last() -> None:
    behind = {
        "a/b:x": lag("failed", "network", "no line\x1b[2J"),
        "a/b:1": lag("stale"),
        "a/b:2": lag("stale"),
        "a/c:1": lag("missing"),
    }
    counts = {**COUNTS, "stale": 2, "missing": 1, "failed": 1, "copied": 3, "tags": 7}
    ran = {"function": "sync", "moved": 18_000_000, "running": True}
    assert last_lines(snapshot(behind=behind, counts=counts, code=1, **ran), now=AT + 59) == [
        "mirror.example.com:5000  up, 1 of 7 tags here  sync of 2026-11-25 03:00, 59 s ago, a sync runs",
        "  a/b:1 2  stale since 2026-11-25 03:00",
        "  a/c:1  missing since 2026-11-25 03:00",
        "  a/b:x  failed since 2026-11-25 03:00: network: no line [2J",
        "",
        "3 copied, 2 stale, 1 missing, 1 failed; 0.4 s, moved 18 MB",
    ]


def test_a_run_that_could_not_look_says_why() -> None:
    told = last_lines(snapshot(code=1, error="docker_registry:imags: unknown key"), now=AT + 200_000)
    assert told[0].endswith("2 d ago")
    assert told[1] == "  docker_registry:imags: unknown key"


def test_before_the_first_run_one_sentence_says_so() -> None:
    nothing = snapshot(function="", at=0.0, error="no check or sync has ended here yet")
    assert last_lines(nothing) == ["no check or sync has ended here yet"]


@pytest.mark.parametrize(
    ("run", "line"),
    [
        ({}, "2026-11-25 03:00  check  up to date   1 current  0.4 s"),
        (
            {"code": 1, "cause": "network", "error": "no line"},
            "2026-11-25 03:00  check  failed       1 current  0.4 s  network: no line",
        ),
        (
            {"function": "sync", "code": 2, "moved": 9_900_000},
            "2026-11-25 03:00  sync   out of date  1 current  0.4 s  9.9 MB",
        ),
    ],
)
def test_a_run_is_a_line(run: dict[str, Any], line: str) -> None:
    assert run_lines([snapshot(**run)]) == [line]


@pytest.mark.parametrize("but", [(), ("status",)])
def test_nothing_that_a_minion_says_can_move_the_cursor(but: Any) -> None:
    told = spoilt(snapshot(behind={"a/b:x": lag("failed", "network", "no line")}, code=1), but=but)
    assert moving(last_lines(told, now=AT)) == []
    refused = spoilt(snapshot(code=1, cause="space", error="the disk is full"))
    assert moving([*last_lines(refused, now=AT), *run_lines([refused])]) == []
    assert moving(last_lines(spoilt(snapshot(function="", error="nothing has ended here")))) == []
