"""What ``prune`` and ``history`` return, as lines that a person reads; plain data in, text out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import _registry_table as table

# What needs attention stands nearest to the prompt.
ORDER = ("kept", "waiting", "doomed", "pruned", "failed")
# What nobody asks about.
WANTED = "it is on the image list"


def prune_lines(
    report: Mapping[str, Any], *, width: int = 0, paint: table.Paint = table.unpainted
) -> list[str]:
    """A report of ``prune``.

    Args:
        report: as the execution module returns it.
        width: columns that there are; 0 = no limit.
        paint: puts colours on.
    """
    report = table.cleaned(report)
    rows: dict[tuple[str, str, str], list[str]] = {}
    for name, image in report["images"].items():
        if image["status"] == "kept" and image["reason"] == WANTED:
            continue
        repository, reference = _split(name)
        why = f"{image['cause']}: {image['error']}" if image["error"] else image["reason"]
        rows.setdefault((repository, image["status"], why), []).append(reference)
    ordered = sorted(rows.items(), key=lambda row: table.rank(row[0][1], ORDER))
    lines = [_headline(report["registry"], paint)]
    for (repository, status, why), references in ordered:
        told = f"{repository}:{' '.join(references)}  {status}: {why}"
        wrapped = table.prose(told, width, table.MARGIN, table.MARGIN * 3)
        wrapped[0] = wrapped[0].replace(f"  {status}:", f"  {paint(status, status)}:", 1)
        lines += wrapped
    return [*lines, "", *_ending(report, width, paint)]


def history_lines(
    report: Mapping[str, Any], *, width: int = 0, paint: table.Paint = table.unpainted
) -> list[str]:
    """A report of ``history``.

    Args:
        report: as the execution module returns it.
        width: columns that there are; not used, since no line is long.
        paint: puts colours on.
    """
    report = table.cleaned(report)
    lines = [paint(report["image"], "title")]
    for entry in report["history"]:
        marks = [word for word in ("here", "pullable") if entry[word]] or ["gone"]
        digest = entry["digest"].partition(":")[2][: table.DIGITS_OF_A_DIGEST] or "nothing"
        lines.append(
            f"{table.MARGIN}{_date(entry['from']):16}  {digest:12}  by {entry['by']}  {', '.join(marks)}"
        )
    if report["held"]:
        lines.append(f"{table.MARGIN}a roll-back holds it at {report['held']}")
    return [*lines, *([report["error"]] if report["error"] else [])]


def _split(name: str) -> tuple[str, str]:
    if "@" in name:
        repository, _, digest = name.partition("@")
        return repository, digest.partition(":")[2][: table.DIGITS_OF_A_DIGEST]
    repository, _, tag = name.rpartition(":")
    return repository, tag


def _headline(registry: Mapping[str, Any], paint: table.Paint) -> str:
    state = "up" if registry["up"] else "down"
    name = registry["url"].partition("://")[2]
    held = table.counted(registry["tags"], "tag", "tags")
    return f"{paint(name, 'title')}  {paint(state, state)}, {held}"


def _ending(report: Mapping[str, Any], width: int, paint: table.Paint) -> list[str]:
    summary = report["summary"]
    parts = [paint(f"{summary[status]} {status}", status) for status in ORDER if summary[status]]
    size = f"; {table.sized(summary['bytes'])} to be freed by a collection" if summary["bytes"] else ""
    lines = [
        ", ".join(parts or ["nothing is here"])
        + size
        + (f"  plan {report['plan']}" if report["plan"] else "")
    ]
    for key in ("refused", "ceiling"):
        if report[key]:
            lines += table.prose(f"{key}: {report[key]}", width, table.MARGIN)
    return lines


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) if at else "some time"
