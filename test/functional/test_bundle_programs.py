"""Other programs read a bundle, and bundles are made of what others have written: oras, of two releases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from _registry_sync_export import export
from _registry_sync_import import import_bundle
from support.attached import attach, listed, referrer
from support.images import Layer, docker_image, oci_image
from support.pillar import settings_of
from support.registry_content import digest_of, push
from support.signing import programs

pytestmark = pytest.mark.needs("docker-distribution")


@pytest.fixture(scope="module")
def tools(tmp_path_factory, checkout):
    return programs(checkout / ".cache", tmp_path_factory.mktemp("home"))


@pytest.fixture
def bundle(upstream, local, tmp_path):
    """A bundle of an image of each kind, one with something attached."""
    made = {"docker": docker_image([Layer("d")]), "oci": oci_image([Layer("o")])}
    for tag, image in made.items():
        push(upstream.url, "team/app", tag, image)
    attach(upstream.url, "team/app", made["oci"], referrer(made["oci"], "sbom"))
    settings = settings_of(
        upstream,
        local,
        [{"name": "team/app", "tags": ["*"]}],
        signatures={"directory": str(tmp_path / "sigstore")},
    )
    report = export(settings, str(tmp_path / "week-1"))
    assert report["summary"]["copied"] == 2
    return tmp_path / "week-1", made


def test_oras_copies_images_and_what_is_attached_out_of_it(tools, bundle, upstream, local):
    path, made = bundle
    for tag, image in made.items():
        name = f"{upstream.address}/team/app:{tag}"
        words = ("--from-oci-layout-path", str(path), name, f"{local.address}/out/app:{tag}")
        tools("oras", "copy", "--recursive", "--to-plain-http", *words)
        assert digest_of(local.url, "out/app", tag) == image.digest
    assert len(listed(local.url, "out/app", made["oci"].digest)) == 1


def test_what_oras_has_backed_up_is_imported_with_what_is_attached(
    tools, bundle, upstream, local, tmp_path: Path
):
    made = bundle[1]
    settings = settings_of(upstream, local, [], signatures={"directory": str(tmp_path / "sigstore")})
    for output in ("backup", "backup.tar"):
        words = ("--include-referrers", "--plain-http", f"{upstream.address}/team/app:docker,oci")
        tools("oras", "backup", "--output", str(tmp_path / output), *words)
        target = f"in/{output.replace('.', '-')}"
        report = import_bundle(settings, str(tmp_path / output), into=target)
        assert report["summary"]["copied"] == 2, json.dumps(report["images"])
        for tag, image in made.items():
            assert digest_of(local.url, target, tag) == image.digest
        assert len(listed(local.url, target, made["oci"].digest)) == 1
