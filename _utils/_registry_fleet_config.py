"""``registry_fleet:`` of the master's configuration → typed, checked values. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import _registry_config_validators as check
from _registry_config_validators import Checker, SettingsError
from _registry_oci_names import is_repository, is_tag

ROOT = "registry_fleet"
TARGET = "I@docker_registry:*"
_EXAMPLE_OF_WAVES = "give a list, e.g. - canary: {target: 'site-01'}"


class FleetError(Exception):
    """Nothing was begun; the text is one sentence."""


@dataclass(frozen=True)
class Amount:
    """So many sites, or so many in a hundred of a wave's.

    Args:
        number: of sites or, with ``percent``, in a hundred.
        percent: which of both.
    """

    number: float
    percent: bool = False

    def of(self, total: int) -> int:
        """How many of ``total`` sites that is, rounded down."""
        return int(total * self.number / 100 + 1e-9) if self.percent else int(self.number)


NONE = Amount(0)
ALL = Amount(100, percent=True)


@dataclass(frozen=True)
class Wave:
    """Sites that are brought up to date together.

    Args:
        name: of the wave.
        target: which minions, a compound match; those of earlier waves are not meant.
        batch: how many at a time.
        per_parent: how many of a batch pull from the same registry; 0 = as many as there are.
        allow_fail: how many may fail before the rollout ends.
        allow_unreachable: how many may be silent before it ends.
        soak: seconds after which all must still be current.
        pull: ``repository:tag`` that each site's engine must be able to pull; empty = none.
        optional: whether the wave may be of nobody.
    """

    name: str
    target: str
    batch: Amount = ALL
    per_parent: int = 0
    allow_fail: Amount = NONE
    allow_unreachable: Amount = NONE
    soak: int = 0
    pull: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Fleet:
    """All that ``registry_fleet:`` says.

    Args:
        target: which minions are sites, a compound match.
        waves: in their order.
        parents: pattern of minion ids → id of the site that they mirror from, where addresses do not tell;
            empty = of none.
        retries: how often silent sites are asked again at the end of their wave.
        timeout: seconds after which a silent minion is asked whether it still works.
        max_age: seconds after which a site's last run says nothing any more; 0 = never.
        page: path of the page; empty = none.
        metrics: path of the figures for Prometheus; empty = none.
    """

    target: str = TARGET
    waves: tuple[Wave, ...] = ()
    parents: Mapping[str, str] = field(default_factory=dict)
    retries: int = 2
    timeout: int = 10
    max_age: int = 0
    page: str = ""
    metrics: str = ""

    def only(self, name: str) -> tuple[Wave, ...]:
        """The waves to roll out: all, or the one of that name.

        Raises:
            SettingsError: there is none of that name.
            FleetError: there are none at all.
        """
        if not self.waves:
            raise FleetError(f"{ROOT}:waves: is empty; {_EXAMPLE_OF_WAVES}")
        names = [wave.name for wave in self.waves]
        if name and name not in names:
            raise SettingsError(f"{ROOT}:waves: none is called {name!r}; there are {', '.join(names)}")
        return tuple(wave for wave in self.waves if name in ("", wave.name))


def read_fleet(tree: Any) -> Fleet:
    """Check what stands under ``registry_fleet``.

    Args:
        tree: the value of the key; None where it is not there.

    Raises:
        SettingsError: the first mistake, one sentence that begins with the key.
    """
    if tree is None:
        return Fleet()
    return Fleet(**check.mapping(_FLEET)(tree, ROOT))


def _waves(value: Any, key: str) -> tuple[Wave, ...]:
    if not isinstance(value, (list, tuple)):
        raise SettingsError(f"{key}: {check.shown(value)}; {_EXAMPLE_OF_WAVES}")
    waves = tuple(_wave(entry, f"{key}:{position}") for position, entry in enumerate(value))
    names = [wave.name for wave in waves]
    for position, name in enumerate(names):
        if name in names[:position]:
            raise SettingsError(f"{key}:{position}: {name} stands there already; each wave has its own name")
    return waves


def _wave(value: Any, key: str) -> Wave:
    if not isinstance(value, Mapping) or len(value) != 1:
        here = f"has {len(value)} names" if isinstance(value, Mapping) else check.shown(value)
        raise SettingsError(f"{key}: {here}; give one name and what it means, e.g. canary: {{target: 'a*'}}")
    [(name, entry)] = value.items()
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise SettingsError(f"{key}: {name!r} is no name of a wave; use letters, digits, _, . and -")
    tree = check.mapping(_WAVE)(entry, f"{key}:{name}")
    if "target" not in tree:
        raise SettingsError(f"{key}:{name}:target: is missing; say which minions, e.g. 'site-*'")
    return Wave(name, **tree)


def amount(low: int) -> Checker:
    """A number of sites, or a percentage in quotes."""

    def check_amount(value: Any, key: str) -> Amount:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", str(value))
        if isinstance(value, (bool, float)) or match is None or ("." in match[1] and not match[2]):
            raise SettingsError(f"{key}: {check.shown(value)}; give a number of sites, or e.g. 10%")
        found = Amount(float(match[1]), percent=bool(match[2]))
        if found.percent and found.number > 100:
            raise SettingsError(f"{key}: {value} is more than all")
        if low and found.number <= 0:
            raise SettingsError(f"{key}: {value} is nobody")
        return found

    return check_amount


def _target(value: Any, key: str) -> str:
    text = check.filled_string(value, key).strip()
    if not text:
        raise SettingsError(f"{key}: is empty")
    return text


def _image(value: Any, key: str) -> str:
    text = check.string(value, key)
    repository, _, tag = text.rpartition(":")
    if text and not (is_repository(repository) and is_tag(tag)):
        raise SettingsError(f"{key}: {text!r} is no repository:tag")
    return text


def _parents(value: Any, key: str) -> dict[str, str]:
    return check.mapping_of_strings(value, key)


_WAVE: dict[str, Checker] = {
    "target": _target,
    "batch": amount(1),
    "per_parent": check.number(0, 100_000),
    "allow_fail": amount(0),
    "allow_unreachable": amount(0),
    "soak": check.span,
    "pull": _image,
    "optional": check.boolean,
}
_FLEET: dict[str, Checker] = {
    "target": _target,
    "waves": _waves,
    "parents": _parents,
    "retries": check.number(0, 100),
    "timeout": check.number(1, 3600),
    "max_age": check.span,
    "page": check.path,
    "metrics": check.path,
}
