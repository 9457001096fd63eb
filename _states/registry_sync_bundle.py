"""Images over a gap that no network crosses: more states of ``registry_sync``."""

from salt.exceptions import CommandExecutionError

from _registry_state_returns import ret as _ret

__virtualname__ = "registry_sync"

_NAMES_SHOWN = 3


def __virtual__():  # noqa: N807 - Salt's own name
    """Beside the states of the file ``registry_sync.py``."""
    return __virtualname__


def exported(name, path="", since="", volume="", source="upstream"):
    """Have a bundle of the list's images at a path.

    In test mode nothing is written, and the comment says how much would be. The very same bundle changes
    nothing; another one at that path fails the state, since nothing is overwritten.

    Args:
        name: free text.
        path: of the bundle; without it ``docker_registry:bundle:path``.
        since: what the other side has; without it ``bundle:since``.
        volume: bytes of a volume; without it ``bundle:volume``.
        source: ``upstream`` or ``local``.

    Returns:
        Changes are the images in it, each with its digest.

    .. code-block:: yaml

        Images of this week are on the disk:
          registry_sync.exported:
            - path: /media/usb/week-48
    """
    how = {"path": path, "since": since, "volume": volume, "source": source}
    return _told(name, "export", "Exported", {**how, "test": __opts__["test"]})


def imported(name, path="", force=False):
    """Have the images of a bundle in the local registry.

    In test mode nothing is brought. A bundle whose images are here already changes nothing.

    Args:
        name: free text.
        path: of the bundle; without it ``docker_registry:bundle:path``.
        force: bring also what was made before what is here.

    Returns:
        Changes are the tags that moved, each with its old and new digest. Result False where some wait for a
        volume, or for what the bundle builds on.

    .. code-block:: yaml

        Images of this week are here:
          registry_sync.imported:
            - path: /media/usb/week-48
    """
    return _told(name, "import", "Imported", {"path": path, "force": force, "test": __opts__["test"]})


def _told(name, function, verb, how):
    try:
        report = __salt__[f"registry_sync.{function}"](**how)
    except CommandExecutionError as failure:
        return _ret(name, False, str(failure))
    # See registry_sync.synced.
    __context__.pop("retcode", None)
    is_new = function == "import" or report["bundle"]["new"] or how["test"]
    moved = _with_status(report, "missing", "stale") if how["test"] else _with_status(report, "copied")
    moved = moved if is_new else {}
    failed = _with_status(report, "failed", "unreadable")
    before = "local" if how["test"] else "previous"
    changes = {key: {"old": image[before], "new": image["upstream"]} for key, image in moved.items()}
    result = False if failed else None if moved and how["test"] else True
    return _ret(name, result, _comment(report, verb, how["test"], moved, failed), changes)


def _comment(report, verb, test, moved, failed):
    size = report["summary"]["bytes"] / 1e6
    what = f"Would have {verb.lower()}" if test else verb
    path = report["bundle"]["path"]
    parts = [f"{what} {len(moved)} tags ({size:,.1f} MB), {path}" if moved else f"Nothing is new in {path}"]
    held = report["summary"]["held"]
    parts += [f"{held} held"] if held else []
    parts += report["bundle"].get("amiss", {}).values()
    parts += [
        f"{key} failed ({image['cause']}: {image['error']})"
        for key, image in list(failed.items())[:_NAMES_SHOWN]
    ]
    if len(failed) > _NAMES_SHOWN:
        parts.append(f"{len(failed) - _NAMES_SHOWN} more failed")
    remarks = {
        key: image for key, image in _with_status(report, "current", "copied").items() if image["error"]
    }
    parts += [f"{key}: {image['error']}" for key, image in list(remarks.items())[:_NAMES_SHOWN]]
    return "; ".join(parts)


def _with_status(report, *statuses):
    return {key: image for key, image in report["images"].items() if image["status"] in statuses}
