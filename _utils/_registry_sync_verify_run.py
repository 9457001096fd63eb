"""Verify a registry, and repair it: what an operator asks for, settings in, plain JSON out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from _registry_config_values import Settings
from _registry_http_retry import Run
from _registry_oci_errors import RegistryError
from _registry_show_progress import Progress
from _registry_show_report import Report
from _registry_store_disk import DiskStore
from _registry_store_remote import RemoteStore
from _registry_sync_lock import only_one, stopping_on_signals
from _registry_sync_repair import repair as repair_findings
from _registry_sync_stores import Stores, open_stores
from _registry_sync_verify import Reader, look
from _registry_sync_verify_disk import DiskReader
from _registry_sync_verify_hash import Hashing
from _registry_sync_verify_loose import count_loose
from _registry_sync_verify_memory import Hashed
from _registry_sync_verify_remote import RemoteReader
from _registry_sync_verify_report import report_on_verify

# What is broken answers 500 for ever: a few tries tell it from a registry that restarts.
RETRIES = 2


class Storage(NamedTuple):
    """Where the files of the local registry are.

    Args:
        path: of the storage directory on this host; empty = not here.
        reason: why it is not known, or not here.
    """

    path: str = ""
    reason: str = ""


def verify(
    settings: Settings,
    storage: Storage,
    *,
    directory: str = "",
    ledger_directory: str = "",
    fast: bool = False,
    repair: bool = False,
    progress: Callable[[], Progress] = Progress,
) -> Report:
    """Read a registry byte by byte, and repair what is broken where that is asked for.

    Args:
        settings: the registry, how it is verified, and where its images come from.
        storage: where its files are.
        directory: of the run's lock and for large blobs under way; empty = neither.
        ledger_directory: where is noted what was hashed; empty = nowhere.
        fast: pointers and sizes alone.
        repair: whether anything is changed.
        progress: makes what is told of one part of the run.

    Raises:
        AlreadyRunning: a sync, prune or repair of the same registry.
        RegistryError: it cannot be read.
    """
    began = time.monotonic()
    run = Run(replace(settings.transfer, retries=min(RETRIES, settings.transfer.retries)))
    pace = Run(replace(settings.transfer, bandwidth=settings.verify.bandwidth))
    pace.stopping = run.stopping
    stores = open_stores(settings, run)
    disk, told = _disk_of(storage, stores)
    memory = Hashed(ledger_directory, settings.local.url, settings.verify.every)
    reader: Reader = DiskReader(disk, run) if disk else RemoteReader(stores)
    with only_one(directory if repair else "", settings.local), stopping_on_signals(run):
        if disk is None:
            stores.connect_target()
        verified = look(reader, Hashing(pace, progress()), memory, fast=fast)
        loose = count_loose(verified, disk)
        if repair:
            repair_findings(verified, reader, settings, stores, disk, progress(), directory=directory)
    return report_on_verify(settings, verified, loose, told, began)


def _disk_of(storage: Storage, stores: Stores) -> tuple[DiskStore | None, dict[str, str]]:
    """The registry's files, if they are here, are its own and can be read; else why not."""
    disk = DiskStore(storage.path)
    reason = storage.reason if not storage.path else disk.readable() or _why_another(disk, stores)
    if reason:
        return None, {"storage": "", "reason": reason}
    return disk, {"storage": disk.root, "reason": ""}


def _why_another(disk: DiskStore, stores: Stores) -> str:
    """Why the files are not those of the registry that answers; empty where it does not answer."""
    name = ""
    if isinstance(stores.target, RemoteStore):
        with contextlib.suppress(RegistryError):
            name = stores.target.first_repository()
    if name and not disk.parts(name):
        return f"{disk.root} does not have {name}, which {stores.target} names: it is another registry's"
    return ""
