"""States of the services of the registry and of docker, also where no systemd runs."""

from __future__ import annotations

import time

from salt.exceptions import CommandExecutionError

import _registry_config_minion as minion
from _registry_state_returns import required_changes as _required_changes
from _registry_state_returns import ret as _ret

_SECONDS_TO_START = 30
# The first start of a container pulls its image.
_SECONDS_TO_PULL = 600
_SECONDS_TO_STOP = 15
_SECONDS_TO_ANSWER = 5
_LEFT_ALONE = "Nothing to configure on this host"
_AND_CONTAINERS = ", and with it the containers that run without live-restore"


def running(name, instance="service"):
    """
    Run the registry, now and at boot, and wait until it answers. It restarts when something that this state
    watches changes, or when it is running but does not answer, such as after a change of port.

    Args:
        name (str): the service.
        instance (str): ``service``, which clients reach, or ``push``, the second one behind a socket.

    Returns:
        dict: result False where the service does not come up.

    .. code-block:: yaml

        Registry is running:
          registry_service.running:
            - name: docker-registry
            - watch:
              - file: /etc/docker/registry/config.yml
    """
    if not __salt__["registry_host.should_manage"](instance):
        return _ret(name, True, _LEFT_ALONE)
    if instance == "push" and (busy := _waits()):
        return _refused(name, busy)
    if not __opts__["test"]:
        # A unit made from a quadlet is there, and to be started at boot, once systemd has read it.
        __salt__["registry_service.reload_units"]()
    changes = _what_starts(name)
    if changes.get("now") == "started" and __salt__["registry_service.answers"](instance=instance):
        return _refused(name, f"{name} cannot start: another program has its {_place(instance)}")
    if not changes and _watches_unseen():
        return mod_watch(name, "running", instance)
    if __opts__["test"]:
        return _planned(name, changes)
    if not changes and not __salt__["registry_service.answers"](_SECONDS_TO_ANSWER, instance):
        return mod_watch(name, "running", instance)
    return _start(name, changes) or _answering(name, instance, changes)


def mod_watch(name, sfun="", instance="service", **_):
    """
    Restart the service; an engine only where it runs.

    Args:
        name (str): the service.
        sfun (str): the state that watches.
        instance (str): see ``running``.

    Returns:
        dict: result False where the service does not come up again.
    """
    is_engine = sfun == "engine_restarted"
    if is_engine and not __salt__["registry_service.control"](name, "status"):
        return _ret(name, True, f"{name} is not running; no restart needed")
    changes = {"now": "restarted"}
    if __opts__["test"]:
        plan = _planned(name, changes)
        return {**plan, "comment": plan["comment"] + _AND_CONTAINERS} if is_engine else plan
    # Not the init script's own restart: it starts the new server while the old one still holds the port.
    _stop(name)
    refused = _start(name, {"now": "started"})
    if refused:
        return refused
    return _staying(name, changes) if is_engine else _answering(name, instance, changes)


def engine_running(name, start=False):
    """
    Run an engine, now and at boot. It never restarts one that runs, whose containers would stop with it.

    Args:
        name (str): the service.
        start (bool): whether it is to run; else this does nothing.

    Returns:
        dict: result False where the service does not come up.

    .. code-block:: yaml

        Docker is running:
          registry_service.engine_running:
            - name: docker
            - start: true
    """
    if not start or __salt__["registry_host.skips_configuration"]():
        return _ret(name, True, f"{name} runs or not as it was before")
    changes = {} if __salt__["registry_service.control"](name, "status") else {"now": "started"}
    if not __salt__["registry_service.control"](name, "enabled"):
        changes["at boot"] = "enabled"
    if __opts__["test"]:
        return _planned(name, changes)
    return _start(name, changes) or _staying(name, changes)


def engine_restarted(name):
    """
    Restart an engine, and with it its containers, when something changes that this state watches and that
    an engine reads only when it starts.

    Args:
        name (str): the service.

    Returns:
        dict: result False where the service does not come up again.

    .. code-block:: yaml

        Docker is restarted:
          registry_service.engine_restarted:
            - name: docker
            - watch:
              - file: /etc/sysconfig/docker
    """
    if _watches_unseen():
        return mod_watch(name, "engine_restarted")
    return _ret(name, True, f"{name} restarts when its command line changes")


def stopped(name):
    """
    Stop a service that the formula has configured.

    Args:
        name (str): the service.

    Returns:
        dict: result False where it does not stop.

    .. code-block:: yaml

        Registry is stopped:
          registry_service.stopped:
            - name: docker-registry
    """
    if not __salt__["registry_backup.saved_state"]():
        return _ret(name, True, f"{name} was not configured by this formula")
    if not __salt__["registry_service.control"](name, "status"):
        return _ret(name, True, f"{name} is not running")
    changes = {"now": "stopped"}
    if __opts__["test"]:
        return _planned(name, changes)
    if not _stop(name):
        return _ret(name, False, f"{name} is still running {_SECONDS_TO_STOP} s after it was stopped")
    return _ret(name, True, f"{name} was stopped", changes)


def _waits():
    """Why pushes must wait: space is being freed; what a killed collection has left is mended."""
    if __opts__["test"]:
        return ""
    try:
        __salt__["registry_push.recover"]()
    except CommandExecutionError as failure:
        return str(failure)
    return ""


def _watches_unseen():
    """
    Whether something has changed that is to restart a service, but is only required as Salt has it. The
    master compiles for salt-ssh, and in 3008 it makes watch a require where it has no mod_watch of ours.
    https://github.com/saltstack/salt/blob/master/salt/state.py (``_reconcile_watch_req``)
    """
    return minion.is_over_ssh(__salt__) and "watch" not in __low__ and _required_changes(__low__, __running__)


def _what_starts(name):
    runs = __salt__["registry_service.control"](name, "status")
    if not __salt__["registry_service.control"](name, "enabled"):
        # Salt asks no mod_watch where the state itself has changed something, whatever it watches.
        return {"now": "restarted" if runs else "started", "at boot": "enabled"}
    return {} if runs else {"now": "started"}


def _start(name, changes):
    """Return a failed state where the service refuses, else None."""
    try:
        if "at boot" in changes:
            __salt__["registry_service.control"](name, "enable")
        if changes.get("now") == "restarted":
            _stop(name)
        if "now" in changes:
            __salt__["registry_service.control"](name, "start")
    except CommandExecutionError as error:
        return _refused(name, f"{name} does not start; its log says why: {error}")
    return None


def _refused(name, comment):
    # Without changes Salt would go on to mod_watch, whose answer would replace this one.
    return {**_ret(name, False, comment), "skip_watch": True}


def _stop(name):
    __salt__["registry_service.control"](name, "stop")
    deadline = time.monotonic() + _SECONDS_TO_STOP
    while __salt__["registry_service.control"](name, "status"):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _answering(name, instance, changes):
    in_container = __salt__["registry_host.should_manage"]("container")
    deadline = time.monotonic() + (_SECONDS_TO_PULL if in_container else _SECONDS_TO_START)
    while not __salt__["registry_service.answers"](1, instance):
        if time.monotonic() > deadline or not __salt__["registry_service.control"](name, "status"):
            return _ret(
                name, False, f"{name} does not answer on {_place(instance)}; its log says why", changes
            )
    return _staying(name, changes)


def _staying(name, changes):
    if not __salt__["registry_service.control"](name, "status"):
        return _ret(name, False, f"{name} does not stay up; its log says why", changes)
    return _ret(name, True, f"{name} is running", changes)


def _planned(name, changes):
    if not changes:
        return _ret(name, True, f"{name} is running")
    verb = {"started": "start", "enabled": "enable", "stopped": "stop", "restarted": "restart"}[
        next(iter(changes.values()))
    ]
    return _ret(name, None, f"Would {verb} {name}", changes)


def _place(instance):
    return __salt__["registry_push.socket"]() if instance == "push" else f"port {_port()}"


def _port():
    return __salt__["registry_host.port"]()
