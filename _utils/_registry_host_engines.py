"""Configuration files of container engines with insecure registries, as transformations of their text.

Other settings in them stay. No I/O, nothing of Salt.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from _registry_config_values import Settings
from _registry_http_endpoint import Endpoint

_FLAG = "--insecure-registry"
_JSON_KEY = "insecure-registries"
_ASSIGNMENT = re.compile(r"\s*([A-Za-z_]\w*)=(.*)", re.DOTALL)
_COMMENTED = re.compile(r"\s*#+\s*INSECURE_REGISTRY=")


class EngineFileError(ValueError):
    """A file says something that cannot be added to."""


def pulled_from(
    settings: Settings, *, is_el7: bool, is_undercloud: bool, is_here: Callable[[str], bool]
) -> tuple[Endpoint, ...]:
    """The registries that engines of this host pull from.

    Args:
        settings: of this host.
        is_el7: Enterprise Linux 7 or older, where the Ansible role ran: it named both registries, and a file
            that it has written is to stay as it is.
        is_undercloud: there the command line of OpenStack, if it is to upload, has docker pull from upstream.
        is_here: whether a name is this host's own.

    Returns:
        ``local``; and of the upstreams all on these two, else the one that has the image in which the
        registry itself runs here. All else comes from upstream through ``registry_sync``, not an engine.
    """
    if is_el7 or (is_undercloud and settings.undercloud.upload_with == "openstack"):
        return settings.local, *settings.upstreams
    of_image = [each for each in settings.upstreams if settings.service.image.startswith(f"{each.name}/")]
    return settings.local, *(of_image if of_image and is_here(settings.local.host) else ())


def add_to_sysconfig(text: str, wanted: Iterable[str]) -> str:
    """Add insecure registries to ``/etc/sysconfig/docker``.

    Args:
        text: the file as it is.
        wanted: ``host:port`` of each registry.

    Returns:
        The same text where any setting names them all, be it ``OPTIONS``; else ``INSECURE_REGISTRY`` has
        them behind those that it had.
    """
    named = {registry for value in _settings(text).values() for registry in _registries(value)}
    missing = [registry for registry in dict.fromkeys(wanted) if registry not in named]
    if not missing:
        return text
    words = _words_without_gaps(_settings(text).get("INSECURE_REGISTRY", ""))
    return _with_setting(text, words + [f"{_FLAG} {registry}" for registry in missing])


def drop_from_sysconfig(text: str, unwanted: Iterable[str]) -> str:
    """Remove registries from ``INSECURE_REGISTRY`` in ``/etc/sysconfig/docker``.

    Args:
        text: the file as it is.
        unwanted: ``host:port`` of each registry.

    Returns:
        The same text where it names none of them; no empty assignment stays behind.
    """
    value = _settings(text).get("INSECURE_REGISTRY", "")
    gone = set(unwanted)
    if gone.isdisjoint(_registries(value)):
        return text
    return _with_setting(
        text, [word for word in _words_without_gaps(value) if _registry_of(word) not in gone]
    )


def seen(of: str, text: str | None, wanted: Iterable[str]) -> dict[str, Any]:
    """What can be told of a file of docker of which nothing was noted.

    Args:
        of: ``sysconfig`` or ``daemon``.
        text: of the file; None where there is none.
        wanted: ``host:port`` of each registry that is to be named there.

    Returns:
        ``added``, what was added to it; ``before``, its text before that, unless that is not known.

    Raises:
        EngineFileError: the file is broken.
    """
    laid_out, named = {
        "sysconfig": (may_have_written_sysconfig, registries_in_sysconfig),
        "daemon": (may_have_written_daemon_json, insecure_registries),
    }[of]
    there = [each for each in wanted if text and text.strip() and each in named(text)]
    # Versions before the notes have written this layout; another one is the site's.
    return {"added": there} if there and laid_out(text or "") else {"added": [], "before": text}


def registries_in_sysconfig(text: str) -> list[str]:
    """The registries of ``INSECURE_REGISTRY`` in ``/etc/sysconfig/docker``."""
    return _registries(_settings(text).get("INSECURE_REGISTRY", ""))


def may_have_written_sysconfig(text: str) -> bool:
    """Whether the assignment of ``INSECURE_REGISTRY`` looks as ``add_to_sysconfig`` writes it."""
    value = _settings(text).get("INSECURE_REGISTRY", "")
    return bool(value) and _with_setting(text, _words_without_gaps(value)) == text


def restored_sysconfig(text: str, unwanted: Iterable[str], before: str) -> str:
    """``/etc/sysconfig/docker`` without our registries.

    Args:
        text: the file as it is.
        unwanted: ``host:port`` of each registry that was added.
        before: the file as it was before.

    Returns:
        The very text that it had, unless something else has changed since.
    """
    left = drop_from_sysconfig(text, unwanted)
    return before if _meaning(left) == _meaning(before) else left


def _meaning(text: str) -> tuple[str, list[str]]:
    """All but the assignment that counts, and the options in that."""
    lines = list(_logical_lines(text))
    places = [at for at, line in enumerate(lines) if _name_of(line) == "INSECURE_REGISTRY"]
    value = _settings(text).get("INSECURE_REGISTRY", "")
    rest = [line for at, line in enumerate(lines) if at not in places[-1:]]
    return "".join(rest).rstrip("\n"), _words_without_gaps(value)


def _with_setting(text: str, words: list[str]) -> str:
    lines = list(_logical_lines(text))
    places = [at for at, line in enumerate(lines) if _name_of(line) == "INSECURE_REGISTRY"]
    setting = f'INSECURE_REGISTRY="{" ".join(words)}"\n'
    if not words and len(places) == 1:
        del lines[places[0]]
    elif places:
        # Of two assignments the last one wins.
        lines[places[-1]] = setting
    else:
        templates = [at for at, line in enumerate(lines) if _COMMENTED.match(line)]
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        lines.insert(templates[-1] + 1 if templates else len(lines), setting)
    return "".join(lines)


def _logical_lines(text: str) -> Iterator[str]:
    """Lines with their ends, one that a backslash continues taken with the next."""
    held = ""
    for line in text.splitlines(keepends=True):
        held += line
        if held.lstrip().startswith("#") or not line.rstrip("\n").endswith("\\"):
            yield held
            held = ""
    if held:
        yield held


def _name_of(line: str) -> str:
    match = _ASSIGNMENT.match(line)
    return match.group(1) if match else ""


def _settings(text: str) -> dict[str, str]:
    """The assignments that count, without the outer quotes."""
    matches = filter(None, map(_ASSIGNMENT.match, _logical_lines(text)))
    return {match.group(1): " ".join(_split(match.group(2).replace("\\\n", ""))) for match in matches}


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.replace('"', "").replace("'", "").split()


def _words(value: str) -> Iterator[str]:
    """Options of a command line, each ``--insecure-registry`` with its value."""
    words = deque(_split(value))
    while words:
        word = words.popleft()
        takes_next = word == _FLAG and words and not words[0].startswith("--")
        yield f"{word} {words.popleft()}" if takes_next else word


def _words_without_gaps(value: str) -> list[str]:
    """The options without an ``--insecure-registry`` that names nothing, which keeps docker from starting."""
    return [word for word in _words(value) if not word.startswith(_FLAG) or _registry_of(word)]


def _registry_of(word: str) -> str:
    return word[len(_FLAG) + 1 :].strip() if word.startswith(_FLAG) else ""


def _registries(value: str) -> list[str]:
    return [registry for registry in map(_registry_of, _words(value)) if registry]


def add_to_daemon_json(text: str, wanted: Iterable[str], beside: Sequence[str] = ()) -> str:
    """Add insecure registries to ``/etc/docker/daemon.json``.

    Args:
        text: the file as it is, empty where there is none.
        wanted: ``host:port`` of each registry.
        beside: the command line that docker runs with.

    Returns:
        The same text where it, or the command line, names them all; else all that it had, and them.

    Raises:
        EngineFileError: the file is no JSON object, or docker would refuse it beside its command line.
    """
    wanted = list(wanted)
    named = insecure_registries(text)
    in_command = _registries(shlex.join(beside))
    if set(wanted) <= set(in_command):
        return text
    if in_command and not named:
        raise EngineFileError(
            f"docker runs with {_FLAG} and would refuse {_JSON_KEY} in /etc/docker/daemon.json beside it; "
            f"give {' and '.join(wanted)} there, or move all to daemon.json"
        )
    missing = [registry for registry in dict.fromkeys(wanted) if registry not in named]
    return _daemon_json(text, {**daemon_settings(text), _JSON_KEY: named + missing}) if missing else text


def drop_from_daemon_json(text: str, unwanted: Iterable[str]) -> str:
    """Remove insecure registries from ``/etc/docker/daemon.json``.

    Args:
        text: the file as it is, empty where there is none.
        unwanted: ``host:port`` of each registry.

    Returns:
        The same text where it names none of them; else all that it had and the others, be that none: docker
        does not forget at a reload what the file no longer mentions (https://github.com/moby/moby/issues/36632).

    Raises:
        EngineFileError: the file is no JSON object.
    """
    named = insecure_registries(text)
    kept = [registry for registry in named if registry not in set(unwanted)]
    return text if kept == named else _daemon_json(text, {**daemon_settings(text), _JSON_KEY: kept})


def without_empty_list(text: str) -> str:
    """A ``daemon.json`` without a list of no registries; empty where nothing else is left.

    Raises:
        EngineFileError: the file is no JSON object.
    """
    if not names_insecure_registries(text) or insecure_registries(text):
        return text
    rest = {key: value for key, value in daemon_settings(text).items() if key != _JSON_KEY}
    return _daemon_json(text, rest) if rest else ""


def may_have_written_daemon_json(text: str) -> bool:
    """Whether a ``daemon.json`` with registries is laid out as ``add_to_daemon_json`` writes it.

    Raises:
        EngineFileError: the file is no JSON object.
    """
    return bool(insecure_registries(text)) and _daemon_json(text, daemon_settings(text)) == text


def restored_daemon_json(text: str, before: str) -> str:
    """A ``daemon.json`` from which our registries are gone.

    Args:
        text: the file as it is.
        before: the file as it was before.

    Returns:
        The very text that it had, unless something else has changed since.

    Raises:
        EngineFileError: the file is no JSON object.
    """
    return before if _daemon_meaning(text) == _daemon_meaning(before) else without_empty_list(text)


def _daemon_meaning(text: str) -> dict[str, Any]:
    return {**daemon_settings(text), _JSON_KEY: insecure_registries(text)}


def daemon_settings(text: str) -> dict[str, Any]:
    """What a ``daemon.json`` says.

    Raises:
        EngineFileError: it is no JSON object.
    """
    try:
        daemon = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise EngineFileError(f"/etc/docker/daemon.json is no JSON ({error}); mend it first") from error
    if not isinstance(daemon, dict):
        raise EngineFileError("/etc/docker/daemon.json is no JSON object; mend it first")
    return daemon


def insecure_registries(daemon_text: str) -> list[str]:
    """The insecure registries of a ``daemon.json``.

    Raises:
        EngineFileError: it is no JSON object, or names them in no list.
    """
    named = daemon_settings(daemon_text).get(_JSON_KEY) or []
    if not (isinstance(named, list) and all(isinstance(each, str) for each in named)):
        raise EngineFileError(f"/etc/docker/daemon.json: {_JSON_KEY} is no list of registries; mend it first")
    return named


def names_insecure_registries(daemon_text: str) -> bool:
    """Whether a ``daemon.json`` has the key at all: docker refuses it there and on its command line."""
    return _JSON_KEY in daemon_settings(daemon_text)


def _daemon_json(old_text: str, daemon: Mapping[str, Any]) -> str:
    indentation = re.search(r"\n([ \t]+)\"", old_text)
    return json.dumps(daemon, indent=indentation.group(1) if indentation else 2, ensure_ascii=False) + "\n"


def registries_conf(insecure: Iterable[str]) -> str:
    """A file for ``registries.conf.d``, version 2 of the format."""
    tables = [f"[[registry]]\nlocation = {json.dumps(registry)}\ninsecure = true\n" for registry in insecure]
    return "\n".join(tables) or "# No registry that this host pulls from is insecure.\n"
