"""The file of ``skopeo sync --src yaml``, as our pillar; no I/O.

https://github.com/containers/skopeo/blob/main/docs/skopeo-sync.1.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from _registry_config_convert_found import Found, Wanted
from _registry_config_convert_rules import CannotSay, TagSet, comparisons_of, set_of_expressions
from _registry_oci_names import is_digest, is_tag
from _registry_oci_reference import ReferenceMistake, host_and_port, read_reference

_KINDS = ("images", "images-by-tag-regex", "images-by-semver")
_KNOWN = (*_KINDS, "credentials", "tls-verify", "cert-dir")


def is_skopeo(tree: Any) -> bool:
    """Whether a file names registries, each with images."""
    return (
        isinstance(tree, Mapping)
        and bool(tree)
        and all(isinstance(entry, Mapping) for entry in tree.values())
        and any(kind in entry for entry in tree.values() for kind in _KINDS)
    )


def read_skopeo(tree: Mapping[str, Any]) -> Found:
    """What such a file says.

    Args:
        tree: of strings: no value was made a number or a date.
    """
    found = Found()
    for name, entry in tree.items():
        _read_registry(found, str(name), entry)
    found.note(
        "skopeo sync",
        "without --scoped it keeps the last part of a name; here the whole name is kept, and target of an "
        "image names another",
    )
    found.note(
        "skopeo sync",
        "without --all it copies one platform of several; here all come, and platforms chooses",
    )
    return found


def _read_registry(found: Found, name: str, entry: Mapping[str, Any]) -> None:
    registry = name.split("/")[0]
    try:
        host_and_port(registry)
    except ReferenceMistake:
        found.note("a key", "not carried; it is no registry")
        return
    if entry.get("credentials"):
        found.with_login(registry, f"{name}:credentials")
    if str(entry.get("tls-verify", "true")).lower() == "false":
        found.registries.setdefault(registry, {})["verify"] = False
        found.note(
            f"{name}:tls-verify",
            "verify is false; to skopeo that also allows plain HTTP, which is tls: false here",
        )
    if entry.get("cert-dir"):
        found.note(f"{name}:cert-dir", "not carried; of its files give ca.crt as verify, and cert and key")
    found.note_unknown(name, entry, _KNOWN)
    for kind in _KINDS:
        for at, (image, tags) in enumerate(_mapping(entry.get(kind)).items()):
            where = f"{name}:{kind}:{at}"
            try:
                reference = read_reference(f"{name.rstrip('/')}/{image}")
                if reference.entry:
                    raise ReferenceMistake("names a tag or a digest besides")
                where = f"{name}:{kind}:{image}"
                chosen = _TAGS[kind](tags)
            except (CannotSay, ReferenceMistake) as lack:
                found.note(where, f"not carried; it {lack}")
                continue
            found.want(Wanted(where, registry, reference.repository, chosen))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _listed(value: Any) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else [str(value)] if value else []


def _named(value: Any) -> TagSet:
    tags = _listed(value)
    if not all(is_tag(tag) or is_digest(tag) for tag in tags):
        raise CannotSay("names something that is neither a tag nor a whole digest")
    return TagSet(tuple(tags) or ("*",))


def _by_expression(value: Any) -> TagSet:
    return set_of_expressions(_listed(value))


def _by_version(value: Any) -> TagSet:
    constraints = _listed(value)
    if len(constraints) != 1:
        raise CannotSay("has alternatives of versions")
    return TagSet(("*",), semver=comparisons_of(constraints[0]))


_TAGS = {"images": _named, "images-by-tag-regex": _by_expression, "images-by-semver": _by_version}
