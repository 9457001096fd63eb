"""Metrics of the last runs as a file for node_exporter's textfile collector.

https://github.com/prometheus/node_exporter#textfile-collector
https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from _registry_config_values import Settings
from _registry_oci_names import is_digest
from _registry_show_file import replace_file
from _registry_show_report import CAUSES, STATUSES

# Of a tag that no image of the list asks for.
NO_UPSTREAM = "none"

RUN = "registry_sync_last_run_timestamp_seconds"
SUCCESS = "registry_sync_last_success_timestamp_seconds"
DURATION = "registry_sync_last_run_duration_seconds"
BYTES = "registry_sync_last_run_moved_bytes"
BYTES_TOTAL = "registry_sync_moved_bytes_total"
UNWANTED = "registry_sync_unwanted_tags"
RECLAIMABLE = "registry_sync_reclaimable_bytes"
BROKEN_IMAGES = "registry_sync_broken_images"
VERIFIED = "registry_sync_verified_timestamp_seconds"
FREED = "registry_sync_freed_bytes_total"
READ_ONLY = "registry_sync_read_only_seconds"
BUNDLE = "registry_sync_bundle_timestamp_seconds"
BUNDLE_BYTES = "registry_sync_bundle_bytes"
UP = "registry_sync_up"
TAGS = "registry_sync_tags"
FAILURES = "registry_sync_failed_tags"

METRICS = {
    UP: ("gauge", "Whether the local registry answered the last run."),
    TAGS: ("gauge", "Tags at the end of the last run, by upstream and status."),
    FAILURES: ("gauge", "Tags that the last run could not read or copy, by cause."),
    RUN: ("gauge", "When check or sync last ended, in seconds since 1970."),
    SUCCESS: ("gauge", "When check or sync last ended with every tag in step, in seconds since 1970."),
    DURATION: ("gauge", "How long the last check or sync took."),
    BYTES: ("gauge", "Bytes that the last check or sync copied from upstream."),
    BYTES_TOTAL: ("counter", "Bytes copied from upstream since this file was first written."),
    UNWANTED: ("gauge", "Tags and digests that nothing wants and the last prune left, by status."),
    BROKEN_IMAGES: ("gauge", "Images that the last verification left broken, by status."),
    VERIFIED: ("gauge", "When a verification of every byte last ended, in seconds since 1970."),
    RECLAIMABLE: ("gauge", "Bytes that a collection frees once what is doomed, or was pruned last, is gone."),
    FREED: ("counter", "Bytes that collections have freed since this file was first written."),
    READ_ONLY: ("gauge", "How long the last collection kept this host from pushing."),
    BUNDLE: (
        "gauge",
        "When a bundle was last exported or imported without a failure, in seconds since 1970.",
    ),
    BUNDLE_BYTES: ("gauge", "Bytes of blobs that the last export or import moved."),
}
# What one function's run does not say of the other's.
OF_ONE_FUNCTION = (RUN, SUCCESS, DURATION, BYTES)

# What only prune says.
OF_PRUNE = (UNWANTED, RECLAIMABLE)
# What only verify says.
OF_VERIFY = (BROKEN_IMAGES, VERIFIED)
# What only collect says.
OF_COLLECT = (FREED, READ_ONLY)
# What only export and import say.
OF_BUNDLE = (BUNDLE, BUNDLE_BYTES)

Samples = dict[tuple[str, str], float]
"""Name and labels, as text without braces → value."""


def write_metrics(
    path: str,
    function: str,
    settings: Settings,
    report: Mapping[str, Any],
    *,
    success: bool,
    clock: Callable[[], float] = time.time,
) -> None:
    """Write the file anew, in one step; what it told of earlier runs is kept.

    Args:
        path: the file; its directory exists.
        function: ``check`` or ``sync``.
        settings: which image comes from which upstream.
        report: of that function.
        success: everything is in step; else the time of the last success stays.
        clock: seconds since 1970.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    samples = _kept(path)
    samples.update(_of_run(function, report["summary"], clock(), success=success))
    moved = report["summary"]["bytes"] if function == "sync" else 0
    samples[BYTES_TOTAL, ""] = samples.get((BYTES_TOTAL, ""), 0) + moved
    samples[UP, ""] = int(report["registry"]["up"])
    samples.update(_of_tags(settings, report["images"]))
    _replace(path, "".join(_text(samples)))


def write_prune_metrics(path: str, report: Mapping[str, Any]) -> None:
    """Write what a prune has found into the file, in one step; all else in it is kept.

    Args:
        path: the file; its directory exists.
        report: of ``prune``.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    samples = dict(_parsed(_lines(path)))
    for status in ("waiting", "doomed"):
        samples[UNWANTED, _labels(status=status)] = report["summary"][status]
    samples[RECLAIMABLE, ""] = report["summary"]["bytes"]
    _replace(path, "".join(_text(samples)))


def write_verify_metrics(
    path: str, report: Mapping[str, Any], *, fast: bool, clock: Callable[[], float] = time.time
) -> None:
    """Write what a verification has found into the file, in one step; all else in it is kept.

    Args:
        path: the file; its directory exists.
        report: of ``verify``.
        fast: only pointers and sizes were looked at.
        clock: seconds since 1970.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    samples = dict(_parsed(_lines(path)))
    summary = report["summary"]
    for status in ("broken", "lost"):
        samples[BROKEN_IMAGES, _labels(status=status)] = summary[status]
    if not (fast or summary["unread"] or summary["left"]):
        samples[VERIFIED, ""] = clock()
    _replace(path, "".join(_text(samples)))


def write_collect_metrics(path: str, report: Mapping[str, Any]) -> None:
    """Write what a collection has freed into the file, in one step; all else in it is kept.

    Args:
        path: the file; its directory exists.
        report: of ``collect``.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    samples = dict(_parsed(_lines(path)))
    samples[FREED, ""] = samples.get((FREED, ""), 0) + report["bytes"]
    samples[READ_ONLY, ""] = report["read_only_seconds"]
    _replace(path, "".join(_text(samples)))


def write_bundle_metrics(
    path: str,
    function: str,
    report: Mapping[str, Any],
    *,
    success: bool,
    clock: Callable[[], float] = time.time,
) -> None:
    """Write when a bundle was last exported or imported into the file, in one step; all else in it is kept.

    Args:
        path: the file; its directory exists.
        function: ``export`` or ``import``.
        report: of that function.
        success: nothing failed; else the time of the last success stays.
        clock: seconds since 1970.

    Raises:
        OSError: the file cannot be written; the old one is as it was.
    """
    samples = dict(_parsed(_lines(path)))
    if success:
        samples[BUNDLE, _labels(function=function)] = clock()
    samples[BUNDLE_BYTES, _labels(function=function)] = report["summary"]["bytes"]
    _replace(path, "".join(_text(samples)))


def _lines(path: str) -> list[str]:
    """The lines of an older file; none where there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _kept(path: str) -> Samples:
    """What an older file says of the last runs."""
    kept = (*OF_ONE_FUNCTION, BYTES_TOTAL, *OF_PRUNE, *OF_VERIFY, *OF_COLLECT, *OF_BUNDLE)
    return {key: value for key, value in _parsed(_lines(path)) if key[0] in kept}


_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? ([0-9.e+-]+)")


def _parsed(lines: Iterable[str]) -> Iterator[tuple[tuple[str, str], float]]:
    for match in filter(None, map(_SAMPLE.fullmatch, lines)):
        with contextlib.suppress(ValueError):
            value = float(match[3])
            if math.isfinite(value):
                yield (match[1], match[2] or ""), value


def _of_run(function: str, summary: Mapping[str, Any], now: float, *, success: bool) -> Samples:
    labels = _labels(function=function)
    samples: Samples = {
        (RUN, labels): now,
        (DURATION, labels): summary["seconds"],
        (BYTES, labels): summary["bytes"] if function == "sync" else 0,
    }
    if success:
        samples[SUCCESS, labels] = now
    return samples


def _of_tags(settings: Settings, images: Mapping[str, Mapping[str, Any]]) -> Samples:
    """Every series of every upstream, at 0 where there is none: an alert can rely on it."""
    upstreams = upstreams_of(settings, images)
    tags = Counter((upstreams[name], image["status"]) for name, image in images.items())
    causes = Counter(image["cause"] for image in images.values() if image["cause"])
    names = dict.fromkeys([*(upstream.name for upstream in settings.upstreams), *upstreams.values()])
    samples: Samples = {
        (TAGS, _labels(upstream=name, status=status)): tags[name, status]
        for name in names
        for status in STATUSES
    }
    samples.update({(FAILURES, _labels(cause=cause)): causes[cause] for cause in CAUSES})
    return samples


def upstreams_of(settings: Settings, names: Iterable[str]) -> dict[str, str]:
    """Say where each ``repository:tag`` of a report comes from.

    Entries of the list that share a target differ in the tags that they name.

    Returns:
        Name → ``host:port``, or ``none`` for what is on no list.
    """
    targets: dict[str, str] = {}
    exact: dict[str, str] = {}
    for image in settings.images:
        targets.setdefault(image.target, image.source.name)
        for entry in image.tags.literals:
            landing = entry.partition("@")[0]
            exact[f"{image.target}{'@' if is_digest(landing) else ':'}{landing}"] = image.source.name
    return {
        name: exact.get(name) or targets.get(re.split("[:@]", name, maxsplit=1)[0], NO_UPSTREAM)
        for name in names
    }


def _labels(**labels: str) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _text(samples: Samples) -> Iterator[str]:
    for metric, (kind, meaning) in METRICS.items():
        mine = {labels: value for (name, labels), value in samples.items() if name == metric}
        if mine:
            yield f"# HELP {metric} {meaning}\n# TYPE {metric} {kind}\n"
        for labels, value in mine.items():
            yield f"{metric}{f'{{{labels}}}' if labels else ''} {_number(value)}\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.3f}"


def _replace(path: str, text: str) -> None:
    """Put a whole file in the place of another; the collector reads only names that end in .prom."""
    replace_file(Path(path), text.encode())
