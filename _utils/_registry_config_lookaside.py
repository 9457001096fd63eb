"""What may stand in the pillar of where simple signatures lie: ``signatures`` but for its keys; no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import _registry_config_validators as check
from _registry_config_validators import Checker, SettingsError
from _registry_oci_names import is_repository

_URL = re.compile(r"https?://(?P<registry>[^/]+)(?:/[A-Za-z0-9._~/-]*)?")


def _stores(value: Any, key: str) -> dict[str, str]:
    stores: Mapping[str, Any] = check.free_mapping(value, key)
    return {_scope(str(scope), key): _url(url, f"{key}:{scope}") for scope, url in stores.items()}


def _scope(scope: str, key: str) -> str:
    registry, _, path = scope.partition("/")
    if not check.is_host_and_port(registry) or (path and not is_repository(path)):
        raise SettingsError(
            f"{key}: {check.quoted(scope)}is no registry; give its host, with the port or the path of "
            "repositories where it has several stores, e.g. quay.io/team"
        )
    return scope


def _url(value: Any, key: str) -> str:
    text = check.string(value, key).rstrip("/")
    match = _URL.fullmatch(text)
    if text and not (match and check.is_host_and_port(match["registry"])):
        # It may hold a password and is not shown.
        raise SettingsError(
            f"{key}: is no address of a store; give e.g. https://sign.example.com/sigstore, without a login"
        )
    return text


def _directory(value: Any, key: str) -> str:
    text = check.path(value, key).rstrip("/")
    if not text:
        raise SettingsError(f"{key}: is empty; give an absolute path")
    return text


STORES_AND_SERVICE: dict[str, Checker] = {
    "stores": _stores,
    "directory": _directory,
    "serve": check.number(0, 65535),
}
