"""The four things an operator asks for, each one function: settings in, plain JSON data out."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from _registry_config_values import Image, Settings
from _registry_http_retry import Run
from _registry_oci_errors import RegistryError
from _registry_show_progress import Progress
from _registry_sync_compare import Comparison, Inventory, Registries, Tag, compare, find_extras, look
from _registry_sync_copy import TransferStats, carry_out
from _registry_sync_lock import only_one, stopping_on_signals
from _registry_sync_plan import Plan, make_plan

STATUSES = ("current", "missing", "stale", "extra", "unreadable", "copied", "failed")
CAUSES = ("auth", "absent", "rate", "network", "space", "digest", "unsupported", "internal")
IN_STEP, FAILED, LAGS = 0, 1, 2

Report = dict[str, Any]


def check(settings: Settings) -> Report:
    """Read both sides and change nothing.

    Returns:
        The report; see the execution module for its keys.
    """
    began = time.monotonic()
    registries = Registries(settings, Run(settings.transfer))
    comparison = compare(settings, registries)
    extras = find_extras(comparison, registries)
    return report_on(settings, comparison, extras, began)


def plan(settings: Settings, *, fresh: bool = False) -> Report:
    """Say what a sync would do, with the blobs and bytes that it would move.

    Args:
        settings: the list and the two sides.
        fresh: take a local registry that cannot be read for one that is still empty.
    """
    began = time.monotonic()
    registries = Registries(settings, Run(settings.transfer))
    comparison = compare(settings, registries, fresh=fresh)
    planned = make_plan(comparison, registries)
    extras = find_extras(comparison, registries)
    return report_on(settings, comparison, extras, began, planned=planned)


def sync(settings: Settings, *, directory: str = "", progress: Progress | None = None) -> Report:
    """Bring the local registry in step.

    Args:
        settings: the list and the two sides.
        directory: a directory of its own, for a lock and for what a later run needs to go on where
            this one ended; empty = neither.
        progress: is told what moves and lands.

    Raises:
        AlreadyRunning: another sync into the same registry.
        Stopped: told to stop before anything was copied.
    """
    began = time.monotonic()
    run = Run(settings.transfer)
    registries = Registries(settings, run)
    with only_one(directory, settings.local), stopping_on_signals(run):
        comparison = compare(settings, registries)
        planned = make_plan(comparison, registries)
        tally = carry_out(planned, registries, progress or Progress(), journals=directory)
    return report_on(settings, comparison, (), began, tally=tally)


def holdings(settings: Settings) -> dict[str, dict[str, str]]:
    """Every tag that the local registry holds.

    Returns:
        Repository → tag → digest.

    Raises:
        RegistryError: the local registry cannot be read.
    """
    registries = Registries(settings, Run(settings.transfer))
    found = _readable(settings, registries)
    pairs = [(name, tag) for name, tags in sorted(found.tags.items()) for tag in sorted(tags)]
    digests = registries.ask_local(lambda pair: registries.local.head(*pair).digest, pairs)
    listing: dict[str, dict[str, str]] = {}
    for (name, tag), digest in zip(pairs, digests, strict=True):
        listing.setdefault(name, {})[tag] = digest
    return listing


def registry(settings: Settings) -> dict[str, Any]:
    """The local registry in short: url, up, repositories, tags, error, upstreams."""
    registries = Registries(settings, Run(settings.transfer))
    targets = [image.target for image in settings.images]
    return _registry(settings, look(registries, targets), settings.images)


def populated(settings: Settings) -> bool:
    """Whether the local registry answers and names at least one repository."""
    # Asked before anything is set up, when nothing may be listening: waiting longer would not help.
    registries = Registries(settings, Run(replace(settings.transfer, retries=0)))
    try:
        registries.local.ping()
        return bool(registries.local.first_repository())
    except RegistryError:
        return False


def return_code(report: Report) -> int:
    """What a script is told: 0 in step, 1 something failed, 2 the mirror lags."""
    summary = report["summary"]
    if summary["unreadable"] or summary["failed"] or not report["registry"]["up"]:
        return FAILED
    return LAGS if summary["missing"] or summary["stale"] else IN_STEP


def _readable(settings: Settings, registries: Registries) -> Inventory:
    targets = [image.target for image in settings.images]
    found = look(registries, targets)
    for failure in (found.error, *found.unread.values()):
        if failure:
            raise failure
    return found


def report_on(
    settings: Settings,
    comparison: Comparison,
    extras: Iterable[Tag],
    began: float,
    *,
    planned: Plan | None = None,
    tally: TransferStats | None = None,
) -> Report:
    """Say how tags stand, as all of these functions do.

    Args:
        settings: who the local registry is.
        comparison: the tags that are wanted, and what is held.
        extras: tags that are held and not wanted.
        began: when, by the monotonic clock.
        planned: what would move.
        tally: what has moved.
    """
    tags = [*comparison.tags, *extras]
    summary: dict[str, Any] = dict.fromkeys(STATUSES, 0)
    for tag in tags:
        summary[tag.status] += 1
    summary["tags"] = len(comparison.tags)
    summary["blobs"] = planned.blobs_to_copy if planned else tally.copied if tally else 0
    summary["bytes"] = planned.bytes_to_move if planned else tally.size if tally else 0
    summary["blobs_copied"] = tally.copied if tally else 0
    summary["blobs_mounted"] = tally.mounted if tally else 0
    summary["seconds"] = round(time.monotonic() - began, 3)
    return {
        "registry": _registry(settings, comparison.holdings, (tag.image for tag in comparison.tags)),
        "images": {tag.name: _entry(tag) for tag in tags},
        "summary": summary,
    }


def _registry(settings: Settings, found: Inventory, images: Iterable[Image | None]) -> dict[str, Any]:
    return {
        "url": settings.local.url,
        "up": found.up,
        "repositories": found.repositories,
        "tags": sum(len(names) for names in found.tags.values()),
        "error": str(found.error or ""),
        "upstreams": list(dict.fromkeys(image.source.name for image in images if image)),
    }


def _entry(tag: Tag) -> dict[str, Any]:
    return {
        "status": tag.status,
        "upstream": tag.upstream,
        "local": tag.local,
        "bytes": tag.size,
        "cause": tag.cause,
        "error": tag.error,
    }
