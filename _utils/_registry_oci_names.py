"""What registries and images are called: repositories, tags, digests, platforms; no I/O.

The grammar is that of the distribution-spec and the image-spec:

- https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
- https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable

_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
# Those that the image-spec registers and Python's hashlib knows.
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_PLATFORM = re.compile(r"[a-z0-9_.-]+/[a-z0-9_.-]+(?:/[a-z0-9_.-]+)?")


def is_repository(name: str) -> bool:
    """Whether the name is a repository by the distribution-spec's grammar (at most 255 characters)."""
    return len(name) <= 255 and _REPOSITORY.fullmatch(name) is not None


def is_tag(name: str) -> bool:
    """Whether the name is a tag by the distribution-spec's grammar."""
    return _TAG.fullmatch(name) is not None


def is_digest(name: str) -> bool:
    """Whether the name is a digest of an algorithm that can be verified here: sha256 or sha512."""
    return _DIGEST.fullmatch(name) is not None


def is_platform(name: str) -> bool:
    """Whether the name reads ``os/architecture`` or ``os/architecture/variant``."""
    return _PLATFORM.fullmatch(name) is not None


def is_pattern(tag: str) -> bool:
    """Whether the tag asks for every name that matches rather than for one."""
    return any(character in tag for character in "*?[")


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence: what a name that is none may have meant; empty where nothing is near.

    Args:
        name: as it was given.
        known: those that there are.
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {printable(near[0])}?" if near else ""


def hasher(digest: str) -> hashlib._Hash:
    """A fresh hash of a digest's algorithm; its ``hexdigest`` is what stands behind the colon.

    Raises:
        ValueError: it is no digest that can be verified here.
    """
    if not is_digest(digest):
        raise ValueError(f"{printable(digest)!r} is no sha256 or sha512 digest")
    return hashlib.new(algorithm_of(digest))


def algorithm_of(digest: str) -> str:
    """What stands before the colon of a digest."""
    return digest.partition(":")[0]


def digest_of(body: bytes, algorithm: str = "sha256") -> str:
    """The digest of the bytes, as registries write it."""
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"


def matches(body: bytes, digest: str) -> bool:
    """Whether the bytes are those that a digest names; never for what is no digest."""
    return is_digest(digest) and digest_of(body, algorithm_of(digest)) == digest


def printable(text: object, limit: int = 100) -> str:
    """Somebody else's string as it may stand in a message.

    Args:
        text: whatever was sent; what is no string is written as Python writes it.
        limit: characters at most; what is longer ends in ``…``.

    Returns:
        Printable characters alone: control characters, those that turn the direction of writing, and
        lone surrogates, which no encoder takes, are question marks.
    """
    whole = str(text)
    shown = whole if len(whole) <= limit else whole[: limit - 1] + "…"
    # As nearly all of the many that a registry has are.
    if shown.isprintable():
        return shown
    return "".join(character if character.isprintable() else "?" for character in shown)
