"""How often a blob is tried, how long a registry's wish to wait is heeded, and what is not sent again."""

from __future__ import annotations

import time

import pytest

import _registry_sync_commands as commands
from support import faults
from support.hostile_local import answer_after, bytes_of, gets_of, leftovers, lose_the_blob, spec_error
from support.images import Layer, docker_image
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registry_content import digest_of, push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

MIB = 1024 * 1024
LAYER = Layer("bad", 3_000_000)
LARGE = Layer("large", 40 * MIB)
BAD = docker_image([LAYER])
GOOD = docker_image([Layer("good", 50_000)])
LIST = [{"name": "bad/image", "tags": ["1"]}, {"name": "good/image", "tags": ["1"]}]
BLOB = f"/bad/image/blobs/{LAYER.digest}"
BEGIN = "/bad/image/blobs/uploads/$"


@pytest.fixture
def line(upstream):
    push(upstream.url, "bad/image", "1", BAD)
    push(upstream.url, "good/image", "1", GOOD)
    with FaultProxy(upstream.url) as line:
        yield line


@pytest.fixture
def near(local):
    with FaultProxy(local.url) as near:
        yield near


@pytest.fixture
def sync(line, near, local, tmp_path):
    def run(**transfer):
        """Return the bad image's entry, having seen that the good one was not harmed."""
        settings = settings_of(line, near, LIST, transfer=transfer)
        report = commands.sync(settings, directory=str(tmp_path / "cache"))
        assert report["images"]["good/image:1"]["status"] == "copied"
        assert leftovers(local) == []
        return report["images"]["bad/image:1"]

    return run


def sent(near):
    """Return how many bytes of uploads the registry was sent, manifests left out."""
    return sum(seen.bytes_up for seen in near.seen if "/bad/image/blobs/uploads/" in seen.request.path)


@pytest.mark.parametrize("layer", [LAYER, LARGE], ids=["3 MB", "40 MB"])
@pytest.mark.parametrize("loss", [answer_after(504), faults.lose_response()], ids=["504", "hang-up"])
def test_a_blob_whose_commit_lost_its_answer_is_found_and_not_sent_again(
    upstream, line, near, sync, layer, loss
):
    image = docker_image([layer])
    push(upstream.url, "bad/image", "1", image)
    commit = near.on(
        "PUT", f"/bad/image/blobs/uploads/.*{layer.digest.removeprefix('sha256:')}", loss, times=1
    )
    assert sync(retries=2)["status"] == "copied"
    assert commit.used == 1
    assert bytes_of(line, layer.digest) == layer.size
    assert sent(near) == image.total_size


@pytest.mark.parametrize("retries", [0, 2])
def test_a_blob_that_always_fails_is_asked_for_once_more_a_retry(line, sync, retries):
    line.on("GET", BLOB, faults.answer(500), times=None)
    assert sync(retries=retries)["cause"] == "network"
    assert len(gets_of(line, LAYER.digest)) == retries + 1


def test_tries_are_counted_anew_where_bytes_have_come(line, local, sync):
    """Each connection brings a part and breaks; none of them is a try in vain."""
    part = faults.both(faults.limit_rate(10_000_000), faults.cut_after(700_000))
    line.on("GET", BLOB, part, times=4)
    assert sync(retries=1)["status"] == "copied"
    assert digest_of(local.url, "bad/image", "1") == BAD.digest
    assert bytes_of(line, LAYER.digest) < 1.5 * LAYER.size


@pytest.mark.parametrize("code", [429, 500])
def test_an_upload_that_cannot_begin_is_tried_once_more_a_retry(near, sync, code):
    rule = near.on("POST", BEGIN, faults.answer(code), times=None)
    bad = sync(retries=1)
    assert (bad["status"], bad["cause"]) == ("failed", "rate" if code == 429 else "network")
    # The image has two blobs. Where one was tried in vain, the other may be spared.
    assert 2 <= rule.used <= 4


@pytest.mark.parametrize("side", ["upstream", "local"])
def test_a_wait_that_a_registry_asks_for_is_waited_once(line, near, sync, side):
    wait = faults.answer(429, headers={"Retry-After": "2"})
    rule = line.on("GET", BLOB, wait) if side == "upstream" else near.on("POST", BEGIN, wait)
    began = time.monotonic()
    assert sync(retries=1, patience=10)["status"] == "copied"
    assert 2 <= time.monotonic() - began < 6
    assert rule.used == 1


@pytest.mark.parametrize("side", ["upstream", "local"])
@pytest.mark.parametrize("code", [429, 503])
def test_a_wait_beyond_our_patience_fails_at_once_and_says_both_times(line, near, sync, side, code):
    wait = faults.answer(code, headers={"Retry-After": "3600"})
    if side == "upstream":
        rule = line.on("GET", BLOB, wait, times=None)
    else:
        rule = near.on("POST", BEGIN, wait, times=None)
    began = time.monotonic()
    bad = sync(retries=5, patience=2)
    assert time.monotonic() - began < 10
    assert bad["status"] == "failed"
    assert bad["cause"] in (("rate",) if code == 429 else ("rate", "network"))
    assert bad["error"].startswith(side)
    assert "3600" in bad["error"]
    assert "transfer:patience (2 s)" in bad["error"]
    assert rule.used <= 2


def test_a_blob_that_the_registry_lost_before_its_manifest_came_is_copied_again(line, near, local, sync):
    loss = lose_the_blob(local, "bad/image", LAYER.digest)
    rule = near.on("PUT", "/bad/image/manifests/1", loss, times=1)
    assert sync(retries=2)["status"] == "copied"
    assert rule.used == 1
    assert digest_of(local.url, "bad/image", "1") == BAD.digest
    assert bytes_of(line, LAYER.digest) <= 2 * LAYER.size


def test_a_registry_that_never_finds_a_blob_is_told_with_its_digest(near, local, sync):
    unknown = spec_error("MANIFEST_BLOB_UNKNOWN", {"digest": LAYER.digest})
    rule = near.on("PUT", "/bad/image/manifests/1", faults.answer(400, unknown), times=None)
    bad = sync(retries=2)
    assert bad["status"] == "failed"
    assert bad["error"].startswith(f"local {near.address}")
    assert "blob" in bad["error"]
    assert LAYER.digest in bad["error"]
    assert bad["cause"] in ("absent", "digest")
    assert 2 <= rule.used <= 4
    assert digest_of(local.url, "bad/image", "1") is None
