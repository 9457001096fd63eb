"""The host's own engines pull from the mirror: podman by its API socket, docker by its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

import _registry_host_pull as engine
from _registry_config_validators import SettingsError
from _registry_http_endpoint import Endpoint
from support.images import runnable_image
from support.registry_content import push

pytestmark = [
    pytest.mark.needs("docker-distribution", "skopeo", "busybox-static"),
    pytest.mark.skipif(find_spec("docker") is None, reason="needs docker's SDK for Python"),
]


def endpoint(registry):
    return Endpoint("local", registry.host, registry.port, tls=False)


@pytest.fixture
def podman_socket(local):
    # podman refuses a runroot whose path is longer than 50 characters.
    tmp_path = Path(tempfile.mkdtemp(prefix="pod"))
    socket = tmp_path / "podman.sock"
    trust = tmp_path / "registries.conf"
    trust.write_text(f'[[registry]]\nlocation = "{local.address}"\ninsecure = true\n')
    command = ["podman", f"--root={tmp_path}/root", f"--runroot={tmp_path}/run", "--storage-driver=vfs"]
    service = subprocess.Popen(
        [*command, "system", "service", "--time=0", f"unix://{socket}"],
        env={**os.environ, "CONTAINERS_REGISTRIES_CONF": str(trust)},
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 10
    while not socket.exists() and service.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    if not socket.exists():
        service.kill()
        pytest.skip(f"podman's service does not run here: {service.communicate()[1].decode()[-200:]}")
    yield str(socket)
    service.terminate()
    service.wait()
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.mark.needs("podman")
def test_podman_pulls_what_the_mirror_holds(local, podman_socket):
    digest = push(local.url, "some/image", "1.0", runnable_image())
    pulled = engine.pull(endpoint(local), "some/image:1.0", [podman_socket])
    assert (pulled["error"], pulled["digest"]) == ("", digest)
    assert pulled["image"] == f"{local.address}/some/image:1.0"
    assert pulled["seconds"] > 0


@pytest.mark.needs("podman")
def test_the_engines_own_error_is_told(local, podman_socket):
    push(local.url, "some/image", "1.0", runnable_image())
    pulled = engine.pull(endpoint(local), "some/image:2.0", [podman_socket])
    assert pulled["digest"] == ""
    assert pulled["error"].startswith(f"the engine at unix://{podman_socket}: ")
    assert "unknown" in pulled["error"]


def test_without_an_engine_it_says_so(tmp_path, monkeypatch):
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    pulled = engine.pull(Endpoint("local", "h", 1), "a/b:1", [str(tmp_path / "none")])
    assert pulled["error"] == f"no container engine listens here (none of {tmp_path}/none)"


def test_without_the_sdk_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "docker", None)
    assert "SDK for Python is not installed" in engine.pull(Endpoint("local", "h", 1), "a/b:1")["error"]


@pytest.mark.parametrize("name", ["a/b", "A:1", "a/b@1", ":1", "a/b:-"])
def test_a_name_that_is_none(name):
    with pytest.raises(SettingsError, match="is no image"):
        engine.pull(Endpoint("local", "h", 1), name)
