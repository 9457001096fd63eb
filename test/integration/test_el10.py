"""An Enterprise Linux 10: podman with quadlet, and no package of a registry."""

from __future__ import annotations

import pytest

from _registry_host_units import UNIT_MARK
from integration.conftest import minion_on
from integration.story import changes, errors, failures, live
from integration.test_el9 import REGISTRY, registry_image
from integration.test_push import DIRECTORY, IMAGE, WRITES, good, status, units_of, wait_for_another_run
from support.hosts import become_el10
from support.registry_content import push

CONFIG = "/etc/docker-distribution/registry/config.yml"
SERVICE = "docker-distribution"
PUSH = f"{SERVICE}-push"
BOTH = (SERVICE, PUSH)
FILES = tuple(f"/etc/containers/systemd/{name}.container" for name in BOTH)


@pytest.fixture(scope="module")
def story(boot_module, host_root_debian13, vendor, wire):
    with wire.entered():
        push(vendor.server.url, REGISTRY, "2", registry_image())
    host = boot_module("el10", root=host_root_debian13, unified=True)
    become_el10(host)
    image = f"{vendor.address}/{REGISTRY}:2"
    return live(minion_on(host, vendor.pillar(host.address, registry={"image": image})))


def test_the_plan_writes_nothing_and_fails_nowhere(story):
    assert failures(story.plan) == []
    assert story.written_by_plan == set()


def test_the_first_run_fills_a_registry_that_runs_in_podman(story, vendor):
    assert failures(story.first) == []
    assert errors(story.first) == []
    assert set(changes(story.first)["Images are mirrored"]) == {f"{name}:13.0" for name in vendor.images}
    told = changes(story.first)
    assert told["Registry is running"] == told["Registry for pushes is running"] == {"now": "started"}


@pytest.mark.parametrize("service", BOTH)
def test_systemd_has_the_containers_run_now_and_after_a_boot(service, story):
    assert story.host.is_active(service)
    assert story.host.output("systemctl", "is-enabled", service).strip() == "generated"
    wanted = story.host.output("systemctl", "list-dependencies", "--plain", "multi-user.target")
    assert f"{service}.service" in wanted.split()


def test_the_second_run_changes_nothing(story):
    assert failures(story.second) == []
    assert changes(story.second) == {}


def test_the_check_finds_everything_in_step(story, vendor):
    assert story.check.retcode == 0
    assert story.check.value["summary"]["current"] == len(vendor.images)


def test_the_network_can_pull_and_not_push(story, wire):
    with wire.entered():
        assert status(story.host, "GET", f"{IMAGE}/manifests/13.0") == 200
        for method, path in WRITES:
            assert status(story.host, method, path) == 405


def test_root_alone_may_enter_the_directory_of_the_socket(story):
    assert story.host.output("stat", "-c", "%a %U", DIRECTORY).split() == ["700", "root"]


def test_a_restart_by_hand_leaves_both_as_they_were(story):
    for service in BOTH:
        story.host.output("systemctl", "restart", service)
        assert story.host.is_active(service)
    for instance in ("service", "push"):
        assert story.minion.call("registry_service.answers", patience=10, instance=instance).value is True
    assert good(story.minion.apply("docker_registry")) == {}


@pytest.mark.parametrize(("service", "instance"), [(SERVICE, "service"), (PUSH, "push")])
def test_a_container_that_is_killed_is_started_again(service, instance, story):
    before = story.host.invocation(service)
    story.host.output("podman", "kill", service)
    assert wait_for_another_run(story.host, service, before)
    assert story.minion.call("registry_service.answers", patience=10, instance=instance).value is True


def test_another_configuration_restarts_both(story, vendor):
    before = [story.host.invocation(service) for service in BOTH]
    registry = {"image": f"{vendor.address}/{REGISTRY}:2", "config": {"log": {"level": "warn"}}}
    story.minion.set_pillar({"docker_registry": vendor.pillar(story.host.address, registry=registry)})
    assert set(good(story.minion.apply("docker_registry"))) == {
        "Registry is configured",
        "Registry is running",
        "Registry is configured for pushes of this host",
        "Registry for pushes is running",
    }
    assert not set(before) & {story.host.invocation(service) for service in BOTH}
    assert good(story.minion.apply("docker_registry")) == {}


@pytest.mark.thorough
def test_another_image_restarts_both_by_their_quadlets(story, vendor, wire):
    with wire.entered():
        push(vendor.server.url, REGISTRY, "3", registry_image())
    registry = {"image": f"{vendor.address}/{REGISTRY}:3"}
    story.minion.set_pillar({"docker_registry": vendor.pillar(story.host.address, registry=registry)})
    told = set(good(story.minion.apply("docker_registry")))
    assert {"Registry has a quadlet", "Registry for pushes has a quadlet"} <= told
    images = story.host.output("podman", "ps", "--format", "{{.Image}}").split()
    assert [image.endswith(f"{REGISTRY}:3") for image in images] == [True, True]
    assert good(story.minion.apply("docker_registry")) == {}


@pytest.mark.thorough
def test_a_unit_of_an_older_podman_gives_way_to_the_quadlet(story):
    unit = f"/etc/systemd/system/{SERVICE}.service"
    story.host.write(unit, f"{UNIT_MARK}[Service]\nExecStart=/usr/bin/false\n")
    story.host.output("systemctl", "daemon-reload")
    good(story.minion.apply("docker_registry"))
    assert not story.host.path(unit).exists()
    fragment = story.host.output("systemctl", "show", "--value", "-p", "SourcePath", SERVICE)
    assert fragment.strip() == FILES[0]
    assert story.host.is_active(SERVICE)


@pytest.mark.thorough
def test_everyone_may_push_and_then_nobody_again(story, vendor, wire):
    pillar = vendor.pillar(story.host.address, registry={"image": f"{vendor.address}/{REGISTRY}:3"})
    open_to_all = {**pillar, "registry": {**pillar["registry"], "push": "everyone"}}
    story.minion.set_pillar({"docker_registry": open_to_all})
    good(story.minion.apply("docker_registry"))
    assert units_of(story.host, PUSH) == ""
    with wire.entered():
        assert status(story.host, "POST", f"{IMAGE}/blobs/uploads/") == 202
    story.minion.set_pillar({"docker_registry": pillar})
    good(story.minion.apply("docker_registry"))
    with wire.entered():
        assert status(story.host, "POST", f"{IMAGE}/blobs/uploads/") == 405
    assert story.host.is_active(PUSH)


def test_clean_takes_both_away_and_keeps_the_images(story):
    host = story.host
    good(story.minion.apply("docker_registry.clean"))
    assert host.output("podman", "ps", "--all", "--quiet") == ""
    for gone in (*FILES, CONFIG, DIRECTORY, "/etc/containers/registries.conf.d/docker_registry.conf"):
        assert host.run("test", "-e", gone).returncode == 1, gone
    assert [units_of(host, service) for service in BOTH] == ["", ""]
    assert host.path("/var/lib/registry/docker/registry/v2/repositories/tools").is_dir()
    assert good(story.minion.apply("docker_registry.clean")) == {}
