"""States of a mirror: its images are up to date, its registry serves, its pillar has no mistake.

All take what they need from the pillar ``docker_registry``.
"""

from salt.exceptions import CommandExecutionError

from _registry_state_returns import ret as _ret

# How many reasons a comment spells out, and tags of each; all of them stand in registry_sync.check.
REASONS_SHOWN = 5
TAGS_SHOWN = 3


def synced(name):
    """Keep the images of the list up to date with upstream.

    With ``docker_registry:sync: false`` nothing is copied and the comment says what the registry
    holds. In test mode nothing is written and the comment says how many tags and bytes would move.

    Args:
        name: free text.

    Returns:
        Changes are the tags that moved, each with its old and new digest.

    .. code-block:: yaml

        Images are up to date with upstream:
          registry_sync.synced
    """
    try:
        return _with_warnings(_synced(name))
    except CommandExecutionError as failure:
        return _ret(name, False, str(failure))


def _synced(name):
    if not __salt__["registry_sync.sync_enabled"]():
        return _read_only_return(name)
    if __opts__["test"]:
        return _test_return(name, __salt__["registry_sync.plan"](fresh=True))
    # Also with nothing to move: a run that found all up to date is one that metrics and monitors ask for.
    return _sync_return(name, __salt__["registry_sync.sync"]())


def _with_warnings(state):
    """Add what the pillar has switched off, each time."""
    # Set by check, plan and sync for their own callers; here it would make Salt skip every later state
    # that asks a function whether it should run.
    __context__.pop("retcode", None)
    warnings = [f"Warning: {warning}" for warning in __salt__["registry_sync.warnings"]()]
    return {**state, "comment": ". ".join([state["comment"], *warnings])}


def serving(name):
    """Be sure that the local registry answers and is not empty.

    Args:
        name: free text.

    Returns:
        False, and the address that was tried, where it does not.

    .. code-block:: yaml

        Registry serves images:
          registry_sync.serving
    """
    try:
        registry = __salt__["registry_sync.registry"]()
    except CommandExecutionError as failure:
        return _ret(name, False, str(failure))
    url = registry["url"]
    if registry["up"] and registry["repositories"]:
        return _ret(name, True, f"{url} serves {_contents(registry)}")
    if __opts__["test"]:
        return _ret(name, None, f"Would ask {url} whether it serves images")
    if registry["up"]:
        return _ret(name, False, f"{url} answers but holds no image")
    return _ret(name, False, f"No registry answers at {url}: {registry['error']}")


def pillar_checked(name):
    """Be sure that the pillar has no mistake, before something is undone, or made that only later runs by it.

    Args:
        name: free text.

    Returns:
        False, and the sentence about the first wrong key, where there is one.

    .. code-block:: yaml

        Pillar has no mistake:
          registry_sync.pillar_checked
    """
    try:
        return _with_warnings(_ret(name, True, "docker_registry has no mistake"))
    except CommandExecutionError as mistake:
        return _ret(name, False, str(mistake))


def _read_only_return(name):
    registry = __salt__["registry_sync.registry"]()
    off = "docker_registry:sync is false, nothing is copied"
    if registry["up"]:
        return _ret(name, True, f"{off}; {registry['url']} holds {_contents(registry)}")
    result = None if __opts__["test"] else False
    return _ret(name, result, f"{off}; no registry answers at {registry['url']}: {registry['error']}")


def _test_return(name, plan):
    moving = _with_status(plan, "missing", "stale")
    unreadable = _with_status(plan, "unreadable")
    comment = _all_current(plan)
    if moving:
        comment = f"Would copy {len(moving)} of {_tags(plan)} ({_volume(plan)})"
    changes = {key: _change(image, "local") for key, image in moving.items()}
    result = False if unreadable else None if moving else True
    return _ret(name, result, comment + _failures("cannot be read", unreadable), changes)


def _sync_return(name, report):
    copied = _with_status(report, "copied")
    failed = _with_status(report, "failed", "unreadable")
    changes = {key: _change(image, "previous") for key, image in copied.items()}
    comment = _all_current(report)
    if copied:
        comment = f"Mirrored {len(copied)} of {_tags(report)} ({_volume(report)}, {_seconds(report)})"
    comment += _failures("failed", failed) + _failures("without all signatures", _unsigned(report))
    return _ret(name, not failed, comment, changes)


def _unsigned(report):
    there = _with_status(report, "current", "copied")
    return {key: image for key, image in there.items() if image["error"]}


def _change(image, before):
    """What becomes of a tag: another digest, or more that is attached to the same."""
    if image[before] == image["upstream"]:
        return {"attachments": image["attachments"]}
    return {"old": image[before], "new": image["upstream"]}


def _with_status(report, *statuses):
    return {key: image for key, image in report["images"].items() if image["status"] in statuses}


def _all_current(report):
    current = report["summary"]["current"]
    if current == report["summary"]["tags"]:
        return f"All {_tags(report)} are current"
    return f"{current} of {_tags(report)} are current"


def _failures(verb, images):
    """What failed and why; many tags often fail for one reason, which is then said once."""
    if not images:
        return ""
    reasons: dict[str, list[str]] = {}
    for key, image in images.items():
        why = ": ".join(filter(None, (image["cause"], image["error"])))
        reasons.setdefault(why, []).append(key)
    told = [f"{_some(keys)} ({reason})" for reason, keys in list(reasons.items())[:REASONS_SHOWN]]
    if len(reasons) > REASONS_SHOWN:
        told.append("…; registry_sync.check names all")
    return f"; {len(images)} {verb}: {'; '.join(told)}"


def _some(keys):
    more = len(keys) - TAGS_SHOWN
    return ", ".join(keys[:TAGS_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _contents(registry):
    repositories = _count(registry["repositories"], "repository", "repositories")
    known = " in those of the list" if registry["others"] else ""
    return f"{repositories}, {_count(registry['tags'], 'tag', 'tags')}{known}"


def _tags(report):
    return _count(report["summary"]["tags"], "tag", "tags")


def _volume(report):
    summary = report["summary"]
    return f"{_bytes(summary['bytes'])} in {_count(summary['blobs'], 'blob', 'blobs')}"


def _seconds(report):
    seconds = report["summary"]["seconds"]
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def _count(number, one, many):
    return f"{number} {one if number == 1 else many}"


def _bytes(size):
    # As the table of registry_sync.check has it.
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 9.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
