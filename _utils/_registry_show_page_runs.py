"""The last runs as a drawing, with a table of the same behind it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import _registry_show_page_parts as parts
from _registry_show_report import FAILED, UP_TO_DATE

MOST_RUNS = 60
# Of the drawing.
STEP, WIDTH, HEIGHT, LOWEST = 10, 7, 64, 8
# Room above a column for the shape that says how it ended.
HEAD = 12

KEYS = {"at", "function", "code", "seconds", "moved", "counts", "cause", "error"}

Run = Mapping[str, Any]

_COLUMNS = [
    parts.Column("Ended"),
    parts.Column("Run"),
    parts.Column("Result"),
    parts.Column("Not in step", number=True),
    parts.Column("Took", number=True),
    parts.Column("Moved", number=True),
    parts.Column("Error"),
]


def runs_section(runs: Sequence[Run]) -> str:
    """The part of a page about the last runs.

    Args:
        runs: the latest first.
    """
    # A history outlives versions of the formula.
    shown = [run for run in runs if run.keys() >= KEYS][:MOST_RUNS]
    if not shown:
        return ""
    told = (
        f'<p class="dim">{parts.text(_in_words(shown))} Each column is a run, the higher the longer it took; '
        "a triangle is one that left something out of step, a cross one that failed.</p>"
    )
    ends = f'<p class="dim ends"><span>{parts.clock(shown[-1]["at"])}</span> '
    ends += f"<span>{parts.clock(shown[0]['at'])}</span></p>"
    rows = parts.table(_COLUMNS, map(_row, shown), caption="The last runs, the latest first; times are UTC")
    details = f"<details><summary>The same as a table</summary>{rows}</details>"
    return parts.section("Runs", told, _drawing(shown), ends, details)


def outcome(run: Run) -> str:
    """How a run ended, as a status and in a word."""
    if run["code"] == UP_TO_DATE:
        return "current"
    return "failed" if run["code"] == FAILED else "behind"


_WORDS = {"current": "in step", "behind": "behind", "failed": "failed"}


def _in_words(runs: Sequence[Run]) -> str:
    outcomes = [outcome(run) for run in runs]
    counts = ", ".join(f"{outcomes.count(name)} {word}" for name, word in _WORDS.items() if name in outcomes)
    return f"{parts.counted(len(runs), 'run')}: {counts}."


def _drawing(runs: Sequence[Run]) -> str:
    longest = max((run["seconds"] for run in runs), default=0) or 1
    places = MOST_RUNS - len(runs)
    columns = "".join(
        _column(run, (places + place) * STEP, _height(run["seconds"], longest))
        for place, run in enumerate(reversed(runs))
    )
    width = MOST_RUNS * STEP
    return (
        f'<svg class="runs" viewBox="0 0 {width} {HEIGHT + HEAD}" role="img" '
        f'aria-label="{parts.text(_in_words(runs))}">'
        f"{columns}</svg>"
    )


def _height(seconds: float, longest: float) -> int:
    # A first sync takes thousands of times as long as a check.
    share = math.log1p(max(0.0, seconds)) / math.log1p(longest)
    return round(LOWEST + (HEIGHT - LOWEST) * share)


def _column(run: Run, x: int, height: int) -> str:
    top = HEIGHT + HEAD - height
    path = f"M{x} {top}h{WIDTH}v{height}h-{WIDTH}z"
    status = outcome(run)
    if status == "behind":
        path += f"M{x + 3.5} {top - 10}l3.5 7h-7z"
    if status == "failed":
        y = top - 9
        path += f"M{x} {y}l1-1 2.5 2.5 2.5-2.5 1 1-2.5 2.5 2.5 2.5-1 1-2.5-2.5-2.5 2.5-1-1 2.5-2.5z"
    kind = parts.kind_of(status)
    return f'<path class={kind} d="{path}"><title>{parts.text(_title(run, status))}</title></path>'


def _title(run: Run, status: str) -> str:
    moved = f", {parts.size(run['moved'])} moved" if run["moved"] else ""
    return (
        f"{parts.clock(run['at'])}: {run['function']}, {_WORDS[status]}, {parts.span(run['seconds'])}{moved}"
    )


def _row(run: Run) -> Iterator[str]:
    status = outcome(run)
    counts = run["counts"]
    out_of_step = sum(counts.get(name, 0) for name in ("missing", "stale", "unreadable", "failed"))
    yield parts.name_cell(parts.clock(run["at"], ""))
    yield parts.cell(run["function"])
    yield parts.status_cell(status, _WORDS[status])
    yield parts.number_cell(out_of_step) if out_of_step else "<td>"
    yield parts.number_cell(run["seconds"], parts.span(run["seconds"]))
    yield parts.number_cell(run["moved"], parts.size(run["moved"])) if run["moved"] else "<td data-v=0>"
    yield parts.cell(f"{run['cause']}: {run['error']}" if run["cause"] else run["error"])
