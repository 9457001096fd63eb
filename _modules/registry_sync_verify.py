"""Prove that a registry is whole, and repair it: one more function of ``registry_sync``."""

import logging
from pathlib import Path

from salt.exceptions import CommandExecutionError

# Modules, not their functions: whatever function stands here is one of registry_sync to Salt.
import _registry_show_prometheus as metrics
import _registry_state_progress as telling
import _registry_state_settings as checked
import _registry_state_storage as storage
import _registry_sync_ledger as ledger
import _registry_sync_verify_memory as remembered
import _registry_sync_verify_run as commands
from _registry_oci_errors import RegistryError
from _registry_show_report import verify_code

log = logging.getLogger(__name__)

__virtualname__ = "registry_sync"
__outputter__ = {"verify": "registry_sync"}


def __virtual__():  # noqa: N807 - Salt's own name
    """Beside the functions of the file ``registry_sync.py``."""
    return __virtualname__


def verify(fast=False, repair=None):
    """
    Look whether the local registry is whole: every pointer is followed (tags, revisions, layer links,
    children of indexes, attachments) and every byte is hashed, once for each blob. What is broken is named by
    its file and by the images that it breaks.

    Where the registry's files are on this host they are read; else everything is read through its API, which
    takes longer and is said in ``registry``. What was hashed within ``docker_registry:verify:every`` and has
    not changed since is not hashed again, so that a run goes on where one before it was stopped. At most
    ``verify:bandwidth`` bytes a second are read, by threads that are nice to the host's other work.

    What is younger than a minute, and wrong, may be under way: it is read again, and never called broken.

    A repair brings what is bad, and nothing else, from the upstream that the image list names. The bad file
    is renamed aside (``.registry_sync/quarantine`` below the storage directory, kept for 7 days) right before
    the last of the right bytes are sent; then the registry is read back and hashed. Links are made anew by
    the registry itself. What upstream has not any more, or has as other bytes, is ``lost``, and is left as it
    was.

    While it runs, a terminal or log shows how far it is, and the event bus gets
    ``salt/registry_sync/ID/verify/progress`` and ``…/verify/done``, as ``sync`` has them.

    Args:
        fast: follow pointers and compare sizes, and hash manifests alone.
        repair: repair what is broken; without it what ``docker_registry:verify:repair`` says.

    Returns:
        A report. Every key is always there.

        ``registry``
            ``url``, ``up``, ``repositories``, ``tags``, ``storage`` (the directory that was read; empty where
            it was the API) and ``reason`` (why it was the API).
        ``images``
            ``repository:tag``, or ``repository@digest`` of what is broken without a tag → ``status``:
            ``whole``, ``broken``, ``repaired`` or ``lost``; ``local``, its digest; ``blobs`` (digests) and
            ``links`` (paths) that are, or were, broken; ``cause`` and ``error`` of a repair that failed.
        ``blobs``
            of blobs and manifests that are not as they should be: digest → ``status``: ``missing``,
            ``short``, ``corrupt``, ``unreadable``, ``repaired`` or ``lost``; ``was``, the status before a
            repair; ``path``; ``manifest``, whether it is one; ``bytes``, as many as it should have;
            ``images`` that need it; ``moved``, bytes that came from upstream; ``cause`` and ``error``.
        ``links``
            path → ``status`` (also ``empty`` or ``wrong``); ``of``: ``tag``, ``revision`` or ``layer``;
            ``repository``, ``digest``, and the rest as of a blob.
        ``loose``
            what belongs to no image and is not called broken: ``untagged``, ``unreferenced``,
            ``dangling_tags``, ``empty_links``, ``empty_repositories``, ``old_uploads`` and ``young``, each
            with ``count`` and ``bytes``.
        ``unread``
            path or digest → why this run could not read it.
        ``summary``
            how many images have each status; ``blobs`` and ``bytes`` here; ``bad`` files; ``hashed`` and
            ``bytes_hashed`` by this run, ``left`` by it; ``unread``; ``bytes_moved``; ``seconds``.

        The return code: 0 whole, 1 not all could be read, 2 something is broken.

    Raises:
        CommandExecutionError: a mistake in the pillar, the registry cannot be read, or a sync of the same
            registry runs while something is to be repaired.

    CLI Example:

    .. code-block:: bash

        salt-call registry_sync.verify
        salt '*' registry_sync.verify fast=True
        salt-call registry_sync.verify repair=True
    """
    settings = checked.with_list(_settings, __salt__, __context__)
    try:
        report = commands.verify(
            settings,
            storage.storage_here(settings, __salt__),
            directory=_directory(),
            ledger_directory=ledger.directory_below(__opts__["root_dir"]),
            fast=fast,
            repair=settings.verify.repair if repair is None else repair,
            progress=_progress,
        )
    except RegistryError as failure:
        raise CommandExecutionError(str(failure)) from None
    remembered.note_verified(_directory(), report, fast=fast)
    _tell(report)
    if settings.metrics:
        _measure(settings, report, fast)
    __context__["retcode"] = verify_code(report)
    return report


def repairs():
    """
    Whether ``docker_registry:verify:repair`` has what is broken repaired.

    Returns:
        True or False.

    Raises:
        CommandExecutionError: a mistake in the pillar.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_sync.repairs
    """
    return _settings().verify.repair


def _directory():
    return str(Path(__opts__["cachedir"]) / "registry_sync")


def _settings(listing=None):
    return checked.settings_of(__pillar__, __grains__, __salt__, __context__, listing=listing)


def _tell(report):
    """Leave a line of the log for each file that is, or was, broken."""
    files = [(blob["path"], blob) for blob in report["blobs"].values()]
    for path, found in [*files, *report["links"].items()]:
        log.warning("%s was %s, is %s: %s", path, found["was"], found["status"], found["error"] or "-")


def _progress():
    return telling.progress_of(__opts__, __salt__, log.info, "verify")


def _measure(settings, report, fast):
    try:
        metrics.write_verify_metrics(settings.metrics, report, fast=fast)
    except OSError as failure:
        log.warning("docker_registry:metrics: not written: %s", failure)
