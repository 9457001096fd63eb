"""Free the space of images that are gone: one more function of ``registry_sync``.

It runs docker-distribution's own ``garbage-collect`` on the host of the registry, and only where its dry run
agrees with our own reading of the disk.
"""

import dataclasses
import logging
import time
from pathlib import Path

from salt.exceptions import CommandExecutionError

# Modules, not their functions: whatever function stands here is one of registry_sync to Salt.
import _registry_host_address as address
import _registry_host_collector as rules
import _registry_host_service as host
import _registry_show_prometheus as metrics
import _registry_state_pushes as push_service
import _registry_state_settings as checked
import _registry_sync_collect_apply as space
import _registry_sync_commands as commands
import _registry_sync_lock as lock
from _registry_sync_collect import Collected

log = logging.getLogger(__name__)

__virtualname__ = "registry_sync"
__outputter__ = {"collect": "registry_sync"}


def __virtual__():  # noqa: N807 - Salt's own name
    """Beside the functions of the file ``registry_sync.py``."""
    return __virtualname__


def collect(dry=False):
    """
    Free the space that no image of the registry on this host needs any more, such as after a prune.

    Pulls go on. The service through which this host pushes is stopped for some seconds; a push that is under
    way ends within five, or fails. What no manifest names and came within ``docker_registry:collect:grace``
    stays, as a push may be about to name it, and so do uploads under way. Untagged images stay, and with
    them all that an index names: ``registry_sync.prune`` says what goes. Repositories that hold nothing any
    more go with ``docker_registry:prune:repositories``.

    Nothing is done where others may push (``docker_registry:registry:push: everyone``), where the images are
    not files of this host alone, where this formula has not set up the registry, where a manifest or a link
    on the disk cannot be read, and where the registry's own ``garbage-collect`` would take what is needed, or
    has not found every manifest.

    Whatever becomes of the run, pushes are possible again: a guard starts the service once the run and what
    it has started are gone; else the next boot, sync or collection does.

    Args:
        dry: only say what could be freed; nothing is stopped.

    Returns:
        A report. Every key is always there.

        ``registry``
            as ``check`` has it.
        ``seconds``
            that all of it took.
        ``read_only_seconds``
            for how long this host could not push.
        ``manifests``
            that repositories serve.
        ``blobs``, ``bytes``
            freed, or to be freed; manifests that are gone lie among them.
        ``leased``
            how many blobs nothing names and stay, since they are young.
        ``repositories``
            empty ones that were, or would be, removed.
        ``refused``
            why nothing was done; empty where nothing stood against it.
        ``error``
            what went wrong; empty where all went well.

        The return code: 0, or 1 where it was refused or went wrong.

    Raises:
        CommandExecutionError: a mistake in the pillar, or a sync of the same registry runs.

    CLI Example:

    .. code-block:: bash

        salt 'mirror*' registry_sync.collect dry=True
        salt 'mirror*' registry_sync.collect
    """
    began = time.monotonic()
    settings = checked.settings_of(__pillar__, __grains__, __salt__, __context__)
    refused, site = _site(settings)
    found = Collected(refused=refused) if site is None else _freed(settings, site, dry)
    report = _report(settings, found, began)
    if settings.metrics and not dry:
        _measure(settings, report)
    __context__["retcode"] = 1 if report["refused"] or report["error"] else 0
    return report


def _freed(settings, site, dry):
    if dry:
        return space.foresee(site)
    directory = str(Path(__opts__["cachedir"]) / "registry_sync")
    try:
        with lock.only_one(directory, settings.local):
            found = space.collect(site)
    except lock.AlreadyRunning as failure:
        raise CommandExecutionError(str(failure)) from None
    if found.blobs or found.repositories:
        log.warning(
            "freed %d bytes in %d blobs; removed the repositories %s",
            found.size,
            found.blobs,
            found.repositories,
        )
    return found


def _site(settings):
    """Why nothing must be freed here, and else of what and how."""
    if against := rules.against_pillar(settings.service):
        return against, None
    if not address.is_here(settings.local.host, __salt__):
        return f"{settings.local.name} is not on this host", None
    service = push_service.find(settings.local.port)
    if service is None or not __salt__["registry_backup.is_ours"]():
        return (
            f"this formula has not set up {settings.local.name}, or without a service for pushes; "
            "apply docker_registry first"
        ), None
    pushes = push_service.config_of(service.config)
    if against := rules.against_configs(_public_config(), pushes):
        return against, None
    storage = host.storage_location(pushes)
    if against := _against_storage(settings, storage):
        return against, None
    return "", space.Site(
        storage=storage,
        pushes=push_service.pushes_of(service.name, __salt__),
        collector=space.Collector(service.command, service.config, service.user, service.group),
        lock=push_service.lock_file(__opts__, settings.local.port),
        grace=settings.collect.grace,
        repositories=settings.prune.repositories,
    )


def _public_config():
    """What clients reach; the first file that was saved when the formula set it up."""
    files = list(__salt__["registry_backup.saved_state"]().get("files") or {})
    return push_service.config_of(files[0]) if files else {}


def _against_storage(settings, storage):
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    if kind := rules.shared_file_system(mounts, str(Path(storage).resolve())):
        return f"{storage} is on {kind}, to which other hosts may write meanwhile"
    if space.takes_writes(dataclasses.replace(settings.local, push_socket=""), storage):
        return f"{settings.local.name} takes writes from the network; restart it: apply docker_registry"
    return ""


def _report(settings, found, began):
    told = dataclasses.asdict(found)
    return {
        "registry": commands.registry(settings),
        "seconds": round(time.monotonic() - began, 3),
        "read_only_seconds": round(told.pop("read_only_seconds"), 3),
        "bytes": told.pop("size"),
        **told,
    }


def _measure(settings, report):
    try:
        metrics.write_collect_metrics(settings.metrics, report)
    except OSError as failure:
        log.warning("docker_registry:metrics: not written: %s", failure)
