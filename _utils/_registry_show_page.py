"""How a mirror stands, as one page: what is wrong first, since when, and what to do.

Text in, text out; it is complete without a script and loads nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import _registry_show_page_parts as parts
from _registry_show_page_about import Disk, Extras, Repository, about_section, signatures_section
from _registry_show_page_runs import runs_section
from _registry_show_report import FAILED

__all__ = ["Disk", "Extras", "Repository", "host_page"]

# Of what nothing wants there may be any number.
MOST_EXTRAS = 200
# What needs attention most comes first.
BEHIND = ("failed", "unreadable", "missing", "stale")

WHAT_TO_DO = {
    "": "Run registry_sync.sync.",
    "auth": "Check the login in docker_registry:upstream, and that upstream has this repository.",
    "absent": "Upstream has no such tag. Correct the list, or ask upstream for it.",
    "rate": "Upstream limits requests. Log in there, or wait.",
    "network": "Try to reach the registry from this host: name, route, proxy, certificate.",
    "space": "Make room: registry_sync.prune, then registry_sync.collect.",
    "digest": "Run registry_sync.sync again; if it stays, registry_sync.verify.",
    "unsupported": "It cannot be copied. Take it off the list.",
    "signature": "Nobody of signed_by has signed it. Do not use it before that is explained.",
    "internal": "This is a defect. Report it with the minion's log.",
}
DOWN = "Look at its service and its log on its own host, then run registry_sync.check."


def host_page(
    report: Mapping[str, Any],
    snapshot: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]],
    extras: Extras,
) -> str:
    """The page of a mirror.

    Args:
        report: of ``check`` or ``sync``; empty where a run ended without one.
        snapshot: what ``registry_sync.last`` returns.
        runs: what ``registry_sync.runs`` returns, the latest first.
        extras: what else is known.

    Returns:
        HTML.
    """
    images = report.get("images", {})
    site = _site(snapshot["url"])
    headline = _headline(snapshot)
    return parts.page(
        title=f"{headline.word}: {site}",
        kind=parts.kind_of(headline.status),
        written_at=extras.written_at,
        max_age=extras.max_age,
        parts=(
            _header(snapshot, site, headline),
            _behind_section(snapshot),
            _tags_section(snapshot, images),
            _sizes_section(extras),
            _extras_section(report, snapshot),
            runs_section(runs),
            _pull_section(snapshot, site),
            signatures_section(report),
            about_section(snapshot, extras),
        ),
    )


class _Headline(NamedTuple):
    status: str
    word: str
    sentence: str


def _headline(snapshot: Mapping[str, Any]) -> _Headline:
    counts, behind = snapshot["counts"], snapshot["behind"]
    wanted = parts.counted(counts["tags"], "tag")
    failed = counts["failed"] + counts["unreadable"]
    if not snapshot["at"]:
        return _Headline("unknown", "Not checked", "No check or sync has ended here yet.")
    if snapshot["url"] and not snapshot["up"]:
        return _Headline("down", "Down", "The registry does not answer.")
    if failed:
        more = len(behind) - failed
        also = f", and {more:,} more {_are(more)} behind" if more > 0 else ""
        return _Headline("failed", "Failing", f"{failed:,} of {wanted} could not be read or copied{also}.")
    if snapshot["code"] == FAILED:
        return _Headline("failed", "Failing", "The last run failed.")
    if behind:
        return _Headline(
            "behind", "Behind", f"{len(behind):,} of {wanted} {_are(len(behind))} behind upstream."
        )
    if not counts["tags"]:
        return _Headline("current", "In step", "The list names no tags.")
    return _Headline("current", "In step", f"All {wanted} are in step with upstream.")


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _site(url: str) -> str:
    """How engines name the registry."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2] or "this registry"


def _header(snapshot: Mapping[str, Any], site: str, headline: _Headline) -> str:
    counts = snapshot["counts"]
    here = counts["current"] + counts["copied"]
    figures = [("", "wanted", counts["tags"]), ("current", "in step", here)]
    figures += parts.numbers(counts, (*BEHIND, "held", "extra"))
    if snapshot["function"] == "sync" and counts["copied"]:
        figures.append(("copied", "of them copied now", counts["copied"]))
    return (
        f'<header><p class="site">{parts.text(site)}</p>'
        f"<h1>{parts.text(headline.sentence)}</h1>"
        f"<p>{parts.mark(headline.status, headline.word)}{_when(snapshot)}</p>"
        f"{_why(snapshot)}{_advice(snapshot)}{parts.counters(figures) if snapshot['at'] else ''}</header>"
    )


def _when(snapshot: Mapping[str, Any]) -> str:
    if not snapshot["at"]:
        return ""
    verb = "synced" if snapshot["function"] == "sync" else "checked"
    moved = f", {parts.size(snapshot['moved'])} moved" if snapshot["moved"] else ""
    running = " A sync is running." if snapshot["running"] else ""
    took = f"in {parts.span(snapshot['seconds'])}{moved}" if snapshot["seconds"] else "ended early"
    return f" · {verb} {parts.moment(snapshot['at'])}, {took}.{running}"


def _why(snapshot: Mapping[str, Any]) -> str:
    """The first failure, where it is not that of one tag, which the table below has."""
    if not snapshot["error"] or _has_errors(snapshot):
        return ""
    cause = f"<b>{parts.text(snapshot['cause'])}</b> " if snapshot["cause"] else ""
    return f'<p class="why">{cause}{parts.text(snapshot["error"])}</p>'


def _advice(snapshot: Mapping[str, Any]) -> str:
    """What to do about a run that failed as a whole; about a tag the table below says it."""
    if snapshot["url"] and not snapshot["up"]:
        return f"<p>{DOWN}</p>"
    if not snapshot["cause"] or snapshot["code"] != FAILED or _has_errors(snapshot):
        return ""
    advice = WHAT_TO_DO.get(snapshot["cause"], "")
    return f"<p>{advice}</p>" if advice else ""


def _has_errors(snapshot: Mapping[str, Any]) -> bool:
    return any(entry["error"] for entry in snapshot["behind"].values())


_BEHIND_COLUMNS = [
    parts.Column("Image"),
    parts.Column("Status"),
    parts.Column("Since (UTC)"),
    parts.Column("Have → want"),
    parts.Column("Cause"),
    parts.Column("What to do"),
]


def _behind_section(snapshot: Mapping[str, Any]) -> str:
    behind, tags = snapshot["behind"], snapshot["tags"]
    if not behind:
        return ""
    ordered = sorted(behind.items(), key=lambda pair: (_severity(pair[1]["status"]), pair[0]))
    rows = (_behind_row(name, entry, tags.get(name, "")) for name, entry in ordered)
    return parts.section(
        "Not in step",
        parts.table(_BEHIND_COLUMNS, rows, caption="Tags that are not as upstream has them, the worst first"),
    )


def _severity(status: str) -> int:
    return BEHIND.index(status) if status in BEHIND else len(BEHIND)


def _behind_row(name: str, entry: Mapping[str, Any], have: str) -> Iterator[str]:
    yield parts.name_cell(name)
    yield parts.status_cell(entry["status"])
    yield parts.time_cell(entry["since"], "since")
    yield _have_and_want(have, entry["upstream"])
    cause = f"<b>{parts.text(entry['cause'])}</b> " if entry["cause"] else ""
    error = parts.text(entry["error"])
    yield parts.rest_cell(f"{cause}{error}") if cause or error else "<td>"
    yield parts.rest_cell(parts.text(WHAT_TO_DO.get(entry["cause"], WHAT_TO_DO[""])))


def _have_and_want(have: str, want: str) -> str:
    shown = [
        f"<code>{parts.text(parts.short(digest))}</code>" if digest else "none" for digest in (have, want)
    ]
    return f"<td>{' → '.join(shown)}" if have or want else "<td>"


def _tags_section(snapshot: Mapping[str, Any], images: Mapping[str, Any]) -> str:
    names = sorted({*snapshot["tags"], *snapshot["behind"], *snapshot["held"]})
    if not names:
        return ""
    signs = any(image["signed_by"] for image in images.values())
    columns = [parts.Column("Image"), parts.Column("Status"), parts.Column("Digest here")]
    columns += [parts.Column("Signed by")] if signs else []

    def row(name: str) -> Iterator[str]:
        yield parts.name_cell(name)
        yield parts.status_cell(_status(name, snapshot))
        yield parts.digest_cell(snapshot["tags"].get(name, ""))
        if signs:
            yield parts.cell(", ".join(images.get(name, {}).get("signed_by", ())))

    caption = f"The {parts.counted(len(names), 'tag')} of the list"
    return parts.section("All tags", parts.table(columns, map(row, names), caption=caption, identity="tags"))


def _status(name: str, snapshot: Mapping[str, Any]) -> str:
    if entry := snapshot["behind"].get(name):
        return str(entry["status"])
    return "held" if name in snapshot["held"] else "current"


_SIZE_COLUMNS = [
    parts.Column("Repository"),
    parts.Column("Tags", number=True),
    parts.Column("Size", number=True),
    parts.Column(""),
]


def _sizes_section(extras: Extras) -> str:
    if not extras.repositories:
        return ""
    largest = max(each.size for each in extras.repositories.values()) or 1
    ordered = sorted(extras.repositories.items(), key=lambda pair: (-pair[1].size, pair[0]))

    def row(name: str, repository: Repository) -> Iterator[str]:
        yield parts.name_cell(name)
        yield parts.number_cell(repository.tags, title="tags")
        yield parts.number_cell(repository.size, parts.size(repository.size))
        yield _bar(repository.size / largest)

    count = parts.counted(len(extras.repositories), "repository", "repositories")
    unread = f" Of {parts.counted(extras.unread, 'manifest')} the size is not known." if extras.unread else ""
    told = (
        f"{parts.size(extras.size)} in {count}, "
        f"each layer counted once.{unread} Repositories share layers, so that the rows come to more."
    )
    rows = (row(name, repository) for name, repository in ordered)
    return parts.section("Sizes", parts.table(_SIZE_COLUMNS, rows, caption=told))


def _bar(share: float) -> str:
    width = max(1, round(100 * share))
    return f"<td class=rest><svg class=bar aria-hidden=true><rect width={width}% height=8 /></svg>"


def _extras_section(report: Mapping[str, Any], snapshot: Mapping[str, Any]) -> str:
    """What stands here and is not in the list."""
    extra, others = snapshot["extra"], report.get("registry", {}).get("others", [])
    looked = snapshot["function"] != "sync"
    if not extra and not others and looked:
        return ""
    shown = sorted(extra.items())[:MOST_EXTRAS]
    columns = [parts.Column("Image"), parts.Column("Digest here")]
    rows = ((parts.name_cell(name), parts.digest_cell(digest)) for name, digest in shown)
    tags = parts.table(
        columns, rows, caption=f"{parts.counted(len(extra), 'tag')}, of repositories that the list names"
    )
    left = len(extra) - len(shown)
    more = f"<p>{left:,} more: <code>registry_sync.check</code></p>" if left else ""
    unknown = "<p>A sync does not look for such tags; <code>registry_sync.check</code> does.</p>"
    told = tags if extra else "" if looked else unknown
    stays = "<p class=dim>It stays; <code>registry_sync.prune</code> says what could go.</p>"
    return parts.section("Here and not in the list", told, more, _others(others), stays if extra else "")


def _others(names: Sequence[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(parts.text(name) for name in sorted(names)[:MOST_EXTRAS])
    left = f" and {len(names) - MOST_EXTRAS:,} more" if len(names) > MOST_EXTRAS else ""
    count = parts.counted(len(names), "repository", "repositories")
    return f"<p>{count} that the list does not name: {shown}{left}.</p>"


def _pull_section(snapshot: Mapping[str, Any], site: str) -> str:
    names = sorted(snapshot["tags"])
    if not names or not snapshot["url"]:
        return ""
    reference = parts.text(f"{site}/{names[0]}")
    plain = (
        '<p class="dim">This registry speaks plain HTTP; an engine pulls from it once its configuration says '
        "so, as the state <code>docker_registry.engine</code> has it.</p>"
    )
    return parts.section(
        "Pull from it",
        f"<pre>podman pull {reference}</pre><pre>docker pull {reference}</pre>",
        plain if snapshot["url"].startswith("http://") else "",
    )
