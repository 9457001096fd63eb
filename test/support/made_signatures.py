"""Keys made on the spot, and signatures by them in the forms that containers/image and cosign write."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from support.hostile import artifact, with_manifest
from support.images import OCI_CONFIG, Bytes, Image, oci_index
from support.registry_content import push

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIMPLE_SIGNING_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
STATEMENT_TYPE = "application/vnd.in-toto+json"
SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"


class Gpg:
    """A home of gpg with secret keys, made by the program itself.

    Args:
        home: an empty directory.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(mode=0o700, parents=True, exist_ok=True)

    def run(self, *arguments: str, data: bytes = b"") -> bytes:
        """Run gpg, asking nobody for a passphrase."""
        command = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "", *arguments]
        environment = {**os.environ, "GNUPGHOME": str(self.home)}
        done = subprocess.run(command, input=data, env=environment, capture_output=True, check=False)
        if done.returncode:
            raise AssertionError(done.stderr.decode())
        return done.stdout

    def make_key(self, name: str, *options: str, expires: str = "never") -> str:
        """Make a key that signs; its fingerprint."""
        self.run(*options, "--quick-gen-key", name, "ed25519", "sign", expires)
        listed = self.run("--with-colons", "--list-keys", f"={name}").decode().splitlines()
        return next(line.split(":")[9] for line in listed if line.startswith("fpr:"))

    def public(self, name: str, *options: str) -> str:
        """The public key as text."""
        return self.run("--armor", *options, "--export", f"={name}").decode()

    def sign(self, payload: bytes, *names: str, options: tuple[str, ...] = ()) -> bytes:
        """A signed message, as containers/image has it."""
        users = [word for name in names for word in ("--local-user", f"={name}")]
        return self.run(*options, *users, "--output", "-", "--sign", "-", data=payload)

    def close(self) -> None:
        """End the agent that gpg has started for this home."""
        environment = {**os.environ, "GNUPGHOME": str(self.home)}
        subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False)


def simple_payload(
    digest: str,
    reference: str,
    kind: str = "atomic container signature",
    **optional: Any,
) -> bytes:
    """What containers/image signs of an image, or with another type what cosign does."""
    document = {
        "critical": {
            "identity": {"docker-reference": reference},
            "image": {"docker-manifest-digest": digest},
            "type": kind,
        },
        "optional": optional or None,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def cosign_payload(digest: str, repository: str) -> bytes:
    """What cosign 2 signs of an image."""
    return simple_payload(digest, repository, "cosign container image signature")


def statement(digest: str, predicate: str = SIGN_PREDICATE) -> bytes:
    """What cosign 3 signs of an image."""
    algorithm, _, value = digest.partition(":")
    document = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {algorithm: value}}],
        "predicateType": predicate,
        "predicate": {},
    }
    return json.dumps(document, separators=(",", ":")).encode()


def make_key(kind: str = "P-256") -> Any:
    """A private key of a kind that cosign signs with."""
    if kind == "RSA":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key({"P-256": ec.SECP256R1, "P-384": ec.SECP384R1}[kind]())


def public_pem(key: Any) -> str:
    """The public half in PEM, as ``cosign.pub`` has it."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(serialization.Encoding.PEM, form).decode())


def raw_signature(key: Any, signed: bytes) -> bytes:
    """A signature as cosign makes it with a key of this kind."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(signed)
    return bytes(key.sign(signed, ec.ECDSA(hashes.SHA256())))


def signature(key: Any, payload: bytes) -> str:
    """The annotation of a ``.sig`` layer."""
    return base64.b64encode(raw_signature(key, payload)).decode()


def bundle(key: Any, payload: bytes, **changes: Any) -> bytes:
    """A bundle as cosign 3 writes it without a transparency log."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    der = key.public_key().public_bytes(serialization.Encoding.DER, form)
    encoded = b"DSSEv1 %d %s %d %s" % (len(STATEMENT_TYPE), STATEMENT_TYPE.encode(), len(payload), payload)
    document = {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {
            "publicKey": {"hint": base64.b64encode(hashlib.sha256(der).digest()).decode()}
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": STATEMENT_TYPE,
            "signatures": [{"sig": base64.b64encode(raw_signature(key, encoded)).decode()}],
        },
        **changes,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def sig_manifest(*signatures: tuple[bytes, str]) -> Image:
    """What cosign 2 puts under the tag ``sha256-….sig``: a layer for each payload and its signature."""
    layers = [(SIMPLE_SIGNING_TYPE, Bytes(payload)) for payload, _ in signatures]
    made = artifact(Bytes(b'{"architecture":"","rootfs":{"type":"layers"}}'), OCI_CONFIG, layers)
    described = json.loads(made.manifest)["layers"]
    for layer, (_, text) in zip(described, signatures, strict=True):
        layer["annotations"] = {"dev.cosignproject.cosign/signature": text}
    return with_manifest(made, layers=described)


def push_sig(url: str, repository: str, subject: str, *signatures: tuple[bytes, str]) -> str:
    """Attach signatures to a digest as cosign 2 does; the digest of what was attached."""
    return push(url, repository, subject.replace(":", "-") + ".sig", sig_manifest(*signatures))


def push_bundle(url: str, repository: str, image: Image, body: bytes, *, about: Image | None = None) -> str:
    """Attach a bundle to an image as cosign 3 does where a registry has no referrers API.

    `about` is what the attached manifest says itself to be about, if that is something else.
    """
    subject = about or image
    attached = artifact(
        Bytes(b"{}"),
        "application/vnd.oci.empty.v1+json",
        [(BUNDLE_TYPE, Bytes(body))],
        artifactType=BUNDLE_TYPE,
        subject={"mediaType": subject.media_type, "digest": subject.digest, "size": len(subject.manifest)},
    )
    index = oci_index([attached])
    return push(url, repository, image.digest.replace(":", "-"), index)
