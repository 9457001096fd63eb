"""What the runner ``registry_fleet`` returns, as lines that a person reads; plain data in, text out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import _registry_table as table

# What needs attention stands nearest to the prompt.
ORDER = ("current", "behind", "unknown", "unreachable", "failed")
_NAMES_SHOWN = 6


def is_fleet(value: Any) -> bool:
    """Whether a value is what the runner returns."""
    keys = value.keys() if isinstance(value, Mapping) else set()
    return {"sites", "images", "waves", "left_out"} <= keys or (
        "outputter" in keys and bool({"line", "error"} & keys)
    )


def fleet_lines(
    report: Mapping[str, Any], *, width: int = 0, paint: table.Paint = table.unpainted
) -> list[str]:
    """A report of ``matrix``, ``plan`` or ``rollout``.

    Args:
        report: as the runner returns it.
        width: columns that there are; 0 = no limit.
        paint: puts colours on.
    """
    report = table.cleaned(report)
    if "line" in report:
        return [report["line"]]
    if "sites" not in report:
        return table.prose(report["error"], width, "")
    blocks = [
        [_headline(report, paint)],
        _waves(report["waves"], paint),
        _moves(report.get("moves", {}), width),
        _drift(report, width),
        _sites(report["sites"], width, paint),
        _notes(report, width),
        [_summary(report["summary"], paint)],
    ]
    return [line for block in blocks if block for line in (*block, "")][:-1]


def _headline(report: Mapping[str, Any], paint: table.Paint) -> str:
    summary = report["summary"]
    sites = table.counted(summary["sites"], "site", "sites")
    images = table.counted(summary["images"], "image", "images")
    return f"{paint(sites, 'title')}, {images}"


def _waves(waves: Mapping[str, Any], paint: table.Paint) -> list[str]:
    widths = max(map(len, waves), default=0)
    lines = []
    for name, wave in waves.items():
        told = [table.counted(wave["sites"], "site", "sites")]
        told += [f"{wave[key]} {key}" for key in ("failed", "unreachable") if wave[key]]
        told += [f"{table.counted(wave['copied'], 'tag', 'tags')}, {table.sized(wave['bytes'])}"]
        status = wave["status"]
        padded = paint(status, status) + " " * (11 - len(status))
        lines.append(f"{table.MARGIN}{name:{widths}}  {padded}  {'; '.join(told)}")
        if wave["error"]:
            lines.append(f"{table.MARGIN * 3}{wave['error']}")
    return lines


def _moves(moves: Mapping[str, Any], width: int) -> list[str]:
    """Who moves what; sites that move the same stand together."""
    alike: dict[tuple[int, int], list[str]] = {}
    for site, moved in moves.items():
        alike.setdefault((moved["tags"], moved["bytes"]), []).append(site)
    return [
        line
        for (tags, size), sites in alike.items()
        for line in table.prose(
            f"{_some(sites)}  {table.counted(tags, 'tag', 'tags')}, {table.sized(size)} each",
            width,
            table.MARGIN,
            table.MARGIN * 3,
        )
    ]


def _drift(report: Mapping[str, Any], width: int) -> list[str]:
    lines = []
    for name, image in report["images"].items():
        if image["drift"]:
            told = ", ".join(
                f"{digest} at {_some(sites)}"
                for digest, sites in sorted(image["digests"].items(), key=lambda one: -len(one[1]))
            )
            told = f"{name}  differs: {told}"
            lines += table.prose(told, width, table.MARGIN, table.MARGIN * 3)
    return lines


def _sites(sites: Mapping[str, Any], width: int, paint: table.Paint) -> list[str]:
    """The sites that are not current, those that share a reason together."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, site in sites.items():
        if site["status"] != "current":
            reasons.setdefault((site["status"], _reason(site)), []).append(name)
    lines = []
    for (status, why), names in sorted(reasons.items(), key=lambda one: table.rank(one[0][0], ORDER)):
        told = f"{_some(names)}  {status}{f': {why}' if why else ''}"
        wrapped = table.prose(told, width, table.MARGIN, table.MARGIN * 3)
        wrapped[0] = wrapped[0].replace(f"  {status}", f"  {paint(status, status)}", 1)
        lines += wrapped
    return lines


def _reason(site: Mapping[str, Any]) -> str:
    counts = Counter(entry["status"] for entry in site["behind"].values())
    lags = ", ".join(f"{number} {status}" for status, number in counts.items())
    error = ": ".join(filter(None, (site["cause"], site["error"])))
    if site["last_known"]:
        return f"{error}; last word {_spelt(site['age'])} ago{f' ({lags})' if lags else ''}"
    return "; ".join(filter(None, (lags, error)))


def _notes(report: Mapping[str, Any], width: int) -> list[str]:
    versions: dict[str, list[str]] = {}
    for name, site in report["sites"].items():
        if site["version"]:
            versions.setdefault(site["version"], []).append(name)
    told = []
    if len(versions) > 1:
        # The most common one is what the others are compared with.
        rare = sorted(versions.items(), key=lambda one: len(one[1]))[:-1]
        told = [f"formula {version} at {_some(names)}" for version, names in rare]
    if report["left_out"]:
        told.append(f"in no wave: {_some(report['left_out'])}")
    return [line for text in told for line in table.prose(text, width, table.MARGIN, table.MARGIN * 3)]


def _summary(summary: Mapping[str, Any], paint: table.Paint) -> str:
    parts = [paint(f"{summary[status]} {status}", status) for status in ORDER if summary[status]]
    drift = (
        f"; {table.counted(summary['drift'], 'image differs', 'images differ')}" if summary["drift"] else ""
    )
    return f"{', '.join(parts) or 'no minion is a site'}{drift}; {summary['seconds']:.1f} s"


def _some(names: Iterable[str]) -> str:
    known = list(names)
    more = len(known) - _NAMES_SHOWN
    return " ".join(known[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _spelt(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
