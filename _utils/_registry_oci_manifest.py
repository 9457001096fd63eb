"""Manifests, indexes and the descriptors in them, as values; no I/O.

Their shape is that of the image-spec and of Docker's schema2:

- https://github.com/opencontainers/image-spec/blob/main/manifest.md
- https://github.com/opencontainers/image-spec/blob/main/image-index.md
- https://distribution.github.io/distribution/spec/manifest-v2-2/

Nothing in a manifest is trusted: whatever stands in one, the result is a value that can be used, or a
``ManifestError`` of one short sentence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from _registry_oci_names import digest_of, is_digest, printable

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
SCHEMA1 = (
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
)
INDEXES = (DOCKER_LIST, OCI_INDEX)
ACCEPTED = (DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX)
# What a registry takes for an index: https://github.com/moby/buildkit#registry-push-image-and-cache-separately
_LAYERS_OF_A_CACHE = (
    "application/vnd.oci.image.layer.",
    "application/vnd.docker.image.rootfs.",
    "application/vnd.buildkit.cacheconfig.",
)
# What registries serve that do not know what they hold.
_SAYS_NOTHING = ("", "application/json", "application/octet-stream", "text/plain")

# The limit that the distribution-spec asks registries to accept at least.
MANIFEST_LIMIT = 4 * 1024 * 1024
# Indexes of indexes are legal; nothing real nests deeper than two.
NESTING_LIMIT = 4
# No registry takes a larger blob (an S3 object ends at 5 TiB); a larger size is a broken descriptor.
BLOB_LIMIT = 5 * 1024**4
# RFC 6838 lets each half of a media type have 127 characters.
_MEDIA_TYPE_LIMIT = 255
# Characters of a list of platforms in a message.
_PLATFORMS_SHOWN = 300

_ANY_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")


class ManifestError(ValueError):
    """A manifest that cannot be mirrored as it is; the text says why.

    ``cause`` is the word for the returns: ``unsupported`` for what no registry here takes, ``absent``
    for an index that has none of the platforms asked for.
    """

    def __init__(self, message: str, cause: str = "unsupported") -> None:
        super().__init__(message)
        self.cause = cause


@dataclass(frozen=True)
class Descriptor:
    """A pointer to content.

    Args:
        digest: sha256 or sha512.
        size: bytes.
        media_type: printable, as it may stand in a message; empty = untold.
        platform: of an index's child, ``os/architecture[/variant]``, printable.
        attests: of an attestation that BuildKit puts beside an image, the digest of that image.
    """

    digest: str
    size: int
    media_type: str = ""
    platform: str = ""
    attests: str = ""

    @property
    def is_index(self) -> bool:
        """Whether it points to an index or a manifest list."""
        return self.media_type in INDEXES


@dataclass(frozen=True)
class Manifest:
    """A manifest or an index, with its bytes kept as they came.

    Args:
        digest: of ``body``.
        media_type: one of the four kinds that are mirrored.
        body: the bytes; never re-serialised, or the digest would change.
        blobs: config and layers that must be in the repository before the manifest, each once.
        children: manifests that must be there before an index, in its order.
        foreign: layers that may not be distributed: registries neither hold nor ask for them, and
            engines get them from the URLs that the manifest names.
        subject: the manifest that this one is about, which need not be there.
        artifact_type: what kind of artifact it is; as referrers are listed, the media type of the
            config where the manifest does not say.
    """

    digest: str
    media_type: str
    body: bytes = field(repr=False)
    blobs: tuple[Descriptor, ...] = ()
    children: tuple[Descriptor, ...] = ()
    foreign: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    artifact_type: str = ""

    @property
    def is_index(self) -> bool:
        """Whether it lists manifests rather than blobs."""
        return self.media_type in INDEXES

    @property
    def size(self) -> int:
        """Bytes of the manifest itself."""
        return len(self.body)


def read_manifest(body: bytes, media_type: str, algorithm: str = "sha256") -> Manifest:
    """Read a manifest of any kind that can be mirrored.

    Args:
        body: the bytes as the registry sent them; the caller has checked their digest.
        media_type: the Content-Type they came with; parameters are ignored.
        algorithm: of the digest by which the manifest is known.

    Returns:
        The manifest with the descriptors of what it needs.

    Raises:
        ManifestError: no JSON object, an unknown or obsolete kind, one that is two kinds at once, or
            a descriptor without sense.
    """
    document = _json_object(body)
    kind = _kind(document, media_type)
    parts = _parts_of_index(document, kind) if kind in INDEXES else _parts_of_image(document, kind)
    subject = _descriptor(_member(document, "subject")) if document.get("subject") is not None else None
    return Manifest(digest_of(body, algorithm), kind, body, subject=subject, **parts)


def keep_platforms(index: Manifest, platforms: Iterable[str]) -> Manifest:
    """An index with only the children of the platforms asked for, and the attestations to these.

    Registries built on docker-distribution refuse an index whose children are not there, so a subset
    needs an index of its own. It is made from the upstream's bytes alone and so has the same digest
    in every run.

    Args:
        index: as upstream serves it.
        platforms: ``os/architecture`` or ``os/architecture/variant``; empty keeps all.

    Returns:
        The index itself where nothing falls out, else a smaller one, known by its sha256.

    Raises:
        ManifestError: none of the platforms is there.
    """
    wanted = tuple(platforms)
    if not wanted or not index.is_index:
        return index
    asked_for = {child.digest for child in index.children if _is_of(child, wanted)}
    if not asked_for:
        there = printable(", ".join(_platforms_of(index)), _PLATFORMS_SHOWN)
        raise ManifestError(f"none of the platforms {', '.join(wanted)} is there (there: {there})", "absent")
    keep = [_is_of(child, wanted) or child.attests in asked_for for child in index.children]
    return index if all(keep) else _subset(index, keep)


def _is_of(child: Descriptor, platforms: Iterable[str]) -> bool:
    return any(child.platform == name or child.platform.startswith(name + "/") for name in platforms)


def _platforms_of(index: Manifest) -> list[str]:
    return sorted({child.platform for child in index.children if child.platform and not child.attests})


def _subset(index: Manifest, keep: Iterable[bool]) -> Manifest:
    document = _json_object(index.body)
    entries = zip(document["manifests"], keep, strict=True)
    document["manifests"] = [entry for entry, kept in entries if kept]
    try:
        body = json.dumps(document, indent=3).encode()
    except RecursionError:
        _refuse("the index is nested too deep")
    return read_manifest(body, index.media_type)


def _refuse(why: str) -> NoReturn:
    raise ManifestError(why)


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        # Registries and engines read UTF-8 alone; Python would guess others, and take NaN for a number.
        document = json.loads(body.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ManifestError("the manifest is not JSON") from None
    if not isinstance(document, dict):
        _refuse("the manifest is not a JSON object")
    return document


def _kind(document: Mapping[str, Any], content_type: str) -> str:
    """The media type: what the manifest says of itself, else what it was served as, else its shape.

    OCI manifests may leave ``mediaType`` out, and some registries serve them as plain JSON.
    """
    served, said = content_type.split(";")[0].strip().lower(), document.get("mediaType") or ""
    if document.get("schemaVersion") == 1 or served in SCHEMA1:
        _refuse("upstream has only an obsolete schema1 manifest")
    _refuse_two_in_one(document, served, said)
    kind = said or served
    if kind in ACCEPTED:
        return str(kind)
    if kind in _SAYS_NOTHING:
        return OCI_INDEX if document.get("manifests") is not None else OCI_MANIFEST
    _refuse(f"manifests of type {printable(kind)!r} cannot be mirrored")


def _refuse_two_in_one(document: Mapping[str, Any], served: str, said: Any) -> None:
    """Refuse what one reader takes for an image and another for an index, under one digest.

    CVE-2021-41190, https://github.com/opencontainers/image-spec/security/advisories/GHSA-77vh-xpmg-72qh
    """
    # Engines written in Go take keys in any case, and null for a key that is not there.
    keys = {key.lower() for key, value in document.items() if value is not None}
    others = keys & {"config", "layers", "fslayers"}
    if "manifests" in keys and others:
        _refuse(f"the manifest is an index and an image at once: it has manifests and {min(others)}")
    if said and served in ACCEPTED and said != served:
        _refuse(f"the manifest was served as {served} but says that it is {printable(said)!r}")


def _parts_of_index(document: Mapping[str, Any], kind: str) -> dict[str, Any]:
    children = tuple(_child(entry) for entry in _entries(document, "manifests", kind == OCI_INDEX))
    _once_each(children)
    if any(child.media_type.startswith(_LAYERS_OF_A_CACHE) for child in children):
        _refuse("the index names layers, as a build cache of BuildKit does, and cannot be mirrored")
    return {"children": children, "artifact_type": _type(document.get("artifactType"))}


def _parts_of_image(document: Mapping[str, Any], kind: str) -> dict[str, Any]:
    config = _descriptor(_member(document, "config"))
    layers = _entries(document, "layers", kind == OCI_MANIFEST)
    here = [_descriptor(layer) for layer in layers if not _lives_elsewhere(layer)]
    foreign = [_descriptor(layer) for layer in layers if _lives_elsewhere(layer)]
    _once_each([config, *here, *foreign])
    return {
        "blobs": _once_each([config, *here]),
        "foreign": _once_each(foreign),
        "artifact_type": _type(document.get("artifactType")) or config.media_type,
    }


def _once_each(descriptors: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    """Each digest's first descriptor; one digest of two sizes is refused."""
    first: dict[str, Descriptor] = {}
    for descriptor in descriptors:
        if first.setdefault(descriptor.digest, descriptor).size != descriptor.size:
            _refuse(f"the manifest gives {descriptor.digest} two different sizes")
    return tuple(first.values())


def _member(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    entry = document.get(key)
    if not isinstance(entry, dict):
        _refuse(f"the manifest has no {key}")
    return entry


def _entries(document: Mapping[str, Any], key: str, may_be_missing: bool) -> list[Mapping[str, Any]]:
    entries = document.get(key)
    # What Go writes for a list that nobody filled; tools for artifacts leave layers out, too.
    if entries is None and may_be_missing:
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        _refuse(f"the manifest has no list of {key}")
    return entries


def _descriptor(entry: Mapping[str, Any], platform: str = "", attests: str = "") -> Descriptor:
    digest, size = entry.get("digest"), entry.get("size")
    if not isinstance(digest, str) or not _ANY_DIGEST.fullmatch(digest):
        _refuse("the manifest names content without a valid digest")
    if not is_digest(digest):
        _refuse(f"the manifest names content by {printable(digest)}, which cannot be verified here")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= BLOB_LIMIT:
        _refuse(f"the manifest gives {digest} an impossible size")
    return Descriptor(digest, size, _type(entry.get("mediaType")), platform, attests)


def _type(media_type: Any) -> str:
    return printable(media_type, _MEDIA_TYPE_LIMIT) if isinstance(media_type, str) else ""


def _child(entry: Mapping[str, Any]) -> Descriptor:
    platform = entry.get("platform")
    if not isinstance(platform, dict):
        return _descriptor(entry, attests=_attests(entry))
    parts = [platform.get("os"), platform.get("architecture"), platform.get("variant")]
    return _descriptor(entry, "/".join(printable(part) for part in parts if part), _attests(entry))


def _attests(entry: Mapping[str, Any]) -> str:
    """The digest of the child that an attestation is about.

    https://docs.docker.com/build/metadata/attestations/attestation-storage/
    """
    notes = entry.get("annotations")
    if not isinstance(notes, dict) or notes.get("vnd.docker.reference.type") != "attestation-manifest":
        return ""
    about = notes.get("vnd.docker.reference.digest")
    return about if isinstance(about, str) and is_digest(about) else ""


def _lives_elsewhere(layer: Mapping[str, Any]) -> bool:
    """Whether a layer may not be redistributed: registries neither hold nor ask for such layers.

    https://github.com/opencontainers/image-spec/blob/main/layer.md#non-distributable-layers
    """
    kind = _type(layer.get("mediaType"))
    return bool(layer.get("urls")) and ("nondistributable" in kind or "foreign" in kind)
