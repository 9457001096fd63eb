"""What signed payloads say: simple signing's JSON, and in-toto statements. Read once a key has signed them.

- https://github.com/containers/image/blob/main/docs/containers-signature.5.md
- https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
- https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md

Members that are unknown or stand twice are refused: two readers could take them for two things.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from _registry_oci_names import is_digest, printable
from _registry_trust_evidence import BUNDLE, COSIGN, INVALID, SIMPLE, Claim, Unverified

TYPES = {SIMPLE: "atomic container signature", COSIGN: "cosign container image signature"}
STATEMENTS = ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1")
SIGNATURE_PREDICATE = "https://sigstore.dev/cosign/sign/v1"


def strict_json(body: bytes) -> Any:
    """JSON in UTF-8 whose objects have each member once.

    Raises:
        Unverified: it is something else.
    """
    try:
        return json.loads(body.decode(), object_pairs_hook=_once_each, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return _refuse("is no JSON")


def claim_of(kind: str, payload: bytes) -> Claim:
    """What a payload says that a known key has signed.

    Args:
        kind: of the signature.
        payload: the bytes that were signed.

    Raises:
        Unverified: it is no payload of that kind, or is about something else than an image.
    """
    document = strict_json(payload)
    return _statement(document) if kind == BUNDLE else _simple_signing(document, TYPES[kind])


def split_reference(reference: str) -> tuple[str, str]:
    """Repository, and tag or nothing, of an image's full name; Docker Hub has one name of its three.

    Args:
        reference: ``host/repository``, with ``:tag`` and ``@digest`` or without.
    """
    name = reference.partition("@")[0]
    path, _, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    host, _, rest = f"{path}/{last}".partition("/")
    if host in ("index.docker.io", "registry-1.docker.io"):
        host = "docker.io"
    return f"{host}/{rest}", tag


def _simple_signing(document: Any, kind: str) -> Claim:
    critical, optional = _members(document, "critical", "optional")
    identity, image, said = _members(critical, "identity", "image", "type")
    (reference,) = _members(identity, "docker-reference")
    (digest,) = _members(image, "docker-manifest-digest")
    if said != kind:
        _refuse(f"is no {kind}")
    if not isinstance(reference, str) or not isinstance(digest, str) or not is_digest(digest):
        _refuse("names no image")
    made = optional.get("timestamp", 0) if isinstance(optional, dict) else 0
    known = isinstance(made, int) and not isinstance(made, bool) and 0 <= made < 2**53
    return Claim((digest,), reference, made if known else 0)


def _members(document: Any, *names: str) -> list[Any]:
    """The members of an object that has these and no others."""
    if not isinstance(document, dict):
        _refuse("is not what a signature's payload looks like")
    for name in (*names, *document):
        if name not in document:
            _refuse(f"has no {name}")
        if name not in names:
            _refuse(f"has a member {printable(name)!r} that is not known")
    return [document[name] for name in names]


def _statement(document: Any) -> Claim:
    if not isinstance(document, dict) or document.get("_type") not in STATEMENTS:
        _refuse("is no in-toto statement")
    if document.get("predicateType") != SIGNATURE_PREDICATE:
        _refuse(f"attests {printable(document.get('predicateType'))} and signs no image")
    subjects = document.get("subject")
    if not isinstance(subjects, list) or not all(isinstance(subject, dict) for subject in subjects):
        _refuse("names no image")
    return Claim(tuple(digest for subject in subjects for digest in _digests(subject.get("digest"))))


def _digests(digests: Any) -> list[str]:
    if not isinstance(digests, dict):
        _refuse("names no image")
    found = (f"{algorithm}:{value}" for algorithm, value in digests.items() if isinstance(value, str))
    return [digest for digest in found if is_digest(digest)]


def _once_each(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _refuse(why: str) -> NoReturn:
    raise Unverified(INVALID, f"what the key signed {why}")
