"""What ``registry_fleet:`` may say, and the sentence for each mistake."""

from __future__ import annotations

from typing import Any

import pytest

from _registry_config_validators import SettingsError
from _registry_fleet_config import ALL, Amount, Fleet, FleetError, Wave, read_fleet

CANARY = {"canary": {"target": "L@site-01,site-02", "soak": "10m", "pull": "rhosp13/openstack-cron:13.0"}}
EDGE = {"edge": {"target": "edge-*", "batch": 20, "allow_fail": "5%", "allow_unreachable": "20 %"}}


def waves(**keys: Any) -> dict[str, Any]:
    return {"waves": [{"sites": {"target": "site-*", **keys}}]}


def test_nothing_said_is_a_fleet_without_waves() -> None:
    assert read_fleet(None) == Fleet() == Fleet(target="I@docker_registry:*", retries=2, timeout=10)


def test_waves_keep_their_order_and_have_numbers_and_spans() -> None:
    fleet = read_fleet({"waves": [CANARY, EDGE], "max_age": "26h", "parents": {"edge-*": "site-01"}})
    assert fleet.waves == (
        Wave("canary", "L@site-01,site-02", soak=600, pull="rhosp13/openstack-cron:13.0"),
        Wave(
            "edge",
            "edge-*",
            batch=Amount(20),
            allow_fail=Amount(5, percent=True),
            allow_unreachable=Amount(20, percent=True),
        ),
    )
    assert (fleet.max_age, fleet.parents) == (93_600, {"edge-*": "site-01"})


@pytest.mark.parametrize(
    ("amount", "total", "sites"),
    [
        (Amount(3), 200, 3),
        (Amount(5, percent=True), 200, 10),
        (Amount(5, percent=True), 19, 0),
        (Amount(29, percent=True), 100, 29),
        (ALL, 7, 7),
    ],
)
def test_a_percentage_is_rounded_down(amount: Amount, total: int, sites: int) -> None:
    assert amount.of(total) == sites


def test_one_wave_may_be_rolled_out_alone() -> None:
    fleet = read_fleet({"waves": [CANARY, EDGE]})
    assert [wave.name for wave in fleet.only("edge")] == ["edge"]
    assert [wave.name for wave in fleet.only("")] == ["canary", "edge"]


MISTAKES: list[tuple[Any, str]] = [
    ([], "registry_fleet: is a list; give a mapping of target, waves"),
    ({"wave": []}, "registry_fleet:wave: unknown key; did you mean waves?"),
    ({"target": ""}, "registry_fleet:target: is empty"),
    ({"target": 5}, "registry_fleet:target: 5 is a number; give a string, e.g. '5'"),
    ({"retries": "two"}, "registry_fleet:retries: 'two' is a string; give a whole number"),
    ({"timeout": 0}, "registry_fleet:timeout: 0 is not between 1 and 3600"),
    ({"max_age": "1w"}, "registry_fleet:max_age: '1w' is a string; give seconds or e.g. 2h"),
    ({"page": "fleet.html"}, "registry_fleet:page: 'fleet.html' is no absolute path"),
    ({"metrics": True}, "registry_fleet:metrics: true is a boolean; give a string"),
    ({"parents": ["a"]}, "registry_fleet:parents: is a list; give a mapping"),
    ({"parents": {"edge-*": 7}}, "registry_fleet:parents:edge-*: 7 is a number; give a string, e.g. '7'"),
    ({"waves": {"canary": {}}}, "registry_fleet:waves: is a mapping; give a list"),
    ({"waves": ["canary"]}, "registry_fleet:waves:0: 'canary' is a string; give one name"),
    ({"waves": [{"a": {"target": "*"}, "b": {}}]}, "registry_fleet:waves:0: has 2 names; give one name"),
    ({"waves": [{"a b": {}}]}, "registry_fleet:waves:0: 'a b' is no name of a wave"),
    ({"waves": [CANARY, CANARY]}, "registry_fleet:waves:1: canary stands there already"),
    ({"waves": [{"a": {}}]}, "registry_fleet:waves:0:a:target: is missing; say which minions"),
    ({"waves": [{"a": None}]}, "registry_fleet:waves:0:a: is empty; give a mapping of target, batch"),
    (waves(batch=0), "registry_fleet:waves:0:sites:batch: 0 is nobody"),
    (waves(batch="101%"), "registry_fleet:waves:0:sites:batch: 101% is more than all"),
    (waves(batch=0.1), "registry_fleet:waves:0:sites:batch: 0.1 is a number; give a number of sites"),
    (waves(allow_fail="some"), "registry_fleet:waves:0:sites:allow_fail: 'some' is a string; give a number"),
    (waves(allow_unreachable=-1), "registry_fleet:waves:0:sites:allow_unreachable: -1 is a number; give"),
    (waves(soak="a while"), "registry_fleet:waves:0:sites:soak: 'a while' is a string; give seconds"),
    (
        waves(pull="openstack-cron"),
        "registry_fleet:waves:0:sites:pull: 'openstack-cron' is no repository:tag",
    ),
    (waves(optional="yes"), "registry_fleet:waves:0:sites:optional: 'yes' is a string; give true or false"),
    (waves(per_parent="4"), "registry_fleet:waves:0:sites:per_parent: '4' is a string; give a whole number"),
    (waves(canary=True), "registry_fleet:waves:0:sites:canary: unknown key; known here: target, batch"),
]


@pytest.mark.parametrize(("tree", "sentence"), MISTAKES)
def test_each_mistake_is_one_sentence_that_begins_with_its_key(tree: Any, sentence: str) -> None:
    with pytest.raises(SettingsError) as mistake:
        read_fleet(tree)
    assert str(mistake.value).startswith(sentence)
    assert "\n" not in str(mistake.value)


def test_a_rollout_needs_waves_and_knows_their_names() -> None:
    with pytest.raises(FleetError, match=r"^registry_fleet:waves: is empty; give a list"):
        read_fleet({}).only("")
    with pytest.raises(SettingsError, match=r"none is called 'edges'; there are canary, edge$"):
        read_fleet({"waves": [CANARY, EDGE]}).only("edges")
