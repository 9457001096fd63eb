"""A hostile line in front of a real registry: each fault fails its image alone, with its cause."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import threading
import time

import pytest

import _registry_sync_commands as mirror
from support import faults
from support.images import Bytes, Layer, docker_image, oci_index
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registry_content import digest_of, push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

LAYER = Layer("bad", 3_000_000)
BAD = docker_image([LAYER])
GOOD = docker_image([Layer("good", 50_000)])
IMAGES = [{"name": "bad/image", "tags": ["1"]}, {"name": "good/image", "tags": ["1"]}]
BLOB = rf"/bad/image/blobs/{LAYER.digest}"


@pytest.fixture
def line(upstream):
    push(upstream.url, "bad/image", "1", BAD)
    push(upstream.url, "good/image", "1", GOOD)
    with FaultProxy(upstream.url) as line:
        yield line


def sync(upstream, local, **transfer):
    return mirror.sync(settings_of(upstream, local, IMAGES, transfer={"retries": 3, **transfer}))


def entry(report):
    """Return the bad image's entry, having seen that the good one was not harmed."""
    assert report["images"]["good/image:1"]["status"] == "copied"
    return report["images"]["bad/image:1"]


def nothing_stands_under_the_tag(local):
    assert digest_of(local.url, "bad/image", "1") is None
    assert digest_of(local.url, "good/image", "1") == GOOD.digest


@pytest.mark.parametrize(
    ("action", "times"),
    [
        (faults.cut_after(1_000_000), 3),
        (faults.truncate(1_500_000), 1),
        (faults.answer(500), 2),
        (faults.answer(503, headers={"Retry-After": "1"}), 1),
        (faults.answer(429, headers={"Retry-After": "1"}), 1),
        (faults.reset(), 2),
        (faults.change_byte(2_000_000), 1),
    ],
    ids=["cut", "truncated", "500", "503", "429", "reset", "changed-once"],
)
def test_what_passes_is_waited_for(line, local, action, times):
    line.on("GET", BLOB, action, times=times)
    assert entry(sync(line, local))["status"] == "copied"
    assert digest_of(local.url, "bad/image", "1") == BAD.digest


def test_a_cut_layer_goes_on_where_it_was_cut(line, local):
    # Slowly, since a reset takes with it what the kernel has not handed over yet.
    slowly_then_cut = faults.both(faults.limit_rate(4_000_000), faults.cut_after(2_000_000))
    line.on("GET", BLOB, slowly_then_cut, times=1)
    assert entry(sync(line, local))["status"] == "copied"
    first, second = (request for request in line.requests("GET blobs") if LAYER.digest in request.path)
    assert first.header("Range") is None
    offset = int(second.header("Range").removeprefix("bytes=").rstrip("-"))
    assert 0 < offset <= 2_000_000


@pytest.mark.parametrize(
    ("action", "cause"),
    [
        (faults.answer(500), "network"),
        (faults.answer(429), "rate"),
        (faults.answer(403), "auth"),
        (faults.answer(404), "absent"),
        (faults.answer(400), "unsupported"),
        (faults.change_byte(100), "digest"),
        (faults.reset(), "network"),
        (faults.cut_after(0), "network"),
    ],
    ids=["500", "429", "403", "404", "400", "changed", "reset", "cut"],
)
def test_what_stays_fails_with_its_cause(line, local, action, cause):
    line.on("GET", BLOB, action, times=None)
    bad = entry(sync(line, local))
    assert (bad["status"], bad["cause"]) == ("failed", cause)
    assert bad["error"].startswith(f"upstream {line.address}")
    nothing_stands_under_the_tag(local)


@pytest.mark.parametrize("code", [403, 404, 400])
def test_what_cannot_get_better_is_asked_once(line, local, code):
    rule = line.on("GET", BLOB, faults.answer(code), times=None)
    entry(sync(line, local))
    assert rule.used == 1


def test_an_allowance_that_runs_out_slows_pulls_down_and_nothing_else(line, local):
    told = {"RateLimit-Limit": "100;w=100", "RateLimit-Remaining": "9;w=100"}
    line.on("HEAD", "/manifests/", faults.set_headers(told), times=None)
    began = time.monotonic()
    mirror.check(settings_of(line, local, IMAGES))
    assert time.monotonic() - began < 0.9
    began = time.monotonic()
    assert entry(sync(line, local))["status"] == "copied"
    # Two manifests are pulled, the second a second after the first.
    assert 0.9 < time.monotonic() - began < 3


def test_a_garbled_layer_is_read_once_more(line, local):
    rule = line.on("GET", BLOB, faults.change_byte(100), times=None)
    entry(sync(line, local))
    assert rule.used == 2


@pytest.mark.parametrize(
    ("action", "cause"),
    [
        (faults.answer(500), "network"),
        (faults.answer(200, b"<html>"), "digest"),
        (faults.answer(200, b'{"schemaVersion": 1}'), "digest"),
        (faults.change_byte(5), "digest"),
        (faults.answer(200, b" " * (5 * 1024 * 1024)), "unsupported"),
    ],
    ids=["500", "html", "schema1", "changed", "huge"],
)
def test_a_bad_manifest_fails_its_image_alone(line, local, action, cause):
    line.on("GET", "/bad/image/manifests/", action, times=None)
    bad = entry(sync(line, local))
    assert (bad["status"], bad["cause"]) == ("failed", cause)
    nothing_stands_under_the_tag(local)


def test_redirects_without_end_end(line, local):
    line.on("GET", BLOB, faults.redirect(lambda request: request.path), times=None)
    bad = entry(sync(line, local, retries=0))
    assert (bad["cause"], bad["error"]) == ("network", f"upstream {line.address}: redirects without end")


@pytest.mark.parametrize(
    ("method", "path", "cause"),
    [
        ("POST", "/bad/image/blobs/uploads/", "network"),
        ("PUT", "/bad/image/blobs/uploads/", "network"),
        ("PUT", "/bad/image/manifests/1", "network"),
    ],
)
def test_a_failing_local_side_is_told_as_such(line, local, method, path, cause):
    with FaultProxy(local.url) as near:
        near.on(method, path, faults.answer(500), times=None)
        bad = entry(sync(line, near))
        assert (bad["status"], bad["cause"]) == ("failed", cause)
        assert bad["error"].startswith(f"local {near.address}")
    nothing_stands_under_the_tag(local)


def test_an_upload_that_breaks_is_begun_anew(line, local):
    with FaultProxy(local.url) as near:
        near.on("PUT", "/bad/image/blobs/uploads/", faults.cut_upload_after(1_000_000), times=1)
        near.on("PUT", "/bad/image/manifests/1", faults.reset(), times=1)
        assert entry(sync(line, near))["status"] == "copied"
    assert digest_of(local.url, "bad/image", "1") == BAD.digest


def test_a_full_disk_is_told_as_space(line, local):
    body = (
        b'{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":'
        b'{"DriverName":"filesystem","Enclosed":{"Op":"write","Path":"/x","Err":28}}}]}'
    )
    with FaultProxy(local.url) as near:
        near.on("PUT", "/bad/image/blobs/uploads/", faults.answer(500, body), times=None)
        bad = entry(sync(line, near))
    assert (bad["cause"], bad["error"]) == ("space", f"local {near.address} has no space left")


def upload_instead(request, pass_on):
    """Act as a registry that knows no mounts: it begins an upload, as the spec allows."""
    return pass_on(dataclasses.replace(request, path=request.path.split("?")[0]))


@pytest.mark.parametrize("refusal", [faults.answer(401), faults.answer(403), upload_instead])
def test_a_mount_that_is_refused_becomes_a_copy(upstream, local, refusal):
    base = Layer("base", 100_000)
    for name in ("bad/image", "good/image"):
        push(upstream.url, name, "1", docker_image([base, Layer(name)]))
    with FaultProxy(local.url) as near:
        rule = near.on("POST", "mount=", refusal, times=None)
        report = sync(upstream, near)
    assert rule.used == 1
    assert entry(report)["status"] == "copied"
    # What may not be mounted is read back from the local registry.
    assert report["summary"]["blobs_copied"] == 5
    assert report["summary"]["blobs_mounted"] == 1


def test_one_pause_is_for_all_workers(line, local):
    line.on("GET", "/blobs/", faults.answer(429, headers={"Retry-After": "1"}), times=1)
    began = time.monotonic()
    assert entry(sync(line, local))["status"] == "copied"
    assert time.monotonic() - began >= 1


def with_layer_size(image, size):
    """Return an image whose manifest gives its layer another size."""
    manifest = json.loads(image.manifest)
    manifest["layers"][0]["size"] = size
    return dataclasses.replace(image, manifest=json.dumps(manifest).encode())


@pytest.mark.parametrize(
    ("size", "cause", "reason"),
    [
        (LAYER.size + 1000, "digest", "is shorter than the manifest says"),
        (LAYER.size - 1000, "digest", "is longer than the manifest says"),
        (0, "digest", "is not what its digest says"),
        (10 * 1000**4, "unsupported", "an impossible size"),
    ],
)
def test_a_manifest_that_lies_about_a_size(upstream, local, size, cause, reason):
    push(upstream.url, "good/image", "1", GOOD)
    push(upstream.url, "bad/image", "1", with_layer_size(BAD, size))
    bad = entry(sync(upstream, local))
    assert bad["cause"] == cause
    assert reason in bad["error"]
    nothing_stands_under_the_tag(local)


def test_a_blob_of_no_bytes_is_a_blob(upstream, local):
    push(upstream.url, "good/image", "1", GOOD)
    empty = dataclasses.replace(with_layer_size(BAD, 0), blobs=(*BAD.blobs[:1], Bytes(b"")))
    manifest = json.loads(empty.manifest)
    manifest["layers"][0]["digest"] = Bytes(b"").digest
    empty = dataclasses.replace(empty, manifest=json.dumps(manifest).encode())
    push(upstream.url, "bad/image", "1", empty)
    assert entry(sync(upstream, local))["status"] == "copied"
    assert digest_of(local.url, "bad/image", "1") == empty.digest


def test_a_content_length_that_claims_less_is_found(line, local):
    line.on("GET", BLOB, faults.claim_length(1000), times=None)
    bad = entry(sync(line, local, retries=1))
    assert (bad["cause"], "is shorter than the manifest says" in bad["error"]) == ("digest", True)
    nothing_stands_under_the_tag(local)


@pytest.mark.parametrize("length", [5_000_000, None], ids=["more", "none"])
def test_bytes_that_are_right_are_taken_whatever_was_claimed(line, local, length):
    line.on("GET", BLOB, faults.claim_length(length), times=None)
    assert entry(sync(line, local, retries=1))["status"] == "copied"
    assert digest_of(local.url, "bad/image", "1") == BAD.digest


def test_indexes_nested_twenty_deep_are_refused(upstream, local):
    push(upstream.url, "good/image", "1", GOOD)
    nested = BAD
    for _ in range(20):
        nested = oci_index([nested])
    push(upstream.url, "bad/image", "1", nested)
    bad = entry(sync(upstream, local))
    assert (bad["cause"], "nest deeper" in bad["error"]) == ("unsupported", True)


def test_a_registry_that_restarts_is_waited_for(line, local):
    line.on("GET", BLOB, faults.limit_rate(3_000_000), times=1)
    restart = threading.Timer(0.5, local.restart)
    restart.start()
    assert entry(sync(line, local, retries=8))["status"] == "copied"
    restart.join()
    assert digest_of(local.url, "bad/image", "1") == BAD.digest


def test_a_registry_that_dies_is_given_up_by_all_at_once(line, local):
    more = [{"name": f"more/image{number}", "tags": ["1"]} for number in range(20)]
    for number in range(20):
        push(line.url, f"more/image{number}", "1", docker_image([Layer(f"more{number}", 500_000)]))
    line.on("GET", "/blobs/", faults.limit_rate(1_000_000), times=None)
    kill = threading.Timer(0.6, local.kill)
    kill.start()
    began = time.monotonic()
    report = mirror.sync(settings_of(line, local, [*IMAGES, *more], transfer={"retries": 4}))
    assert time.monotonic() - began < 20
    causes = {entry["cause"] for entry in report["images"].values() if entry["status"] == "failed"}
    assert causes == {"network"}
    assert f"local {local.address}: connection refused" in report["images"]["bad/image:1"]["error"]


def test_an_upstream_that_goes_away_in_the_middle_is_told(line, local):
    line.on("GET", BLOB, faults.cut_after(1_000_000), times=1)
    line.on("GET", BLOB, faults.reset(), times=None, skip=1)
    bad = entry(sync(line, local))
    assert (bad["cause"], bad["error"].startswith(f"upstream {line.address}: ")) == ("network", True)


@pytest.mark.needs("mount")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_disk_that_is_really_full(line, start_registry, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=True)
    try:
        small = start_registry(directory=disk)
        report = sync(line, small)
        bad, good = report["images"]["bad/image:1"], report["images"]["good/image:1"]
        assert (bad["cause"], bad["error"]) == ("space", f"local {small.address} has no space left")
        assert digest_of(small.url, "bad/image", "1") is None
        # The good one may have come while the bad one's bytes still filled the disk.
        assert good["cause"] in ("", "space")
        assert digest_of(small.url, "good/image", "1") == (None if good["cause"] else GOOD.digest)
        small.stop()
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_names_that_are_none_go_nowhere(upstream, local):
    """A registry that gives tags with a path in them gets no request for that path."""
    push(upstream.url, "good/image", "1", GOOD)
    with FaultProxy(upstream.url) as line:
        tags = b'{"name": "x", "tags": ["../../../etc/passwd", "1"]}'
        line.on("GET", "/tags/list", faults.answer(200, tags), times=None)
        report = mirror.sync(settings_of(line, local, [{"name": "good/image", "tags": ["*"]}]))
        assert list(report["images"]) == ["good/image:1"]
        assert not [request for request in line.requests() if ".." in request.path]
