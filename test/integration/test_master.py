"""A master and two minions on three hosts, whose first command ever applies the formula everywhere."""

from __future__ import annotations

import json
import shutil
import time

import pytest
import yaml

from integration.conftest import REPOSITORY_ROOT
from support.salt_minion import FORMULA_PARTS

SECONDS_TO_MEET = 180


class Master:
    """A salt-master on a host, and minions on others."""

    def __init__(self, host, pillars):
        self.host = host
        self.root = host.directory / "salt"
        for part in FORMULA_PARTS:
            shutil.copytree(REPOSITORY_ROOT / part, self.root / "states" / part)
        self._write("pillar/top.sls", {"base": {site: [site] for site in pillars}})
        for site, pillar in pillars.items():
            self._write(f"pillar/{site}.sls", {"docker_registry": pillar})
        roots = {
            f"{kind}_roots": {"base": [str(self.root / name)]}
            for kind, name in (("file", "states"), ("pillar", "pillar"))
        }
        self._start(host, "master", interface=host.address, auto_accept=True, **roots)

    def accept(self, host):
        """Start a minion on a host."""
        soon = {"acceptance_wait_time": 1, "auth_timeout": 3, "enable_fqdns_grains": False}
        self._start(host, "minion", id=host.name, master=self.host.address, **soon)

    def run(self, *command, target="*"):
        """Return what `salt '*'` got from each minion."""
        options = ("--out=json", "--static", "--no-color", "--timeout=60")
        done = self.host.run("salt", f"--config-dir={self.root}", *options, target, *command)
        return json.loads(done.stdout) if done.stdout.startswith("{") else {"": done.stdout + done.stderr}

    def wait_for(self, *minions):
        """Wait until minions answer; nothing of the formula is asked."""
        deadline = time.monotonic() + SECONDS_TO_MEET
        while set(answered := self.run("test.ping", "-t", "5")) != set(minions):
            assert time.monotonic() < deadline, answered
            time.sleep(0.5)

    def _write(self, name, content):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!json\n" + json.dumps(content), encoding="utf-8")

    def _start(self, host, daemon, **settings):
        root = host.directory / "salt"
        root.mkdir(exist_ok=True)
        # A socket's path must be a short one.
        common = {"root_dir": str(root), "sock_dir": f"/run/salt-{daemon}", "user": "root"}
        (root / daemon).write_text(yaml.safe_dump({**common, **settings}), encoding="utf-8")
        host.start_service(f"salt-{daemon}", f"salt-{daemon}", f"--config-dir={root}")


@pytest.fixture
def sites(boot, vendor):
    """Return a master, and two sites of which the second mirrors from the first."""
    master, north, south = (boot(name) for name in ("master", "north", "south"))
    # Another list than the first site's, and another port.
    fewer = [{"name": name, "tags": ["13.0"]} for name in list(vendor.images)[:2]]
    of_south = {
        "upstream": {"host": north.address, "port": 5000, "tls": False},
        "local": {"host": south.address, "port": 5005},
        "images": fewer,
    }
    salt = Master(master, {"north": vendor.pillar(north.address), "south": of_south})
    for host in (north, south):
        salt.accept(host)
    salt.wait_for("north", "south")
    return salt, north, south


def failed(answer):
    assert isinstance(answer, dict), answer
    return [f"{ran['__id__']}: {ran['comment']}" for ran in answer.values() if ran["result"] is False]


def test_one_command_makes_a_chain_of_mirrors(sites, vendor):
    salt, north, south = sites
    first = salt.run("state.apply", "docker_registry")
    assert failed(first["north"]) == []
    if failures := failed(first["south"]):
        # It was quicker than the site that it mirrors from. All that it lacks are images.
        assert {line.partition(":")[0] for line in failures} <= {
            "Images are mirrored",
            "Registry serves the images",
        }, failures
        first = salt.run("state.apply", "docker_registry")
        assert failed(first["south"]) == []
    again = salt.run("state.apply", "docker_registry")
    for site in ("north", "south"):
        assert failed(again[site]) == []
        assert [ran["changes"] for ran in again[site].values() if ran["changes"]] == []
    held = salt.run("registry_sync.list")
    digests = {name: {"13.0": image.digest} for name, image in vendor.images.items()}
    assert held["north"] == digests
    assert held["south"] == dict(list(digests.items())[:2])
    assert north.is_active("docker-registry")
    assert south.is_active("docker-registry")


@pytest.mark.thorough
def test_the_plan_of_all_sites_may_be_the_first_command(sites):
    salt, north, south = sites
    plans = salt.run("state.apply", "docker_registry", "test=True")
    assert failed(plans["north"]) == []
    assert not north.is_active("docker-registry")
    assert not south.is_active("docker-registry")
