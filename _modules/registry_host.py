"""What the states of ``docker_registry`` ask about the host they run on.

The states hand these functions to Salt as slots and as conditions, so that they are called when a
state runs: https://docs.saltproject.io/en/latest/topics/slots/index.html
"""

from __future__ import annotations

import secrets
import socket
import time

import salt.utils.systemd
from salt.exceptions import CommandExecutionError

import _registry_host
from _registry_settings import SettingsError, read_settings

_LEFT_ALONE = "registry_host.left_alone"


def left_alone():
    """
    Whether the registry of this host is to be left as it is: it serves images already and the pillar
    does not say ``docker_registry:force: true``. Within one state run the answer stays the same.

    Returns:
        bool: true if nothing is to be configured.

    Raises:
        CommandExecutionError: the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.left_alone
    """
    if _LEFT_ALONE not in __context__:
        settings = _settings()
        __context__[_LEFT_ALONE] = (
            not settings.force
            and _is_here(settings.local.host)
            and bool(__salt__["registry_sync.populated"]())
        )
    return __context__[_LEFT_ALONE]


def storage(default):
    """
    The directory that the images lie in.

    Args:
        default (str): where the system's package keeps them.

    Returns:
        str: a path, empty where the pillar's ``registry:config`` names another storage driver.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.storage /var/lib/registry
    """
    config = service_config("", default)
    return config["storage"].get("filesystem", {}).get("rootdirectory", "")


def service_config(file, storage_default):
    """
    The configuration of docker-distribution: the pillar's ``docker_registry:registry:config`` merged
    over defaults. ``http.secret`` is the pillar's, else the one the file has, else a new one.

    Args:
        file (str): path of the configuration file.
        storage_default (str): where the system's package keeps the images.

    Returns:
        dict: what the file should say.

    Raises:
        CommandExecutionError: the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.service_config /etc/docker/registry/config.yml /var/lib/docker-registry
    """
    settings = _settings()
    site = __salt__["pillar.get"]("docker_registry:registry", {})
    return _registry_host.service_config(
        site.get("config", {}),
        storage=site.get("storage") or storage_default,
        port=settings.local.port,
        secret=_registry_host.secret_in(_text(file)) or secrets.token_hex(32),
    )


def answers(patience=0):
    """
    Whether something listens where the registry of this host should.

    Args:
        patience (float): seconds to wait for it.

    Returns:
        bool: true if a connection could be made.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.answers patience=5
    """
    address = _registry_host.listen_address(service_config("", ""))
    return _wait(lambda: _accepts(address), patience)


def service(name, action):
    """
    Start, stop, enable or look at a service, also where systemd is installed but not running: Salt then
    takes itself to be offline and says success without doing anything.
    https://github.com/saltstack/salt/blob/master/salt/utils/systemd.py (``offline``)

    Args:
        name (str): the service.
        action (str): start, stop, status, enable, disable or enabled.

    Returns:
        bool: true if it was done, or if it is so.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.service docker-registry status
    """
    if salt.utils.systemd.booted(__context__):
        return __salt__[f"service.{action}"](name)
    if action in ("enable", "disable", "enabled"):
        # The package does it; Salt needs insserv for it, which Debian has given up.
        return action != "disable"
    if "service.offline" in __salt__ and __salt__["service.offline"]():
        command = ["service", name, action]
        return __salt__["cmd.retcode"](command, python_shell=False, ignore_retcode=True) == 0
    return __salt__[f"service.{action}"](name)


def _settings():
    try:
        return read_settings(__salt__["pillar.get"]("docker_registry"), host=__grains__["fqdn"])
    except SettingsError as mistake:
        raise CommandExecutionError(str(mistake)) from mistake


def _is_here(host):
    """Whether a name stands for this host; with ``ip_nonlocal_bind`` a bind would not tell."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    own = __salt__["network.ip_addrs"](include_loopback=True)
    own += __salt__["network.ip_addrs6"](include_loopback=True)
    # Debian gives the host's own name 127.0.1.1, which no interface lists.
    return any(address.startswith("127.") or address in own for address in found)


def _wait(condition, patience):
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


def _accepts(address):
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True


def _text(path):
    return __salt__["file.read"](path) if path and __salt__["file.file_exists"](path) else ""
