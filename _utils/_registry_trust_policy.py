"""Whether an image is signed as the image list wants it: what was found is judged; no I/O but gpg's.

A signature is verified before anything in it is read, and then must be for this very image: by its digest,
and where it has a name by that, which is upstream's. Bundles have none. An image is signed if its own
manifest is, or each child of it that can be run.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from _registry_config_validators import SettingsError
from _registry_oci_errors import RegistryError
from _registry_oci_names import printable
from _registry_trust_cosign import PublicKey, open_bundle, open_payload, public_keys, read_bundle
from _registry_trust_evidence import (
    BUNDLE,
    COSIGN,
    INVALID,
    SIMPLE,
    UNKNOWN_KEY,
    UNREADABLE,
    VALID,
    Claim,
    Evidence,
    Finding,
    Opened,
    Unverified,
)
from _registry_trust_gpg import GpgHome
from _registry_trust_keyless import Keyless
from _registry_trust_keys import Key
from _registry_trust_payload import claim_of, split_reference

# Keys that a sentence names.
KEYS_SHOWN = 3


@dataclass(frozen=True)
class Wanted:
    """What an image's signatures have to say.

    Args:
        repository: the image's name in them, ``host/repository``.
        tag: the tag they must name; empty = any, since the image list names the digest.
    """

    repository: str
    tag: str = ""

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}" if self.tag else self.repository


@dataclass(frozen=True)
class Node:
    """A manifest that may be signed.

    Args:
        digest: of it.
        children: of an index, those that can be run.
    """

    digest: str
    children: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Acceptance:
    """Whether an image is signed.

    Args:
        names: of the keys that have signed it; empty = it is refused.
        index_only: the index is signed, and some child is not: engines ask for the child's.
    """

    names: tuple[str, ...] = ()
    index_only: bool = False


class Signers:
    """The keys of a run, each made ready when the first signature asks for it; safe for threads.

    Args:
        keys: as they were read, by name.
    """

    def __init__(self, keys: Mapping[str, Key]) -> None:
        self._keys = keys
        self._lock = threading.RLock()
        self._gpg: GpgHome | None = None
        self._cosign: list[PublicKey] | None = None
        self._keyless: list[Keyless] | None = None
        self._messages: dict[bytes, Opened | Unverified] = {}

    def look_at(self, evidence: Iterable[Evidence]) -> None:
        """Open at once what would take a process for each; ``open`` then knows it."""
        messages = dict.fromkeys(one.body for one in evidence if one.kind == SIMPLE)
        unknown = {name: body for body in messages if (name := _name_of(body)) not in self._messages}
        if not unknown or not self._has_gpg():
            return
        try:
            home = self._home()
        except (RegistryError, SettingsError):
            # Which open() raises for each of them.
            return
        self._messages.update(zip(unknown, home.open_all(list(unknown.values())), strict=True))

    def open(self, evidence: Evidence) -> Opened:
        """What a key has signed.

        Raises:
            Unverified: none of the keys has.
            RegistryError: what verifies such signatures is not installed.
        """
        if evidence.kind == SIMPLE:
            return self._open_message(evidence.body)
        if evidence.kind == COSIGN:
            return open_payload(evidence.body, evidence.signature, self._public_keys())
        if evidence.kind == BUNDLE:
            return self._open_bundle(evidence.body)
        raise Unverified(UNREADABLE, "is of a kind that is not verified here")

    def close(self) -> None:
        """Remove what was made."""
        with self._lock:
            if self._gpg:
                self._gpg.close()
                self._gpg = None

    def _open_message(self, body: bytes) -> Opened:
        if not self._has_gpg():
            raise Unverified(UNKNOWN_KEY, "is by a key that is not known")
        known = self._messages.get(_name_of(body))
        if isinstance(known, Unverified):
            raise known
        return known or self._home().open(body)

    def _has_gpg(self) -> bool:
        return any(key.gpg for key in self._keys.values())

    def _open_bundle(self, body: bytes) -> Opened:
        bundle = read_bundle(body)
        if not bundle.keyless:
            return open_bundle(bundle, self._public_keys())
        failure = Unverified(UNKNOWN_KEY, "is keyless, and no key of signatures:keys is")
        for signer in self._identities():
            try:
                return signer.open(body)
            except Unverified as refused:
                failure = refused
        raise failure

    def _home(self) -> GpgHome:
        with self._lock:
            if self._gpg is None:
                self._gpg = GpgHome(self._keys.values())
            return self._gpg

    def _public_keys(self) -> list[PublicKey]:
        with self._lock:
            if self._cosign is None:
                self._cosign = public_keys(self._keys.values())
            return self._cosign

    def _identities(self) -> list[Keyless]:
        with self._lock:
            if self._keyless is None:
                self._keyless = [Keyless(key) for key in self._keys.values() if key.trusted_root]
            return self._keyless


def _name_of(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def judge(evidence: Evidence, wanted: Wanted, signers: Signers) -> Finding:
    """What a signature is worth for an image.

    Args:
        evidence: as it was found.
        wanted: what it has to say.
        signers: the known keys.

    Raises:
        RegistryError: what verifies such signatures is not installed.
    """
    try:
        opened = signers.open(evidence)
    except Unverified as refused:
        return Finding(evidence.kind, refused.verdict, refused.names, refused.key, reason=str(refused))
    try:
        claim = claim_of(evidence.kind, opened.payload)
    except Unverified as refused:
        return Finding(evidence.kind, refused.verdict, opened.names, opened.key, reason=str(refused))
    reason = _misfit(evidence, claim, wanted)
    return Finding(
        evidence.kind,
        VALID,
        opened.names,
        opened.key,
        identity=printable(claim.identity, 300),
        time=opened.time or claim.time,
        fits=not reason,
        reason=reason,
    )


def accept(node: Node, findings: Mapping[str, Sequence[Finding]], signed_by: Iterable[str]) -> Acceptance:
    """Whether an image, or each of its children, is signed by one of the wanted keys.

    Args:
        node: the image.
        findings: by the digest of what is signed.
        signed_by: names of keys.
    """
    wanted = set(signed_by)
    own = {name for found in findings.get(node.digest, ()) if found.fits for name in found.names} & wanted
    below = [accept(child, findings, wanted) for child in node.children]
    whole = bool(below) and all(child.names for child in below)
    if own:
        return Acceptance(tuple(sorted(own)), index_only=bool(below) and not whole)
    names = {name for child in below for name in child.names} if whole else set()
    return Acceptance(tuple(sorted(names)), index_only=any(child.index_only for child in below))


def refusal(node: Node, findings: Mapping[str, Sequence[Finding]], signed_by: Sequence[str]) -> str:
    """Why an image is not accepted: what is said of the manifest that lacks a signature.

    Args:
        node: the image.
        findings: by the digest of what is signed.
        signed_by: names of keys.
    """
    unsigned = _first_unsigned(node, findings, signed_by)
    found = findings.get(unsigned.digest, ())
    names = ", ".join(signed_by)
    for finding in found:
        whose = [name for name in finding.names if name in signed_by]
        if finding.verdict == VALID and whose and not finding.fits:
            return f"the signature of {whose[0]} is {finding.reason}"
    for finding in found:
        if finding.verdict == INVALID:
            maker = f" of {finding.names[0]}" if finding.names else ""
            return f"its signature{maker}{_named(finding.key)} {finding.reason}"
    return f"nobody of signed_by ({names}) has signed {unsigned.digest}; {_what_is_there(found)}"


def _misfit(evidence: Evidence, claim: Claim, wanted: Wanted) -> str:
    if evidence.subject not in claim.digests:
        return f"for {printable(', '.join(claim.digests) or 'no image')}, not for this one"
    if not claim.identity and evidence.kind == BUNDLE:
        return ""
    repository, tag = split_reference(claim.identity)
    if repository != split_reference(wanted.repository)[0]:
        return f"for {printable(claim.identity, 300)}, not for {wanted.repository}"
    # cosign signs the repository alone.
    if wanted.tag and tag != wanted.tag and (tag or evidence.kind == SIMPLE):
        return f"for {printable(claim.identity, 300)}, not for this tag"
    return ""


def _first_unsigned(node: Node, findings: Mapping[str, Sequence[Finding]], signed_by: Sequence[str]) -> Node:
    """What a sentence is best about: the child that lacks what others have, else the image itself."""
    unsigned = [child for child in node.children if not accept(child, findings, signed_by).names]
    others_are_signed = any(findings.get(child.digest) for child in node.children)
    if unsigned and others_are_signed and not findings.get(node.digest):
        return _first_unsigned(unsigned[0], findings, signed_by)
    return node


def _what_is_there(found: Sequence[Finding]) -> str:
    if not found:
        return "it has no signature"
    unreadable = [finding for finding in found if finding.verdict == UNREADABLE]
    if len(unreadable) == len(found):
        return f"{_counted(len(found))}, unreadable here: it {unreadable[0].reason}"
    keys = list(dict.fromkeys(finding.key for finding in found if finding.key))
    more = " …" if len(keys) > KEYS_SHOWN else ""
    told = f" ({', '.join(keys[:KEYS_SHOWN])}{more})" if keys else ""
    return f"{_counted(len(found))}, by keys that are not among them{told}"


def _counted(number: int) -> str:
    return f"{number} signature{'' if number == 1 else 's'}"


def _named(key: str) -> str:
    return f" ({key})" if key else ""
