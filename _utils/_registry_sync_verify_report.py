"""How a verified registry stands, as plain JSON."""

from __future__ import annotations

import time
from typing import Any

from _registry_config_values import Settings
from _registry_show_report import Report
from _registry_store_disk_mark import What
from _registry_sync_verify import LOST, REPAIRED, Finding, Verified
from _registry_sync_verify_loose import Loose

WHOLE, BROKEN = "whole", "broken"
IMAGE_STATUSES = (WHOLE, BROKEN, REPAIRED, LOST)


def report_on_verify(
    settings: Settings, verified: Verified, loose: Loose, storage: dict[str, str], began: float
) -> Report:
    """Say how a registry stands.

    Args:
        settings: who it is.
        verified: of ``look``, with what a repair has made of it.
        loose: of ``count_loose``.
        storage: ``path`` of its files, or ``reason`` why it was read through its API.
        began: when, by the monotonic clock.
    """
    images = _images(verified)
    summary: dict[str, Any] = dict.fromkeys(IMAGE_STATUSES, 0)
    for image in images.values():
        summary[image["status"]] += 1
    bad = [finding for finding in verified.findings if finding.status != REPAIRED]
    summary |= {
        "blobs": len(verified.files),
        "bytes": sum(verified.files.values()),
        "bad": len(bad),
        "hashed": verified.outcome.hashed,
        "bytes_hashed": verified.outcome.size,
        "left": verified.outcome.left,
        "unread": len(verified.unread),
        "bytes_moved": sum(finding.moved for finding in verified.findings),
        "seconds": round(time.monotonic() - began, 3),
    }
    return {
        "registry": {
            "url": settings.local.url,
            "up": True,
            "repositories": len(verified.mark.repositories),
            "tags": sum(len(found.tags) for found in verified.mark.repositories.values()),
            **storage,
        },
        "images": images,
        "blobs": {
            finding.broken.digest: _blob(finding) for finding in verified.findings if finding.is_of_bytes
        },
        "links": {
            finding.broken.path: _link(finding) for finding in verified.findings if not finding.is_of_bytes
        },
        "loose": loose,
        "unread": dict(sorted(verified.unread.items())),
        "summary": summary,
    }


def _images(verified: Verified) -> dict[str, dict[str, Any]]:
    """Every tag, and what is broken without one."""
    broken: dict[str, list[Finding]] = {}
    for finding in verified.findings:
        for name in finding.images:
            broken.setdefault(name, []).append(finding)
    digests = {
        f"{name}:{tag}": digest
        for name, found in verified.mark.repositories.items()
        for tag, digest in found.tags.items()
    }
    names = [*digests, *(name for name in broken if name not in digests)]
    return {name: _image(name, digests.get(name, ""), broken.get(name, [])) for name in names}


def _image(name: str, digest: str, findings: list[Finding]) -> dict[str, Any]:
    first = next((finding for finding in findings if finding.cause), None)
    return {
        "status": _status([finding.status for finding in findings]),
        "local": digest or name.partition("@")[2],
        "blobs": [finding.broken.digest for finding in findings if finding.is_of_bytes],
        "links": [finding.broken.path for finding in findings if not finding.is_of_bytes],
        "cause": first.cause if first else "",
        "error": first.error if first else "",
    }


def _status(statuses: list[str]) -> str:
    if not statuses:
        return WHOLE
    if LOST in statuses:
        return LOST
    return REPAIRED if set(statuses) == {REPAIRED} else BROKEN


def _blob(finding: Finding) -> dict[str, Any]:
    return {
        "status": finding.status,
        "was": finding.broken.kind.value,
        "path": finding.broken.path,
        "manifest": finding.broken.what is What.MANIFEST,
        "bytes": max(0, finding.broken.size),
        **_told(finding),
    }


def _link(finding: Finding) -> dict[str, Any]:
    return {
        "status": finding.status,
        "was": finding.broken.kind.value,
        "of": finding.broken.what.value,
        "repository": finding.broken.repository,
        "digest": finding.broken.digest,
        **_told(finding),
    }


def _told(finding: Finding) -> dict[str, Any]:
    return {
        "images": finding.images,
        "moved": finding.moved,
        "cause": finding.cause,
        "error": "" if finding.status == REPAIRED else finding.error or finding.broken.error,
    }
