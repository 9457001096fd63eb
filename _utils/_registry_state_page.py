"""Write the page of a mirror: what is gathered for it on this host, and where it goes."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from datetime import timezone
from pathlib import Path
from typing import Any

from _registry_config_values import Settings
from _registry_oci_errors import RegistryError
from _registry_show_page import Disk, Extras, Repository, host_page
from _registry_show_page_file import write_page
from _registry_show_page_runs import MOST_RUNS
from _registry_show_report import Report
from _registry_state_storage import own_certificate, own_storage
from _registry_sync_sizes import Sizes, sizes_of
from _registry_sync_snapshot import read_runs, read_snapshot
from _registry_sync_verify_memory import last_verified

log = logging.getLogger(__name__)

Functions = Mapping[str, Callable[..., Any]]


def put_page(
    path: str,
    settings: Settings,
    report: Report | None,
    *,
    directory: str,
    minion: str,
    functions: Functions,
    written_by: str,
) -> int:
    """Write the page of the last run, with what is known beside it.

    Args:
        path: absolute; its directory exists.
        settings: the pillar.
        report: of that run; None = it ended without one, or it is not known any more.
        directory: in which runs keep what outlives them.
        minion: its id.
        functions: ``__salt__``.
        written_by: the command that writes the page.

    Returns:
        Its bytes.

    Raises:
        OSError: it cannot be written; an older one is as it was.
    """
    snapshot = read_snapshot(directory)
    sizes = _sizes(settings, report, directory)
    extras = Extras(
        written_at=time.time(),
        written_by=written_by,
        max_age=settings.page.max_age,
        minion=minion,
        repositories={name: Repository(sizes.tags[name], size) for name, size in sizes.repositories.items()},
        size=sizes.whole,
        unread=sizes.unread,
        disk=_disk(own_storage(settings, functions)),
        certificate_ends=_end_of(own_certificate(settings, functions)),
        verified=last_verified(directory, settings.local.url),
    )
    return write_page(path, host_page(report or {}, snapshot, read_runs(directory, MOST_RUNS), extras))


def _sizes(settings: Settings, report: Report | None, directory: str) -> Sizes:
    if not report or not report["registry"]["up"]:
        return Sizes()
    try:
        return sizes_of(settings, report["images"], directory)
    except RegistryError as failure:
        log.info("the page tells no sizes: %s", failure)
        return Sizes()


def _disk(storage: str) -> Disk | None:
    try:
        usage = shutil.disk_usage(storage) if storage else None
    except OSError:
        return None
    return Disk(storage, usage.total, usage.free) if usage else None


def _end_of(certificate: str) -> float:
    """When a certificate ends, in seconds since 1970; 0.0 = there is none, or it cannot be told."""
    try:
        # salt-ssh brings none of Salt's packages to its target.
        from cryptography import x509

        read = x509.load_pem_x509_certificate(Path(certificate).read_bytes()) if certificate else None
    except (ImportError, OSError, ValueError):
        return 0.0
    if read is None:
        return 0.0
    # cryptography 42 brought the one that knows its zone, and warns of the other.
    known = getattr(read, "not_valid_after_utc", None)
    end = known or read.not_valid_after.replace(tzinfo=timezone.utc)
    return float(end.timestamp())
