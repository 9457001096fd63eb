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
            {"function": "export", "cron": "0 6 * * 0"},
            {"function": "import", "minutes": 30},
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
        ({"when": []}, r"schedule:when: is empty; give a list, e.g. \['2:30am'"),
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


@pytest.mark.parametrize("kept", [True, False, "nocache"])
def test_what_a_scheduled_run_returns_is_kept_where_the_site_says_so(kept):
    read(schedule={"hours": 6, "return_job": kept})


def test_a_scheduled_run_may_be_told_to_returners():
    read(
        schedule=[
            {"hours": 6, "returner": "syslog"},
            {"function": "check", "days": 1, "returner": ["a", "b"]},
        ]
    )


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"return_job": "yes"}, "schedule:return_job: .*; give one of false, true, nocache"),
        ({"return_job": 1}, "schedule:return_job: "),
        ({"returner": ""}, "schedule:returner: is empty"),
        ({"returner": ["syslog", ""]}, "schedule:returner:1: is empty"),
        ({"returner": 5}, "schedule:returner: "),
    ],
)
def test_a_mistake_about_returns_names_its_key(entry, said):
    with pytest.raises(SettingsError, match=said):
        read(schedule={"hours": 6, **entry})


def test_five_hundred_runs_are_remembered_and_the_mine_is_told_unless_the_site_says_otherwise():
    assert (read().history, read().mine) == (500, True)
    assert (read(history=0).history, read(mine=False).mine) == (0, False)


@pytest.mark.parametrize(
    ("pillar", "said"),
    [({"history": -1}, "docker_registry:history: "), ({"mine": "yes"}, "docker_registry:mine: ")],
)
def test_a_mistake_about_what_is_remembered_names_its_key(pillar, said):
    with pytest.raises(SettingsError, match=said):
        read(**pillar)
