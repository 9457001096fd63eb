"""A first look at many names at once believes nothing that is not plainly told, and nobody relies on it."""

from __future__ import annotations

import itertools
import socketserver
import threading
import time

import pytest

import _registry_http_pipeline as pipeline
import _registry_sync_commands as mirror
from _registry_http_endpoint import Transfer
from _registry_http_retry import Pace, Run
from _registry_store_remote import RemoteStore
from support import attached
from support.attached import fallback_tag, referrer, sign
from support.faults import answer
from support.images import Layer, oci_image, sha256
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registries import LOOPBACK
from support.registry_content import push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

NAME = "some/where"
IMAGES = [oci_image([Layer(f"pipelined-{number}")]) for number in range(6)]
DIGESTS = [image.digest for image in IMAGES]


def store_of(server):
    settings = settings_of(server, server, [{"name": NAME, "tags": ["x"], "target": "a/b"}])
    return RemoteStore(settings.upstream, Pace(Run(Transfer())))


def digests(told):
    return [descriptor.digest if descriptor else "" for descriptor in told]


class Scripted(socketserver.ThreadingTCPServer):
    """Reads three requests, sends what it is told to, and then nothing more."""

    daemon_threads = True
    host = LOOPBACK

    def __init__(self, answers):
        self.answers = answers
        super().__init__((LOOPBACK, 0), Script)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def __exit__(self, *exception):
        self.shutdown()
        super().__exit__(*exception)


class Script(socketserver.StreamRequestHandler):
    def handle(self):
        for _ in range(3):
            while self.rfile.readline().strip():
                pass
        self.wfile.write(b"".join(self.server.answers))


def told(digest, *headers):
    lines = ["HTTP/1.1 200 OK", f"Docker-Content-Digest: {digest}", "Content-Length: 5", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Deaf(Script):
    """Throws away what has come behind the first request."""

    def handle(self):
        while self.rfile.readline().strip():
            pass
        self.wfile.write(self.server.answers[0])
        self.rfile.read()


@pytest.fixture(scope="module")
def filled(module_upstream):
    for number, image in enumerate(IMAGES):
        push(module_upstream.url, NAME, str(number), image)
    return module_upstream


def test_all_digests_come_over_one_connection_and_what_is_absent_is_not_told(filled):
    with FaultProxy(filled.url) as line:
        names = [(NAME, str(number)) for number in range(6)] * 20
        assert digests(store_of(line).resolve_many([*names, (NAME, "absent"), *names])) == [
            *DIGESTS * 20,
            "",
            *DIGESTS * 20,
        ]
        assert line.connections == 1


def test_a_connection_serves_on_after_a_look(filled):
    store = store_of(filled)
    assert store.resolve_many([(NAME, "0")]) == [store.resolve(NAME, "0")]
    assert store.resolve(NAME, "1").digest == DIGESTS[1]
    assert store.resolve_many([(NAME, "2")]) == [store.resolve(NAME, "2")]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([told(DIGESTS[0]), told(DIGESTS[1], "Connection: close")], [DIGESTS[0], "", ""]),
        ([told(DIGESTS[0])], [DIGESTS[0], "", ""]),
        ([told(DIGESTS[0]), b"hello", told(DIGESTS[1]), told(DIGESTS[2])], [DIGESTS[0], "", ""]),
        ([told("sha256:short"), told(DIGESTS[1]), told("x")], ["", DIGESTS[1], ""]),
        ([told(DIGESTS[0]).replace(b"200 OK", b"307 Elsewhere"), *map(told, DIGESTS)], ["", *DIGESTS[:2]]),
        ([told(DIGESTS[0]).replace(b"200 OK", b"401 Who"), *map(told, DIGESTS)], ["", *DIGESTS[:2]]),
        ([told(DIGESTS[0], "X: " + "y" * 20_000)], ["", "", ""]),
        ([told(DIGESTS[0], *["X: y"] * 200)], ["", "", ""]),
        ([b"HTTP/1.0 200 OK\r\n\r\n"], ["", "", ""]),
        ([], ["", "", ""]),
    ],
    ids=["close", "cut", "body", "no-digest", "redirect", "401", "long-line", "many-lines", "old", "silent"],
)
def test_what_a_server_does_not_tell_plainly_is_not_told(answers, expected):
    with Scripted(answers) as server:
        told = store_of(server).resolve_many([(NAME, str(number)) for number in range(3)])
    assert digests(told) == expected


def test_a_server_that_answers_the_first_alone_is_waited_for_a_moment_only(monkeypatch):
    monkeypatch.setattr(pipeline, "NEXT_ANSWER_SECONDS", 0.2)
    with Scripted([told(DIGESTS[0])]) as server:
        server.RequestHandlerClass = Deaf
        began = time.monotonic()
        told_of = store_of(server).resolve_many([(NAME, str(number)) for number in range(3)])
    assert digests(told_of) == [DIGESTS[0], "", ""]
    assert time.monotonic() - began < 30


def test_nothing_is_told_by_a_server_that_is_not_there(filled):
    with FaultProxy(filled.url) as line:
        store = store_of(line)
    assert store.resolve_many([(NAME, "0")]) == [None]


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_server_that_has_enough_is_asked_nothing_more(filled, status):
    with FaultProxy(filled.url) as line:
        line.on("HEAD", "/manifests/", answer(status), times=1)
        store = store_of(line)
        told = store.resolve_many([(NAME, str(number % 6)) for number in range(200)])
        asked = line.requests("HEAD manifests")
    assert told[0] is None
    assert digests(told[1:50]) == (DIGESTS * 9)[1:50]
    assert told[50:] == [None] * 150
    assert len(asked) == 50


def test_a_check_of_what_is_up_to_date_asks_each_side_once_for_each_tag(upstream, local):
    for number, image in enumerate(IMAGES):
        push(upstream.url, NAME, str(number), image)
    images = [{"name": NAME, "tags": [str(number) for number in range(6)]}]
    mirror.sync(settings_of(upstream, local, images))
    with FaultProxy(upstream.url) as far, FaultProxy(local.url) as here:
        report = mirror.check(settings_of(far, here, images))
        asked = [[request.path for request in side.requests("HEAD manifests")] for side in (far, here)]
    assert report["summary"]["current"] == 6
    wanted = [f"/v2/{NAME}/manifests/{number}" for number in range(6)]
    assert [sorted(paths) for paths in asked] == [wanted, wanted]


def test_an_answer_of_another_name_is_asked_for_again(upstream, local):
    """A proxy that mixes answers up makes no wrong one right: a surprise is asked for in the ordinary way."""
    for number, image in enumerate(IMAGES):
        push(upstream.url, NAME, str(number), image)
        sign(upstream.url, NAME, image, "one")
        attached.attach(upstream.url, NAME, image, referrer(image, str(number)))
    images = [{"name": NAME, "tags": [str(number) for number in range(6)]}]
    mirror.sync(settings_of(upstream, local, images))
    # From now on upstream has more than is here, for one image.
    sign(upstream.url, NAME, IMAGES[0], "one", "two")
    attached.attach(upstream.url, NAME, IMAGES[0], referrer(IMAGES[0], "more"))
    other = attached.manifest(local.url, NAME, fallback_tag(IMAGES[1].digest))
    with FaultProxy(upstream.url) as far:
        wrong = itertools.count()

        def mix_up(request, pass_on):
            if next(wrong) < 12:
                return answer(200, headers={"Docker-Content-Digest": sha256(other)})(request, pass_on)
            return pass_on(request)

        far.on("HEAD", "/manifests/sha256-", mix_up, times=None)
        report = mirror.check(settings_of(far, local, images))
    statuses = [entry["status"] for entry in report["images"].values()]
    assert statuses == ["stale", *["current"] * 5]
    assert report["images"][f"{NAME}:0"]["attachments"] == {"here": 1, "lacking": 2, "skipped": 0}
