"""What may stand in ``registry:config``, as much as we read of it ourselves, and in ``lookup``; no I/O.

https://distribution.github.io/distribution/about/configuration/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import _registry_config_validators as check
from _registry_config_validators import Checker, SettingsError

# docker_registry/names.yaml has them for each family of systems, but for the last.
LOOKUP: dict[str, Checker] = {
    "package": check.filled_string,
    "service": check.filled_string,
    "config": check.filled_path,
    "storage": check.filled_path,
    "user": check.filled_string,
    "group": check.filled_string,
    "program": check.filled_path,
    "docker_package": check.filled_string,
    "docker_service": check.filled_string,
    "nginx_package": check.filled_string,
    "nginx_program": check.filled_path,
    "nginx_user": check.filled_string,
    "init_script": check.path,
    "authority": check.path,
}

_ADDRESS = re.compile(r"(?:[^\s:]*|\[[^\s\]]+\]):(\d{1,5})")


def service_config(value: Any, key: str) -> dict[str, Any]:
    """What is merged over our configuration; the server checks the rest of it."""
    config = dict(check.free_mapping(value, key))
    for name, checker in (("http", _http), ("storage", _storage)):
        if name in config:
            config[name] = checker(config[name], f"{key}:{name}")
    return config


def _http(value: Any, key: str) -> Mapping[str, Any]:
    http = check.free_mapping(value, key)
    if "addr" in http:
        _refuse_what_has_no_port(http["addr"], f"{key}:addr")
    return http


def _refuse_what_has_no_port(value: Any, key: str) -> None:
    match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if match is None or not 1 <= int(match[1]) <= 65535:
        raise SettingsError(
            f"{key}: {check.shown(value)}; give a port by its number, behind an address if it is not of all, "
            "e.g. ':5000'"
        )


def _storage(value: Any, key: str) -> Mapping[str, Any]:
    storage = check.free_mapping(value, key)
    for driver, parameters in storage.items():
        if parameters is not None:
            check.free_mapping(parameters, f"{key}:{driver}")
    filesystem = storage.get("filesystem") or {}
    if "rootdirectory" in filesystem:
        check.filled_path(filesystem["rootdirectory"], f"{key}:filesystem:rootdirectory")
    return storage
