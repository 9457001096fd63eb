"""Reports of the mirror as lines that a person reads; plain data in, text out.

It lies beside the outputter because outputters run where the command was typed: on a master that has
synced nothing but outputters, a file of ``_utils`` would not be there.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

# What needs attention stands nearest to the prompt.
ORDER = ("current", "copied", "held", "extra", "stale", "missing", "unreadable", "failed")
FAILURES = ("unreadable", "failed")
DIGITS_OF_A_DIGEST = 12
MARGIN = "  "
GAP = "  "
BY_DIGEST = "by digest"
# Below these a name or a tag says nothing any more.
NARROWEST_NAME = 20
NARROWEST_TAGS = 12
# Sentences are wrapped here where nothing else says how wide the output is.
WIDTH_OF_PROSE = 100

Paint = Callable[[str, str], str]
"""Takes text and a style (a status, ``title``, ``up`` or ``down``); adds nothing that takes up room."""


def unpainted(text: str, style: str) -> str:
    """Leave text as it is, for pipes and files."""
    return text


def report_lines(report: Mapping[str, Any], *, width: int = 0, paint: Paint = unpainted) -> list[str]:
    """A report of ``check``, ``plan`` or ``sync``.

    Args:
        report: as the execution module returns it.
        width: columns that there are; 0 = no limit, so that a pipe gets every name whole.
        paint: puts colours on.
    """
    report = cleaned(report)
    registry, summary = report["registry"], report["summary"]
    rows, failures = _grouped(report["images"])
    layout = Layout(rows, width)
    # What stands at the right edge ends with the table's last column.
    edge = min(layout.width, width or layout.width) if rows else 0
    blocks = [
        _headline(registry, width, edge, paint),
        _table(rows, layout, paint),
        _failures(failures, registry["error"], width, paint),
        _waiting(report.get("bundle", {}), width),
        _summary(summary, width, edge, paint),
    ]
    return _spaced(blocks)


def listing_lines(
    listing: Mapping[str, Mapping[str, str]], *, width: int = 0, paint: Paint = unpainted
) -> list[str]:
    """What ``list`` returns: repository → tag → digest.

    Args:
        listing: as the execution module returns it.
        width: columns that there are; 0 = no limit.
        paint: puts colours on.
    """
    listing = cleaned(listing)
    rows: dict[tuple[str, str], Row] = {}
    for repository, tags in listing.items():
        for tag, digest in tags.items():
            row = rows.setdefault((repository, digest), Row(repository, [], digest=digest))
            row.tags.append(tag)
    count = sum(len(tags) for tags in listing.values())
    total = f"{counted(len(listing), 'repository', 'repositories')}, {counted(count, 'tag', 'tags')}"
    shown = list(rows.values())
    return _spaced([_table(shown, Layout(shown, width), paint), [paint(total, "title")]])


class Row(NamedTuple):
    """Tags of one repository that share a digest and a fate."""

    repository: str
    tags: list[str]
    status: str = ""
    digest: str = ""
    here: str = ""
    size: int = 0


class Failure(NamedTuple):
    """Tags that failed for one reason."""

    status: str
    cause: str
    error: str
    tags: dict[str, list[str]]


def _grouped(images: Mapping[str, Mapping[str, Any]]) -> tuple[list[Row], list[Failure]]:
    rows: dict[tuple[str, ...], Row] = {}
    failures: dict[tuple[str, ...], Failure] = {}
    for name, image in images.items():
        repository, tag = split_name(name)
        status = image["status"]
        # What a deployment wants and is missing has a reason, too.
        if status in FAILURES or image["error"]:
            reason = (status, image["cause"], image["error"])
            failure = failures.setdefault(reason, Failure(*reason, {}))
            failure.tags.setdefault(repository, []).append(tag)
        else:
            note = _note(image)
            fate = (repository, status, image["upstream"], image["local"], note)
            row = rows.get(fate) or Row(
                repository,
                [],
                status,
                image["upstream"] or image["local"],
                note,
            )
            row.tags.append(tag)
            rows[fate] = row._replace(size=row.size + image["bytes"])
    # Sorting is stable: within a status the order of the list stays.
    return sorted(rows.values(), key=lambda row: rank(row.status)), list(failures.values())


def rank(status: str, order: Sequence[str] = ORDER) -> int:
    """The place of a status; one that nobody knows is the last."""
    return order.index(status) if status in order else len(order)


def split_name(name: str) -> tuple[str, str]:
    """Repository and tag of ``repository:tag``; a pinned ``repository@sha256:…`` has no tag."""
    if "@" in name:
        return name.partition("@")[0], BY_DIGEST
    repository, _, tag = name.rpartition(":")
    return repository, tag


def _headline(registry: Mapping[str, Any], width: int, edge: int, paint: Paint) -> list[str]:
    name = registry["url"].partition("://")[2]
    state = "up" if registry["up"] else "down"
    held = (
        f", {counted(registry['repositories'], 'repository', 'repositories')}, "
        f"{counted(registry['tags'], 'tag', 'tags')}"
        if registry["up"]
        else ""
    )
    plain = f"{name}  {state}{held}"
    left = f"{paint(name, 'title')}  {paint(state, state)}{held}"
    lines = _with_right(plain, left, _upstreams(registry), width, edge)
    return lines if registry["up"] else [*lines, *prose(registry["error"], width, MARGIN)]


def _upstreams(registry: Mapping[str, Any]) -> str:
    """Where images come from; a report of an older minion does not say, and one of a deployment has none."""
    names = registry.get("upstreams", ())
    return f"{'upstreams' if len(names) > 1 else 'upstream'} {', '.join(names)}" if names else ""


def _with_right(plain: str, painted: str, right: str, width: int, edge: int) -> list[str]:
    """Put words at the right edge of a line, or where they have no room on lines of their own.

    Args:
        plain: the line.
        painted: the same with its colours.
        right: the words.
        width: columns that there are; 0 = no limit.
        edge: the column where the words are to end, if the line leaves them room.
    """
    if not right:
        return [painted]
    room = edge - len(plain)
    if room < len(GAP) + len(right):
        room = len(GAP) + len(right)
    if width and len(plain) + room > width:
        return [painted, *prose(right, width, MARGIN)]
    return [painted + right.rjust(room)]


def _table(rows: list[Row], layout: Layout, paint: Paint) -> list[str]:
    if not rows:
        return []
    return [layout.heading(), *(line for row in rows for line in layout.lines(row, paint))]


class Layout:
    """How wide each column is, and what gives way where there is no room for all.

    In this order of harm: the old digest of a stale tag moves to a line below, the start that most
    names share moves into the heading, long names are elided in the middle, tags wrap.

    Args:
        rows: all rows of the table.
        width: columns that there are; 0 = no limit.
    """

    def __init__(self, rows: list[Row], width: int) -> None:
        self.shared = ""
        self.here_below = False
        self.sizes = _widest(map(_size, rows))
        self.statuses = _widest(map(_status, rows))
        self.tags = _widest(["tags", *(" ".join(row.tags) for row in rows)])
        self.names = _widest(["repository", *(row.repository for row in rows)])
        if width and self.width > width:
            self.here_below = True
            self.statuses = _widest(row.status for row in rows)
        if width and self.width > width:
            self.shared = shared_start([row.repository for row in rows])
            self.names = _widest(map(self._name, [self.shared, *(row.repository for row in rows)]))
        if width and self.width > width:
            self._squeeze(self.names + self.tags - self.width + width)

    def _columns(self) -> list[int]:
        return [self.names, self.tags, DIGITS_OF_A_DIGEST, self.sizes, self.statuses]

    @property
    def width(self) -> int:
        """Columns that the table takes."""
        shown = [width for width in self._columns() if width]
        return len(MARGIN) + sum(shown) + len(GAP) * (len(shown) - 1)

    def _squeeze(self, room: int) -> None:
        """Share out what room there is for names and tags: a line more on every row costs most."""
        self.tags = min(self.tags, max(room - self.names, room // 2))
        self.names = max(room - self.tags, NARROWEST_NAME)
        self.tags = max(room - self.names, NARROWEST_TAGS)

    def heading(self) -> str:
        """What each column is."""
        name = f"{self.shared}…" if self.shared else "repository"
        return self._line(
            [elide(name, self.names), "tags", "digest", "size" if self.sizes else "", self._status_heading]
        )

    @property
    def _status_heading(self) -> str:
        return "status" if self.statuses else ""

    def lines(self, row: Row, paint: Paint) -> list[str]:
        """A row of the table, on as many lines as its tags need."""
        tags = _wrapped(row.tags, self.tags)
        status = row.status if self.here_below else _status(row)
        name = elide(self._name(row.repository), self.names)
        cells = [name, tags[0], _short(row.digest), _size(row), paint(status, row.status) if status else ""]
        lines = [self._line(cells), *(self._line(["", line, "", "", ""]) for line in tags[1:])]
        if row.here and self.here_below:
            at_digest = len(MARGIN) + self.names + len(GAP) + self.tags + len(GAP)
            lines.append(paint(row.here.rjust(at_digest + DIGITS_OF_A_DIGEST), row.status))
        return lines

    def _name(self, repository: str) -> str:
        if self.shared and repository.startswith(self.shared):
            return f"…{repository[len(self.shared) :]}"
        return repository

    def _line(self, cells: list[str]) -> str:
        widths = self._columns()
        cells[3] = cells[3].rjust(self.sizes)
        shown = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True) if width]
        return (MARGIN + GAP.join(shown)).rstrip()


def _widest(texts: Iterable[str]) -> int:
    return max(map(len, texts), default=0)


def shared_start(names: list[str]) -> str:
    """The start, up to a separator, that saves most where it is left out; most names must have it."""
    different = set(names)
    starts = Counter(
        name[: end.end()] for name in different for end in re.finditer(r"[/._-]+", name) if end.end() > 1
    )
    shared = {start: count for start, count in starts.items() if count > max(2, len(different) / 2)}
    return max(shared, key=lambda start: (len(start) - 1) * shared[start], default="")


def _status(row: Row) -> str:
    return f"{row.status} ({row.here})" if row.here else row.status


def _note(image: Mapping[str, Any]) -> str:
    """In what a stale tag differs: it is another image, or lacks what upstream has attached to it."""
    if image["status"] != "stale":
        return ""
    if image["local"] != image["upstream"]:
        return f"here {_short(image['local'])}"
    # A report of an older minion does not say.
    lacking = image.get("attachments", {}).get("lacking", 0)
    return f"lacks {counted(lacking, 'attachment', 'attachments')}"


def _size(row: Row) -> str:
    return sized(row.size) if row.size else ""


def _short(digest: str) -> str:
    return digest.partition(":")[2][:DIGITS_OF_A_DIGEST]


def _wrapped(tags: list[str], width: int) -> list[str]:
    text = " ".join(elide(tag, width) for tag in tags)
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def _failures(failures: list[Failure], known: str, width: int, paint: Paint) -> list[str]:
    """Every failure in full; what the headline says already is not said again of each tag."""
    lines = []
    for failure in failures:
        if known and failure.error == known:
            lines.append(f"{MARGIN}{_count_of(failure)} {paint(failure.status, failure.status)}")
        else:
            lines += _failure(failure, width, paint)
    return lines


def _failure(failure: Failure, width: int, paint: Paint) -> list[str]:
    several = len(failure.tags) > 1
    subject = _count_of(failure) if several else _names_of(failure)[0]
    why = "; ".join(filter(None, (failure.cause, failure.error)))
    told = f"{subject}  {failure.status}: {why}"
    lines = prose(told, width, MARGIN, MARGIN * 3)
    lines[0] = lines[0].replace(f"  {failure.status}:", f"  {paint(failure.status, failure.status)}:", 1)
    if several:
        lines += [line for name in _names_of(failure) for line in prose(name, width, MARGIN * 3, MARGIN * 5)]
    return lines


def _waiting(bundle: Mapping[str, Any], width: int) -> list[str]:
    """What of a bundle is not at hand, and how many tags wait for it."""
    told = bundle.get("amiss", {}).values()
    return [line for why in told for line in prose(why, width, MARGIN, MARGIN * 3)]


def _names_of(failure: Failure) -> list[str]:
    return [
        f"{repository}{' ' if len(tags) > 1 or tags == [BY_DIGEST] else ':'}{' '.join(tags)}"
        for repository, tags in failure.tags.items()
    ]


def _count_of(failure: Failure) -> str:
    tags = sum(len(names) for names in failure.tags.values())
    repositories = counted(len(failure.tags), "repository", "repositories")
    return f"{counted(tags, 'tag', 'tags')} of {repositories}"


def _summary(summary: Mapping[str, Any], width: int, edge: int, paint: Paint) -> list[str]:
    parts = [(f"{summary[status]} {status}", status) for status in ORDER if summary.get(status)]
    plain = ", ".join(text for text, _ in parts) or "the list is empty"
    painted = ", ".join(paint(text, status) for text, status in parts) or plain
    # A report of an older minion does not say.
    signed = f"; {summary['signed']} signed" if summary.get("signed") else ""
    volume = signed + _volume(summary)
    seconds = f"{summary['seconds']:.1f} s"
    if not width or len(plain) + len(volume) + len(GAP) + len(seconds) <= width:
        return _with_right(f"{plain}{volume}", f"{painted}{volume}", seconds, width, edge)
    return [f"{painted}", f"{volume.lstrip('; ')}{GAP}{seconds}".strip()]


def _volume(summary: Mapping[str, Any]) -> str:
    blobs = counted(summary["blobs"], "blob", "blobs")
    if summary["copied"] or summary["blobs_copied"] or summary["blobs_mounted"]:
        mounted = f", {summary['blobs_mounted']} mounted" if summary["blobs_mounted"] else ""
        return f"; moved {sized(summary['bytes'])} in {blobs}{mounted}"
    return f"; {sized(summary['bytes'])} in {blobs} to move" if summary["blobs"] else ""


def prose(text: str, width: int, indent: str, hanging: str = "") -> list[str]:
    """Wrap a sentence; addresses and digests are never broken.

    Args:
        text: the sentence.
        width: columns that there are; 0 = no limit but that of prose.
        indent: of the first line.
        hanging: of the others; empty = the same.
    """
    return textwrap.wrap(
        text,
        min(width or WIDTH_OF_PROSE, WIDTH_OF_PROSE),
        initial_indent=indent,
        subsequent_indent=hanging or indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _spaced(blocks: Iterable[list[str]]) -> list[str]:
    """Blocks with an empty line between them."""
    lines: list[str] = []
    for block in filter(None, blocks):
        lines += ["", *block] if lines else block
    return lines


def elide(text: str, width: int) -> str:
    """Shorten a name in its middle: its namespace and its end tell it from others."""
    if len(text) <= width:
        return text
    head = text.find("/") + 1
    if not 0 < head <= width // 2:
        head = (width - 1) // 3
    return f"{text[:head]}…{text[len(text) - width + head + 1 :]}"


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def clean(text: str) -> str:
    """Take out what would move the cursor: a registry's words end up on a terminal."""
    return _CONTROL.sub(" ", str(text))


def cleaned(value: Any) -> Any:
    """The same of all text in what a minion returned, names included."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {cleaned(key): cleaned(entry) for key, entry in value.items()}
    return list(map(cleaned, value)) if isinstance(value, (list, tuple)) else value


def counted(number: int, one: str, many: str) -> str:
    """A number and its noun."""
    return f"{number} {one if number == 1 else many}"


def sized(size: float) -> str:
    """Bytes in the unit that a person would choose, powers of 1000; at most six characters."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 9.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
