"""Services on this host, under systemd or an init script."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import salt.utils.systemd

import _registry_host_service as host
import _registry_state_settings as checked


def answers(patience=0, instance="service"):
    """
    Whether something listens on the address of the registry on this host.

    Args:
        patience (float): seconds to wait for it.
        instance (str): ``service``, or ``push`` for the socket of the second one.

    Returns:
        bool: true if a connection could be made.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_service.answers patience=5
    """
    settings = checked.settings_of(__pillar__, __grains__, __salt__, __context__)
    port = settings.local.port
    in_network = host.listen_addresses(settings.service.config, port)
    addresses = [host.push_socket(port)] if instance == "push" else in_network
    deadline = time.monotonic() + patience
    while not any(map(_accepts, addresses)):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


def control(name, action):
    """
    Start, stop, enable or query a service, also where systemd is installed but not running: Salt then
    assumes to be offline and reports success without doing anything.
    https://github.com/saltstack/salt/blob/master/salt/utils/systemd.py (``offline``)

    Args:
        name (str): the service.
        action (str): start, stop, status, enable, disable or enabled.

    Returns:
        bool: true if it was done, or if it is so.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_service.control docker-registry status
    """
    if salt.utils.systemd.booted(__context__):
        if action == "start":
            reload_units()
        return __salt__[f"service.{action}"](name)
    if action in ("enable", "disable", "enabled"):
        return _at_boot(name, action)
    if "service.offline" in __salt__ and __salt__["service.offline"]():
        command = ["service", name, action]
        return __salt__["cmd.retcode"](command, python_shell=False, ignore_retcode=True) == 0
    return __salt__[f"service.{action}"](name)


def reload_units():
    """
    Reload systemd's units, where it runs; this also generates units from quadlets.

    Returns:
        bool: true if they were reloaded or systemd does not run.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_service.reload_units
    """
    return not salt.utils.systemd.booted(__context__) or __salt__["service.systemctl_reload"]()


def _at_boot(name, action):
    """A package does it by itself; for our own script Salt would need insserv, which Debian has given up."""
    if not __salt__["registry_host.is_our_unit"](f"/etc/init.d/{name}"):
        return True
    if action == "enabled":
        return any(Path("/etc").glob(f"rc[2-5].d/S??{name}"))
    arguments = [name, "defaults"] if action == "enable" else ["-f", name, "remove"]
    return __salt__["cmd.retcode"](["update-rc.d", *arguments], python_shell=False) == 0


def _accepts(address):
    """Whether somebody listens at a pair of host and port, or at the path of a Unix socket."""
    in_network = isinstance(address, tuple)
    try:
        if in_network:
            socket.create_connection(address, timeout=1).close()
            return True
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(address)
    except OSError:
        return False
    return True
