"""What this formula has added to files of engines, and what was there before: more of ``registry_engine``."""

from __future__ import annotations

from salt.exceptions import CommandExecutionError

# Modules, not their functions: whatever function stands here is one of registry_engine to Salt.
import _registry_host_engines as engines
import _registry_state_files as files

_SYSCONFIG = "/etc/sysconfig/docker"
_DAEMON_JSON = "/etc/docker/daemon.json"

__virtualname__ = "registry_engine"


def __virtual__():  # noqa: N807 - Salt's own name
    """Beside the functions of the file ``registry_engine.py``."""
    return __virtualname__


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
        told = __salt__["registry_engine.noted"](of)
        names_them = not clean and __salt__["registry_engine.docker_file"]() == of
        wanted = __salt__["registry_engine.insecure"]() if names_them else []
        if not (wanted or told["added"]):
            return
        missing = [registry for registry in wanted if registry not in _named(of)]
    except engines.EngineFileError as error:
        raise CommandExecutionError(str(error)) from error
    _notes().write(_FILES[of], {**told, "added": list(dict.fromkeys([*told["added"], *missing]))})


def settle(of):
    """
    Note of what is ours in a file of docker only what is still in it.

    Args:
        of (str): ``sysconfig`` or ``daemon``.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.settle daemon
    """
    told = _notes().of(_FILES[of])
    if not told:
        return
    there = _named(of)
    gone = [*told.get("dropped", []), *(each for each in told["added"] if each not in there)]
    left = [each for each in told["added"] if each in there]
    # A docker that could not be reloaded may trust them still.
    _notes().write(_FILES[of], {**told, "added": left, "dropped": list(dict.fromkeys(gone))})


def forget(path):
    """
    Forget what was noted of a file of the engines.

    Args:
        path (str): of the file.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_engine.forget /etc/docker/daemon.json
    """
    _notes().forget(path)


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
    return (_notes().of(_FILES[of]) or {}).get("before") is None


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
    told, now = _notes().of(path) or {"before": None, "text": ""}, _read(path)
    before = told["before"]
    if now and not any(_are_same(now, known) for known in (text, told["text"])):
        before = None if __salt__["registry_tls.is_made_here"](now) else now
    _notes().write(path, {"before": before, "text": text})


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
    wanted = {
        f"{directory}/{name}/ca.crt": text for name, text in __salt__["registry_engine.authorities"]().items()
    }
    notes = {path: note for path, note in _notes().all().items() if path.startswith(f"{directory}/")}
    left = {path: note["before"] for path, note in notes.items() if clean or path not in wanted}
    for path in wanted.keys() - notes.keys() if clean else ():
        now = _read(path)
        if now and (_are_same(now, wanted[path]) or __salt__["registry_tls.is_made_here"](now)):
            left[path] = None
    return {
        path: before if _is_as_noted(path, notes) else _read(path) or None for path, before in left.items()
    }


def _configures_docker():
    return not __salt__["registry_host.skips_configuration"]() and __salt__["registry_engine.manages"](
        "docker"
    )


def _is_as_noted(path, notes):
    """What others have written there since is theirs."""
    return path not in notes or _are_same(_read(path), notes[path]["text"])


def _are_same(text, other):
    """Whether two certificates are the same, however their lines end."""
    return text.strip().splitlines() == other.strip().splitlines()


def _named(of):
    return _NAMES[of](_read(_FILES[of]))


def _notes():
    return files.Notes(__opts__["root_dir"], files.ENGINES)


def _read(path):
    return files.read(path, __salt__)


_FILES = {"sysconfig": _SYSCONFIG, "daemon": _DAEMON_JSON, "tidy": _DAEMON_JSON}
_NAMES = {"sysconfig": engines.registries_in_sysconfig, "daemon": engines.insecure_registries}
