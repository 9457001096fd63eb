"""An Enterprise Linux 9, with no package of a registry: its image runs under podman and systemd."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from integration.conftest import minion_on
from integration.story import changes, failures, live
from integration.test_push import DIRECTORY, IMAGE, WRITES, good, status, units_of, wait_for_another_run
from support.hosts import become_el9
from support.images import FileLayer, docker_image
from support.registries import registry_binary
from support.registry_content import push
from support.selinux import changing_calls, give_selinux

pytestmark = pytest.mark.thorough

CONFIG = "/etc/docker-distribution/registry/config.yml"
SERVICE = "docker-distribution"
PUSH = f"{SERVICE}-push"
BOTH = (SERVICE, PUSH)
UNITS = tuple(f"/etc/systemd/system/{name}.service" for name in BOTH)
REGISTRY = "library/registry"


def registry_image():
    """Return this machine's docker-distribution as an image, with the libraries that it asks for."""
    program = registry_binary()
    asked = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    libraries = re.findall(r"(/\S+) \(0x", asked)
    files = {path.lstrip("/"): Path(path).read_bytes() for path in libraries}
    layer = FileLayer({"bin/registry": Path(program).read_bytes(), **files})
    return docker_image([layer], entrypoint=["/bin/registry"], command=[])


@pytest.fixture(scope="module")
def story(boot_module, vendor, wire):
    with wire.entered():
        push(vendor.server.url, REGISTRY, "2", registry_image())
    host = boot_module("el9")
    become_el9(host)
    image = f"{vendor.address}/{REGISTRY}:2"
    give_selinux(host)
    return live(minion_on(host, vendor.pillar(host.address, registry={"image": image})))


def test_the_plan_writes_nothing_and_fails_nowhere(story):
    assert failures(story.plan) == []
    assert story.written_by_plan == set()


def test_the_first_run_installs_podman_and_fills_a_registry_that_runs_in_it(story, vendor):
    assert failures(story.first) == []
    assert "podman" in changes(story.first)["Podman is installed"]
    assert set(changes(story.first)["Images are mirrored"]) == {f"{name}:13.0" for name in vendor.images}
    assert story.host.run("rpm", "-q", SERVICE).returncode != 0


def test_systemd_has_the_containers_run_now_and_after_a_boot(story):
    for service in BOTH:
        assert story.host.is_active(service)
        assert story.host.output("systemctl", "is-enabled", service).strip() == "enabled"
    running = story.host.output("podman", "ps", "--format", "{{.Names}} {{.Image}}").splitlines()
    assert sorted(container.split()[0] for container in running) == list(BOTH)
    assert all(container.endswith(f"/{REGISTRY}:2") for container in running)


def test_no_run_that_ends_well_has_an_error_in_its_log(story):
    for answer in (story.plan, story.first, story.second):
        good(answer)


def test_the_network_can_pull_and_not_push(story, wire):
    with wire.entered():
        assert status(story.host, "GET", f"{IMAGE}/manifests/13.0") == 200
        for method, path in WRITES:
            assert status(story.host, method, path) == 405


def test_root_alone_may_enter_the_directory_of_the_socket(story):
    assert story.host.output("stat", "-c", "%a %U", DIRECTORY).split() == ["700", "root"]


def test_the_images_get_the_context_of_a_containers_files_once(story):
    assert changing_calls(story.host, "/var/lib/registry") == [
        "semanage fcontext --add --type container_file_t /var/lib/registry(/.*)?",
        "restorecon -v -F -R /var/lib/registry",
    ]


def test_the_second_run_changes_nothing(story):
    assert failures(story.second) == []
    assert changes(story.second) == {}


def test_the_check_finds_everything_in_step(story, vendor):
    assert story.check.retcode == 0
    assert story.check.value["summary"]["current"] == len(vendor.images)


def test_podman_pulls_through_its_socket_what_the_mirror_holds(story, vendor):
    story.host.output("systemctl", "start", "podman.socket")
    answer = story.minion.call("registry_sync.pull", "tools/busybox:13.0")
    assert answer.retcode == 0, answer.stdout
    assert answer.value["error"] == ""
    assert answer.value["digest"] == vendor.images["tools/busybox"].digest
    assert answer.value["seconds"] > 0


def test_another_configuration_restarts_the_containers(story, vendor):
    before = story.host.invocation(SERVICE)
    image = f"{vendor.address}/{REGISTRY}:2"
    registry = {"image": image, "config": {"log": {"level": "warn"}}}
    pillar = vendor.pillar(story.host.address, registry=registry)
    story.minion.set_pillar({"docker_registry": pillar})
    assert set(good(story.minion.apply("docker_registry"))) == {
        "Registry is configured",
        "Registry is running",
        "Registry is configured for pushes of this host",
        "Registry for pushes is running",
    }
    assert story.host.invocation(SERVICE) != before
    assert story.minion.call("registry_sync.check").retcode == 0


@pytest.mark.parametrize(("service", "instance"), [(SERVICE, "service"), (PUSH, "push")])
def test_a_container_that_dies_is_started_again(service, instance, story):
    before = story.host.invocation(service)
    story.host.output("podman", "kill", service)
    assert wait_for_another_run(story.host, service, before)
    assert story.minion.call("registry_service.answers", patience=10, instance=instance).value is True


def test_clean_takes_the_containers_away_and_keeps_the_images(story):
    good(story.minion.apply("docker_registry.clean"))
    # Neither runs, and neither is remembered as one that failed.
    assert [units_of(story.host, service) for service in BOTH] == ["", ""]
    assert story.host.output("podman", "ps", "--all", "--quiet") == ""
    for gone in (*UNITS, CONFIG, DIRECTORY, "/etc/containers/registries.conf.d/docker_registry.conf"):
        assert story.host.run("test", "-e", gone).returncode == 1, gone
    assert story.host.path("/var/lib/registry/docker/registry/v2/repositories/tools").is_dir()
    again = story.minion.apply("docker_registry.clean")
    assert (failures(again), changes(again)) == ([], {})
