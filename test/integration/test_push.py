"""Who may push: clients of a host reach a server that is read-only, and the host alone another one."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import time
import urllib.error
import urllib.request

import pytest
import yaml

from integration.conftest import minion_on
from integration.story import changes, errors, failures

DIRECTORY = "/run/docker_registry"
SOCKET = f"{DIRECTORY}/5000.sock"
SERVICE, PUSH = "docker-registry", "docker-registry-push"
CONFIG, PUSH_CONFIG = "/etc/docker/registry/config.yml", "/etc/docker/registry/push.yml"
PAST = "/var/lib/docker_registry/before.json"
UNIT = f"/etc/systemd/system/{PUSH}.service"
IMAGE = "/v2/tools/busybox"
WRITES = (
    ("POST", f"{IMAGE}/blobs/uploads/"),
    ("PUT", f"{IMAGE}/manifests/13.0"),
    ("DELETE", f"{IMAGE}/manifests/sha256:{'0' * 64}"),
    ("DELETE", f"{IMAGE}/blobs/sha256:{'0' * 64}"),
)


def status(host, method, path):
    """Return what a client of the network is answered."""
    request = urllib.request.Request(f"http://{host.address}:5000{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code


class SocketConnection(http.client.HTTPConnection):
    """A client of a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost")
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def asked(client, method, location, body=b""):
    """Send a part of an upload, and return where it goes on."""
    path = location.removeprefix(f"http://{client.host}:5000")
    client.request(method, path, body, {"Content-Type": "application/octet-stream"})
    answer = client.getresponse()
    assert (answer.status // 100, answer.read()) == (2, b"")
    return answer.headers["Location"]


def good(answer):
    """Assert that a run has ended well, with no line of Salt's that says otherwise; return its changes."""
    assert failures(answer) == []
    assert errors(answer) == []
    assert answer.retcode == 0
    return changes(answer)


def units_of(host, service):
    """Return what systemd knows of a service, a failure of one that is gone, too."""
    return host.output("systemctl", "list-units", "--all", "--plain", "--no-legend", f"{service}.service")


def wait_for_another_run(host, service, before):
    """Return whether systemd has started a service again."""
    for _ in range(40):
        if host.is_active(service) and host.invocation(service) != before:
            return True
        time.sleep(0.5)
    return False


def apply_with(minion, pillar, **registry):
    minion.set_pillar({"docker_registry": {**pillar, "registry": registry}})
    return minion.apply("docker_registry")


@pytest.fixture(scope="module")
def mirror(boot_module, vendor):
    """A minion that the formula was applied to."""
    host = boot_module("mirror")
    minion = minion_on(host, vendor.pillar(host.address))
    good(minion.apply("docker_registry"))
    return minion


class TestHost:
    def test_two_services_run_now_and_after_a_boot(self, mirror):
        for service in (SERVICE, PUSH):
            assert mirror.host.is_active(service)
            assert mirror.host.output("systemctl", "is-enabled", service).strip() == "enabled"

    @pytest.mark.parametrize(("method", "path"), WRITES)
    def test_the_network_can_write_and_delete_nothing(self, method, path, mirror, wire):
        with wire.entered():
            assert status(mirror.host, method, path) == 405

    def test_the_network_can_pull(self, mirror, wire):
        with wire.entered():
            assert status(mirror.host, "GET", f"{IMAGE}/manifests/13.0") == 200

    def test_the_host_has_pushed_through_the_socket_alone(self, mirror):
        logs = {name: mirror.host.output("journalctl", "-u", name, "-o", "cat") for name in (SERVICE, PUSH)}
        assert '"PUT /v2/tools/busybox/manifests/13.0 HTTP/1.1" 201' in logs[PUSH]
        assert 'HTTP/1.1" 201' not in logs[SERVICE]

    def test_root_and_the_services_user_alone_may_enter_the_directory(self, mirror):
        seen = mirror.host.output("stat", "-c", "%a %U %G", DIRECTORY).split()
        assert seen == ["700", SERVICE, SERVICE]
        knock = ("python3", "-c", f"import socket; socket.socket(socket.AF_UNIX).connect('{SOCKET}')")
        assert mirror.host.run(*knock).returncode == 0
        refused = mirror.host.run("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *knock)
        assert "PermissionError" in refused.stderr

    def test_both_configurations_are_secret_and_share_a_secret(self, mirror):
        public, push = (yaml.safe_load(mirror.host.read(path)) for path in (CONFIG, PUSH_CONFIG))
        assert public["http"]["secret"] == push["http"]["secret"]
        seen = mirror.host.output("stat", "-c", "%a %U", CONFIG, PUSH_CONFIG).split()
        assert seen == ["600", SERVICE, "600", SERVICE]

    def test_the_second_run_changes_nothing(self, mirror):
        before = [mirror.host.invocation(service) for service in (SERVICE, PUSH)]
        assert good(mirror.apply("docker_registry")) == {}
        assert [mirror.host.invocation(service) for service in (SERVICE, PUSH)] == before

    def test_a_service_for_pushes_that_was_killed_comes_again(self, mirror):
        before = mirror.host.invocation(PUSH)
        mirror.host.output("systemctl", "kill", "--signal=KILL", PUSH)
        assert wait_for_another_run(mirror.host, PUSH, before)
        assert mirror.call("registry_service.answers", patience=10, instance="push").value is True


@pytest.mark.thorough
def test_what_the_second_service_does_not_read_does_not_restart_it(boot, vendor):
    host = boot("certified")
    pillar = vendor.pillar(host.address)
    minion = minion_on(host, pillar)
    good(minion.apply("docker_registry"))
    before = [host.invocation(service) for service in (SERVICE, PUSH)]
    pillar["local"].update(username="ada", password="a-long-password")
    told = good(apply_with(minion, pillar, htpasswd={"ada": "a-long-password"}))
    assert {"Registry is configured", "Registry is running"} <= set(told)
    assert "Registry for pushes is running" not in told
    after = [host.invocation(service) for service in (SERVICE, PUSH)]
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_clean_removes_both_and_restores_what_was_here(boot, vendor):
    host = boot("before")
    host.output("apt-get", "install", "-qq", SERVICE)
    site = "version: 0.1\nhttp: {addr: ':5999'}\nstorage: {filesystem: {rootdirectory: /srv/site}}"
    host.write(CONFIG, site)
    host.output("systemctl", "restart", SERVICE)
    host.write(PUSH_CONFIG, "of: the site\n")
    minion = minion_on(host, vendor.pillar(host.address))
    good(minion.apply("docker_registry"))
    assert host.is_active(PUSH)
    good(minion.apply("docker_registry.clean", test=True))
    assert host.is_active(PUSH)
    good(minion.apply("docker_registry.clean"))
    assert host.read(CONFIG) == site
    assert host.read(PUSH_CONFIG) == "of: the site\n"
    assert host.is_active(SERVICE)
    for gone in (UNIT, DIRECTORY):
        assert host.run("test", "-e", gone).returncode == 1, gone
    assert units_of(host, PUSH) == ""
    assert good(minion.apply("docker_registry.clean")) == {}


def as_of_the_former_layout(host):
    """Take from what is kept of the host's past what a version with one service did not keep."""
    past = json.loads(host.read(PAST))
    del past["files"][PUSH_CONFIG]
    host.write(PAST, json.dumps(past))


@pytest.mark.thorough
def test_one_service_becomes_two_and_loses_no_image_and_no_upload(boot, vendor, wire):
    host = boot("former")
    pillar = vendor.pillar(host.address)
    minion = minion_on(host, pillar)
    good(apply_with(minion, pillar, push="everyone"))
    as_of_the_former_layout(host)
    half, other = b"half" * 1000, b"other" * 1000
    with wire.entered():
        client = http.client.HTTPConnection(host.address, 5000, timeout=10)
        begun = asked(client, "POST", f"{IMAGE}/blobs/uploads/")
        patched = asked(client, "PATCH", begun, half)
        client.close()
    told = good(apply_with(minion, pillar))
    assert "Images are mirrored" not in told
    client = SocketConnection(str(host.path(SOCKET)))
    digest = hashlib.sha256(half + other).hexdigest()
    asked(client, "PUT", f"{asked(client, 'PATCH', patched, other)}&digest=sha256:{digest}")
    client.close()
    with wire.entered():
        assert status(host, "GET", f"{IMAGE}/blobs/sha256:{digest}") == 200
    good(minion.apply("docker_registry.clean"))
    assert not host.path(PUSH_CONFIG).exists()
    assert host.run("test", "-e", DIRECTORY).returncode == 1


@pytest.mark.thorough
def test_everyone_may_push_where_the_pillar_says_and_then_nobody_again(boot, vendor, wire):
    host = boot("open")
    pillar = vendor.pillar(host.address)
    minion = minion_on(host, pillar)
    good(minion.apply("docker_registry"))
    good(apply_with(minion, pillar, push="everyone"))
    assert host.is_active(SERVICE)
    assert not host.is_active(PUSH)
    for gone in (UNIT, PUSH_CONFIG, DIRECTORY):
        assert host.run("test", "-e", gone).returncode == 1, gone
    with wire.entered():
        assert status(host, "POST", f"{IMAGE}/blobs/uploads/") == 202
    assert good(minion.apply("docker_registry")) == {}
    told = good(apply_with(minion, pillar))
    assert "Images are mirrored" not in told
    with wire.entered():
        assert status(host, "POST", f"{IMAGE}/blobs/uploads/") == 405
    assert host.is_active(PUSH)
