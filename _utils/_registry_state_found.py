"""What serves at the registry's address on this host, and what lies in its storage."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import _registry_sync_commands as commands
from _registry_config_values import Settings
from _registry_host_guard import EMPTY, NOTHING, POPULATED, UNKNOWN, Found
from _registry_oci_errors import RegistryError, Unsupported, Untrusted
from _registry_sync_ledger import Ledger

_CONNECT_SECONDS = 2.0


def look(settings: Settings, functions: Mapping[str, Callable[..., Any]]) -> Found:
    """Ask whoever listens at ``docker_registry:local``.

    Args:
        settings: who that is, and our login there.
        functions: Salt's; of them those of ``registry_service`` and ``registry_undercloud`` are called.
    """
    name, undercloud = settings.local.name, functions["registry_undercloud.is_undercloud"]()
    try:
        populated = commands.holds_anything(settings)
    except RegistryError as failure:
        if not (
            functions["registry_service.answers"]() or _accepts(settings.local.host, settings.local.port)
        ):
            return Found(name, NOTHING, undercloud=undercloud)
        return Found(name, UNKNOWN, str(failure), _cause(failure), undercloud)
    return Found(name, POPULATED if populated else EMPTY, undercloud=undercloud)


def repositories_in(storage: str, settings: Settings) -> int:
    """How many repositories lie in a directory; of another kind of store the registry itself must tell."""
    if not storage.startswith("/"):
        return int(commands.registry(settings)["repositories"])
    top = f"{storage}/docker/registry/v2/repositories"
    return sum("_manifests" in directories for _, directories, _ in os.walk(top))


def unknown_image(storage: str, ledger: Ledger) -> str:
    """The first image in a directory that sync has not put there; empty where there is none."""
    top = Path(storage, "docker/registry/v2/repositories")
    for directory, below, _ in os.walk(top):
        if "_manifests" not in below:
            continue
        repository = Path(directory).relative_to(top).as_posix()
        tags = Path(directory, "_manifests", "tags")
        found = [tag.name for tag in tags.iterdir()] if tags.is_dir() else []
        if not ledger.references(repository):
            return repository
        for tag in found:
            if not ledger.digest(repository, tag):
                return f"{repository}:{tag}"
    return ""


def _cause(failure: RegistryError) -> str:
    if isinstance(failure, (Untrusted, Unsupported)):
        return "tls"
    return failure.cause if failure.cause == "auth" else ""


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
