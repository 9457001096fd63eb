"""Manifests, indexes and the descriptors in them, as values; no I/O.

Their shape is that of the image-spec and of Docker's schema2:

- https://github.com/opencontainers/image-spec/blob/main/manifest.md
- https://distribution.github.io/distribution/spec/manifest-v2-2/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from _registry_oci_names import digest_of, is_digest

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
SCHEMA1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
MANIFESTS = (DOCKER_MANIFEST, OCI_MANIFEST)
INDEXES = (DOCKER_LIST, OCI_INDEX)
ACCEPTED = (DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX)

# The limit that the distribution-spec asks registries to accept at least.
MANIFEST_LIMIT = 4 * 1024 * 1024
# Indexes of indexes are legal; nothing real nests deeper than two.
NESTING_LIMIT = 4
# No registry takes a larger blob (an S3 object ends at 5 TiB); a larger size is a broken descriptor.
BLOB_LIMIT = 5 * 1024**4

_ANY_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")


class ManifestError(ValueError):
    """A manifest that cannot be mirrored as it is; the text says why.

    ``cause`` is the word for the returns: ``unsupported`` for what no registry here takes, ``digest``
    for content that is not what its digest says.
    """

    def __init__(self, message: str, cause: str = "unsupported") -> None:
        super().__init__(message)
        self.cause = cause


@dataclass(frozen=True)
class Descriptor:
    """A pointer to content: digest, size in bytes, media type, and for children their platform."""

    digest: str
    size: int
    media_type: str = ""
    platform: str = ""

    @property
    def is_index(self) -> bool:
        """Whether it points to an index or a manifest list."""
        return self.media_type in INDEXES


@dataclass(frozen=True)
class Manifest:
    """A manifest or an index, with its bytes kept as they came.

    Args:
        digest: of ``body``.
        media_type: as the registry served it.
        body: the bytes; never re-serialised, or the digest would change.
        blobs: config and layers that must be in the repository before the manifest.
        children: manifests that must be there before an index.
    """

    digest: str
    media_type: str
    body: bytes = field(repr=False)
    blobs: tuple[Descriptor, ...] = ()
    children: tuple[Descriptor, ...] = ()

    @property
    def is_index(self) -> bool:
        """Whether it lists manifests rather than blobs."""
        return self.media_type in INDEXES


def read_manifest(body: bytes, media_type: str) -> Manifest:
    """Read a manifest of any kind that can be mirrored.

    Args:
        body: the bytes as the registry sent them.
        media_type: the Content-Type they came with; parameters are ignored.

    Returns:
        The manifest with the descriptors of what it needs.

    Raises:
        ManifestError: no JSON object, an unknown or obsolete kind, or a descriptor without sense.
    """
    document = _json_object(body)
    kind = _kind(document, media_type)
    if kind in INDEXES:
        children = tuple(_child(entry) for entry in _entries(document, "manifests"))
        return Manifest(digest_of(body), kind, body, children=children)
    entries = [_member(document, "config"), *_entries(document, "layers")]
    blobs = tuple(_descriptor(entry) for entry in entries if not _lives_elsewhere(entry))
    return Manifest(digest_of(body), kind, body, blobs=tuple(dict.fromkeys(blobs)))


def keep_platforms(index: Manifest, platforms: Iterable[str]) -> Manifest:
    """An index with only the children of the platforms asked for.

    Registries built on docker-distribution refuse an index whose children are not there, so a subset
    needs an index of its own. It is made from the upstream's bytes alone and so has the same digest
    in every run.

    Args:
        index: as upstream serves it.
        platforms: ``os/architecture`` or ``os/architecture/variant``; empty keeps all.

    Returns:
        The index itself where nothing falls out, else a smaller one.

    Raises:
        ManifestError: none of the platforms is there.
    """
    wanted = tuple(platforms)
    if not wanted or not index.is_index:
        return index
    document = json.loads(index.body)
    keep = [
        position
        for position, child in enumerate(index.children)
        if any(child.platform == name or child.platform.startswith(name + "/") for name in wanted)
    ]
    if not keep:
        there = ", ".join(sorted({child.platform for child in index.children if child.platform}))
        raise ManifestError(f"none of the platforms {', '.join(wanted)} is there (there: {there})", "absent")
    if len(keep) == len(index.children):
        return index
    document["manifests"] = [document["manifests"][position] for position in keep]
    body = json.dumps(document, indent=3).encode()
    return read_manifest(body, index.media_type)


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise ManifestError("the manifest is not JSON") from None
    if not isinstance(document, dict):
        raise ManifestError("the manifest is not a JSON object")
    return document


def _kind(document: Mapping[str, Any], content_type: str) -> str:
    """The media type: what the manifest says of itself, else what it was served as, else its shape.

    OCI manifests may leave ``mediaType`` out, and some registries serve them as plain JSON.
    """
    served = content_type.split(";")[0].strip().lower()
    if document.get("schemaVersion") == 1 or served in SCHEMA1:
        raise ManifestError("upstream has only an obsolete schema1 manifest")
    kind = document.get("mediaType") or served
    if kind in ACCEPTED:
        return str(kind)
    if kind in ("", "application/json", "application/octet-stream", "text/plain"):
        return OCI_INDEX if "manifests" in document else OCI_MANIFEST
    raise ManifestError(f"manifests of type {str(kind)[:100]!r} cannot be mirrored")


def _member(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    entry = document.get(key)
    if not isinstance(entry, dict):
        raise ManifestError(f"the manifest has no {key}")
    return entry


def _entries(document: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    entries = document.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ManifestError(f"the manifest has no list of {key}")
    return entries


def _descriptor(entry: Mapping[str, Any], platform: str = "") -> Descriptor:
    digest, size = entry.get("digest"), entry.get("size")
    if not isinstance(digest, str) or not _ANY_DIGEST.fullmatch(digest):
        raise ManifestError("the manifest names content without a valid digest")
    if not is_digest(digest):
        raise ManifestError(f"digests of the kind {digest.split(':')[0]} cannot be verified here")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= BLOB_LIMIT:
        raise ManifestError(f"the manifest gives {digest} an impossible size")
    return Descriptor(digest, size, str(entry.get("mediaType", "")), platform)


def _child(entry: Mapping[str, Any]) -> Descriptor:
    platform = entry.get("platform")
    if not isinstance(platform, dict):
        return _descriptor(entry)
    parts = [platform.get("os"), platform.get("architecture"), platform.get("variant")]
    return _descriptor(entry, "/".join(str(part) for part in parts if part))


def _lives_elsewhere(entry: Mapping[str, Any]) -> bool:
    """Whether a layer may not be redistributed: registries neither hold nor ask for such layers.

    https://github.com/opencontainers/image-spec/blob/main/layer.md#non-distributable-layers
    """
    kind = str(entry.get("mediaType", ""))
    return bool(entry.get("urls")) and ("nondistributable" in kind or "foreign" in kind)
