"""Mirror container images from one registry into another.

What is mirrored, from where and into which registry stands in the pillar ``docker_registry``; see
``pillar.example``.

``check``, ``plan`` and ``sync`` return the same report:

``registry``
    the local one: ``url``, ``up``, ``repositories`` and ``tags`` (how many it holds), ``error``.
``images``
    ``repository:tag`` as it stands locally → ``status`` (``current``, ``missing``, ``stale``,
    ``extra``, ``unreadable``; after a sync ``current``, ``copied``, ``failed``), ``upstream`` and
    ``local`` (digests), ``bytes`` (to move or moved for this tag; a blob that several need is counted
    once; ``check`` does not read manifests and gives 0), ``cause`` (``auth``, ``absent``, ``rate``,
    ``network``, ``space``, ``digest``, ``unsupported``, ``internal`` or empty) and ``error`` (one
    sentence or empty).
``summary``
    how many tags have each status, and ``tags`` (wanted), ``blobs`` and ``bytes`` (to move or moved),
    ``blobs_copied``, ``blobs_mounted``, ``seconds``.

The return code, kept by ``salt-call --retcode-passthrough``: 0 in step, 1 something failed, 2 the
mirror lags.
"""

import logging
import sys
from pathlib import Path

from salt.exceptions import CommandExecutionError

# Modules, not their functions: whatever function stands here is one of registry_sync to Salt.
import _registry_brief as nagios
import _registry_metrics as metrics
import _registry_mirror as mirror
import _registry_progress as progress
import _registry_settings as pillar_settings
from _registry_errors import RegistryError

log = logging.getLogger(__name__)

__func_alias__ = {"list_": "list"}
__outputter__ = dict.fromkeys(("check", "plan", "sync", "list_"), "registry_sync")
__virtualname__ = "registry_sync"


def __virtual__():
    return __virtualname__


def check(brief=False):
    """Read both registries and change nothing: what is missing, stale or extra here.

    Args:
        brief: answer as a plugin of Nagios and its like would, in one line, with the return code that
            its first word stands for there: 0 ``OK``, in step; 1 ``WARNING``, some tags could not be
            read; 2 ``CRITICAL``, the registry is down, or tags are missing or stale; 3 ``UNKNOWN``, a
            mistake in the pillar.

    Returns:
        The report. ``extra`` are tags that the local registry holds and the list does not want.

    Raises:
        CommandExecutionError: a mistake in the pillar, named by its key.

    CLI Example:

    .. code-block:: bash

        salt-call registry_sync.check
        salt-call registry_sync.check --out=json --retcode-passthrough
        salt-call registry_sync.check brief=True --retcode-passthrough
    """
    try:
        settings = _settings()
    except CommandExecutionError as mistake:
        if brief:
            return _graded(*nagios.unknown(str(mistake)))
        raise
    report = _check(settings)
    return _graded(*nagios.brief(report)) if brief else _coded(report)


def plan(fresh=False):
    """Say what a sync would do, with the blobs and bytes that it would move; nothing is written.

    Args:
        fresh: take a local registry that cannot be read for one that is still empty, as before the
            formula's first run.

    Returns:
        The report.

    Raises:
        CommandExecutionError: a mistake in the pillar, named by its key.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_sync.plan
    """
    return _coded(mirror.plan(_settings(), fresh=fresh))


def sync():
    """Bring the local registry in step with the list; what cannot be copied does not stop the rest.

    With ``docker_registry:sync: false`` nothing is copied and the report is that of ``check``.

    A run that is killed leaves whole images; the next one goes on with a large blob where the
    registry's last answer left it. SIGINT and SIGTERM end a run within two seconds, with its report.

    Returns:
        The report.

    Raises:
        CommandExecutionError: another sync into the same registry runs, or a mistake in the pillar.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_sync.sync
    """
    settings = _settings()
    if not settings.sync:
        return _coded(_check(settings))
    directory = str(Path(__opts__["cachedir"]) / "registry_sync")
    try:
        report = mirror.sync(settings, directory=directory, progress=_progress())
    except RegistryError as failure:
        raise CommandExecutionError(str(failure)) from None
    return _coded(_measured("sync", settings, report))


def list_():
    """List what the local registry holds.

    Returns:
        Repository → tag → digest.

    Raises:
        CommandExecutionError: the registry cannot be read, or a mistake in the pillar.

    CLI Example:

    .. code-block:: bash

        salt-call registry_sync.list
    """
    try:
        return mirror.holdings(_settings())
    except RegistryError as failure:
        raise CommandExecutionError(str(failure)) from failure


def registry():
    """The local registry in short.

    Returns:
        ``url``, ``up``, ``repositories``, ``tags`` and ``error``.

    CLI Example:

    .. code-block:: bash

        salt-call registry_sync.registry
    """
    return mirror.registry(_settings())


def populated():
    """Whether the local registry answers and holds a repository; an unreachable one does not.

    CLI Example:

    .. code-block:: bash

        salt-call registry_sync.populated
    """
    return mirror.populated(_settings())


def sync_enabled():
    """Whether the pillar lets images be copied (``docker_registry:sync``).

    CLI Example:

    .. code-block:: bash

        salt-call registry_sync.sync_enabled
    """
    return _settings().sync


def _settings():
    # Not pillar.get: from 3008 on it gives modules asterisks for values.
    pillar = __salt__["pillar.raw"]("docker_registry")
    host = __grains__.get("fqdn") or __grains__.get("host") or "localhost"
    undercloud = isinstance(pillar, dict) and pillar.get("undercloud") is True
    try:
        return pillar_settings.read_settings(pillar, host=host, undercloud=undercloud)
    except pillar_settings.SettingsError as mistake:
        raise CommandExecutionError(str(mistake)) from None


def _check(settings):
    return _measured("check", settings, mirror.check(settings))


def _measured(function, settings, report):
    """Pass a report on; what Prometheus is to know of it never makes a run fail."""
    if settings.metrics:
        success = mirror.return_code(report) == mirror.IN_STEP
        try:
            metrics.write_metrics(settings.metrics, function, settings, report, success=success)
        except OSError as failure:
            log.warning("docker_registry:metrics: not written: %s", failure)
    return report


def _progress():
    """Where a run tells how far it has come: to whoever typed the command, and to the master."""
    typed = __opts__.get("__cli") == "salt-call" and sys.stderr.isatty()
    sinks = [progress.on_terminal(sys.stderr) if typed else progress.in_log(log.info)]
    if _has_master():
        # Taken out of __salt__ here, which is empty in the thread that sends.
        sinks.append(progress.Events(__salt__["event.send"], f"salt/registry_sync/{__opts__['id']}"))
    return progress.Progress(sinks)


def _has_master():
    if __opts__.get("use_master_when_local"):
        return True
    alone = (
        __opts__.get("local"),
        __opts__.get("file_client") == "local",
        __opts__.get("master_type") == "disable",
        __opts__.get("__role") == "master",
    )
    return not any(alone)


def _coded(report):
    return _graded(mirror.return_code(report), report)


def _graded(code, answer):
    __context__["retcode"] = code
    return answer
