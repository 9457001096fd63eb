"""What ``last`` and ``runs`` return, as lines that a person reads; plain data in, text out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import _registry_table as table

# What stands nearest to the prompt needs attention most.
ORDER = ("stale", "missing", "unreadable", "failed")
WORDS = {0: "current", 1: "failed", 2: "stale"}
MEANINGS = {0: "up to date", 1: "failed", 2: "out of date"}


def last_lines(
    snapshot: Mapping[str, Any],
    *,
    width: int = 0,
    paint: table.Paint = table.unpainted,
    now: float | None = None,
) -> list[str]:
    """A snapshot of ``last``.

    Args:
        snapshot: as the execution module returns it.
        width: columns that there are; 0 = no limit.
        paint: puts colours on.
        now: seconds since 1970; None = the time it is.
    """
    snapshot = table.cleaned(snapshot)
    if not snapshot["function"]:
        return [snapshot["error"]]
    rows: dict[tuple[str, str, str], list[str]] = {}
    for name, entry in snapshot["behind"].items():
        repository, _, tag = name.rpartition(":")
        rows.setdefault((repository, entry["status"], _why(entry)), []).append(tag)
    lines = [_headline(snapshot, paint, time.time() if now is None else now)]
    for (repository, status, why), tags in sorted(rows.items(), key=lambda row: table.rank(row[0][1], ORDER)):
        told = f"{repository}:{' '.join(tags)}  {status} {why}"
        wrapped = table.prose(told, width, table.MARGIN, table.MARGIN * 3)
        wrapped[0] = wrapped[0].replace(f"  {status} ", f"  {paint(status, status)} ", 1)
        lines += wrapped
    if snapshot["error"] and not rows:
        lines += table.prose(_error(snapshot), width, table.MARGIN)
    return [*lines, "", _ending(snapshot, paint)]


def run_lines(
    runs: Sequence[Mapping[str, Any]], *, width: int = 0, paint: table.Paint = table.unpainted
) -> list[str]:
    """What ``runs`` returns.

    Args:
        runs: as the execution module returns them, the latest first.
        width: columns that there are; not used: a line is cut by nobody but the terminal.
        paint: puts colours on.
    """
    return [_run(run, paint) for run in table.cleaned(runs)]


def _run(run: Mapping[str, Any], paint: table.Paint) -> str:
    meaning = f"{MEANINGS.get(run['code'], '?'):11}"
    moved = table.sized(run["moved"]) if run["moved"] else ""
    told = (
        f"{_date(run['at'])}  {run['function']:5}  {paint(meaning, WORDS.get(run['code'], 'failed'))}  "
        f"{_counts(run['counts'], paint)}  {run['seconds']:.1f} s  {moved}"
    )
    return told.rstrip() + (f"  {_error(run)}" if run["error"] else "")


def _headline(snapshot: Mapping[str, Any], paint: table.Paint, now: float) -> str:
    state = "up" if snapshot["up"] else "down"
    name = snapshot["url"].partition("://")[2] or "the registry"
    here = f"{len(snapshot['tags'])} of {table.counted(snapshot['counts']['tags'], 'tag', 'tags')} here"
    when = f"{snapshot['function']} of {_date(snapshot['at'])}, {_span(now - snapshot['at'])} ago"
    running = ", a sync runs" if snapshot["running"] else ""
    return f"{paint(name, 'title')}  {paint(state, state)}, {here}  {when}{running}"


def _why(entry: Mapping[str, Any]) -> str:
    return f"since {_date(entry['since'])}" + (f": {_error(entry)}" if entry["error"] else "")


def _error(entry: Mapping[str, Any]) -> str:
    cause = f"{entry['cause']}: " if entry["cause"] else ""
    return f"{cause}{entry['error']}"


def _ending(snapshot: Mapping[str, Any], paint: table.Paint) -> str:
    moved = f", moved {table.sized(snapshot['moved'])}" if snapshot["moved"] else ""
    return f"{_counts(snapshot['counts'], paint)}; {snapshot['seconds']:.1f} s{moved}"


def _counts(counts: Mapping[str, int], paint: table.Paint) -> str:
    parts = [paint(f"{counts[status]} {status}", status) for status in table.ORDER if counts.get(status)]
    return ", ".join(parts or ["no tags"])


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _span(seconds: float) -> str:
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {name}"
    return f"{max(int(seconds), 0)} s"
