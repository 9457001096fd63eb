"""The keys of ``signatures:keys``, read from the minion's files or the pillar's own text, and checked."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _registry_config_validators import SettingsError
from _registry_config_values import SigningKey

# Red Hat's file of all its keys has 20 kB.
KEY_LIMIT = 1024 * 1024
# First bytes of an OpenPGP public or secret key, in the old and the new format: RFC 9580, section 4.2.
_PUBLIC_PACKETS = (0x98, 0x99, 0x9A, 0xC6)
_SECRET_PACKETS = (0x94, 0x95, 0x96, 0xC5)
_ARMORED = re.compile(rb"-----BEGIN PGP PUBLIC KEY BLOCK-----(.*?)(?:-----END |\Z)", re.DOTALL)
_BEGIN_OF_PEM = re.compile(rb"(?=-----BEGIN (?:RSA )?PUBLIC KEY-----)")


class BadKey(SettingsError):
    """What ``signatures:keys`` names is no key that can verify anything."""


@dataclass(frozen=True)
class Material:
    """A key's bytes, and where they are from.

    Args:
        key: the pillar's key, for messages.
        told: the path, or ``the text`` of the pillar.
        body: the bytes.
    """

    key: str
    told: str
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Key:
    """An entry of ``signatures:keys``, read.

    Args:
        name: its name there.
        gpg: files of OpenPGP keys.
        cosign: public keys, PEM.
        issuer: of keyless signatures, who vouched for the signer; empty = none are taken.
        identity: who the signer is.
        trusted_root: path of the keys of Fulcio and Rekor, JSON; empty = there is no identity.
    """

    name: str
    gpg: tuple[Material, ...] = ()
    cosign: tuple[Material, ...] = ()
    issuer: str = ""
    identity: str = ""
    trusted_root: str = ""

    @property
    def identifier(self) -> str:
        """What tells it from every other key: of its name, its bytes and its identity."""
        bodies = [material.body for material in (*self.gpg, *self.cosign)]
        words = [
            self.name,
            self.issuer,
            self.identity,
            *(hashlib.sha256(body).hexdigest() for body in bodies),
        ]
        return " ".join(words)


def read_keys(entries: Mapping[str, SigningKey], names: Iterable[str]) -> dict[str, Key]:
    """Read the keys of some names.

    Args:
        entries: ``signatures:keys``.
        names: those that are needed.

    Raises:
        BadKey: one sentence that begins with the pillar's key.
    """
    return {name: _read(name, entries[name]) for name in dict.fromkeys(names)}


def load_public_key(material: Material) -> Any:
    """A key of ``cryptography`` out of PEM.

    Raises:
        BadKey: it is none, or of a kind that cosign does not sign with.
    """
    try:
        # A minion without signed_by needs none of it.
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError:
        raise BadKey(f"{material.key}: the Python package cryptography is not installed") from None
    try:
        key = load_pem_public_key(material.body)
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey(f"{material.key}: {material.told} holds no public key in PEM") from None
    if not isinstance(key, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey, ed25519.Ed25519PublicKey)):
        raise BadKey(f"{material.key}: {material.told} holds a key of a kind that cosign does not sign with")
    return key


def pem_keys(body: bytes) -> list[bytes]:
    """A PEM text as one text for each public key in it; one without any as it is."""
    _, *keys = _BEGIN_OF_PEM.split(body)
    return keys if len(keys) > 1 else [body]


def openpgp_packets(body: bytes) -> bytes:
    """All OpenPGP keys of a file, armored or binary, as bytes that can be joined to those of another.

    Returns:
        The keys; empty where there is none.
    """
    blocks = _ARMORED.findall(body)
    if not blocks:
        return body if body[:1] and body[0] in _PUBLIC_PACKETS else b""
    try:
        return b"".join(map(_dearmored, blocks))
    except ValueError:
        return b""


def _dearmored(block: bytes) -> bytes:
    """Only headers have a colon, and only the checksum begins with an equals sign: RFC 9580, section 6.2."""
    lines = [line.strip() for line in block.splitlines()]
    encoded = b"".join(line for line in lines if b":" not in line and not line.startswith(b"="))
    return base64.b64decode(encoded, validate=True)


def _read(name: str, entry: SigningKey) -> Key:
    gpg = tuple(_material(text, f"{entry.key}:gpg") for text in entry.gpg)
    cosign = tuple(
        each for text in entry.cosign for each in _told_apart(_material(text, f"{entry.key}:cosign"))
    )
    for material in gpg:
        _refuse_what_is_no_openpgp_key(material)
    for material in cosign:
        load_public_key(material)
    return Key(name, gpg, cosign, entry.issuer, entry.identity, entry.trusted_root)


def _material(text: str, key: str) -> Material:
    told = text if text.startswith("/") else "the text"
    body = _read_file(text, key) if text.startswith("/") else text.encode()
    if b" PRIVATE KEY" in body or (body[:1] and body[0] in _SECRET_PACKETS):
        raise BadKey(f"{key}: {told} is a private key; give the public one")
    return Material(key, told, body)


def _told_apart(material: Material) -> list[Material]:
    """PEM of several keys, each of which would do."""
    keys = pem_keys(material.body)
    if len(keys) == 1:
        return [material]
    return [
        Material(material.key, f"key {number} of {material.told}", key) for number, key in enumerate(keys, 1)
    ]


def _read_file(path: str, key: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            body = file.read(KEY_LIMIT + 1)
    except OSError as failure:
        raise BadKey(f"{key}: {path} cannot be read: {failure.strerror}") from None
    if len(body) > KEY_LIMIT:
        raise BadKey(f"{key}: {path} is larger than any key")
    return body


def _refuse_what_is_no_openpgp_key(material: Material) -> None:
    body = material.body
    armored = b"-----BEGIN PGP PUBLIC KEY BLOCK-----" in body
    if not armored and not (body[:1] and body[0] in _PUBLIC_PACKETS):
        raise BadKey(f"{material.key}: {material.told} holds no OpenPGP key")
