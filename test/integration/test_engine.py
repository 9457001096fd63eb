"""A docker that refuses the mirror before the formula and pulls from it after, at an address beyond 127/8."""

from __future__ import annotations

import json

import pytest

from integration.conftest import minion_on
from integration.story import changes, failures

DAEMON_JSON = "/etc/docker/daemon.json"
# What lets docker run in a container; to the formula, settings of the site.
SITE = {
    "iptables": False,
    "bridge": "none",
    "ip-forward": False,
    "storage-driver": "vfs",
    "insecure-registries": ["site.example.com:5000"],
}


@pytest.fixture
def mirror(boot, vendor):
    """Return a host that serves the vendor's images."""
    host = boot("mirror")
    answer = minion_on(host, vendor.pillar(host.address)).apply("docker_registry")
    assert failures(answer) == []
    return host


@pytest.fixture
def compute(boot):
    """Return a host on which docker runs."""
    host = boot("compute")
    host.write(DAEMON_JSON, json.dumps(SITE))
    host.output("apt-get", "install", "-qq", "docker.io")
    assert host.is_active("docker")
    return host


def test_a_client_pulls_from_the_mirror_after_the_formula_and_not_before(mirror, compute, vendor):
    image = f"{mirror.address}:5000/tools/busybox:13.0"
    refused = compute.run("docker", "pull", image)
    assert refused.returncode != 0
    assert "server gave HTTP response to HTTPS client" in refused.stderr

    minion = minion_on(compute, vendor.pillar(mirror.address))
    plan = minion.apply("docker_registry.engine", test=True)
    assert failures(plan) == []
    assert json.loads(compute.read(DAEMON_JSON)) == SITE

    before = compute.invocation("docker")
    answer = minion.apply("docker_registry.engine")
    assert failures(answer) == []
    assert set(changes(answer)) == {
        "Docker trusts the registries through its daemon.json",
        "Docker has read its settings",
    }
    after = compute.invocation("docker")
    assert after != before
    assert vendor.images["tools/busybox"].digest in compute.output("docker", "pull", image)
    registries = [*SITE["insecure-registries"], f"{mirror.address}:5000", vendor.address]
    assert json.loads(compute.read(DAEMON_JSON)) == {**SITE, "insecure-registries": registries}

    again = minion.apply("docker_registry.engine")
    assert (failures(again), changes(again)) == ([], {})
    assert compute.invocation("docker") == after

    assert failures(minion.apply("docker_registry.clean")) == []
    assert json.loads(compute.read(DAEMON_JSON)) == SITE
