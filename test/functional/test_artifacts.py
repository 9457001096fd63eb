"""What is no plain image: each kind arrives byte for byte, or is refused at once with what to do."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time

import pytest

import _registry_sync_commands as commands
from support import faults
from support.hostile import artifact, fresh_name, is_whole, standing, with_manifest
from support.images import (
    DOCKER_FOREIGN_LAYER,
    OCI_CONFIG,
    OCI_LAYER,
    Bytes,
    Layer,
    docker_image,
    docker_list,
    oci_image,
    oci_index,
)
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registry_content import push

pytestmark = pytest.mark.needs("docker-distribution")

EMPTY = "application/vnd.oci.empty.v1+json"
IN_TOTO = "application/vnd.in-toto+json"
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
ALLOWS_URLS = {"validation": {"manifests": {"urls": {"allow": ["^https?://"]}}}}
IMAGE = oci_image([Layer("artifacts-image")])


@pytest.fixture(scope="module")
def allowing(start_module_registry):
    """A registry that takes foreign layers; another one."""
    return [start_module_registry(config=ALLOWS_URLS) for _ in range(2)]


def mirror(upstream, local, image, directory):
    """Push upstream, sync, and return the entry of the report."""
    name = fresh_name("artifact")
    push(upstream.url, name, "1", image)
    settings = settings_of(upstream, local, [{"name": name, "tags": ["1"]}], transfer={"retries": 3})
    entry = commands.sync(settings, directory=str(directory / "cache"))["images"][f"{name}:1"]
    return name, entry


def attested(image, arch="amd64"):
    """An index as BuildKit writes it: an image, and a manifest of a platform that is none about it."""
    statement = Bytes(json.dumps({"predicateType": "https://slsa.dev/provenance/v0.2", "a": arch}).encode())
    attestation = artifact(
        Bytes(b'{"architecture":"unknown","os":"unknown"}'), OCI_CONFIG, [(IN_TOTO, statement)]
    )
    attestation = dataclasses.replace(attestation, platform={"architecture": "unknown", "os": "unknown"})
    index = oci_index([image, attestation])
    children = json.loads(index.manifest)["manifests"]
    children[1]["annotations"] = {
        "vnd.docker.reference.digest": image.digest,
        "vnd.docker.reference.type": "attestation-manifest",
    }
    return with_manifest(index, manifests=children)


KINDS = {
    "empty-config": artifact(Bytes(b"{}"), EMPTY, [("text/plain", Bytes(b"hello"))]),
    "empty-layer": artifact(Bytes(b"{}"), EMPTY, [(EMPTY, Bytes(b"{}"))], artifactType="text/x-nothing"),
    "any-config": artifact(
        Bytes(b"chart"), "application/vnd.cncf.helm.config.v1+json", [("x/y", Bytes(b"1"))]
    ),
    "config-of-no-type": artifact(Bytes(b"\x00\xff"), "application/octet-stream", []),
    "subject-elsewhere": oci_image([Layer("signature")], subject=IMAGE),
    "zstd": artifact(
        Bytes(b'{"architecture":"amd64"}'), OCI_CONFIG, [(ZSTD, Bytes(b"\x28\xb5\x2f\xfd zstd"))]
    ),
    "annotations": oci_image([Layer("annotated")], annotations={"org.example": "\u00e4 \u65e5\u672c"}),
    "unknown-members": with_manifest(IMAGE, future={"deep": [1, {"er": None}]}),
    "attestation": attested(docker_image([Layer("attested")])),
    "nested": oci_index([oci_index([IMAGE, docker_image([Layer("nested")])]), attested(IMAGE)]),
    "list-in-index": oci_index([docker_list([docker_image([Layer("in-list")])]), IMAGE]),
    "same-child-twice": oci_index([IMAGE, IMAGE]),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_arrives_byte_for_byte(module_upstream, module_local, tmp_path, kind):
    name, entry = mirror(module_upstream, module_local, KINDS[kind], tmp_path)
    assert (entry["status"], entry["error"]) == ("copied", "")
    assert standing(module_local, name, "1") == KINDS[kind].digest
    assert is_whole(module_local, name, KINDS[kind])


def test_an_index_without_children_arrives(module_upstream, module_local, tmp_path):
    name, entry = mirror(module_upstream, module_local, oci_index([]), tmp_path)
    assert (entry["status"], entry["error"]) == ("copied", "")
    assert standing(module_local, name, "1") == oci_index([]).digest


FOREIGN = {
    "docker": docker_image(
        [Layer("f1"), Layer("f2", 700, DOCKER_FOREIGN_LAYER, ("https://example.com/f2",))]
    ),
    "oci": oci_image([Layer("f3"), Layer("f4", 700, NONDISTRIBUTABLE, ("https://example.com/f4",))]),
}


@pytest.mark.parametrize("kind", list(FOREIGN))
def test_foreign_layers_are_mirrored_by_name_where_the_registry_takes_them(allowing, tmp_path, kind):
    upstream, local = allowing
    image = FOREIGN[kind]
    with FaultProxy(upstream.url) as line:
        push(upstream.url, name := fresh_name("foreign"), "1", image)
        settings = settings_of(line, local, [{"name": name, "tags": ["1"]}])
        report = commands.sync(settings, directory=str(tmp_path))
        assert report["images"][f"{name}:1"]["status"] == "copied"
        # Config and one layer: nobody may redistribute the other.
        assert report["summary"]["blobs_copied"] == line.count("GET blobs") == 2
        assert standing(local, name, "1") == image.digest
        assert commands.check(settings)["images"][f"{name}:1"]["status"] == "current"


@pytest.mark.parametrize("kind", list(FOREIGN))
def test_foreign_layers_that_the_registry_refuses_are_told_at_once(allowing, module_local, tmp_path, kind):
    name = fresh_name("foreign")
    push(allowing[0].url, name, "1", FOREIGN[kind])
    # As many tries as in production: nothing here is worth a second one.
    tries = {"retries": 10, "deadline": "8s"}
    with FaultProxy(module_local.url) as near:
        settings = settings_of(allowing[0], near, [{"name": name, "tags": ["1"]}], transfer=tries)
        began = time.monotonic()
        report = commands.sync(settings, directory=str(tmp_path))
        assert time.monotonic() - began < 5
        assert near.count("PUT manifests") <= 2
    entry = report["images"][f"{name}:1"]
    assert (entry["status"], entry["cause"]) == ("failed", "unsupported")
    assert "validation" in entry["error"]
    assert "urls" in entry["error"]


@dataclasses.dataclass(frozen=True)
class Sha512(Bytes):
    """A blob that is named by another algorithm."""

    @property
    def digest(self):
        return "sha512:" + hashlib.sha512(self.data).hexdigest()


def with_sha512(seed):
    layer = Sha512(b"".join(Layer(seed, 30_000).chunks()))
    return layer, artifact(Bytes(b"{}"), EMPTY, [(OCI_LAYER, layer)])


def test_a_blob_named_by_sha512_arrives(module_upstream, module_local, tmp_path):
    _, image = with_sha512(fresh_name("sha512"))
    name, entry = mirror(module_upstream, module_local, image, tmp_path)
    assert (entry["status"], entry["error"]) == ("copied", "")
    assert standing(module_local, name, "1") == image.digest
    assert is_whole(module_local, name, image)


def test_a_blob_named_by_sha512_is_mounted_elsewhere(module_upstream, module_local, tmp_path):
    _, image = with_sha512(fresh_name("sha512"))
    names = [fresh_name("sha512") for _ in range(3)]
    for name in names:
        push(module_upstream.url, name, "1", image)
    settings = settings_of(module_upstream, module_local, [{"name": name, "tags": ["1"]} for name in names])
    report = commands.sync(settings, directory=str(tmp_path))
    assert {entry["status"] for entry in report["images"].values()} == {"copied"}
    assert report["summary"]["blobs_copied"] <= 2


def test_a_wrong_byte_of_a_blob_named_by_sha512_is_a_wrong_digest(module_upstream, module_local, tmp_path):
    layer, image = with_sha512(fresh_name("sha512"))
    with FaultProxy(module_upstream.url) as line:
        rule = line.on("GET", "/blobs/sha512:", faults.change_byte(100), times=None)
        name, entry = mirror(line, module_local, image, tmp_path)
    assert (entry["status"], entry["cause"]) == ("failed", "digest")
    assert layer.digest[:20] in entry["error"]
    assert rule.used == 2
    assert standing(module_local, name, "1") is None


@pytest.mark.parametrize("digest", ["md5:" + "a" * 32, "sha512:" + "a" * 64, "blake3:" + "a" * 64])
def test_a_digest_that_nobody_can_verify_is_refused(module_upstream, module_local, tmp_path, digest):
    name = fresh_name("digest")
    layers = [{"mediaType": OCI_LAYER, "size": 5, "digest": digest}]
    image = with_manifest(artifact(Bytes(b"{}"), EMPTY, []), layers=layers)
    push(module_upstream.url, name, "1", artifact(Bytes(b"{}"), EMPTY, []))
    with FaultProxy(module_upstream.url) as line:
        headers = {"Content-Type": image.media_type, "Docker-Content-Digest": image.digest}
        line.on(None, "/manifests/", faults.answer(200, image.manifest, headers), times=None)
        settings = settings_of(line, module_local, [{"name": name, "tags": ["1"]}])
        (entry,) = commands.sync(settings, directory=str(tmp_path))["images"].values()
    assert (entry["status"], entry["cause"]) == ("failed", "unsupported")
    assert entry["error"].startswith(f"upstream {line.address}")
