"""The second registry service of this host, through which it alone pushes."""

from __future__ import annotations

from pathlib import Path

from salt.exceptions import CommandExecutionError

import _registry_host_service as host
import _registry_host_units as units
import _registry_state_pushes as push_service
import _registry_sync_collect_window as window


def text(kind, name, config, storage_default, program, user, group):
    """
    What runs the service.

    Args:
        kind (str): ``unit``, ``quadlet`` or ``script``.
        name (str): the service.
        config (str): path of its configuration file.
        storage_default (str): where the images lie unless the pillar says.
        program (str): path of the registry's program where it comes as a package.
        user (str): whom that runs as.
        group (str): and its group.

    Returns:
        str: a unit for systemd, a quadlet or an init script.

    Raises:
        CommandExecutionError: the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_push.text unit registry-push /etc/push.yml /srv /usr/bin/registry root root
    """
    if __salt__["registry_host.should_manage"]("container"):
        return __salt__["registry_host.container_unit"](kind, name, config, storage_default, push=True)
    served = units.Program(name, program, config, user, group, host.PUSH_DIRECTORY)
    return units.init_script(served) if kind == "script" else units.program_unit(served)


def socket():
    """
    Where it listens.

    Returns:
        str: path of a Unix socket.

    Raises:
        CommandExecutionError: the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_push.socket
    """
    return host.push_socket(__salt__["registry_host.port"]())


def recover():
    """
    Start it again where ``registry_sync.collect`` had stopped it and was killed, and its guard with it.

    Returns:
        bool: true if that was so.

    Raises:
        CommandExecutionError: space is still being freed, the service does not start, or the pillar has a
            mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_push.recover
    """
    port = __salt__["registry_host.port"]()
    lock = push_service.lock_file(__opts__, port)
    service = push_service.find(port) if Path(lock).exists() else None
    if service is None:
        return False
    try:
        return window.recover(lock, push_service.pushes_of(service.name, __salt__))
    except window.CollectError as failure:
        raise CommandExecutionError(str(failure)) from None


def is_our_config(file):
    """
    Whether a file is a configuration that this formula wrote for it.

    Args:
        file (str): its path.

    Returns:
        bool: true if it is.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_push.is_our_config /etc/docker/registry/push.yml
    """
    if not __salt__["file.file_exists"](file):
        return False
    return host.is_push_config(host.read_config(__salt__["file.read"](file)))
