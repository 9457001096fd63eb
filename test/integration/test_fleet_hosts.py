"""Booted hosts as a fleet, on none of which anything was done: vendor → region → canary, site → edge."""

from __future__ import annotations

import contextlib
import json

import pytest
import requests
import yaml

from integration.conftest import booting, salts
from integration.test_master import Master
from support.images import Layer, docker_image
from support.registry_content import push

pytestmark = pytest.mark.thorough

SITES = ("region", "canary", "site", "edge")
DATA = "/var/lib/docker-registry"
SERVICES = ("docker-registry", "docker-registry-push")
CRON = "rhosp13/openstack-cron"
FLEET = {
    "waves": [{name: {"target": name}} for name in SITES],
    "retries": 0,
    "timeout": 15,
}


class FleetMaster(Master):
    """The master of a fleet."""

    def configure_fleet(self, tree):
        """Say what stands under `registry_fleet`; the runner reads it anew."""
        directory = self.root / "master.d"
        directory.mkdir(exist_ok=True)
        (directory / "fleet.conf").write_text(yaml.safe_dump({"registry_fleet": tree}), encoding="utf-8")

    def runner(self, *command):
        """What `salt-run` returns, and its exit code."""
        config = f"--config-dir={self.root}"
        done = self.host.run("salt-run", config, "--out=json", *command, timeout=1800)
        return json.loads(done.stdout), done.returncode


@pytest.fixture(scope="module", params=salts("3008"))
def fleet(request, wire, host_root, tmp_path_factory, vendor):
    """A master and the hosts of four sites, on none of which anything was done."""
    with booting(wire, host_root, tmp_path_factory) as boot:
        hosts = {name: boot(name, salt=request.param) for name in ("master", *SITES)}
        above = {"region": vendor.server, "canary": "region", "site": "region", "edge": "site"}
        pillars = {}
        for name, upstream in above.items():
            pillar = vendor.pillar(hosts[name].address)
            if isinstance(upstream, str):
                pillar["upstream"] = {"host": hosts[upstream].address, "port": 5000, "tls": False}
            pillars[name] = pillar
        salt = FleetMaster(hosts["master"], pillars)
        salt.configure_fleet(FLEET)
        for name in SITES:
            salt.accept(hosts[name])
        salt.wait_for(*SITES)
        salt.runner("saltutil.sync_all")
        yield salt, hosts


def statuses(report):
    return {name: site["status"] for name, site in report["sites"].items()}


def waves(report):
    return [wave["status"] for wave in report["waves"].values()]


def where(salt, digest):
    """Which sites have this image under the tag."""
    held = salt.run("registry_sync.list")
    return {name for name in SITES if held[name][CRON]["13.0"] == digest}


@contextlib.contextmanager
def nearly_full(host):
    """Have a host's registry on a disk with half a megabyte left, and then on its own one again."""
    kilobytes = int(host.output("du", "-sk", DATA).split()[0]) + 512
    host.output("systemctl", "stop", *SERVICES)
    host.output("cp", "-a", DATA, "/root/data")
    host.output("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", DATA)
    host.output("sh", "-c", f"chown --reference=/root/data {DATA} && cp -a /root/data/. {DATA}")
    host.output("systemctl", "start", *SERVICES)
    try:
        yield
    finally:
        host.output("systemctl", "stop", *SERVICES)
        host.output("umount", DATA)
        host.output("systemctl", "start", *SERVICES)


def test_one_command_sets_up_and_fills_a_fleet_that_never_saw_the_formula(fleet):
    salt, _ = fleet
    report, code = salt.runner("registry_fleet.rollout", "apply=True")
    assert waves(report) == ["done"] * 4, report["waves"]
    assert statuses(report) == dict.fromkeys(SITES, "current")
    assert code == 0
    assert {name: site["parent"] for name, site in report["sites"].items()} == {
        "region": "",
        "canary": "region",
        "site": "region",
        "edge": "site",
    }
    again, code = salt.runner("registry_fleet.rollout")
    assert (again["moves"], code) == ({}, 0)


def test_a_stopped_minion_a_stopped_registry_and_a_cut_line_are_told_apart(fleet):
    salt, hosts = fleet
    hosts["edge"].run("systemctl", "stop", "salt-minion")
    hosts["canary"].run("systemctl", "stop", "docker-registry")
    report, code = salt.runner("registry_fleet.matrix", "fresh=True")
    assert statuses(report) == {
        "region": "current",
        "canary": "failed",
        "site": "current",
        "edge": "unreachable",
    }
    assert (report["sites"]["edge"]["last_known"], code) == (True, 1)
    hosts["canary"].run("systemctl", "start", "docker-registry")
    hosts["region"].run("systemctl", "stop", "docker-registry")
    report, _ = salt.runner("registry_fleet.matrix", "fresh=True")
    assert report["sites"]["site"]["status"] == "failed"
    assert report["sites"]["site"]["cause"] == "network"
    hosts["region"].run("systemctl", "start", "docker-registry")
    hosts["edge"].run("systemctl", "start", "salt-minion")
    salt.wait_for(*SITES)


def test_a_canary_that_cannot_pull_leaves_the_later_waves_untouched(fleet, vendor, wire):
    salt, _ = fleet
    with wire.entered():
        new = push(vendor.server.url, CRON, "13.0", docker_image([Layer("another cron", 50_000)]))
    refusing = {**FLEET, "waves": [{name: {"target": name}} for name in SITES]}
    refusing["waves"][1]["canary"]["pull"] = f"{CRON}:not-there"
    salt.configure_fleet(refusing)
    report, code = salt.runner("registry_fleet.rollout")
    assert (waves(report), code) == (["done", "stopped", "not started", "not started"], 1)
    assert where(salt, new) == {"region", "canary"}
    salt.configure_fleet(FLEET)
    report, code = salt.runner("registry_fleet.rollout")
    assert (waves(report), set(report["moves"]), code) == (["done"] * 4, {"site", "edge"}, 0)


def test_a_canary_with_a_full_disk_leaves_the_later_waves_untouched(fleet, vendor, wire):
    salt, hosts = fleet
    with wire.entered():
        new = push(vendor.server.url, CRON, "13.0", docker_image([Layer("a large cron", 5_000_000)]))
    with nearly_full(hosts["canary"]):
        report, code = salt.runner("registry_fleet.rollout")
    assert (waves(report), code) == (["done", "stopped", "not started", "not started"], 1)
    canary = report["sites"]["canary"]
    assert (canary["status"], canary["cause"]) == ("failed", "space"), canary
    assert where(salt, new) == {"region"}
    report, code = salt.runner("registry_fleet.rollout")
    assert (waves(report), set(report["moves"]), code) == (["done"] * 4, {"canary", "site", "edge"}, 0)


def test_a_tag_that_is_gone_above_leaves_the_later_waves_untouched(fleet, vendor, wire):
    salt, _ = fleet
    with wire.entered(), requests.Session() as http:
        there = f"{vendor.server.url}/v2/{CRON}/manifests/"
        accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
        digest = http.head(there + "13.0", headers=accept, timeout=10).headers["Docker-Content-Digest"]
        assert http.delete(there + digest, timeout=10).status_code == 202
    report, code = salt.runner("registry_fleet.rollout")
    assert (waves(report), code) == (["stopped", "not started", "not started", "not started"], 1)
    assert report["sites"]["region"]["status"] == "failed"
    # Nobody loses what it has.
    assert where(salt, digest) == set(SITES)
