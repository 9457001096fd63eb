"""A matrix of many: two dozen minions that are processes, and two hundred sites that the mine remembers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from _registry_sync_snapshot import no_snapshot
from support.fleet import Fleet

masterapi = pytest.importorskip("salt.daemons.masterapi")
mine = pytest.importorskip("salt.utils.mine")

MANY = [f"site-{number:02}" for number in range(24)]
STOPPED = ("site-05", "site-11", "site-23")
REMEMBERED = [f"old-{number:03}" for number in range(200)]
TAGS = {f"rhosp13/openstack-image-{number}:13.0": f"{number:012x}" for number in range(132)}
GATHER = 3
TIMEOUT = 3


def snapshot(number: int) -> dict[str, Any]:
    """What a site's last run left; every fiftieth site lags, and has another digest than the rest."""
    first = next(iter(TAGS))
    lag = {"status": "stale", "since": 1.0, "cause": "", "error": "", "upstream": TAGS[first]}
    late = number % 50 == 0
    return {
        **no_snapshot(),
        "at": time.time() - 60,
        "function": "check",
        "url": f"http://site-{number}:5000",
        "up": True,
        "upstreams": ["region:5000"],
        "tags": {**TAGS, **({first: "0123456789ab"} if late else {})},
        "behind": {first: lag} if late else {},
        "code": 2 if late else 0,
        "error": "",
    }


def leave_snapshot(root: Path, number: int) -> None:
    """Put a snapshot where a minion has its own."""
    directory = root / "var/cache/salt/minion/registry_sync"
    directory.mkdir(parents=True)
    (directory / "last.json").write_text(json.dumps(snapshot(number)), encoding="utf-8")


@pytest.fixture(scope="module")
def salt(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[Fleet]:
    directory = tmp_path_factory.mktemp("many")
    with Fleet(directory, checkout, MANY, config={"gather_job_timeout": GATHER}) as salt:
        salt.configure_fleet({"target": "site-*", "timeout": TIMEOUT})
        assert "runners.registry_fleet" in salt.typed_run("saltutil.sync_all").stdout
        yield salt


def remember(salt: Fleet) -> None:
    """Accept keys of minions that do not run, and have the master keep what they once sent to its mine."""
    opts = salt.options()
    functions = masterapi.RemoteFuncs(opts)
    keys = Path(opts["pki_dir"]) / "minions"
    key = (keys / salt.minion_id).read_text(encoding="utf-8")
    for number, site in enumerate(REMEMBERED):
        (keys / site).write_text(key, encoding="utf-8")
        if number != 199:
            entry = mine.wrap_acl_structure(snapshot(number), allow_tgt=site)
            functions._mine({"id": site, "data": {"registry_sync.last": entry}})


def test_the_mine_has_the_last_words_of_two_hundred_silent_sites(salt: Fleet) -> None:
    remember(salt)
    began = time.monotonic()
    report = salt.run("registry_fleet.matrix", target="old-*")
    seconds = time.monotonic() - began
    size = len(json.dumps(report, separators=(",", ":")))
    print(f"200 sites by the mine: {seconds:.1f} s, of which {TIMEOUT + GATHER} s are silence; {size} bytes")
    assert report["summary"]["unreachable"] == 200
    assert [site for site, entry in report["sites"].items() if not entry["last_known"]] == ["old-199"]
    first = next(iter(TAGS))
    assert report["images"][first]["statuses"] == {"current": 195, "stale": 4}
    assert report["images"][first]["digests"]["0123456789ab"] == ["old-000", "old-050", "old-100", "old-150"]
    assert report["summary"]["drift"] == 1
    assert size < 2_000_000


@pytest.mark.thorough
def test_two_dozen_minions_of_which_three_are_stopped(salt: Fleet) -> None:
    for number, site in enumerate(MANY):
        leave_snapshot(salt.root / ("minion" if site == salt.minion_id else site), number)
    salt.start(*MANY)
    # Two dozen processes on a machine that has other things to do, too.
    salt.configure_fleet({"target": "site-*", "timeout": 20})
    began = time.monotonic()
    report = salt.run("registry_fleet.matrix")
    print(f"24 live minions: {time.monotonic() - began:.1f} s")
    errors = {site: entry["error"] for site, entry in report["sites"].items() if entry["error"]}
    assert (report["summary"]["current"], report["summary"]["behind"]) == (23, 1), errors
    for site in STOPPED:
        salt.stop(site)
    began = time.monotonic()
    report = salt.run("registry_fleet.matrix")
    print(f"24 minions, 3 of them stopped: {time.monotonic() - began:.1f} s")
    silent = [site for site, entry in report["sites"].items() if entry["status"] == "unreachable"]
    assert silent == list(STOPPED)
    assert report["summary"]["current"] == 20
