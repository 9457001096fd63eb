"""What the files of a registry host say, as transformations of text and data; no I/O, nothing of Salt."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import yaml

# What docker-distribution ships: https://distribution.github.io/distribution/about/configuration/#storage
_STORAGE_OPTIONS = ("cache", "delete", "maintenance", "redirect", "tag")


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Merge mappings recursively; anything else in ``override`` replaces what ``base`` has."""
    merged = dict(base)
    for key, value in override.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def service_config(
    site: Mapping[str, Any], *, storage: str, port: int, secret: str
) -> dict[str, Any]:
    """The configuration of docker-distribution.

    Args:
        site: what the pillar says, merged over the defaults. A storage driver in it replaces the
            filesystem, as the server accepts only one.
        storage: directory of the images.
        port: TCP port, on all addresses.
        secret: signs the state of uploads in flight, so that they survive a restart and may go
            through any of several registries.
    """
    default: dict[str, Any] = {
        "version": 0.1,
        "log": {"fields": {"service": "registry"}},
        "storage": {
            "cache": {"blobdescriptor": "inmemory"},
            "delete": {"enabled": True},
        },
        "http": {
            "addr": f":{port}",
            "secret": secret,
            "headers": {"X-Content-Type-Options": ["nosniff"]},
        },
        "health": {"storagedriver": {"enabled": True, "interval": "10s", "threshold": 3}},
    }
    if storage_driver(site) == "filesystem":
        default["storage"]["filesystem"] = {"rootdirectory": storage}
    return merge(default, site)


def storage_driver(site: Mapping[str, Any]) -> str:
    """The storage driver that the pillar's configuration asks for."""
    drivers = [name for name in site.get("storage", {}) if name not in _STORAGE_OPTIONS]
    return drivers[0] if drivers else "filesystem"


def secret_in(config_text: str) -> str:
    """``http.secret`` of a configuration file, empty where there is none or the file is broken."""
    try:
        config = yaml.safe_load(config_text)
    except yaml.YAMLError:
        return ""
    http = config.get("http") if isinstance(config, Mapping) else None
    secret = http.get("secret") if isinstance(http, Mapping) else None
    return secret if isinstance(secret, str) else ""


def listen_address(config: Mapping[str, Any]) -> tuple[str, int]:
    """Where a client on the same host reaches a registry with this configuration."""
    host, _, port = config["http"]["addr"].rpartition(":")
    host = host.strip("[]")
    return (host if host not in ("", "0.0.0.0", "::") else "localhost"), int(port)


def changed_lines(old: str, new: str) -> int:
    """How many lines of a file change; a line that is replaced counts once."""
    opcodes = difflib.SequenceMatcher(None, old.splitlines(), new.splitlines()).get_opcodes()
    return sum(max(i2 - i1, j2 - j1) for tag, i1, i2, j1, j2 in opcodes if tag != "equal")
