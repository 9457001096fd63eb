"""What a master has of its sites without asking: the mine, events of the beacon, no job that nobody reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.images import Layer, docker_image
from support.pillar import pillar_of
from support.registries import Distribution
from support.registry_content import push
from support.salt_master import Master

pytestmark = pytest.mark.needs("docker-distribution")

MINION = "site-01"
NAME = "a/b:1"
IMAGE = docker_image([Layer("first", 40_000)])
SECONDS_TO_HEAR = 60
WATCHED = {"beacons": {"registry_sync": [{"interval": 1}]}}


class Centre(Master):
    """A master with one site."""

    def last_word(self) -> Any:
        """What the master's mine has of the site, whoever may read it."""
        return self.salt_run("cache.mine", MINION)[MINION].get("registry_sync.last")

    def jobs_of(self, function: str) -> int:
        """How many jobs of a function the master keeps."""
        return sum(job["Function"] == function for job in self.salt_run("jobs.list_jobs").values())


@pytest.fixture(scope="module")
def centre(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Centre]:
    with Centre(tmp_path_factory.mktemp("centre"), checkout, minion_id=MINION) as centre:
        assert "modules.registry_sync_actions" in centre.salt("saltutil.sync_all")["modules"]
        yield centre


@pytest.fixture
def set_pillar(centre: Centre, upstream: Distribution, local: Distribution) -> Callable[..., None]:
    push(upstream.url, "a/b", "1", IMAGE)

    def set_pillar(*, beside: dict[str, Any] | None = None, **others: Any) -> None:
        pillar = pillar_of(upstream, local, [{"name": "a/b", "tags": ["1"]}], **others)
        centre.set_pillar({"docker_registry": pillar, **(beside or {})})

    return set_pillar


def test_the_mine_has_the_word_of_each_run_and_no_other_minion_may_read_it(
    centre: Centre, set_pillar: Callable[..., None]
) -> None:
    set_pillar()
    centre.salt("registry_sync.check")
    wait_for(lambda: centre.last_word() is not None)
    entry = centre.last_word()
    assert entry["allow_tgt"] == MINION
    known = centre.salt("registry_sync.last")
    assert entry["__data__"] == known
    assert known["behind"][NAME]["status"] == "missing"
    assert centre.salt("mine.get", MINION, "registry_sync.last") == {MINION: known}
    # To the mine a runner is none of its minions, and gets what any other would.
    assert centre.salt_run("mine.get", MINION, "registry_sync.last") == {}
    centre.salt("registry_sync.sync")
    wait_for(lambda: centre.last_word()["__data__"]["function"] == "sync")
    assert centre.last_word()["__data__"]["tags"].keys() == {NAME}


def test_a_site_that_says_so_tells_the_mine_nothing(centre: Centre, set_pillar: Callable[..., None]) -> None:
    centre.salt("mine.delete", "registry_sync.last")
    set_pillar(mine=False)
    centre.salt("registry_sync.check")
    assert centre.salt("registry_sync.last")["function"] == "check"
    assert centre.last_word() is None


def test_the_same_may_come_of_mine_functions_for_whom_the_site_wants(
    centre: Centre, set_pillar: Callable[..., None]
) -> None:
    functions = {"registry_sync.last": [{"allow_tgt": MINION}]}
    set_pillar(mine=False, beside={"mine_functions": functions})
    centre.salt("registry_sync.check")
    centre.salt("mine.update")
    wait_for(lambda: centre.last_word() is not None)
    assert centre.last_word()["__data__"]["function"] == "check"


def test_a_scheduled_run_leaves_its_word_and_no_job(centre: Centre, set_pillar: Callable[..., None]) -> None:
    for kept in (False, True):
        set_pillar(schedule={"function": "check", "hours": 6, "return_job": kept})
        assert centre.salt("state.apply", "docker_registry.schedule")
        began = time.time()
        before = centre.jobs_of("registry_sync.check")
        centre.salt("schedule.run_job", "docker_registry", "force=True")
        wait_for(lambda began=began: centre.salt("registry_sync.last")["at"] > began)
        # What is kept comes after the run has ended; what is not never does.
        deadline = time.monotonic() + (SECONDS_TO_HEAR if kept else 5)
        while centre.jobs_of("registry_sync.check") == before and time.monotonic() < deadline:
            time.sleep(0.5)
        # A busy master is told twice of a job that has no ID yet, and makes two of it.
        assert (centre.jobs_of("registry_sync.check") > before) == kept


def test_the_masters_bus_hears_of_each_change_once(
    centre: Centre, set_pillar: Callable[..., None], upstream: Distribution
) -> None:
    set_pillar(beside=WATCHED)
    # A minion of Salt 3006 that runs goes by the pillar's beacons once it has loaded its modules anew.
    centre.salt("saltutil.refresh_modules")
    centre.salt("registry_sync.sync")
    upstream.stop()
    since = len(centre.events())
    centre.salt("registry_sync.check")
    wait_for(lambda: told(centre, since) != [])
    centre.salt("saltutil.refresh_pillar", "wait=True")
    time.sleep(5)
    ((tag, data),) = told(centre, since)
    assert tag == f"salt/beacon/{MINION}/registry_sync/failed"
    assert (data["was"], data["cause"]) == ("current", "network")


def told(centre: Centre, since: int) -> list[tuple[str, dict[str, Any]]]:
    """The beacon's events after the first so many of the bus."""
    return [event for event in centre.events()[since:] if event[0].startswith("salt/beacon/")]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS_TO_HEAR
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.5)
