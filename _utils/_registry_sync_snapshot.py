"""How a site stood when its last run ended, in few bytes: what ``registry_sync.last`` reads.

A report of a hundred tags has tens of kilobytes, and only whoever called for it has it. A snapshot is a
quarter of that, stays on disk, and can be had from many sites at once. A line a run stays of older ones.
It imports next to nothing: a minion reads it between two of its other duties.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from _registry_show_report import FAILED, STATUSES, Report

# As FORMULA has it; a minion gets no FORMULA.
VERSION = "0.1.0"
LAST = "last.json"
HISTORY = "history.jsonl"
RUNS_KEPT = 500
BEHIND = ("missing", "stale", "unreadable", "failed")
FAILURES = ("unreadable", "failed")
DIGITS_OF_A_DIGEST = 12
LONGEST_ERROR = 200
MOST_FAILED_NAMES = 20

Snapshot = dict[str, Any]
"""Plain JSON; its keys are told at ``registry_sync.last``."""


def no_snapshot() -> Snapshot:
    """What is known of a site where no run has ended yet."""
    return {
        "at": 0.0,
        "function": "",
        "url": "",
        "up": False,
        "upstreams": [],
        "version": VERSION,
        "list": "",
        "tags": {},
        "behind": {},
        "held": {},
        "extra": {},
        "counts": dict.fromkeys((*STATUSES, "tags"), 0),
        "seconds": 0.0,
        "moved": 0,
        "code": FAILED,
        "cause": "",
        "error": "no check or sync has ended here yet",
        "running": False,
    }


def snapshot_of(report: Report, function: str, *, code: int, at: float, before: Snapshot) -> Snapshot:
    """What is kept of a report.

    Args:
        report: of ``check`` or ``sync``, on the pillar's own list.
        function: which of them.
        code: its return code.
        at: when the run ended, in seconds since 1970.
        before: the snapshot of the run before, for since when a tag is behind.
    """
    registry, images, summary = report["registry"], report["images"], report["summary"]
    wanted = {name: image for name, image in images.items() if image["status"] != "extra"}
    since = before["behind"] if before["url"] == registry["url"] else {}
    cause, error = _first_failure(registry, wanted)
    return {
        "at": round(at, 3),
        "function": function,
        "url": registry["url"],
        "up": registry["up"],
        "upstreams": list(registry["upstreams"]),
        "version": VERSION,
        "list": fingerprint(wanted),
        "tags": {name: _short(image["local"]) for name, image in wanted.items() if image["local"]},
        "behind": {
            name: _behind(image, at, since.get(name))
            for name, image in wanted.items()
            if image["status"] in BEHIND
        },
        "held": _digests(images, "held"),
        "extra": _digests(images, "extra"),
        "counts": {key: summary[key] for key in (*STATUSES, "tags")},
        "seconds": float(summary["seconds"]),
        "moved": summary["bytes"] if function == "sync" else 0,
        "code": code,
        "cause": cause,
        "error": error,
        "running": False,
    }


def failed_snapshot(before: Snapshot, function: str, *, at: float, cause: str, error: str) -> Snapshot:
    """What is kept of a run that ended before it could say how the tags stand: what was known of them.

    Args:
        before: the snapshot of the run before.
        function: ``check`` or ``sync``.
        at: when the run ended, in seconds since 1970.
        cause: one word; empty where it is a mistake in the pillar or in a file.
        error: one sentence.
    """
    ended = {"at": round(at, 3), "function": function, "version": VERSION, "seconds": 0.0, "moved": 0}
    return {**before, **ended, "code": FAILED, "cause": cause, "error": error[:LONGEST_ERROR]}


def fingerprint(wanted: Iterable[str]) -> str:
    """The same for two sites that want the same tags, in whatever order.

    Args:
        wanted: ``repository:tag`` of each.
    """
    return hashlib.sha256("\n".join(sorted(wanted)).encode()).hexdigest()[:DIGITS_OF_A_DIGEST]


def run_of(snapshot: Snapshot) -> dict[str, Any]:
    """A line of the history."""
    kept = ("at", "function", "code", "seconds", "moved", "counts", "cause", "error")
    failed = [name for name, entry in snapshot["behind"].items() if entry["status"] in FAILURES]
    return {**{key: snapshot[key] for key in kept}, "failed": failed[:MOST_FAILED_NAMES]}


def from_mine(entry: Any) -> Snapshot:
    """The snapshot in an entry of the mine.

    Whoever restricts who may read an entry (``allow_tgt``) has it wrapped. The runner ``cache.mine`` gives it
    so; ``mine.get`` unwraps it, yet gives a runner nothing of it, which is none of those allowed.
    https://github.com/saltstack/salt/blob/master/salt/utils/mine.py (``wrap_acl_structure``)

    Args:
        entry: as ``cache.mine`` or ``mine.get`` have it; None = there is none.
    """
    wrapped = isinstance(entry, Mapping) and "__saltmine_acl__" in entry
    return _whole(entry.get("__data__") if wrapped else entry)


def read_snapshot(directory: str) -> Snapshot:
    """The snapshot of the last run; one that is missing or damaged is as if no run had ended.

    Args:
        directory: in which runs keep what outlives them.
    """
    try:
        found = json.loads(Path(directory, LAST).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        found = None
    return {**_whole(found), "running": is_running(directory)}


def is_running(directory: str) -> bool:
    """Whether a run holds the lock of a registry now.

    The kernel's table is read: an attempt at the lock itself could keep out a run that just begins.

    Args:
        directory: in which the lock lies.
    """
    inodes = {str(file.stat().st_ino) for file in Path(directory).glob("lock-*")}
    try:
        locks = [line.split() for line in Path("/proc/locks").read_text("ascii").splitlines()]
    except (OSError, ValueError):
        return False
    # "7: FLOCK  ADVISORY  WRITE 4711 fe:01:131 0 EOF"; whoever waits for it has an arrow in it.
    return any(
        words[1] == "FLOCK" and words[5].rpartition(":")[2] in inodes for words in locks if len(words) > 5
    )


def write_snapshot(directory: str, snapshot: Snapshot) -> None:
    """Put a snapshot in the place of the one before.

    Args:
        directory: it is made where there is none.
        snapshot: of the run that has just ended.

    Raises:
        OSError: it cannot be written; the one before is as it was.
    """
    _replace(Path(directory, LAST), _line(snapshot))


def note_run(directory: str, snapshot: Snapshot, kept: int) -> None:
    """Add a line to the history, and forget the oldest.

    Args:
        directory: it is made where there is none.
        snapshot: of the run that has just ended.
        kept: how many lines stay; 0 = there is no history.

    Raises:
        OSError: it cannot be written; the history is as it was.
    """
    file = Path(directory, HISTORY)
    if not kept:
        file.unlink(missing_ok=True)
        return
    lines = [*_lines(file), _line(run_of(snapshot))]
    _replace(file, "".join(f"{line}\n" for line in lines[-kept:]))


def read_runs(directory: str, limit: int = 0) -> list[dict[str, Any]]:
    """The last runs, the latest first; a damaged line is left out.

    Args:
        directory: in which runs keep what outlives them.
        limit: how many at most; 0 = all that are kept.
    """
    runs = [run for line in reversed(_lines(Path(directory, HISTORY))) if (run := _run_in(line))]
    return runs[: limit or None]


def _first_failure(registry: Mapping[str, Any], wanted: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    """Why the registry is down, else what is wrong with the first tag that failed."""
    failed = next((image for image in wanted.values() if image["status"] in FAILURES), None)
    if not registry["up"]:
        return failed["cause"] if failed else "network", registry["error"][:LONGEST_ERROR]
    return (failed["cause"], failed["error"][:LONGEST_ERROR]) if failed else ("", "")


def _behind(image: Mapping[str, Any], now: float, before: Mapping[str, Any] | None) -> dict[str, Any]:
    # A clock that was put back makes nothing lag from a time that is still to come.
    since = min(before["since"], now) if before else now
    return {
        "status": image["status"],
        "since": round(since, 3),
        "cause": image["cause"],
        "error": image["error"][:LONGEST_ERROR],
        "upstream": _short(image["upstream"]),
    }


def _digests(images: Mapping[str, Mapping[str, Any]], status: str) -> dict[str, str]:
    return {name: _short(image["local"]) for name, image in images.items() if image["status"] == status}


def _short(digest: str) -> str:
    return digest.rpartition(":")[2][:DIGITS_OF_A_DIGEST]


def _whole(found: Any) -> Snapshot:
    """What was found, with what a damaged one or one of another version lacks."""
    usual = no_snapshot()
    if not isinstance(found, Mapping):
        return usual
    return {key: found[key] if _is_like(found.get(key), usual[key]) else usual[key] for key in usual}


def _is_like(value: Any, usual: Any) -> bool:
    return isinstance(value, (int, float) if isinstance(usual, float) else type(usual))


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _run_in(line: str) -> dict[str, Any] | None:
    try:
        run = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return run if isinstance(run, dict) and "at" in run else None


def _line(content: Mapping[str, Any]) -> str:
    return json.dumps(content, separators=(",", ":"))


def _replace(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}")
    try:
        draft.write_text(text, "utf-8")
        draft.replace(file)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
