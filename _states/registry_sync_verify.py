"""A mirror is whole: one more state of ``registry_sync``."""

from salt.exceptions import CommandExecutionError

from _registry_state_returns import ret as _ret

__virtualname__ = "registry_sync"

_NAMES_SHOWN = 3


def __virtual__():  # noqa: N807 - Salt's own name
    """Beside the states of the file ``registry_sync.py``."""
    return __virtualname__


def verified(name, repair=None):
    """Have every pointer of the local registry followed and every byte hashed, and what is broken repaired.

    What was hashed within ``docker_registry:verify:every`` is not hashed again. In test mode pointers and
    sizes alone are looked at, and nothing is repaired.

    Args:
        name: free text.
        repair: whether to; without it what ``docker_registry:verify:repair`` says.

    Returns:
        Changes are the images that were repaired. Result False where something is broken, or not all could be
        read; in test mode None where it would be repaired.

    .. code-block:: yaml

        Mirror is whole:
          registry_sync.verified
    """
    test = __opts__["test"]
    try:
        repairs = __salt__["registry_sync.repairs"]() if repair is None else repair
        report = __salt__["registry_sync.verify"](fast=test, repair=repairs and not test)
    except CommandExecutionError as failure:
        return _ret(name, False, str(failure))
    # See registry_sync.synced.
    __context__.pop("retcode", None)
    broken = {**_with_status(report, "broken"), **_with_status(report, "lost")}
    repaired = _with_status(report, "repaired")
    summary = report["summary"]
    is_bad = bool(summary["bad"] or summary["unread"] or summary["left"])
    if test and repairs and is_bad and not summary["unread"]:
        comment = f"Would repair {len(broken)} of {len(report['images'])}: {_some(broken)}"
        return _ret(name, None, comment, {key: _change(key) for key in broken})
    comment = _comment(report, broken, repaired)
    return _ret(name, not is_bad, comment, {key: _change(key) for key in repaired})


def _change(key):
    return {"old": "broken", "new": "whole"}


def _comment(report, broken, repaired):
    summary = report["summary"]
    total = len(report["images"])
    read = f"{summary['hashed']} of {summary['blobs']} files hashed"
    parts = [f"{summary['whole'] + summary['repaired']} of {total} images are whole ({read})"]
    if repaired:
        parts.append(f"repaired {_some(repaired)} with {summary['bytes_moved']} bytes")
    parts += [_told(key, image, report) for key, image in list(broken.items())[:_NAMES_SHOWN]]
    if len(broken) > _NAMES_SHOWN:
        parts.append(f"and {len(broken) - _NAMES_SHOWN} more are broken")
    if summary["bad"] and not broken:
        parts.append(f"{summary['bad']} files are broken that no image needs")
    if summary["unread"]:
        path, why = next(iter(report["unread"].items()))
        parts.append(f"{summary['unread']} could not be read: {path} ({why})")
    if summary["left"]:
        parts.append(f"{summary['left']} files are left for the next run")
    return "; ".join(parts)


def _told(key, image, report):
    paths = [*image["links"], *(report["blobs"][digest]["path"] for digest in image["blobs"])]
    why = f" ({image['cause']}: {image['error']})" if image["error"] else ""
    return f"{key} is {image['status']}: {', '.join(paths[:1])}{why}"


def _with_status(report, status):
    return {key: image for key, image in report["images"].items() if image["status"] == status}


def _some(names):
    more = len(names) - _NAMES_SHOWN
    return ", ".join(list(names)[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
