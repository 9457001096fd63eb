"""Keyless signatures: bundles whose certificate says who has signed, verified by the Python package sigstore.

It is asked for nothing but a verdict, and reaches no network: Fulcio's and Rekor's keys are in the trusted
root that the pillar names. https://sigstore.github.io/sigstore-python/api/verify/verifier/
"""

from __future__ import annotations

from typing import Any

from _registry_oci_errors import RegistryError
from _registry_trust_cosign import STATEMENT_TYPE
from _registry_trust_evidence import INVALID, UNKNOWN_KEY, UNREADABLE, Opened, Unverified
from _registry_trust_keys import BadKey, Key


class Keyless:
    """An entry of ``signatures:keys`` that names an identity.

    Args:
        key: with ``issuer``, ``identity`` and ``trusted_root``.

    Raises:
        BadKey: the trusted root is none.
        RegistryError: the package sigstore is not installed.
    """

    def __init__(self, key: Key) -> None:
        self._key = key
        self._sigstore = _Sigstore(key.name)
        self._verifier = self._sigstore.verifier(key)

    def open(self, body: bytes) -> Opened:
        """The statement of a bundle that this identity has signed.

        Raises:
            Unverified: it has not, or the bundle cannot be read.
        """
        try:
            bundle = self._sigstore.bundle(body)
        except Exception:  # noqa: BLE001 - whatever it is, the bundle is somebody else's
            raise Unverified(UNREADABLE, "is no bundle that the package sigstore can read") from None
        wanted = self._sigstore.identity(self._key)
        try:
            kind, payload = self._verifier.verify_dsse(bundle, wanted)
        except Exception:  # noqa: BLE001 - it may be made to raise anything
            raise Unverified(UNKNOWN_KEY, f"is not by {self._key.identity}") from None
        if kind != STATEMENT_TYPE:
            raise Unverified(INVALID, "is not over a statement")
        return Opened((self._key.name,), self._key.identity, bytes(payload))


class _Sigstore:
    """The package, which few minions have."""

    def __init__(self, name: str) -> None:
        try:
            from sigstore import models
            from sigstore.verify import Verifier, policy
        except ImportError:
            raise RegistryError(
                f"the Python package sigstore is not installed, and signatures:keys:{name} is keyless"
            ) from None
        self._models: Any = models
        self._verifier: Any = Verifier
        self._policy: Any = policy

    def verifier(self, key: Key) -> Any:
        try:
            root = self._models.TrustedRoot.from_file(key.trusted_root)
        except Exception:  # noqa: BLE001 - whatever it is, the file is not what it should be
            raise BadKey(
                f"docker_registry:signatures:keys:{key.name}:keyless:trusted_root: "
                f"{key.trusted_root} is no trusted root of Sigstore"
            ) from None
        return self._verifier(trusted_root=root)

    def bundle(self, body: bytes) -> Any:
        return self._models.Bundle.from_json(body)

    def identity(self, key: Key) -> Any:
        return self._policy.Identity(identity=key.identity, issuer=key.issuer)
