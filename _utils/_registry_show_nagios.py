"""A report as the one line that Nagios and its like read.

https://nagios-plugins.org/doc/guidelines.html#PLUGOUTPUT
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

OK, WARNING, CRITICAL, UNKNOWN = range(4)
WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
TOLD = ("current", "extra", "stale", "missing", "unreadable")


def brief(report: Mapping[str, Any]) -> tuple[int, str]:
    """Grade a report of ``check``.

    Returns:
        The return code that goes with the first word, and the line. CRITICAL: the registry is down or
        lacks what it should have. WARNING: it may lack something, but somebody could not be asked.
        A monitor goes by these and by nothing else, so a word never stands beside the code that
        ``check`` returns to scripts (there, a registry that is down is 1).
    """
    registry, summary = report["registry"], report["summary"]
    if not registry["up"]:
        return CRITICAL, _line(CRITICAL, f"{registry['url']} is down: {registry['error']}", summary)
    grade = OK
    if summary["unreadable"]:
        grade = WARNING
    if summary["missing"] or summary["stale"]:
        grade = CRITICAL
    return grade, _line(grade, ", ".join(_counts(report)) or "the list is empty", summary)


def unknown(mistake: str) -> tuple[int, str]:
    """What to say where nothing could be checked."""
    return UNKNOWN, f"{WORDS[UNKNOWN]} - {_one_line(mistake)}"


def _counts(report: Mapping[str, Any]) -> Iterator[str]:
    """How many have each status; of what needs attention the first is named."""
    for status in TOLD:
        names = [name for name, image in report["images"].items() if image["status"] == status]
        if not names:
            continue
        if status in ("current", "extra"):
            yield f"{len(names)} {status}"
        else:
            cause = report["images"][names[0]]["cause"]
            more = "" if len(names) == 1 else ", …"
            yield f"{len(names)} {status} ({names[0]}{f': {cause}' if cause else ''}{more})"


def _line(grade: int, text: str, summary: Mapping[str, Any]) -> str:
    measures = [f"{status}={summary[status]};;;0;" for status in TOLD]
    measures += [f"tags={summary['tags']};;;0;", f"time={summary['seconds']}s;;;0;"]
    return f"{WORDS[grade]} - {_one_line(text)} | {' '.join(measures)}"


def _one_line(text: str) -> str:
    # A bar would begin the measures.
    return " ".join(text.replace("|", "/").split())
