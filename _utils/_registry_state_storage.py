"""Where the files of the local registry are on this host, if they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from _registry_config_values import Settings
from _registry_host_address import is_here
from _registry_host_service import read_config, storage_directory, storage_location
from _registry_sync_verify_run import Storage


def storage_here(settings: Settings, functions: Mapping[str, Callable[..., Any]]) -> Storage:
    """The storage directory, or why there is none to be read.

    The configuration that the formula has written says it; of a registry of somebody else
    ``docker_registry:registry:storage`` may.

    Args:
        settings: the registry.
        functions: Salt's; of them ``registry_backup.saved_state`` and those of ``network`` are called.
    """
    local, service = settings.local, settings.service
    where = _configured(settings, functions) or storage_directory(service.config, service.storage)
    if not where:
        said = "where the registry keeps its images is not known; docker_registry:registry:storage says it"
        return Storage(reason=said)
    if not where.startswith("/"):
        return Storage(reason=f"the registry keeps its images in {where}, not in files of this host")
    # Who has a socket to push to is here; asking takes longer than a check that finds nothing to do.
    if not local.push_socket and not is_here(local.host, functions):
        return Storage(reason=f"{local.host} is not this host")
    return Storage(where)


def own_storage(settings: Settings, functions: Mapping[str, Callable[..., Any]]) -> str:
    """The storage directory of a registry that this formula has set up; of another one it would be a guess.

    Args:
        settings: the registry.
        functions: Salt's, as ``storage_here`` needs them.
    """
    return storage_here(settings, functions).path if _configured(settings, functions) else ""


def own_certificate(settings: Settings, functions: Mapping[str, Callable[..., Any]]) -> str:
    """Path of the certificate of a registry that this formula has set up; empty where it has none.

    Args:
        settings: the registry.
        functions: Salt's, as ``storage_here`` needs them.
    """
    for config in _configs(settings, functions):
        tls = config["http"].get("tls")
        return str(tls.get("certificate", "")) if isinstance(tls, Mapping) else ""
    return ""


def _configured(settings: Settings, functions: Mapping[str, Callable[..., Any]]) -> str:
    """Where the configuration says that the images are, which the formula has written for this port."""
    return next(map(storage_location, _configs(settings, functions)), "")


def _configs(settings: Settings, functions: Mapping[str, Callable[..., Any]]) -> Iterator[Mapping[str, Any]]:
    """The configuration that the formula has written for this port, whatever else it has saved."""
    for file in functions["registry_backup.saved_state"]().get("files") or ():
        try:
            config = read_config(Path(file).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
        if _serves_at(settings.local.port, config):
            yield config


def _serves_at(port: int, config: Mapping[str, Any]) -> bool:
    http = config.get("http")
    return isinstance(http, Mapping) and str(http.get("addr", "")).endswith(f":{port}")
