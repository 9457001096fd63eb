"""A real master, sites whose minions are real processes, and registries between them: seen and rolled out."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.fleet import Fleet, wait_for
from support.images import Layer, docker_image
from support.registries import Distribution
from support.registry_content import push

pytestmark = [pytest.mark.needs("docker-distribution")]

# A region that mirrors from the vendor, a canary, a site that mirrors from the region, and one below that.
SITES = ("region-1", "site-01", "site-02", "edge-1")
IMAGES = ("openstack-cron", "openstack-nova")
WAVES = [
    {"region": {"target": "region-*"}},
    {"canary": {"target": "site-01"}},
    {"sites": {"target": "site-*"}},
    {"edge": {"target": "edge-*"}},
]
FLEET = {"target": "I@docker_registry:*", "waves": WAVES, "retries": 0, "timeout": 5}
# Seconds for which silence is waited for once more; other tests of a master have a minute for busy machines.
GATHER = 6


class World:
    """The fleet, and the registry of each site and of the vendor."""

    def __init__(self, salt: Fleet, vendor: Distribution, registries: dict[str, Distribution]) -> None:
        self.salt, self.vendor, self.registries = salt, vendor, registries

    def pillars(self) -> dict[str, Any]:
        above = {"region-1": self.vendor, "edge-1": self.registries["site-02"]}
        return {
            site: {
                "upstream": _address(above.get(site, self.registries["region-1"])),
                "local": _address(self.registries[site]),
                "images": [{"name": f"rhosp13/{name}", "tags": ["13.0"]} for name in IMAGES],
                "transfer": {"retries": 0},
            }
            for site in SITES
        }

    def push(self, *names: str, size: int = 100_000) -> dict[str, str]:
        """Put something new under tags of the vendor."""
        self._count = getattr(self, "_count", 0) + 1
        return {
            name: push(
                self.vendor.url,
                f"rhosp13/{name}",
                "13.0",
                docker_image([Layer(f"{name} {self._count}", size)]),
            )
            for name in names
        }

    def used(self) -> dict[str, int]:
        return {site: registry.disk_usage() for site, registry in self.registries.items()}

    def statuses(self, report: dict[str, Any]) -> dict[str, str]:
        return {site: entry["status"] for site, entry in report["sites"].items()}


def _address(registry: Distribution) -> dict[str, Any]:
    return {"host": registry.host, "port": registry.port, "tls": False}


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory,
    checkout: Path,
    start_module_registry: Callable[..., Distribution],
) -> Iterator[World]:
    vendor = start_module_registry()
    registries = {site: start_module_registry() for site in SITES}
    directory = tmp_path_factory.mktemp("fleet")
    config = {"gather_job_timeout": GATHER}
    with Fleet(directory, checkout, SITES, strangers=["edge-1"], config=config) as salt:
        salt.configure_fleet(FLEET)
        world = World(salt, vendor, registries)
        salt.set_pillars(world.pillars())
        salt.start(*SITES)
        salt.on("*", "saltutil.refresh_pillar", wait=True)
        # What an operator types; the runner finds its library by it.
        assert "runners.registry_fleet" in salt.typed_run("saltutil.sync_all").stdout
        world.push(*IMAGES)
        yield world


def statuses(report: dict[str, Any]) -> dict[str, str]:
    return {site: entry["status"] for site, entry in report["sites"].items()}


def waves(report: dict[str, Any]) -> list[str]:
    return [wave["status"] for wave in report["waves"].values()]


def test_a_site_whose_formula_is_an_old_one_is_unknown_and_told_what_to_do(world: World) -> None:
    report = world.salt.run("registry_fleet.matrix")
    assert statuses(report) == dict.fromkeys(SITES, "unknown")
    assert {site: entry["error"] for site, entry in report["sites"].items()} == {
        "edge-1": "registry_sync.last is not there; run saltutil.sync_all first",
        **dict.fromkeys(SITES[:3], "no check or sync has ended here yet"),
    }
    assert report["retcode"] == 1
    world.salt.on("edge-1", "saltutil.sync_all")
    report = world.salt.run("registry_fleet.matrix", target="edge-*")
    assert report["sites"]["edge-1"]["error"] == "no check or sync has ended here yet"


def test_a_plan_says_what_would_move_and_writes_nothing(world: World) -> None:
    before = world.used()
    report = world.salt.run("registry_fleet.plan", wave="region")
    assert report["moves"]["region-1"]["tags"] == 2
    assert report["moves"]["region-1"]["bytes"] > 100_000
    assert (waves(report), report["retcode"]) == (["not started"], 2)
    assert world.used() == before


def test_one_command_brings_every_site_up_to_date_in_the_order_of_the_waves(world: World) -> None:
    since = len(world.salt.events())
    report = world.salt.run("registry_fleet.rollout")
    assert waves(report) == ["done"] * 4, report["waves"]
    assert statuses(report) == dict.fromkeys(SITES, "current")
    assert (report["retcode"], report["left_out"], report["summary"]["drift"]) == (0, [], 0)
    parents = {site: (entry["parent"], entry["tier"]) for site, entry in report["sites"].items()}
    assert parents == {
        "region-1": ("", 0),
        "site-01": ("region-1", 1),
        "site-02": ("region-1", 1),
        "edge-1": ("site-02", 2),
    }
    wait_for(lambda: "done" in dict(world.salt.fleet_events(since)), "no event of the end")
    events = world.salt.fleet_events(since)
    told = [data["wave"] for kind, data in events if kind == "wave" and data["status"] == "done"]
    assert told == ["region", "canary", "sites", "edge"]
    assert [data["site"] for kind, data in events if kind == "site"] == list(SITES)


def test_a_second_rollout_moves_nothing(world: World) -> None:
    before = world.used()
    report = world.salt.run("registry_fleet.rollout")
    print("seconds of each wave that moves nothing:", [wave["seconds"] for wave in report["waves"].values()])
    assert (waves(report), report["moves"], report["retcode"]) == (["done"] * 4, {}, 0)
    assert world.used() == before


def test_each_command_ends_as_the_fleet_stands_and_gives_data_or_a_table(world: World) -> None:
    typed = world.salt.typed_run("--out=json", "registry_fleet.matrix")
    assert (typed.code, typed.value["summary"]["current"]) == (0, 4)
    table = world.salt.typed_run("registry_fleet.matrix")
    assert table.stdout.splitlines()[0] == "4 sites, 2 images"
    brief = world.salt.typed_run("registry_fleet.matrix", "brief=True")
    assert brief.stdout.startswith("OK - 4 current | current=4;;;0; behind=0;;;0; failed=0;;;0; ")
    assert (brief.code, brief.stdout.count("\n")) == (0, 1)
    world.salt.configure_fleet({**FLEET, "waves": [{"region": {"target": "nobody"}}]})
    refused = world.salt.typed_run("registry_fleet.rollout")
    assert refused.code == 1
    assert " ".join(refused.stdout.split()).startswith("registry_fleet:waves: region (nobody) is of nobody")
    world.salt.configure_fleet({**FLEET, "wave": []})
    mistake = world.salt.typed_run("registry_fleet.matrix", "brief=True")
    assert mistake.stdout.startswith("UNKNOWN - registry_fleet:wave: unknown key")
    assert mistake.code == 3
    world.salt.configure_fleet(FLEET)


def test_a_canary_that_fails_leaves_the_later_waves_without_a_byte(world: World) -> None:
    world.push("openstack-nova")
    before = world.used()
    world.registries["site-01"].stop()
    report = world.salt.run("registry_fleet.rollout")
    assert waves(report) == ["done", "stopped", "not started", "not started"]
    assert report["sites"]["site-01"]["status"] == "failed"
    assert report["sites"]["site-01"]["cause"] == "network"
    assert report["retcode"] == 1
    assert set(report["moves"]) == {"region-1"}
    for site in ("site-02", "edge-1"):
        assert world.registries[site].disk_usage() == before[site]
    world.registries["site-01"].start()
    healed = world.salt.run("registry_fleet.rollout")
    assert (waves(healed), set(healed["moves"])) == (["done"] * 4, {"site-01", "site-02", "edge-1"})


def test_a_silent_site_is_told_from_a_failed_one_and_has_its_last_word_in_the_mine(world: World) -> None:
    world.salt.stop("site-02")
    world.push("openstack-nova")
    began = time.monotonic()
    report = world.salt.run("registry_fleet.matrix")
    print(f"matrix with a silent site: {time.monotonic() - began:.1f} s")
    silent = report["sites"]["site-02"]
    assert (silent["status"], silent["last_known"], len(silent["tags"])) == ("unreachable", True, 2)
    assert silent["age"] > 0
    assert report["summary"]["unreachable"] == 1
    rolled = world.salt.run("registry_fleet.rollout")
    assert waves(rolled) == ["done", "done", "stopped", "not started"]
    assert rolled["waves"]["sites"]["unreachable"] == 1
    assert rolled["waves"]["sites"]["error"] == "1 of 1 silent: site-02 (its minion does not answer)"
    world.salt.start("site-02")
    healed = world.salt.run("registry_fleet.rollout")
    assert (waves(healed), set(healed["moves"])) == (["done"] * 4, {"site-02", "edge-1"})


def test_two_digests_under_one_tag_are_named(world: World) -> None:
    other = push(
        world.registries["site-01"].url, "rhosp13/openstack-cron", "13.0", docker_image([Layer("other", 9)])
    )
    report = world.salt.run("registry_fleet.matrix", fresh=True)
    image = report["images"]["rhosp13/openstack-cron:13.0"]
    assert image["drift"]
    assert image["digests"][other.partition(":")[2][:12]] == ["site-01"]
    assert image["statuses"] == {"current": 3, "stale": 1}
    assert (report["summary"]["drift"], report["retcode"]) == (1, 2)
    assert not report["images"]["rhosp13/openstack-nova:13.0"]["drift"]


def test_an_orchestration_plans_in_test_mode_and_fails_where_a_wave_does(world: World) -> None:
    world.push("openstack-cron")
    before = world.used()
    sls = "docker_registry.fleet"
    world.salt.configure_fleet(None)
    pillar = {"registry_fleet": FLEET}
    [planned] = _highstate(world.salt.run("state.orchestrate", mods=sls, test=True, pillar=pillar)).values()
    world.salt.configure_fleet(FLEET)
    assert planned["result"] is None, planned
    assert set(planned["changes"]) == {"region", "canary"}
    assert world.used() == before
    [done] = _highstate(world.salt.run("state.orchestrate", mods=sls)).values()
    assert done["result"] is True, done
    assert {site for sites in done["changes"].values() for site in sites} == set(SITES)
    world.registries["edge-1"].stop()
    failed = world.salt.typed_run("--out=json", "state.orchestrate", sls)
    world.registries["edge-1"].start()
    assert failed.code == 1
    [state] = _highstate(failed.value).values()
    assert state["result"] is False
    assert "edge: 1 of 1 failed: edge-1" in state["comment"]


def _highstate(value: Any) -> Any:
    [states] = value["data"].values()
    return states


@pytest.fixture
def slow(world: World) -> Iterator[World]:
    """Return the fleet with a region that takes a minute for what is new."""
    pillars = world.pillars()
    pillars["region-1"]["transfer"]["bandwidth"] = "200kB"
    world.salt.set_pillars(pillars)
    world.salt.on("region-1", "saltutil.refresh_pillar", wait=True)
    world.push("openstack-nova", size=12_000_000)
    yield world
    world.salt.set_pillars(world.pillars())
    world.salt.on("region-1", "saltutil.refresh_pillar", wait=True)


def begun(world: World, since: int) -> bool:
    """Whether the region's sync moves bytes."""
    tag = "salt/registry_sync/region-1/progress"
    return any(name == tag and data["data"]["moved"] for name, data in world.salt.events()[since:])


def test_stop_with_kill_ends_what_runs_and_a_second_rollout_is_kept_out(slow: World) -> None:
    since = len(slow.salt.events())
    rollout = slow.salt.begin("registry_fleet.rollout")
    wait_for(lambda: begun(slow, since), "the region does not sync")
    refused = slow.salt.run("registry_fleet.rollout")
    assert refused["retcode"] == 1
    assert refused["error"].startswith("another rollout runs (jid 20")
    assert f"pid {rollout.pid}" in refused["error"]
    began = time.monotonic()
    stopped = slow.salt.run("registry_fleet.stop", kill=True)
    print(f"stop kill=True: {time.monotonic() - began:.1f} s")
    assert stopped["jid"] in refused["error"]
    assert stopped["running"] == []
    report = json.loads(rollout.communicate(timeout=120)[0])
    assert rollout.returncode == 1
    assert waves(report) == ["stopped", "not started", "not started", "not started"]
    assert set(report["moves"]) <= {"region-1"}


def test_stop_lets_what_runs_end_and_publishes_nothing_more(slow: World) -> None:
    since = len(slow.salt.events())
    rollout = slow.salt.begin("registry_fleet.rollout")
    wait_for(lambda: begun(slow, since), "the region does not sync")
    stopped = slow.salt.run("registry_fleet.stop")
    assert stopped["running"] == ["region-1"]
    report = json.loads(rollout.communicate(timeout=240)[0])
    assert waves(report) == ["done", "not started", "not started", "not started"]
    assert (set(report["moves"]), rollout.returncode) == ({"region-1"}, 1)


@pytest.mark.thorough
def test_a_killed_rollout_leaves_sites_that_finish_and_the_next_one_moves_nothing_there(slow: World) -> None:
    since = len(slow.salt.events())
    rollout = slow.salt.begin("registry_fleet.rollout")
    wait_for(lambda: begun(slow, since), "the region does not sync")
    os.kill(rollout.pid, signal.SIGKILL)
    rollout.wait()
    matrix = slow.salt.run("registry_fleet.matrix")
    assert matrix["waves"]["region"]["error"] == "the rollout was killed"
    report = slow.salt.run("registry_fleet.rollout")
    assert waves(report) == ["done"] * 4, report["waves"]
    assert statuses(report) == dict.fromkeys(SITES, "current")
    assert set(report["moves"]) == {"site-01", "site-02", "edge-1"}
