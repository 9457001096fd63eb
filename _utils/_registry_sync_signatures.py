"""Who has signed what: every signature of the images of the list, on one side, whether it counts or not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from _registry_config_values import Image, Settings
from _registry_http_retry import Run
from _registry_oci_errors import LOCAL, UPSTREAM
from _registry_oci_referrers import is_attachment_tag
from _registry_oci_tags import select_tags
from _registry_show_report import Report
from _registry_sync_blobs import Source
from _registry_sync_evidence import Gathered, below, gather, node_of
from _registry_sync_inventory import take_inventory
from _registry_sync_lookaside import Found, Lookaside, read_kept
from _registry_sync_memory import Memory
from _registry_sync_select import tags_of_image
from _registry_sync_signed import BUNDLES_ALONE, IMAGES_AT_ONCE, INDEX_ONLY, wanted_of
from _registry_sync_stores import Stores, open_stores
from _registry_sync_tag import Tag, chosen
from _registry_trust_evidence import BUNDLE, Finding
from _registry_trust_keys import read_keys
from _registry_trust_policy import Acceptance, Signers

SIDES = (LOCAL, UPSTREAM)
ALL_ACCEPTED, UNREADABLE, SOME_REFUSED = 0, 1, 2


@dataclass(slots=True)
class Signed:
    """What is known of an image's signatures.

    Args:
        tag: of the list.
        digest: that it has on that side.
        acceptance: whether it is signed as the list wants it.
        findings: by the digest of the manifest that is signed.
        why: why it is not accepted; empty where it is, or where no signature is asked for.
    """

    tag: Tag
    digest: str = ""
    acceptance: Acceptance = field(default_factory=Acceptance)
    findings: dict[str, list[Finding]] = field(default_factory=dict)
    why: str = ""

    @property
    def accepted(self) -> bool | None:
        """Whether it is signed as the list wants it; None where it wants nothing."""
        return bool(self.acceptance.names) if self.tag.wanted_by.signed_by else None


def signatures(settings: Settings, *, name: str = "", side: str = LOCAL, directory: str = "") -> Report:
    """Tell who has signed the images of the list.

    Args:
        settings: the list, the keys and the two sides.
        name: ``repository:tag`` or a repository, as they stand locally; empty = all.
        side: ``local`` or ``upstream``.
        directory: where is kept what need not be read again; empty = nowhere.

    Returns:
        See the execution module.

    Raises:
        RegistryError: the local registry does not answer.
        BadKey: a key is none.
    """
    began = time.monotonic()
    run = Run(settings.transfer)
    stores = open_stores(settings, run)
    lookaside = Lookaside(settings.signatures, run)
    images = [image for image in settings.images if _may_be(image, name)]
    tags = _tags_here(images, stores) if side == LOCAL else _tags_upstream(images, stores, Memory(directory))
    signers = Signers(read_keys(settings.keys, settings.keys))
    try:
        look = partial(_look, stores, lookaside, side)
        asked = [Signed(tag) for tag in tags if name in ("", tag.target, tag.name)]
        found = []
        for first in range(0, len(asked), IMAGES_AT_ONCE):
            some = asked[first : first + IMAGES_AT_ONCE]
            _judge_all(some, stores.map_sources(look, some), signers)
            found += some
    finally:
        signers.close()
    return _report(settings, side, found, began)


def signatures_code(report: Report) -> int:
    """What a script is told: 0 all that must be signed is, 1 some could not be read, 2 some is not."""
    summary = report["summary"]
    if summary["unreadable"]:
        return UNREADABLE
    return SOME_REFUSED if summary["refused"] else ALL_ACCEPTED


def _may_be(image: Image, name: str) -> bool:
    return name in ("", image.target) or name.startswith((f"{image.target}:", f"{image.target}@"))


def _tags_upstream(images: Sequence[Image], stores: Stores, memory: Memory) -> list[Tag]:
    stores.connect([image.source for image in images])
    found = stores.map_sources(lambda image: tags_of_image(image, stores, memory), images)
    memory.save()
    return [tag for tags in found for tag in tags]


def _tags_here(images: Sequence[Image], stores: Stores) -> list[Tag]:
    """The tags of the list as far as they are here; what it names outright also where it is not."""
    inventory = take_inventory(stores, [image.target for image in images], catalog=False)
    if inventory.error:
        raise inventory.error
    tags = []
    for image in images:
        there = [tag for tag in inventory.tags.get(image.target, ()) if not is_attachment_tag(tag)]
        entries = [*image.tags.literals, *(select_tags(image.tags, there) if image.tags.needs_list else ())]
        for entry in dict.fromkeys(entries):
            tag, _, pin = entry.partition("@")
            tags.append(Tag(image, pin or tag, image.target, tag))
    return tags


def _look(stores: Stores, lookaside: Lookaside, side: str, signed: Signed) -> Gathered | None:
    if signed.tag.status:
        return None
    try:
        return _gathered(signed, stores, lookaside, side)
    except Exception as failure:  # noqa: BLE001 - whatever it is, the other images go on
        signed.tag.fail("unreadable", failure)
    return None


def _judge_all(signed: Sequence[Signed], found: Sequence[Gathered | None], signers: Signers) -> None:
    signers.look_at(one for gathered in found if gathered for one in gathered.every)
    for one, gathered in zip(signed, found, strict=True):
        try:
            if gathered:
                _judge(one, gathered, signers)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the other images go on
            one.tag.fail("unreadable", failure)


def _gathered(signed: Signed, stores: Stores, lookaside: Lookaside, side: str) -> Gathered:
    tag = signed.tag
    image = tag.wanted_by
    simple: Callable[[str], Found]
    if side == LOCAL:
        source, reference = Source(stores.target, tag.target), tag.target_reference
        simple = partial(_kept, lookaside, tag.target)
    else:
        source, reference = Source(stores.source(image.source), image.repository), tag.reference
        simple = partial(lookaside.find, image)
    manifest = source.store.manifest(source.repository, reference)
    root = manifest if side == LOCAL else chosen(tag, manifest)
    signed.digest = root.digest
    node = node_of(root, source)
    return gather(node, [node.digest, *below(node)], source, stores, simple)


def _kept(lookaside: Lookaside, target: str, digest: str) -> Found:
    return Found(read_kept(lookaside.directory_of(target, digest)))


def _judge(signed: Signed, gathered: Gathered, signers: Signers) -> None:
    signed_by = signed.tag.wanted_by.signed_by
    judgement = gathered.judged(wanted_of(signed.tag), signers, signed_by)
    signed.acceptance, signed.findings = judgement.acceptance, judgement.findings
    if signed.accepted is False:
        signed.why = judgement.why(signed_by)


def _report(settings: Settings, side: str, found: Iterable[Signed], began: float) -> Report:
    entries = {signed.tag.name: _entry(signed, policy=settings.engine.policy) for signed in found}
    summary: dict[str, Any] = {
        "images": len(entries),
        "accepted": sum(entry["accepted"] is True for entry in entries.values()),
        "refused": sum(entry["accepted"] is False and not _failed(entry) for entry in entries.values()),
        "not_asked": sum(entry["accepted"] is None and not _failed(entry) for entry in entries.values()),
        "unreadable": sum(_failed(entry) for entry in entries.values()),
        "signatures": sum(len(entry["signatures"]) for entry in entries.values()),
        "seconds": round(time.monotonic() - began, 3),
    }
    url = settings.local.url if side == LOCAL else ""
    return {"side": side, "url": url, "images": entries, "summary": summary}


def _failed(entry: dict[str, Any]) -> bool:
    return entry["cause"] not in ("", "signature")


def _entry(signed: Signed, *, policy: bool) -> dict[str, Any]:
    tag = signed.tag
    refused = bool(signed.why)
    return {
        "digest": signed.digest,
        "accepted": signed.accepted,
        "wanted": list(tag.wanted_by.signed_by),
        "signed_by": list(signed.acceptance.names),
        "signatures": [
            _finding(digest, finding) for digest, found in signed.findings.items() for finding in found
        ],
        "notes": _notes(signed, policy=policy),
        "cause": "signature" if refused else tag.cause,
        "error": signed.why or tag.error,
    }


def _finding(digest: str, finding: Finding) -> dict[str, Any]:
    return {
        "subject": digest,
        "kind": finding.kind,
        "verdict": finding.verdict,
        "keys": list(finding.names),
        "key": finding.key,
        "identity": finding.identity,
        "time": finding.time,
        "fits": finding.fits,
        "reason": finding.reason,
    }


def _notes(signed: Signed, *, policy: bool) -> list[str]:
    fitting = {one.kind for found in signed.findings.values() for one in found if one.fits}
    notes = [INDEX_ONLY] if signed.acceptance.index_only else []
    return [*notes, BUNDLES_ALONE] if policy and fitting == {BUNDLE} else notes
