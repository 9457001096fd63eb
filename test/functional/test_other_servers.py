"""Servers that do less than docker-distribution, or refuse what it gives: what may go on goes on."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

import _registry_sync_commands as mirror
from support import faults
from support.faults import Action, PassOn, Request, Response, answer
from support.hostile import with_manifest
from support.hostile_local import bytes_of, far, leftovers, make_far
from support.images import DOCKER_LAYER, Bytes, Image, Layer, docker_image
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registries import LOOPBACK, Distribution
from support.registry_content import digest_of, push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

MIB = 1024 * 1024
LARGE = Layer("large", 34 * MIB)
IMAGE = docker_image([LARGE])
NAME = "large/image:1"
LIST = [{"name": "large/image", "tags": ["1"]}]
A_BLOB = f"/blobs/{LARGE.digest}"


@pytest.fixture(scope="module")
def filled(module_upstream: Distribution) -> Distribution:
    push(module_upstream.url, "large/image", "1", IMAGE)
    return module_upstream


@pytest.fixture
def line(filled: Distribution) -> Iterator[FaultProxy]:
    with FaultProxy(filled.url) as line:
        make_far(line)
        yield line


def sync(source: Any, target: Any, tmp_path: Path, **transfer: Any) -> dict[str, Any]:
    settings = settings_of(source, target, LIST, transfer={"retries": 3, **transfer})
    return mirror.sync(settings, directory=str(tmp_path / "cache"))["images"][NAME]


def assert_copied(image: dict[str, Any], local: Distribution) -> None:
    assert (image["status"], image["error"]) == ("copied", "")
    assert digest_of(local.url, "large/image", "1") == IMAGE.digest
    assert leftovers(local) == []


def at_most(size: int) -> Action:
    """Have no more be sent at a time than so many bytes."""

    def act(request: Request, pass_on: PassOn) -> Response:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.header("Range") or "")
        if not asked:
            return pass_on(request)
        others = tuple(pair for pair in request.headers if pair[0].lower() != "range")
        begin = int(asked[1])
        wanted = ("Range", f"bytes={begin}-{min(begin + size - 1, int(asked[2] or LARGE.size))}")
        return pass_on(dataclasses.replace(request, headers=(*others, wanted)))

    return act


def unless(refused: Any, status: int) -> Action:
    def act(request: Request, pass_on: PassOn) -> Response:
        return answer(status)(request, pass_on) if refused(request) else pass_on(request)

    return act


def test_a_server_that_sends_less_of_a_range_than_was_asked_for_is_asked_on(line, local, tmp_path):
    line.on("GET", A_BLOB, far(at_most(MIB)), times=None)
    assert_copied(sync(line, local, tmp_path), local)
    assert bytes_of(line, LARGE.digest) < 1.5 * LARGE.size


@pytest.mark.parametrize(
    "status", [403, 501, *(pytest.param(one, marks=pytest.mark.thorough) for one in (400, 416))]
)
def test_a_server_that_refuses_ranges_is_asked_for_the_whole_blob(line, local, tmp_path, status):
    refuse = unless(lambda request: request.header("Range"), status)
    line.on("GET", A_BLOB, far(refuse), times=None)
    assert_copied(sync(line, local, tmp_path), local)
    assert bytes_of(line, LARGE.digest) < 1.5 * LARGE.size


def test_a_moment_of_429_on_many_ranges_is_waited_for_once(line, local, tmp_path):
    began: list[float] = []

    def refuse(request: Request) -> bool:
        if (request.header("Range") or "bytes=0-").startswith("bytes=0-"):
            return False
        began.append(time.monotonic())
        return began[-1] - began[0] < 0.5

    def act(request: Request, pass_on: PassOn) -> Response:
        if not refuse(request):
            return pass_on(request)
        return Response(429, (("Retry-After", "2"),), [b""], 0)

    line.on("GET", A_BLOB, far(act), times=None)
    # Each of a dozen ranges would have been waited for.
    assert_copied(sync(line, local, tmp_path, retries=10, patience=8), local)


def test_a_signed_url_that_has_expired_when_it_is_used_is_asked_for_anew(filled, line, local, tmp_path):
    with FaultProxy(filled.url, host="127.0.0.2") as elsewhere:
        make_far(elsewhere)
        number = itertools.count()
        there = faults.redirect(lambda request: f"{elsewhere.url}{request.path}?signed={next(number)}")
        line.on("GET", "/blobs/", far(there), times=None)
        elsewhere.on("GET", A_BLOB, far(answer(403)), times=1)
        assert_copied(sync(line, local, tmp_path), local)


def test_a_host_of_blobs_that_refuses_is_named(filled, line, local, tmp_path):
    with FaultProxy(filled.url, host="127.0.0.2") as elsewhere:
        line.on("GET", A_BLOB, far(faults.redirect(lambda request: elsewhere.url + request.path)), times=None)
        elsewhere.on("GET", A_BLOB, answer(403), times=None)
        image = sync(line, local, tmp_path, retries=1)
    assert (image["status"], image["cause"]) == ("failed", "auth")
    assert f"{elsewhere.address}, to which it redirects for blob {LARGE.digest}" in image["error"]
    assert leftovers(local) == []


def test_a_repository_that_the_token_server_refuses_fails_alone(upstream, local):
    names = ("team/a", "team/b")
    for name in names:
        push(upstream.url, name, "1", docker_image([Layer(name, 1000)]))
    refused: set[str] = set()
    with Tokens(refused) as tokens, FaultProxy(upstream.url) as line:
        line.on(None, "/v2/", tokens.demand, times=None)
        settings = settings_of(
            line, local, [{"name": name, "tags": ["1"]} for name in names], transfer={"retries": 1}
        )
        assert mirror.sync(settings)["summary"]["copied"] == 2
        refused.add("team%2Fa")
        for command in (mirror.check, mirror.sync):
            images = command(settings)["images"]
            assert images["team/a:1"]["cause"] == "auth"
            assert "refused" in images["team/a:1"]["error"]
            assert images["team/b:1"]["status"] == "current"


class Tokens:
    """A token server that refuses what its set names, and what sends people there."""

    def __init__(self, refused: set[str]) -> None:
        self._refused = refused

    def __enter__(self) -> Tokens:
        refused = self._refused

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                no = any(name in self.path for name in refused)
                body = json.dumps({} if no else {"token": "ok", "expires_in": 300}).encode()
                self.send_response(403 if no else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def demand(self, request: Request, pass_on: PassOn) -> Response:
        if request.header("Authorization") == "Bearer ok":
            return pass_on(request)
        realm = f'Bearer realm="http://{LOOPBACK}:{self._server.server_port}/token",service="x"'
        return Response(401, (("WWW-Authenticate", realm),), [b""], 0)


def test_a_body_that_only_its_connection_ends_goes_on_where_it_was_cut(filled, local, tmp_path):
    with OldServer(filled.url, cuts=2) as old:
        assert_copied(sync(old, local, tmp_path, retries=5), local)
    assert [one for one in old.ranges if one] != []


class OldServer:
    """HTTP/1.0 in front of a registry, without the length of bodies, which it cuts some times."""

    def __init__(self, upstream: str, cuts: int) -> None:
        self.ranges: list[str] = []
        self.host = LOOPBACK
        old = self
        left = [cuts]

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                sent = {name: value for name, value in self.headers.items() if name in ("Accept", "Range")}
                told = requests.request(self.command, upstream + self.path, headers=sent, timeout=30)
                self.send_response(told.status_code)
                for name in ("Content-Type", "Docker-Content-Digest", "Content-Range"):
                    if name in told.headers:
                        self.send_header(name, told.headers[name])
                self.end_headers()
                body = b"" if self.command == "HEAD" else told.content
                if LARGE.digest in self.path and self.command == "GET":
                    old.ranges.append(self.headers.get("Range", ""))
                    if left[0]:
                        left[0] -= 1
                        body = body[: 2 * MIB]
                self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815 - http.server's own name

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.port = self._server.server_port

    def __enter__(self) -> OldServer:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_server_that_allows_no_head_is_asked_by_get(filled, line, local, tmp_path):
    line.on("HEAD", "/manifests/", answer(405), times=None)
    assert_copied(sync(line, local, tmp_path), local)
    assert sync(line, local, tmp_path)["status"] == "current"


def test_a_registry_that_knows_no_patch_gets_one_put(filled, local, tmp_path):
    with FaultProxy(local.url) as near:
        near.on("PATCH", "", answer(501), times=None)
        assert_copied(sync(filled, near, tmp_path), local)


def test_an_empty_layer_of_which_no_byte_can_be_asked_for_is_there(upstream, local):
    def image(seed: str) -> Image:
        plain, empty = docker_image([Layer(seed, 1000)]), Bytes(b"")
        layers = json.loads(plain.manifest)["layers"]
        layers.append({"mediaType": DOCKER_LAYER, "size": 0, "digest": empty.digest})
        return dataclasses.replace(with_manifest(plain, layers=layers), blobs=(*plain.blobs, empty))

    nothing = Bytes(b"").digest
    with FaultProxy(local.url) as near:
        near.on("GET", f"/blobs/{nothing}", unless(lambda request: request.header("Range"), 416), times=None)
        for tag in ("1", "2"):
            push(upstream.url, "team/app", tag, image(tag))
            settings = settings_of(upstream, near, [{"name": "team/app", "tags": [tag]}])
            assert mirror.sync(settings)["images"][f"team/app:{tag}"]["error"] == ""
