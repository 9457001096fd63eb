"""Pillars for tests: two registries on loopback and a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from _registry_config_read import read_settings
from _registry_config_values import Settings


def pillar_of(upstream: Any, local: Any, images: Sequence[Any], **others: Any) -> dict[str, Any]:
    """Return the pillar `docker_registry` for two servers that have `.host` and `.port`."""
    return {
        "upstream": {"host": upstream.host, "port": upstream.port, "tls": False},
        "local": {"host": local.host, "port": local.port, "tls": False},
        "images": list(images),
        **others,
    }


def settings_of(upstream: Any, local: Any, images: Sequence[Any], **others: Any) -> Settings:
    """Return the same as checked settings."""
    return read_settings(pillar_of(upstream, local, images, **others), host="unused.example.com")
