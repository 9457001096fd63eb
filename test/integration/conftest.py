"""Booted hosts on a wire of their own, with a vendor's registry at its other end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.hosts import (
    RECIPE_DEBIAN13,
    Host,
    HostedMinion,
    Wire,
    root_filesystem,
    salt_environments,
    why_no_hosts,
)
from support.images import Image, Layer, docker_image, runnable_image, static_busybox
from support.registries import Distribution, registry_binary
from support.registry_content import push

REPOSITORY_ROOT = Path(__file__).resolve().parents[2]
# The Salt that runs the tests, or the one that was asked for, for what one version proves for all.
SALT = os.environ.get("SALT_VERSION", "3008")
ENVIRONMENTS = salt_environments(REPOSITORY_ROOT) or {SALT: Path(sys.prefix)}
REPOSITORIES = ("rhosp13/openstack-cron", "rhosp13/openstack-nova-api", "ceph/rhceph")
PORT = 5001


def salts(usual: str) -> list[str]:
    """Return the Salt that a host is usually booted with, or with `EVERY_SALT=1` each that there is."""
    if os.environ.get("EVERY_SALT"):
        return sorted(ENVIRONMENTS)
    return [usual if usual in ENVIRONMENTS else SALT]


@dataclass(frozen=True)
class Vendor:
    """A registry at the far end of the wire and the images it was given."""

    server: Distribution
    images: dict[str, Image]

    def pillar(self, host: str, **others: Any) -> dict[str, Any]:
        """Return a pillar that mirrors all of it to a host's own registry."""
        return {
            "upstream": {"host": self.server.host, "port": self.server.port, "tls": False},
            "local": {"host": host},
            "images": [{"name": name, "tags": ["13.0"]} for name in self.images],
            "transfer": {"retries": 2},
            **others,
        }

    @property
    def address(self) -> str:
        """`host:port`."""
        return self.server.address


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip by name what this machine cannot boot."""
    lacking = why_no_hosts() or (None if registry_binary() else "docker-distribution")
    if lacking:
        for item in items:
            if "integration" in item.path.parts:
                item.add_marker(pytest.mark.skip(reason=f"booted hosts need {lacking}"))


@pytest.fixture(scope="session")
def host_root() -> Path:
    """Return the root that all hosts boot from."""
    return root_filesystem(REPOSITORY_ROOT / ".cache")


@pytest.fixture(scope="session")
def host_root_debian13() -> Path:
    """Return the root of Debian 13 and of EL10, whose podman has quadlet."""
    return root_filesystem(REPOSITORY_ROOT / ".cache", RECIPE_DEBIAN13)


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    """Return a network that a module's hosts share with nobody."""
    with Wire("wire") as wire:
        yield wire


@pytest.fixture(scope="module")
def vendor(wire: Wire, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    """Return a registry on the wire that holds what the pillar wants."""
    images = {name: docker_image([Layer(name, length=50_000), Layer("base")]) for name in REPOSITORIES}
    if static_busybox():
        images["tools/busybox"] = runnable_image()
    with ExitStack() as running:
        with wire.entered():
            server = running.enter_context(
                Distribution(tmp_path_factory.mktemp("vendor"), host=wire.address, port=PORT)
            )
            for name, image in images.items():
                push(server.url, name, "13.0", image)
        yield Vendor(server, images)


@pytest.fixture(scope="module")
def boot_module(
    wire: Wire, host_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Host]]:
    """Return a function that boots a host of that name, which stops after the module."""
    with booting(wire, host_root, tmp_path_factory) as boot:
        yield boot


@pytest.fixture
def boot(
    wire: Wire, host_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Host]]:
    """Return a function that boots a host of that name, which stops after the test."""
    with booting(wire, host_root, tmp_path_factory) as boot:
        yield boot


@contextmanager
def booting(
    wire: Wire, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Host]]:
    """A function that boots a host of that name; all of them stop at the end."""
    with ExitStack() as running:

        def boot(name: str, salt: str = SALT, kind: type[Host] = Host, **others: Any) -> Host:
            docker, podman = tmp_path_factory.mktemp("docker"), tmp_path_factory.mktemp("podman")
            host = kind(
                name,
                wire=wire,
                **{"root": root, **others},
                directory=tmp_path_factory.mktemp(name),
                environment=ENVIRONMENTS.get(salt, Path(sys.prefix)),
                # An engine's storage cannot lie on the overlay that the rest of the host is.
                binds={docker: "/var/lib/docker", podman: "/var/lib/containers"},
            )
            return running.enter_context(host)

        yield boot


@pytest.fixture
def minion() -> Callable[..., HostedMinion]:
    """Return a function that gives a host a pillar and the formula."""
    return minion_on


def minion_on(host: Host, pillar: dict[str, Any], **keywords: Any) -> HostedMinion:
    """Give a host a pillar and the formula."""
    return HostedMinion(host, REPOSITORY_ROOT, pillar={"docker_registry": pillar}, **keywords)
