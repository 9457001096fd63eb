"""Alerts and dashboard before a real Prometheus and node_exporter, and files that real runs have written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.mirrored import LAYER, OTHER, Mirrored
from support.prometheus import Exporter, Prometheus, wait_until
from support.registries import Distribution, free_port
from support.registry_content import push
from support.salt_minion import Minion

pytestmark = pytest.mark.needs("docker-distribution", "prometheus", "promtool", "node-exporter")

FILE = "docker_registry.prom"
DAYS = 86_400
HOSTS = ("in-step", "ailing", "forgotten", "vanished", "master")
# What fires where, and nothing else does.
WANTED = {
    "MirrorDown": {"ailing"},
    "MirrorLags": {"forgotten"},
    "MirrorNotChecked": {"forgotten"},
    "MirrorFailing": {"ailing"},
    "MirrorBroken": {"forgotten"},
    "MetricsStale": {"forgotten"},
    "MetricsAbsent": {"vanished"},
    "SiteSilent": {"master"},
    "RolloutStopped": {"master"},
}


@pytest.fixture(scope="module")
def monitoring(checkout: Path) -> Path:
    return checkout / "docs" / "monitoring"


@pytest.mark.parametrize(
    "words", [["check", "rules", "registry_sync.rules.yml"], ["test", "rules", "registry_sync.tests.yml"]]
)
def test_promtool_passes_the_rules_and_their_tests(monitoring: Path, words: list[str]) -> None:
    done = subprocess.run(["promtool", *words], cwd=monitoring, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def prometheus(
    tmp_path_factory: pytest.TempPathFactory,
    checkout: Path,
    monitoring: Path,
    start_module_registry: Callable[..., Distribution],
) -> Iterator[Prometheus]:
    """One that knows a mirror in step, one that is down, one that nobody looks at, and one that is gone."""
    directory = tmp_path_factory.mktemp("monitored")
    with ExitStack() as running:
        exporters = {host: running.enter_context(Exporter(directory / host)) for host in HOSTS}
        minion = Minion(directory / "minion", checkout)
        minion.sync()
        mirrored = Mirrored(start_module_registry(), start_module_registry(), directory / "mirror")
        write_all_of(minion, mirrored, directory, exporters)
        server = Prometheus(directory / "prometheus", exporters, monitoring / "registry_sync.rules.yml")
        running.enter_context(server)
        wait_until(lambda: len(server.query("registry_sync_up")) == len(HOSTS) - 1)
        (exporters["vanished"].textfiles / FILE).unlink()
        # Two samples make a rate.
        wait_until(lambda: len(server.query("registry_sync_up")) == len(HOSTS) - 2)
        wait_until(lambda: all(rule["health"] == "ok" for rule in server.rules().values()))
        yield server


def write_all_of(minion: Minion, mirrored: Mirrored, directory: Path, exporters: dict[str, Exporter]) -> None:
    """Have every function that writes metrics run, on a whole mirror, then on one that is down."""
    whole = exporters["in-step"].textfiles / FILE
    others = {
        "registry": {"storage": str(mirrored.local.data), "push": "everyone"},
        "bundle": {"path": str(directory / "bundle")},
        "verify": {"every": 0},
        "prune": {"after": 0},
    }
    minion.set_pillar({"docker_registry": mirrored.pillar(metrics=str(whole), **others)})
    for function, code in (("check", 0), ("sync", 0), ("prune", 0), ("verify", 0)):
        assert minion.call(f"registry_sync.{function}").retcode == code, function
    for function in ("export", "import"):
        assert minion.call(f"registry_sync.{function}").retcode == 0, function
    # Where it is not allowed to collect, it says so and writes what it has freed all the same.
    assert minion.call("registry_sync.collect").retcode == 1
    (exporters["vanished"].textfiles / FILE).write_bytes(whole.read_bytes())
    (exporters["master"].textfiles / "registry_fleet.prom").write_text(FLEET, encoding="utf-8")
    forget(minion, mirrored, exporters["forgotten"].textfiles / FILE, others)
    down = {**mirrored.pillar(metrics=str(exporters["ailing"].textfiles / FILE)), "transfer": {"retries": 0}}
    down["local"] = {**down["local"], "port": free_port()}
    down["upstream"] = {**down["upstream"], "port": free_port()}
    minion.set_pillar({"docker_registry": down})
    assert minion.call("registry_sync.check").retcode == 1


def forget(minion: Minion, mirrored: Mirrored, file: Path, others: dict[str, Any]) -> None:
    """Have a mirror that lacks a tag, and a layer, looked at three days ago."""
    lacking = mirrored.pillar(metrics=str(file), **others)
    minion.set_pillar({"docker_registry": lacking})
    assert minion.call("registry_sync.check").retcode == 0
    mirrored.damage.truncate(mirrored.damage.data(LAYER.digest))
    assert minion.call("registry_sync.verify").retcode == 2
    push(mirrored.upstream.url, "team/new", "1", OTHER)
    lacking["images"] = [*lacking["images"], {"name": "team/new", "tags": ["1"]}]
    minion.set_pillar({"docker_registry": lacking})
    assert minion.call("registry_sync.check").retcode == 2
    ago = time.time() - 3 * DAYS
    earlier = re.sub(
        r"(?m)^(\w+_timestamp_seconds(?:\{.*\})?) (\S+)$",
        lambda found: f"{found[1]} {float(found[2]) - 3 * DAYS:.3f}",
        file.read_text(encoding="utf-8"),
    )
    file.write_text(earlier, encoding="utf-8")
    os.utime(file, (ago, ago))


def panels(directory: Path) -> list[dict[str, Any]]:
    dashboard = json.loads((directory / "grafana.json").read_text(encoding="utf-8"))
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def as_grafana_asks(expression: str) -> str:
    for name, value in {"$job": "node", "$instance": ".+", "$__rate_interval": "1m"}.items():
        expression = expression.replace(name, value)
    return expression


def test_every_query_of_every_panel_answers(prometheus: Prometheus, monitoring: Path) -> None:
    empty = [
        (panel["title"], target["expr"])
        for panel in panels(monitoring)
        for target in panel["targets"]
        if not prometheus.query(as_grafana_asks(target["expr"]))
    ]
    assert empty == []


def test_the_variables_offer_the_job_and_the_hosts(prometheus: Prometheus, monitoring: Path) -> None:
    dashboard = json.loads((monitoring / "grafana.json").read_text(encoding="utf-8"))
    offered = {}
    for variable in dashboard["templating"]["list"][1:]:
        asked = re.fullmatch(r"label_values\((\{.*\}), (\w+)\)", as_grafana_asks(variable["definition"]))
        assert asked
        answer = prometheus.get(f"/api/v1/label/{asked[2]}/values", **{"match[]": asked[1]}).json()
        offered[variable["name"]] = answer["data"]
    # The series of the one that vanished are still within the range.
    assert offered == {"job": ["node"], "instance": sorted(HOSTS)}


@pytest.mark.parametrize("alert", WANTED)
def test_an_alert_finds_the_hosts_that_it_is_for_and_no_other(prometheus: Prometheus, alert: str) -> None:
    found = prometheus.query(prometheus.rules()[alert]["query"])
    assert {sample["metric"]["instance"] for sample in found} == WANTED[alert]


def test_every_alert_is_tried_and_none_has_an_error(prometheus: Prometheus) -> None:
    rules = prometheus.rules()
    assert set(rules) == set(WANTED)
    assert {rule["lastError"] for rule in rules.values() if "lastError" in rule} == set()


def test_the_exporter_reads_each_file_without_an_error(prometheus: Prometheus) -> None:
    told = prometheus.query("node_textfile_scrape_error")
    assert {sample["value"][1] for sample in told} == {"0"}
    assert len(told) == len(HOSTS)


# As the runner of the master writes it.
FLEET = """\
registry_fleet_sites{status="current"} 1
registry_fleet_sites{status="unreachable"} 1
registry_fleet_drifting_images 0
registry_fleet_asked_timestamp_seconds 1800000000
registry_fleet_site{site="site-01",status="current"} 1
registry_fleet_site{site="site-01",status="unreachable"} 0
registry_fleet_site{site="site-02",status="current"} 0
registry_fleet_site{site="site-02",status="unreachable"} 1
registry_fleet_site_last_run_timestamp_seconds{site="site-01"} 1799999940
registry_fleet_site_last_run_timestamp_seconds{site="site-02"} 1799000000
registry_fleet_site_behind_tags{site="site-01"} 0
registry_fleet_site_behind_tags{site="site-02"} 3
registry_fleet_wave{wave="canary",status="stopped"} 1
registry_fleet_wave_failed_sites{wave="canary"} 0
registry_fleet_wave_unreachable_sites{wave="canary"} 1
"""
