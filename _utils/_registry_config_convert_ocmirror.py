"""``additionalImages`` of oc-mirror's ImageSetConfiguration (v1alpha2, v2alpha1), as our pillar; no I/O.

https://github.com/openshift/oc-mirror/blob/main/docs/imageset-config-ref.yaml
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from _registry_config_convert_found import Found, Wanted
from _registry_config_convert_rules import CannotSay, TagSet
from _registry_oci_names import is_repository
from _registry_oci_reference import ReferenceMistake, read_reference

_GROUP = "mirror.openshift.io/"
VERSIONS = ("v1alpha2", "v2alpha1")
_KIND = "ImageSetConfiguration"
_ITS_OWN = {
    "platform": "releases",
    "operators": "operators",
    "helm": "charts and the images in them",
    "samples": "samples",
}


_KEYS = ("apiVersion", "kind", "mirror", "archiveSize", "storageConfig")
_MIRROR_KEYS = (*_ITS_OWN, "additionalImages", "blockedImages")


def is_oc_mirror(tree: Any) -> bool:
    """Whether a file is an ImageSetConfiguration of a version that is read here."""
    return (
        isinstance(tree, Mapping)
        and tree.get("kind") == _KIND
        and tree.get("apiVersion") in [_GROUP + version for version in VERSIONS]
    )


def read_oc_mirror(tree: Mapping[str, Any]) -> Found:
    """What such a file says of images that it lists one by one.

    Args:
        tree: of strings: no value was made a number or a date.
    """
    found = Found()
    tree = _spelt(tree, _KEYS)
    mirror = _spelt(_mapping(tree.get("mirror")), _MIRROR_KEYS)
    blocked = [name for _, name, _ in _images(mirror, "blockedImages")]
    for where, name, given in _images(mirror, "additionalImages"):
        _read_image(found, where, name, given, blocked)
    for part, what in _ITS_OWN.items():
        if mirror.get(part):
            found.note(f"mirror:{part}", f"not carried; {what} are oc-mirror's own business: list the images")
    size = str(tree.get("archiveSize") or "")
    if size.isdigit() and int(size):
        found.rest["bundle"] = {"volume": f"{size}GiB"}
    if tree.get("storageConfig"):
        found.note("storageConfig", "not carried; what was mirrored is seen in the registry itself")
    found.note_unknown("mirror", mirror, _MIRROR_KEYS)
    found.note_unknown("", tree, _KEYS)
    return found


def _spelt(given: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """A mapping with its keys as they are documented: a program in Go does not look at their case."""
    spelling = {key.lower(): key for key in keys}
    return {spelling.get(str(name).lower(), str(name)): value for name, value in given.items()}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _images(mirror: Mapping[str, Any], key: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    entries = mirror.get(key)
    for at, entry in enumerate(entries if isinstance(entries, list) else []):
        yield f"mirror:{key}:{at}", str(_mapping(entry).get("name") or ""), _mapping(entry)


def _read_image(found: Found, where: str, name: str, given: Mapping[str, Any], blocked: list[str]) -> None:
    if any(_blocks(pattern, name) for pattern in blocked):
        found.note(where, "not carried; blockedImages names it")
        return
    try:
        if name.startswith("oci:"):
            raise CannotSay("is about a directory; registry_sync.import does that")
        if given.get("targetTag"):
            raise CannotSay("keeps a tag under another one")
        target = str(given.get("targetRepo") or "")
        if target and not is_repository(target):
            raise CannotSay("has a targetRepo that is none")
        reference = read_reference(name)
    except (CannotSay, ReferenceMistake) as lack:
        found.note(where, f"not carried; it {lack}")
        return
    tags = TagSet((reference.entry or "latest",))
    found.want(Wanted(where, reference.registry, reference.repository, tags, target))
    found.note_unknown(where, given, ("name", "targetRepo", "targetTag"))


def _blocks(pattern: str, name: str) -> bool:
    try:
        return pattern == name or re.fullmatch(pattern, name) is not None
    except re.error:
        return False
