"""Space that no image needs any more is freed: one more state of ``registry_sync``."""

from salt.exceptions import CommandExecutionError

from _registry_state_returns import ret as _ret

__virtualname__ = "registry_sync"


def __virtual__():  # noqa: N807 - Salt's own name
    """Beside the states of the file ``registry_sync.py``."""
    return __virtualname__


def collected(name):
    """Free the space that no image of the registry on this host needs any more.

    In test mode nothing is freed and no service is stopped; see ``registry_sync.collect``.

    Args:
        name: free text.

    Returns:
        Changes are the bytes and blobs, and the repositories that were removed. Result False where something
        stands against it.

    .. code-block:: yaml

        Space of pruned images is free:
          registry_sync.collected
    """
    test = __opts__["test"]
    try:
        report = __salt__["registry_sync.collect"](dry=test)
    except CommandExecutionError as failure:
        return _ret(name, False, str(failure))
    # See registry_sync.synced.
    __context__.pop("retcode", None)
    if report["refused"]:
        return _ret(name, False, f"Nothing was freed: {report['refused']}")
    changes = _changes(report)
    result = False if report["error"] else None if changes and test else True
    return _ret(name, result, _comment(report, changes), changes)


def _changes(report):
    if not (report["blobs"] or report["repositories"]):
        return {}
    return {
        "bytes": report["bytes"],
        "blobs": report["blobs"],
        **({"repositories": report["repositories"]} if report["repositories"] else {}),
    }


def _comment(report, changes):
    verb = "Would free" if __opts__["test"] else "Freed"
    size = f"{_bytes(report['bytes'])} in {_count(report['blobs'], 'blob', 'blobs')}"
    what = f"{verb} {size}" if changes else "Nothing is to be freed"
    waited = f"pushes waited {report['read_only_seconds']:.1f} s" if report["read_only_seconds"] else ""
    leased = f"{report['leased']} young ones stay" if report["leased"] else ""
    return "; ".join(filter(None, (what, leased, waited, report["error"])))


def _count(number, one, many):
    return f"{number} {one if number == 1 else many}"


def _bytes(size):
    # As the table of registry_sync.check has it.
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 9.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
