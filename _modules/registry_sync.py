"""What is known of the last runs, without asking anybody; what asks and acts is in ``registry_sync_*.py``.

Salt's loader reads this file before those, whatever function of ``registry_sync`` is called, and stops at the
one that has it. A master asks hundreds of sites for ``last`` at once: that must import nothing of the rest.

Each ``check`` and ``sync`` on the pillar's own list leaves a snapshot and a line of history in the minion's
cache, whoever has called for it: an operator, a state or the schedule. Where there is a master its mine gets
the snapshot, too, unless ``docker_registry:mine`` is false.
"""

from pathlib import Path

from salt.exceptions import CommandExecutionError

# A module, not its functions: whatever function stands here is one of registry_sync to Salt.
import _registry_sync_snapshot as snapshots

__outputter__ = dict.fromkeys(("last", "runs"), "registry_sync")


def last(refresh=False):
    """
    How the mirror stood when the last check or sync ended. No registry is asked, a file is read.

    Args:
        refresh: run ``check`` first.

    Returns:
        Every key is always there.

        ``at``
            when that run ended, in seconds since 1970; 0.0 = none has yet.
        ``function``
            ``check`` or ``sync``; empty = none yet.
        ``url``, ``up``, ``upstreams``
            of the local registry, as under ``registry`` in ``check``.
        ``version``
            of the formula.
        ``list``
            a fingerprint of the names that the image list wants.
        ``tags``
            those of the list that are here: name → 12 digits of the local digest.
        ``behind``
            those that are not as upstream has them, or that could not be read: name → ``status``
            (``missing``, ``stale``, ``unreadable`` or ``failed``); ``since``, when a run first found it so;
            ``cause`` and ``error``, the latter cut to 200 characters; ``upstream``, 12 digits of the digest
            there, where it is known.
        ``held``, ``extra``
            what a roll-back holds, and what the list does not name: name → 12 digits of the local digest.
        ``counts``
            how many tags have each status; ``tags`` that the list wants.
        ``seconds``, ``moved``
            how long the run took, and the bytes that it copied.
        ``code``
            its return code, which is that of ``last``, too: 0 up to date, 1 something failed, 2 out of date.
        ``cause``, ``error``
            why the run or the registry failed, else of the first tag that did.
        ``running``
            whether a sync runs now.

        Of a run that ended before it could look, by a mistake in the pillar or a full disk, the keys about
        tags are those of the run before.

    Raises:
        CommandExecutionError: with ``refresh``, as ``check``.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_sync.last
        salt-call registry_sync.last --out=json --retcode-passthrough
    """
    if refresh:
        __salt__["registry_sync.check"]()
    snapshot = snapshots.read_snapshot(_directory())
    __context__["retcode"] = snapshot["code"]
    return snapshot


def runs(limit=20):
    """
    The last runs of check and sync, the latest first. A file is read.

    The pillar's ``docker_registry:history`` says how many are remembered: 500, if it is silent.

    Args:
        limit: how many at most; 0 = all that are remembered.

    Returns:
        A list of ``at``, ``function``, ``code``, ``seconds``, ``moved``, ``counts``, ``cause`` and ``error``,
        as ``last`` has them, and ``failed``, the names of up to 20 tags that failed or could not be read.

    Raises:
        CommandExecutionError: ``limit`` is no whole number.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_sync.runs limit=5
    """
    return snapshots.read_runs(_directory(), _whole_number(limit, "limit"))


def _whole_number(value, name):
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if number < 0:
        raise CommandExecutionError(f"{name}: {value!r}; give a whole number, 0 for all")
    return number


def _directory():
    return str(Path(__opts__["cachedir"]) / "registry_sync")
