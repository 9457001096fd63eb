"""What pages are made of: escaped text, statuses, times, sizes, tables, the frame. No I/O."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from _registry_oci_names import printable
from _registry_show_page_assets import POLICY, SCRIPT, STYLE

# A repository has at most 255 characters, a tag 128.
LONGEST = 400
DIGITS_OF_A_DIGEST = 12
DAY = 24 * 3600
# A table of more is scrolled by itself, so that what follows is not far away.
MOST_ROWS = 20
# Whoever is colour-blind goes by the shape, which the style has for each; whoever hears the page by the word.
KINDS = {
    "good": ("current", "copied", "done"),
    "hold": ("held", "running"),
    "lag": ("stale", "behind", "stopped", "missing"),
    "bad": ("unreadable", "unreachable", "failed", "down"),
}
_KIND_OF = {status: kind for kind, statuses in KINDS.items() for status in (*statuses, kind)}
_USERINFO = re.compile(r"(?<=//)[^/\s@]*@")
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
# What a browser shows beside the title; a page that names none has it asked for /favicon.ico.
_ICONS = {
    "good": ("#2da44e", "<circle cx='8' cy='8' r='7'/>"),
    "lag": ("#d9940a", "<path d='M8 1l7 14H1z'/>"),
    "bad": ("#d1372e", "<path d='M1 4l3-3 4 4 4-4 3 3-4 4 4 4-3 3-4-4-4 4-3-3 4-4z'/>"),
    "none": ("#868e97", "<path d='M1 1h14v14H1z'/>"),
}


class Column(NamedTuple):
    """A column of a table: its heading, and whether it holds numbers."""

    title: str
    number: bool = False


def text(value: object, limit: int = LONGEST) -> str:
    """Somebody else's string as it may stand in a page: printable, escaped, without a URL's login.

    Args:
        value: whatever was sent.
        limit: characters at most; what is longer ends in ``…``.
    """
    return html.escape(plain(value, limit))


def plain(value: object, limit: int = LONGEST) -> str:
    """The same for data of the script, which writes it as text."""
    return printable(_USERINFO.sub("", str(value)), limit)


def mark(status: str, word: str = "") -> str:
    """A status within running text: shape, colour and word."""
    return f'<span class="m {_class(status)}">{text(word or status)}</span>'


def status_cell(status: str, word: str = "") -> str:
    """The same as a cell."""
    return f'<td class="m {_class(status)}">{text(word or status)}'


def kind_of(status: str) -> str:
    """``good``, ``hold``, ``lag``, ``bad`` or ``none``."""
    return _KIND_OF.get(status, "none")


def _class(status: str) -> str:
    return status if status in _KIND_OF or status == "extra" else "none"


def name_cell(name: object) -> str:
    """The cell that names its row."""
    return f"<th scope=row>{text(name)}"


def cell(value: object = "", title: str = "") -> str:
    """A cell of text.

    Args:
        value: it is escaped.
        title: what it is, for screens on which headings do not stand above.
    """
    return f"<td{_titled(title if value != '' else '')}>{text(value)}"


def rest_cell(markup: str) -> str:
    """A cell of longer text, given as markup, which has a line of its own on a narrow screen."""
    return f"<td class=rest>{markup}"


def number_cell(value: float, shown: str = "", title: str = "") -> str:
    """A cell of a number.

    Args:
        value: what it is sorted by.
        shown: how it is written; empty = as it is.
        title: as in ``cell``.
    """
    if not shown:
        return f"<td class=n{_titled(title)}>{value:.15g}"
    return f"<td class=n data-v={value:.15g}{_titled(title)}>{text(shown)}"


def digest_cell(digest: str) -> str:
    """A cell of a digest, in 12 digits."""
    return f"<td class=d>{text(short(digest))}" if digest else "<td>"


def time_cell(at: float, title: str = "") -> str:
    """A cell of a point in time, in UTC; the script adds how long ago that was."""
    return f"<td class=t data-v={at:.0f}{_titled(title)}>{clock(at, '')}" if at else "<td data-v=0>"


def _titled(title: str) -> str:
    return f" data-t='{text(title)}'" if " " in title else f" data-t={text(title)}" if title else ""


def moment(at: float) -> str:
    """A point in time, in UTC; the script adds how long ago that was.

    Args:
        at: seconds since 1970.
    """
    then = time.gmtime(at)
    return f'<time datetime="{time.strftime("%Y-%m-%dT%H:%M:%SZ", then)}">{clock(at)}</time>'


def clock(at: float, zone: str = " UTC") -> str:
    """A point in time as text, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at)) + zone


def short(digest: str) -> str:
    """The first digits of a digest, without its algorithm."""
    return plain(digest).rpartition(":")[2][:DIGITS_OF_A_DIGEST]


def size(count: float) -> str:
    """Bytes, in the unit that suits them."""
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"


def span(seconds: float) -> str:
    """A length of time."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 2 * DAY else f"{seconds / DAY:.0f} days"


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def table(
    columns: Sequence[Column],
    rows: Iterable[Iterable[str]],
    *,
    caption: str,
    identity: str = "",
    sorts: bool = True,
) -> str:
    """A table, in which each row is a block of its own on a narrow screen.

    Args:
        columns: from the first to the last.
        rows: of cells, as markup.
        caption: what it shows, as text.
        identity: by which the script finds it; empty = it has no filter.
        sorts: whether the script lets it be sorted.
    """
    heads = "".join(map(_heading, columns))
    lines = [f"<tr>{''.join(row)}" for row in rows]
    named = f' id="{identity}"' if identity else ""
    kind = "wide sorts" if sorts else "wide"
    body = "\n".join(lines)
    whole = (
        f'<table class="{kind}"{named}><caption>{text(caption)}</caption>'
        f"<thead><tr>{heads}</thead>\n<tbody>\n{body}\n</tbody></table>"
    )
    if len(lines) > MOST_ROWS:
        whole = f'<div class=box role=region aria-label="{text(caption)}" tabindex=0>{whole}</div>'
    return _filter(identity) + whole


def _heading(column: Column) -> str:
    if not column.title:
        return "<td>"
    return f"<th scope=col{' class=n' if column.number else ''}>{text(column.title)}"


def _filter(identity: str) -> str:
    if not identity:
        return ""
    return (
        f'<p class="find" hidden><label>Filter <input type="search" data-table="{identity}" '
        'autocomplete="off" spellcheck="false"></label> <span class="dim"></span></p>'
    )


def counters(pairs: Iterable[tuple[str, str, int]]) -> str:
    """Large figures.

    Args:
        pairs: of each its status (empty = it is none), its word and its number.
    """
    items = "".join(
        f"<div><dt>{mark(status, word) if status else text(word)}</dt><dd>{number:,}</dd></div>"
        for status, word, number in pairs
    )
    return f'<dl class="counts">{items}</dl>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """What is told in pairs: a term as text, and markup; what is empty is left out."""
    items = "".join(f"<dt>{text(term)}<dd>{markup}" for term, markup in pairs if markup)
    return f'<dl class="facts">{items}</dl>'


def section(title: str, *parts: str) -> str:
    """A part of a page under a heading."""
    return f"<section><h2>{text(title)}</h2>\n{''.join(parts)}\n</section>"


def page(*, title: str, kind: str, written_at: float, max_age: float, parts: Iterable[str]) -> str:
    """The frame of a page.

    Args:
        title: as text.
        kind: ``good``, ``lag``, ``bad`` or ``none``: how the icon looks.
        written_at: seconds since 1970.
        max_age: seconds after which it says itself that it is old.
        parts: markup.
    """
    colour, shape = _ICONS[kind]
    icon = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16' fill='{colour}'>{shape}</svg>"
    icon = icon.replace("<", "%3C").replace(">", "%3E").replace("#", "%23")
    body = "\n".join(part for part in parts if part)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex">
<title>{text(title)}</title>
<link rel="icon" href="data:image/svg+xml,{icon}">
<style>{STYLE}</style></head>
<body><main>
<p class="old" id="old" role="alert" data-at="{written_at:.0f}" data-max="{max_age:.0f}" hidden></p>
{body}
<p class="said" id="said" role="status"></p>
</main>
<script>{SCRIPT}</script>
</body></html>
"""


def script_data(identity: str, data_as_json: str) -> str:
    """Data for the script, which no markup in it can end."""
    data = data_as_json.replace("<", "\\u003c")
    return f'<script type="application/json" id="{identity}">{data}</script>'


def numbers(counts: Mapping[str, Any], statuses: Iterable[str]) -> Iterable[tuple[str, str, int]]:
    """Counts of statuses for ``counters``, without those that nothing has."""
    return [(status, status, int(counts[status])) for status in statuses if counts.get(status)]
