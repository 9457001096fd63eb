"""Snapshots of sites joined to one report, and what stands in its line, its figures and its table."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import _registry_fleet_report as reports
from _registry_fleet_metrics import write_fleet_metrics
from _registry_fleet_returns import Answer
from _registry_fleet_table import fleet_lines, is_fleet
from _registry_show_fleet_page import fleet_page
from _registry_sync_snapshot import no_snapshot
from support.cursor import moving, spoilt

NOW = 1_000_000.0
CRON, NOVA = "rhosp13/openstack-cron:13.0", "rhosp13/openstack-nova:13.0"
OLD, NEW = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
MISSING = Answer("'registry_sync.last' is not available.", 1)


def snapshot(**keys: Any) -> dict[str, Any]:
    usual = {
        "at": NOW - 60,
        "function": "check",
        "up": True,
        "code": 0,
        "error": "",
        "tags": {CRON: NEW, NOVA: NEW},
        "counts": {"current": 2, "tags": 2},
        "version": "0.1.0",
    }
    return {**no_snapshot(), **usual, **keys}


def behind(name: str = CRON, status: str = "stale", **keys: Any) -> dict[str, Any]:
    entry = {"status": status, "since": NOW - 7200, "cause": "", "error": "", "upstream": NEW, **keys}
    return {name: entry}


def joined(
    sites: Mapping[str, Any], *, silent: Mapping[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    answers = {site: value if isinstance(value, Answer) else Answer(value) for site, value in sites.items()}
    ids = [*sites, *(silent or {})]
    words = {site: value for site, value in (silent or {}).items() if value}
    return reports.fleet_report(answers, words, ids=ids, now=NOW, **more)


@pytest.mark.parametrize(
    ("value", "status", "error"),
    [
        (snapshot(), "current", ""),
        (snapshot(code=2, behind=behind()), "behind", ""),
        (snapshot(code=1, behind=behind(status="failed"), error="no answer"), "failed", "no answer"),
        (snapshot(behind=behind(status="unreadable")), "failed", ""),
        (snapshot(up=False, error="connection refused"), "failed", "connection refused"),
        (snapshot(code=1, error="docker_registry:images: x"), "failed", "docker_registry:images: x"),
        (no_snapshot(), "unknown", "no check or sync has ended here yet"),
        (MISSING, "unknown", "registry_sync.last is not there; run saltutil.sync_all first"),
        (Answer("Traceback:\n  File\nKeyError: 'x'", 1), "failed", "KeyError: 'x'"),
        (Answer(None), "failed", "None"),
        (snapshot(at=NOW - 200_000), "unknown", "its last run ended 2 d ago"),
    ],
)
def test_a_site_stands_as_its_snapshot_says(value: Any, status: str, error: str) -> None:
    site = joined({"a": value}, max_age=100_000)["sites"]["a"]
    assert (site["status"], site["error"]) == (status, error)


UNREADABLE = "its answer cannot be read"
DAMAGED = [
    {"at": "x"},
    {"at": math.nan},
    {"at": math.inf},
    {"at": 1e300},
    {"at": -1e18},
    {"behind": []},
    {"behind": {CRON: "stale"}},
    {"behind": {CRON: {}}},
    {"behind": {CRON: {"status": "stale"}}},
    {"behind": behind(since=1e300)},
    {"behind": behind(status={})},
    {"behind": behind(error=5)},
    {"code": "1"},
    {"cause": 5},
    {"counts": None},
    {"counts": {"copied": "x"}},
    {"extra": {CRON: [1]}},
    {"moved": 2**64},
    {"tags": []},
    {"tags": {CRON: 5}},
    {"tags": {CRON: {}}},
    {"tags": {1: NEW}},
    {"up": None},
    {"upstreams": [1]},
    {"upstreams": "vendor:443"},
    {"url": None},
    {"version": ["0.1.0"]},
]


@pytest.mark.parametrize("damage", DAMAGED, ids=str)
def test_an_answer_that_cannot_be_read_is_a_failure_of_its_site_alone(
    damage: dict[str, Any], tmp_path: Path
) -> None:
    report = joined({"a": snapshot(), "b": snapshot(**damage)}, silent={"c": snapshot(**damage)})
    assert [report["sites"][site]["status"] for site in "abc"] == ["current", "failed", "unreachable"]
    assert (report["sites"]["b"]["error"], report["sites"]["c"]["last_known"]) == (UNREADABLE, False)
    assert report["images"][CRON]["statuses"] == {"current": 1}
    assert UNREADABLE in "\n".join(fleet_lines(report))
    assert UNREADABLE in fleet_page(report, NOW, 0)
    write_fleet_metrics(str(tmp_path / "fleet.prom"), report, NOW)


def test_a_snapshot_that_is_older_than_a_key_lacks_it() -> None:
    old = {key: value for key, value in snapshot().items() if key not in ("cause", "held", "error")}
    assert joined({"a": old})["sites"]["a"]["status"] == "current"


@pytest.mark.parametrize("url", ["http://[::1", "nowhere", "http://", ""])
def test_an_address_that_is_none_is_nobodys(url: str) -> None:
    sites = {"a": snapshot(url=url), "b": snapshot(upstreams=[url, "", "[::1"])}
    assert {site["status"] for site in joined(sites)["sites"].values()} == {"current"}
    assert reports.parents_of(sites) == {}


def test_what_a_site_says_is_one_line_that_moves_no_cursor() -> None:
    site = joined({"a": snapshot(code=1, cause="space\x1b[2J", error="the\ndisk\u202eis full")})["sites"]["a"]
    assert (site["cause"], site["error"]) == ("space [2J", "the disk is full")


def test_every_key_of_a_site_is_always_there() -> None:
    keys = {"status", "at", "age", "parent", "tier", "wave", "counts", "behind", "cause", "error"}
    keys |= {"last_known", "tags", "url", "version"}
    sites = joined({"a": snapshot(), "b": MISSING, "c": no_snapshot()}, silent={"d": None, "e": snapshot()})
    assert {site: set(entry) for site, entry in sites["sites"].items()} == dict.fromkeys("abcde", keys)


def test_a_silent_site_has_its_last_word_with_its_age_or_none() -> None:
    report = joined({"a": snapshot()}, silent={"b": snapshot(at=NOW - 7200, code=2), "c": None})
    sites = report["sites"]
    assert [sites[site]["status"] for site in "abc"] == ["current", "unreachable", "unreachable"]
    assert [sites[site]["last_known"] for site in "abc"] == [False, True, False]
    assert (sites["b"]["age"], sites["c"]["age"], sites["c"]["tags"]) == (7200.0, 0.0, {})
    assert report["images"][CRON]["statuses"] == {"current": 2}


def test_what_is_on_no_list_may_differ() -> None:
    report = joined({"a": snapshot(extra={"x:1": OLD}), "b": snapshot(extra={"x:1": NEW})})
    assert not report["images"]["x:1"]["drift"]
    wanted = joined({"a": snapshot(extra={"x:1": OLD}), "b": snapshot(tags={"x:1": NEW})})
    assert wanted["images"]["x:1"]["drift"]


def test_two_digests_under_one_tag_are_drift() -> None:
    report = joined(
        {
            "a": snapshot(),
            "b": snapshot(tags={CRON: OLD, NOVA: NEW}, code=2, behind=behind()),
            "c": snapshot(tags={NOVA: NEW}, code=2, behind=behind(status="missing"), extra={"x:1": OLD}),
            "d": snapshot(held={CRON: OLD}, tags={CRON: OLD, NOVA: NEW}),
        }
    )
    assert report["images"] == {
        CRON: {
            "statuses": {"current": 1, "stale": 1, "missing": 1, "held": 1},
            "digests": {NEW: ["a"], OLD: ["b", "d"]},
            "drift": True,
        },
        NOVA: {"statuses": {"current": 4}, "digests": {NEW: ["a", "b", "c", "d"]}, "drift": False},
        "x:1": {"statuses": {"extra": 1}, "digests": {OLD: ["c"]}, "drift": False},
    }
    assert report["summary"]["drift"] == 1


@pytest.mark.parametrize(
    ("sites", "silent", "code"),
    [
        ({"a": snapshot()}, {}, 0),
        ({"a": snapshot(), "b": snapshot(code=2, behind=behind())}, {}, 2),
        ({"a": snapshot(code=2), "b": snapshot(code=1)}, {}, 1),
        ({"a": snapshot()}, {"b": snapshot()}, 1),
        ({"a": snapshot(), "b": MISSING}, {}, 1),
        ({}, {}, 1),
    ],
)
def test_the_return_code_tells_whether_it_is_known_that_all_are_current(
    sites: Any, silent: Any, code: int
) -> None:
    assert joined(sites, silent=silent)["retcode"] == code


def test_who_mirrors_from_whom_follows_from_addresses() -> None:
    sites = {
        "region": snapshot(url="https://region.example.com"),
        "site": snapshot(url="http://Site.test:5000", upstreams=["vendor:443", "region.example.com:443"]),
        "edge": snapshot(url="http://[fd00::1]:5000", upstreams=["site.test:5000"]),
        "below": snapshot(upstreams=["[fd00::1]:5000"]),
        "east": snapshot(url="http://localhost:5000", upstreams=["localhost:5000"]),
        "west": snapshot(url="http://localhost:5000", upstreams=["localhost:5000"]),
    }
    parents = reports.parents_of(sites)
    assert parents == {"site": "region", "edge": "site", "below": "edge"}
    assert [reports.tier_of(site, parents) for site in sites] == [0, 1, 2, 3, 0, 0]


def test_parents_may_be_named_and_sites_in_a_circle_have_none() -> None:
    sites = {name: snapshot(url=f"http://{name}:5000") for name in ("a", "b", "c", "edge-1", "edge-2")}
    sites["a"]["upstreams"], sites["b"]["upstreams"] = ["b:5000"], ["a:5000"]
    sites["c"]["upstreams"] = ["a:5000"]
    named = {"edge-2": "", "edge-*": "c"}
    assert reports.parents_of(sites, named) == {"c": "a", "edge-1": "c"}


def test_two_hundred_sites_of_132_tags_are_joined_in_little_time_and_space() -> None:
    tags = {f"rhosp13/openstack-image-{number}:13.0": NEW for number in range(132)}
    late = behind(next(iter(tags)))
    sites = {
        f"site-{number:03}": snapshot(tags=tags, behind=late if number % 50 == 0 else {})
        for number in range(200)
    }
    began = time.process_time()
    report = joined(sites)
    seconds = time.process_time() - began
    size = len(json.dumps(report, separators=(",", ":")))
    print(f"200 sites of 132 tags: {seconds * 1000:.0f} ms, {size} bytes")
    assert (report["summary"]["current"], report["summary"]["behind"]) == (196, 4)
    # A tenth of it is usual; a second would be a loop within a loop.
    assert seconds < 1
    assert size < 4_000_000


def test_a_monitor_gets_one_line_and_its_own_codes() -> None:
    assert reports.brief(joined({"a": snapshot()}))[0] == 0
    lagging = {"a": snapshot(), "b": snapshot(code=2, behind=behind())}
    assert reports.brief(joined(lagging)) == (
        1,
        "WARNING - 1 current, 1 behind (b) | current=1;;;0; behind=1;;;0; failed=0;;;0; unreachable=0;;;0; "
        "unknown=0;;;0; drift=0;;;0;",
    )
    broken = joined({"b": snapshot(code=1, cause="space")}, silent={"c": None, "d": None})
    code, line = reports.brief(broken)
    assert code == 2
    assert line.startswith("CRITICAL - 1 failed (b: space), 2 unreachable (c, …) | ")
    assert reports.brief(joined({}))[0] == 3


WAVE = {"status": "done", "sites": 1, "copied": 12, "bytes": 1_200_000, "failed": 0, "unreachable": 0}
WAVES = {
    "canary": {**WAVE, "seconds": 4.0, "error": ""},
    "sites": {**WAVE, "status": "stopped", "failed": 1, "seconds": 1.0, "error": "1 of 1 failed: b"},
}


def test_figures_for_prometheus_have_every_site_and_wave(tmp_path: Path) -> None:
    report = joined({"a": snapshot(), 'b"': snapshot(code=2, behind=behind())}, waves=WAVES)
    file = tmp_path / "fleet.prom"
    write_fleet_metrics(str(file), report, NOW)
    lines = file.read_text("utf-8").splitlines()
    for line in (
        'registry_fleet_sites{status="behind"} 1',
        "registry_fleet_drifting_images 0",
        "registry_fleet_asked_timestamp_seconds 1000000",
        'registry_fleet_site{site="a",status="current"} 1',
        'registry_fleet_site{site="a",status="unreachable"} 0',
        'registry_fleet_site_behind_tags{site="b\\""} 1',
        'registry_fleet_site_last_run_timestamp_seconds{site="a"} 999940',
        'registry_fleet_wave{wave="sites",status="stopped"} 1',
        'registry_fleet_wave_failed_sites{wave="sites"} 1',
    ):
        assert line in lines
    assert file.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["fleet.prom"]


def test_a_table_has_waves_what_differs_and_what_is_wrong_and_a_summary() -> None:
    report = joined(
        {
            "a": snapshot(),
            "b": snapshot(tags={CRON: OLD, NOVA: NEW}, code=2, behind=behind(), version="0.0.9"),
            "c": snapshot(code=1, cause="space", error="the disk\x1b[2J is full"),
        },
        silent={"d": snapshot(at=NOW - 7200)},
        waves=WAVES,
        left_out=["c"],
    )
    report["moves"] = {"a": {"tags": 12, "bytes": 1_200_000}, "b": {"tags": 12, "bytes": 1_200_000}}
    assert fleet_lines(report) == [
        "4 sites, 2 images",
        "",
        "  canary  done         1 site; 12 tags, 1.2 MB",
        "  sites   stopped      1 site; 1 failed; 12 tags, 1.2 MB",
        "      1 of 1 failed: b",
        "",
        "  a b  12 tags, 1.2 MB each",
        "",
        "  rhosp13/openstack-cron:13.0  differs: bbbbbbbbbbbb at a c d, aaaaaaaaaaaa at b",
        "",
        "  b  behind: 1 stale",
        "  d  unreachable: its minion does not answer; last word 2 h ago",
        "  c  failed: space: the disk [2J is full",
        "",
        "  formula 0.0.9 at b",
        "  in no wave: c",
        "",
        "1 current, 1 behind, 1 unreachable, 1 failed; 1 image differs; 0.0 s",
    ]


def test_nothing_that_a_site_says_can_move_the_cursor() -> None:
    told = snapshot(code=1, cause="space", error="full", behind=behind(), extra={"x:1": OLD})
    sites = {"a": spoilt(told), "b": snapshot(tags={CRON: OLD}, extra={"x:1": NEW}, version="0.0.9")}
    report = joined(sites, silent={"c": spoilt(told)}, waves=spoilt(WAVES, but=["status"]), left_out=["a"])
    assert moving(fleet_lines(report)) == []
    assert moving(fleet_lines(spoilt(report, but=["status"]))) == []
    assert moving([reports.brief(report)[1]]) == []


def test_a_line_and_a_mistake_are_shown_as_they_are() -> None:
    for key in ("line", "error"):
        answer = {key: "registry_fleet:waves: is empty", "retcode": 1, "outputter": "registry_sync"}
        assert is_fleet(answer)
        assert fleet_lines(answer) == ["registry_fleet:waves: is empty"]
    assert not is_fleet({"site-a": "OK"})
