"""Other programs read a bundle, and bundles are made of what others have written: oras, skopeo and crane."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from _registry_sync_export import export
from _registry_sync_import import import_bundle
from support.attached import attach, listed, referrer
from support.images import Layer, docker_image, oci_image
from support.later_podman import pulled_from
from support.pillar import settings_of
from support.registry_content import digest_of, push
from support.signing import crane_of, programs, skopeo_of

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


def run(*words):
    subprocess.run([str(word) for word in words], check=True, capture_output=True, timeout=120)


@pytest.fixture(params=["", "trixie", "sid"], ids=["this release", "trixie", "sid"])
def skopeo(request, checkout):
    """Skopeo of a release, and which images of a bundle it copies: older ones have no eye for Docker's."""
    release = request.param
    program = skopeo_of(release, checkout / ".cache") if release else ("skopeo",)
    return (*program, "--insecure-policy"), ("docker", "oci") if release == "sid" else ("oci",)


@pytest.mark.needs("skopeo")
def test_skopeo_copies_images_out_of_it_byte_for_byte(skopeo, bundle, upstream, tmp_path):
    program, kinds = skopeo
    path, made = bundle
    for kind in kinds:
        name = f"{upstream.address}/team/app:{kind}"
        run(*program, "copy", "--preserve-digests", f"oci:{path}:{name}", f"dir:{tmp_path / kind}")
        body = (tmp_path / kind / "manifest.json").read_bytes()
        assert f"sha256:{hashlib.sha256(body).hexdigest()}" == made[kind].digest
        for blob in made[kind].blobs:
            assert (tmp_path / kind / blob.digest.partition(":")[2]).stat().st_size == blob.size


@pytest.mark.needs("unshare", "mount")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a mount namespace")
def test_podman_of_debian_13_pulls_out_of_it(checkout, bundle, upstream, tmp_path):
    path, made = bundle
    name = f"{upstream.address}/team/app:oci"
    assert pulled_from(path, [name], checkout / ".cache", tmp_path / "podman") == [made["oci"].digest]


@pytest.mark.parametrize("kind", ["docker", "oci"])
def test_what_sids_skopeo_has_copied_to_a_layout_is_imported(
    checkout, bundle, upstream, local, tmp_path, kind
):
    program = skopeo_of("sid", checkout / ".cache")
    name = f"{upstream.address}/team/app:{kind}"
    words = ("--insecure-policy", "copy", "--preserve-digests", "--src-tls-verify=false", f"docker://{name}")
    run(*program, *words, f"oci:{tmp_path / 'layout'}:{name}")
    settings = settings_of(upstream, local, [], signatures={"directory": str(tmp_path / "sigstore")})
    report = import_bundle(settings, str(tmp_path / "layout"))
    assert report["summary"]["copied"] == 1, json.dumps(report["images"])
    assert digest_of(local.url, "team/app", kind) == bundle[1][kind].digest


def test_what_crane_has_pulled_to_a_layout_is_imported(checkout, bundle, upstream, local, tmp_path):
    crane, made = crane_of(checkout / ".cache"), bundle[1]
    settings = settings_of(upstream, local, [], signatures={"directory": str(tmp_path / "sigstore")})
    for kind, image in made.items():
        name, layout = f"{upstream.address}/team/app:{kind}", tmp_path / kind
        run(crane, "pull", "--insecure", "--format=oci", name, layout)
        report = import_bundle(settings, str(layout), into=f"in/{kind}:1.0")
        assert report["summary"]["copied"] == 1, json.dumps(report["images"])
        assert digest_of(local.url, f"in/{kind}", "1.0") == image.digest


def test_crane_pushes_a_bundle_of_one_image(checkout, bundle, upstream, local, tmp_path):
    crane, made = crane_of(checkout / ".cache"), bundle[1]
    one = [{"name": "team/app", "tags": ["docker"]}]
    signatures = {"directory": str(tmp_path / "sigstore")}
    report = export(settings_of(upstream, local, one, signatures=signatures), str(tmp_path / "one"))
    assert report["bundle"]["images"] == 1
    run(crane, "push", "--insecure", tmp_path / "one", f"{local.address}/by/crane:1.0")
    assert digest_of(local.url, "by/crane", "1.0") == made["docker"].digest


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
