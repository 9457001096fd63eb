"""Answers without end: each stops at its limit, quickly, in little memory and with a sentence."""

from __future__ import annotations

import time
import tracemalloc

import pytest

import _registry_sync_commands as commands
from support.hostile import (
    FLOOD,
    MIB,
    RawServer,
    endless_chunks,
    flood,
    fresh_name,
    head,
    negative_chunk,
    one_huge_chunk,
    standing,
)
from support.images import OCI_MANIFEST, Layer, docker_image, sha256
from support.pillar import settings_of
from support.registry_content import push

pytestmark = pytest.mark.needs("docker-distribution")

# The limit of an answer is 4 MiB for a manifest and 16 MiB for a list; it is joined once.
MOST_MEMORY = 48 * MIB
MOST_SECONDS = 15.0
CHUNKED = "Transfer-Encoding: chunked"


def framings():
    """Headers and body of each way not to end."""
    return {
        "negative-chunk": ([CHUNKED], negative_chunk()),
        "endless-chunks": ([CHUNKED], endless_chunks()),
        "one-huge-chunk": ([CHUNKED], one_huge_chunk()),
        "huge-length": ([f"Content-Length: {10**13}"], flood()),
        "negative-length": (["Content-Length: -1"], flood()),
        "no-length": ([], flood()),
        "both": ([CHUNKED, "Content-Length: 10"], endless_chunks()),
    }


NAMES = list(framings())


class Flooding:
    """An upstream whose answers to one kind of request have no end; the others are as they should be."""

    def __init__(self, framing, flooded):
        self.framing, self.flooded = framing, flooded

    def __call__(self, method, path):
        if self.flooded in f"{method} {path}":
            headers, body = framings()[self.framing]
            yield head("200 OK", f"Content-Type: {OCI_MANIFEST}", *headers)
            yield from body
        elif path == "/v2/":
            yield head("200 OK", "Content-Length: 2") + b"{}"
        elif method == "HEAD":
            yield head(
                "200 OK",
                f"Content-Type: {OCI_MANIFEST}",
                f"Docker-Content-Digest: {sha256(b'')}",
                "Content-Length: 2",
            )
        else:
            yield head("404 Not Found", "Content-Length: 0")


@pytest.fixture
def good(module_upstream):
    name = fresh_name("good")
    push(module_upstream.url, name, "1", docker_image([Layer(name)]))
    return name


def entry_of(server, upstream, local, good, directory, tag="1"):
    """Sync from a flooding server and a good one; return the bad entry, having seen what it has cost."""
    elsewhere = {"host": server.host, "port": server.port, "tls": False}
    images = [{"name": "bad/image", "tags": [tag], "upstream": elsewhere}, {"name": good, "tags": ["1"]}]
    settings = settings_of(upstream, local, images, transfer={"retries": 1})
    began = time.monotonic()
    tracemalloc.start()
    try:
        report = commands.sync(settings, directory=str(directory))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < MOST_SECONDS
    assert most < MOST_MEMORY
    assert server.sent < FLOOD
    assert report["images"][f"{good}:1"]["status"] == "copied"
    assert standing(local, good, "1")
    return report["images"][f"bad/image:{tag}"]


@pytest.mark.parametrize("framing", NAMES)
def test_a_manifest_without_end_stops_at_the_limit(module_upstream, module_local, good, tmp_path, framing):
    with RawServer(Flooding(framing, "GET /v2/bad/image/manifests/")) as server:
        entry = entry_of(server, module_upstream, module_local, good, tmp_path)
    assert entry["status"] == "failed"
    assert entry["cause"] in ("unsupported", "network")
    assert entry["error"].startswith(f"upstream {server.address}")
    assert len(entry["error"]) < 600


@pytest.mark.parametrize("framing", ["endless-chunks", "huge-length", "no-length"])
def test_a_manifest_that_is_too_long_is_told_as_such(module_upstream, module_local, good, tmp_path, framing):
    with RawServer(Flooding(framing, "GET /v2/bad/image/manifests/")) as server:
        entry = entry_of(server, module_upstream, module_local, good, tmp_path)
    assert entry["cause"] == "unsupported"
    assert "more than" in entry["error"]


@pytest.mark.parametrize("framing", ["negative-chunk", "endless-chunks"])
@pytest.mark.parametrize("path", ["/v2/bad/image/tags/list", "GET /v2/"], ids=["tags", "greeting"])
def test_other_answers_without_end_stop_too(module_upstream, module_local, good, tmp_path, path, framing):
    with RawServer(Flooding(framing, path)) as server:
        entry = entry_of(server, module_upstream, module_local, good, tmp_path, tag="1*")
    assert entry["status"] == "failed"
    assert entry["error"].startswith(f"upstream {server.address}")


def test_a_refusal_without_end_stops_too(module_upstream, module_local, good, tmp_path):
    def respond(method, path):
        if path == "/v2/":
            yield head("200 OK", "Content-Length: 0")
        else:
            yield head("404 Not Found", CHUNKED)
            yield from () if method == "HEAD" else negative_chunk()

    with RawServer(respond) as server:
        entry = entry_of(server, module_upstream, module_local, good, tmp_path)
    assert (entry["status"], entry["cause"]) == ("failed", "absent")


@pytest.mark.parametrize(
    "header",
    [
        f"Docker-Content-Digest: {'x' * 60_000}",
        f"Location: http://{'x' * 60_000}/",
        f'WWW-Authenticate: Bearer realm="{"x" * 60_000}"',
        f"Content-Type: {'x' * 60_000}",
    ],
    ids=["digest", "location", "challenge", "type"],
)
def test_a_header_that_is_long_is_cut(module_upstream, module_local, good, tmp_path, header):
    status = {"L": "302 Found", "W": "401 Unauthorized"}.get(header[0], "200 OK")

    def respond(method, path):
        if path == "/v2/":
            yield head("200 OK", "Content-Length: 0")
        else:
            yield head(status, header, "Content-Length: 2") + (b"" if method == "HEAD" else b"{}")

    with RawServer(respond) as server:
        entry = entry_of(server, module_upstream, module_local, good, tmp_path)
    assert entry["status"] == "failed"
    assert entry["cause"] != "internal"
    assert len(entry["error"]) < 600
