from __future__ import annotations

import pytest

from _registry_config_read import SettingsError, read_settings


def read(**pillar):
    return read_settings(pillar, host="mirror.example.com")


def test_each_function_may_have_hours_of_its_own():
    read(
        schedule=[
            {"hours": 6},
            {"function": "prune", "when": ["4:00am"]},
            {"function": "collect", "cron": "0 5 * * 0"},
            {"function": "verify", "days": 1, "splay": 600},
        ]
    )
    read(schedule={"function": "collect", "days": 7})
    read(schedule=[])


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ([{"hours": 6}, {"function": "sync", "days": 1}], "schedule:1: sync is scheduled already"),
        ([{"hours": 6}, {}], "schedule:1: is empty"),
        ([{"hours": 6}, {"function": "prune"}], "schedule:1: give one of minutes"),
        ([{"function": "delete", "days": 1}], "schedule:0:function: "),
        (["6h"], "schedule:0: "),
        ("6h", "schedule: "),
    ],
)
def test_a_mistake_names_the_entry(schedule, said):
    with pytest.raises(SettingsError, match=said):
        read(schedule=schedule)


def test_what_nothing_names_yet_stays_for_a_day_unless_the_site_says_otherwise():
    assert read().collect.grace == 86_400
    assert read(collect={"grace": "2h"}).collect.grace == 7200
    assert read(collect={"grace": 0}).collect.grace == 0


def test_a_misspelt_key_of_collect_is_told():
    with pytest.raises(SettingsError, match="collect:grase: unknown key"):
        read(collect={"grase": "2h"})
