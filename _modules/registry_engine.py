"""The container engines of this host, docker and podman, and their trust in the registries of the pillar."""

from __future__ import annotations

import salt.utils.path
from salt.exceptions import CommandExecutionError

import _registry_host_engines as engines
import _registry_host_service as host
import _registry_state_settings as checked

_SYSCONFIG = "/etc/sysconfig/docker"
_DAEMON_JSON = "/etc/docker/daemon.json"
# Enterprise Linux 7 has its docker under names of its own; a plain docker may be podman's.
_PROGRAMS = {"docker": ("dockerd", "dockerd-current", "docker-current"), "podman": ("podman",)}


def manages(engine):
    """
    Whether the formula configures an engine.

    Args:
        engine (str): ``docker`` or ``podman``.

    Returns:
        bool: true if the pillar's ``engine:manage`` names it, or says ``auto`` and it is installed or
        will be.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.manages docker
    """
    choice = _settings().engine.manage
    if choice != "auto":
        return choice == engine
    return any(map(salt.utils.path.which, _PROGRAMS[engine])) or (engine == "docker" and installs())


def installs():
    """
    Whether docker is to be installed.

    Returns:
        bool: the pillar's ``engine:install``.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.installs
    """
    engine = _settings().engine
    return engine.install is True and engine.manage in ("auto", "docker")


def should_manage(what):
    """
    Whether a state that configures an engine has something to do on this host.

    Args:
        what (str): ``package`` (docker's), ``sysconfig`` or ``daemon`` (files of docker; only one of them
            names registries), ``podman``.

    Returns:
        bool: true if the state should run.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.should_manage daemon
    """
    wanted = not __salt__["registry_host.skips_configuration"]() and _CONDITIONS[what]()
    # See registry_host.should_manage.
    __context__["retcode"] = 0
    return wanted


def text(of, clean=False):
    """
    Contents of a configuration file.

    Args:
        of (str): ``sysconfig`` (/etc/sysconfig/docker), ``daemon`` (/etc/docker/daemon.json) or ``podman``
            (our file in registries.conf.d).
        clean (bool): without our registries.

    Returns:
        str: the whole text; empty where nothing is left.

    Raises:
        CommandExecutionError: the file that is there cannot be added to.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.text daemon
    """
    try:
        return _TEXTS[of](clean)
    except engines.EngineFileError as error:
        raise CommandExecutionError(str(error)) from error


def insecure():
    """
    The registries of the pillar, upstream and local, that speak plain HTTP or are not verified.

    Returns:
        list: ``host:port`` of each.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.insecure
    """
    settings = _settings()
    endpoints = (settings.local, *settings.upstreams)
    return list(dict.fromkeys(each.name for each in endpoints if not each.tls or each.verify is False))


def authorities():
    """
    The CA certificates that engines need for our registries.

    Returns:
        dict: ``host:port`` → PEM.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.authorities
    """
    settings = _settings()
    ours = settings.service.ca or settings.authority
    found = {settings.local.name: ours} if settings.local.tls and ours else {}
    for endpoint in (settings.local, *settings.upstreams):
        if endpoint.tls and isinstance(endpoint.verify, str):
            found.setdefault(endpoint.name, endpoint.verify)
    return {name: text if host.is_pem(text) else _read(text) for name, text in found.items()}


def _settings():
    return checked.settings_of(__pillar__, __grains__, __salt__, __context__)


def _docker_file():
    """Docker refuses the same setting in both places, so one that is in daemon.json stays there."""
    if not manages("docker") or not insecure():
        return ""
    if engines.names_insecure_registries(_read(_DAEMON_JSON)):
        return "daemon"
    return "sysconfig" if __salt__["file.file_exists"](_SYSCONFIG) or _brings_sysconfig() else "daemon"


def _brings_sysconfig():
    """Whether docker's package, yet to be installed, has the file: a plan should name the right one."""
    is_old = __grains__["os_family"] == "RedHat" and __grains__.get("osmajorrelease", 0) < 8
    return is_old and not any(map(salt.utils.path.which, _PROGRAMS["docker"]))


def _sysconfig(clean):
    change = engines.drop_from_sysconfig if clean else engines.add_to_sysconfig
    return change(_read(_SYSCONFIG), insecure())


def _daemon(clean):
    change = engines.drop_from_daemon_json if clean else engines.add_to_daemon_json
    return change(_read(_DAEMON_JSON), insecure())


def _podman(clean):
    return "" if clean else engines.registries_conf(insecure())


def _read(path):
    return __salt__["file.read"](path) if __salt__["file.file_exists"](path) else ""


_TEXTS = {"sysconfig": _sysconfig, "daemon": _daemon, "podman": _podman}
_CONDITIONS = {
    "package": installs,
    "sysconfig": lambda: _docker_file() == "sysconfig" and text("sysconfig") != _read(_SYSCONFIG),
    "daemon": lambda: _docker_file() == "daemon" and text("daemon") != _read(_DAEMON_JSON),
    "podman": lambda: manages("podman") and bool(insecure()),
}
