"""Space is freed on a host that the formula has set up, and a kill in between leaves one that can push."""

from __future__ import annotations

import threading
import time

import pytest

from integration.conftest import minion_on
from integration.story import failures
from integration.test_el9 import REGISTRY, registry_image
from integration.test_push import IMAGE, PUSH, SERVICE, good, status
from support.hosts import HostWithoutSystemd, become_el9
from support.registry_content import push

PROGRAM = "/usr/bin/docker-registry"
SLOW = f"""#!/bin/sh
[ "$1" != garbage-collect ] || sleep 4
exec {PROGRAM}.real "$@"
"""
RULES = {"after": 0, "ceiling": "100%", "repositories": True}
GONE = "ceph/rhceph"


def lock(minion):
    """Return what is noted of pushes that were stopped."""
    return (minion.root / "var/lib/docker_registry/collect-5000.lock").read_text(encoding="utf-8")


def forgetting(vendor, host, **others):
    """Return a pillar that wants one image less."""
    pillar = vendor.pillar(host.address, prune=RULES, collect={"grace": 0}, **others)
    return {**pillar, "images": [image for image in pillar["images"] if image["name"] != GONE]}


def forget(minion, pillar):
    """Sync what is wanted, and prune the rest."""
    minion.set_pillar({"docker_registry": pillar})
    assert minion.call("registry_sync.sync").retcode == 0
    pruned = minion.call("registry_sync.prune", automatic=True).value
    assert pruned["images"][f"{GONE}:13.0"]["status"] == "pruned", pruned
    return pruned


def assert_collected(minion, pruned):
    looked = minion.call("registry_sync.collect", dry=True).value
    assert (looked["refused"], looked["error"], looked["read_only_seconds"]) == ("", "", 0)
    done = minion.call("registry_sync.collect")
    assert (done.value["refused"], done.value["error"], done.retcode) == ("", "", 0), done.value
    assert done.value["bytes"] == looked["bytes"] == pruned["summary"]["bytes"] > 50_000
    assert done.value["repositories"] == looked["repositories"] == [GONE]
    assert 0 < done.value["read_only_seconds"] <= 20


@pytest.fixture(scope="module")
def mirror(boot_module, vendor):
    host = boot_module("mirror")
    minion = minion_on(host, vendor.pillar(host.address))
    good(minion.apply("docker_registry"))
    return minion


class TestHost:
    def test_what_a_prune_leaves_is_freed_and_only_the_service_for_pushes_starts_anew(
        self, mirror, vendor, wire
    ):
        host = mirror.host
        pruned = forget(mirror, forgetting(vendor, host))
        before = [host.invocation(service) for service in (SERVICE, PUSH)]
        assert_collected(mirror, pruned)
        after = [host.invocation(service) for service in (SERVICE, PUSH)]
        assert after[0] == before[0]
        assert after[1] != before[1]
        with wire.entered():
            assert status(host, "GET", f"{IMAGE}/manifests/13.0") == 200
            assert status(host, "GET", f"/v2/{GONE}/manifests/13.0") == 404
        assert mirror.call("registry_sync.check").value["summary"]["current"] == len(vendor.images) - 1
        assert lock(mirror) == ""
        assert "-guard-" not in host.output("systemctl", "list-units", "--plain", "--no-legend")

    def test_the_states_find_nothing_to_do_afterwards(self, mirror):
        assert good(mirror.apply("docker_registry.collect")) == {}
        assert good(mirror.apply("docker_registry")) == {}

    def test_what_was_freed_comes_again_when_it_is_wanted(self, mirror, vendor, wire):
        host = mirror.host
        mirror.set_pillar({"docker_registry": vendor.pillar(host.address)})
        assert mirror.call("registry_sync.sync").value["summary"]["copied"] == 1
        with wire.entered():
            assert status(host, "GET", f"/v2/{GONE}/manifests/13.0") == 200

    def test_a_kill_in_between_leaves_a_host_that_can_push_again(self, mirror, vendor):
        host = mirror.host
        forget(mirror, forgetting(vendor, host))
        host.output("mv", PROGRAM, f"{PROGRAM}.real")
        host.write(PROGRAM, SLOW)
        host.output("chmod", "755", PROGRAM)
        host.output("systemctl", "restart", PUSH)
        host.start_service("collecting", *mirror.command("registry_sync.collect"))
        wait_until(lambda: host.run("pgrep", "-f", "^sleep 4").returncode == 0)
        assert not host.is_active(PUSH)
        host.output("systemctl", "kill", "--signal=KILL", "--kill-who=main", "collecting")
        # What it has started is gone with its unit here; the guard is no child of it.
        wait_until(lambda: host.is_active(PUSH))
        assert "was stopped at" in lock(mirror)
        assert mirror.call("registry_sync.sync").retcode == 0
        assert lock(mirror) == ""
        host.output("mv", f"{PROGRAM}.real", PROGRAM)
        done = mirror.call("registry_sync.collect").value
        assert (done["refused"], done["error"], done["repositories"]) == ("", "", [GONE])
        assert "-guard-" not in host.output("systemctl", "list-units", "--plain", "--no-legend")


def wait_until(is_so, seconds=30):
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.thorough
def test_the_program_of_an_image_frees_as_well(boot, vendor, wire):
    with wire.entered():
        push(vendor.server.url, REGISTRY, "2", registry_image())
    host = boot("el9")
    become_el9(host)
    image = {"image": f"{vendor.address}/{REGISTRY}:2"}
    minion = minion_on(host, vendor.pillar(host.address, registry=image))
    assert failures(minion.apply("docker_registry")) == []
    assert_collected(minion, forget(minion, forgetting(vendor, host, registry=image)))
    with wire.entered():
        assert status(host, "GET", f"{IMAGE}/manifests/13.0") == 200
    assert minion.call("registry_sync.check").value["summary"]["current"] == len(vendor.images) - 1


@pytest.mark.thorough
def test_without_systemd_a_kill_is_mended_by_the_guard_too(boot, vendor):
    host = boot("plain", kind=HostWithoutSystemd)
    minion = minion_on(host, vendor.pillar(host.address))
    good(minion.apply("docker_registry"))
    assert_collected(minion, forget(minion, forgetting(vendor, host)))
    assert host.run("service", PUSH, "status").returncode == 0
    minion.set_pillar({"docker_registry": vendor.pillar(host.address)})
    assert minion.call("registry_sync.sync").value["summary"]["copied"] == 1
    forget(minion, forgetting(vendor, host))
    host.output("mv", PROGRAM, f"{PROGRAM}.real")
    host.write(PROGRAM, SLOW)
    host.output("chmod", "755", PROGRAM)
    collecting = threading.Thread(target=minion.call, args=("registry_sync.collect",))
    collecting.start()
    wait_until(lambda: host.run("pgrep", "-f", "^sleep 4").returncode == 0)
    assert host.run("service", PUSH, "status").returncode != 0
    host.output("pkill", "-KILL", "-f", "salt-call.*registry_sync.collect")
    collecting.join()
    host.output("mv", f"{PROGRAM}.real", PROGRAM)
    wait_until(lambda: host.run("service", PUSH, "status").returncode == 0)
    assert minion.call("registry_service.answers", patience=10, instance="push").value is True
    assert "was stopped at" in lock(minion)
    assert minion.call("registry_sync.sync").retcode == 0
    assert lock(minion) == ""
