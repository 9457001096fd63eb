"""Where something is amiss nothing is forgotten, and one sentence says what."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import faults
from support.faults import Action
from support.proxy import FaultProxy
from support.pruning import AT_ONCE, REPOSITORY, Mirror, fill, images, simple, statuses
from support.registries import Distribution
from support.registry_content import digest_of, tags_of

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

VERSIONS = [f"1.{number}" for number in range(10)]


@pytest.fixture
def site(upstream: Distribution, local: Distribution, tmp_path: Path) -> Mirror:
    return Mirror(upstream, local, tmp_path)


def test_above_the_ceiling_only_the_plan_goes_on(site: Mirror) -> None:
    fill(site, **{tag: simple(tag) for tag in ("1.0", "2.0", "3.0")})
    site.sync(images("1.0", "2.0", "3.0"))
    site.sync(images("3.0"))
    rules = {**AT_ONCE, "ceiling": "50%"}
    report = site.prune(images("3.0"), automatic=True, prune=rules)
    assert "67 % of the tags would go, more than prune:ceiling (50 %)" in report["refused"]
    assert tags_of(site.local.url, "team/app") == ["1.0", "2.0", "3.0"]
    done = site.prune(images("3.0"), plan=report["plan"], prune=rules)
    assert done["summary"]["pruned"] == 2


def test_where_deletes_are_off_nothing_is_overwritten(site: Mirror) -> None:
    twin = simple("twin")
    fill(site, old=twin, new=twin)
    site.sync(images("old", "new"))
    site.sync(images("new"))
    plan = site.prune(images("new"))["plan"]
    site.local.reconfigure({"storage": {"delete": {"enabled": False}}})
    report = site.prune(images("new"), plan=plan)
    assert "405" in report["refused"]
    assert digest_of(site.local.url, "team/app", "old") == twin.digest


def _lose_ledger(site: Mirror) -> None:
    for file in site.state.iterdir():
        file.unlink()


def _damage_ledger(site: Mirror) -> None:
    for file in site.state.iterdir():
        file.write_text(file.read_text("utf-8")[:-20], "utf-8")


def _turn_clock_back(site: Mirror) -> None:
    for file in site.state.iterdir():
        content = json.loads(file.read_text("utf-8"))
        content["written"] += 3600
        file.write_text(json.dumps(content), "utf-8")


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (_lose_ledger, "no sync of this very list"),
        (_damage_ledger, "is damaged"),
        (_turn_clock_back, "clock is earlier"),
        (lambda site: site.local.stop(), "connection refused"),
    ],
    ids=["ledger lost", "ledger damaged", "clock back", "registry down"],
)
def test_where_something_is_amiss_nothing_is_pruned(
    harm: Callable[[Mirror], None], sentence: str, site: Mirror
) -> None:
    fill(site, old=simple("old"), new=simple("new"))
    site.sync(images("old", "new"))
    site.sync(images("new"))
    plan = site.prune(images("new"))["plan"]
    harm(site)
    for arguments in ({}, {"plan": plan}, {"automatic": True}):
        report = site.prune(images("new"), **arguments)
        assert sentence in report["refused"]
    if site.local.process is None:
        site.local.start()
    assert tags_of(site.local.url, "team/app") == ["new", "old"]


@pytest.mark.needs("mount")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a directory for reading alone")
def test_where_the_ledger_can_only_be_read_nothing_is_pruned(site: Mirror) -> None:
    fill(site, old=simple("old"), new=simple("new"))
    site.sync(images("old", "new"))
    site.sync(images("new"))
    plan = site.prune(images("new"))["plan"]
    with _read_only(site.state):
        for arguments in ({}, {"plan": plan}, {"automatic": True}):
            report = site.prune(images("new"), **arguments)
            assert report["refused"].endswith("cannot be written: Read-only file system")
    assert tags_of(site.local.url, REPOSITORY) == ["new", "old"]


@contextlib.contextmanager
def _read_only(directory: Path) -> Iterator[None]:
    subprocess.run(["mount", "--bind", directory, directory], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", directory], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


def test_ocm_693_a_list_of_defaults_or_none_prunes_nothing(site: Mirror) -> None:
    fill(site, old=simple("old"), new=simple("new"))
    site.sync(images("old", "new"))
    report = site.prune(automatic=True)
    assert report["refused"] == "docker_registry:images is empty"
    assert tags_of(site.local.url, "team/app") == ["new", "old"]


def test_quay_516_before_a_whole_sync_of_this_list_nothing_is_pruned(site: Mirror) -> None:
    fill(site, old=simple("old"), new=simple("new"))
    site.sync(images("old", "new"))
    report = site.prune(images("new"), automatic=True)
    assert report["refused"] == "no sync of this very list has ended without a failure yet"


def _say(*tags: str, link: str = "") -> Action:
    headers = {"Link": f'<{link}>; rel="next"'} if link else {}
    return faults.answer(200, json.dumps({"name": REPOSITORY, "tags": list(tags)}).encode(), headers)


def _half_a_page(line: FaultProxy, second: Action) -> None:
    next_page = f"/v2/{REPOSITORY}/tags/list?n=1000&last=1.4"
    line.on("GET", "/tags/list", _say(*VERSIONS[:5], link=next_page), times=None)
    line.on("GET", "/tags/list.*last=1.4", second, times=None)


# What upstream may say instead of its tags.
AMISS: dict[str, Callable[[FaultProxy], object]] = {
    "500": lambda line: line.on("GET", "/tags/list", faults.answer(500), times=None),
    "404": lambda line: line.on("GET", "/tags/list", faults.answer(404), times=None),
    "empty": lambda line: line.on("GET", "/tags/list", _say(), times=None),
    "others": lambda line: line.on("GET", "/tags/list", _say("2.0"), times=None),
    "cut": lambda line: line.on("GET", "/tags/list", faults.cut_after(40), times=None),
    "short": lambda line: line.on("GET", "/tags/list", faults.truncate(40), times=None),
    "next page 500": lambda line: _half_a_page(line, faults.answer(500)),
    "next page 404": lambda line: _half_a_page(line, faults.answer(404)),
    "next page cut": lambda line: _half_a_page(line, faults.cut_after(10)),
    "next page reset": lambda line: _half_a_page(line, faults.reset()),
}


@pytest.mark.parametrize("amiss", AMISS.values(), ids=AMISS)
def test_quay_5852_an_upstream_that_does_not_list_all_of_its_tags_dooms_nothing(
    amiss: Callable[[FaultProxy], object], site: Mirror
) -> None:
    fill(site, **{version: simple(version) for version in VERSIONS})
    with FaultProxy(site.upstream.url) as line:
        site.upstream = line
        site.sync(images("1.*"))
        amiss(line)
        report = site.prune(images("1.*"), automatic=True)
        assert set(statuses(report).values()) == {"kept"}
        reasons = {image["reason"] for image in report["images"].values()}
        assert len(reasons) == 1
        assert reasons.pop().startswith("what the list wants here is not known: upstream ")
        # A sync that meets the same is none that a prune goes by.
        synced = site.sync(images("1.*"), must_end_well=False)
        assert synced["summary"]["failed"] == 1
        line.forget_rules()
        assert site.prune(images("1.*"))["plan"] == ""
    assert tags_of(site.local.url, REPOSITORY) == VERSIONS


def test_half_a_page_that_looks_whole_starts_the_waiting_and_is_above_the_ceiling(site: Mirror) -> None:
    fill(site, **{version: simple(version) for version in VERSIONS})
    with FaultProxy(site.upstream.url) as line:
        site.upstream = line
        site.sync(images("1.*"))
        line.on("GET", "/tags/list", _say(*VERSIONS[:5]), times=None)
        waits = site.prune(images("1.*"), automatic=True, prune={"after": "1d"})
        assert waits["summary"]["waiting"] == 5
        at_once = site.prune(images("1.*"), automatic=True, prune={**AT_ONCE, "ceiling": "10%"})
        assert "50 % of the tags would go, more than prune:ceiling (10 %)" in at_once["refused"]
    assert tags_of(site.local.url, REPOSITORY) == VERSIONS


def test_an_upstream_that_is_down_dooms_nothing(site: Mirror) -> None:
    fill(site, **{"1.0": simple("1.0"), "1.1": simple("1.1")})
    site.sync(images("1.*"))
    site.upstream.stop()
    report = site.prune(images("1.*"))
    assert set(statuses(report).values()) == {"kept"}
    assert "is not known" in report["images"][f"{REPOSITORY}:1.0"]["reason"]


def test_a_list_that_a_registry_of_ours_does_not_give_prunes_nothing(site: Mirror) -> None:
    fill(site, old=simple("old"), new=simple("new"))
    site.sync(images("old", "new"))
    site.sync(images("new"))
    real = site.local
    with FaultProxy(real.url) as line:
        site.move_ledger_to(line)
        site.local = line
        line.on("GET", "/tags/list", faults.answer(500), times=None)
        report = site.prune(images("new"), automatic=True)
        assert report["refused"].startswith("local ")
    assert tags_of(real.url, REPOSITORY) == ["new", "old"]


@pytest.mark.parametrize("says", [_say(), _say("old"), faults.answer(404)], ids=["empty", "fewer", "404"])
def test_a_list_of_our_own_that_lacks_tags_dooms_none_of_their_digests(says: Action, site: Mirror) -> None:
    golden = simple("golden")
    fill(site, old=simple("old"), new=simple("new"), golden=golden)
    site.sync(images("old", "new", "golden"))
    site.sync(images("new"))
    rules = {**AT_ONCE, "keep": {"tags": ["golden"]}}
    real = site.local
    with FaultProxy(real.url) as line:
        site.move_ledger_to(line)
        site.local = line
        line.on("GET", "/tags/list", says, times=None)
        site.forget(images("new"), prune=rules)
    assert tags_of(real.url, REPOSITORY) == ["golden", "new"]
    assert digest_of(real.url, REPOSITORY, "golden") == golden.digest
