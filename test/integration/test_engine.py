"""Engines that refuse the mirror before the formula and pull from it after, at an address beyond 127/8."""

from __future__ import annotations

import json

import bcrypt
import pytest

from integration.conftest import minion_on
from integration.story import changes, failures
from support.pki import Authority

IMAGE = "tools/busybox"
USER, PASSWORD = "site-a", "of-site-a"
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


def pulled(minion):
    """Return what the formula's own pull through the engine says, with the return code that belongs to it."""
    answer = minion.call("registry_sync.pull", f"{IMAGE}:13.0")
    assert answer.retcode == (1 if answer.value["error"] else 0)
    return answer.value


def test_a_client_pulls_from_the_mirror_after_the_formula_and_not_before(mirror, compute, vendor):
    image = f"{mirror.address}:5000/{IMAGE}:13.0"
    refused = compute.run("docker", "pull", image)
    assert refused.returncode != 0
    assert "server gave HTTP response to HTTPS client" in refused.stderr

    minion = minion_on(compute, vendor.pillar(mirror.address))
    minion.sync()
    told = pulled(minion)
    assert told["digest"] == ""
    assert told["error"].startswith("the engine at unix:///run/docker.sock: ")
    assert told["error"].endswith("server gave HTTP response to HTTPS client")
    plan = minion.apply("docker_registry.engine", test=True)
    assert failures(plan) == []
    assert json.loads(compute.read(DAEMON_JSON)) == SITE

    before = compute.invocation("docker")
    answer = minion.apply("docker_registry.engine")
    assert failures(answer) == []
    assert set(changes(answer)) == {
        "Docker trusts the registries through its daemon.json",
        "Docker is reloaded",
    }
    after = compute.invocation("docker")
    assert after != before
    told = pulled(minion)
    assert (told["error"], told["digest"]) == ("", vendor.images[IMAGE].digest)
    assert (told["image"], told["seconds"] > 0) == (image, True)
    assert "Image is up to date" in compute.output("docker", "pull", image)
    registries = [*SITE["insecure-registries"], f"{mirror.address}:5000", vendor.address]
    assert json.loads(compute.read(DAEMON_JSON)) == {**SITE, "insecure-registries": registries}

    again = minion.apply("docker_registry.engine")
    assert (failures(again), changes(again)) == ([], {})
    assert compute.invocation("docker") == after

    assert failures(minion.apply("docker_registry.clean")) == []
    assert json.loads(compute.read(DAEMON_JSON)) == SITE


@pytest.fixture
def secured(compute, vendor, tmp_path):
    """Return a host with docker and podman, and its pillar: a registry with a certificate and a user."""
    authority = Authority(tmp_path)
    pair = authority.issue("mirror", compute.address)
    bundle = authority.bundle.read_text(encoding="utf-8")
    compute.write("/srv/ca.pem", bundle)
    compute.output("apt-get", "install", "-qq", "podman")
    registry = {
        "tls": {
            "certificate": pair.certificate.read_text(encoding="utf-8"),
            "key": pair.key.read_text(encoding="utf-8"),
            "ca": bundle,
        },
        "htpasswd": {USER: bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()},
    }
    login = {"username": USER, "password": PASSWORD}
    local = {"host": compute.address, "tls": True, "verify": "/srv/ca.pem", **login}
    return compute, vendor.pillar(compute.address, local=local, registry=registry)


def test_engines_log_in_and_pull_where_the_registry_has_a_certificate_and_users(secured, vendor):
    host, pillar = secured
    address, digest = f"{host.address}:5000", vendor.images[IMAGE].digest
    minion = minion_on(host, {**pillar, "engine": {"manage": "none"}})
    assert failures(minion.apply("docker_registry")) == []
    assert "certificate signed by unknown authority" in pulled(minion)["error"]

    minion.set_pillar({"docker_registry": {**pillar, "force": True}})
    answer = minion.apply("docker_registry")
    assert failures(answer) == []
    assert {f"{engine} trusts the CAs of the registries" for engine in ("Docker", "Podman")} <= set(
        changes(answer)
    )
    assert (pulled(minion)["error"], pulled(minion)["digest"]) == ("", digest)

    host.write("/srv/password", PASSWORD)
    # In this order, as podman knows docker's logins too.
    for engine in ("podman", "docker"):
        refused = host.run(engine, "pull", f"{address}/rhosp13/openstack-cron:13.0")
        assert refused.returncode != 0, engine
        assert "auth" in refused.stderr, engine
        login = f"{engine} login --username {USER} --password-stdin {address} </srv/password"
        assert "Login Succeeded" in host.output("sh", "-c", login)
        host.output(engine, "pull", f"{address}/{IMAGE}:13.0")
        inspect = ("image", "inspect", "--format", "{{.RepoDigests}}", f"{address}/{IMAGE}:13.0")
        assert digest in host.output(engine, *inspect)
    again = minion.apply("docker_registry")
    assert (failures(again), changes(again)) == ([], {})

    assert failures(minion.apply("docker_registry.clean")) == []
    for engine in ("docker", "containers"):
        assert not host.path(f"/etc/{engine}/certs.d/{address}").exists()
