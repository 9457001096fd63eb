"""
States of ``docker_registry`` that Salt has none for, or none that works without a running systemd.

All but the ones that clean up do nothing while the registry is left alone, see ``guarded``.
"""

from __future__ import annotations

import time

from salt.exceptions import CommandExecutionError

from _registry_state_returns import joined as _joined
from _registry_state_returns import ret as _ret

_SECONDS_TO_START = 30
# The first start of a container pulls its image.
_SECONDS_TO_PULL = 600
_SECONDS_TO_STOP = 15
_SECONDS_TO_ANSWER = 5
_LEFT_ALONE = "Nothing to configure on this host"


def guarded(name, config, storage):
    """
    Check the pillar, and say whether the states that configure will do anything: they leave a registry
    alone that serves images already, unless ``docker_registry:force`` is true.

    Args:
        name (str): any.
        config (str): path of the registry's configuration file.
        storage (str): where the system's package keeps the images.

    Returns:
        dict: result False, with the mistake as its comment, where the pillar has one.

    .. code-block:: yaml

        Registry is left alone unless forced:
          registry_host.guarded:
            - config: /etc/docker/registry/config.yml
            - storage: /var/lib/docker-registry
    """
    try:
        if not __salt__["registry_host.left_alone"]():
            return _ret(name, True, "The pillar is understood; the registry is configured as it says")
        served = __salt__["registry_sync.registry"]()
        test = __opts__["test"]
        changes = __salt__["registry_host.forced_changes"](config, storage)
        # As there, for the states.
        __opts__["test"] = test
    except CommandExecutionError as mistake:
        return _ret(name, False, str(mistake))
    forced = f"would {_and(changes)}" if changes else "would change nothing either"
    repositories = "1 repository" if served["repositories"] == 1 else f"{served['repositories']} repositories"
    comment = (
        f"{served['url'].partition('://')[2]} already serves {repositories}; nothing was configured. "
        f"docker_registry:force: true {forced}"
    )
    return _ret(name, True, comment)


def storage(name, default, user, group):
    """
    Make the directory of the images, give it to the service, and label it where SELinux is used.

    Args:
        name (str): any.
        default (str): where the system's package keeps the images.
        user (str): whom the service runs as.
        group (str): and its group.

    Returns:
        dict: as ``file.directory`` gives it.

    .. code-block:: yaml

        Registry has a place for its images:
          registry_host.storage:
            - default: /var/lib/registry
            - user: root
            - group: root
    """
    if not __salt__["registry_host.configures"]("service"):
        return _ret(name, True, _LEFT_ALONE)
    directory = __salt__["registry_host.storage"](default)
    if not directory:
        return _ret(name, True, "The images lie in another kind of storage than files")
    rets = [__states__["file.directory"](directory, user=user, group=group, makedirs=True)]
    if "selinux.fcontext_policy_present" in __states__ and __salt__["selinux.getenforce"]() != "Disabled":
        in_container = __salt__["registry_host.configures"]("container")
        kind = "container_file_t" if in_container else "container_var_lib_t"
        rets.append(__states__["selinux.fcontext_policy_present"](f"{directory}(/.*)?", kind))
        rets.append(__states__["selinux.fcontext_policy_applied"](directory, recursive=True))
    return _joined(name, rets)


def running(name):
    """
    Have the registry run, now and after a boot, and wait until it answers. It restarts when what this
    state watches changes, or when it runs and does not answer, as on another port than the pillar's.

    Args:
        name (str): the service.

    Returns:
        dict: result False where the service does not come up.

    .. code-block:: yaml

        Registry is running:
          registry_host.running:
            - name: docker-registry
            - watch:
              - file: /etc/docker/registry/config.yml
    """
    if not __salt__["registry_host.configures"]("service"):
        return _ret(name, True, _LEFT_ALONE)
    changes = _what_starts(name)
    if changes.get("now") == "started" and __salt__["registry_host.answers"]():
        return _refused(name, f"{name} cannot start: another program has its port {_port()}")
    if __opts__["test"]:
        return _planned(name, changes)
    if not changes and not __salt__["registry_host.answers"](patience=_SECONDS_TO_ANSWER):
        return mod_watch(name, "running")
    return _start(name, changes) or _answering(name, changes)


def mod_watch(name, sfun="", **_):
    """
    Restart the service; an engine only where it runs.

    Args:
        name (str): the service.
        sfun (str): the state that watches.

    Returns:
        dict: result False where the service does not come up again.
    """
    if sfun == "engine" and not __salt__["registry_host.service"](name, "status"):
        return _ret(name, True, f"{name} does not run and has nothing to forget")
    changes = {"now": "restarted"}
    if __opts__["test"]:
        return _planned(name, changes)
    # Not the init script's own restart: it starts the new server while the old one still holds the port.
    _stop(name)
    come_up = _answering if sfun == "running" else _staying
    return _start(name, {"now": "started"}) or come_up(name, changes)


def engine(name, start=False):
    """
    Restart an engine when what this state watches changes.

    Args:
        name (str): the service.
        start (bool): have it run, now and after a boot.

    Returns:
        dict: result False where the service does not come up.

    .. code-block:: yaml

        Docker knows its registries:
          registry_host.engine:
            - name: docker
            - watch:
              - file: /etc/docker/daemon.json
    """
    if not start or __salt__["registry_host.left_alone"]():
        return _ret(name, True, f"{name} restarts when its settings change")
    changes = _what_starts(name)
    if __opts__["test"]:
        return _planned(name, changes)
    return _start(name, changes) or _staying(name, changes)


def stopped(name):
    """
    Have a service not run that the formula has configured.

    Args:
        name (str): the service.

    Returns:
        dict: result False where it does not stop.

    .. code-block:: yaml

        Registry is stopped:
          registry_host.stopped:
            - name: docker-registry
    """
    if not __salt__["registry_before.note"]():
        return _ret(name, True, f"{name} was not configured by this formula")
    if not __salt__["registry_host.service"](name, "status"):
        return _ret(name, True, f"{name} does not run")
    changes = {"now": "stopped"}
    if __opts__["test"]:
        return _planned(name, changes)
    if not _stop(name):
        return _ret(name, False, f"{name} still runs {_SECONDS_TO_STOP} s after it was told to stop")
    return _ret(name, True, f"{name} was stopped", changes)


def engine_file_clean(name, of):
    """
    Take our registries out of a file of docker; what others have put there stays.

    Args:
        name (str): path of the file.
        of (str): ``sysconfig`` or ``daemon``.

    Returns:
        dict: as ``file.managed`` or, where nothing else is in it, ``file.absent`` gives it.

    .. code-block:: yaml

        Docker's daemon.json forgot the registries:
          registry_host.engine_file_clean:
            - name: /etc/docker/daemon.json
            - of: daemon
    """
    if not __salt__["file.file_exists"](name):
        return _ret(name, True, f"There is no {name}")
    try:
        text = __salt__["registry_engine.text"](of, clean=True)
    except CommandExecutionError as error:
        return _ret(name, False, str(error))
    if not text:
        return __states__["file.absent"](name)
    if text == __salt__["file.read"](name):
        return _ret(name, True, f"{name} does not name our registries")
    return __states__["file.managed"](name, contents=text)


def authorities(name, engine):
    """
    Have an engine know the certificate authorities of our registries. It reads them at each pull.

    Args:
        name (str): its directory of authorities, such as /etc/docker/certs.d.
        engine (str): docker or podman.

    Returns:
        dict: a file for each registry.

    .. code-block:: yaml

        Docker knows the authority of the registry:
          registry_host.authorities:
            - name: /etc/docker/certs.d
            - engine: docker
    """
    # A registry that is left alone may still have renewed its own authority.
    idle = __salt__["registry_host.left_alone"]() and not __salt__["registry_door.self_signed"]()
    if idle or not __salt__["registry_engine.manages"](engine):
        return _ret(name, True, _LEFT_ALONE)
    rets = [
        __states__["file.managed"](f"{name}/{registry}/ca.crt", contents=text, mode="0644", makedirs=True)
        for registry, text in __salt__["registry_host.authorities"]().items()
        # In a plan it may not have been made yet.
        if text or __opts__["test"]
    ]
    return _joined(name, rets) if rets else _ret(name, True, "No registry has an authority of its own")


def authorities_absent(name):
    """
    Undo ``authorities``.

    Args:
        name (str): the engine's directory of authorities.

    Returns:
        dict: a file for each registry.

    .. code-block:: yaml

        Docker forgot the authority of the registry:
          registry_host.authorities_absent:
            - name: /etc/docker/certs.d
    """
    rets = []
    for registry in __salt__["registry_host.authorities"]():
        rets.append(__states__["file.absent"](f"{name}/{registry}/ca.crt"))
        if rets[-1]["changes"] and not __opts__["test"]:
            # It refuses where somebody else has put a file there.
            __salt__["file.rmdir"](f"{name}/{registry}")
    return _joined(name, rets) if rets else _ret(name, True, "No registry has an authority of its own")


def unit_absent(name):
    """
    Remove a unit that ``registry_host.container_unit`` wrote, and no other.

    Args:
        name (str): path of the unit.

    Returns:
        dict: as ``file.absent`` gives it.

    .. code-block:: yaml

        Registry has no unit:
          registry_host.unit_absent:
            - name: /etc/containers/systemd/registry.container
    """
    if not __salt__["file.file_exists"](name):
        return _ret(name, True, f"There is no {name}")
    if not __salt__["registry_host.is_our_unit"](name):
        return _ret(name, True, f"{name} was not written by this formula")
    if not __opts__["test"] and name.endswith(".service"):
        __salt__["registry_host.service"](name.rpartition("/")[2], "disable")
    ret = __states__["file.absent"](name)
    if not __opts__["test"]:
        __salt__["registry_host.reload_units"]()
    return ret


def images_kept(name, default):
    """
    Keep the images of a registry that is gone, unless ``docker_registry:registry:purge`` is true.

    Args:
        name (str): any.
        default (str): where the system's package keeps the images.

    Returns:
        dict: as ``file.absent`` gives it.

    .. code-block:: yaml

        Registry keeps its images unless they are to be purged:
          registry_host.images_kept:
            - default: /var/lib/registry
    """
    directory = __salt__["registry_host.storage"](default)
    if not __salt__["registry_host.purges"]():
        return _ret(name, True, f"The images stay in {directory or 'their storage'}")
    if not directory:
        return _ret(name, False, "The images do not lie in files; remove them where they lie")
    # Only what the server makes in its root directory, which may be any directory of the site.
    return {**__states__["file.absent"](f"{directory}/docker/registry"), "name": name}


def port_open(name):
    """
    Let the registry's port in, through the firewall that runs here.

    Args:
        name (str): any.

    Returns:
        dict: result False where the firewall refuses.

    .. code-block:: yaml

        Registry's port is open:
          registry_host.port_open: []
    """
    if not __salt__["registry_host.configures"]("service"):
        return _ret(name, True, _LEFT_ALONE)
    return _port_state(name, "open", lambda: not __salt__["registry_firewall.is_open"]())


def port_closed(name):
    """
    Take the rule of ``port_open`` away.

    Args:
        name (str): any.

    Returns:
        dict: result False where the firewall refuses.

    .. code-block:: yaml

        Registry's port is closed:
          registry_host.port_closed: []
    """
    return _port_state(name, "close", lambda: __salt__["registry_firewall.has_rule"]())


def _port_state(name, action, is_needed):
    kind = __salt__["registry_firewall.kind"]()
    if kind == "none":
        return _ret(name, True, "No firewall is managed here")
    # Our rule may still be that of another port.
    what = f"port {_port()} of {kind}" if action == "open" else f"our port of {kind}"
    done = "open" if action == "open" else "closed"
    try:
        if not is_needed():
            return _ret(name, True, f"{what.capitalize()} is {done} already")
        if __opts__["test"]:
            return _ret(name, None, f"Would {action} {what}", {kind: done})
        __salt__[f"registry_firewall.{action}"]()
    except CommandExecutionError as error:
        return _ret(name, False, str(error))
    return _ret(name, True, f"{what.capitalize()} is {done} now", {kind: done})


def _what_starts(name):
    runs = __salt__["registry_host.service"](name, "status")
    if not __salt__["registry_host.service"](name, "enabled"):
        # Salt asks no mod_watch where the state itself has changed something, whatever it watches.
        return {"now": "restarted" if runs else "started", "at boot": "enabled"}
    return {} if runs else {"now": "started"}


def _start(name, changes):
    """Return a failed state where the service refuses, else None."""
    try:
        if "at boot" in changes:
            __salt__["registry_host.service"](name, "enable")
        if changes.get("now") == "restarted":
            _stop(name)
        if "now" in changes:
            __salt__["registry_host.service"](name, "start")
    except CommandExecutionError as error:
        return _refused(name, f"{name} does not start; its log says why: {error}")
    return None


def _refused(name, comment):
    # Without changes Salt would go on to mod_watch, whose answer would replace this one.
    return {**_ret(name, False, comment), "skip_watch": True}


def _stop(name):
    __salt__["registry_host.service"](name, "stop")
    deadline = time.monotonic() + _SECONDS_TO_STOP
    while __salt__["registry_host.service"](name, "status"):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _answering(name, changes):
    in_container = __salt__["registry_host.configures"]("container")
    deadline = time.monotonic() + (_SECONDS_TO_PULL if in_container else _SECONDS_TO_START)
    while not __salt__["registry_host.answers"](patience=1):
        if time.monotonic() > deadline or not __salt__["registry_host.service"](name, "status"):
            return _ret(name, False, f"{name} does not answer on port {_port()}; its log says why", changes)
    return _staying(name, changes)


def _staying(name, changes):
    if not __salt__["registry_host.service"](name, "status"):
        return _ret(name, False, f"{name} does not stay up; its log says why", changes)
    return _ret(name, True, f"{name} runs", changes)


def _planned(name, changes):
    if not changes:
        return _ret(name, True, f"{name} runs")
    verb = {"started": "start", "enabled": "enable", "stopped": "stop", "restarted": "restart"}[
        next(iter(changes.values()))
    ]
    return _ret(name, None, f"Would {verb} {name}", changes)


def _port():
    return __salt__["registry_host.port"]()


def _and(phrases):
    return " and ".join(filter(None, (", ".join(phrases[:-1]), phrases[-1])))
