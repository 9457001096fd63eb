"""The container engines of this host, docker and podman, and their trust in the registries of the pillar."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import salt.utils.path
import salt.utils.systemd
from salt.exceptions import CommandExecutionError

import _registry_host_address as address
import _registry_host_docker as docker
import _registry_host_engines as engines
import _registry_host_service as host
import _registry_state_files as files
import _registry_state_settings as checked

_SYSCONFIG = "/etc/sysconfig/docker"
_DAEMON_JSON = "/etc/docker/daemon.json"
_REGISTRIES_CONF = "/etc/containers/registries.conf.d/docker_registry.conf"
_SECONDS_TO_RELOAD = 10
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
    checked.choice(_PROGRAMS, engine, "engine")
    choice = _settings().engine.manage
    if choice != "auto":
        return choice == engine
    return any(map(salt.utils.path.which, _PROGRAMS[engine])) or (engine == "docker" and installs())


def installs():
    """
    Whether docker is to be installed.

    Returns:
        bool: the pillar's ``engine:install``; ``auto`` is true on Enterprise Linux 7, as in the role.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.installs
    """
    engine = _settings().engine
    wanted = _is_el7() if engine.install == "auto" else engine.install
    return wanted and engine.manage in ("auto", "docker")


def should_manage(what):
    """
    Whether a state that configures an engine has something to do on this host.

    Args:
        what (str): ``package`` (docker's), ``sysconfig`` or ``daemon`` (files of docker; only one of them
            names registries), ``reload`` (docker has not taken over what its daemon.json says), ``podman``.

    Returns:
        bool: true if the state should run.

    Raises:
        CommandExecutionError: a file of docker is broken, or the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.should_manage daemon
    """
    condition = _CONDITIONS[checked.choice(_CONDITIONS, what, "what")]
    try:
        wanted = not __salt__["registry_host.skips_configuration"]() and condition()
    except engines.EngineFileError as error:
        raise CommandExecutionError(str(error)) from error
    # See registry_host.should_manage.
    __context__["retcode"] = 0
    return wanted


def text(of, clean=False):
    """
    Contents of a configuration file.

    Args:
        of (str): ``sysconfig`` (/etc/sysconfig/docker), ``daemon`` (/etc/docker/daemon.json), ``tidy`` (the
            same, but for a list of no registries) or ``podman`` (our file in registries.conf.d).
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
        return _TEXTS[checked.choice(_TEXTS, of, "of")](clean)
    except engines.EngineFileError as error:
        raise CommandExecutionError(str(error)) from error


def noted(of):
    """
    What is noted of a file of docker; of one that nothing was noted of, what can be told from it.

    Args:
        of (str): ``sysconfig`` or ``daemon``.

    Returns:
        dict: ``added`` (``host:port`` of each registry that we have named there); ``before`` (its text before
        that, none where there was no such file; no key where that is not known); ``dropped`` (what we have
        named there once, and a docker that was not reloaded may trust still).

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.noted daemon
    """
    path = _FILES[of]
    told = _notes().of(path)
    text = _read(path) if __salt__["file.file_exists"](path) else None
    return told or engines.seen(of, text, insecure())


def docker_file():
    """
    The file in which registries are named to docker: it refuses the same setting in both, so one that is in
    daemon.json stays there.

    Returns:
        str: ``sysconfig`` or ``daemon``; empty where none is to be named.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.docker_file
    """
    if not manages("docker") or not insecure():
        return ""
    if engines.names_insecure_registries(_read(_DAEMON_JSON)):
        return "daemon"
    return "sysconfig" if __salt__["file.file_exists"](_SYSCONFIG) or _brings_sysconfig() else "daemon"


def insecure():
    """
    The registries that engines of this host pull from and that speak plain HTTP or are not verified.

    Returns:
        list: ``host:port`` of each.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.insecure
    """
    endpoints = _pulled_from(_settings())
    return list(dict.fromkeys(each.name for each in endpoints if not each.tls or each.verify is False))


def pending():
    """
    Of ``insecure``, and of what we have named before, those on which docker's daemon.json and the docker that
    runs do not agree: what the file names anew, or no longer. It asks docker on its socket.

    Returns:
        list: ``host:port`` of each; empty where docker cannot be asked, or where its daemon.json has no list.

    Raises:
        CommandExecutionError: daemon.json is broken.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.pending
    """
    text = _daemon_json_text()
    info = docker.ask_info() if engines.names_insecure_registries(text) else {}
    if not info:
        return []
    differing = set(engines.insecure_registries(text)) ^ docker.trusted_registries(info)
    told = _notes().of(_DAEMON_JSON) or {}
    ours = dict.fromkeys([*insecure(), *told.get("added", []), *told.get("dropped", [])])
    return [name for name in ours if name in differing]


def reload(name):
    """
    Have docker read its daemon.json, without a restart, and wait until it has. Its containers go on.
    https://docs.docker.com/reference/cli/dockerd/#configuration-reload-behavior

    Args:
        name (str): docker's service.

    Returns:
        bool: true if docker has been told, and does not deny.

    Raises:
        CommandExecutionError: it could not be told, or does not take over the registries.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.reload docker
    """
    _refuse_loss(name)
    if salt.utils.systemd.booted(__context__):
        __salt__["service.reload"](name)
    else:
        _hang_up(name)
    deadline = time.monotonic() + _SECONDS_TO_RELOAD
    while left := pending():
        if time.monotonic() > deadline:
            raise CommandExecutionError(
                f"{name} was reloaded but does not take over {', '.join(left)} from {_DAEMON_JSON}; "
                "its log says why"
            )
        time.sleep(0.05)
    return True


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
    for endpoint in _pulled_from(settings):
        if endpoint.tls and isinstance(endpoint.verify, str):
            found.setdefault(endpoint.name, endpoint.verify)
    return {name: text if host.is_pem(text) else _certificate_in(text) for name, text in found.items()}


def _certificate_in(path):
    text = _read(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CommandExecutionError(f"{path}: is no certificate in PEM") from None
    return text


def _settings():
    return checked.settings_of(__pillar__, __grains__, __salt__, __context__)


def _pulled_from(settings):
    return engines.pulled_from(
        settings,
        is_el7=_is_el7(),
        is_undercloud=__salt__["registry_undercloud.is_undercloud"](),
        is_here=lambda name: address.is_here(name, __salt__),
    )


def _is_el7():
    return __grains__["os_family"] == "RedHat" and __grains__.get("osmajorrelease", 0) < 8


# The docker that runs


def _refuse_loss(name):
    daemon = engines.daemon_settings(_daemon_json_text())
    version = docker.ask_info().get("ServerVersion", "") if daemon.get("registry-mirrors") else ""
    if docker.loses_registries(version):
        raise CommandExecutionError(
            f"{name} {version} would forget all its insecure registries at a reload, as {_DAEMON_JSON} has "
            "registry-mirrors (https://github.com/moby/moby/pull/45552); restart it when you can"
        )


def _hang_up(name):
    """Debian's init script knows no reload."""
    pid, _ = docker.running_process()
    if not pid:
        raise CommandExecutionError(f"{name} cannot be reloaded: {docker.PID_FILE} names no dockerd")
    os.kill(pid, signal.SIGHUP)


def _daemon_json_text():
    text = _read(_DAEMON_JSON)
    try:
        engines.insecure_registries(text)
    except engines.EngineFileError as error:
        raise CommandExecutionError(str(error)) from error
    return text


# Its files


def _brings_sysconfig():
    """Whether docker's package, yet to be installed, has the file: a plan should name the right one."""
    return _is_el7() and not any(map(salt.utils.path.which, _PROGRAMS["docker"]))


def _sysconfig(clean):
    now, told = _read(_SYSCONFIG), noted("sysconfig")
    if not clean:
        return _added_to("sysconfig", now, told)
    if isinstance(told.get("before"), str):
        return engines.restored_sysconfig(now, told["added"], told["before"]) if _was_ours(told) else now
    return engines.drop_from_sysconfig(now, told["added"])


def _daemon(clean):
    now, told = _read(_DAEMON_JSON), noted("daemon")
    if not clean:
        return _added_to("daemon", now, told)
    return engines.drop_from_daemon_json(now, told["added"]) if told["added"] else now


def _added_to(of, text, told):
    """Without what was ours and is not wanted any more, and with what is wanted and missing."""
    wanted = insecure()
    stale = [registry for registry in told["added"] if registry not in wanted]
    kept = _DROPS[of](text, stale) if stale else text
    if not wanted or docker_file() not in ("", of):
        return kept
    if of == "sysconfig":
        return engines.add_to_sysconfig(kept, wanted)
    _, words = docker.running_process()
    return engines.add_to_daemon_json(kept, wanted, beside=words)


def _tidy(_clean):
    now, told = _read(_DAEMON_JSON), noted("daemon")
    if not _was_ours(told):
        return now
    left = engines.drop_from_daemon_json(now, told["added"])
    before = told.get("before")
    if "before" in told:
        left = engines.restored_daemon_json(left, before or "")
    left = engines.without_empty_list(left) if before is None else left
    # A link is the site's, and what it leads to is to be read by docker.
    return "{}\n" if not left and before is None and Path(_DAEMON_JSON).is_symlink() else left


def _was_ours(told):
    return bool(told["added"] or told.get("dropped"))


def _podman(clean):
    return "" if clean else engines.registries_conf(insecure())


def _read(path):
    return files.read(path, __salt__)


def _notes():
    return files.Notes(__opts__["root_dir"], files.ENGINES)


_FILES = {"sysconfig": _SYSCONFIG, "daemon": _DAEMON_JSON}
_DROPS = {"sysconfig": engines.drop_from_sysconfig, "daemon": engines.drop_from_daemon_json}
_TEXTS = {"sysconfig": _sysconfig, "daemon": _daemon, "tidy": _tidy, "podman": _podman}
_CONDITIONS = {
    "package": installs,
    "sysconfig": lambda: manages("docker") and text("sysconfig") != _read(_SYSCONFIG),
    "daemon": lambda: manages("docker") and text("daemon") != _read(_DAEMON_JSON),
    "reload": lambda: manages("docker") and bool(pending()),
    # All of this file is ours, and a registry that has got TLS is not to be trusted without it any longer.
    "podman": lambda: manages("podman") and bool(insecure() or _read(_REGISTRIES_CONF)),
}
