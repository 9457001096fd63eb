"""A real master: events of a sync on its bus, tables on its terminal, a schedule on its minion."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.images import Layer, docker_image, push
from support.registries import Distribution
from support.salt_minion import FORMULA_PARTS, Minion, salt_call

pytestmark = [pytest.mark.needs("docker-distribution")]

MINION = "mirror"
TAGS = ["13.0", "latest"]
SECONDS_FOR_EVENTS = 30
# The reactor of README, with a file for what the nodes would do.
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


class Site:
    """A master with the formula, and its one minion."""

    def __init__(self, master: Any, minion: Any, listener: Any, reacted: Path) -> None:
        self.master = master
        self.reacted = reacted
        self.minion = minion
        self._listener = listener

    def salt(self, *arguments: str) -> Any:
        """Run `salt`; `.data` has what the minion returned."""
        return self.master.salt_cli().run(*arguments, minion_tgt=MINION)

    def typed(self, *arguments: str) -> str:
        """Run `salt` as an operator would, and return what is seen."""
        salt = Path(salt_call()).with_name("salt")
        command = [salt, f"--config-dir={self.master.config_dir}", MINION, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def set_pillar(self, pillar: dict[str, Any]) -> None:
        root = Path(self.master.pillar_tree.base.paths[0])
        (root / "top.sls").write_text("#!json\n" + json.dumps({"base": {"*": ["data"]}}))
        (root / "data.sls").write_text("#!json\n" + json.dumps(pillar))
        assert self.salt("saltutil.refresh_pillar", "wait=True").data is True

    def events(self, since: float, *, until: str) -> list[tuple[str, dict[str, Any]]]:
        """Our events since a moment, in the order of sending, once one of a kind has come."""
        pattern = (self.master.id, f"salt/registry_sync/{MINION}/*")
        deadline = time.monotonic() + SECONDS_FOR_EVENTS
        while time.monotonic() < deadline:
            found = sorted(self._listener.get_events([pattern], after_time=since), key=lambda one: one.stamp)
            events = [(event.tag.rpartition("/")[2], event.data["data"]) for event in found]
            if until in [kind for kind, _ in events]:
                return events
            time.sleep(0.1)
        raise AssertionError(f"no {until} event")


@pytest.fixture(scope="module")
def site(
    salt_factories: Any, event_listener: Any, checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    def root() -> str:
        return str(tmp_path_factory.mktemp("salt"))

    reaction = tmp_path_factory.mktemp("reactor") / "mirrored.sls"
    reacted = reaction.with_name("reacted")
    reaction.write_text(REACTION.replace("REACTED", str(reacted)))
    master = salt_factories.salt_master_daemon(
        "events-master",
        defaults={"root_dir": root(), "interface": "127.0.0.1"},
        overrides={"reactor": [{"salt/registry_sync/*/done": [str(reaction)]}]},
    )
    for part in FORMULA_PARTS:
        target = Path(master.state_tree.base.paths[0]) / part
        shutil.copytree(checkout / part, target, ignore=shutil.ignore_patterns("__pycache__"))
    minion = master.salt_minion_daemon(
        MINION, defaults={"root_dir": root()}, overrides={"enable_fqdns_grains": False}
    )
    with master.started(), minion.started():
        site = Site(master, minion, event_listener, reacted)
        assert "modules.registry_sync" in site.salt("saltutil.sync_all").data["modules"]
        yield site


def test_a_sync_tells_the_masters_bus_how_far_it_is(
    site: Site, local: Distribution, make_pillar: Callable[..., dict[str, Any]]
) -> None:
    site.set_pillar(make_pillar(local, transfer={"bandwidth": "3MB"}))
    since = time.time()
    assert site.salt("registry_sync.sync").data["summary"]["copied"] == 4
    events = site.events(since, until="done")
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
    since = time.time()
    site.minion.salt_call_cli().run("registry_sync.sync")
    kinds = [kind for kind, _ in site.events(since, until="done")]
    assert kinds.count("image") == 4


def test_a_master_shows_the_table_once_it_has_synced_the_outputter(
    site: Site, local: Distribution, make_pillar: Callable[..., dict[str, Any]]
) -> None:
    site.set_pillar(make_pillar(local))
    nested = site.typed("registry_sync.check")
    assert re.search("images:\n +-+\n", nested)
    assert site.master.salt_run_cli().run("saltutil.sync_output").data
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


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + SECONDS_FOR_EVENTS
    while not (file.exists() and file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)


def apply_schedule(site: Site, *, test: bool = False) -> dict[str, Any]:
    """Apply docker_registry.schedule and return its changes."""
    answer = site.salt("state.apply", "docker_registry.schedule", f"test={test}")
    (state,) = [state for name, state in answer.data.items() if name.startswith("schedule_")]
    assert state["result"] is not False, state
    return dict(state["changes"])


def jobs(site: Site) -> dict[str, Any]:
    return dict(site.salt("schedule.list", "return_yaml=False").data)


def test_without_a_master_nothing_is_sent(
    make_minion: Callable[..., Minion], local: Distribution, make_pillar: Callable[..., dict[str, Any]]
) -> None:
    minion = make_minion(pillar=make_pillar(local))
    minion.sync()
    answer = minion.call("registry_sync.sync")
    assert answer.value["summary"]["copied"] == 4
    assert answer.stderr == "" or "event" not in answer.stderr.lower()
