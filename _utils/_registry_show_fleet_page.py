"""How a fleet of mirrors stands, as one page: who lags or is silent, which wave was stopped, what is where.

The whole grid of sites and images is tens of thousands of cells: it travels as a letter a cell, and is a
table once somebody asks for it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import _registry_show_page_parts as parts

# What needs attention most comes first.
SITES = ("failed", "unreachable", "unknown", "behind", "current")
CURRENT, UNKNOWN, NOT_LISTED = "current", "unknown", "not listed"
# As markup.
WHAT_TO_DO = {
    "failed": "<code>salt SITE registry_sync.last</code> names its tags with their causes.",
    "unreachable": "Its minion does not answer: <code>salt SITE test.ping</code>. Its mirror may be well.",
    UNKNOWN: "Nothing has run there, or too long ago: <code>salt SITE saltutil.sync_all</code>, then "
    "<code>registry_sync.check</code>.",
    "behind": "<code>salt-run registry_fleet.rollout</code> brings all up to date, "
    "<code>salt SITE registry_sync.sync</code> one.",
}
# Of an image: it is on no list of that site.
EXTRA = "extra"
NO_LAG = (CURRENT, "held", EXTRA)
LETTERS = {
    CURRENT: ".",
    "stale": "s",
    "missing": "m",
    "unreadable": "u",
    "failed": "f",
    UNKNOWN: "?",
    NOT_LISTED: "-",
}
# Of the grid that is there from the start: a page of more elements is slow.
MOST_CELLS, MOST_SITES = 1200, 40
# Of one image: more say no more.
MOST_DIGESTS = 4

Site = Mapping[str, Any]


def fleet_page(report: Mapping[str, Any], written_at: float, max_age: float) -> str:
    """The page of a fleet.

    Args:
        report: what ``registry_fleet.matrix`` or ``registry_fleet.rollout`` returns.
        written_at: now, in seconds since 1970.
        max_age: seconds after which it says itself that it is old; 0 = it never does.

    Returns:
        HTML.
    """
    sites = report["sites"]
    status, word, sentence = _headline(sites)
    return parts.page(
        title=f"{word}: {parts.counted(len(sites), 'registry', 'registries')}",
        kind=parts.kind_of(status),
        written_at=written_at,
        max_age=max_age,
        parts=(
            _header(report, status, word, sentence, written_at),
            _waves_section(report["waves"]),
            _sites_section(sites, report["left_out"]),
            _images_section(report["images"]),
            _grid_section(sites),
            _about_section(sites, written_at, max_age),
        ),
    )


def _headline(sites: Mapping[str, Site]) -> tuple[str, str, str]:
    """Status, word and sentence."""
    counts = Counter(site["status"] for site in sites.values())
    lagging = len(sites) - counts[CURRENT]
    whole = parts.counted(len(sites), "site")
    if not sites:
        return UNKNOWN, "No sites", "No minion is a site of this fleet."
    if not lagging:
        return CURRENT, "In step", f"All {whole} are current."
    told = ", ".join(
        f"{counts[status]:,} {status}" for status in SITES if counts[status] and status != CURRENT
    )
    are = "is" if lagging == 1 else "are"
    sentence = f"{lagging:,} of {whole} {are} not current: {told}."
    if counts["behind"] == lagging:
        return "behind", "Behind", f"{lagging:,} of {whole} {are} behind."
    return "failed", "Failing", sentence


def _header(report: Mapping[str, Any], status: str, word: str, sentence: str, written_at: float) -> str:
    counts = Counter(site["status"] for site in report["sites"].values())
    figures = [("", "sites", len(report["sites"])), *parts.numbers(counts, reversed(SITES))]
    figures.append(("", "images", len(report["images"])))
    drift = sum(image["drift"] for image in report["images"].values())
    figures += [("stale", "images in more than one version", drift)] if drift else []
    return (
        '<header><p class="site">Fleet of registries</p>'
        f"<h1>{parts.text(sentence)}</h1>"
        f"<p>{parts.mark(status, word)} · asked {parts.moment(written_at)}</p>"
        f"{_stopped(report['waves'])}{parts.counters(figures)}</header>"
    )


def _stopped(waves: Mapping[str, Any]) -> str:
    """Why a rollout has ended early."""
    for name, wave in waves.items():
        if wave["status"] == "stopped":
            error = f": {wave['error']}" if wave["error"] else "."
            where = f"<b>{parts.text(name)}</b>{parts.text(error)}"
            return f'<p class="why">The rollout was stopped in wave {where}</p>'
    return ""


_WAVE_COLUMNS = [
    parts.Column("Wave"),
    parts.Column("Status"),
    parts.Column("Sites", number=True),
    parts.Column("Tags copied", number=True),
    parts.Column("Moved", number=True),
    parts.Column("Failed", number=True),
    parts.Column("Unreachable", number=True),
    parts.Column("Took", number=True),
    parts.Column("Why"),
]


def _waves_section(waves: Mapping[str, Any]) -> str:
    if not waves:
        return ""
    rows = (_wave_row(name, wave) for name, wave in waves.items())
    return parts.section(
        "Waves", parts.table(_WAVE_COLUMNS, rows, caption="In the order in which they are rolled out")
    )


def _wave_row(name: str, wave: Mapping[str, Any]) -> Iterator[str]:
    yield parts.name_cell(name)
    yield parts.status_cell(wave["status"])
    yield parts.number_cell(_count(wave["sites"]), title="sites")
    yield _some(wave["copied"], "copied")
    yield _some(wave["bytes"], "moved", parts.size(wave["bytes"]))
    yield _some(_count(wave["failed"]), "failed")
    yield _some(_count(wave["unreachable"]), "unreachable")
    yield _some(wave["seconds"], "took", parts.span(wave["seconds"]))
    yield parts.rest_cell(parts.text(wave["error"]))


def _some(value: float, title: str, shown: str = "") -> str:
    """A cell of a number; empty where it is none, so that those that are stand out."""
    return parts.number_cell(value, shown, title) if value else "<td data-v=0>"


def _count(value: Any) -> int:
    """A number, or how many of them are listed."""
    return value if isinstance(value, int) else len(value)


def _sites_section(sites: Mapping[str, Site], left_out: Sequence[str]) -> str:
    if not sites:
        return ""
    has_waves = any(site["wave"] for site in sites.values())
    has_parents = any(site["parent"] for site in sites.values())
    columns = [parts.Column("Site"), parts.Column("Status")]
    columns += [parts.Column("Wave")] if has_waves else []
    columns += [parts.Column("Mirrors from")] if has_parents else []
    columns += [parts.Column("Tags", number=True), parts.Column("Not in step", number=True)]
    columns += [parts.Column("Last run (UTC)"), parts.Column("Why")]

    def row(name: str, site: Site) -> Iterator[str]:
        yield parts.name_cell(name)
        yield parts.status_cell(site["status"])
        if has_waves:
            yield parts.cell(site["wave"], "wave")
        if has_parents:
            yield parts.cell(site["parent"], "from")
        yield parts.number_cell(_count(site["tags"]), title="tags")
        yield _some(_count(site["behind"]), "not in step")
        yield parts.time_cell(site["at"])
        yield _why_cell(site)

    ordered = sorted(sites.items(), key=lambda pair: (_severity(pair[1]), pair[0]))
    rows = (row(name, site) for name, site in ordered)
    table = parts.table(columns, rows, caption="All sites, the worst first", identity="sites")
    names = ", ".join(map(parts.text, left_out))
    outside = f"<p>In no wave, and left out of rollouts: {names}.</p>" if left_out else ""
    return parts.section("Sites", _what_to_do(sites), table, outside)


def _what_to_do(sites: Mapping[str, Site]) -> str:
    """About each status that a site has and should not have."""
    there = {site["status"] for site in sites.values()}
    told = "".join(
        f"<dt>{parts.mark(status)}<dd>{words}" for status, words in WHAT_TO_DO.items() if status in there
    )
    return f'<dl class="facts">{told}</dl>' if told else ""


def _severity(site: Site) -> int:
    return SITES.index(site["status"]) if site["status"] in SITES else 0


def _why_cell(site: Site) -> str:
    cause = f"<b>{parts.text(site['cause'])}</b> " if site["cause"] else ""
    known = "last known" if site["last_known"] else ""
    told = [known, f"{cause}{parts.text(site['error'])}", "" if site["status"] == CURRENT else _lags(site)]
    why = "; ".join(filter(None, told))
    return parts.rest_cell(why) if why else "<td>"


def _lags(site: Site) -> str:
    """How many tags have which status, and since when the first of them has."""
    entries = [site["behind"][name] for name in _listed(site["behind"])]
    if not entries:
        return ""
    counts = Counter(entry["status"] for entry in entries)
    told = ", ".join(f"{count:,} {parts.text(status)}" for status, count in counts.most_common())
    return f"{told} since {parts.moment(min(entry['since'] for entry in entries))}"


_IMAGE_COLUMNS = [
    parts.Column("Image"),
    parts.Column("In step", number=True),
    parts.Column("Not in step"),
    parts.Column("Digest, or digests and at how many sites"),
]


def _images_section(images: Mapping[str, Any]) -> str:
    if not images:
        return ""

    def order(pair: tuple[str, Mapping[str, Any]]) -> tuple[int, str]:
        lags = (count for status, count in pair[1]["statuses"].items() if status not in NO_LAG)
        return -sum(lags), pair[0]

    rows = (_image_row(name, image) for name, image in sorted(images.items(), key=order))
    caption = (
        f"{parts.counted(len(images), 'tag')}, each with how many of the sites that want it have it; "
        "those that lag at most sites first"
    )
    return parts.section("Images", parts.table(_IMAGE_COLUMNS, rows, caption=caption, identity="images"))


def _out_of_step(image: Mapping[str, Any]) -> dict[str, int]:
    return {status: count for status, count in image["statuses"].items() if status != CURRENT}


def _image_row(name: str, image: Mapping[str, Any]) -> Iterator[str]:
    here = image["statuses"].get(CURRENT, 0)
    wanted = sum(count for status, count in image["statuses"].items() if status != EXTRA)
    yield parts.name_cell(name)
    yield parts.number_cell(here, f"{here:,} of {wanted:,}") if wanted else "<td data-v=0>"
    lags = ", ".join(f"{count:,} {status}" for status, count in sorted(_out_of_step(image).items()))
    yield parts.cell(lags)
    yield _digests_cell(image["digests"], drift=image["drift"])


def _digests_cell(digests: Mapping[str, Sequence[str]], *, drift: bool) -> str:
    if not drift:
        return parts.digest_cell(next(iter(digests), ""))
    ordered = sorted(digests.items(), key=lambda pair: -len(pair[1]))
    told = ", ".join(
        f"{parts.text(parts.short(name))} at {len(where):,}" for name, where in ordered[:MOST_DIGESTS]
    )
    more = f" and {len(ordered) - MOST_DIGESTS} more" if len(ordered) > MOST_DIGESTS else ""
    return f'<td class="d rest">{told}{more}'


def _grid_section(sites: Mapping[str, Site]) -> str:
    """The sites that lag, cell by cell; the others once somebody asks for them."""
    names = _names(sites.values())
    if not names:
        return ""
    lagging = [name for name, site in sites.items() if site["status"] != CURRENT]
    lagging.sort(key=lambda name: (_severity(sites[name]), name))
    shown = lagging[:MOST_SITES]
    lags = {name for site in shown for name in sites[site]["behind"]}
    columns = [name for name in names if name in lags][: MOST_CELLS // max(1, len(shown))]
    left = len(lagging) - len(shown)
    told = [
        f'<p class="dim">{_legend()}. A site whose minion is silent is shown as it was last known, '
        "and has a ? after its name.</p>",
        _grid(shown, columns, sites) if columns else "",
        f"<p>{left:,} more sites are not current.</p>" if left and columns else "",
        '<p><button type="button" class="act" id="whole" hidden>Show all sites and images</button></p>',
        '<div class="grid" id="grid" role="region" aria-label="All sites and images" tabindex="0" hidden>'
        "</div>",
        parts.script_data("cells", _cells(sites, names)),
    ]
    return parts.section("Sites by images", *told)


def _legend() -> str:
    return ", ".join(f"<b>{letter}</b> {status}" for status, letter in LETTERS.items())


def _names(sites: Iterable[Site]) -> list[str]:
    """Every image that some site has or wants."""
    return sorted({name for site in sites for part in ("tags", "behind") for name in _listed(site[part])})


def _listed(value: Any) -> Iterable[str]:
    # A brief report has their number alone.
    return () if isinstance(value, int) else value


def _grid(names: Sequence[str], columns: Sequence[str], sites: Mapping[str, Site]) -> str:
    heads = "".join(f"<th scope=col>{parts.text(column)}" for column in ("Site", *columns))
    rows = "\n".join(
        f"<tr>{parts.name_cell(_shown(name, sites[name]))}"
        + "".join(_grid_cell(_status(column, sites[name])) for column in columns)
        for name in names
    )
    return (
        '<div class="grid" role="region" aria-label="Sites that are not current" tabindex="0"><table>'
        "<caption>Sites that are not current, by the images that lag there</caption>"
        f"<thead><tr>{heads}</thead><tbody>\n{rows}\n</tbody></table></div>"
    )


def _grid_cell(status: str) -> str:
    return f"<td class={parts.kind_of(status)}>{LETTERS.get(status, '?')}"


def _shown(name: str, site: Site) -> str:
    return f"{name} ?" if site["last_known"] or not site["at"] else name


def _status(image: str, site: Site) -> str:
    if not site["at"]:
        return UNKNOWN
    if image in site["behind"]:
        return str(site["behind"][image]["status"])
    return CURRENT if image in site["tags"] else NOT_LISTED


def _cells(sites: Mapping[str, Site], names: Sequence[str]) -> str:
    """All of it, as JSON: a letter a cell."""
    ordered = sorted(sites.items(), key=lambda pair: (_severity(pair[1]), pair[0]))
    rows = [
        [parts.plain(_shown(name, site)), "".join(LETTERS.get(_status(image, site), "?") for image in names)]
        for name, site in ordered
    ]
    kinds = {letter: parts.kind_of(status) for status, letter in LETTERS.items()}
    whole = {
        "caption": "All sites and images",
        "corner": "Site",
        "images": list(map(parts.plain, names)),
        "kinds": kinds,
        "sites": rows,
    }
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))


def _about_section(sites: Mapping[str, Site], written_at: float, max_age: float) -> str:
    versions = Counter(site["version"] for site in sites.values() if site["version"])
    told = ", ".join(
        f"{parts.text(version)} ({parts.counted(count, 'site')})" for version, count in versions.most_common()
    )
    due = f"if it is later than {parts.clock(written_at + max_age)}" if max_age else ""
    return parts.section(
        "About this page",
        parts.facts(
            [
                ("Formula", f"docker_registry {told}" if told else ""),
                ("Written", f"{parts.moment(written_at)} by <code>registry_fleet</code>"),
                ("Out of date", due),
            ]
        ),
    )
