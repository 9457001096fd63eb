"""What registries and images are called: repositories, tags, digests, platforms; no I/O.

The grammar is that of the distribution-spec and the image-spec:

- https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
- https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests
"""

from __future__ import annotations

import hashlib
import re

_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PLATFORM = re.compile(r"[a-z0-9_.-]+/[a-z0-9_.-]+(?:/[a-z0-9_.-]+)?")


def is_repository(name: str) -> bool:
    """Whether the name is a repository by the distribution-spec's grammar (at most 255 characters)."""
    return len(name) <= 255 and _REPOSITORY.fullmatch(name) is not None


def is_tag(name: str) -> bool:
    """Whether the name is a tag by the distribution-spec's grammar."""
    return _TAG.fullmatch(name) is not None


def is_digest(name: str) -> bool:
    """Whether the name is a sha256 digest, the one algorithm that every registry knows."""
    return _DIGEST.fullmatch(name) is not None


def is_platform(name: str) -> bool:
    """Whether the name reads ``os/architecture`` or ``os/architecture/variant``."""
    return _PLATFORM.fullmatch(name) is not None


def is_pattern(tag: str) -> bool:
    """Whether the tag asks for every name that matches rather than for one."""
    return any(character in tag for character in "*?[")


def digest_of(body: bytes) -> str:
    """The sha256 digest of the bytes, as registries write it."""
    return "sha256:" + hashlib.sha256(body).hexdigest()


def hasher(digest: str) -> hashlib._Hash:
    """What hashes content that a digest names."""
    return hashlib.new(digest.partition(":")[0])


def matches(body: bytes, digest: str) -> bool:
    """Whether bytes hash to a digest."""
    hashed = hasher(digest)
    hashed.update(body)
    return hashed.hexdigest() == digest.partition(":")[2]
