"""An Enterprise Linux 9, with no package of a registry: its image runs under podman and systemd."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from integration.conftest import minion_on
from integration.story import changes, failures, live
from support.hosts import become_el9
from support.images import FileLayer, docker_image
from support.registries import registry_binary
from support.registry_content import push
from support.selinux import changing_calls, give_selinux

CONFIG = "/etc/docker-distribution/registry/config.yml"
SERVICE = "docker-distribution"
UNIT = f"/etc/systemd/system/{SERVICE}.service"
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


def test_systemd_has_the_container_run_now_and_after_a_boot(story):
    assert story.host.is_active(SERVICE)
    assert story.host.output("systemctl", "is-enabled", SERVICE).strip() == "enabled"
    running = story.host.output("podman", "ps", "--format", "{{.Names}} {{.Image}}").split()
    assert running[0] == SERVICE
    assert running[1].endswith(f"/{REGISTRY}:2")


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


def test_another_configuration_restarts_the_container(story, vendor):
    before = story.host.invocation(SERVICE)
    image = f"{vendor.address}/{REGISTRY}:2"
    registry = {"image": image, "config": {"log": {"level": "warn"}}}
    pillar = vendor.pillar(story.host.address, registry=registry, force=True)
    story.minion.set_pillar({"docker_registry": pillar})
    answer = story.minion.apply("docker_registry")
    assert failures(answer) == []
    assert set(changes(answer)) == {"Registry is configured", "Registry is running"}
    assert story.host.invocation(SERVICE) != before
    assert story.minion.call("registry_sync.check").retcode == 0


def test_a_container_that_dies_is_started_again(story):
    before = story.host.invocation(SERVICE)
    story.host.output("podman", "kill", SERVICE)
    for _ in range(30):
        if story.host.is_active(SERVICE) and story.host.invocation(SERVICE) != before:
            break
        story.host.output("sleep", "0.5")
    assert story.host.invocation(SERVICE) != before
    assert story.minion.call("registry_service.answers", patience=10).value is True


def test_clean_takes_the_container_away_and_keeps_the_images(story):
    assert failures(story.minion.apply("docker_registry.clean")) == []
    assert not story.host.is_active(SERVICE)
    assert story.host.output("podman", "ps", "--all", "--quiet") == ""
    for gone in (UNIT, CONFIG, "/etc/containers/registries.conf.d/docker_registry.conf"):
        assert story.host.run("test", "-e", gone).returncode == 1, gone
    assert story.host.path("/var/lib/registry/docker/registry/v2/repositories/tools").is_dir()
    again = story.minion.apply("docker_registry.clean")
    assert (failures(again), changes(again)) == ([], {})
