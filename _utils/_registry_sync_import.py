"""Bring what a bundle has into the local registry: a copy like any other, whose source is a disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

from _registry_config_values import Settings
from _registry_http_retry import Run
from _registry_oci_errors import RegistryError
from _registry_show_progress import Progress
from _registry_show_report import Report
from _registry_store_bundle_base import write_stock
from _registry_sync_bundle import BundleSignatures, Opened, compare_with, look, open_bundle, told
from _registry_sync_bundle_inventory import stock_of
from _registry_sync_copy import TransferStats, execute
from _registry_sync_history import hold_back
from _registry_sync_ledger import Ledger, LedgerError
from _registry_sync_lock import only_one, stopping_on_signals
from _registry_sync_memory import Memory, Unfinished
from _registry_sync_plan import make_plan
from _registry_sync_publish import Publisher
from _registry_sync_record import backup_with, note_begin
from _registry_sync_report import report_on
from _registry_sync_space import demand_space
from _registry_sync_stores import open_stores
from _registry_sync_tag import Tag

log = logging.getLogger(__name__)


def import_bundle(
    settings: Settings,
    path: str,
    *,
    into: str = "",
    force: bool = False,
    accept: Sequence[str] = (),
    test: bool = False,
    directory: str = "",
    ledger_directory: str = "",
    storage: str = "",
    inventory: str = "",
    progress: Progress | None = None,
) -> Report:
    """Bring a bundle's images into the local registry; one that waits for something keeps no other back.

    Args:
        settings: of the local registry, and who must have signed which image.
        path: of the bundle, or of another OCI layout.
        into: ``repository`` or ``repository:tag`` for what has no name of its own.
        force: bring also what is older than what is here.
        accept: names of keys, one of which must have signed the bundle.
        test: change nothing.
        directory: of the run's lock, and of what need not be read again; empty = neither.
        ledger_directory: where is noted what was put into the registry; empty = nowhere.
        storage: the directory in which the local registry keeps its images; empty = it is not of this host.
        inventory: where is written what the registry has then; empty = nowhere.
        progress: is told what moves and what is done.

    Returns:
        A report with ``bundle``.

    Raises:
        AlreadyRunning: another sync or import into the same registry.
        BadBundle: it is none.
        NotSigned: nobody of ``accept`` has signed it.
    """
    began = time.monotonic()
    run = Run(settings.transfer)
    opened = open_bundle(settings, path, run, into=into, accept=accept, storage=storage)
    try:
        if test:
            report, _ = look(opened, Memory(directory), began, force=force)
            return report
        with only_one(directory, settings.local), stopping_on_signals(run):
            ledger = Ledger(ledger_directory, settings.local.url)
            report = _bring(opened, ledger, directory, storage, progress or Progress(), began, force=force)
        report["bundle"]["inventory"] = _write_inventory(settings, inventory)
        return report
    finally:
        opened.files.close()


def _bring(
    opened: Opened,
    ledger: Ledger,
    directory: str,
    storage: str,
    progress: Progress,
    began: float,
    *,
    force: bool,
) -> Report:
    settings, stores = opened.settings, opened.stores
    memory = Memory(directory)
    unfinished = Unfinished(directory, settings.local.url)
    comparison = compare_with(opened, memory, force=force)
    hold_back(comparison.tags, ledger)
    planned = make_plan(comparison, stores, unfinished.repositories, opened.leaves_out)
    demand_space(planned.bytes_to_copy, storage if settings.local.push_socket else "")
    unfinished.begin(tag.target for tag, _ in planned.content)
    keep = backup_with(settings.backup.tags, stores.target, ledger)
    signatures = Publisher(BundleSignatures(settings, stores.run, opened.files), planned, stores, memory)
    signatures.prepare(ledger.signatures)
    note_begin(ledger, comparison.tags, planned)

    def before_overwriting(tag: Tag) -> None:
        keep(tag)
        signatures.publish(tag)

    stats = execute(planned, stores, progress, before_overwriting=before_overwriting, put_here=ledger.digest)
    _note(ledger, comparison.tags, stats)
    memory.save()
    if all(tag.status in ("current", "copied", "held") for tag in comparison.tags):
        unfinished.end()
    report = report_on(settings, comparison, (), began, stats=stats)
    report["bundle"] = told(opened, comparison.tags)
    return report


def _note(ledger: Ledger, tags: Sequence[Tag], stats: TransferStats) -> None:
    """Note what has come; that a list is complete only a sync can say."""
    for tag in tags:
        if tag.status == "copied" and tag.previous != tag.upstream:
            ledger.became(tag.target, tag.target_reference, tag.upstream)
    attached: Mapping[tuple[str, str], str] = stats.attached
    for (repository, name), digest in attached.items():
        ledger.became(repository, name, digest)
    try:
        ledger.save()
    except LedgerError as failure:
        log.warning("%s; what this import brings counts as somebody else's, and is never pruned", failure)


def _write_inventory(settings: Settings, file: str) -> str:
    """Write what the registry has now, for the way back; where, or nothing where that failed."""
    if not file:
        return ""
    stores = open_stores(settings, Run(settings.transfer))
    try:
        write_stock(stock_of(stores, settings), file)
    except RegistryError as failure:
        log.warning("no inventory was written: %s", failure)
        return ""
    finally:
        stores.close()
    return file
