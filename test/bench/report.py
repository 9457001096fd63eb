"""The tables of BENCH.md, and whether what was wanted is reached."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence

from cases import TITLES
from landings import SHARES, Landings
from lane import Sample
from racers import BEFORE

MB = 1_000_000
ENGINE = "engine"
# Of the far cases, those that need memory.
FAR = ("cold-far", "large-far")

Row = Sequence[str]
Groups = dict[tuple[str, str], list[Sample]]


def table(samples: Sequence[Sample]) -> str:
    """Return medians, one line for each case and racer."""
    header = (
        "case",
        "racer",
        "seconds",
        "min..max",
        "x engine",
        "cpu s",
        "peak",
        "from upstream",
        "requests upstream / local",
        "connections",
        "left in uploads",
    )
    rows = [_row(samples, case, racer, runs) for (case, racer), runs in grouped(samples).items()]
    return markdown(header, rows)


def _row(samples: Sequence[Sample], case: str, racer: str, runs: Sequence[Sample]) -> Row:
    good = [sample for sample in runs if not sample.failure]
    if not good:
        return (TITLES[case], racer, f"failed: {(runs[0].failure.splitlines() or ['?'])[-1][:80]}")
    seconds = [sample.seconds for sample in good]
    last = good[-1]
    failed = f" ({len(runs) - len(good)} of {len(runs)} failed)" if len(good) < len(runs) else ""
    asked = f"{sum(last.upstream.values())} / {sum(last.local.values())}"
    ratio = ratio_between(samples, (case, racer), (case, ENGINE))
    return (
        TITLES[case],
        racer + failed,
        f"{statistics.median(seconds):.2f}",
        f"{min(seconds):.2f}..{max(seconds):.2f}",
        "" if ratio is None else f"{ratio:.2f}",
        f"{statistics.median(sample.cpu for sample in good):.2f}",
        _megabytes(max(sample.peak for sample in good), 0),
        _megabytes(last.bytes_down) if last.local else "",
        asked if last.local else "",
        str(last.connections or ""),
        _megabytes(last.left) if last.left or last.again is not None else "",
    )


def landing_table(landings: Sequence[Landings]) -> str:
    """Return the share of images, and of tags, that stood when shares of the bytes had moved."""
    groups: dict[tuple[str, str], list[Landings]] = {}
    for landed in landings:
        groups.setdefault((landed.case, landed.racer), []).append(landed)
    header = ("images (tags) that stand after", "racer", *(f"{share} % of the bytes" for share in SHARES))
    return markdown(header, [(TITLES[case], racer, *_shares(runs)) for (case, racer), runs in groups.items()])


def _shares(runs: Sequence[Landings]) -> Iterator[str]:
    good = [run for run in runs if not run.failure]
    if not good:
        yield f"failed: {(runs[0].failure.splitlines() or ['?'])[-1][:80]}"
        return
    for share in SHARES:
        images = statistics.median(run.images[share] for run in good)
        tags = statistics.median(run.tags[share] for run in good)
        yield f"{images:.0f} % ({tags:.0f} %)"


def request_table(samples: Sequence[Sample]) -> str:
    """Return the requests by kind of each case and racer's last run."""
    lines = []
    for (case, racer), runs in grouped(samples).items():
        for side in ("upstream", "local"):
            kinds = ", ".join(f"{count} {kind}" for kind, count in getattr(runs[-1], side).items())
            if kinds:
                lines.append(f"{case:<13} {racer:<13} {side:<8} {kinds}")
    return "\n".join(lines)


def target_table(samples: Sequence[Sample], landings: Sequence[Landings]) -> str:
    """Return what is wanted of ours, and what was found; only of cases that have run."""
    rows = [*_wanted_times(samples), *_wanted_bytes(samples), *_wanted_landings(landings)]
    return markdown(("wanted", "found", ""), rows)


def _wanted_times(samples: Sequence[Sample]) -> Iterator[Row]:
    for case in dict.fromkeys(sample.case for sample in samples):
        before = ratio_between(samples, (case, ENGINE), (case, BEFORE))
        yield from _at_most(f"{TITLES[case]}: engine / engine before", before, 1.03)
    relay = ratio_between(samples, ("cold", ENGINE), ("cold", "relay"))
    yield from _at_most(f"{TITLES['cold']}: engine / relay", relay, 1.10)
    skopeo = ratio_between(samples, ("cold-far", "skopeo"), ("cold-far", ENGINE))
    yield from _at_least(f"{TITLES['cold-far']}: skopeo / engine", skopeo, 16)
    many = [run.seconds for run in _good(samples, "many-tags", ENGINE)]
    yield from _at_most(f"{TITLES['many-tags']}: seconds", statistics.median(many) if many else None, 27)
    foreign = ratio_between(samples, ("foreign", ENGINE), ("no-foreign", ENGINE))
    yield from _at_most(f"{TITLES['foreign']}: with / without", foreign, 1.03)
    signed = ratio_between(samples, ("attached-cold", ENGINE), ("bare-cold", ENGINE))
    yield from _at_most(f"{TITLES['attached-cold']}: with / without", signed, 1.25)
    for suffix, limit in (("", 0.1), ("-far", 0.3)):
        with_all, without = (_good(samples, f"{kind}{suffix}", ENGINE) for kind in ("signed", "bare"))
        more = [one.seconds - other.seconds for one, other in zip(with_all, without, strict=False)]
        seconds = statistics.median(more) if more else None
        yield from _at_most(f"{TITLES[f'signed{suffix}']}: seconds more", seconds, limit)


def _wanted_bytes(samples: Sequence[Sample]) -> Iterator[Row]:
    alone = [run.peak for run in _good(samples, "start", "salt-call")]
    for case in FAR:
        peaks = [run.peak for run in _good(samples, case, "salt-call")]
        over = (max(peaks) - max(alone)) / MB if alone and peaks else None
        yield from _at_most(f"{TITLES[case]}: MB of peak memory over Salt alone", over, 40)
    for racer in (ENGINE, "salt-call"):
        runs = _good(samples, "killed", racer)
        again = max((run.again / MB for run in runs if run.again is not None), default=None)
        yield from _at_most(f"{TITLES['killed']}, {racer}: MB again from upstream", again, 32)
        left = max((run.left / MB for run in runs), default=None)
        yield from _at_most(f"{TITLES['killed']}, {racer}: MB left in _uploads", left, 0)


def _wanted_landings(landings: Sequence[Landings]) -> Iterator[Row]:
    for case in dict.fromkeys(landed.case for landed in landings):
        images = [
            run.images[50] for run in landings if (run.case, run.racer) == (case, ENGINE) and run.images
        ]
        share = statistics.median(images) if images else None
        yield from _at_least(f"{TITLES[case]}: % of the images at half of the bytes", share, 40)


def _at_most(what: str, found: float | None, limit: float) -> Iterator[Row]:
    if found is not None:
        yield f"{what} ≤ {limit:g}", f"{found:.2f}", "yes" if found <= limit else "NO"


def _at_least(what: str, found: float | None, limit: float) -> Iterator[Row]:
    if found is not None:
        yield f"{what} ≥ {limit:g}", f"{found:.2f}", "yes" if found >= limit else "NO"


def ratio_between(samples: Sequence[Sample], one: tuple[str, str], other: tuple[str, str]) -> float | None:
    """Return the median over rounds of one case and racer's seconds by those of another, if both ran."""
    seconds = {run.round: run.seconds for run in _good(samples, *other)}
    ratios = [run.seconds / seconds[run.round] for run in _good(samples, *one) if run.round in seconds]
    return statistics.median(ratios) if ratios else None


def _good(samples: Sequence[Sample], case: str, racer: str) -> list[Sample]:
    return [run for run in samples if (run.case, run.racer) == (case, racer) and not run.failure]


def grouped(samples: Sequence[Sample]) -> Groups:
    """Group samples by case and racer, in the order of the cases."""
    groups: Groups = {}
    for sample in samples:
        groups.setdefault((sample.case, sample.racer), []).append(sample)
    order = list(TITLES)
    return dict(sorted(groups.items(), key=lambda item: order.index(item[0][0])))


def markdown(header: Row, rows: Iterable[Row]) -> str:
    """Return a table that can be read as it is, too; empty without rows."""
    filled = [[*row, *[""] * (len(header) - len(row))] for row in rows]
    if not filled:
        return ""
    widths = [max(map(len, column)) for column in zip(header, *filled, strict=True)]
    lines = [header, ["-" * width for width in widths], *filled]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def _megabytes(number: float, digits: int = 1) -> str:
    return f"{number / MB:.{digits}f} MB"
