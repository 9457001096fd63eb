"""States of ``docker_registry`` that Salt has none for."""

from __future__ import annotations

import time

from salt.exceptions import CommandExecutionError

_SECONDS_TO_START = 30
_SECONDS_TO_STOP = 15


def guarded(name, config, storage):
    """
    Say whether the states that configure the registry will do anything, and check the pillar first.

    Args:
        name (str): any.
        config (str): path of the registry's configuration file.
        storage (str): where the system's package keeps the images.

    Returns:
        dict: result False, with the mistake as its comment, where the pillar has one.
    """
    try:
        if not __salt__["registry_host.left_alone"]():
            return _ret(name, True, "The registry is configured")
    except CommandExecutionError as mistake:
        return _ret(name, False, str(mistake))
    return _ret(name, True, "The registry is left alone")


def storage(name, default, user, group):
    """
    Make the directory of the images and give it to the service.

    Args:
        name (str): any.
        default (str): where the system's package keeps the images.
        user (str): whom the service runs as.
        group (str): and its group.

    Returns:
        dict: as ``file.directory`` gives it.
    """
    if __salt__["registry_host.left_alone"]():
        return _ret(name, True, "Left alone")
    directory = __salt__["registry_host.storage"](default)
    if not directory:
        return _ret(name, True, "The images do not lie in files")
    ret = __states__["file.directory"](directory, user=user, group=group, makedirs=True)
    return {**ret, "name": name}


def running(name, **_):
    """
    Have the registry run, now and after a boot, and wait until it answers. It restarts when what this
    state watches changes.

    Args:
        name (str): the service.

    Returns:
        dict: result False where the service does not come up.
    """
    if __salt__["registry_host.left_alone"]():
        return _ret(name, True, "Left alone")
    changes = {}
    if not __salt__["registry_host.service"](name, "enabled"):
        changes["at boot"] = "started"
    if not __salt__["registry_host.service"](name, "status"):
        changes["now"] = "started"
    if __opts__["test"]:
        return _planned(name, changes)
    if "at boot" in changes:
        __salt__["registry_host.service"](name, "enable")
    if "now" in changes:
        __salt__["registry_host.service"](name, "start")
    return _answering(name, changes)


def mod_watch(name, **_):
    """
    Restart the registry.

    Args:
        name (str): the service.

    Returns:
        dict: result False where the service does not come up again.
    """
    changes = {"now": "restarted"}
    if __opts__["test"]:
        return _planned(name, changes)
    # Not the init script's own restart: it starts the new server while the old one still holds the port.
    _stop(name)
    __salt__["registry_host.service"](name, "start")
    return _answering(name, changes)


def stopped(name):
    """
    Have a service not run.

    Args:
        name (str): the service.

    Returns:
        dict: result False where it does not stop.
    """
    if not __salt__["registry_host.service"](name, "status"):
        return _ret(name, True, f"{name} does not run")
    changes = {"now": "stopped"}
    if __opts__["test"]:
        return _planned(name, changes)
    if not _stop(name):
        return _ret(name, False, f"{name} still runs {_SECONDS_TO_STOP} s after it was told to stop")
    return _ret(name, True, f"{name} was stopped", changes)


def _stop(name):
    __salt__["registry_host.service"](name, "stop")
    deadline = time.monotonic() + _SECONDS_TO_STOP
    while __salt__["registry_host.service"](name, "status"):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _answering(name, changes):
    if __salt__["registry_host.answers"](patience=_SECONDS_TO_START):
        return _ret(name, True, f"{name} answers", changes)
    comment = f"{name} was started but nothing answers after {_SECONDS_TO_START} s; see its log"
    return _ret(name, False, comment, changes)


def _planned(name, changes):
    if not changes:
        return _ret(name, True, f"{name} runs")
    what = ", ".join(f"{verb} {when}" for when, verb in changes.items())
    return _ret(name, None, f"{name} would be {what}", changes)


def _ret(name, result, comment, changes=None):
    return {"name": name, "result": result, "changes": changes or {}, "comment": comment}
