"""Bearer tokens: a real docker-distribution that takes those of a token server of ours."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import time
from pathlib import Path

import pytest
import requests
import yaml

import _registry_sync_commands as mirror
from _registry_oci_tags import TagRule
from support import faults
from support.images import Layer, docker_image
from support.logins import endpoint, session, settings_between, tls_config, write_auth_file
from support.pki import Authority
from support.proxy import FaultProxy
from support.registries import LOOPBACK, Distribution, free_port, merge
from support.registry_content import digest_of, push
from support.token_server import SERVICE, Behaviour, TokenServer

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

USER, PASSWORD = LOGIN = ("robot", "s3cret/+=&")
IDENTITY = "identity-token-of-a-robot"
BASE = Layer("base", 100_000)
NAMES = [f"team/image{number}" for number in range(6)]
IMAGES = {name: docker_image([BASE, Layer(name, 2_000)]) for name in NAMES}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def shared(authority, tmp_path_factory):
    """A token server, and a registry full of images that takes its tokens, both over TLS."""
    directory = tmp_path_factory.mktemp("tokens")
    pair = authority.issue("server", LOOPBACK)
    with TokenServer(
        authority, directory, users=dict([LOGIN]), identity_tokens=(IDENTITY,), tls=pair
    ) as tokens:
        # Relative, as a proxy that speaks plain HTTP stands in front of it in some tests.
        config = merge(merge(tls_config(pair), tokens.registry_config()), {"http": {"relativeurls": True}})
        with Distribution(directory / "registry", config=config) as registry:
            for name, image in IMAGES.items():
                http = session(authority.bundle)
                http.headers.update(tokens.session_headers(f"repository:{name}:pull,push"))
                push(registry.url, name, ["1", "2"], image, session=http)
            yield tokens, registry


@pytest.fixture
def tokens(shared):
    server, _ = shared
    server.behaviour = Behaviour()
    server.requests.clear()
    server.tokens.clear()
    server.most_at_once = 0
    return server


@pytest.fixture
def registry(shared):
    return shared[1]


@pytest.fixture
def line(registry):
    """The registry behind a line that counts; it is plain HTTP, its realm is HTTPS."""
    with FaultProxy(registry.url) as line:
        yield line


@pytest.fixture
def ours(registry, authority):
    return endpoint(registry, verify=str(authority.bundle), username=USER, password=PASSWORD)


def pillar_for(line, authority, **login):
    return endpoint(line, verify=str(authority.bundle), **(login or {"username": USER, "password": PASSWORD}))


def sync(upstream, local, images=NAMES, **others):
    return mirror.sync(settings_between(upstream, local, images, **others))


def statuses(report):
    return {entry["status"] for entry in report["images"].values()}


def errors(report):
    return {(entry["cause"], entry["error"]) for entry in report["images"].values()}


def challenge_of(tokens, scope):
    return f'Bearer realm="{tokens.url}",service="{SERVICE}",scope="{scope}",error="invalid_token"'


def refusals(line):
    return sum(1 for seen in line.seen if seen.status == 401)


def test_one_token_for_each_scope_however_many_need_it(tokens, line, local, authority):
    tokens.behaviour.pause = 0.02
    report = sync(pillar_for(line, authority), endpoint(local), transfer={"parallel": 16})
    assert statuses(report) == {"copied"}
    assert {digest_of(local.url, name, "1") for name in NAMES} == {i.digest for i in IMAGES.values()}
    # One to log in and one a repository, and different ones at the same time.
    assert tokens.count() == 1 + len(NAMES)
    assert all(tokens.count(f"repository:{name}:pull") == 1 for name in NAMES)
    assert tokens.most_at_once > 1
    assert {request.user for request in tokens.requests} == {USER}
    # Greetings come without a token; nothing else is refused.
    assert refusals(line) == sum(1 for r in line.requests("GET base") if not r.header("Authorization"))


def test_pushes_ask_for_more_and_mounts_for_both_repositories(tokens, registry, ours, upstream):
    fresh = Layer(f"fresh {time.time()}", 50_000)
    names = ["fresh/one", "fresh/two"]
    for name in names:
        push(upstream.url, name, "1", docker_image([fresh, Layer(name)]))
    report = sync(endpoint(upstream), ours, names)
    assert statuses(report) == {"copied"}
    assert report["summary"]["blobs_mounted"] == 1
    assert tokens.count("repository:fresh/one:pull,push") == 1
    mounts = [request.scopes for request in tokens.requests if len(request.scopes) == 2]
    assert mounts in (
        [("repository:fresh/two:pull,push", "repository:fresh/one:pull")],
        [("repository:fresh/one:pull,push", "repository:fresh/two:pull")],
    )


def test_a_token_is_renewed_before_it_ends(tokens, line, local, authority):
    tokens.behaviour.seconds = 1
    line.on("GET", "/blobs/", faults.delay(0.4), times=None)
    report = sync(pillar_for(line, authority), endpoint(local), NAMES[:2], transfer={"parallel": 1})
    assert statuses(report) == {"copied"}
    assert tokens.count(f"repository:{NAMES[0]}:pull") > 1
    assert refusals(line) == sum(1 for r in line.requests("GET base") if not r.header("Authorization"))


def test_a_token_that_ended_unseen_is_renewed(tokens, line, local, authority):
    """The registry takes it for ended, its server said it would live."""
    # docker-distribution grants a minute after the end.
    tokens.behaviour.ends_in = [300, -90, 300]
    report = sync(pillar_for(line, authority), endpoint(local), NAMES[:1])
    assert statuses(report) == {"copied"}
    assert tokens.count(f"repository:{NAMES[0]}:pull") == 2


def test_a_token_that_ends_in_the_middle_of_a_blob_does_not_begin_it_again(
    tokens, line, local, authority, registry
):
    big = docker_image([Layer(f"big {time.time()}", 3_000_000)])
    http = session(authority.bundle)
    http.headers.update(tokens.session_headers("repository:big/one:pull,push"))
    push(registry.url, "big/one", "1", big, session=http)
    blob = f"/blobs/{big.blobs[1].digest}"
    # Closed rather than reset: a reset may take away what has arrived.
    closed = faults.both(faults.claim_length(big.blobs[1].size), faults.truncate(2_000_000))
    line.on("GET", blob, closed, times=1)
    headers = {"WWW-Authenticate": challenge_of(tokens, "repository:big/one:pull")}
    line.on("GET", blob, faults.answer(401, headers=headers), times=1, skip=1)
    report = sync(pillar_for(line, authority), endpoint(local), ["big/one"])
    assert statuses(report) == {"copied"}
    assert digest_of(local.url, "big/one", "1") == big.digest
    assert tokens.count("repository:big/one:pull") == 2
    whole, refused, rest = (r.header("Range") for r in line.requests("GET blobs") if blob in r.path)
    assert whole is None
    assert refused == rest != "bytes=0-"
    assert sum(seen.bytes_down for seen in line.seen) < 4_500_000


@pytest.mark.parametrize(("size", "method"), [(50_000, "PUT"), (500_000, "PUT"), (40_000_000, "PATCH")])
def test_a_push_whose_token_ended_unseen_begins_anew(tokens, registry, ours, upstream, size, method):
    fresh = docker_image([Layer(f"pushed {time.time()}", size)])
    push(upstream.url, "late/one", "1", fresh)
    with FaultProxy(registry.url) as near:
        headers = {"WWW-Authenticate": challenge_of(tokens, "repository:late/one:pull,push")}
        rule = near.on(method, "/blobs/uploads/", faults.answer(401, headers=headers), times=1)
        report = sync(endpoint(upstream), {**ours, "port": near.port, "tls": False}, ["late/one"])
    assert statuses(report) == {"copied"}
    assert rule.used == 1


def test_an_identity_token_is_exchanged_by_post(tokens, line, local, authority, tmp_path):
    auth_file = write_auth_file(tmp_path / "a.json", {}, auths={line.address: {"identitytoken": IDENTITY}})
    report = sync(pillar_for(line, authority, auth_file=str(auth_file)), endpoint(local), NAMES[:1])
    assert statuses(report) == {"copied"}
    assert {request.method for request in tokens.requests} == {"POST"}
    assert tokens.requests[0].fields["grant_type"] == ["refresh_token"]
    assert tokens.requests[0].fields["service"] == ["registry of a test"]


def test_a_server_that_knows_oauth_alone_is_asked_by_post(tokens, line, local, authority):
    tokens.behaviour.knows_get = False
    report = sync(pillar_for(line, authority), endpoint(local), NAMES[:1])
    assert statuses(report) == {"copied"}
    granted = [request for request in tokens.requests if request.method == "POST"]
    assert granted[0].fields["grant_type"] == ["password"]
    # What it said of GET once holds for the run.
    assert tokens.count() == len(granted) + 1


def test_a_token_for_the_registry_itself_is_sent_as_it_is(tokens, line, local, authority, tmp_path):
    bearer = tokens.sign([f"repository:{NAMES[0]}:pull"], USER)
    auth_file = write_auth_file(tmp_path / "a.json", {}, auths={line.address: {"registrytoken": bearer}})
    report = sync(pillar_for(line, authority, auth_file=str(auth_file)), endpoint(local), NAMES[:1])
    assert statuses(report) == {"copied"}
    assert tokens.count() == 0


def test_anonymous_tokens(tokens, line, local, authority):
    tokens.behaviour.anonymous_pull = True
    report = sync(endpoint(line, verify=str(authority.bundle)), endpoint(local))
    assert statuses(report) == {"copied"}
    assert {request.user for request in tokens.requests} == {""}
    assert tokens.count() == len(NAMES)


def test_anonymous_access_that_is_refused_says_so(tokens, line, local, authority):
    report = sync(endpoint(line, verify=str(authority.bundle)), endpoint(local), NAMES[:1])
    said = f"its token server refused anonymous access for {NAMES[0]} (401); it may also not exist"
    assert errors(report) == {("auth", f"upstream {line.address}: {said}")}


@pytest.mark.parametrize(
    "login", [{"username": USER, "password": "wrong"}, {"username": "who", "password": ""}]
)
def test_a_wrong_password_is_shown_once(tokens, line, local, authority, login):
    report = sync(pillar_for(line, authority, **login), endpoint(local))
    said = f"its token server refused user {login['username']} (401)"
    assert errors(report) == {("auth", f"upstream {line.address}: {said}")}
    assert tokens.count() == 1


@pytest.mark.parametrize("status", [429, 503])
def test_the_token_servers_own_pace_is_kept(tokens, line, local, authority, status):
    tokens.behaviour.failures = [status]
    tokens.behaviour.failure_headers = {"Retry-After": "1"}
    began = time.monotonic()
    report = sync(pillar_for(line, authority), endpoint(local), NAMES[:1])
    assert statuses(report) == {"copied"}
    assert time.monotonic() - began >= 1


def test_workers_that_wait_for_the_same_token_share_its_failure(tokens, line, local, authority):
    settings = settings_between(pillar_for(line, authority), endpoint(local))
    tags = [f"no-{number}" for number in range(12)]
    image = dataclasses.replace(settings.images[0], repository=NAMES[0], tags=TagRule(tuple(tags)))
    tokens.behaviour.failures = [0, 403]
    tokens.behaviour.pause = 0.2
    report = mirror.sync(dataclasses.replace(settings, images=(image,)))
    assert statuses(report) == {"failed"}
    # Without sharing each tag would ask, in a row.
    assert tokens.count(f"repository:{NAMES[0]}:pull") <= 3


def test_a_token_server_that_is_down_is_named(tokens, registry, ours, local, authority, tmp_path):
    nobody = f"https://{LOOPBACK}:{free_port()}/token"
    gone = tokens.registry_config()
    gone["auth"]["token"]["realm"] = nobody
    config = merge(tls_config(authority.issue("gone", LOOPBACK)), gone)
    with Distribution(tmp_path / "r", config=config) as lonely:
        pillar = {**ours, "port": lonely.port}
        report = sync(pillar, endpoint(local), NAMES[:1], transfer={"retries": 0})
    where = nobody.removeprefix("https://").removesuffix("/token")
    assert errors(report) == {("network", f"upstream {lonely.address}: leads to {where}: connection refused")}


def test_a_realm_that_is_plain_http_gets_no_password(tokens, ours, local, authority, tmp_path):
    with TokenServer(authority, tmp_path, users=dict([LOGIN])) as plain:
        config = merge(tls_config(authority.issue("plain", LOOPBACK)), plain.registry_config())
        with Distribution(tmp_path / "r", config=config) as registry:
            report = sync({**ours, "port": registry.port}, endpoint(local), NAMES[:1])
        assert plain.count() == 0
    ((cause, said),) = errors(report)
    assert (cause, "over plain HTTP" in said) == ("network", True)


def test_a_challenge_of_another_host_is_not_answered(tokens, line, local, authority):
    """A registry redirects to a host that asks for our password: that host has no right to it."""
    with FaultProxy(line.url) as store:
        with TokenServer(authority, Path(authority.directory), users=dict([LOGIN])) as thief:
            headers = {"WWW-Authenticate": f'Bearer realm="{thief.url}",service="x"'}
            store.on("GET", "/blobs/", faults.answer(401, headers=headers), times=None)
            line.on("GET", "/blobs/", faults.redirect(lambda r: f"{store.url}{r.path}"), times=None)
            report = sync(pillar_for(line, authority), endpoint(local), NAMES[:1])
            assert thief.count() == 0
        assert all(r.header("Authorization") is None for r in store.requests())
    assert statuses(report) == {"failed"}


# Another implementation, with tokens of its own.


@pytest.fixture(scope="module")
def zuul(checkout, tmp_path_factory):
    own = checkout / ".venv" / "zuul-registry" / "bin"
    search = f"{own}:{os.environ['PATH']}"
    directory, port = tmp_path_factory.mktemp("zuul"), free_port()
    config = {
        "address": LOOPBACK,
        "port": port,
        "public-url": f"http://{LOOPBACK}:{port}",
        "secret": "x" * 40,
        "users": [
            {"name": USER, "pass": PASSWORD, "access": "write"},
            {"name": "ro", "pass": "x", "access": "read"},
        ],
        "storage": {"driver": "filesystem", "root": str(directory / "data")},
    }
    (directory / "registry.yaml").write_text(yaml.safe_dump({"registry": config}))
    try:
        process = subprocess.Popen(
            ["zuul-registry", "-c", str(directory / "registry.yaml"), "serve"],
            env={**os.environ, "PATH": search},
            stdout=subprocess.DEVNULL,
            stderr=(directory / "log").open("wb"),
        )
    except FileNotFoundError:
        pytest.skip("needs zuul-registry")
    try:
        _wait_for(config["public-url"], process)
        yield type("Server", (), {"host": LOOPBACK, "port": port, "url": config["public-url"]})
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(url, process):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return requests.get(f"{url}/v2/", timeout=2)
        except requests.ConnectionError:
            time.sleep(0.05)
    raise AssertionError("zuul-registry did not start")


def test_zuul_registry_takes_and_gives(zuul, upstream, local):
    # They share a layer, and it knows no mounts.
    names = NAMES[:3]
    for name in names:
        push(upstream.url, name, "1", IMAGES[name])
    login = {"username": USER, "password": PASSWORD}
    assert statuses(sync(endpoint(upstream), endpoint(zuul, **login), names)) == {"copied"}
    assert statuses(sync(endpoint(zuul, **login), endpoint(local), names)) == {"copied"}
    assert [digest_of(local.url, name, "1") for name in names] == [IMAGES[name].digest for name in names]
    refused = sync(endpoint(zuul, username=USER, password="wrong"), endpoint(local), names)
    assert errors(refused) == {
        ("auth", f"upstream {LOOPBACK}:{zuul.port}: its token server refused user {USER} (401)")
    }
