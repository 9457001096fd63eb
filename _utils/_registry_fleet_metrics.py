"""Figures of the fleet as a file for node_exporter's textfile collector.

https://github.com/prometheus/node_exporter#textfile-collector
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from _registry_fleet_report import DONE, NOT_STARTED, RUNNING, STOPPED
from _registry_fleet_returns import STATUSES
from _registry_show_file import replace_file

SITES = "registry_fleet_sites"
DRIFT = "registry_fleet_drifting_images"
ASKED = "registry_fleet_asked_timestamp_seconds"
SITE = "registry_fleet_site"
RUN = "registry_fleet_site_last_run_timestamp_seconds"
BEHIND = "registry_fleet_site_behind_tags"
WAVE = "registry_fleet_wave"
FAILED = "registry_fleet_wave_failed_sites"
UNREACHABLE = "registry_fleet_wave_unreachable_sites"

METRICS = {
    SITES: "Sites of the fleet, by status.",
    DRIFT: "Images that have another digest at some sites than at others.",
    ASKED: "When the sites were last asked, in seconds since 1970.",
    SITE: "1 for the status that a site has, 0 for the others.",
    RUN: "When a site's last check or sync ended, in seconds since 1970.",
    BEHIND: "Tags that are missing, out of date or failed at a site.",
    WAVE: "1 for the status that a wave of the last rollout has, 0 for the others.",
    FAILED: "Sites of a wave that failed in the last rollout.",
    UNREACHABLE: "Sites of a wave that were silent in the last rollout.",
}
_WAVE_STATUSES = (DONE, STOPPED, NOT_STARTED, RUNNING)


def write_fleet_metrics(path: str, report: Mapping[str, Any], now: float) -> None:
    """Write the file anew, in one step.

    Args:
        path: the file; its directory exists.
        report: of the fleet.
        now: seconds since 1970.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    replace_file(Path(path), "".join(_text(report, now)).encode())


def _text(report: Mapping[str, Any], now: float) -> Iterator[str]:
    lines: dict[str, list[str]] = {metric: [] for metric in METRICS}
    for metric, labels, value in _samples(report, now):
        told = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        lines[metric].append(f"{metric}{f'{{{told}}}' if told else ''} {_number(value)}\n")
    for metric, meaning in METRICS.items():
        if lines[metric]:
            yield f"# HELP {metric} {meaning}\n# TYPE {metric} gauge\n"
        yield from lines[metric]


def _samples(report: Mapping[str, Any], now: float) -> Iterator[tuple[str, dict[str, str], float]]:
    summary = report["summary"]
    yield from ((SITES, {"status": status}, summary[status]) for status in STATUSES)
    yield DRIFT, {}, summary["drift"]
    yield ASKED, {}, now
    for name, site in report["sites"].items():
        for status in STATUSES:
            yield SITE, {"site": name, "status": status}, site["status"] == status
        yield RUN, {"site": name}, site["at"]
        yield BEHIND, {"site": name}, len(site["behind"])
    for name, wave in report["waves"].items():
        for status in _WAVE_STATUSES:
            yield WAVE, {"wave": name, "status": status}, wave["status"] == status
        yield FAILED, {"wave": name}, wave["failed"]
        yield UNREACHABLE, {"wave": name}, wave["unreachable"]


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.3f}"
