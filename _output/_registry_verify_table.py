"""What ``verify`` returns, as lines that a person reads; plain data in, text out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import _registry_table as table

# What needs attention stands nearest to the prompt; what is whole is only counted.
ORDER = ("whole", "repaired", "broken", "lost")
# Images named behind a file that breaks many.
NAMES_SHOWN = 5
LOOSE = {
    "untagged": "without a tag",
    "unreferenced": "that nothing names",
    "dangling_tags": "tags that lead to nothing",
    "empty_links": "links that no image needs and that say nothing",
    "empty_repositories": "empty repositories",
    "old_uploads": "uploads that were left",
    "young": "files too young to be judged",
}


def verify_lines(
    report: Mapping[str, Any], *, width: int = 0, paint: table.Paint = table.unpainted
) -> list[str]:
    """A report of ``verify``.

    Args:
        report: as the execution module returns it.
        width: columns that there are; 0 = no limit.
        paint: puts colours on.
    """
    report = table.cleaned(report)
    lines = [_headline(report["registry"], paint)]
    if report["registry"]["reason"]:
        said = f"read through its API: {report['registry']['reason']}"
        lines += table.prose(said, width, table.MARGIN)
    for status in ORDER[1:]:
        for name, image in report["images"].items():
            if image["status"] == status:
                lines.append(f"{table.MARGIN}{paint(status, status)}  {name}")
    for path, what in _files(report):
        lines += _row(f"{path}  {what}", width)
    for path, why in report["unread"].items():
        lines += _row(f"{path}  not read: {why}", width)
    loose = ", ".join(_loose(report["loose"]))
    if loose:
        lines += table.prose(f"loose: {loose}", width, table.MARGIN)
    return [*lines, "", _ending(report, paint)]


def _row(text: str, width: int) -> list[str]:
    """One line where there is no limit, as whoever searches for a path wants it."""
    if not width:
        return [table.MARGIN + text]
    return table.prose(text, width, table.MARGIN, table.MARGIN * 3)


def _headline(registry: Mapping[str, Any], paint: table.Paint) -> str:
    name = registry["url"].partition("://")[2]
    held = table.counted(registry["tags"], "tag", "tags")
    where = f", files in {registry['storage']}" if registry["storage"] else ""
    return f"{paint(name, 'title')}  {held}{where}"


def _files(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every file that is, or was, broken, and what is to be said of it."""
    for blob in report["blobs"].values():
        yield blob["path"], _said(blob, "manifest" if blob["manifest"] else "blob")
    for path, link in report["links"].items():
        yield path, _said(link, f"link of a {link['of']}")


def _said(found: Mapping[str, Any], what: str) -> str:
    was = "" if found["was"] == found["status"] else f" {found['was']},"
    why = ": ".join(filter(None, (found["cause"], found["error"])))
    names = found["images"][:NAMES_SHOWN]
    more = len(found["images"]) - len(names)
    images = ", ".join(names) + (f" and {more} more" if more else "")
    parts = [f"{what}{was} {found['status']}", f"({why})" if why else "", f"in {images}" if images else ""]
    return " ".join(filter(None, parts))


def _loose(loose: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    for name, said in LOOSE.items():
        found = loose[name]
        if found["count"]:
            size = f" ({table.sized(found['bytes'])})" if found["bytes"] else ""
            yield f"{found['count']} {said}{size}"


def _ending(report: Mapping[str, Any], paint: table.Paint) -> str:
    summary = report["summary"]
    parts = [paint(f"{summary[status]} {status}", status) for status in ORDER if summary[status]]
    hashed = (
        f"{summary['hashed']} of {summary['blobs']} files hashed ({table.sized(summary['bytes_hashed'])})"
    )
    left = f", {summary['left']} left for the next run" if summary["left"] else ""
    moved = f", {table.sized(summary['bytes_moved'])} brought again" if summary["bytes_moved"] else ""
    return f"{', '.join(parts or ['nothing is here'])}; {hashed}{left}{moved}, {summary['seconds']:.1f} s"
