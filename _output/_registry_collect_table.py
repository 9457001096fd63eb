"""What ``collect`` returns, as lines that a person reads; plain data in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import _registry_table as table


def collect_lines(
    report: Mapping[str, Any], *, width: int = 0, paint: table.Paint = table.unpainted
) -> list[str]:
    """A report of ``collect``.

    Args:
        report: as the execution module returns it.
        width: columns that there are; 0 = no limit.
        paint: puts colours on.
    """
    report = table.cleaned(report)
    registry = report["registry"]
    state = "up" if registry["up"] else "down"
    name = registry["url"].partition("://")[2]
    held = table.counted(report["manifests"], "manifest", "manifests")
    lines = [f"{paint(name, 'title')}  {paint(state, state)}" + (f", {held}" if report["manifests"] else "")]
    for removed in report["repositories"]:
        lines.append(f"{table.MARGIN}{removed}  empty")
    for key in ("refused", "error"):
        if report[key]:
            told = f"{key}: {report[key]}"
            lines += table.prose(told, width, table.MARGIN, table.MARGIN * 2)
    return [*lines, "", _summary(report)]


def _summary(report: Mapping[str, Any]) -> str:
    if report["refused"]:
        return "nothing was freed"
    # Where pushes never waited, somebody only looked.
    waited = report["read_only_seconds"]
    parts = [
        f"{table.sized(report['bytes'])} in {table.counted(report['blobs'], 'blob', 'blobs')} "
        + ("freed" if waited else "to be freed"),
        f"{report['leased']} kept since they are young" if report["leased"] else "",
        f"{report['seconds']:.1f} s" + (f", {waited:.1f} s of them without pushes" if waited else ""),
    ]
    return "; ".join(filter(None, parts))
