"""The engine of a booted Debian 13 pulls images out of a bundle by their names."""

from __future__ import annotations

import pytest

from _registry_sync_export import export
from support.images import Layer, oci_image
from support.pillar import settings_of
from support.registry_content import push


@pytest.fixture
def host(boot_module, host_root_debian13):
    return boot_module("podman13", root=host_root_debian13)


def test_podman_pulls_from_the_directory_of_a_bundle(host, upstream, local, tmp_path):
    images = {tag: oci_image([Layer("base"), Layer(tag)]) for tag in ("1.0", "2.0")}
    for tag, image in images.items():
        push(upstream.url, "team/app", tag, image)
    names = [{"name": "team/app", "tags": list(images)}]
    settings = settings_of(upstream, local, names, signatures={"directory": str(tmp_path / "sigstore")})
    export(settings, str(host.path("/srv/week-1")), volume=0)
    for tag, image in images.items():
        name = f"{upstream.address}/team/app:{tag}"
        pulled = host.output("podman", "pull", "--quiet", f"oci:/srv/week-1:{name}").strip()
        config = image.blobs[0].digest.partition(":")[2]
        assert pulled == config
        digest = host.output("podman", "image", "inspect", "--format", "{{.Digest}}", pulled).strip()
        assert digest == image.digest
