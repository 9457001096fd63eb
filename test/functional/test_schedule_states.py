"""The minion's schedule follows the pillar, and a mistake in that leaves it as it is."""

from __future__ import annotations

import pytest

SAVED = "schedule:\n  docker_registry: {function: registry_sync.sync, hours: 6, enabled: true}\n"
CHECK = "Pillar has no mistake"


@pytest.fixture
def planned(make_minion):
    """Return a function: what is planned for a pillar on a minion that syncs every six hours already."""
    minion = make_minion()
    saved = minion.config_dir / "minion.d/_schedule.conf"
    saved.parent.mkdir()
    saved.write_text(SAVED, encoding="utf-8")

    def plan(schedule):
        minion.set_pillar({"docker_registry": {"schedule": schedule}})
        answer = minion.apply("docker_registry.schedule", test=True)
        assert isinstance(answer.value, dict), answer.stdout + answer.stderr
        return {state["__id__"]: state for state in answer.value.values()}

    return plan


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({"function": "sync", "hour": 6}, "schedule:hour: unknown key; did you mean hours?"),
        ([{"hours": 6}, {"function": "sync", "hours": 1}], "schedule:1: sync is scheduled already; "),
        ([{"function": ["x: y"], "hours": 6}], "schedule:0:function: is a list; give one of check, "),
        ("every 6 hours", "schedule: is a string; give a mapping of function, "),
    ],
)
def test_a_mistake_is_told_and_no_job_is_changed(planned, schedule, said):
    states = planned(schedule)
    assert states[CHECK]["result"] is False
    assert states[CHECK]["comment"].startswith(f"docker_registry:{said}")
    others = [state for name, state in states.items() if "chedule" in name]
    assert [state["comment"].partition(":")[0] for state in others] == [
        "One or more requisite failed" for _ in others
    ]
    assert others


def test_what_is_right_is_planned_and_what_the_pillar_drops_goes(planned):
    states = planned([{"hours": 6}, {"function": "verify", "days": 1}])
    assert states[CHECK]["result"] is True
    for function in ("sync", "verify"):
        comment = states[f"Schedule of {function} is present"]["comment"]
        assert comment.startswith(f"Job: docker_registry_{function} would be added")
    # Only a minion that runs knows what it has to delete.
    assert states["Mirror schedule is absent"]["result"] is True
