"""Alerts and dashboard: what they speak of is there, and is as Grafana's dashboard linter would ask for it.

https://github.com/grafana/dashboard-linter/tree/main/docs/rules
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from _registry_show_prometheus import METRICS
from _registry_show_report import CAUSES, STATUSES

DIRECTORY = Path(__file__).resolve().parents[2] / "docs" / "monitoring"
RULES = yaml.safe_load((DIRECTORY / "registry_sync.rules.yml").read_text(encoding="utf-8"))
CASES = yaml.safe_load((DIRECTORY / "registry_sync.tests.yml").read_text(encoding="utf-8"))
DASHBOARD = json.loads((DIRECTORY / "grafana.json").read_text(encoding="utf-8"))
PAGE = (DIRECTORY.parent / "monitoring.md").read_text(encoding="utf-8")

ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
UNITS = {"short", "s", "bytes", "percentunit"}
# Written by the runner of the master.
FLEET = {
    "registry_fleet_sites",
    "registry_fleet_site",
    "registry_fleet_site_last_run_timestamp_seconds",
    "registry_fleet_site_behind_tags",
    "registry_fleet_drifting_images",
    "registry_fleet_asked_timestamp_seconds",
    "registry_fleet_wave",
    "registry_fleet_wave_failed_sites",
    "registry_fleet_wave_unreachable_sites",
}


def expressions() -> list[Any]:
    return [*_expressions()]


def _expressions() -> Iterator[Any]:
    for panel in PANELS:
        for target in panel["targets"]:
            yield pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")


def metrics_of(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:registry|node)_\w+", re.sub('"[^"]*"', "", expression)))


def test_each_alert_is_seen_to_fire_and_not_to_fire() -> None:
    fired, quiet = set(), set()
    for case in CASES["tests"]:
        for test in case["alert_rule_test"]:
            (fired if test.get("exp_alerts") else quiet).add(test["alertname"])
    names = {rule["alert"] for rule in ALERTS}
    assert (fired, quiet) == (names, names)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_has_a_severity_a_summary_and_a_place_on_the_page(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description"}
    assert f"| `{rule['alert']}" in PAGE


@pytest.mark.parametrize(
    "expression", [*(pytest.param(rule["expr"], id=rule["alert"]) for rule in ALERTS), *expressions()]
)
def test_expressions_name_metrics_statuses_and_causes_that_there_are(expression: str) -> None:
    known = {*METRICS, *FLEET, "node_textfile_mtime_seconds"}
    assert metrics_of(expression)
    assert metrics_of(expression) <= known
    for metric, statuses in re.findall(r'(registry_sync_tags)\{[^}]*status=~?"([^"]*)"', expression):
        assert set(statuses.split("|")) <= {*STATUSES}, metric
    for causes in re.findall(r'cause=~?"([^"]*)"', expression):
        assert set(causes.split("|")) <= {*CAUSES}


def test_the_dashboard_shows_every_metric() -> None:
    shown = set().union(*(metrics_of(target["expr"]) for panel in PANELS for target in panel["targets"]))
    assert {*METRICS, *FLEET} - shown == set()


def test_the_page_tells_of_every_metric() -> None:
    assert {*METRICS, *FLEET} - set(re.findall(r"`(registry_\w+)`", PAGE)) == set()


def test_the_dashboard_is_classic_new_and_nobodys_copy() -> None:
    assert 39 <= DASHBOARD["schemaVersion"] <= 41
    assert DASHBOARD["id"] is None
    assert "spec" not in DASHBOARD


def test_the_fleets_metrics_are_those_that_the_master_writes() -> None:
    assert set(pytest.importorskip("_registry_fleet_metrics").METRICS) == FLEET


def test_uneditable_dashboard() -> None:
    assert DASHBOARD["editable"] is False


def test_template_datasource_rule() -> None:
    assert (VARIABLES["datasource"]["type"], VARIABLES["datasource"]["query"]) == ("datasource", "prometheus")


@pytest.mark.parametrize("name", ["job", "instance"])
def test_template_job_and_instance_rules(name: str) -> None:
    variable = VARIABLES[name]
    assert variable["type"] == "query"
    assert variable["datasource"] == SOURCE
    assert variable["label"] == name.capitalize()
    assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".+")


@pytest.mark.parametrize("name", ["job", "instance"])
def test_template_label_promql_rule(name: str) -> None:
    queried = VARIABLES[name]["query"]["query"]
    assert queried == VARIABLES[name]["definition"]
    (asked, label) = re.fullmatch(r"label_values\((\{.*\}), (\w+)\)", queried).groups()  # type: ignore[union-attr]
    assert label == name
    assert set(re.findall(r"registry_\w+", asked)) <= {*METRICS, *FLEET}


@pytest.mark.parametrize("name", ["job", "instance"])
def test_template_on_time_change_reload_rule(name: str) -> None:
    assert VARIABLES[name]["refresh"] == 2


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panel_datasource_rule(panel: dict[str, Any]) -> None:
    assert panel["datasource"] == SOURCE
    assert all(target["datasource"] == SOURCE for target in panel["targets"])


def test_panel_title_description_rule() -> None:
    assert [panel["id"] for panel in PANELS if not (panel["title"] and panel["description"])] == []
    titles = [panel["title"] for panel in PANELS if panel["type"] != "table"]
    assert len(titles) == len(set(titles))


def test_panel_units_rule() -> None:
    assert {panel["fieldConfig"]["defaults"]["unit"] for panel in PANELS} <= UNITS


def test_panel_no_targets_rule() -> None:
    assert [panel["title"] for panel in PANELS if not panel["targets"]] == []


@pytest.mark.parametrize("expression", expressions())
def test_target_rate_interval_and_counter_rules(expression: str) -> None:
    for metric in metrics_of(expression):
        counted = re.search(rf"(?:rate|increase)\({metric}\{{[^}}]*\}}\[\$__rate_interval\]\)", expression)
        assert bool(counted) == metric.endswith("_total")


@pytest.mark.parametrize("expression", expressions())
def test_target_job_and_instance_rules(expression: str) -> None:
    selectors = re.findall(r"\b(?:registry_sync|registry_fleet|node)_\w+(\{[^}]*\})?", expression)
    assert selectors
    assert all('job=~"$job",instance=~"$instance"' in selector for selector in selectors)


def test_panels_have_numbers_of_their_own_and_lie_side_by_side() -> None:
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
