"""The way to a registry: proxies, and registries that lead astray."""

from __future__ import annotations

import pytest

import _registry_sync_commands as mirror
from _registry_http_environment import Environment
from support import faults
from support.forward_proxy import ForwardProxy
from support.images import Layer, docker_image
from support.logins import endpoint, htpasswd_config, session, settings_between, tls_config
from support.pki import Authority
from support.proxy import FaultProxy
from support.registries import LOOPBACK, merge
from support.registry_content import digest_of, push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

LOGIN = ("site-a", "s3cret")
IMAGE = docker_image([Layer("one", 100_000), Layer("two", 300)])
# No resolver knows it: whoever connects to it has asked the proxy.
NAME = "registry.example.test"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def secured(start_module_registry, authority, tmp_path_factory):
    directory = tmp_path_factory.mktemp("secured")
    tls = tls_config(authority.issue("secured", LOOPBACK, NAME))
    config = merge(htpasswd_config(directory, dict([LOGIN])), tls)
    registry = start_module_registry(directory=directory, config=config)
    push(registry.url, "team/image", "1", IMAGE, session=session(authority.bundle, LOGIN))
    return registry


@pytest.fixture(scope="module")
def plain(start_module_registry):
    registry = start_module_registry()
    push(registry.url, "team/image", "1", IMAGE)
    return registry


@pytest.fixture
def ours(secured, authority):
    return endpoint(secured, verify=str(authority.bundle), username=LOGIN[0], password=LOGIN[1])


def sync(upstream, local, **others):
    report = mirror.sync(settings_between(upstream, local, **others))
    entry = report["images"]["team/image:1"]
    return entry["status"], entry["cause"], entry["error"]


COPIED = ("copied", "", "")


# Proxies.


@pytest.mark.parametrize("login", ["", "proxy user:p@ss:word"])
@pytest.mark.parametrize("source", ["pillar", "environment"])
def test_https_goes_through_a_proxy_as_a_tunnel(secured, ours, local, source, login):
    with ForwardProxy({f"{NAME}:443": secured.port}, login=login) as way:
        userinfo = "proxy%20user:p%40ss%3Aword@" if login else ""
        url = f"http://{userinfo}{way.address}"
        pillar = {**ours, "host": NAME, "port": 443}
        if source == "pillar":
            result = sync({**pillar, "proxy": url}, endpoint(local))
        else:
            result = sync(pillar, endpoint(local), environment=Environment(https_proxy=url))
        assert result == COPIED
        assert way.count(f"CONNECT {NAME}:443") == len(way.seen) > 0
        # The proxy's login is for the proxy, the registry's goes through the tunnel.
        assert not [headers for headers in way.headers if "Authorization" in headers]
    assert digest_of(local.url, "team/image", "1") == IMAGE.digest


def test_plain_http_goes_through_a_proxy_as_whole_urls(plain, local):
    with ForwardProxy({f"{NAME}:80": plain.port}) as way:
        environment = Environment(http_proxy=way.url, https_proxy="http://127.0.0.1:1")
        pillar = {"host": NAME, "port": 80, "tls": False}
        assert sync(pillar, endpoint(local), environment=environment) == COPIED
        assert way.count(f"GET http://{NAME}:80/v2/") > 0
        assert way.count("CONNECT") == 0


@pytest.mark.parametrize("no_proxy", [LOOPBACK, f"{LOOPBACK}:PORT", "127.0.0.0/8", "example.com, *"])
def test_no_proxy_is_obeyed(plain, local, no_proxy):
    with ForwardProxy() as way:
        environment = Environment(no_proxy=no_proxy.replace("PORT", str(plain.port)))
        pillar = endpoint(plain, proxy=way.url)
        assert sync(pillar, endpoint(local), environment=environment) == COPIED
        assert way.seen == []
        # Without it, the pillar's proxy is used even for an address of this host.
        assert sync(pillar, endpoint(local))[0] == "current"
        assert way.seen


def test_a_proxy_of_the_environment_is_not_asked_for_this_host(plain, local):
    environment = Environment(http_proxy="http://127.0.0.1:1")
    assert sync(endpoint(plain), endpoint(local), environment=environment) == COPIED


def test_a_proxy_that_refuses_or_is_down_is_named_without_its_password(ours, local):
    few = {"transfer": {"retries": 0}}
    with ForwardProxy(login="a:b") as way:
        pillar = {**ours, "host": NAME, "port": 443, "proxy": f"http://a:hunter2@{way.address}"}
        status, cause, said = sync(pillar, endpoint(local), **few)
        assert (status, cause) == ("failed", "network")
        assert said == f"upstream {NAME}:443: proxy {way.address}: it refused with 407"
    status, cause, said = sync(pillar, endpoint(local), **few)
    assert said == f"upstream {NAME}:443: proxy {way.address}: connection refused"


# Redirects and other ways to be led elsewhere.


def test_a_redirect_from_https_to_http_is_refused(ours, plain, local, start_registry, tmp_path, authority):
    """docker-distribution itself redirects blobs to where its storage's middleware says."""
    elsewhere = {"middleware": {"storage": [{"name": "redirect", "options": {"baseurl": plain.url}}]}}
    config = merge(tls_config(authority.issue("front", LOOPBACK)), elsewhere)
    front = start_registry(directory=tmp_path / "r", config=config)
    push(front.url, "team/image", "1", IMAGE, session=session(authority.bundle))
    before = plain.log_position()
    assert sync({**ours, "port": front.port}, endpoint(local)) == (
        "failed",
        "network",
        f"upstream {front.address}: redirects from https to plain http at {plain.address}; refused",
    )
    assert list(plain.access_log(before)) == []


@pytest.mark.parametrize("host", ["https://elsewhere.example.com", "http://ITSELF"])
def test_an_upload_that_is_to_go_elsewhere_is_refused(ours, plain, start_registry, tmp_path, authority, host):
    """A local registry whose `http.host` names another host, or the same one without TLS."""
    config = merge(tls_config(authority.issue("front", LOOPBACK)), htpasswd_config(tmp_path, dict([LOGIN])))
    front = start_registry(directory=tmp_path / "r", config=config)
    front.reconfigure(merge(config, {"http": {"host": host.replace("ITSELF", front.address)}}))
    assert sync(endpoint(plain), {**ours, "port": front.port}) == (
        "failed",
        "network",
        f"local {front.address} wants uploads sent to another scheme or host than its own; refused",
    )


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:PORT@evil.example.com/x",
        "//evil.example.com/x",
        "ftp://127.0.0.1:PORT/x",
        "http://[broken/x",
        "http://127.0.0.1:notaport/x",
        "https://127.0.0.1:PORT/x",
    ],
)
def test_uploads_and_lists_never_go_on_elsewhere(plain, local, target):
    with FaultProxy(local.url) as near:
        there = target.replace("PORT", str(near.port))
        near.on("POST", "/blobs/uploads/", faults.set_headers({"Location": there}), times=None)
        status, cause, said = sync(endpoint(plain), endpoint(near))
        assert (status, cause) == ("failed", "network")
        assert said.endswith("wants uploads sent to another scheme or host than its own; refused")
    with FaultProxy(plain.url) as line:
        there = target.replace("PORT", str(line.port))
        line.on("GET", "/tags/list", faults.set_headers({"Link": f'<{there}>; rel="next"'}), times=None)
        report = mirror.check(settings_between(endpoint(line), endpoint(local), tags=["*"]))
        (entry,) = report["images"].values()
        assert "continues the list of team/image to another scheme or host" in entry["error"]


@pytest.mark.parametrize(
    "target", ["http://[broken", "file:///etc/passwd", "gopher://127.0.0.1/", "http://a:b/"]
)
def test_redirects_to_what_is_no_web_address_are_refused(plain, local, target):
    with FaultProxy(plain.url) as line:
        line.on("GET", "/blobs/", faults.redirect(target), times=None)
        assert sync(endpoint(line), endpoint(local)) == (
            "failed",
            "network",
            f"upstream {line.address}: redirects to something else than a web address; refused",
        )


def test_the_same_host_may_be_named_without_its_usual_port(secured, plain, ours):
    """https://host/… and https://host:443/… are one place."""
    with ForwardProxy({f"{NAME}:443": secured.port}) as way:
        secured.reconfigure(merge(secured.config(), {"http": {"host": f"https://{NAME.upper()}"}}))
        pillar = {**ours, "host": NAME, "port": 443, "proxy": way.url}
        settings = settings_between(endpoint(plain), pillar, images=["team/image"])
        report = mirror.sync(settings)
        assert report["images"]["team/image:1"]["status"] in ("copied", "current")
        new = docker_image([Layer("new", 5_000)])
        push(plain.url, "team/new", "1", new)
        report = mirror.sync(settings_between(endpoint(plain), pillar, images=["team/new"]))
        assert report["images"]["team/new:1"] | {"upstream": "", "local": ""} == {
            "status": "copied",
            "previous": "",
            "upstream": "",
            "local": "",
            "bytes": report["summary"]["bytes"],
            "cause": "",
            "error": "",
            "attachments": {"here": 0, "lacking": 0, "skipped": 0},
            "signed_by": [],
        }
