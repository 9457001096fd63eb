"""Uploads that fail, on either side: what comes of the blob, and that nothing of it stays on the disk."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest

import _registry_sync_commands as commands
from support import faults
from support.hostile_local import (
    answer_after,
    hang_up_within,
    leftovers,
    lose_the_upload,
    make_far,
    on_bodies,
    spec_error,
)
from support.images import Layer, docker_image
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registry_content import digest_of, push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

MIB = 1024 * 1024
# Each of a size that an engine might treat in a way of its own.
LAYERS = {
    "1 MB": Layer("one", 1_000_000),
    "3 MB": Layer("three", 3_000_000),
    "40 MB": Layer("forty", 40 * MIB),
    "130 MB": Layer("big", 130 * MIB),
}
IMAGES = {name: docker_image([layer]) for name, layer in LAYERS.items()}
GOOD = docker_image([Layer("good", 50_000)])
LIST = [{"name": "bad/image", "tags": ["1"]}, {"name": "good/image", "tags": ["1"]}]
SMALL_AND_LARGE = pytest.mark.parametrize("size", ["3 MB", "40 MB"])


class Site:
    """A good image and a bad one, of some size, between two registries with a proxy before each."""

    def __init__(self, upstream, local, directory, size, image=None):
        self.local, self.directory = local, directory
        self.layer, self.image = LAYERS[size], image or IMAGES[size]
        push(upstream.url, "bad/image", "1", self.image)
        push(upstream.url, "good/image", "1", GOOD)
        self.line, self.near = FaultProxy(upstream.url), FaultProxy(local.url)

    def __enter__(self):
        self.line.__enter__()
        self.near.__enter__()
        return self

    def __exit__(self, *exception):
        self.near.__exit__(*exception)
        self.line.__exit__(*exception)

    @property
    def blob(self):
        return f"/bad/image/blobs/{self.layer.digest}"

    @property
    def commit(self):
        return f"/bad/image/blobs/uploads/.*{self.layer.digest.removeprefix('sha256:')}"

    def sync(self, **transfer):
        """Return the bad image's entry, having seen that the good one was not harmed."""
        settings = settings_of(self.line, self.near, LIST, transfer={"retries": 2, **transfer})
        report = commands.sync(settings, directory=str(self.directory))
        assert report["images"]["good/image:1"]["status"] == "copied"
        return report["images"]["bad/image:1"]

    def assert_copied(self, bad):
        assert (bad["status"], bad["error"]) == ("copied", "")
        assert digest_of(self.local.url, "bad/image", "1") == self.image.digest

    def assert_failed(self, bad, side, *causes):
        assert bad["status"] == "failed"
        assert bad["cause"] in causes
        assert bad["error"].startswith(side)
        assert digest_of(self.local.url, "bad/image", "1") is None


@pytest.fixture
def make_site(upstream, local, tmp_path):
    return lambda size, image=None: Site(upstream, local, tmp_path / "cache", size, image)


REFUSALS = {
    "502": faults.answer(502),
    "hang-up-within": hang_up_within(600_000),
    "416": faults.answer(416, spec_error("RANGE_INVALID"), {"Range": "0-0"}),
    "unknown": faults.answer(404, spec_error("BLOB_UPLOAD_UNKNOWN")),
}


@SMALL_AND_LARGE
@pytest.mark.parametrize("fault", REFUSALS)
def test_an_upload_that_is_refused_once_is_begun_anew_and_the_first_is_cancelled(make_site, size, fault):
    with make_site(size) as site:
        rule = on_bodies(site.near, "bad/image", REFUSALS[fault], times=1)
        site.assert_copied(site.sync())
    assert rule.used == 1
    assert leftovers(site.local) == []


@SMALL_AND_LARGE
@pytest.mark.parametrize("fault", ["502", "hang-up-within"])
def test_an_upload_that_is_always_refused_leaves_nothing(make_site, size, fault):
    with make_site(size) as site:
        rule = on_bodies(site.near, "bad/image", REFUSALS[fault], times=None)
        site.assert_failed(site.sync(), f"local {site.near.address}", "network")
    assert rule.used == 3
    assert leftovers(site.local) == []


@SMALL_AND_LARGE
@pytest.mark.parametrize("fault", [faults.answer(502), faults.reset()], ids=["502", "hang-up"])
@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
def test_a_commit_that_is_refused_leaves_nothing(make_site, size, fault, times):
    with make_site(size) as site:
        site.near.on("PUT", site.commit, fault, times=times)
        bad = site.sync()
        if times:
            site.assert_copied(bad)
        else:
            site.assert_failed(bad, f"local {site.near.address}", "network")
    assert leftovers(site.local) == []


@SMALL_AND_LARGE
def test_a_line_that_is_cut_within_an_upload_costs_the_disk_one_try(make_site, size):
    """Of that one, docker-distribution 2.8 keeps the bytes for a week.

    Their number is signed into the upload's URL, and nobody learns that without an answer: neither GET nor
    DELETE works. https://github.com/distribution/distribution/blob/v2.8.2/registry/handlers/blobupload.go
    """
    with make_site(size) as site:
        rule = on_bodies(site.near, "bad/image", faults.cut_upload_after(600_000), times=1)
        site.assert_copied(site.sync())
    assert rule.used == 1
    assert len(leftovers(site.local)) <= 1


def test_an_upload_that_the_registry_loses_in_the_middle_is_begun_anew(make_site):
    with make_site("40 MB") as site:
        rule = on_bodies(site.near, "bad/image", lose_the_upload(site.local), times=1)
        site.assert_copied(site.sync())
    assert rule.used == 1
    assert leftovers(site.local) == []


@SMALL_AND_LARGE
def test_an_answer_that_is_lost_after_the_bytes_came_does_not_fail_the_blob(make_site, size):
    with make_site(size) as site:
        on_bodies(site.near, "bad/image", answer_after(502), times=1)
        site.assert_copied(site.sync())
    # As above: whether the registry has an upload or the blob now, one of them is there.
    assert len(leftovers(site.local)) <= 1


@pytest.mark.parametrize(
    ("size", "distance"),
    [("1 MB", "near"), ("40 MB", "near"), ("1 MB", "far"), ("40 MB", "far"), ("130 MB", "far")],
)
def test_an_upstream_that_goes_away_in_the_middle_leaves_nothing(make_site, size, distance):
    with make_site(size) as site:
        if distance == "far":
            make_far(site.line)
        site.line.on("GET", site.blob, faults.reset(), times=None)
        site.line.on("GET", site.blob, faults.cut_after(site.layer.size // 2), times=1)
        bad = site.sync(retries=1)
        site.assert_failed(bad, f"upstream {site.line.address}", "network")
    assert leftovers(site.local) == []


@SMALL_AND_LARGE
@pytest.mark.parametrize("fault", ["wrong byte", "truncated"])
def test_bytes_that_are_wrong_leave_nothing(make_site, size, fault):
    with make_site(size) as site:
        middle = site.layer.size // 2
        spoil = faults.change_byte(middle) if fault == "wrong byte" else faults.truncate(middle)
        site.line.on("GET", site.blob, spoil, times=None)
        if fault == "truncated":
            site.line.on("GET", site.blob, faults.truncate(0), times=None, skip=1)
        bad = site.sync(retries=1)
        site.assert_failed(bad, f"upstream {site.line.address}", "digest", "network")
    assert leftovers(site.local) == []


@SMALL_AND_LARGE
@pytest.mark.parametrize("difference", [1000, -1000], ids=["too-short", "too-long"])
def test_a_blob_of_another_size_than_its_manifest_says_leaves_nothing(make_site, size, difference):
    with make_site(size, image_with_layer_size(size, difference)) as site:
        site.assert_failed(site.sync(retries=1), f"upstream {site.line.address}", "digest")
    assert leftovers(site.local) == []


def image_with_layer_size(size, difference):
    manifest = json.loads(IMAGES[size].manifest)
    manifest["layers"][0]["size"] += difference
    return dataclasses.replace(IMAGES[size], manifest=json.dumps(manifest).encode())


JOURNALS = {
    "no-json": b"\x00\xff",
    "other-json": b'{"a": 1}',
    "numbers": b"[[1, 2], [3, 4]]",
    "endless": b"[" * 100_000,
    "huge": b'[["http://127.0.0.1:1/x", 1e999]]',
    "elsewhere": b'[["http://127.0.0.1:1/v2/x/blobs/uploads/1", 1000]]',
}


@pytest.mark.parametrize("content", JOURNALS.values(), ids=JOURNALS.keys())
def test_a_journal_of_an_older_version_does_no_harm(make_site, content):
    with make_site("40 MB") as site:
        site.directory.mkdir()
        names = (site.near.url, "bad/image", site.layer.digest)
        name = hashlib.sha256("\n".join(names).encode()).hexdigest()
        (site.directory / f"upload-{name}.json").write_bytes(content)
        site.assert_copied(site.sync())
    assert not list(site.directory.glob("upload-*"))
    assert leftovers(site.local) == []
