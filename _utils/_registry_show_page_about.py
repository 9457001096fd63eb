"""What a mirror's page tells beside a run: sizes, space, signatures, who has written it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import _registry_show_page_parts as parts

MAX_AGE = 26 * 3600
LITTLE_SPACE = 0.1
SOON = 30 * parts.DAY


class Repository(NamedTuple):
    """What a repository takes: its tags, and the bytes of its blobs, each once."""

    tags: int
    size: int


class Disk(NamedTuple):
    """Where the registry keeps its images: the directory, and bytes."""

    path: str
    total: int
    free: int


@dataclass(frozen=True)
class Extras:
    """What a page tells beside a run; what is not known is left out.

    Args:
        written_at: when it is written, in seconds since 1970.
        written_by: the command that writes it.
        max_age: seconds after which the page says that it is old.
        minion: the id of the minion.
        repositories: what each takes.
        size: bytes of all of them, each blob once.
        unread: manifests whose sizes are not known.
        disk: where they are kept.
        certificate_ends: when the registry's certificate does, in seconds since 1970.
        verified: the last verification: ``at``, ``fast``, ``whole``, ``broken``, ``repaired``, ``lost``,
            ``unread``, ``left``.
    """

    written_at: float = 0.0
    written_by: str = ""
    max_age: float = MAX_AGE
    minion: str = ""
    repositories: Mapping[str, Repository] = field(default_factory=dict)
    size: int = 0
    unread: int = 0
    disk: Disk | None = None
    certificate_ends: float = 0.0
    verified: Mapping[str, Any] | None = None


def signatures_section(report: Mapping[str, Any]) -> str:
    """Who has signed what, where the list asks for signatures or something attached is here."""
    images = report.get("images", {})
    signers: dict[str, int] = {}
    for image in images.values():
        for name in image["signed_by"]:
            signers[name] = signers.get(name, 0) + 1
    unsigned = sum(image["cause"] == "signature" for image in images.values())
    attached = report.get("summary", {}).get("attachments", {})
    if not signers and not unsigned and not attached.get("here"):
        return ""
    by = ", ".join(
        f"{parts.text(name)} ({parts.counted(count, 'tag')})" for name, count in sorted(signers.items())
    )
    refused = (
        f"{parts.mark('failed', 'refused')}: {parts.counted(unsigned, 'tag')}, signed by nobody of signed_by"
    )
    things = [f"{attached[word]:,} {word}" for word in ("here", "lacking", "skipped") if attached.get(word)]
    return parts.section(
        "Signatures",
        parts.facts(
            [
                ("Signed by", by),
                ("Not signed", refused if unsigned else ""),
                ("Attached to images", parts.text(", ".join(things))),
            ]
        ),
    )


def about_section(snapshot: Mapping[str, Any], extras: Extras) -> str:
    due = extras.written_at + extras.max_age
    return parts.section(
        "About this mirror",
        parts.facts(
            [
                ("Registry", f"<code>{parts.text(snapshot['url'])}</code>" if snapshot["url"] else ""),
                ("Upstream", ", ".join(f"<code>{parts.text(each)}</code>" for each in snapshot["upstreams"])),
                ("Verified", _verified(extras.verified)),
                ("Space", _space(extras.disk)),
                ("Certificate ends", _certificate(extras)),
                ("Minion", parts.text(extras.minion)),
                ("Formula", f"docker_registry {parts.text(snapshot['version'])}"),
                ("List", f"<code>{parts.text(snapshot['list'])}</code>" if snapshot["list"] else ""),
                (
                    "Written",
                    f"{parts.moment(extras.written_at)} by <code>{parts.text(extras.written_by)}</code>",
                ),
                ("Out of date", f"if it is later than {parts.clock(due)}" if extras.max_age else ""),
            ]
        ),
    )


def _verified(verified: Mapping[str, Any] | None) -> str:
    if not verified:
        return ""
    bad = verified["broken"] + verified["lost"]
    unread = verified["unread"] + verified["left"]
    words = [
        f"{verified[word]:,} {word}" for word in ("whole", "repaired", "broken", "lost") if verified[word]
    ]
    words += [f"{parts.counted(unread, 'file')} not read"] if unread else []
    how = "pointers and sizes only" if verified["fast"] else "every byte"
    status, word = ("failed", "broken") if bad else ("stale", "in part") if unread else ("current", "whole")
    return f"{parts.mark(status, word)} {parts.moment(verified['at'])}, {how}: {parts.text(', '.join(words))}"


def _space(disk: Disk | None) -> str:
    if disk is None:
        return ""
    free = disk.free / disk.total if disk.total else 0
    low = f" {parts.mark('stale', 'little')}" if free < LITTLE_SPACE else ""
    return (
        f"{parts.size(disk.free)} free of {parts.size(disk.total)} ({free:.0%}) "
        f"at <code>{parts.text(disk.path)}</code>{low}"
    )


def _certificate(extras: Extras) -> str:
    if not extras.certificate_ends:
        return ""
    left = extras.certificate_ends - extras.written_at
    if left < 0:
        return f"{parts.mark('failed', 'ended')} {parts.moment(extras.certificate_ends)}"
    soon = f"{parts.mark('stale', 'soon')} " if left < SOON else ""
    return f"{soon}{parts.moment(extras.certificate_ends)}"
