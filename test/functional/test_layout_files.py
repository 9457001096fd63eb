"""Layouts that skopeo reads and writes."""

from __future__ import annotations

import json
import subprocess
from urllib.parse import urlsplit

import pytest

from _registry_oci_manifest import Descriptor, read_manifest
from _registry_oci_names import digest_of
from _registry_store_layout import LayoutStore
from support.images import Layer, oci_image, oci_index
from support.registry_content import push

pytestmark = pytest.mark.needs("skopeo")

AMD64 = oci_image([Layer("oci"), Layer("shared")])
ARM64 = oci_image([Layer("arm"), Layer("shared")], architecture="arm64")
INDEX = oci_index([AMD64, ARM64])


def skopeo(*arguments):
    command = ["skopeo", "--insecure-policy", *map(str, arguments)]
    answer = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stderr.decode()
    return answer.stdout


def fill(store, repository, reference, image):
    for blob in image.blobs:
        store.write(repository, Descriptor(blob.digest, blob.size), blob.chunks())
    for child in image.children:
        fill(store, repository, child.digest, child)
    store.put(repository, reference, read_manifest(image.manifest, image.media_type))


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "layout"


@pytest.fixture
def store(directory):
    return LayoutStore(str(directory), side="local")


@pytest.mark.parametrize("image", [AMD64, INDEX], ids=["image", "index"])
def test_skopeo_reads_each_image_of_several_repositories(store, directory, tmp_path, image):
    fill(store, "some/app", "1.0", image)
    fill(store, "another/app", "1.0", oci_image([Layer("another")]))
    reference = f"oci:{directory}:some/app:1.0"
    assert skopeo("inspect", "--raw", reference) == image.manifest
    skopeo("copy", "--all", "--preserve-digests", reference, f"dir:{tmp_path}/copy")
    assert (tmp_path / "copy" / "manifest.json").read_bytes() == image.manifest
    for blob in image.all_blobs():
        assert (tmp_path / "copy" / blob.digest.removeprefix("sha256:")).stat().st_size == blob.size


def test_skopeo_reads_what_was_put_by_its_digest_alone(store, directory):
    fill(store, "some/app", AMD64.digest, AMD64)
    assert skopeo("inspect", "--raw", f"oci:{directory}:some/app@{AMD64.digest}") == AMD64.manifest


def test_skopeo_adds_to_a_layout_of_ours_and_we_to_its(store, directory):
    fill(store, "some/app", "1.0", AMD64)
    skopeo("copy", f"oci:{directory}:some/app:1.0", f"oci:{directory}:some/app:theirs")
    fill(store, "some/app", "2.0", ARM64)
    assert store.tags("some/app") == ["1.0", "2.0", "theirs"]
    for tag, image in [("1.0", AMD64), ("theirs", AMD64), ("2.0", ARM64)]:
        assert skopeo("inspect", "--raw", f"oci:{directory}:some/app:{tag}") == image.manifest


@pytest.mark.needs("docker-distribution")
@pytest.mark.parametrize(
    ("name", "repository", "tag"),
    [(":some/app:1.0", "some/app", "1.0"), (":1.0", "", "1.0"), ("", "", INDEX.digest)],
    ids=["repository and tag", "bare tag", "no name"],
)
def test_what_skopeo_writes_is_read(upstream, directory, store, name, repository, tag):
    push(upstream.url, "some/app", "1.0", INDEX)
    source = f"docker://{urlsplit(upstream.url).netloc}/some/app:1.0"
    skopeo("copy", "--all", "--src-tls-verify=false", source, f"oci:{directory}{name}")
    assert list(store.repositories()) == [repository]
    index = store.manifest(repository, tag)
    assert index.body == INDEX.manifest
    for child in index.children:
        manifest = store.manifest(repository, child.digest)
        for blob in manifest.blobs:
            assert digest_of(b"".join(store.read(repository, blob))) == blob.digest


def test_what_skopeo_takes_over_from_a_docker_archive_is_read(store, directory, tmp_path):
    """The archive's own names of layers are kept nowhere; what counts is the layout that comes of it."""
    fill(store, "some/app", "1.0", AMD64)
    archive, other = tmp_path / "archive.tar", tmp_path / "other"
    skopeo("copy", f"oci:{directory}:some/app:1.0", f"docker-archive:{archive}:some/app:1.0")
    skopeo("copy", f"docker-archive:{archive}", f"oci:{other}:docker.io/some/app:1.0")
    theirs = LayoutStore(str(other), side="upstream")
    assert list(theirs.repositories()) == ["docker.io/some/app"]
    manifest = theirs.manifest("docker.io/some/app", "1.0")
    assert all(theirs.has("", blob.digest) for blob in manifest.blobs)
    assert json.loads(manifest.body)["schemaVersion"] == 2
