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


def note(of, clean=False):
    """
    Note what is going to be ours in a file of docker, so that just that can be taken back.

    Args:
        of (str): ``sysconfig`` or ``daemon``.
        clean (bool): nothing is going to be added. What a version before the notes has added is noted.

    Raises:
        CommandExecutionError: the file cannot be added to, or nothing can be noted.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.note daemon
    """
    try:
        if not (clean or _configures_docker()):
            return
        noted = _noted(of)
        wanted = insecure() if not clean and _docker_file() == of else []
        if not (wanted or noted["added"]):
            return
        missing = [registry for registry in wanted if registry not in _named(of)]
    except engines.EngineFileError as error:
        raise CommandExecutionError(str(error)) from error
    _write_note(_FILES[of], {**noted, "added": list(dict.fromkeys([*noted["added"], *missing]))})


def settle(of):
    """
    Note of what is ours in a file of docker only what is still in it.

    Args:
        of (str): ``sysconfig`` or ``daemon``.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.settle daemon
    """
    noted = _notes().get(_FILES[of])
    if not noted:
        return
    there = _named(of)
    gone = [*noted.get("dropped", []), *(each for each in noted["added"] if each not in there)]
    left = [each for each in noted["added"] if each in there]
    # A docker that could not be reloaded may trust them still.
    _write_note(_FILES[of], {**noted, "added": left, "dropped": list(dict.fromkeys(gone))})


def forget(path):
    """
    Forget what was noted of a file of the engines.

    Args:
        path (str): of the file.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.forget /etc/docker/daemon.json
    """
    notes = _notes()
    if notes.pop(path, None) is not None:
        files.write_notes(_notes_path(), notes)


def goes(of):
    """
    Whether a file of docker that says nothing any more is one that we have made.

    Args:
        of (str): ``sysconfig``, ``daemon`` or ``tidy``.

    Returns:
        bool: false if the file was there before, though empty.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.goes daemon
    """
    return _notes().get(_FILES[of], {}).get("before") is None


def note_authority(path, text):
    """
    Note the CA that is going to be ours, and what was in its place.

    Args:
        path (str): of the file.
        text (str): the CA.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.note_authority /etc/docker/certs.d/mirror:5000/ca.crt "$PEM"
    """
    noted, now = _notes().get(path, {"before": None, "text": ""}), _read(path)
    before = noted["before"]
    if now and not any(_are_same(now, known) for known in (text, noted["text"])):
        before = None if __salt__["registry_tls.is_made_here"](now) else now
    _write_note(path, {"before": before, "text": text})


def authorities_left(directory, clean=False):
    """
    Files of authorities that are ours and not wanted any more.

    Args:
        directory (str): of an engine, such as /etc/docker/certs.d.
        clean (bool): none is wanted. Those of a version before the notes are among them where they are
            what the pillar says, or certificates of an authority that this formula has made.

    Returns:
        dict: path → what is to be in its place; none where there is to be no such file.

    Raises:
        CommandExecutionError: the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.authorities_left /etc/docker/certs.d
    """
    wanted = {f"{directory}/{name}/ca.crt": text for name, text in authorities().items()}
    notes = {path: note for path, note in _notes().items() if path.startswith(f"{directory}/")}
    left = {path: note["before"] for path, note in notes.items() if clean or path not in wanted}
    for path in wanted.keys() - notes.keys() if clean else ():
        now = _read(path)
        if now and (_are_same(now, wanted[path]) or __salt__["registry_tls.is_made_here"](now)):
            left[path] = None
    return {
        path: before if _is_as_noted(path, notes) else _read(path) or None for path, before in left.items()
    }


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
    noted = _notes().get(_DAEMON_JSON, {})
    ours = dict.fromkeys([*insecure(), *noted.get("added", []), *noted.get("dropped", [])])
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


def _docker_file():
    """Docker refuses the same setting in both places, so one that is in daemon.json stays there."""
    if not manages("docker") or not insecure():
        return ""
    if engines.names_insecure_registries(_read(_DAEMON_JSON)):
        return "daemon"
    return "sysconfig" if __salt__["file.file_exists"](_SYSCONFIG) or _brings_sysconfig() else "daemon"


def _brings_sysconfig():
    """Whether docker's package, yet to be installed, has the file: a plan should name the right one."""
    return _is_el7() and not any(map(salt.utils.path.which, _PROGRAMS["docker"]))


def _sysconfig(clean):
    now, noted = _read(_SYSCONFIG), _noted("sysconfig")
    if not clean:
        return _added_to("sysconfig", now, noted)
    if isinstance(noted.get("before"), str):
        return engines.restored_sysconfig(now, noted["added"], noted["before"]) if _was_ours(noted) else now
    return engines.drop_from_sysconfig(now, noted["added"])


def _daemon(clean):
    now, noted = _read(_DAEMON_JSON), _noted("daemon")
    if not clean:
        return _added_to("daemon", now, noted)
    return engines.drop_from_daemon_json(now, noted["added"]) if noted["added"] else now


def _added_to(of, text, noted):
    """Without what was ours and is not wanted any more, and with what is wanted and missing."""
    wanted = insecure()
    stale = [registry for registry in noted["added"] if registry not in wanted]
    kept = _DROPS[of](text, stale) if stale else text
    if not wanted or _docker_file() not in ("", of):
        return kept
    if of == "sysconfig":
        return engines.add_to_sysconfig(kept, wanted)
    _, words = docker.running_process()
    return engines.add_to_daemon_json(kept, wanted, beside=words)


def _tidy(_clean):
    now, noted = _read(_DAEMON_JSON), _noted("daemon")
    if not _was_ours(noted):
        return now
    left = engines.drop_from_daemon_json(now, noted["added"])
    before = noted.get("before")
    if "before" in noted:
        left = engines.restored_daemon_json(left, before or "")
    left = engines.without_empty_list(left) if before is None else left
    # A link is the site's, and what it leads to is to be read by docker.
    return "{}\n" if not left and before is None and Path(_DAEMON_JSON).is_symlink() else left


def _was_ours(noted):
    return bool(noted["added"] or noted.get("dropped"))


def _configures_docker():
    return not __salt__["registry_host.skips_configuration"]() and manages("docker")


def _podman(clean):
    return "" if clean else engines.registries_conf(insecure())


def _read(path):
    return files.read(path, __salt__)


# Notes of what is ours in them


def _noted(of):
    """What was noted of a file of docker; of one that nothing was noted of, what can be told from it."""
    path = _FILES[of]
    notes = _notes()
    if path in notes:
        return notes[path]
    text, wanted = _read(path), insecure()
    # Versions before the notes have written this layout; another one is the site's.
    looks_ours = bool(wanted and text.strip()) and _LOOKS_OURS[of](text)
    if ours := [each for each in wanted if looks_ours and each in _NAMES[of](text)]:
        return {"added": ours}
    return {"added": [], "before": text if __salt__["file.file_exists"](path) else None}


def _is_as_noted(path, notes):
    """What others have written there since is theirs."""
    return path not in notes or _are_same(_read(path), notes[path]["text"])


def _are_same(text, other):
    """Whether two certificates are the same, however their lines end."""
    return text.strip().splitlines() == other.strip().splitlines()


def _named(of):
    return _NAMES[of](_read(_FILES[of]))


def _notes():
    return files.read_notes(_notes_path())


def _write_note(path, note):
    notes = _notes()
    if notes.get(path) != note:
        files.write_notes(_notes_path(), {**notes, path: note})


def _notes_path():
    return files.notes_path(__opts__["root_dir"], files.ENGINES)


_FILES = {"sysconfig": _SYSCONFIG, "daemon": _DAEMON_JSON, "tidy": _DAEMON_JSON}
_NAMES = {"sysconfig": engines.registries_in_sysconfig, "daemon": engines.insecure_registries}
_DROPS = {"sysconfig": engines.drop_from_sysconfig, "daemon": engines.drop_from_daemon_json}
_LOOKS_OURS = {
    "sysconfig": engines.may_have_written_sysconfig,
    "daemon": engines.may_have_written_daemon_json,
}
_TEXTS = {"sysconfig": _sysconfig, "daemon": _daemon, "tidy": _tidy, "podman": _podman}
_CONDITIONS = {
    "package": installs,
    "sysconfig": lambda: manages("docker") and text("sysconfig") != _read(_SYSCONFIG),
    "daemon": lambda: manages("docker") and text("daemon") != _read(_DAEMON_JSON),
    "reload": lambda: manages("docker") and bool(pending()),
    # All of this file is ours, and a registry that has got TLS is not to be trusted without it any longer.
    "podman": lambda: manages("podman") and bool(insecure() or _read(_REGISTRIES_CONF)),
}
