"""A prune from its beginning to its report: what could be forgotten is said, or is forgotten."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from _registry_config_values import Settings
from _registry_http_retry import Run
from _registry_oci_errors import RegistryError
from _registry_show_progress import Progress
from _registry_show_report import Report
from _registry_sync_ledger import Ledger
from _registry_sync_lock import AlreadyRunning, only_one, stopping_on_signals
from _registry_sync_memory import Memory
from _registry_sync_prune import DOOMED, PRUNE_STATUSES, PRUNED, Item
from _registry_sync_prune_apply import Telling, forget
from _registry_sync_prune_look import PrunePlan, look
from _registry_sync_prune_signatures import forget_signatures
from _registry_sync_report import report_registry
from _registry_sync_stores import open_stores


def prune(
    settings: Settings,
    *,
    directory: str = "",
    ledger_directory: str = "",
    plan: str = "",
    automatic: bool = False,
    in_use: Sequence[str] = (),
    tell: Telling = lambda item: None,
    progress: Progress | None = None,
    noting: bool = True,
) -> Report:
    """Say what could be forgotten, or forget it.

    Args:
        settings: the list and the rules.
        directory: of the run's lock, and of what need not be read again; empty = neither.
        ledger_directory: where the ledger lies.
        plan: the id of what was said before: exactly that is done, or nothing; empty = nothing is done.
        automatic: do what the rules say without an id, unless it is above the ceiling.
        in_use: ``repository:tag`` and ``repository@digest`` that deployments name.
        tell: is told of each deletion before it happens.
        progress: is told what is gone.
        noting: note in the ledger since when tags are unwanted, where nothing is deleted.

    Raises:
        AlreadyRunning: a sync or prune of the same registry.
    """
    began = time.monotonic()
    run = Run(settings.transfer)
    stores = open_stores(settings, run)
    memory = Memory(directory)
    acts = bool(plan) or automatic
    with only_one(directory if acts else "", settings.local), stopping_on_signals(run):
        ledger = Ledger(ledger_directory, settings.local.url)
        planned = look(settings, stores, ledger, memory, in_use)
        memory.save()
        refused = planned.refused
        if acts and not refused:
            refused = _why_not_now(planned, plan)
            if not refused:
                try:
                    forget(planned, stores, ledger, tell, progress)
                    if ledger.signatures.going:
                        forget_signatures(settings.signatures.directory, ledger.signatures, stores.target)
                        ledger.save()
                except RegistryError as failure:
                    refused = str(failure)
        elif not refused and noting:
            refused = _noted(settings, ledger, directory, ledger_directory)
    return _report(settings, planned, refused, began)


def _why_not_now(planned: PrunePlan, plan: str) -> str:
    if plan and plan != planned.id:
        now = f"it would be plan {planned.id}" if planned.id else "nothing is to be pruned"
        return f"plan {plan} is not what would be done now: {now}; look at it again"
    return "" if plan else planned.ceiling


def _noted(settings: Settings, ledger: Ledger, directory: str, ledger_directory: str) -> str:
    """Keep since when tags are unwanted; a ledger that cannot be written is told.

    What a sync or prune has written meanwhile, or is going to, is not overwritten.
    """
    try:
        with only_one(directory, settings.local):
            if Ledger(ledger_directory, settings.local.url).written_at == ledger.written_at:
                ledger.save()
    except AlreadyRunning:
        return ""
    except RegistryError as failure:
        return str(failure)
    return ""


def _report(settings: Settings, plan: PrunePlan, refused: str, began: float) -> Report:
    """Say what is, or was, forgotten."""
    summary: dict[str, Any] = dict.fromkeys(PRUNE_STATUSES, 0)
    for item in plan.items:
        summary[item.status] += 1
    summary["bytes"] = sum(item.size for item in plan.items if item.status in (DOOMED, PRUNED))
    summary["seconds"] = round(time.monotonic() - began, 3)
    return {
        "registry": report_registry(settings, plan.inventory, settings.images),
        "images": {item.name: _forgotten(item) for item in plan.items},
        "repositories": plan.emptied,
        "plan": plan.id,
        "ceiling": plan.ceiling,
        "refused": refused,
        "summary": summary,
    }


def _forgotten(item: Item) -> dict[str, Any]:
    return {
        "status": item.status,
        "local": item.digest,
        "bytes": item.size,
        "reason": item.reason,
        "twins": list(item.twins),
        "since": item.since,
        "cause": item.cause,
        "error": item.error,
    }
