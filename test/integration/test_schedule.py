"""A minion that looks after its mirror by itself, until it is told to no more."""

from __future__ import annotations

import time

import pytest

from integration.conftest import minion_on
from integration.story import changes, failures, states

SECONDS_TO_START = 90
PRESENT = "Mirror schedule is present"
CLEANED = "Mirror schedule is removed"


@pytest.fixture
def watched(boot, vendor):
    """Return a minion without a master whose daemon runs, as schedules need it, and whose pillar has one."""
    host = boot("watched")
    pillar = vendor.pillar(host.address, schedule={"function": "check", "cron": "30 2 * * *", "splay": 600})
    minion = minion_on(host, pillar, config={"master_type": "disable", "sock_dir": "/run/salt-minion"})
    host.start_service("salt-minion", "salt-minion", f"--config-dir={minion.config_dir}")
    deadline = time.monotonic() + SECONDS_TO_START
    while minion.call("event.fire", {}, "ready").value is not True:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return minion


def jobs(minion):
    return minion.call("schedule.list", return_yaml=False).value


@pytest.mark.thorough
def test_a_schedule_is_set_up_once_and_clean_takes_it_away(watched):
    first = watched.apply("docker_registry.schedule")
    assert (failures(first), set(changes(first))) == ([], {PRESENT})
    job = jobs(watched)["docker_registry"]
    assert (job["function"], job["cron"], job["splay"]) == ("registry_sync.check", "30 2 * * *", 600)
    again = watched.apply("docker_registry.schedule")
    assert (failures(again), changes(again)) == ([], {})
    plan = watched.apply("docker_registry.clean", test=True)
    assert "docker_registry" in jobs(watched)
    assert failures(plan) == []
    answer = watched.apply("docker_registry.clean")
    assert failures(answer) == []
    assert states(answer)[CLEANED]["changes"]
    assert "docker_registry" not in (jobs(watched) or {})
    # Nor does it come back with the next start of the minion.
    saved = watched.config_dir / "minion.d/_schedule.conf"
    assert "docker_registry" not in saved.read_text()
    again = watched.apply("docker_registry.clean")
    assert (failures(again), changes(again)) == ([], {})
