"""The configuration that the formula writes, in a real docker-distribution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import _registry_sync_commands as mirror
from _registry_host_service import Site, service_config
from support.images import DOCKER_FOREIGN_LAYER, Image, Layer, docker_image, oci_image
from support.pillar import settings_of
from support.registries import Distribution
from support.registry_content import digest_of, push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

OCI_FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
WINDOWS = [{"name": "team/windows", "tags": ["1"]}]
ELSEWHERE = ("https://mcr.example.com/v2/windows/blobs/sha256:0",)


def validation(config: dict[str, Any]) -> dict[str, Any]:
    """Return what the formula configures, and the pillar over it, for a server of the tests."""
    site = Site(config=config, storage="/unused", port=5000, secret="unused")
    return {"validation": service_config(site)["validation"]}


@pytest.fixture
def open_upstream(start_registry: Callable[..., Distribution]) -> Distribution:
    return start_registry(config={"validation": {"disabled": True}})


@pytest.mark.parametrize(
    "image",
    [
        docker_image([Layer("base"), Layer("windows", media_type=DOCKER_FOREIGN_LAYER, urls=ELSEWHERE)]),
        oci_image([Layer("base"), Layer("windows", media_type=OCI_FOREIGN_LAYER, urls=ELSEWHERE)]),
    ],
    ids=["docker", "oci"],
)
def test_an_image_with_a_layer_that_lies_elsewhere_is_mirrored(
    image: Image, open_upstream: Distribution, start_registry: Callable[..., Distribution]
) -> None:
    local = start_registry(config=validation({}))
    push(open_upstream.url, "team/windows", "1", image)
    settings = settings_of(open_upstream, local, WINDOWS, transfer={"retries": 0})
    assert mirror.sync(settings)["images"]["team/windows:1"]["error"] == ""
    assert digest_of(local.url, "team/windows", "1") == image.digest


def test_a_site_may_still_refuse_them(
    open_upstream: Distribution, start_registry: Callable[..., Distribution]
) -> None:
    image = docker_image([Layer("windows", media_type=DOCKER_FOREIGN_LAYER, urls=ELSEWHERE)])
    refused = validation({"validation": {"manifests": {"urls": {"deny": ["example"]}}}})
    local = start_registry(config=refused)
    push(open_upstream.url, "team/windows", "1", image)
    settings = settings_of(open_upstream, local, WINDOWS, transfer={"retries": 0})
    assert mirror.sync(settings)["images"]["team/windows:1"]["status"] == "failed"
