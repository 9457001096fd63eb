"""Whether the images of the list are signed as it wants them: told before anything of them is fetched.

An image that is not becomes ``unreadable`` with the cause ``signature``: nothing of it is moved, and what
stands under its tag here stays. What was once accepted is remembered by its digest, the keys and the name, so
that it costs a later run nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from _registry_config_values import Image, SigningKey
from _registry_oci_errors import NotSigned, RegistryError
from _registry_oci_names import is_digest
from _registry_oci_referrers import Attachment
from _registry_sync_blobs import Source
from _registry_sync_evidence import Gathered, Judgement, below, gather, node_of
from _registry_sync_lookaside import Found
from _registry_sync_memory import Memory
from _registry_sync_stores import Stores
from _registry_sync_tag import Tag, chosen
from _registry_trust_evidence import BUNDLE
from _registry_trust_keys import Key, read_keys
from _registry_trust_policy import Node, Signers, Wanted

log = logging.getLogger(__name__)

# Their signatures are in memory together, and one process of gpg looks at them.
IMAGES_AT_ONCE = 64
COMPARED = ("current", "missing", "stale")
BUNDLES_ALONE = (
    "cosign 3 bundles travel, but no podman verifies them; sign with --new-bundle-format=false, too"
)
INDEX_ONLY = "the index is signed and not each image in it, for whose own signature engines ask"
SimpleSignatures = Callable[[Image, str], Found]


def verify_signatures(
    tags: Iterable[Tag],
    keys: Mapping[str, SigningKey],
    stores: Stores,
    memory: Memory,
    simple: SimpleSignatures,
    *,
    looked: bool = False,
    engines_ask: bool = False,
) -> None:
    """Find out of each tag that the list wants signed whether it is.

    Args:
        tags: with their digests; ``signed_by`` of each is filled in, and one that is not signed, or of which
            it cannot be told, becomes ``unreadable``.
        keys: ``signatures:keys``.
        stores: how upstream is reached.
        memory: what earlier runs have accepted.
        simple: gives the simple signatures of a manifest.
        looked: the tags have in ``attached`` all that is attached to them.
        engines_ask: engines are told to refuse what is not signed; where they will what is accepted here,
            the ``error`` of the tag says so.

    Raises:
        BadKey: a key is none.
    """
    asked = [tag for tag in tags if tag.status in COMPARED and tag.image and tag.image.signed_by]
    if not asked:
        return
    known = read_keys(keys, (name for tag in asked for name in tag.wanted_by.signed_by))
    signers = Signers(known)
    try:
        verifier = _Verifier(known, signers, stores, memory, simple, looked=looked, engines_ask=engines_ask)
        groups: dict[tuple[object, ...], list[Tag]] = {}
        for tag in asked:
            groups.setdefault((tag.wanted_by.source, tag.wanted_by.repository, tag.upstream), []).append(tag)
        every = list(groups.values())
        for first in range(0, len(every), IMAGES_AT_ONCE):
            verifier.verify(every[first : first + IMAGES_AT_ONCE])
    finally:
        signers.close()


class _Verifier:
    """Verifies tags."""

    def __init__(
        self,
        keys: Mapping[str, Key],
        signers: Signers,
        stores: Stores,
        memory: Memory,
        simple: SimpleSignatures,
        *,
        looked: bool,
        engines_ask: bool,
    ) -> None:
        self._keys = keys
        self._signers = signers
        self._stores = stores
        self._memory = memory
        self._simple = simple
        self._looked = looked
        self._engines_ask = engines_ask

    def verify(self, groups: Sequence[Sequence[Tag]]) -> None:
        """Groups of tags of one digest in one repository each: what is attached to it is read once."""
        unknown = [[tag for tag in tags if not self._is_known(tag)] for tags in groups]
        asked = [tags for tags in unknown if tags]
        found = self._stores.map_sources(self._gathered, asked)
        self._signers.look_at(one for gathered in found if gathered for one in gathered.every)
        for tags, gathered in zip(asked, found, strict=True):
            if gathered:
                self._judge_all(tags, gathered)

    def _gathered(self, tags: Sequence[Tag]) -> Gathered | None:
        """The signatures of a group's image; None where the tags have become unreadable."""
        try:
            return self._gather(tags)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the other tags go on
            for tag in tags:
                tag.fail("unreadable", failure)
        return None

    def _judge_all(self, tags: Sequence[Tag], gathered: Gathered) -> None:
        for tag in tags:
            tag.root = tag.root or tags[0].root
            try:
                self._judge(tag, gathered)
            except Exception as failure:  # noqa: BLE001 - whatever it is, the other tags go on
                tag.fail("unreadable", failure)

    def _is_known(self, tag: Tag) -> bool:
        names = self._memory.get("signed", tag.upstream, self._terms(tag))
        if names:
            tag.signed_by = tuple(name for name in names.split() if name in self._keys)
            self._tell_what_engines_lack(tag)
        return bool(tag.signed_by)

    def _terms(self, tag: Tag) -> str:
        """What a verdict depends on beside the digest, in short."""
        image, wanted = tag.wanted_by, wanted_of(tag)
        keys = [self._keys[name].identifier for name in sorted(image.signed_by)]
        return hashlib.sha256(json.dumps([wanted.repository, wanted.tag, keys]).encode()).hexdigest()[:32]

    def _gather(self, tags: Sequence[Tag]) -> Gathered:
        tag = tags[0]
        image = tag.wanted_by
        source = Source(self._stores.source(image.source), image.repository)
        node = self._node(tag, source)
        # An index of chosen platforms is our own, and nobody has signed it.
        own = [] if tag.upstream != tag.source else [node.digest]
        attached = _by_subject(tag.attached) if self._looked else None
        # A store is asked only for those who sign so.
        is_simple = any(self._keys[name].gpg for one in tags for name in one.wanted_by.signed_by)
        simple = partial(self._simple, image) if is_simple else lambda digest: Found()
        return gather(node, [*own, *below(node)], source, self._stores, simple, attached)

    def _node(self, tag: Tag, source: Source) -> Node:
        """The image and what is below it; read here where it is here, since upstream may count pulls."""
        if tag.root is None and tag.local == tag.upstream:
            here = Source(self._stores.target, tag.target)
            try:
                return node_of(here.store.manifest(tag.target, tag.local), here)
            except RegistryError as failure:
                log.info("%s: read upstream instead: %s", tag.name, failure)
        if tag.root is None:
            tag.root = chosen(tag, source.store.manifest(source.repository, tag.source))
        return node_of(tag.root, source)

    def _tell_what_engines_lack(self, tag: Tag) -> None:
        if self._engines_ask and self._memory.get("bundles", tag.upstream, self._terms(tag)):
            tag.error = BUNDLES_ALONE

    def _judge(self, tag: Tag, gathered: Gathered) -> None:
        signed_by = tag.wanted_by.signed_by
        judgement = gathered.judged(wanted_of(tag), self._signers, signed_by)
        acceptance = judgement.acceptance
        tag.signed_by = acceptance.names
        if acceptance.names:
            self._memory.put(" ".join(acceptance.names), "signed", tag.upstream, self._terms(tag))
            by_key = {name for name in acceptance.names if self._keys[name].cosign}
            if by_key and _are_bundles(judgement, by_key):
                self._memory.put("alone", "bundles", tag.upstream, self._terms(tag))
            self._tell_what_engines_lack(tag)
            if acceptance.index_only:
                log.warning("%s: %s", tag.name, INDEX_ONLY)
            return
        why = judgement.why(signed_by)
        source = tag.wanted_by.source
        at = "@" if is_digest(tag.reference) else ":"
        raise NotSigned(
            f"{source}: {tag.wanted_by.repository}{at}{tag.reference}: {why}",
            side=source.side,
        )


def _are_bundles(judgement: Judgement, names: set[str]) -> bool:
    """Whether all signatures of some keys are of the one kind that no engine reads."""
    findings = (one for found in judgement.findings.values() for one in found)
    return {one.kind for one in findings if one.fits and names.intersection(one.names)} == {BUNDLE}


def wanted_of(tag: Tag) -> Wanted:
    """What signatures of a tag have to say; where the list names the digest, any tag will do."""
    is_pinned = is_digest(tag.reference)
    return Wanted(tag.wanted_by.signed_name, "" if is_pinned else tag.reference)


def _by_subject(attached: Iterable[Attachment]) -> dict[str, list[Attachment]]:
    found: dict[str, list[Attachment]] = {}
    for one in attached:
        found.setdefault(one.subject, []).append(one)
    return found
