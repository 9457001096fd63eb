"""What ``signatures`` returns, as lines that a person reads; plain data in, text out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import _registry_table as table

# What needs attention stands nearest to the prompt.
WORDS = {None: "not asked", True: "accepted", False: "refused"}
ORDER = ("not asked", "accepted", "refused", "unreadable")


def signature_lines(
    report: Mapping[str, Any], *, width: int = 0, paint: table.Paint = table.unpainted
) -> list[str]:
    """A report of ``signatures``.

    Args:
        report: as the execution module returns it.
        width: columns that there are; 0 = no limit.
        paint: puts colours on.
    """
    report = table.cleaned(report)
    where = report["url"].partition("://")[2] or "upstream"
    lines = [f"{paint(where, 'title')}  {_told(report['summary'])}"]
    for name, image in sorted(report["images"].items(), key=lambda item: ORDER.index(_status(item[1]))):
        lines += _image(name, image, width, paint)
    parts = [
        paint(f"{count} {status}", status)
        for status in ORDER
        if (count := report["summary"][status.replace(" ", "_")])
    ]
    return [*lines, "", ", ".join(parts or ["nothing is here"])]


def _told(summary: Mapping[str, Any]) -> str:
    images = table.counted(summary["images"], "image", "images")
    return f"{table.counted(summary['signatures'], 'signature', 'signatures')} of {images}"


def _status(image: Mapping[str, Any]) -> str:
    return "unreadable" if image["cause"] not in ("", "signature") else WORDS[image["accepted"]]


def _image(name: str, image: Mapping[str, Any], width: int, paint: table.Paint) -> list[str]:
    status = _status(image)
    keys = f" by {', '.join(image['signed_by'])}" if image["signed_by"] else ""
    lines = [f"{table.MARGIN}{name}  {paint(status, status)}{keys}"]
    for signature in image["signatures"]:
        lines += table.prose(
            _signature(signature, image["digest"]), width, table.MARGIN * 2, table.MARGIN * 4
        )
    if image["error"]:
        told = f"{image['cause']}: {image['error']}"
        lines += table.prose(told, width, table.MARGIN * 2, table.MARGIN * 4)
    for note in image["notes"]:
        lines += table.prose(f"note: {note}", width, table.MARGIN * 2, table.MARGIN * 4)
    return lines


def _signature(signature: Mapping[str, Any], digest: str) -> str:
    whose = ", ".join(signature["keys"]) or signature["key"] or "?"
    parts = [signature["kind"], signature["verdict"], whose]
    if signature["subject"] != digest:
        parts.append(f"of {signature['subject'].partition(':')[2][: table.DIGITS_OF_A_DIGEST]}")
    if signature["identity"]:
        parts.append(signature["identity"])
    if signature["time"]:
        parts.append(time.strftime("%Y-%m-%d", time.localtime(signature["time"])))
    why = f" ({signature['reason']})" if signature["reason"] else ""
    return "  ".join(parts) + why
