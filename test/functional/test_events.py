"""A real master: events of a sync on its bus, tables on its terminal, a schedule on its minion."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.images import Layer, docker_image
from support.registries import Distribution
from support.registry_content import push
from support.salt_master import Master
from support.salt_minion import Minion

pytestmark = [pytest.mark.needs("docker-distribution")]

MINION = "mirror"
TAGS = ["13.0", "latest"]
SECONDS_FOR_EVENTS = 30
# The reactor of docs/following.md, with a file for what the nodes would do.
REACTION = """\
{%- if data['data']['failed'] == 0 and data['data']['landed'] %}
Nodes are told that their mirror has news:
  local.file.write:
    - tgt: {{ data['id'] }}
    - args:
      - path: REACTED
      - args: ['{{ data['data']['landed'] }} tags']
{%- endif %}
"""
# Fields of progress and done.
MEASURES = {"tags", "landed", "failed", "blobs", "bytes", "moved", "rate", "seconds", "seconds_left"}


@pytest.fixture(scope="module")
def upstream(start_module_registry: Callable[..., Distribution]) -> Distribution:
    upstream = start_module_registry()
    for name in ("aodh-api", "cron"):
        push(upstream.url, f"rhosp13/openstack-{name}", TAGS, docker_image([Layer(name, 6_000_000)]))
    return upstream


@pytest.fixture(scope="module")
def make_pillar(upstream: Distribution) -> Callable[..., dict[str, Any]]:
    def make(local: Distribution, **more: Any) -> dict[str, Any]:
        settings = {
            "upstream": {"host": upstream.host, "port": upstream.port, "tls": False},
            "local": {"host": local.host, "port": local.port},
            "image_defaults": {"tags": TAGS},
            "images": ["aodh-api", "cron"],
        }
        return {"docker_registry": settings | more}

    return make


class Site(Master):
    """A master whose reactor leaves a file where a sync has brought news."""

    def __init__(self, directory: Path, checkout: Path) -> None:
        self.reacted = directory / "reacted"
        reaction = directory / "mirrored.sls"
        reaction.write_text(REACTION.replace("REACTED", str(self.reacted)))
        reactor = [{"salt/registry_sync/*/done": [str(reaction)]}]
        super().__init__(directory, checkout, minion_id=MINION, config={"reactor": reactor})

    def events_since(self, count: int, *, until: str) -> list[tuple[str, dict[str, Any]]]:
        """Our events after the first `count` of the bus, in their order, once one of a kind has come."""
        prefix = f"salt/registry_sync/{MINION}/"
        deadline = time.monotonic() + SECONDS_FOR_EVENTS
        while time.monotonic() < deadline:
            ours = [(tag, data["data"]) for tag, data in self.events()[count:] if tag.startswith(prefix)]
            events = [(tag.removeprefix(prefix), data) for tag, data in ours]
            if until in [kind for kind, _ in events]:
                return events
            time.sleep(0.1)
        raise AssertionError(f"no {until} event")


@pytest.fixture(scope="module")
def site(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site"), checkout) as site:
        assert "modules.registry_sync" in site.salt("saltutil.sync_all")["modules"]
        yield site


def test_a_sync_tells_the_masters_bus_how_far_it_is(
    site: Site, local: Distribution, make_pillar: Callable[..., dict[str, Any]]
) -> None:
    site.set_pillar(make_pillar(local, transfer={"bandwidth": "3MB"}))
    since = len(site.events())
    assert site.salt("registry_sync.sync")["summary"]["copied"] == 4
    events = site.events_since(since, until="done")
    images = [data for kind, data in events if kind == "image"]
    assert {image["name"] for image in images} == {
        f"rhosp13/openstack-{name}:{tag}" for name in ("aodh-api", "cron") for tag in TAGS
    }
    assert {image["status"] for image in images} == {"copied"}
    progress = [data for kind, data in events if kind == "progress"]
    assert set(progress[0]) == MEASURES
    assert 0 < progress[0]["moved"] < progress[0]["bytes"]
    moments = [data["seconds"] for data in progress]
    assert all(later - earlier >= 1.9 for earlier, later in itertools.pairwise(moments))
    kind, done = events[-1]
    assert kind == "done"
    assert (done["tags"], done["landed"], done["failed"]) == (4, 4, 0)
    wait_for(site.reacted)
    assert site.reacted.read_text() == "4 tags\n"


def test_a_sync_typed_on_the_minion_tells_the_master_too(
    site: Site, local: Distribution, make_pillar: Callable[..., dict[str, Any]]
) -> None:
    site.set_pillar(make_pillar(local))
    since = len(site.events())
    site.salt_call("registry_sync.sync")
    kinds = [kind for kind, _ in site.events_since(since, until="done")]
    assert kinds.count("image") == 4


def test_a_prune_tells_the_masters_bus_of_each_deletion_and_rings_no_bell_of_a_sync(
    site: Site, local: Distribution, make_pillar: Callable[..., dict[str, Any]]
) -> None:
    rules = {"after": 0, "ceiling": "60%"}
    site.set_pillar(make_pillar(local))
    assert site.salt("registry_sync.sync")["summary"]["copied"] == 4
    site.set_pillar(make_pillar(local, images=["aodh-api"], prune=rules))
    site.salt("registry_sync.sync")
    plan = site.salt("registry_sync.prune")["plan"]
    since = len(site.events())
    report = site.salt("registry_sync.prune", f"plan={plan}")
    assert report["summary"]["pruned"] == 2
    events = site.events_since(since, until="pruned")
    assert {kind for kind, _ in events} == {"pruned"}
    told = {data["name"]: data for _, data in events}
    assert set(told) == {f"rhosp13/openstack-cron:{tag}" for tag in TAGS}
    for name, data in told.items():
        assert data["digest"] == report["images"][name]["local"]
        assert data["reason"].startswith("no entry of the list wants it since")


def test_a_master_shows_the_table_once_it_has_synced_the_outputter(
    site: Site, local: Distribution, make_pillar: Callable[..., dict[str, Any]]
) -> None:
    site.set_pillar(make_pillar(local))
    nested = site.typed("registry_sync.check")
    assert re.search("images:\n +-+\n", nested)
    assert site.salt_run("saltutil.sync_output")
    table = site.typed("registry_sync.check")
    assert table.startswith(f"{MINION}:\n{local.address}  up, 0 repositories, 0 tags  ")
    assert re.search("rhosp13/openstack-cron +13.0 latest +[0-9a-f]{12}  missing\n", table)


def test_a_mistake_in_the_pillar_can_be_read_on_the_master(
    site: Site, local: Distribution, make_pillar: Callable[..., dict[str, Any]]
) -> None:
    site.set_pillar(make_pillar(local, imags=[]))
    said = site.typed("registry_sync.check")
    assert "docker_registry:imags: unknown key" in said
    assert "Traceback" not in said


def test_a_schedule_comes_runs_and_goes_with_the_pillar(
    site: Site, local: Distribution, make_pillar: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    file = tmp_path / "docker_registry.prom"
    schedule = {"function": "check", "cron": "30 2 * * *", "splay": 600}
    site.set_pillar(make_pillar(local, schedule=schedule, metrics=str(file)))
    apply_schedule(site, test=True)
    assert "docker_registry" not in jobs(site)
    assert apply_schedule(site)
    assert not apply_schedule(site)
    job = jobs(site)["docker_registry"]
    assert (job["function"], job["cron"], job["splay"]) == ("registry_sync.check", "30 2 * * *", 600)
    site.salt("schedule.run_job", "docker_registry", "force=True")
    wait_for(file)
    assert 'status="missing"} 4\n' in file.read_text()
    site.set_pillar(make_pillar(local))
    assert apply_schedule(site)
    assert "docker_registry" not in jobs(site)


@pytest.mark.thorough
def test_each_function_has_hours_of_its_own_and_what_the_pillar_drops_goes(
    site: Site, local: Distribution, make_pillar: Callable[..., dict[str, Any]]
) -> None:
    hours = [{"hours": 6}, {"function": "prune", "days": 7}, {"function": "collect", "cron": "0 5 * * 6"}]
    site.set_pillar(make_pillar(local, schedule=hours))
    site.salt("state.apply", "docker_registry.schedule")
    assert scheduled(site) == {
        "docker_registry_sync": "registry_sync.sync",
        "docker_registry_prune": "registry_sync.prune",
        "docker_registry_collect": "registry_sync.collect",
    }
    assert jobs(site)["docker_registry_prune"]["kwargs"] == {"automatic": True}
    site.set_pillar(make_pillar(local, schedule=hours[0]))
    site.salt("state.apply", "docker_registry.schedule")
    assert scheduled(site) == {"docker_registry": "registry_sync.sync"}
    site.set_pillar(make_pillar(local))
    site.salt("state.apply", "docker_registry.schedule")
    assert scheduled(site) == {}


def scheduled(site: Site) -> dict[str, str]:
    return {name: job["function"] for name, job in jobs(site).items() if name.startswith("docker_registry")}


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + SECONDS_FOR_EVENTS
    while not (file.exists() and file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)


def apply_schedule(site: Site, *, test: bool = False) -> dict[str, Any]:
    """Apply docker_registry.schedule and return its changes."""
    answer = site.salt("state.apply", "docker_registry.schedule", f"test={test}")
    (state,) = [state for name, state in answer.items() if name.startswith("schedule_")]
    assert state["result"] is not False, state
    return dict(state["changes"])


def jobs(site: Site) -> dict[str, Any]:
    return dict(site.salt("schedule.list", "return_yaml=False"))


def test_without_a_master_nothing_is_sent(
    make_minion: Callable[..., Minion], local: Distribution, make_pillar: Callable[..., dict[str, Any]]
) -> None:
    minion = make_minion(pillar=make_pillar(local))
    minion.sync()
    answer = minion.call("registry_sync.sync")
    assert answer.value["summary"]["copied"] == 4
    assert answer.stderr == "" or "event" not in answer.stderr.lower()
