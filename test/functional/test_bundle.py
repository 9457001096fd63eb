"""Images cross a gap: a bundle is written here, read by others, and imported there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from _registry_store_bundle_base import write_stock
from _registry_sync_bundle import bundle_code, inspect
from _registry_sync_bundle_inventory import take_stock
from _registry_sync_export import export
from _registry_sync_import import import_bundle
from support.attached import attach, listed, referrer, sign
from support.images import Layer, docker_image, docker_list, oci_image
from support.pillar import settings_of
from support.registry_content import digest_of, push, tags_of

pytestmark = pytest.mark.needs("docker-distribution")

MIB = 1024 * 1024


def layer(word, size=1000):
    return Layer(word, size)


@pytest.fixture
def images(upstream):
    """Ten images of Docker's kind and of OCI's that share a base; one is of several platforms."""
    made = {}
    for number in range(8):
        kind = docker_image if number % 2 else oci_image
        made[f"{number}.0"] = kind([layer("base", 200_000), layer(f"own-{number}", 100_000)])
    made["several"] = docker_list([made["1.0"], made["3.0"]])
    for tag, image in made.items():
        push(upstream.url, "team/app", tag, image)
    made["signed"] = oci_image([layer("base", 200_000), layer("signed", 5000)])
    push(upstream.url, "team/app", "signed", made["signed"])
    sign(upstream.url, "team/app", made["signed"], "ours")
    attach(upstream.url, "team/app", made["signed"], referrer(made["signed"], "sbom"))
    return made


class Sites:
    """Two sites with nothing between them but a disk."""

    def __init__(self, upstream, local, directory: Path) -> None:
        self.upstream, self.local, self.directory = upstream, local, directory
        self.list = [{"name": "team/app", "tags": ["*"]}]
        self.signatures = {"directory": str(directory / "sigstore")}

    @property
    def settings(self):
        return settings_of(self.upstream, self.local, self.list, signatures=self.signatures)

    def path(self, name="week-1"):
        return str(self.directory / name)

    def export(self, name="week-1", **how):
        report = export(self.settings, self.path(name), **how)
        assert report["summary"]["failed"] == report["summary"]["unreadable"] == 0, report["images"]
        return report

    def bring(self, name="week-1", **how):
        return import_bundle(self.settings, self.path(name), **how)

    def inventory(self):
        file = str(self.directory / "inventory.json.gz")
        write_stock(take_stock(self.settings), file)
        return file


@pytest.fixture
def sites(upstream, local, tmp_path, images):
    return Sites(upstream, local, tmp_path)


def everything_is_there(sites, images):
    for tag, image in images.items():
        assert digest_of(sites.local.url, "team/app", tag) == image.digest
    signed = images["signed"]
    assert signed.digest.replace(":", "-") + ".sig" in tags_of(sites.local.url, "team/app")
    assert len(listed(sites.local.url, "team/app", signed.digest)) == 1


@pytest.mark.parametrize("volume", [0, 400_000, 10**9])
def test_all_that_is_exported_is_imported(sites, images, volume):
    report = sites.export(volume=volume)
    assert report["summary"]["copied"] == len(images)
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=sites.path(), check=True
    )
    looked = inspect(sites.settings, sites.path())
    assert (bundle_code(looked), looked["summary"]["missing"]) == (0, len(images))
    brought = sites.bring()
    assert brought["summary"]["copied"] == len(images), brought["images"]
    everything_is_there(sites, images)
    again = sites.bring()
    assert (again["summary"]["current"], again["summary"]["bytes"]) == (len(images), 0)
    assert inspect(sites.settings, sites.path())["summary"]["current"] == len(images)
