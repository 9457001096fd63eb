"""A Sigstore of one's own: Fulcio's authority, its log of certificates and Rekor, with keys made on the spot.

It signs as ``cosign sign`` does without a key: a certificate of some minutes that names who asked for it, a
bundle of version 0.3, and an entry of a log that has just this one.

- https://github.com/sigstore/fulcio/blob/main/docs/certificate-specification.md
- https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto
- https://www.rfc-editor.org/rfc/rfc6962#section-3.2
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import struct
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from support.made_signatures import BUNDLE_TYPE, STATEMENT_TYPE

ISSUER = "https://accounts.example.com"
IDENTITY = "builder@example.com"
ROOT_TYPE = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
_ISSUER_OLD = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_LOGGED = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_NAME = "rekor.example.com"
_SINCE = {"start": "2020-01-01T00:00:00Z"}


class PrivateSigstore:
    """All that vouches for a keyless signature."""

    def __init__(self) -> None:
        self._fulcio, self._certificates, self._rekor = (
            ec.generate_private_key(ec.SECP256R1()) for _ in range(3)
        )
        self._now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        self._authority = self._make_authority()

    def trusted_root(self) -> str:
        """Return the file that verifiers are given."""
        authority = {
            "subject": {"organization": "example.com", "commonName": "fulcio"},
            "uri": "https://fulcio.example.com",
            "certChain": {"certificates": [{"rawBytes": _text(_der(self._authority))}]},
            "validFor": _SINCE,
        }
        return json.dumps(
            {
                "mediaType": ROOT_TYPE,
                "tlogs": [_log(f"https://{_NAME}", self._rekor)],
                "certificateAuthorities": [authority],
                "ctlogs": [_log("https://ct.example.com", self._certificates)],
                "timestampAuthorities": [],
            }
        )

    def bundle(self, payload: bytes, identity: str = IDENTITY, issuer: str = ISSUER) -> dict[str, Any]:
        """Return a statement that somebody has signed who could prove to be that to an issuer."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certify(key, identity, issuer)
        encoded = b"DSSEv1 %d %s %d %s" % (
            len(STATEMENT_TYPE),
            STATEMENT_TYPE.encode(),
            len(payload),
            payload,
        )
        signature = _text(key.sign(encoded, ec.ECDSA(hashes.SHA256())))
        envelope = {
            "payload": _text(payload),
            "payloadType": STATEMENT_TYPE,
            "signatures": [{"sig": signature}],
        }
        entry = self._entry(payload, envelope, signature, certificate)
        material = {"certificate": {"rawBytes": _text(_der(certificate))}, "tlogEntries": [entry]}
        return {"mediaType": BUNDLE_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}

    def _make_authority(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fulcio")])
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._fulcio.public_key())
        begins = self._now - datetime.timedelta(days=1)
        builder = x509.CertificateBuilder(name, name, self._fulcio.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(begins).not_valid_after(begins + datetime.timedelta(days=3650))
        builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
        builder = builder.add_extension(usage, critical=True).add_extension(identifier, critical=False)
        return builder.sign(self._fulcio, hashes.SHA256())

    def _certify(self, key: ec.EllipticCurvePrivateKey, identity: str, issuer: str) -> x509.Certificate:
        """Return a certificate that its log has seen before."""
        builder = self._draft(key, identity, issuer)
        seen = self._seen(builder.sign(self._fulcio, hashes.SHA256()))
        return builder.add_extension(seen, critical=False).sign(self._fulcio, hashes.SHA256())

    def _draft(self, key: ec.EllipticCurvePrivateKey, identity: str, issuer: str) -> x509.CertificateBuilder:
        is_address = identity.startswith("https://")
        who = x509.UniformResourceIdentifier(identity) if is_address else x509.RFC822Name(identity)
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        signs = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._fulcio.public_key())
        text = issuer.encode()
        builder = x509.CertificateBuilder(
            self._authority.subject, x509.Name([]), key.public_key(), x509.random_serial_number()
        )
        builder = builder.not_valid_before(self._now - datetime.timedelta(minutes=5))
        builder = builder.not_valid_after(self._now + datetime.timedelta(minutes=5))
        builder = builder.add_extension(usage, critical=True).add_extension(signs, critical=False)
        builder = builder.add_extension(authority, critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName([who]), critical=True)
        builder = builder.add_extension(x509.UnrecognizedExtension(_ISSUER_OLD, text), critical=False)
        as_der = bytes([0x0C, len(text)]) + text
        return builder.add_extension(x509.UnrecognizedExtension(_ISSUER, as_der), critical=False)

    def _seen(self, draft: x509.Certificate) -> x509.UnrecognizedExtension:
        """Return what the log of certificates says that it has seen."""
        body, stamp = draft.tbs_certificate_bytes, int(self._now.timestamp() * 1000)
        entry = hashlib.sha256(_spki(self._fulcio)).digest() + len(body).to_bytes(3, "big") + body
        signed = struct.pack("!BBQH", 0, 0, stamp, 1) + entry + struct.pack("!H", 0)
        signature = self._certificates.sign(signed, ec.ECDSA(hashes.SHA256()))
        proof = struct.pack("!B32sQH", 0, _id(self._certificates), stamp, 0)
        proof += struct.pack("!BBH", 4, 3, len(signature)) + signature
        listed = struct.pack("!HH", len(proof) + 2, len(proof)) + proof
        return x509.UnrecognizedExtension(_LOGGED, bytes([0x04, len(listed)]) + listed)

    def _entry(
        self, payload: bytes, envelope: dict[str, Any], signature: str, certificate: x509.Certificate
    ) -> dict[str, Any]:
        """Return the entry of a log that has no other."""
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        spec = {
            "envelopeHash": _sha256(_canonical(envelope)),
            "payloadHash": _sha256(payload),
            "signatures": [{"signature": signature, "verifier": _text(pem)}],
        }
        body = _canonical({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
        root = hashlib.sha256(b"\0" + body).digest()
        moment = int(self._now.timestamp())
        promise = {
            "body": _text(body),
            "integratedTime": moment,
            "logID": _id(self._rekor).hex(),
            "logIndex": 0,
        }
        return {
            "logIndex": "0",
            "logId": {"keyId": _text(_id(self._rekor))},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(moment),
            "inclusionPromise": {"signedEntryTimestamp": _text(self._logged(_canonical(promise)))},
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": _text(root),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": self._checkpoint(root)},
            },
            "canonicalizedBody": _text(body),
        }

    def _checkpoint(self, root: bytes) -> str:
        """Return what the log says of itself: https://github.com/transparency-dev/formats."""
        note = f"{_NAME} - 1\n1\n{_text(root)}\n"
        signature = _text(_id(self._rekor)[:4] + self._logged(note.encode()))
        return f"{note}\n\N{EM DASH} {_NAME} {signature}\n"

    def _logged(self, body: bytes) -> bytes:
        return self._rekor.sign(body, ec.ECDSA(hashes.SHA256()))


def _log(url: str, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    public = {
        "rawBytes": _text(_spki(key)),
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "validFor": _SINCE,
    }
    return {
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": public,
        "logId": {"keyId": _text(_id(key))},
    }


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.DER, form)


def _id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(_spki(key)).digest()


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _sha256(body: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(body).hexdigest()}


def _canonical(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _text(body: bytes) -> str:
    return base64.b64encode(body).decode()
