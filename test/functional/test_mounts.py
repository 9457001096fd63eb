"""A layer that several repositories share crosses the line once, whatever the local side makes of mounts."""

from __future__ import annotations

import pytest

import _registry_sync_commands as commands
from support import faults
from support.hostile_local import (
    bytes_of,
    delete_blob,
    gets_of,
    leftovers,
    upload_instead,
)
from support.images import Layer, docker_image, oci_image, oci_index
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registry_content import digest_of, push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

BASE = Layer("base", 2_000_000)
NAMES = ["one/image", "two/image", "three/image"]
IMAGES = {name: docker_image([BASE, Layer(name)]) for name in NAMES}


class Site:
    """Two registries with a proxy before each."""

    def __init__(self, line, near, local, directory):
        self.line, self.near, self.local, self.directory = line, near, local, directory

    def push(self, images):
        for name, image in images.items():
            push(self.line.url, name, "1", image)
        self.line.forget_seen()

    def sync(self, images, **transfer):
        """Return the summary, having seen that all images are there and nothing else is."""
        listed = [{"name": name, "tags": ["1"]} for name in images]
        settings = settings_of(self.line, self.near, listed, transfer={"retries": 2, **transfer})
        report = commands.sync(settings, directory=str(self.directory))
        assert {name: entry["error"] for name, entry in report["images"].items() if entry["error"]} == {}
        for name, image in images.items():
            assert digest_of(self.local.url, name, "1") == image.digest
        assert leftovers(self.local) == []
        return report["summary"]


@pytest.fixture
def site(upstream, local, tmp_path):
    with FaultProxy(upstream.url) as line, FaultProxy(local.url) as near:
        yield Site(line, near, local, tmp_path / "cache")


def multi_arch(name):
    """Return an index of two platforms, whose images share a layer with those of other repositories."""
    return oci_index(
        [oci_image([BASE, Layer(f"{name} {cpu}")], architecture=cpu) for cpu in ("amd64", "arm64")]
    )


@pytest.mark.parametrize("first", [0, 1], ids=["together", "one-after-the-other"])
@pytest.mark.parametrize("make", [lambda name: IMAGES[name], multi_arch], ids=["images", "indexes"])
def test_a_shared_layer_crosses_the_line_once(site, make, first):
    images = {name: make(name) for name in NAMES}
    site.push(images)
    if first:
        site.sync({name: images[name] for name in NAMES[:first]})
    assert site.sync(images)["blobs_mounted"] >= 3 - (first or 1)
    assert bytes_of(site.line, BASE.digest) == BASE.size


def test_a_layer_of_nested_indexes_is_mounted_too(site):
    images = {name: oci_index([multi_arch(name)]) for name in NAMES[:2]}
    site.push(images)
    site.sync({NAMES[0]: images[NAMES[0]]})
    site.sync(images)
    assert bytes_of(site.line, BASE.digest) == BASE.size


KNOWS_NO_MOUNTS = {
    "404": faults.answer(404),
    "401": faults.answer(401),
    "202": upload_instead,
    "500": faults.answer(500),
    "501": faults.answer(501),
    "202-without-location": faults.answer(202),
    "202-elsewhere": faults.answer(202, headers={"Location": "http://127.0.0.1:1/v2/x/blobs/uploads/1"}),
    "201-that-is-none": faults.answer(201),
    "hang-up": faults.reset(),
}


@pytest.mark.parametrize("refusal", KNOWS_NO_MOUNTS.values(), ids=KNOWS_NO_MOUNTS.keys())
def test_without_mounts_a_shared_layer_is_read_back_from_the_local_registry(site, refusal):
    site.push(IMAGES)
    rule = site.near.on("POST", "mount=", refusal, times=None)
    site.sync(IMAGES)
    assert rule.used >= 1
    assert len(gets_of(site.line, BASE.digest)) == 1
    assert bytes_of(site.line, BASE.digest) == BASE.size


def test_the_upload_of_a_refused_mount_is_used(site):
    images = {name: IMAGES[name] for name in NAMES[:2]}
    site.push(images)
    site.near.on("POST", "mount=", upload_instead, times=None)
    site.sync(images)
    begun = site.near.count("POST mounts") + site.near.count("POST uploads")
    assert site.near.count("POST mounts") == 1
    assert begun == 6
    assert site.near.count("DELETE uploads") == 0


def test_an_upload_that_began_without_saying_where_is_begun_again(site):
    site.push(IMAGES)
    site.near.on("POST", "mount=", faults.answer(202), times=1)
    site.sync(IMAGES)
    assert bytes_of(site.line, BASE.digest) == BASE.size


def test_a_layer_that_its_repository_has_lost_is_fetched_once_for_all(site):
    site.push(IMAGES)
    one = {NAMES[0]: IMAGES[NAMES[0]]}
    site.sync(one)
    delete_blob(site.local, NAMES[0], BASE.digest)
    site.line.forget_seen()
    site.sync(IMAGES)
    assert bytes_of(site.line, BASE.digest) == BASE.size


def test_a_refused_mount_does_not_fail_a_run_without_retries(site):
    site.push(IMAGES)
    site.near.on("POST", "mount=", faults.answer(500), times=None)
    site.sync(IMAGES, retries=0)
