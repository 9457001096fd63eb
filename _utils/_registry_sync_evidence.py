"""Signatures that are attached to manifests in a store: found, and read, but not yet judged.

cosign up to 2 puts a manifest under a tag that is made of the subject's digest, each layer of which is a
signature; cosign 3 and Notation attach manifests that name the subject, whose one layer is the signature:

- https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
- https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md
- https://github.com/notaryproject/specifications/blob/main/specs/signature-specification.md
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from _registry_config_validators import SettingsError
from _registry_oci_errors import NotFound, RegistryError
from _registry_oci_manifest import NESTING_LIMIT, Descriptor, Manifest
from _registry_oci_names import is_tag
from _registry_oci_referrers import Attachment
from _registry_sync_blobs import Source, read_whole
from _registry_sync_lookaside import Found
from _registry_sync_stores import Stores
from _registry_trust_cosign import BUNDLE_TYPES
from _registry_trust_evidence import BUNDLE, COSIGN, NOTATION, SIMPLE, UNREADABLE, Evidence, Finding
from _registry_trust_policy import Acceptance, Node, Signers, Wanted, accept, judge, refusal

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE_NOTE = "dev.cosignproject.cosign/signature"
NOTATION_TYPE = "application/vnd.cncf.notary.signature"
SUFFIX = ".sig"
# As many as engines read of an image. A payload has some 300 bytes, a bundle with all its proofs some 10,000.
SIGNATURES = 128
SIGNATURE_LIMIT = 1024 * 1024


@dataclass(frozen=True)
class Signing:
    """A manifest that is attached to another one and may hold signatures.

    Args:
        subject: digest of the manifest that it is attached to.
        manifest: of it.
        is_tagged: it stands under cosign's tag; else it names its subject.
    """

    subject: str
    manifest: Manifest
    is_tagged: bool


@dataclass(slots=True)
class Gathered:
    """What was found of the signatures of an image and of its children.

    Args:
        node: the image.
        evidence: by the digest of the manifest that it was found for.
        failures: why there may be more.
    """

    node: Node
    evidence: dict[str, list[Evidence]] = field(default_factory=dict)
    failures: list[RegistryError] = field(default_factory=list)

    @property
    def every(self) -> list[Evidence]:
        """All that was found."""
        return [one for found in self.evidence.values() for one in found]

    def judged(self, wanted: Wanted, signers: Signers, signed_by: Sequence[str]) -> Judgement:
        """Whether the image is accepted, and what each signature is worth for it."""
        judgement = Judgement(self.node, failures=list(self.failures))
        for digest, found in self.evidence.items():
            findings = judgement.findings.setdefault(digest, [])
            for one in found:
                try:
                    findings.append(judge(one, wanted, signers))
                except (RegistryError, SettingsError) as failure:
                    # Another signature may do, which needs other tools and keys.
                    judgement.failures.append(failure)
                    findings.append(Finding(one.kind, UNREADABLE, reason=str(failure)))
        judgement.acceptance = accept(self.node, judgement.findings, signed_by)
        return judgement


@dataclass(slots=True)
class Judgement:
    """What an image's signatures come to.

    Args:
        node: the image.
        acceptance: whether it is signed as the list wants it.
        findings: by the digest of what is signed.
        failures: why some signature could not be read or verified.
    """

    node: Node
    acceptance: Acceptance = field(default_factory=Acceptance)
    findings: dict[str, list[Finding]] = field(default_factory=dict)
    failures: list[Exception] = field(default_factory=list)

    def why(self, signed_by: Sequence[str]) -> str:
        """Why the image is not accepted.

        Raises:
            Exception: it cannot be told, since not all signatures could be looked at.
        """
        if self.failures:
            raise self.failures[0]
        return refusal(self.node, self.findings, signed_by)


def node_of(manifest: Manifest, source: Source) -> Node:
    """A manifest and, of an index, the children that can be run.

    Args:
        manifest: the image's.
        source: the repository where indexes below it are read.

    Raises:
        RegistryError: one cannot be read.
    """
    return _node(manifest, source, NESTING_LIMIT)


def gather(
    node: Node,
    digests: Iterable[str],
    source: Source,
    stores: Stores,
    simple: Callable[[str], Found],
    attached: Mapping[str, Sequence[Attachment]] | None = None,
) -> Gathered:
    """Read the signatures of an image; what cannot be read is noted, since others may do.

    Args:
        node: the image.
        digests: of the manifests whose signatures count.
        source: the repository that has it.
        stores: of the run.
        simple: gives the simple signatures of a digest.
        attached: what is attached to each digest, where that is known; None = it is looked for.
    """
    gathered = Gathered(node)
    for digest in dict.fromkeys(digests):
        found = gathered.evidence.setdefault(digest, [])
        kept = simple(digest)
        found += [Evidence(SIMPLE, digest, signature) for signature in kept.signatures]
        if kept.error:
            gathered.failures.append(kept.error)
        try:
            for signing in _signings(digest, source, attached)[:SIGNATURES]:
                room = SIGNATURES - len(found)
                found += read_evidence(signing, source, stores, most=max(room, 0))
        except RegistryError as failure:
            gathered.failures.append(failure)
    return gathered


def below(node: Node) -> list[str]:
    """Digests of all manifests below one."""
    return [digest for child in node.children for digest in (child.digest, *below(child))]


def find_signing(source: Source, subject: str) -> list[Signing]:
    """Look for what is attached to a manifest and may hold signatures.

    Args:
        source: the repository that has the manifest.
        subject: its digest.

    Raises:
        RegistryError: it could not be told.
    """
    store, repository = source
    found = []
    tag = subject.replace(":", "-", 1) + SUFFIX
    if is_tag(tag) and (manifest := _manifest(source, tag)):
        found.append(Signing(subject, manifest, is_tagged=True))
    for descriptor in _once_each(store.referrers(repository, subject)):
        manifest = _manifest(source, descriptor.digest)
        if manifest and _is_about(manifest, subject):
            found.append(Signing(subject, manifest, is_tagged=False))
    return found


def read_evidence(
    signing: Signing, source: Source, stores: Stores, *, most: int = SIGNATURES
) -> list[Evidence]:
    """The signatures in a manifest that is attached.

    Args:
        signing: the manifest.
        source: the repository that has it.
        stores: of the run.
        most: signatures to read of it.

    Raises:
        RegistryError: one cannot be read.
    """
    manifest, found = signing.manifest, []
    if not signing.is_tagged and manifest.artifact_type == NOTATION_TYPE:
        return [Evidence(NOTATION, signing.subject, b"")]
    blobs = {blob.digest: blob for blob in manifest.blobs}
    for layer in _layers(manifest)[:most]:
        blob = blobs.get(str(layer.get("digest")))
        kind = _kind(layer, is_tagged=signing.is_tagged)
        if blob is None or not kind or blob.size > SIGNATURE_LIMIT:
            continue
        body = read_whole(source, blob, stores)
        found.append(Evidence(kind, signing.subject, body, _note(layer) if kind == COSIGN else ""))
    return found


def _node(manifest: Manifest, source: Source, levels: int) -> Node:
    return Node(
        manifest.digest,
        tuple(
            _node(source.store.manifest(source.repository, child.digest), source, levels - 1)
            if child.is_index and levels
            else Node(child.digest)
            for child in manifest.children
            if not _is_attestation(child)
        ),
    )


def _is_attestation(child: Descriptor) -> bool:
    """Whether it is one that BuildKit made, which no engine runs, whatever it says of itself."""
    return bool(child.attests) and child.platform == "unknown/unknown"


def _signings(
    digest: str, source: Source, attached: Mapping[str, Sequence[Attachment]] | None
) -> list[Signing]:
    if attached is None:
        return find_signing(source, digest)
    found = []
    for one in attached.get(digest, ()):
        if one.tag and not one.tag.endswith(SUFFIX):
            continue
        manifest = one.manifest or _manifest(source, one.descriptor.digest)
        if manifest and (one.tag or _is_about(manifest, digest)):
            found.append(Signing(digest, manifest, is_tagged=bool(one.tag)))
    return found


def _is_about(manifest: Manifest, digest: str) -> bool:
    return manifest.subject is not None and manifest.subject.digest == digest


def _kind(layer: dict[str, Any], *, is_tagged: bool) -> str:
    media_type = layer.get("mediaType")
    if media_type == SIMPLE_SIGNING:
        # cosign 2 could be told to attach them as referrers, too.
        return COSIGN
    return BUNDLE if media_type in BUNDLE_TYPES and not is_tagged else ""


def _note(layer: dict[str, Any]) -> str:
    notes = layer.get("annotations")
    note = notes.get(SIGNATURE_NOTE) if isinstance(notes, dict) else ""
    return note if isinstance(note, str) else ""


def _layers(manifest: Manifest) -> list[dict[str, Any]]:
    # It was read as a manifest before, so that its shape is known to be right.
    layers = json.loads(manifest.body).get("layers") or []
    return [layer for layer in layers if isinstance(layer, dict)]


def _manifest(source: Source, reference: str) -> Manifest | None:
    try:
        return source.store.manifest(source.repository, reference)
    except NotFound:
        return None
    except RegistryError as failure:
        if failure.cause == "unsupported":
            return None
        raise


def _once_each(descriptors: Iterable[Descriptor]) -> list[Descriptor]:
    return list({descriptor.digest: descriptor for descriptor in descriptors}.values())[:SIGNATURES]
