"""A registry that only its own host pushes to: two real servers as the formula configures them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import _registry_sync_commands as mirror
from _registry_config_values import Settings
from support.formula_registry import FormulaRegistry
from support.images import Image, Layer, docker_image, docker_list
from support.pillar import settings_of
from support.registries import Distribution
from support.registry_content import digest_of, pull_whole, push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

IMAGES = [{"name": "team/app", "tags": ["1"]}, {"name": "team/other", "tags": ["1"]}]
BASE = Layer("base", length=3_000_000)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[FormulaRegistry]:
    with FormulaRegistry(tmp_path / "local") as registry:
        yield registry


@pytest.fixture
def images(upstream: Distribution) -> dict[str, Image]:
    images = {name: docker_image([BASE, Layer(name)]) for name in ("team/app", "team/other")}
    for name, image in images.items():
        push(upstream.url, name, "1", image)
    return images


@pytest.fixture
def settings(upstream: Distribution, registry: FormulaRegistry) -> Settings:
    public = settings_of(upstream, registry, IMAGES, transfer={"retries": 1})
    return registry.written_through_the_socket(public)


def test_a_sync_goes_through_the_socket_and_clients_see_its_images(
    settings: Settings, images: dict[str, Image], registry: FormulaRegistry, tmp_path: Path
) -> None:
    report = mirror.sync(settings, directory=str(tmp_path / "cache"))
    assert {image["status"] for image in report["images"].values()} == {"copied"}
    for name, image in images.items():
        assert digest_of(registry.url, name, "1") == image.digest
        pull_whole(registry.url, name, "1", tmp_path / name.replace("/", "-"))
    again = mirror.check(settings)
    assert again["summary"]["current"] == 2


def test_a_tag_that_moves_is_seen_by_clients_at_once(
    settings: Settings, images: dict[str, Image], upstream: Distribution, registry: FormulaRegistry
) -> None:
    mirror.sync(settings)
    newer = docker_image([BASE, Layer("newer")])
    push(upstream.url, "team/app", "1", newer)
    assert mirror.check(settings)["images"]["team/app:1"]["status"] == "stale"
    mirror.sync(settings)
    assert digest_of(registry.url, "team/app", "1") == newer.digest


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "blobs/uploads/"),
        ("PUT", "manifests/1"),
        ("DELETE", "manifests/1"),
        ("DELETE", "blobs/{layer}"),
    ],
)
def test_nobody_writes_from_the_network(
    method: str,
    path: str,
    settings: Settings,
    images: dict[str, Image],
    registry: FormulaRegistry,
    tmp_path: Path,
) -> None:
    mirror.sync(settings)
    target = path.format(layer=images["team/app"].blobs[1].digest)
    answer = requests.request(method, f"{registry.url}/v2/team/app/{target}", data=b"x", timeout=10)
    assert answer.status_code == 405
    pull_whole(registry.url, "team/app", "1", tmp_path / "pulled")


def test_without_the_socket_a_sync_says_that_the_registry_is_read_only(
    settings: Settings, images: dict[str, Image]
) -> None:
    from_elsewhere = dataclasses.replace(settings, local=dataclasses.replace(settings.local, push_socket=""))
    report = mirror.sync(from_elsewhere)
    failure = report["images"]["team/app:1"]
    assert failure["status"] == "failed"
    assert "read-only from here" in failure["error"]
    assert failure["cause"] == "unsupported"


def test_a_push_server_that_is_gone_is_named_by_its_socket(
    settings: Settings, images: dict[str, Image], registry: FormulaRegistry
) -> None:
    registry.push.kill()
    failure = mirror.sync(settings)["images"]["team/app:1"]
    assert failure["status"] == "failed"
    assert f"({registry.socket})" in failure["error"]


def test_an_upload_that_fails_leaves_nothing_on_the_disk(
    settings: Settings, images: dict[str, Image], upstream: Distribution, registry: FormulaRegistry
) -> None:
    blob = next(upstream.data.rglob(f"{BASE.digest.partition(':')[2]}/data"))
    blob.write_bytes(b"x" * BASE.size)
    report = mirror.sync(settings)
    assert {image["cause"] for image in report["images"].values()} == {"digest"}
    assert list(registry.data.rglob("_uploads/*/data")) == []


def test_what_a_login_guards_is_for_clients_alone(
    upstream: Distribution, images: dict[str, Image], tmp_path: Path
) -> None:
    users = tmp_path / "htpasswd"
    users.write_text("site:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\n", encoding="utf-8")
    config: dict[str, Any] = {"auth": {"htpasswd": {"realm": "r", "path": str(users)}}}
    with FormulaRegistry(tmp_path / "guarded", config) as registry:
        assert requests.get(f"{registry.url}/v2/", timeout=10).status_code == 401
        anonymous = registry.written_through_the_socket(settings_of(upstream, registry, IMAGES))
        # What clients see is what counts, and that needs their login.
        assert mirror.check(anonymous)["images"]["team/app:1"]["cause"] == "auth"


def test_an_index_and_its_children_go_through_the_socket(
    settings: Settings, upstream: Distribution, registry: FormulaRegistry, images: dict[str, Image]
) -> None:
    index = docker_list([docker_image([BASE, Layer(arch)]) for arch in ("amd64", "arm64")])
    push(upstream.url, "team/app", "1", index)
    mirror.sync(settings)
    assert digest_of(registry.url, "team/app", "1") == index.digest
