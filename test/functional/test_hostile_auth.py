"""What a registry says of logins: for what it was said, and never taken for something else."""

from __future__ import annotations

import pytest

import _registry_sync_commands as commands
from support import faults
from support.hostile import fresh_name, say, standing
from support.images import Layer, docker_image
from support.logins import htpasswd_config, session
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registry_content import push

pytestmark = pytest.mark.needs("docker-distribution")

LOGIN = ("mirror", "a-password")
NOWHERE = 'Bearer realm="http://127.0.0.1:1/token",service="nowhere"'
BASIC = 'Basic realm="elsewhere"'
NO_ADDRESS = 'Bearer realm="not a web address"'


@pytest.fixture(scope="module")
def guarded(start_module_registry, tmp_path_factory):
    """A registry that wants a login."""
    return start_module_registry(config=htpasswd_config(tmp_path_factory.mktemp("users"), dict([LOGIN])))


@pytest.fixture
def line(request, module_upstream, guarded):
    """A line to an upstream that wants no login, or the right one, and what the pillar says of it."""
    wants_login = getattr(request, "param", "anonymous") == "login"
    with FaultProxy((guarded if wants_login else module_upstream).url) as line:
        line.login = {"username": LOGIN[0], "password": LOGIN[1]} if wants_login else {}
        yield line


def push_with_login(line, name):
    image = docker_image([Layer(name)])
    with session(login=LOGIN if line.login else None) as http:
        push(line.url, name, "1", image, session=http)
    return image


def settings(line, local, names, **transfer):
    upstream = {"host": line.host, "port": line.port, "tls": False, **line.login}
    images = [{"name": name, "tags": ["1"], "upstream": upstream} for name in names]
    return settings_of(line, local, images, transfer={"retries": 1, "parallel": 2, **transfer})


@pytest.mark.parametrize(
    ("line", "kind", "challenge"),
    [
        ("anonymous", "blobs", NOWHERE),
        ("anonymous", "blobs", BASIC),
        ("anonymous", "blobs", NO_ADDRESS),
        ("anonymous", "manifests", NOWHERE),
        ("login", "blobs", NOWHERE),
        ("login", "blobs", ""),
        ("login", "manifests", NOWHERE),
    ],
    indirect=["line"],
    ids=["nowhere", "basic", "no-address", "of-manifests", "login", "login-none", "login-of-manifests"],
)
def test_a_challenge_for_one_image_changes_nothing_for_the_others(
    line, module_local, tmp_path, kind, challenge
):
    bad, *good = names = [fresh_name("auth") for _ in range(4)]
    images = {name: push_with_login(line, name) for name in names}
    headers = [("WWW-Authenticate", challenge)] if challenge else []
    line.on(None, f"/{bad}/{kind}/", say(401, b"", *headers), times=None)
    report = commands.sync(settings(line, module_local, names), directory=str(tmp_path))
    statuses = {name: report["images"][f"{name}:1"]["status"] for name in names}
    assert statuses == {bad: "failed", **dict.fromkeys(good, "copied")}
    assert all(standing(module_local, name, "1") == images[name].digest for name in good)
    assert report["images"][f"{bad}:1"]["cause"] in ("auth", "network")


@pytest.mark.parametrize("line", ["anonymous", "login"], indirect=True)
def test_a_challenge_that_passes_is_forgotten(line, module_local, tmp_path):
    """A server behind a balancer that knows nobody for a moment: the next request is asked as before."""
    names = [fresh_name("auth") for _ in range(4)]
    for name in names:
        push_with_login(line, name)
    line.on("GET", "/blobs/", say(401, b"", ("WWW-Authenticate", NOWHERE)), times=1)
    report = commands.sync(settings(line, module_local, names), directory=str(tmp_path))
    statuses = [entry["status"] for entry in report["images"].values()]
    assert statuses.count("copied") >= len(names) - 1


@pytest.mark.parametrize(
    ("status", "cause"), [(403, "auth"), (429, "rate"), (404, "unsupported"), (500, "network")]
)
def test_a_greeting_that_is_refused_has_its_cause(module_upstream, module_local, tmp_path, status, cause):
    bad, good = fresh_name("auth"), fresh_name("auth")
    for name in (bad, good):
        push(module_upstream.url, name, "1", docker_image([Layer(name)]))
    with FaultProxy(module_upstream.url) as line:
        line.on("GET", "/v2/$", faults.answer(status), times=None)
        elsewhere = {"host": line.host, "port": line.port, "tls": False}
        images = [{"name": bad, "tags": ["1"], "upstream": elsewhere}, {"name": good, "tags": ["1"]}]
        report = commands.sync(
            settings_of(module_upstream, module_local, images, transfer={"retries": 1}),
            directory=str(tmp_path),
        )
        entry = report["images"][f"{bad}:1"]
        assert (entry["status"], entry["cause"]) == ("failed", cause)
        assert entry["error"].startswith(f"upstream {line.address}")
    assert report["images"][f"{good}:1"]["status"] == "copied"


@pytest.mark.parametrize("status", [401, 403])
def test_a_local_registry_that_does_not_let_us_in_is_not_taken_for_an_empty_one(
    module_upstream, module_local, status
):
    name = fresh_name("auth")
    push(module_upstream.url, name, "1", docker_image([Layer(name)]))
    with FaultProxy(module_local.url) as near:
        near.on(None, "/v2/", faults.answer(status), times=None)
        images = [{"name": name, "tags": ["1"]}]
        report = commands.plan(
            settings_of(module_upstream, near, images, transfer={"retries": 1}), fresh=True
        )
        entry = report["images"][f"{name}:1"]
        assert (entry["status"], entry["cause"]) == ("unreadable", "auth")
        assert entry["error"].startswith(f"local {near.address}")


def test_a_local_registry_that_wants_a_login_we_do_not_have_is_not_taken_for_an_empty_one(
    module_upstream, guarded
):
    name = fresh_name("auth")
    push(module_upstream.url, name, "1", docker_image([Layer(name)]))
    images = [{"name": name, "tags": ["1"]}]
    report = commands.plan(settings_of(module_upstream, guarded, images), fresh=True)
    entry = report["images"][f"{name}:1"]
    assert (entry["status"], entry["cause"]) == ("unreadable", "auth")
    assert report["summary"]["bytes"] == 0
