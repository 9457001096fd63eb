"""Forget images that no list wants, and go back to what a tag was: more functions of ``registry_sync``.

A prune goes by a ledger of what sync has put into the registry, ``/var/lib/docker_registry``: what stands
not in it is somebody else's and stays, unless ``docker_registry:prune:foreign`` says otherwise. Manifests
and tags are deleted; the space of their blobs comes free with the registry's own collection.
"""

import logging
import sys
from pathlib import Path

from salt.exceptions import CommandExecutionError

# Modules, not their functions: whatever function stands here is one of registry_sync to Salt.
import _registry_show_progress as progress
import _registry_show_prometheus as metrics
import _registry_show_sinks as listeners
import _registry_state_progress as telling
import _registry_state_settings as checked
import _registry_store_layout_index as names
import _registry_sync_history as past
import _registry_sync_ledger as ledger
import _registry_sync_prune_run as runs
import _registry_tripleo_files as undercloud_files
from _registry_oci_errors import RegistryError
from _registry_show_report import prune_code

log = logging.getLogger(__name__)

__virtualname__ = "registry_sync"
__outputter__ = dict.fromkeys(("prune", "history"), "registry_sync")


def __virtual__():  # noqa: N807 - Salt's own name
    """Beside the functions of the file ``registry_sync.py``."""
    return __virtualname__


def prune(plan="", automatic=False):
    """
    Say what could be forgotten, and why all else is kept; with the id of such a plan do exactly that.

    A tag goes that sync has put here, that no entry of the image list wants, that ``docker_registry:prune``
    does not keep, and that has waited for ``prune:after`` since it was first seen unwanted. A digest whose
    other tags stay is never deleted: the tag alone is taken away. What a kept index needs stays, and what
    only a pruned one needed goes. Right before each deletion the digest is read again.

    Nothing is deleted where the pillar names no images, where the ledger is lost or damaged, where no sync of
    this very list has ended without a failure yet, or where upstream cannot say what a pattern means (there
    the repository's tags stay).

    Each deletion is a line of the log at level warning and an event ``salt/registry_sync/ID/pruned`` before
    it happens: ``name``, ``digest``, ``reason``. A terminal has a line every two seconds with how far it is.

    Args:
        plan: the id that an earlier call has given; without it nothing is deleted.
        automatic: delete what has waited without an id, unless that is above ``prune:ceiling``; for the
            schedule and the state ``registry_sync.pruned``.

    Returns:
        A report. Every key is always there.

        ``registry``
            as ``check`` has it.
        ``images``
            ``repository:tag`` or ``repository@digest`` → ``status``: ``kept``, ``waiting``, ``doomed``,
            ``pruned`` or ``failed``; ``local``, its digest; ``bytes``, freed by a later collection;
            ``reason``; ``twins``, tags of the same digest that stay; ``since``, since when nothing wants it
            (seconds since 1970, 0 = it is wanted); ``cause`` and ``error`` of a failure.
        ``repositories``
            those that would hold no tag any more.
        ``plan``
            its id; empty where nothing is doomed.
        ``ceiling``
            why only ``plan=ID`` does it; empty where that is not needed.
        ``refused``
            why nothing was, or will be, deleted; empty where nothing stands against it.
        ``summary``
            how many have each status; ``bytes`` and ``seconds``.

        The return code: 0 nothing to do or done, 1 refused or something failed, 2 something is doomed.

    Raises:
        CommandExecutionError: a mistake in the pillar, or a sync of the same registry runs.

    CLI Example:

    .. code-block:: bash

        salt 'mirror*' registry_sync.prune
        salt 'mirror*' registry_sync.prune plan=p3f2a91c
    """
    settings = _settings()
    try:
        report = runs.prune(
            settings,
            **_places(),
            plan=str(plan),
            automatic=automatic,
            in_use=_in_use(settings),
            tell=_teller(),
            progress=_progress(),
            # A plan of a state is read and forgotten.
            noting=not __opts__.get("test"),
        )
    except RegistryError as failure:
        raise CommandExecutionError(str(failure)) from None
    if settings.metrics:
        _measure(settings, report)
    __context__["retcode"] = prune_code(report)
    return report


def history(name):
    """
    What a tag of the local registry was, the latest first, as far as the ledger knows.

    Args:
        name: ``repository:tag``.

    Returns:
        ``image``; ``now``, its digest; ``held``, the digest that a roll-back holds it at; ``history``, a list
        of ``digest`` (empty = it was pruned), ``from`` and ``until`` (seconds since 1970, 0 = not known, or
        until now), ``by`` (``sync``, ``rollback``, ``prune`` or ``other``), ``here`` (it is that now) and
        ``pullable`` (all of it is still here); ``error``, what is wrong with the ledger.

    Raises:
        CommandExecutionError: the name is none, or the registry does not answer.

    CLI Example:

    .. code-block:: bash

        salt-call registry_sync.history rhosp13/openstack-cron:13.0
    """
    return _asked(past.history, name, ledger_directory=_places()["ledger_directory"])


def rollback(name, digest=""):
    """
    Put an earlier image under its tag again, and hold it there: a sync leaves it until ``release``, and says
    so each time (status ``held``). No blob moves.

    Args:
        name: ``repository:tag``.
        digest: which; without it what the tag was before.

    Returns:
        ``image``, ``was`` and ``now`` (digests), ``held`` and ``error``.

    Raises:
        CommandExecutionError: it was nothing else before, or not all of that is here any more.

    CLI Example:

    .. code-block:: bash

        salt-call registry_sync.rollback rhosp13/openstack-cron:13.0
        salt-call registry_sync.rollback rhosp13/openstack-cron:13.0 digest=sha256:69e2…
    """
    return _asked(past.rollback, name, str(digest), **_places())


def release(name):
    """
    End the hold of a roll-back: the next sync brings the tag up to date.

    Args:
        name: ``repository:tag``.

    Returns:
        ``image``, ``was`` (what it was held at), ``now``, ``held`` (empty) and ``error``.

    Raises:
        CommandExecutionError: no roll-back holds it.

    CLI Example:

    .. code-block:: bash

        salt-call registry_sync.release rhosp13/openstack-cron:13.0
    """
    return _asked(past.release, name, **_places())


def _asked(command, name, *arguments, **places):
    try:
        return command(_pillar_settings(), str(name), *arguments, **places)
    except RegistryError as failure:
        raise CommandExecutionError(str(failure)) from None


def _settings():
    return checked.with_list(_pillar_settings, __salt__, __context__)


def _pillar_settings(listing=None):
    return checked.settings_of(__pillar__, __grains__, __salt__, __context__, listing=listing)


def _places():
    return {
        "directory": str(Path(__opts__["cachedir"]) / "registry_sync"),
        "ledger_directory": ledger.directory_below(__opts__["root_dir"]),
    }


def _in_use(settings):
    """What deployments name, by whatever name they reach the local registry: one is as good as another."""
    found = set()
    for file in settings.prune.environments:
        try:
            wanted = undercloud_files.wanted_images(checked.read_text(file), file)
        except undercloud_files.ListError as mistake:
            raise CommandExecutionError(str(mistake)) from None
        found |= {names.reference_name(image.name.repository, image.name.reference) for image in wanted}
    return found


def _teller():
    """Tell of each deletion before it happens."""
    send = __salt__["event.send"] if telling.has_master(__opts__) else None
    tag = f"salt/registry_sync/{__opts__['id']}/pruned"

    def tell(item):
        log.warning("pruning %s (%s): %s", item.name, item.digest, item.reason)
        if send:
            send(tag, {"name": item.name, "digest": item.digest, "reason": item.reason})

    return tell


def _progress():
    """Where a prune tells how far it has come; the master has an event for each deletion."""
    if telling.is_typed(__opts__):
        return progress.Progress([listeners.lines_on(sys.stderr)])
    return progress.Progress([listeners.in_log(log.info)])


def _measure(settings, report):
    try:
        metrics.write_prune_metrics(settings.metrics, report)
    except OSError as failure:
        log.warning("docker_registry:metrics: not written: %s", failure)
