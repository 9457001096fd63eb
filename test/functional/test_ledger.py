"""What the ledger says of what sync has put into a registry, and of what somebody else has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import _registry_sync_prune_run as prune_run
from _registry_show_progress import Progress, State, TagResult
from _registry_sync_ledger import Ledger
from _registry_sync_lock import AlreadyRunning, only_one
from _registry_sync_prune import Item
from support import faults
from support.images import Layer, docker_image, docker_list
from support.proxy import FaultProxy
from support.pruning import AT_ONCE, REPOSITORY, Mirror, fill, images, simple, statuses
from support.registries import Distribution
from support.registry_content import digest_of, push, tags_of

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

OLD = f"{REPOSITORY}:old"


@pytest.fixture
def site(upstream: Distribution, local: Distribution, tmp_path: Path) -> Mirror:
    return Mirror(upstream, local, tmp_path)


def ledger_of(site: Mirror) -> Ledger:
    return Ledger(str(site.state), site.local.url)


def test_a_tag_whose_last_copy_failed_goes_all_the_same_once_nothing_wants_it(site: Mirror) -> None:
    fill(site, old=simple("old"), new=simple("new"))
    site.sync(images("old", "new"))
    newer = docker_image([Layer("newer")])
    push(site.upstream.url, REPOSITORY, "old", newer)
    real = site.upstream
    with FaultProxy(real.url) as line:
        line.on("GET", "/blobs/", faults.answer(500), times=None)
        site.upstream = line
        site.sync(images("old", "new"), must_end_well=False)
        entry = ledger_of(site).entry(REPOSITORY, "old")
        assert entry is not None
        assert entry.pending == newer.digest
    site.upstream = real
    site.sync(images("new"))
    site.forget(images("new"))
    assert tags_of(site.local.url, REPOSITORY) == ["new"]


def test_what_a_sync_had_put_there_when_it_was_killed_goes_once_nothing_wants_it(site: Mirror) -> None:
    made = fill(site, old=simple("old"), new=simple("new"))
    site.sync(images("new"))
    ledger_of(site).begin([(REPOSITORY, "old", "", made["old"].digest)])
    push(site.local.url, REPOSITORY, "old", made["old"])
    site.sync(images("new"))
    assert statuses(site.prune(images("new"))) == {"app:new": "kept", "app:old": "doomed"}


def test_what_is_somebody_elses_waits_from_our_first_sight_of_it(site: Mirror) -> None:
    fill(site, new=simple("new"))
    site.sync(images("new"))
    push(site.local.url, "team/else", "1", simple("else"))
    rules = {**AT_ONCE, "foreign": "prune", "after": "1d"}
    first = site.prune(images("new"), prune=rules)["images"]["team/else:1"]
    assert first["status"] == "waiting"
    again = site.prune(images("new"), prune=rules)["images"]["team/else:1"]
    assert again["since"] == first["since"] > 0
    done = site.forget(images("new"), prune={**rules, "after": 0})
    assert statuses(done)["else:1"] == "pruned"
    assert done["repositories"] == ["team/else"]
    # What was pruned and comes again is somebody else's still, and is seen for the first time.
    push(site.local.url, "team/else", "1", simple("else"))
    assert site.prune(images("new"), prune=rules)["images"]["team/else:1"]["since"] > first["since"]


def test_a_look_takes_nothing_back_that_was_written_meanwhile(site: Mirror) -> None:
    fill(site, old=simple("old"), new=simple("new"))
    site.sync(images("old", "new"))
    site.sync(images("new"))
    real = site.local
    with FaultProxy(real.url) as line:
        site.move_ledger_to(line)
        site.local = line

        def hold(request: faults.Request, pass_on: faults.PassOn) -> faults.Response:
            ledger = ledger_of(site)
            ledger.hold(REPOSITORY, "old", "sha256:" + "1" * 64)
            ledger.save()
            return pass_on(request)

        line.on("HEAD", "/manifests/old", hold)
        site.prune(images("new"))
        assert [held[1] for held in ledger_of(site).held()] == ["old"]
        assert site.prune(images("new"))["images"][OLD]["reason"] == "a roll-back holds it"


def test_a_prune_tells_how_far_it_is(site: Mirror) -> None:
    tags = [str(number) for number in range(5)]
    fill(site, new=simple("new"), **{tag: simple(tag) for tag in tags})
    site.sync(images("new", *tags))
    site.sync(images("new"))
    states: list[State] = []
    results: list[TagResult] = []

    def hear(state: State, landings: Any) -> None:
        states.append(state)
        results.extend(landings)

    prune_run.prune(
        site.settings([images("new")]),
        directory=str(site.cache),
        ledger_directory=str(site.state),
        automatic=True,
        progress=Progress([hear], tick=0.01),
    )
    assert {result.name for result in results} == {f"{REPOSITORY}:{tag}" for tag in tags}
    assert {result.status for result in results} == {"pruned"}
    assert states[-1].ended
    assert (states[-1].landed, states[-1].tags, states[-1].size) == (5, 5, 0)


def test_zot_each_deletion_is_told_before_it_happens(site: Mirror) -> None:
    twin = simple("twin")
    child = simple("child")
    fill(site, new=twin, twin=twin, old=docker_list([child]))
    site.sync(images("new", "twin", "old"))
    site.sync(images("new"))
    told: dict[str, int] = {}

    def tell(item: Item) -> None:
        assert item.digest.startswith("sha256:")
        assert item.reason
        told[item.reference] = site.status(item.reference)

    settings, places = site.settings([images("new")]), {"directory": str(site.cache)}
    prune_run.prune(settings, **places, ledger_directory=str(site.state), automatic=True, tell=tell)
    assert told == {"twin": 200, "old": 200, child.digest: 200}
    assert tags_of(site.local.url, REPOSITORY) == ["new"]


def test_beside_a_sync_a_plan_is_not_carried_out_and_a_look_writes_nothing(site: Mirror) -> None:
    fill(site, old=simple("old"), new=simple("new"))
    site.sync(images("old", "new"))
    site.sync(images("new"))
    plan = site.prune(images("new"))["plan"]
    (file,) = site.state.iterdir()
    before = file.read_bytes()
    with only_one(str(site.cache), site.settings([images("new")]).local):
        for arguments in ({"plan": plan}, {"automatic": True}):
            with pytest.raises(AlreadyRunning):
                site.prune(images("new"), **arguments)
        assert site.prune(images("new"))["plan"] == plan
    assert file.read_bytes() == before
    assert tags_of(site.local.url, REPOSITORY) == ["new", "old"]


def test_a_registry_that_speaks_tls_from_now_on_keeps_its_ledger(site: Mirror) -> None:
    fill(site, app=simple("first"))
    site.sync(images("app"))
    secure = site.local.url.replace("http://", "https://")
    ledger = Ledger(str(site.state), secure)
    assert ledger.trouble == ""
    assert ledger.digest(REPOSITORY, "app") == digest_of(site.local.url, REPOSITORY, "app")
    ledger.save()
    site.sync(images("app"))
    assert site.prune(images("app"))["refused"] == ""


def test_a_sync_says_that_a_damaged_ledger_tells_no_roll_backs(
    site: Mirror, caplog: pytest.LogCaptureFixture
) -> None:
    fill(site, app=simple("first"))
    site.sync(images("app"))
    (file,) = site.state.iterdir()
    file.write_text(file.read_text("utf-8")[:-20], "utf-8")
    site.sync(images("app"))
    assert f"{file}: is damaged; what roll-backs hold is not known, and prune refuses" in caplog.messages


def test_what_is_noted_under_a_clock_that_went_back_waits_once_it_is_right_again(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path), "http://here:5000", clock=lambda: 2e9)
    ledger.became("a", "1", "sha256:1")
    ledger.save()
    ledger = Ledger(str(tmp_path), "http://here:5000", clock=lambda: 0.0)
    assert ledger.clock_went_back
    ledger.note_wanted({})
    ledger.save()
    again = Ledger(str(tmp_path), "http://here:5000", clock=lambda: 2e9 + 5)
    assert again.references("a")["1"].unwanted == 2e9
