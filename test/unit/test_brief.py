"""The one line for Nagios and its like."""

from __future__ import annotations

import re
from typing import Any

import pytest

from _registry_show_nagios import WORDS, brief, unknown
from _registry_show_report import return_code


def report(up: bool = True, error: str = "", **statuses: list[str]) -> dict[str, Any]:
    told = dict.fromkeys(("current", "extra", "stale", "missing", "unreadable", "copied", "failed"), 0)
    return {
        "registry": {"url": "http://mirror:5000", "up": up, "error": error},
        "images": {
            name: {"status": status, "cause": "auth" if status == "unreadable" else ""}
            for status, names in statuses.items()
            for name in names
        },
        "summary": told
        | {status: len(names) for status, names in statuses.items()}
        | {"tags": sum(map(len, statuses.values())), "seconds": 0.4},
    }


@pytest.mark.parametrize(
    ("what", "code", "text"),
    [
        (report(current=["a:1", "a:2"]), 0, "OK - 2 current"),
        (report(current=["a:1"], extra=["a:2"]), 0, "OK - 1 current, 1 extra"),
        (report(current=["a:1"], unreadable=["b:1"]), 1, "WARNING - 1 current, 1 unreadable (b:1: auth)"),
        (
            report(current=["a:1"], stale=["b:1", "c:1"], unreadable=["d:1"]),
            2,
            "CRITICAL - 1 current, 2 stale (b:1, …), 1 unreadable (d:1: auth)",
        ),
        (report(missing=["b:1"]), 2, "CRITICAL - 1 missing (b:1)"),
        (
            report(up=False, error="local mirror:5000: refused | really\n", unreadable=["a:1"]),
            2,
            "CRITICAL - http://mirror:5000 is down: local mirror:5000: refused / really",
        ),
        (report(), 0, "OK - the list is empty"),
    ],
)
def test_the_first_word_and_the_code_agree(what: dict[str, Any], code: int, text: str) -> None:
    grade, line = brief(what)
    assert (grade, line.partition(" | ")[0]) == (code, text)


@pytest.mark.parametrize(
    ("what", "script", "monitor"),
    [
        (report(current=["a:1"]), 0, "OK"),
        (report(missing=["a:1"]), 2, "CRITICAL"),
        (report(stale=["a:1"]), 2, "CRITICAL"),
        (report(unreadable=["a:1"]), 1, "WARNING"),
        (report(unreadable=["a:1"], missing=["b:1"]), 1, "CRITICAL"),
        (report(up=False, error="refused", unreadable=["a:1"]), 1, "CRITICAL"),
    ],
)
def test_a_monitor_and_a_script_are_told_each_in_its_own_codes(
    what: dict[str, Any], script: int, monitor: str
) -> None:
    assert return_code(what) == script
    code, line = brief(what)
    assert (WORDS[code], line.split()[0]) == (monitor, monitor)


def test_measures_follow_the_plugin_guidelines() -> None:
    line = brief(report(current=["a:1"], stale=["b:1"]))[1]
    measures = line.partition(" | ")[2].split()
    assert measures[:3] == ["current=1;;;0;", "extra=0;;;0;", "stale=1;;;0;"]
    assert measures[-2:] == ["tags=2;;;0;", "time=0.4s;;;0;"]
    assert all(re.fullmatch(r"[a-z]+=[0-9.]+s?;;;0;", measure) for measure in measures)


def test_a_mistake_in_the_pillar_is_unknown() -> None:
    assert unknown("docker_registry:imags: unknown key") == (
        3,
        "UNKNOWN - docker_registry:imags: unknown key",
    )
