"""Whether what a site's minion has returned can be read: the types of all that others take from it. No I/O.

A minion may be of another version, damaged or taken over; what it says must not end a report of all sites.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

_Check = Callable[[Any], bool]
# Of the year 9999: what is later is no date to anybody.
_LAST_SECOND = 253_402_300_799
_LARGEST = 2**63 - 1
# By these a snapshot is told from a refusal; what is younger than a formula is not in its snapshots.
KEYS_OF_A_SNAPSHOT = frozenset({"at", "url", "tags", "behind", "counts"})
KEYS_OF_A_REPORT = frozenset({"registry", "images", "summary"})


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value <= _LARGEST


def _is_time(value: Any) -> bool:
    # Neither is NaN, which is not even equal to itself.
    return isinstance(value, (int, float)) and 0 <= value <= _LAST_SECOND


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_is_text, value))


def _mapping_to(check: _Check) -> _Check:
    return lambda value: (
        isinstance(value, Mapping) and all(map(_is_text, value)) and all(map(check, value.values()))
    )


def _record(checks: Mapping[str, _Check], *, always: Collection[str]) -> _Check:
    """Keys of which each has its own check; what is always there may not be lacking, and others are free."""
    return lambda value: (
        isinstance(value, Mapping)
        and value.keys() >= set(always)
        and all(check(value[key]) for key, check in checks.items() if key in value)
    )


_LAG = {"status": _is_text, "since": _is_time, "cause": _is_text, "error": _is_text, "upstream": _is_text}
_SNAPSHOT: dict[str, _Check] = {
    **dict.fromkeys(("function", "url", "version", "list", "cause", "error"), _is_text),
    **dict.fromkeys(("tags", "held", "extra"), _mapping_to(_is_text)),
    **dict.fromkeys(("at", "seconds"), _is_time),
    **dict.fromkeys(("moved", "code"), _is_count),
    **dict.fromkeys(("up", "running"), _is_flag),
    "upstreams": _is_list_of_texts,
    "behind": _mapping_to(_record(_LAG, always=("status", "since"))),
    "counts": _mapping_to(_is_count),
}
_IMAGE = dict.fromkeys(("status", "cause", "error"), _is_text)
_REGISTRY = {"up": _is_flag, "error": _is_text}
_SUMMARY = dict.fromkeys(("bytes", "copied", "missing", "stale"), _is_count)
_REPORT = {
    "registry": _record(_REGISTRY, always=_REGISTRY),
    "images": _mapping_to(_record(_IMAGE, always=_IMAGE)),
    "summary": _record(_SUMMARY, always=("bytes",)),
}

can_read_snapshot: _Check = _record(_SNAPSHOT, always=KEYS_OF_A_SNAPSHOT)
"""Whether a value is a snapshot of which every key that is there can be used."""
can_read_report: _Check = _record(_REPORT, always=KEYS_OF_A_REPORT)
"""Whether a value is a report of ``check``, ``plan`` or ``sync`` that can be used."""
