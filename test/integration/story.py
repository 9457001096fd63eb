"""What every host goes through: a plan, the run itself, the same again, and the report."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from support.hosts import Host, HostedMinion
from support.salt_minion import Answer

# What a host keeps; Salt's own files lie in the test's directory.
KEPT = ("/etc", "/usr", "/opt", "/home", "/root", "/var/lib/dpkg", "/var/lib/rpm")
KEPT += ("/var/lib/docker-registry", "/var/lib/docker_registry")


@dataclass(frozen=True)
class Story:
    """The answers of a host's first commands ever, in their order."""

    host: Host
    minion: HostedMinion
    written_by_plan: set[str]
    plan: Answer
    first: Answer
    second: Answer
    check: Answer


def live(minion: HostedMinion) -> Story:
    """Run the commands that an operator would."""
    before = _files(minion.host)
    plan = minion.apply("docker_registry", test=True)
    written = {path for path, _ in _files(minion.host).items() ^ before.items()}
    first = minion.apply("docker_registry")
    second = minion.apply("docker_registry")
    return Story(minion.host, minion, written, plan, first, second, minion.call("registry_sync.check"))


def states(answer: Answer) -> dict[str, dict[str, Any]]:
    """Return each state's result, comment and changes by its ID."""
    assert isinstance(answer.value, dict), answer.stdout + answer.stderr
    return {state["__id__"]: state for state in answer.value.values()}


def failures(answer: Answer) -> list[str]:
    """Return what failed and why."""
    return [f"{name}: {ran['comment']}" for name, ran in states(answer).items() if ran["result"] is False]


def changes(answer: Answer) -> dict[str, Any]:
    """Return what changed by state."""
    return {name: ran["changes"] for name, ran in states(answer).items() if ran["changes"]}


def _files(host: Host) -> dict[str, int]:
    found = [path for path in KEPT if host.path(path).is_dir()]
    # SQLite touches the last two when it reads.
    passing = re.compile(r"/__pycache__/|\.sqlite-(wal|shm)$")
    return {path: at for path, at in host.files(*found).items() if not passing.search(path)}


def errors(answer: Answer) -> list[str]:
    """What Salt logs as errors; 3008 cannot load its own module for NetworkManager, whatever is run."""
    return [line for line in answer.stderr.splitlines() if "[ERROR" in line and "module.nm_ip" not in line]
