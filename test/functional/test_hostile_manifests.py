"""Manifests that are spoilt or lie: their image alone fails, with a short sentence and the right cause."""

from __future__ import annotations

import json

import pytest

import _registry_sync_commands as commands
from support import faults
from support.hostile import MIB, fresh_name, say, serve_manifest, standing, with_first_layer, with_manifest
from support.images import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Layer,
    docker_image,
    oci_image,
    oci_index,
)
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registry_content import push

pytestmark = pytest.mark.needs("docker-distribution")

LONGEST_ERROR = 600


class Beside:
    """A bad image and a good one at one upstream, whose line can be spoilt for the bad one."""

    def __init__(self, line, local, directory):
        self.line, self.local, self.directory = line, local, str(directory)
        self.bad, self.good = fresh_name("bad"), fresh_name("good")
        self.good_image = docker_image([Layer(self.good)])
        push(line.url, self.good, "1", self.good_image)

    def settings(self, **options):
        images = [{"name": self.bad, "tags": ["1"], **options}, {"name": self.good, "tags": ["1"]}]
        return settings_of(self.line, self.local, images, transfer={"retries": 1})

    def sync(self, **options):
        """Return the bad image's entry, having seen that the good one was not harmed."""
        report = commands.sync(self.settings(**options), directory=self.directory)
        assert report["images"][f"{self.good}:1"]["status"] == "copied"
        assert standing(self.local, self.good, "1") == self.good_image.digest
        json.dumps(report)
        return report["images"][f"{self.bad}:1"]

    def is_refused(self, entry, cause, word=""):
        """The bad image failed at upstream, told briefly, and nothing of it was fetched."""
        assert (entry["status"], entry["cause"]) == ("failed", cause)
        assert entry["error"].startswith(f"upstream {self.line.address}")
        assert word in entry["error"]
        assert len(entry["error"]) < LONGEST_ERROR
        entry["error"].encode()
        assert not [request for request in self.line.requests("GET blobs") if self.bad in request.path]
        assert standing(self.local, self.bad, "1") is None


@pytest.fixture
def beside(module_upstream, module_local, tmp_path):
    with FaultProxy(module_upstream.url) as line:
        yield Beside(line, module_local, tmp_path)


@pytest.fixture(params=["root", "child"])
def spoilt(request, beside):
    """The bad image, and the path of the manifest of it that is spoilt."""
    image = oci_image([Layer(beside.bad)])
    if request.param == "child":
        push(beside.line.url, beside.bad, "1", oci_index([image]))
        return image.digest
    push(beside.line.url, beside.bad, "1", image)
    return f"/{beside.bad}/manifests/"


def test_a_manifest_that_is_garbled_once_is_read_again(beside, spoilt):
    rule = beside.line.on("GET", spoilt, faults.change_byte(5), times=1)
    assert beside.sync()["status"] == "copied"
    assert rule.used == 1


def test_a_manifest_that_stays_garbled_is_a_wrong_digest_and_is_read_twice(beside, spoilt):
    rule = beside.line.on("GET", spoilt, faults.change_byte(5), times=None)
    beside.is_refused(beside.sync(), "digest")
    assert rule.used == 2


def test_a_garbled_manifest_makes_check_say_unreadable(beside):
    push(beside.line.url, beside.bad, "1", oci_index([oci_image([Layer(beside.bad)])]))
    beside.line.on("GET", f"/{beside.bad}/manifests/", faults.change_byte(5), times=None)
    entry = commands.check(beside.settings(platforms=["linux/amd64"]))["images"][f"{beside.bad}:1"]
    assert (entry["status"], entry["cause"]) == ("unreadable", "digest")


IMAGE, INDEX = oci_image([Layer("two-faced")]), oci_index([oci_image([Layer("two-faced")])])
CHILDREN, LAYERS = json.loads(INDEX.manifest)["manifests"], json.loads(IMAGE.manifest)["layers"]
CONFIG = json.loads(IMAGE.manifest)["config"]


@pytest.mark.parametrize(
    ("document", "content_type"),
    [
        (with_manifest(IMAGE, manifests=CHILDREN), OCI_MANIFEST),
        (with_manifest(IMAGE, manifests=[]), OCI_MANIFEST),
        (with_manifest(IMAGE, manifests=CHILDREN, mediaType=None), OCI_MANIFEST),
        (with_manifest(IMAGE, manifests=CHILDREN, mediaType=None), OCI_INDEX),
        (with_manifest(IMAGE, manifests=CHILDREN, mediaType=None), "application/json"),
        (with_manifest(INDEX, layers=LAYERS), OCI_INDEX),
        (with_manifest(INDEX, config=CONFIG), OCI_INDEX),
        (IMAGE, OCI_INDEX),
        (INDEX, OCI_MANIFEST),
        (IMAGE, DOCKER_MANIFEST),
        (INDEX, DOCKER_LIST),
        (with_manifest(INDEX, mediaType=None), OCI_MANIFEST),
    ],
    ids=[
        "image-with-children",
        "image-with-empty-list",
        "untold-as-image",
        "untold-as-index",
        "untold-as-json",
        "index-with-layers",
        "index-with-config",
        "image-as-index",
        "index-as-image",
        "oci-as-docker",
        "index-as-list",
        "untold-index-as-image",
    ],
)
def test_a_document_with_two_meanings_is_refused(beside, document, content_type):
    """CVE-2021-41190: what one reader takes for an index is an image for the next."""
    push(beside.line.url, beside.bad, "other", IMAGE)
    serve_manifest(beside.line, beside.bad, document.manifest, content_type)
    beside.is_refused(beside.sync(), "unsupported")


def test_an_oci_manifest_may_leave_its_media_type_out(beside):
    image = with_manifest(oci_image([Layer(beside.bad)]), mediaType=None)
    push(beside.line.url, beside.bad, "1", image)
    assert beside.sync()["status"] == "copied"
    assert standing(beside.local, beside.bad, "1") == image.digest


def platform(**values):
    """An index whose only child is said to be for such a platform."""
    entry = CHILDREN[0] | {"platform": {"os": "linux", "architecture": "amd64"} | values}
    return with_manifest(INDEX, manifests=[entry])


@pytest.mark.parametrize(
    "values",
    [{"os": "\ud800"}, {"architecture": "a\udfff\nb"}, {"variant": "v\x1b[31m"}, {"os": "x" * 2 * MIB}],
    ids=["surrogate", "newline", "escape", "megabytes"],
)
def test_a_platform_s_name_that_is_none_is_told_printable_and_cut(beside, values):
    serve_manifest(beside.line, beside.bad, platform(**values).manifest, OCI_INDEX)
    entry = beside.sync(platforms=["linux/s390x"])
    beside.is_refused(entry, "absent", "linux/s390x")
    assert entry["error"].isprintable()


def test_many_platforms_are_not_all_told(beside):
    entries = [CHILDREN[0] | {"platform": {"os": f"os{n}", "architecture": "a"}} for n in range(5000)]
    serve_manifest(beside.line, beside.bad, with_manifest(INDEX, manifests=entries).manifest, OCI_INDEX)
    beside.is_refused(beside.sync(platforms=["linux/amd64"]), "absent", "linux/amd64")


LONG = "x" * MIB


@pytest.mark.parametrize(
    "document",
    [
        with_first_layer(IMAGE, digest=f"{LONG}:abc"),
        with_first_layer(IMAGE, digest=f"sha256:{LONG}"),
        with_first_layer(IMAGE, digest=f"sha256:{'a' * MIB}"),
        with_first_layer(IMAGE, size=LONG),
        with_manifest(IMAGE, mediaType=LONG),
        with_manifest(IMAGE, mediaType=[LONG]),
        with_manifest(IMAGE, mediaType="\ud800"),
    ],
    ids=["algorithm", "digest", "hex", "size", "media-type", "media-type-list", "surrogate"],
)
def test_what_a_manifest_says_at_length_is_cut(beside, document):
    serve_manifest(beside.line, beside.bad, document.manifest, OCI_MANIFEST)
    beside.is_refused(beside.sync(), "unsupported")


@pytest.mark.parametrize("depth", [3_000, 500_000])
def test_a_manifest_that_is_only_brackets_is_refused(beside, depth):
    serve_manifest(beside.line, beside.bad, b"[" * depth + b"]" * depth, OCI_MANIFEST)
    beside.is_refused(beside.sync(), "unsupported")


@pytest.mark.parametrize("status", [400, 403, 500])
def test_what_a_registry_says_of_a_failure_at_length_is_cut(beside, status):
    push(beside.line.url, beside.bad, "1", IMAGE)
    body = json.dumps({"errors": [{"code": LONG[: MIB // 4], "message": LONG[: MIB // 4]}] * 2}).encode()
    beside.line.on("GET", f"/{beside.bad}/manifests/", say(status, body), times=None)
    cause = {400: "unsupported", 403: "auth", 500: "network"}[status]
    beside.is_refused(beside.sync(), cause)


def test_media_types_of_a_head_that_are_wrong_are_no_matter_where_the_digest_is_right(beside):
    """Some registries answer a HEAD without any Content-Type."""
    image = oci_image([Layer(beside.bad)])
    push(beside.line.url, beside.bad, "1", image)
    beside.line.on("HEAD", f"/{beside.bad}/", faults.set_headers({"Content-Type": None}), times=None)
    assert beside.sync()["status"] == "copied"
