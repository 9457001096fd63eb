"""What may stand in ``docker_registry:schedule``. No I/O."""

from __future__ import annotations

from typing import Any

import _registry_config_validators as check
from _registry_config_validators import Checker, SettingsError

_TIMES = ("minutes", "hours", "days", "cron", "when")
_EXAMPLE_OF_TIMES = "['2:30am', '2:30pm']"


def schedule(value: Any, key: str) -> Any:
    """One time at which a minion does something by itself, or a list of them, each of another function."""
    if not isinstance(value, (list, tuple)):
        return _scheduled(value, key)
    entries = [_scheduled(entry, f"{key}:{position}") for position, entry in enumerate(value)]
    functions = [entry.get("function", "sync") for entry in entries]
    for position, function in enumerate(functions):
        if not entries[position]:
            raise SettingsError(f"{key}:{position}: is empty")
        if function in functions[:position]:
            raise SettingsError(
                f"{key}:{position}: {function} is scheduled already; several times of one function are "
                "a list under its when"
            )
    return entries


def _scheduled(value: Any, key: str) -> dict[str, Any]:
    """When a minion does something by itself; Salt checks the rest of its schedule."""
    tree: dict[str, Any] = check.mapping(_SCHEDULE)(value, key)
    times = [name for name in _TIMES if name in tree]
    if tree and len(times) != 1:
        given = " and ".join(times) or "none of them"
        raise SettingsError(f"{key}: give one of {', '.join(_TIMES)}; here is {given}")
    return tree


def _cron(value: Any, key: str) -> str:
    text = check.string(value, key)
    if len(text.split()) != 5:
        raise SettingsError(f"{key}: {text!r} has not five fields; give e.g. '30 2 * * *'")
    return text


def _time_of_day(value: Any, key: str) -> str:
    # YAML reads 2:30 as 150, a number in base 60.
    if not isinstance(value, str) or not value:
        raise SettingsError(f"{key}: {check.shown(value)}; give a time in quotes, e.g. '2:30am'")
    return value


def _times_of_day(value: Any, key: str) -> Any:
    times = check.filled(check.list_of(_time_of_day, _EXAMPLE_OF_TIMES), _EXAMPLE_OF_TIMES)
    return times(value, key) if isinstance(value, (list, tuple)) else _time_of_day(value, key)


def _returner(value: Any, key: str) -> Any:
    names = check.list_of(check.filled_string, "[syslog]")
    return names(value, key) if isinstance(value, (list, tuple)) else check.filled_string(value, key)


_SECONDS_OF_A_DAY = check.number(0, 86_400)
_SCHEDULE: dict[str, Checker] = {
    "function": check.one_of("check", "sync", "prune", "verify", "collect", "export", "import"),
    "minutes": check.number(1, 100_000),
    "hours": check.number(1, 10_000),
    "days": check.number(1, 1000),
    "cron": _cron,
    "when": _times_of_day,
    "range": check.mapping({"start": _time_of_day, "end": _time_of_day, "invert": check.boolean}),
    "splay": check.either(
        check.mapping({"start": _SECONDS_OF_A_DAY, "end": _SECONDS_OF_A_DAY}), _SECONDS_OF_A_DAY
    ),
    # nocache: the master's bus carries what was returned, its job cache does not keep it.
    "return_job": check.one_of(False, True, "nocache"),
    "returner": _returner,
}
