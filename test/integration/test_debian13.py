"""A Debian 13 with the real package: the whole way once."""

from __future__ import annotations

import pytest

from integration.conftest import minion_on
from integration.story import failures, live, states
from integration.test_push import DIRECTORY, IMAGE, PUSH, SERVICE, WRITES, good, status, units_of

# The user that a package of Debian brings stays when the package goes.
ACCOUNTS = {f"/etc/{name}{kept}" for name in ("passwd", "shadow", "group", "gshadow") for kept in ("", "-")}


def etc_of(host):
    """Return the digest of each file below /etc."""
    listing = host.output("find", "/etc", "-type", "f", "-exec", "sha256sum", "{}", "+")
    digests = {path: digest for digest, path in map(str.split, listing.splitlines())}
    return {path: digest for path, digest in digests.items() if path not in ACCOUNTS}


@pytest.fixture(scope="module")
def host(boot_module, host_root_debian13):
    return boot_module("debian13", root=host_root_debian13)


@pytest.fixture(scope="module")
def etc_before(host):
    return etc_of(host)


@pytest.fixture(scope="module")
def story(host, etc_before, vendor):
    return live(minion_on(host, vendor.pillar(host.address)))


def test_the_host_is_a_debian_13_to_salt(story):
    grains = story.minion.call("grains.item", "os", "osmajorrelease").value
    assert (grains["os"], int(grains["osmajorrelease"])) == ("Debian", 13)


def test_the_plan_names_what_is_to_be_done_and_writes_nothing(story):
    assert failures(story.plan) == []
    assert states(story.plan)["Registry is running"]["comment"] == f"Would start {SERVICE}"
    assert states(story.plan)["Images are mirrored"]["comment"].startswith("Would copy 4 of 4 tags")
    assert story.written_by_plan == set()


def test_the_first_run_does_it_all_and_the_second_nothing(story, vendor):
    told = good(story.first)
    assert SERVICE in told["Registry package is installed"]
    assert set(told["Images are mirrored"]) == {f"{name}:13.0" for name in vendor.images}
    assert good(story.second) == {}
    assert story.check.retcode == 0
    assert story.check.value["summary"]["current"] == len(vendor.images)


@pytest.mark.parametrize("service", [SERVICE, PUSH])
def test_both_services_run_now_and_after_a_boot(service, story):
    assert story.host.is_active(service)
    assert story.host.output("systemctl", "is-enabled", service).strip() == "enabled"


def test_the_network_pulls_and_the_host_alone_pushes_by_the_socket(story, wire):
    with wire.entered():
        assert status(story.host, "GET", f"{IMAGE}/manifests/13.0") == 200
        assert {status(story.host, method, path) for method, path in WRITES} == {405}
    logs = {name: story.host.output("journalctl", "-u", name, "-o", "cat") for name in (SERVICE, PUSH)}
    assert f'"PUT {IMAGE}/manifests/13.0 HTTP/1.1" 201' in logs[PUSH]
    assert 'HTTP/1.1" 201' not in logs[SERVICE]


def test_clean_puts_etc_back_as_it_was_and_keeps_the_images(story, etc_before):
    host = story.host
    assert good(story.minion.apply("docker_registry.clean"))
    assert etc_of(host) == etc_before
    assert [units_of(host, service) for service in (SERVICE, PUSH)] == ["", ""]
    assert host.run("dpkg-query", "-W", SERVICE).returncode != 0
    assert host.run("test", "-e", DIRECTORY).returncode == 1
    assert host.path("/var/lib/docker-registry/docker/registry/v2/repositories/tools").is_dir()
