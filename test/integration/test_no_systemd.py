"""A Debian 12, and a 13, that do not run systemd: init scripts run the registry."""

from __future__ import annotations

import pytest

from integration.conftest import minion_on
from integration.story import changes, failures, live
from integration.test_push import CONFIG, DIRECTORY, IMAGE, PUSH, PUSH_CONFIG, SERVICE, WRITES, good, status
from support.hosts import HostWithoutSystemd

pytestmark = pytest.mark.thorough

SCRIPT = f"/etc/init.d/{PUSH}"


@pytest.fixture(scope="module", params=["host_root", "host_root_debian13"], ids=["debian12", "debian13"])
def story(request, boot_module, vendor):
    # A module's hosts stand side by side.
    name = request.param.replace("host_root", "plain").replace("_", "-")
    host = boot_module(name, kind=HostWithoutSystemd, root=request.getfixturevalue(request.param))
    return live(minion_on(host, vendor.pillar(host.address)))


def status_of(host, service):
    return host.run("service", service, "status").returncode


def process(host, service):
    return host.read(f"/run/{service}.pid").strip()


def test_the_plan_writes_nothing(story):
    assert failures(story.plan) == []
    assert story.written_by_plan == set()


def test_the_first_run_starts_two_services_and_fills_them(story, vendor):
    assert set(changes(story.first)["Images are mirrored"]) == {f"{name}:13.0" for name in vendor.images}
    good(story.first)
    assert [status_of(story.host, service) for service in (SERVICE, PUSH)] == [0, 0]


def test_both_start_at_boot(story):
    assert story.host.output("sh", "-c", f"ls /etc/rc2.d | grep -c '^S..{SERVICE}'").strip() == "2"


def test_the_second_run_changes_nothing(story):
    assert good(story.second) == {}


def test_the_network_can_pull_and_not_push(story, wire):
    with wire.entered():
        assert status(story.host, "GET", f"{IMAGE}/manifests/13.0") == 200
        for method, path in WRITES:
            assert status(story.host, method, path) == 405


def test_root_and_the_services_user_alone_may_enter_the_directory(story):
    assert story.host.output("stat", "-c", "%a %U %G", DIRECTORY).split() == ["700", SERVICE, SERVICE]
    (user,) = set(story.host.output("ps", "-o", "user:32=", "-p", process(story.host, PUSH)).split())
    assert user == SERVICE


def test_another_configuration_restarts_both(story, vendor):
    before = [process(story.host, service) for service in (SERVICE, PUSH)]
    registry = {"config": {"log": {"level": "warn"}}}
    story.minion.set_pillar({"docker_registry": vendor.pillar(story.host.address, registry=registry)})
    told = good(story.minion.apply("docker_registry"))
    assert {"Registry is running", "Registry for pushes is running"} <= set(told)
    assert not set(before) & {process(story.host, service) for service in (SERVICE, PUSH)}
    assert good(story.minion.apply("docker_registry")) == {}


def test_a_service_that_was_killed_is_started_by_the_next_run(story):
    story.host.output("kill", "-KILL", process(story.host, PUSH))
    assert set(good(story.minion.apply("docker_registry"))) == {"Registry for pushes is running"}


def test_everyone_may_push_and_then_nobody_again(story, vendor, wire):
    pillar = vendor.pillar(story.host.address)
    story.minion.set_pillar({"docker_registry": {**pillar, "registry": {"push": "everyone"}}})
    good(story.minion.apply("docker_registry"))
    for gone in (SCRIPT, PUSH_CONFIG, DIRECTORY):
        assert not story.host.path(gone).exists(), gone
    with wire.entered():
        assert status(story.host, "POST", f"{IMAGE}/blobs/uploads/") == 202
    story.minion.set_pillar({"docker_registry": pillar})
    good(story.minion.apply("docker_registry"))
    with wire.entered():
        assert status(story.host, "POST", f"{IMAGE}/blobs/uploads/") == 405


def test_clean_leaves_nothing_but_the_images(story):
    host = story.host
    good(story.minion.apply("docker_registry.clean"))
    for gone in (SCRIPT, CONFIG, PUSH_CONFIG, DIRECTORY, f"/var/log/{PUSH}.log", f"/run/{PUSH}.pid"):
        assert not host.path(gone).exists(), gone
    assert host.output("find", "/etc", "-name", f"*{PUSH}*") == ""
    assert host.run("pgrep", "-x", SERVICE).returncode == 1
    assert host.path("/var/lib/docker-registry/docker/registry/v2/repositories/tools").is_dir()
    assert good(story.minion.apply("docker_registry.clean")) == {}
