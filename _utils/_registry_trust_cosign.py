"""cosign's signatures by a key: the payloads of ``.sig`` tags, and Sigstore's bundles of version 0.3.

- https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
- https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto
- https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from _registry_trust_evidence import INVALID, UNKNOWN_KEY, UNREADABLE, Opened, Unverified
from _registry_trust_keys import Key, load_public_key
from _registry_trust_payload import strict_json

BUNDLE_TYPES = (
    "application/vnd.dev.sigstore.bundle.v0.3+json",
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
)
STATEMENT_TYPE = "application/vnd.in-toto+json"


@dataclass(frozen=True)
class PublicKey:
    """A key that verifies.

    Args:
        name: in ``signatures:keys``.
        hint: base64 of the SHA-256 of its SubjectPublicKeyInfo, as bundles name it.
        key: of ``cryptography``.
    """

    name: str
    hint: str
    key: Any

    def made(self, signature: bytes, signed: bytes) -> bool:
        """Whether this key has made a signature over these bytes."""
        # As everywhere here: a minion without signed_by needs no cryptography.
        from cryptography.exceptions import InvalidSignature

        for arguments in _ways(self.key):
            try:
                self.key.verify(signature, signed, *arguments)
            except InvalidSignature:
                continue
            return True
        return False


@dataclass(frozen=True)
class Bundle:
    """A Sigstore bundle with a DSSE envelope, read and not yet verified.

    Args:
        payload: the statement.
        signed: what the signature is over.
        signature: its bytes.
        hint: of the key; empty = it says none.
        keyless: it has a certificate in the place of a key.
    """

    payload: bytes
    signed: bytes
    signature: bytes
    hint: str
    keyless: bool


def public_keys(keys: Iterable[Key]) -> list[PublicKey]:
    """Those for cosign, ready to verify.

    Raises:
        BadKey: one is none.
    """
    found = []
    for key in keys:
        for material in key.cosign:
            public = load_public_key(material)
            found.append(PublicKey(key.name, _hint(public), public))
    return found


def open_payload(payload: bytes, signature: str, keys: Iterable[PublicKey]) -> Opened:
    """The payload of a ``.sig`` layer, if one of the keys has signed it.

    Args:
        payload: the layer's bytes.
        signature: its annotation, base64.
        keys: the wanted ones.

    Raises:
        Unverified: none of them has.
    """
    return _opened(payload, payload, _decoded(signature), list(keys))


def open_bundle(bundle: Bundle, keys: Iterable[PublicKey]) -> Opened:
    """The statement of a bundle, if one of the keys has signed it.

    Raises:
        Unverified: none of them has.
    """
    wanted = list(keys)
    named = [key for key in wanted if bundle.hint and key.hint == bundle.hint]
    try:
        return _opened(bundle.payload, bundle.signed, bundle.signature, wanted)
    except Unverified:
        if named:
            names = tuple(sorted({key.name for key in named}))
            raise Unverified(INVALID, "is not what the key signed", key=bundle.hint, names=names) from None
        raise Unverified(UNKNOWN_KEY, "is by a key that is not known", key=bundle.hint) from None


def read_bundle(body: bytes) -> Bundle:
    """A bundle's parts.

    Raises:
        Unverified: it is none, or has no DSSE envelope of one signature over a statement.
    """
    document = _json_object(strict_json(body))
    if document.get("mediaType") not in BUNDLE_TYPES:
        _unreadable("is no Sigstore bundle of version 0.3")
    material = _json_object(document.get("verificationMaterial"))
    envelope = _json_object(document.get("dsseEnvelope"))
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1:
        _unreadable("has not one signature")
    if envelope.get("payloadType") != STATEMENT_TYPE:
        _unreadable("is not over a statement")
    payload = _decoded(envelope.get("payload"))
    public = material.get("publicKey")
    hint = public.get("hint") if isinstance(public, dict) else ""
    return Bundle(
        payload=payload,
        signed=pre_authentication_encoding(STATEMENT_TYPE, payload),
        signature=_decoded(_json_object(signatures[0]).get("sig")),
        hint=hint if isinstance(hint, str) and len(hint) <= 100 and hint.isprintable() else "",
        keyless="publicKey" not in material,
    )


def pre_authentication_encoding(kind: str, payload: bytes) -> bytes:
    """What DSSE signs of a payload and its type."""
    return b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(payload), payload)


def _opened(payload: bytes, signed: bytes, signature: bytes, keys: list[PublicKey]) -> Opened:
    made = [key for key in keys if key.made(signature, signed)]
    if not made:
        # Nothing in such a signature says whose it is.
        raise Unverified(UNKNOWN_KEY, "is by a key that is not known, or is not what the key signed")
    return Opened(tuple(sorted({key.name for key in made})), made[0].hint, payload)


def _ways(key: Any) -> list[tuple[Any, ...]]:
    """The arguments of ``verify`` beside signature and bytes: hashes and padding that cosign uses."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    if isinstance(key, rsa.RSAPublicKey):
        return [(padding.PKCS1v15(), hashes.SHA256())]
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return [()]
    # cosign 2 takes SHA-256 whatever the curve; newer ones the curve's own.
    own = {384: hashes.SHA384(), 521: hashes.SHA512()}.get(key.curve.key_size)
    return [(ec.ECDSA(algorithm),) for algorithm in (hashes.SHA256(), own) if algorithm]


def _hint(key: Any) -> str:
    from cryptography.hazmat.primitives import serialization

    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


def _json_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        _unreadable("is not what a bundle looks like")
    return value


def _decoded(text: Any) -> bytes:
    try:
        if isinstance(text, str):
            return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        pass
    return _unreadable("is no base64")


def _unreadable(why: str) -> NoReturn:
    raise Unverified(UNREADABLE, why)
