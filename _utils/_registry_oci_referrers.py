"""What is attached to a manifest, and the names by which registries keep it; no I/O.

Signatures, attestations and SBOMs are manifests of their own. They name what they are about in ``subject``
and are found by the referrers API, or by an index under a tag made of the subject's digest where a
registry has no such API; or, as cosign did it before, they stand under a tag that says all:

- https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
- https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema
- https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from _registry_oci_manifest import OCI_INDEX, Descriptor, Manifest, ManifestError, read_manifest
from _registry_oci_names import is_tag

COSIGN_SUFFIXES = (".sig", ".att", ".sbom")
_ATTACHED = re.compile(r"(sha(?:256|512)-[0-9a-f]{64,128})(\.[A-Za-z0-9._-]+)?")
# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema
_ALGORITHM_LIMIT = 32
_HASH_LIMIT = 64


@dataclass(slots=True)
class Attachment:
    """A manifest that is attached to another one upstream.

    Args:
        subject: digest of the manifest that it is about.
        descriptor: of it, as upstream has it; a size of 0 and no media type where that is not known yet.
        tag: under which it stands on both sides, as cosign's ``.sig``; empty = it is a referrer.
        manifest: of it; None until it was read.
        is_here: the target has it under this subject.
        skipped: the pillar leaves it out, or it cannot be mirrored.
    """

    subject: str
    descriptor: Descriptor
    tag: str = ""
    manifest: Manifest | None = None
    is_here: bool = False
    skipped: bool = False

    @property
    def lacking(self) -> bool:
        """Whether it is to be brought."""
        return not self.is_here and not self.skipped


def fallback_tag(digest: str) -> str:
    """The tag of the index that lists a digest's referrers where a registry has no API for it."""
    algorithm, _, value = digest.partition(":")
    name = f"{algorithm[:_ALGORITHM_LIMIT]}-{value[:_HASH_LIMIT]}"
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)


def cosign_tags(digest: str) -> list[str]:
    """The tags under which cosign 2 keeps what is attached to a digest; none for what has too long a one."""
    stem = digest.replace(":", "-", 1)
    return [name for name in (stem + suffix for suffix in COSIGN_SUFFIXES) if is_tag(name)]


def is_attachment_tag(name: str) -> bool:
    """Whether a tag is one under which something is attached to a digest, or which lists what is."""
    return _ATTACHED.fullmatch(name) is not None


def tags_of(digest: str, names: Iterable[str]) -> list[str]:
    """Of the names those under which something is attached to a digest, its fallback tag not among them."""
    stem = digest.replace(":", "-", 1) + "."
    return sorted(name for name in names if name.startswith(stem) and is_attachment_tag(name))


def stems_of(digests: Iterable[str]) -> set[str]:
    """What the tags begin with, up to their first dot, under which something is attached to digests."""
    return {stem for digest in digests for stem in (fallback_tag(digest), digest.replace(":", "-", 1))}


def stem_of(tag: str) -> str:
    """What a tag begins with, up to its first dot."""
    return tag.partition(".")[0]


def referrer(manifest: Manifest) -> dict[str, Any]:
    """The descriptor by which a list of referrers names a manifest, made of the manifest alone.

    https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
    """
    document = json.loads(manifest.body)
    described: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": len(manifest.body),
    }
    kind = document.get("artifactType")
    config = document.get("config")
    if not kind and isinstance(config, dict):
        kind = config.get("mediaType")
    if isinstance(kind, str) and kind:
        described["artifactType"] = kind
    notes = document.get("annotations")
    if isinstance(notes, dict) and notes:
        described["annotations"] = {key: notes[key] for key in sorted(notes)}
    return described


def fallback_index(manifests: Iterable[Manifest], others: Iterable[Any] = ()) -> Manifest:
    """The index for a fallback tag: sorted by digest, and of the same bytes whenever it is made.

    Args:
        manifests: what refers to one subject.
        others: descriptors that another client has put there, and that stay as they are.
    """
    listed = {entry["digest"]: entry for entry in others}
    listed.update((manifest.digest, referrer(manifest)) for manifest in manifests)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [listed[digest] for digest in sorted(listed)],
    }
    return read_manifest(json.dumps(document, separators=(",", ":")).encode(), OCI_INDEX)


def listed_referrers(answer: Manifest, subject: str) -> list[Descriptor] | None:
    """What an index under a fallback tag says to be referrers, which each one's manifest must prove.

    Args:
        answer: what stands under the tag.
        subject: the digest that the tag is made of.

    Returns:
        Descriptors, or None where this is no such list: ``cosign copy`` puts the image itself there, and
        some registries answer the subject.
    """
    if answer.digest == subject or answer.media_type != OCI_INDEX:
        return None
    return list(answer.children)


def entries_of(index: Manifest) -> dict[str, Any]:
    """Of an index by digest what it says of each manifest, with all annotations."""
    return {entry["digest"]: entry for entry in json.loads(index.body).get("manifests") or ()}


def refers_to(manifest: Manifest, subject: str) -> bool:
    """Whether a manifest says itself that it is about a digest."""
    return manifest.subject is not None and manifest.subject.digest == subject


def read_list(body: bytes) -> list[Descriptor]:
    """The descriptors in an answer of the referrers API.

    Raises:
        ManifestError: it is no index.
    """
    answer = read_manifest(body, OCI_INDEX)
    if not answer.is_index:
        raise ManifestError("the list of referrers is no index")
    return list(answer.children)


def layers_of(manifest: Manifest) -> frozenset[str]:
    """The layers of what stands under one of cosign's tags, as they are described: each is a signature."""
    return frozenset(json.dumps(layer, sort_keys=True) for layer in _layers(manifest))


def with_layers_of(manifest: Manifest, other: Manifest) -> Manifest:
    """A manifest with the layers behind its own that only another has, as cosign adds a signature to others.

    Args:
        manifest: as upstream has it; its bytes stay where the other has nothing more.
        other: as it is here.
    """
    own = layers_of(manifest)
    more = [layer for layer in _layers(other) if json.dumps(layer, sort_keys=True) not in own]
    if not more or manifest.is_index or other.is_index:
        return manifest
    document = json.loads(manifest.body)
    document["layers"] = [*document.get("layers", ()), *more]
    return read_manifest(json.dumps(document, separators=(",", ":")).encode(), manifest.media_type)


def _layers(manifest: Manifest) -> list[Any]:
    layers = json.loads(manifest.body).get("layers")
    return layers if isinstance(layers, list) else []
