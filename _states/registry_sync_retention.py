"""A mirror forgets what no list wants: one more state of ``registry_sync``."""

from salt.exceptions import CommandExecutionError

from _registry_state_returns import ret as _ret

__virtualname__ = "registry_sync"

_NAMES_SHOWN = 3


def __virtual__():  # noqa: N807 - Salt's own name
    """Beside the states of the file ``registry_sync.py``."""
    return __virtualname__


def pruned(name):
    """Forget the tags that no entry of the image list has wanted for ``docker_registry:prune:after``.

    Above ``prune:ceiling`` nothing is forgotten: ``registry_sync.prune plan=ID`` does that, once somebody has
    looked. In test mode nothing is deleted.

    Args:
        name: free text.

    Returns:
        Changes are what goes, each with its digest. Result False where something stands against it.

    .. code-block:: yaml

        Unwanted images are pruned:
          registry_sync.pruned
    """
    try:
        report = __salt__["registry_sync.prune"](automatic=not __opts__["test"])
    except CommandExecutionError as failure:
        return _ret(name, False, str(failure))
    # See registry_sync.synced.
    __context__.pop("retcode", None)
    against = report["refused"] or (report["ceiling"] if __opts__["test"] else "")
    if against:
        return _ret(name, False, f"Nothing was pruned: {against}")
    gone = _with_status(report, "doomed" if __opts__["test"] else "pruned")
    failed = _with_status(report, "failed")
    changes = {key: {"old": image["local"], "new": ""} for key, image in gone.items()}
    result = False if failed else None if gone and __opts__["test"] else True
    return _ret(name, result, _comment(report, gone, failed), changes)


def _comment(report, gone, failed):
    verb = "Would prune" if __opts__["test"] else "Pruned"
    what = (
        f"{verb} {len(gone)} of {len(report['images'])}: {_some(gone)}" if gone else "Nothing is to be pruned"
    )
    waiting = report["summary"]["waiting"]
    parts = [what, f"{waiting} waiting" if waiting else "", *_told(failed)]
    return "; ".join(filter(None, parts))


def _told(failed):
    return [
        f"{key} failed ({image['cause']}: {image['error']})"
        for key, image in list(failed.items())[:_NAMES_SHOWN]
    ]


def _with_status(report, status):
    return {key: image for key, image in report["images"].items() if image["status"] == status}


def _some(names):
    more = len(names) - _NAMES_SHOWN
    return ", ".join(list(names)[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
