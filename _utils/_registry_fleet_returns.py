"""What a site's minion answers → how the site stands. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import _registry_fleet_shapes as shapes
import _registry_sync_snapshot as snapshots

CURRENT, BEHIND, FAILED, UNREACHABLE, UNKNOWN = "current", "behind", "failed", "unreachable", "unknown"
STATUSES = (CURRENT, BEHIND, FAILED, UNREACHABLE, UNKNOWN)

LAST = "registry_sync.last"
SYNC = "registry_sync.sync"
CHECK = "registry_sync.check"
PLAN = "registry_sync.plan"
PULL = "registry_sync.pull"
REGISTRY = "registry_sync.registry"
APPLY = "state.apply"
SYNC_ALL = "saltutil.sync_all"

# Salt has no code of its own for a function that a minion does not know, only words.
# https://github.com/saltstack/salt/blob/v3006.9/salt/loader/lazy.py (missing_fun_string)
_NOT_THERE = re.compile(r"'[\w.]+' (?:is not available\.|__virtual__ returned False)")
OLD_FORMULA = "{} is not there; run saltutil.sync_all first"
NO_RUN = "no check or sync has ended yet"
_LONGEST = 200

Snapshot = Mapping[str, Any]


class Answer(NamedTuple):
    """A minion's return.

    Args:
        value: what the function returned.
        code: its return code.
    """

    value: Any
    code: int = 0


class Outcome(NamedTuple):
    """How a site stands after one function.

    Args:
        status: of the site.
        copied: tags that were copied; of a plan, that would be.
        bytes: that were moved; of a plan, that would be.
        cause: one word about a failure.
        error: one sentence about it.
    """

    status: str
    copied: int = 0
    bytes: int = 0
    cause: str = ""
    error: str = ""


SILENT = Outcome(UNREACHABLE, error="its minion does not answer")
UNREADABLE = Outcome(FAILED, error="its answer cannot be read")


def outcome_of(function: str, answer: Answer) -> Outcome:
    """Read a return.

    Args:
        function: that was published.
        answer: of one site.
    """
    if is_unavailable(answer):
        return Outcome(UNKNOWN, error=OLD_FORMULA.format(function))
    if function == PULL:
        return _of_pull(answer)
    if function == APPLY:
        return _of_states(answer)
    if function == LAST:
        return _of_last(answer)
    return _of_report(answer, function)


def is_unavailable(answer: Answer) -> bool:
    """Whether the minion does not know the function."""
    return isinstance(answer.value, str) and bool(_NOT_THERE.match(answer.value))


def is_snapshot(value: Any) -> bool:
    """Whether a value is what ``registry_sync.last`` returns."""
    return isinstance(value, Mapping) and value.keys() >= shapes.KEYS_OF_A_SNAPSHOT


def snapshot_in(value: Any) -> Snapshot | None:
    """What ``registry_sync.last`` has returned, with every key: what is older than a key lacks it.

    Returns:
        None where it is no snapshot, or none that can be read.
    """
    if not shapes.can_read_snapshot(value):
        return None
    unknown = nothing_known()
    return {key: value.get(key, unknown[key]) for key in unknown}


def nothing_known() -> Snapshot:
    """The snapshot of a site that has said nothing."""
    return snapshots.no_snapshot() | {"version": "", "error": ""}


def of_snapshot(snapshot: Snapshot) -> Outcome:
    """How a site stands by the snapshot of its last run."""
    cause, error = _one_line(snapshot["cause"]), _one_line(snapshot["error"])
    copied, moved = snapshot["counts"].get("copied", 0), snapshot["moved"]
    return Outcome(_status(snapshot), copied, moved, cause, error or ("" if snapshot["at"] else NO_RUN))


def _status(snapshot: Snapshot) -> str:
    if not snapshot["at"]:
        return UNKNOWN
    lags = {entry["status"] for entry in snapshot["behind"].values()}
    if not snapshot["up"] or snapshot["code"] == 1 or lags & {"failed", "unreadable"}:
        return FAILED
    return BEHIND if lags or snapshot["code"] else CURRENT


def _of_last(answer: Answer) -> Outcome:
    if not is_snapshot(answer.value):
        return _no_report(answer)
    snapshot = snapshot_in(answer.value)
    return UNREADABLE if snapshot is None else of_snapshot(snapshot)


def _is_report(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() >= shapes.KEYS_OF_A_REPORT


def _of_report(answer: Answer, function: str) -> Outcome:
    report = answer.value
    if not _is_report(report):
        return _no_report(answer)
    if not shapes.can_read_report(report):
        return UNREADABLE
    summary = report["summary"]
    lagging = summary.get("missing", 0) + summary.get("stale", 0)
    copied = lagging if function == PLAN else summary.get("copied", 0)
    numbers = {"copied": copied, "bytes": summary["bytes"]}
    failures = [image for image in report["images"].values() if image["status"] in ("failed", "unreadable")]
    if failures:
        cause, error = _one_line(failures[0]["cause"]), _one_line(failures[0]["error"])
        return Outcome(FAILED, **numbers, cause=cause, error=error)
    if not report["registry"]["up"]:
        return Outcome(FAILED, **numbers, cause="network", error=_one_line(report["registry"]["error"]))
    return Outcome(BEHIND if lagging else CURRENT, **numbers)


def _of_pull(answer: Answer) -> Outcome:
    if not isinstance(answer.value, Mapping) or "error" not in answer.value:
        return _no_report(answer)
    error = _one_line(answer.value["error"])
    return Outcome(FAILED, error=f"a pull fails: {error}") if error else Outcome(CURRENT)


def _of_states(answer: Answer) -> Outcome:
    """States' returns tell whether they failed; what was moved is asked afterwards."""
    if not isinstance(answer.value, Mapping):
        return _no_report(answer)
    for ran in answer.value.values():
        if isinstance(ran, Mapping) and ran.get("result") is False:
            name = ran.get("__id__") or ran.get("name")
            return Outcome(FAILED, error=_one_line(f"{name}: {ran.get('comment', '')}"))
    return Outcome(CURRENT)


def _no_report(answer: Answer) -> Outcome:
    """A mistake in the pillar, a refusal, a traceback: the last line says what."""
    value = answer.value
    text = "; ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return Outcome(FAILED, error=_one_line(text.strip().rpartition("\n")[2]) or "it returned nothing")


def _one_line(text: Any) -> str:
    """Somebody else's words, which end up on a terminal and in a monitor's line."""
    shown = "".join(character if character.isprintable() else " " for character in str(text))
    return " ".join(shown.split())[:_LONGEST]
