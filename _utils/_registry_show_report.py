"""What a report is: the words of its statuses and causes, and the return code that it comes to."""

from __future__ import annotations

from typing import Any

STATUSES = ("current", "missing", "stale", "held", "extra", "unreadable", "copied", "failed")
CAUSES = ("auth", "absent", "rate", "network", "space", "digest", "unsupported", "signature", "internal")
UP_TO_DATE, FAILED, OUT_OF_DATE = 0, 1, 2

Report = dict[str, Any]


def return_code(report: Report) -> int:
    """What a script is told: 0 up to date, 1 something failed, 2 the mirror is out of date."""
    summary = report["summary"]
    if summary["unreadable"] or summary["failed"] or not report["registry"]["up"]:
        return FAILED
    return OUT_OF_DATE if summary["missing"] or summary["stale"] else UP_TO_DATE


def prune_code(report: Report) -> int:
    """What a script is told of a prune: 0 nothing to do or done, 1 refused or failed, 2 some is doomed."""
    summary = report["summary"]
    if report["refused"] or summary["failed"] or not report["registry"]["up"]:
        return FAILED
    return OUT_OF_DATE if summary["doomed"] else UP_TO_DATE


def verify_code(report: Report) -> int:
    """What a script is told of a verification: 0 whole, 1 not all could be read, 2 something is broken."""
    summary = report["summary"]
    if summary["bad"]:
        return OUT_OF_DATE
    return FAILED if summary["unread"] or summary["left"] else UP_TO_DATE
