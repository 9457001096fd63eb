"""The same engine between stores of every kind: a registry, a layout on a disk, and back."""

from __future__ import annotations

import subprocess

import pytest

from _registry_config_read import read_settings
from _registry_http_retry import Run
from _registry_show_progress import Progress
from _registry_store_layout import LayoutStore
from _registry_sync_compare import compare
from _registry_sync_copy import execute
from _registry_sync_memory import Memory
from _registry_sync_plan import make_plan
from _registry_sync_stores import Stores, open_stores
from support.images import Layer, docker_image, oci_image, oci_index
from support.pillar import pillar_of
from support.registry_content import digest_of, pull_whole, push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

BASE = Layer("base", 3_000_000)
IMAGES = {
    "site/docker": docker_image([BASE, Layer("docker", 100_000)]),
    "site/oci": oci_image([BASE, Layer("oci", 50_000)]),
    "site/index": oci_index([oci_image([Layer("amd64")]), oci_image([BASE, Layer("arm64")])]),
}
LIST = [{"name": name, "tags": ["1.0", "latest"]} for name in IMAGES]


@pytest.fixture
def settings(upstream, local):
    for name, image in IMAGES.items():
        for tag in ("1.0", "latest"):
            push(upstream.url, name, tag, image)
    return read_settings(pillar_of(upstream, local, LIST), host="unused.example.com")


def copy(images, stores, directory):
    comparison = compare(images, stores, Memory())
    stats = execute(make_plan(comparison, stores), stores, Progress(), directory=str(directory))
    assert {tag.status for tag in comparison.tags} <= {"copied", "current"}, [
        t.error for t in comparison.tags
    ]
    return stats


def test_images_go_from_a_registry_into_a_layout_and_from_there_into_a_registry(settings, local, tmp_path):
    run = Run(settings.transfer)
    between = open_stores(settings, run)
    source = settings.upstream
    bundle = LayoutStore(str(tmp_path / "bundle"), side="local")
    between.connect([source])
    packed = copy(settings.images, Stores(run, bundle, {source: between.source(source)}), tmp_path)
    # A layout shares what its repositories share.
    assert packed.copied == len({blob.digest for image in IMAGES.values() for blob in image.all_blobs()})

    away = LayoutStore(str(tmp_path / "bundle"), side="upstream")
    copy(settings.images, Stores(run, between.target, {source: away}), tmp_path)
    for name, image in IMAGES.items():
        assert digest_of(local.url, name, "1.0") == digest_of(local.url, name, "latest") == image.digest
        pull_whole(local.url, name, "1.0", tmp_path / name.replace("/", "-"))
    again = copy(settings.images, Stores(run, between.target, {source: away}), tmp_path)
    assert (again.copied, again.mounted, again.size) == (0, 0, 0)


def test_skopeo_reads_a_layout_that_the_engine_has_written(settings, tmp_path):
    run = Run(settings.transfer)
    between = open_stores(settings, run)
    between.connect([settings.upstream])
    bundle = LayoutStore(str(tmp_path / "bundle"), side="local")
    images = [image for image in settings.images if image.target == "site/oci"]
    stores = Stores(run, bundle, {settings.upstream: between.source(settings.upstream)})
    copy(images, stores, tmp_path)
    name = f"oci:{tmp_path / 'bundle'}:site/oci:1.0"
    copied = f"dir:{tmp_path / 'copied'}"
    subprocess.run(["skopeo", "copy", "--quiet", name, copied], check=True, capture_output=True)
    manifest = (tmp_path / "copied" / "manifest.json").read_bytes()
    assert manifest == IMAGES["site/oci"].manifest
