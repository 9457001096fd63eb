"""Lists that lie, end early or lead nowhere: what the list of images wants is asked for by its own name."""

from __future__ import annotations

import json

import pytest

import _registry_sync_commands as commands
from support import faults
from support.hostile import fresh_name, say, standing
from support.images import Layer, docker_image
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registry_content import push

pytestmark = pytest.mark.needs("docker-distribution")

TAGS = ["1.0", "1.1", "2.0"]
RETRIES = {"retries": 1}
# An image of two blobs, each asked for once and led on five times.
REDIRECTS_OF_TWO = 2 * 6


def statuses(report):
    return {name: entry["status"] for name, entry in report["images"].items() if entry["status"] != "extra"}


@pytest.fixture
def name(module_upstream):
    """A repository with three tags upstream."""
    name = fresh_name("many")
    push(module_upstream.url, name, TAGS, docker_image([Layer(name)]))
    return name


@pytest.fixture
def line(module_upstream):
    with FaultProxy(module_upstream.url) as line:
        yield line


@pytest.fixture
def near(module_local):
    with FaultProxy(module_local.url) as near:
        yield near


def names(member, *found):
    return json.dumps({"name": "x", member: list(found)}).encode()


def next_page(link):
    return ("Link", f'<{link}>; rel="next"')


# What a local registry may say instead of a list of names.
LIES = {
    "null": say(200, b'{"tags": null, "repositories": null}'),
    "empty": say(200, b'{"tags": [], "repositories": []}'),
    "nothing": say(200, b"{}"),
    "no-json": say(200, b"<html>"),
    "numbers": say(200, b'{"tags": [1, null], "repositories": [1, null]}'),
    "cut": say(200, b'{"tags": ["1.0"], "repositories": ["a/b"]}', next_page("/v2/nowhere")),
    "404": say(404),
    "500": say(500),
    "403": say(403),
}


ONE_LIST = [("_catalog", lie) for lie in ("null", "cut", "500")]
ONE_LIST += [("/tags/list", lie) for lie in ("null", "empty", "no-json", "cut", "404", "500")]
BOTH = [("_catalog|/tags/list", lie) for lie in ("empty", "nothing", "numbers", "404", "403")]


@pytest.mark.parametrize(("listing", "lie"), ONE_LIST + BOTH)
def test_a_list_of_the_local_registry_that_lies_makes_nothing_missing(
    module_upstream, near, tmp_path, name, listing, lie
):
    settings = settings_of(module_upstream, near, [{"name": name, "tags": TAGS}], transfer=RETRIES)
    commands.sync(settings, directory=str(tmp_path))
    near.on("GET", listing, LIES[lie], times=None)
    near.forget_seen()
    assert set(statuses(commands.check(settings)).values()) == {"current"}
    again = commands.sync(settings, directory=str(tmp_path))
    assert set(statuses(again).values()) == {"current"}
    assert again["summary"]["blobs_copied"] == again["summary"]["blobs_mounted"] == 0
    assert near.count("PUT manifests") == near.count("POST uploads") == 0


@pytest.mark.parametrize(
    ("lie", "word"),
    [
        (say(500), "500"),
        (say(404), "catalog"),
        (say(403), "catalog"),
        (say(200, b"<html>"), "catalog"),
        (say(200, b'{"repositories": ["a/b"]}', next_page("/v2/nowhere")), "catalog"),
        (faults.reset(), "catalog"),
    ],
    ids=["500", "404", "403", "no-json", "cut", "reset"],
)
def test_a_catalog_that_fails_is_told(module_upstream, near, tmp_path, name, lie, word):
    settings = settings_of(module_upstream, near, [{"name": name, "tags": TAGS}], transfer=RETRIES)
    commands.sync(settings, directory=str(tmp_path))
    near.on("GET", "_catalog", lie, times=None)
    for report in (commands.check(settings), commands.plan(settings)):
        assert report["registry"]["up"] is True
        assert report["registry"]["error"].startswith(f"local {near.address}")
        assert word in report["registry"]["error"]
        assert set(statuses(report).values()) == {"current"}


def test_a_tag_that_is_not_there_is_missing_whatever_a_list_says(module_upstream, near, name):
    near.on("GET", "_catalog", say(200, names("repositories", name)), times=None)
    near.on("GET", "/tags/list", say(200, names("tags", *TAGS)), times=None)
    settings = settings_of(module_upstream, near, [{"name": name, "tags": TAGS}])
    assert set(statuses(commands.check(settings)).values()) == {"missing"}


def by_pattern(upstream, local, name, pattern="1.*"):
    return settings_of(upstream, local, [{"name": name, "tags": [pattern]}], transfer={"retries": 1})


@pytest.mark.parametrize(
    "link",
    ["/v2/nowhere", "http:///nowhere", "http://[", "ftp://127.0.0.1/x", "http://127.0.0.1:1/v2/x"],
)
def test_a_link_that_leads_nowhere_is_a_failure_of_the_listing(line, module_local, tmp_path, name, link):
    line.on("GET", "/tags/list", say(200, names("tags", "0.9"), next_page(link)), times=None)
    report = commands.sync(by_pattern(line, module_local, name), directory=str(tmp_path))
    entry = report["images"][f"{name}:1.*"]
    assert (entry["status"], entry["local"]) == ("failed", "")
    # Neither the repository nor a tag of it is what is not there.
    assert entry["cause"] in ("network", "unsupported")
    assert entry["error"].startswith(f"upstream {line.address}")
    assert "no tag" not in entry["error"]


@pytest.mark.parametrize("member", ["tags", "names"])
def test_a_list_without_its_names_is_no_list(line, module_local, name, member):
    body = b'{"tags": 7}' if member == "tags" else b'{"names": ["1.0"]}'
    line.on("GET", "/tags/list", say(200, body), times=None)
    entry = commands.check(by_pattern(line, module_local, name))["images"][f"{name}:1.*"]
    assert (entry["status"], entry["cause"]) == ("unreadable", "unsupported")


@pytest.mark.parametrize(
    "links",
    [
        ['<{here}>; rel="first", <{next}>; rel="next"'],
        ['<{next}>; rel="next", <{here}>; rel="last"'],
        ['<{here}>; rel="first"', '<{next}>; rel="next"'],
        ["<{next}>; rel=next"],
        ['<{next}>;title="a, b; c";rel="next"'],
        ['<{next}>; REL="prefetch next"'],
        ['<{here}>; rel="nextish", <{next}>; rel="next"'],
    ],
    ids=["first-and-next", "next-and-last", "two-headers", "no-quotes", "commas", "two-relations", "nextish"],
)
def test_links_are_understood_as_the_rfc_has_them(line, module_local, name, links):
    """https://www.rfc-editor.org/rfc/rfc8288#section-3."""
    here, after = (f"/v2/{name}/tags/list?n=1000{more}" for more in ("", "&last=1.0"))
    headers = [("Link", link.format(here=here, next=after)) for link in links]
    line.on("GET", "/tags/list", say(200, names("tags", "1.0"), *headers), times=None)
    line.on("GET", r"/tags/list\?.*last=1.0", say(200, names("tags", "1.1")), times=None)
    report = commands.check(by_pattern(line, module_local, name))
    assert statuses(report) == {f"{name}:1.0": "missing", f"{name}:1.1": "missing"}


def test_a_list_that_leads_back_to_itself_ends(line, module_local, name):
    here = f"/v2/{name}/tags/list?n=1000"
    rule = line.on("GET", "/tags/list", say(200, names("tags", "1.0"), next_page(here)), times=None)
    entry = commands.check(by_pattern(line, module_local, name))["images"][f"{name}:1.*"]
    assert (entry["status"], entry["cause"]) == ("unreadable", "unsupported")
    assert rule.used <= 2


@pytest.mark.parametrize(
    ("kind", "location"),
    [
        ("manifests", "http:///x"),
        ("blobs", "http:///x"),
        ("manifests", "http://"),
        ("blobs", "//"),
        ("blobs", "http://[::1/x"),
        ("manifests", "gopher://x/"),
    ],
)
def test_a_redirect_to_no_host_is_no_absence(line, module_local, tmp_path, name, kind, location):
    rule = line.on(None, f"/{name}/{kind}/", faults.redirect(location), times=None)
    settings = settings_of(line, module_local, [{"name": name, "tags": ["1.0"]}], transfer={"retries": 3})
    (entry,) = commands.sync(settings, directory=str(tmp_path))["images"].values()
    assert (entry["status"], entry["cause"]) == ("failed", "network")
    assert entry["error"].startswith(f"upstream {line.address}")
    # Waiting would not mend it.
    assert rule.used <= REDIRECTS_OF_TWO


@pytest.mark.parametrize("kind", ["manifests", "blobs"])
def test_redirects_without_end_are_followed_once(line, module_local, tmp_path, name, kind):
    rule = line.on(None, f"/{name}/{kind}/", faults.redirect(lambda request: request.path), times=None)
    settings = settings_of(line, module_local, [{"name": name, "tags": ["1.0"]}], transfer={"retries": 3})
    (entry,) = commands.sync(settings, directory=str(tmp_path))["images"].values()
    assert (entry["status"], entry["cause"]) == ("failed", "network")
    assert rule.used <= REDIRECTS_OF_TWO


@pytest.mark.parametrize("status", [404, 500, 403])
def test_one_broken_tag_never_fails_the_list(module_upstream, near, tmp_path, name, status):
    settings = settings_of(module_upstream, near, [{"name": name, "tags": TAGS}], transfer=RETRIES)
    commands.sync(settings, directory=str(tmp_path))
    near.on(None, f"/{name}/manifests/1.1", faults.answer(status), times=None)
    digest = standing(module_upstream, name, "1.0")
    assert commands.listing(settings)[name] == {"1.0": digest, "1.1": "", "2.0": digest}


def test_one_broken_repository_never_fails_the_list(module_upstream, near, tmp_path, name):
    other = fresh_name("many")
    push(module_upstream.url, other, "1", docker_image([Layer(other)]))
    both = [{"name": name, "tags": TAGS}, {"name": other, "tags": ["1"]}]
    settings = settings_of(module_upstream, near, both, transfer=RETRIES)
    commands.sync(settings, directory=str(tmp_path))
    near.on("GET", f"/{other}/tags/list", faults.answer(500), times=None)
    assert list(commands.listing(settings)[name]) == TAGS
