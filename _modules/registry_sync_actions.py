"""Mirror container images from one registry into another: functions of ``registry_sync``.

What is mirrored, from where and into which registry stands in the pillar ``docker_registry``; see
``pillar.example``. A mistake there is one sentence that names the key, before anything is asked or
touched.

``check`` looks, ``plan`` says what would be moved, ``sync`` moves it, ``list`` says what is there. On a
terminal they are tables (outputter ``registry_sync``); ``--out=json`` gives the data that they return,
which is told in full at ``check``. With ``docker_registry:metrics`` each ``check`` and ``sync`` also
writes figures for Prometheus, with ``docker_registry:schedule`` and the state file
``docker_registry.schedule`` the minion runs one of them by itself.

Salt's loader reads the files ``registry_sync_*.py`` in the order of their names until one has the function
that is called. What is called most so comes first.
"""

import logging
from pathlib import Path

from salt.exceptions import CommandExecutionError

import _registry_config_validators as validators
import _registry_config_warnings as reminders
import _registry_host_pull as engine_pull

# Modules, not their functions: whatever function stands here is one of registry_sync to Salt.
import _registry_show_nagios as nagios
import _registry_show_prometheus as metrics
import _registry_state_last_run as past
import _registry_state_progress as telling
import _registry_state_settings as checked
import _registry_state_storage as files
import _registry_sync_commands as commands
import _registry_sync_ledger as ledger
import _registry_tripleo_check as deployment
import _registry_tripleo_files as undercloud_files
from _registry_config_validators import SettingsError
from _registry_oci_errors import RegistryError
from _registry_show_report import UP_TO_DATE

log = logging.getLogger(__name__)

__virtualname__ = "registry_sync"
__func_alias__ = {"list_": "list"}
__outputter__ = dict.fromkeys(("check", "plan", "sync", "list_"), "registry_sync")


def __virtual__():  # noqa: N807 - Salt's own name
    """Beside the functions of the file ``registry_sync.py``."""
    return __virtualname__


def check(brief=False, images_file="", environment="", everything=False):
    """
    Read both registries and change nothing: what is missing, stale or extra here.

    The list of images, where they come from and where they are kept stand in the pillar ``docker_registry``;
    the formula's ``pillar.example`` has every key. Each tag is asked for once on each side, by HEAD, which
    does not count as a pull. One that cannot be read does not keep the others from being told. Of a registry
    that the formula has set up on this host, the files are read and hashed in place of most of its questions;
    what they do not show as whole it is asked for.

    A terminal shows a table; ``--out=json`` gives the data told below. With ``docker_registry:metrics``
    figures for Prometheus are written, too.

    Only the repositories of the list are looked at; of the others the number and the names are told.

    Args:
        brief: answer in one line, as a plugin of Nagios and its like would, with the return code that its
            first word stands for there:

            * 0 ``OK``: up to date;
            * 1 ``WARNING``: some tags could not be read, none is known to be missing or stale;
            * 2 ``CRITICAL``: tags are missing or stale, or the registry is down;
            * 3 ``UNKNOWN``: a mistake in the pillar or in a file.

            They are not the return codes below: a registry that is down is the worst that there is to a
            monitor, and a failure like others to a script.
        images_file: path of a file that lists images as ``openstack overcloud container image prepare``
            writes it; it takes the place of the pillar's list.
        environment: path of a heat environment for ``openstack overcloud deploy``. In place of a list,
            what its ``DockerXImage`` or ``ContainerXImage`` parameters name is looked for in the local
            registry; upstream is not asked.
        everything: list the tags of repositories that the image list does not name, too, as ``extra``.

    Returns:
        A report, which is that of ``plan`` and ``sync`` too. Every key is always there.

        ``registry``
            the local one: ``url``; ``up``, whether it answers; ``repositories``, how many it holds;
            ``tags``, how many are in those of the list; ``others``, the names of repositories that the
            list does not name; ``error``, why it does not answer, or what it would not say; ``upstreams``,
            each that the list names as ``host:port``.
        ``images``
            ``repository:tag`` as it stands locally → ``status``; ``upstream`` and ``local``, the digests;
            ``previous``, the digest before a sync that copied it; ``bytes``, to move or moved for this tag
            (a blob that several need is counted once; ``check`` gives 0); ``cause`` and ``error``, one word
            and one sentence about a failure; of a ``held`` tag what holds it stands in ``error``, of one that
            is ``current`` or ``copied`` why its signatures are not all here; ``attachments``, how many
            signatures and other things that upstream has attached to it are ``here``, are ``lacking``, or are
            ``skipped`` since the pillar leaves them out; ``signed_by``, the names of the keys that have
            signed it, where the list says that it must be signed.
        ``summary``
            how many tags have each status; ``tags`` that the list wants; ``blobs`` and ``bytes`` to move
            or moved; ``blobs_copied``, ``blobs_mounted``; ``attachments``, those of all tags; ``signed``, how
            many were found signed as the list wants it; ``seconds``.

        A status is ``current``, ``missing``, ``stale`` (upstream has another digest, or something attached
        that is lacking here), ``held`` (it has another digest, and a roll-back holds ours), ``extra`` (not
        in the image list) or ``unreadable``; after a sync ``current``, ``copied``, ``held`` or ``failed``.

        A cause is ``auth`` (refused; some registries say so of what does not exist), ``absent``, ``rate``
        (429, and waiting did not help), ``network``, ``space`` (the local disk is full), ``digest`` (not
        what its name says), ``unsupported``, ``signature`` (nobody of ``signed_by`` has signed it) or
        ``internal``.

        The return code, kept by ``--retcode-passthrough``: 0 up to date, 1 something failed, 2 the mirror
        is out of date.

    Raises:
        CommandExecutionError: a mistake in the pillar, named by its key, or in a file.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_sync.check
        salt-call registry_sync.check
        salt-call registry_sync.check --out=json --retcode-passthrough
        salt-call registry_sync.check brief=True --retcode-passthrough
        salt-call registry_sync.check environment=/home/stack/overcloud-container-images.yaml
    """
    try:
        report = (
            _check_environment(environment, images_file) if environment else _check(images_file, everything)
        )
    except CommandExecutionError as mistake:
        if brief:
            return _graded(*nagios.unknown(str(mistake)))
        raise
    return _graded(*nagios.brief(report)) if brief else _coded(report)


def plan(fresh=False, images_file=""):
    """
    Say what ``sync`` would do, with the blobs and bytes that it would move; nothing is written.

    Args:
        fresh: take a local registry that cannot be read for one that is still empty, as before the
            formula's first run.
        images_file: as in ``check``.

    Returns:
        A report as that of ``check``, with ``bytes`` and ``blobs`` to move, and the same return codes.

    Raises:
        CommandExecutionError: a mistake in the pillar, named by its key, or in a file.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_sync.plan
        salt-call registry_sync.plan --out=json
    """
    settings = _settings(images_file)
    return _coded(commands.plan(settings, **_places(settings), fresh=fresh))


def sync(images_file=""):
    """
    Bring the local registry up to date with the list; what cannot be copied does not stop the rest.

    With ``docker_registry:sync: false`` nothing is copied and the report is that of ``check``.

    A run that is killed leaves whole images; the next one goes on with a large blob where the
    registry's last answer left it. SIGINT and SIGTERM end a run within two seconds, with its report.

    While it runs, a terminal shows how far it is and which blob is under way: two live lines where the Python
    package rich is installed, else a plain line every five seconds. A log has a line a tag at level info. The
    master's event bus gets:

    ``salt/registry_sync/ID/image``
        for each tag that is done with: ``name``, ``status``, ``cause``, ``error``;
    ``salt/registry_sync/ID/progress``
        at most every two seconds: ``tags``, ``landed`` (done with), ``failed``, ``blobs``, ``bytes``,
        ``moved``, ``rate`` (bytes a second), ``seconds``, ``seconds_left``;
    ``salt/registry_sync/ID/done``
        the same, once, at the end.

    With ``docker_registry:metrics`` figures for Prometheus are written at the end. With
    ``docker_registry:schedule`` and the state file ``docker_registry.schedule`` the minion runs it by itself.

    Args:
        images_file: as in ``check``.

    Returns:
        A report as that of ``check``; ``copied`` and ``failed`` are what happened, ``bytes`` and ``blobs``
        what was moved. The return code is 0, or 1 where something failed.

    Raises:
        CommandExecutionError: another sync into the same registry runs, or a mistake in the pillar.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_sync.sync
        salt-call registry_sync.sync
        salt-call registry_sync.sync images_file=/home/stack/upstream-container-images.yaml
        salt-run state.event 'salt/registry_sync/*' pretty=True
    """
    last_run = _last_run(images_file)
    with last_run.failures("sync"):
        __salt__["registry_push.recover"]()
        settings = _settings(images_file)
    if not settings.sync:
        return _coded(_check(images_file))
    with last_run.failures("sync", settings):
        report = commands.sync(settings, **_places(settings), progress=_progress())
    return _coded(report if images_file else _measured("sync", settings, report))


def list_():
    """
    List what the local registry holds, whether the list wants it or not.

    Returns:
        Repository → tag → digest; a table on a terminal.

    Raises:
        CommandExecutionError: the registry cannot be read, or a mistake in the pillar.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_sync.list
        salt-call registry_sync.list --out=json
    """
    try:
        return commands.listing(_pillar_settings())
    except RegistryError as failure:
        raise CommandExecutionError(str(failure)) from failure


def pull(name):
    """
    Pull an image through this host's own engine, as a user of the mirror would.

    Needs docker's SDK for Python beside Salt (``salt-pip install docker``), and docker or podman's API socket
    (``podman.socket``).

    Args:
        name: ``repository:tag`` as ``check`` shows it.

    Returns:
        ``image``, ``digest``, ``seconds`` and ``error`` (one sentence; the return code is 1 then).

    Raises:
        CommandExecutionError: the name is none, or a mistake in the pillar.

    CLI Example:

    .. code-block:: bash

        salt-call registry_sync.pull rhosp13/openstack-cron:13.0
    """
    name = checked.argument(validators.string, name, "name")
    try:
        pulled = engine_pull.pull(_pillar_settings().local, name)
    except SettingsError as mistake:
        raise CommandExecutionError(str(mistake)) from None
    __context__["retcode"] = 1 if pulled["error"] else 0
    return pulled


def registry():
    """
    The local registry in short: does it answer, and how much does it hold?

    Returns:
        ``url``, ``up``, ``repositories``, ``tags``, ``error`` and ``upstreams``, as under ``registry`` in
        ``check``.

    Raises:
        CommandExecutionError: a mistake in the pillar.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_sync.registry
    """
    return commands.registry(_pillar_settings())


def populated():
    """
    Whether the local registry answers and holds a repository; one that cannot be reached does not.

    Returns:
        True or False, without waiting for one that is down.

    Raises:
        CommandExecutionError: a mistake in the pillar.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_sync.populated
    """
    return commands.populated(_pillar_settings())


def warnings():
    """
    What the pillar has switched off and an operator should be reminded of.

    Returns:
        One sentence each, as for ``verify: false``; an empty list where all is well.

    Raises:
        CommandExecutionError: a mistake in the pillar.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_sync.warnings
    """
    return reminders.warnings_of(_pillar_settings())


def sync_enabled():
    """
    Whether the pillar lets images be copied (``docker_registry:sync``).

    Returns:
        True or False.

    Raises:
        CommandExecutionError: a mistake in the pillar.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_sync.sync_enabled
    """
    return _pillar_settings().sync


def _settings(images_file=""):
    """What the pillar says, with the list that a file or an undercloud's command line has written."""
    return checked.with_list(_pillar_settings, __salt__, __context__, images_file)


def _pillar_settings(listing=None):
    return checked.settings_of(__pillar__, __grains__, __salt__, __context__, listing=listing)


def _check(images_file, everything=False):
    with _last_run(images_file).failures("check"):
        settings = _settings(images_file)
    report = commands.check(settings, **_places(settings), everything=everything)
    return report if images_file else _measured("check", settings, report)


def _check_environment(file, images_file):
    if images_file:
        raise CommandExecutionError("give environment or images_file, not both")
    file = checked.argument(validators.string, file, "environment")
    settings = _pillar_settings()
    try:
        wanted = undercloud_files.wanted_images(checked.read_text(file), file)
    except undercloud_files.ListError as mistake:
        raise CommandExecutionError(str(mistake)) from None
    return deployment.check_deployment(settings, wanted)


def _places(settings):
    """Where things of a run are on this host."""
    return {
        "directory": _directory(),
        "ledger_directory": _ledger_directory(),
        "storage": files.own_storage(settings, __salt__),
    }


def _directory():
    return str(Path(__opts__["cachedir"]) / "registry_sync")


def _ledger_directory():
    return ledger.directory_below(__opts__["root_dir"])


def _measured(function, settings, report):
    """Pass a report on the pillar's own list on; what is kept of it never makes a run fail."""
    _last_run().note(function, settings, report)
    if settings.metrics:
        success = commands.return_code(report) == UP_TO_DATE
        try:
            metrics.write_metrics(settings.metrics, function, settings, report, success=success)
        except OSError as failure:
            log.warning("docker_registry:metrics: not written: %s", failure)
    return report


def _last_run(images_file=""):
    """Where the end of a run on the pillar's own list is noted."""
    return past.LastRun("" if images_file else _directory(), __opts__, __salt__)


def _progress():
    return telling.progress_of(__opts__, __salt__, log.info)


def _coded(report):
    return _graded(commands.return_code(report), report)


def _graded(code, answer):
    __context__["retcode"] = code
    return answer
