"""Signatures as they were found, and what came of looking at them: values, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field

# How a signature is written: OpenPGP messages, cosign's ``.sig`` tags, bundles of Sigstore.
SIMPLE = "simple"
COSIGN = "cosign"
BUNDLE = "bundle"
# Found and told, never verified here.
NOTATION = "notation"

# What became of one.
VALID = "valid"
UNKNOWN_KEY = "unknown key"
INVALID = "invalid"
UNREADABLE = "unreadable here"


@dataclass(frozen=True)
class Evidence:
    """One signature as it was found; nothing in it is trusted.

    Args:
        kind: ``simple``, ``cosign``, ``bundle`` or ``notation``.
        subject: digest of the manifest that it was found for.
        body: what was signed and, but for cosign's ``.sig``, the signature around it.
        signature: of a ``.sig`` layer, the annotation with the signature, in base64.
    """

    kind: str
    subject: str
    body: bytes = field(repr=False)
    signature: str = field(default="", repr=False)


@dataclass(frozen=True)
class Claim:
    """What a signed payload says.

    Args:
        digests: of the manifests that it is about.
        identity: the name of the image, with or without a tag; empty = it says none.
        time: seconds since 1970 when it says that it was made; 0 = untold.
    """

    digests: tuple[str, ...]
    identity: str = ""
    time: int = 0


@dataclass(frozen=True)
class Opened:
    """A signature that one or more known keys have made.

    Args:
        names: of these keys in ``signatures:keys``.
        key: fingerprint, or whatever names the key best.
        payload: what was signed; to be read only now.
        time: seconds since 1970, as the signature says; 0 = untold.
    """

    names: tuple[str, ...]
    key: str
    payload: bytes = field(repr=False)
    time: int = 0


@dataclass(frozen=True)
class Finding:
    """What came of a signature.

    Args:
        kind: as of the evidence.
        verdict: ``valid``, ``unknown key``, ``invalid`` or ``unreadable here``.
        names: of the keys that have made it.
        key: fingerprint or identifier of the key, as far as it is known.
        identity: the image that it is for; empty = it names none, or was not verified.
        time: seconds since 1970; 0 = untold.
        fits: it is valid and is for this very image.
        reason: what is wrong, in a few words; empty where it fits.
    """

    kind: str
    verdict: str
    names: tuple[str, ...] = ()
    key: str = ""
    identity: str = ""
    time: int = 0
    fits: bool = False
    reason: str = ""


class Unverified(Exception):
    """A signature that no known key has made, as far as can be told here.

    Args:
        verdict: ``unknown key``, ``invalid`` or ``unreadable here``.
        reason: a few words.
        key: of whoever made it, as far as it says.
        names: of the known key that it says to be of.
    """

    def __init__(self, verdict: str, reason: str, *, key: str = "", names: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.verdict = verdict
        self.key = key
        self.names = names
