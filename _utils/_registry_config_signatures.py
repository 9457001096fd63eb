"""What may stand in the pillar of keys that sign: ``signatures:keys``, and ``signed_by`` and ``signed_as``.

No I/O: whether a path leads to a key is told by whoever reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import _registry_config_validators as check
from _registry_config_validators import Checker, SettingsError
from _registry_config_values import SigningKey
from _registry_oci_names import is_repository, nearest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SIGNED_AS = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?")


def _key_or_path(value: Any, key: str) -> str:
    text = check.secret(value, key)
    if not text.startswith("/") and "-----BEGIN " not in text:
        # It may be a key and is not shown.
        raise SettingsError(f"{key}: is neither an absolute path nor the text of a key")
    return text


_KEYLESS: dict[str, Checker] = {
    "issuer": check.filled_string,
    "identity": check.filled_string,
    "trusted_root": check.filled_path,
}


def _keyless(value: Any, key: str) -> dict[str, str]:
    checked: dict[str, str] = check.mapping(_KEYLESS)(value, key)
    for name in _KEYLESS:
        if name not in checked:
            raise SettingsError(f"{key}: has no {name}")
    return checked


_KEY: dict[str, Checker] = {
    "gpg": check.filled(check.list_of(_key_or_path, "[/etc/pki/rpm-gpg/KEY]"), "[/etc/pki/rpm-gpg/KEY]"),
    "cosign": check.filled(check.list_of(_key_or_path, "[/etc/pki/ours.pub]"), "[/etc/pki/ours.pub]"),
    "keyless": _keyless,
}


def keys(value: Any, key: str) -> dict[str, dict[str, Any]]:
    """Names, each of keys of one signer."""
    found = {}
    for name, entry in check.free_mapping(value, key).items():
        if not _NAME.fullmatch(str(name)):
            raise SettingsError(f"{key}: {name!r} is no name of a key; it has letters, digits and . _ -")
        found[str(name)] = check.mapping(_KEY)(entry, f"{key}:{name}")
        if not entry:
            raise SettingsError(f"{key}:{name}: is empty; give one of {', '.join(_KEY)}")
    return found


signed_by: Checker = check.list_of(check.filled_string, "[redhat]")


def signed_as(value: Any, key: str) -> str:
    """A registry's name in signatures, or the whole name of one image in them."""
    text = check.string(value, key)
    host, slash, repository = text.partition("/")
    if text and (not _SIGNED_AS.fullmatch(host) or (slash and not is_repository(repository))):
        raise SettingsError(
            f"{key}: {check.quoted(text)}is neither a host, as host:port if need be, nor host/repository "
            "of one image"
        )
    return text


def signing_keys(tree: Mapping[str, Mapping[str, Any]], key: str) -> dict[str, SigningKey]:
    """The entries of ``signatures:keys`` as values."""
    return {
        name: SigningKey(
            f"{key}:{name}",
            gpg=tuple(entry.get("gpg", ())),
            cosign=tuple(entry.get("cosign", ())),
            **entry.get("keyless", {}),
        )
        for name, entry in tree.items()
    }


def refuse_unknown(names: Iterable[str], known: Iterable[str], key: str) -> None:
    """Refuse names that no key has.

    Raises:
        SettingsError: one has none.
    """
    unknown = [name for name in names if name not in set(known)]
    if unknown:
        suggestion = nearest(unknown[0], known)
        raise SettingsError(f"{key}: names no key of signatures:keys ({', '.join(unknown)}){suggestion}")
