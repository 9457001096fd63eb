"""How tags stand, as plain JSON: what every function that an operator asks for returns."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from _registry_config_values import Image, Settings
from _registry_oci_referrers import Attachment
from _registry_show_report import STATUSES, Report
from _registry_sync_compare import Comparison
from _registry_sync_copy import TransferStats
from _registry_sync_inventory import Inventory
from _registry_sync_plan import Plan
from _registry_sync_tag import Tag


def report_on(
    settings: Settings,
    comparison: Comparison,
    extras: Iterable[Tag],
    began: float,
    *,
    planned: Plan | None = None,
    stats: TransferStats | None = None,
) -> Report:
    """Say how tags stand.

    Args:
        settings: who the local registry is.
        comparison: the tags that are wanted, and what is held.
        extras: tags that are held and not wanted.
        began: when, by the monotonic clock.
        planned: what would move.
        stats: what has moved.
    """
    tags = [*comparison.tags, *extras]
    summary: dict[str, Any] = dict.fromkeys(STATUSES, 0)
    for tag in tags:
        summary[tag.status] += 1
    summary["tags"] = len(comparison.tags)
    summary["blobs"] = len(planned.to_copy) if planned else stats.copied if stats else 0
    summary["bytes"] = planned.bytes_to_copy if planned else stats.size if stats else 0
    summary["blobs_copied"] = stats.copied if stats else 0
    summary["blobs_mounted"] = stats.mounted if stats else 0
    summary["attachments"] = _attached(one for tag in tags for one in tag.attached)
    summary["signed"] = sum(bool(tag.signed_by) for tag in tags)
    summary["seconds"] = round(time.monotonic() - began, 3)
    images = (tag.image for tag in comparison.tags)
    return {
        "registry": report_registry(settings, comparison.inventory, images),
        "images": {tag.name: _entry(tag) for tag in tags},
        "summary": summary,
    }


def report_registry(
    settings: Settings, inventory: Inventory, images: Iterable[Image | None]
) -> dict[str, Any]:
    """The local registry in short."""
    return {
        "url": settings.local.url,
        "up": inventory.up,
        "repositories": inventory.repositories,
        "tags": sum(len(names) for names in inventory.tags.values()),
        "others": inventory.others,
        "error": inventory.failure,
        "upstreams": list(dict.fromkeys(image.source.name for image in images if image)),
    }


def _entry(tag: Tag) -> dict[str, Any]:
    return {
        "status": tag.status,
        "upstream": tag.upstream,
        "local": tag.local,
        "previous": tag.previous,
        "bytes": tag.size,
        "cause": tag.cause,
        "error": tag.error,
        "attachments": _attached(tag.attached),
        "signed_by": list(tag.signed_by),
    }


def _attached(attachments: Iterable[Attachment]) -> dict[str, int]:
    """How many are here, are lacking, and are left out."""
    counts = {"here": 0, "lacking": 0, "skipped": 0}
    for one in attachments:
        counts["here" if one.is_here else "skipped" if one.skipped else "lacking"] += 1
    return counts
