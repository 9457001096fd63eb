"""Snapshots of many sites → one report: who lags, who is silent, which digest is where. No I/O."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import _registry_fleet_returns as returns
from _registry_fleet_returns import Answer, Outcome, Snapshot

OUTPUTTER = "registry_sync"
DONE, STOPPED, NOT_STARTED, RUNNING = "done", "stopped", "not started", "running"


def parents_of(sites: Mapping[str, Snapshot], named: Mapping[str, str] | None = None) -> dict[str, str]:
    """Say which site each mirrors from: the one at whose address its upstream is.

    An address that several sites give as theirs, as ``localhost`` would be, is nobody's.

    Args:
        sites: id → snapshot.
        named: pattern of ids → parent, where addresses do not tell.

    Returns:
        Id → id, for the sites that have a parent; no site is its own ancestor.
    """
    owners = _owners(sites)
    found = {}
    for site, snapshot in sites.items():
        parent = _named_parent(site, named or {})
        if parent is None:
            above = (owners.get(address.lower(), "") for address in snapshot["upstreams"])
            parent = next((name for name in above if name not in ("", site)), "")
        if parent in sites and parent != site:
            found[site] = parent
    return _without_circles(found)


def _owners(sites: Mapping[str, Snapshot]) -> dict[str, str]:
    addresses = {site: _address(snapshot["url"]) for site, snapshot in sites.items()}
    counts = Counter(addresses.values())
    return {address: site for site, address in addresses.items() if address and counts[address] == 1}


def _address(url: str) -> str:
    """Host and port; empty = it has none."""
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
    except ValueError:
        return ""
    if not parts.netloc:
        return ""
    host = parts.netloc.rpartition("@")[2].lower()
    usual = "443" if parts.scheme == "https" else "80"
    return host if host.rpartition("]")[2].rpartition(":")[1] else f"{host}:{usual}"


def _named_parent(site: str, named: Mapping[str, str]) -> str | None:
    for pattern, parent in named.items():
        if fnmatch.fnmatchcase(site, pattern):
            return parent
    return None


def _without_circles(parents: dict[str, str]) -> dict[str, str]:
    return {site: parent for site, parent in parents.items() if not _in_circle(site, parents)}


def _in_circle(site: str, parents: Mapping[str, str]) -> bool:
    seen: set[str] = set()
    above = parents.get(site, "")
    while above and above not in seen:
        if above == site:
            return True
        seen.add(above)
        above = parents.get(above, "")
    return False


def tier_of(site: str, parents: Mapping[str, str]) -> int:
    """How many sites are above one."""
    tier = 0
    while site in parents:
        site, tier = parents[site], tier + 1
    return tier


def fleet_report(
    answers: Mapping[str, Answer],
    last_words: Mapping[str, Any],
    *,
    ids: Iterable[str],
    now: float,
    parents: Mapping[str, str] | None = None,
    waves_of: Mapping[str, str] | None = None,
    waves: Mapping[str, Any] | None = None,
    left_out: Iterable[str] = (),
    max_age: int = 0,
) -> dict[str, Any]:
    """Join what sites have said.

    Args:
        answers: id → return of ``registry_sync.last``; who is not there was silent.
        last_words: id → snapshot of silent sites, as the mine keeps it.
        ids: of all sites.
        now: seconds since 1970.
        parents: pattern of ids → parent, where addresses do not tell.
        waves_of: id → wave.
        waves: wave → how it went.
        left_out: sites in no wave.
        max_age: seconds after which a last run says nothing any more; 0 = never.

    Returns:
        ``sites``, ``images``, ``waves``, ``left_out``, ``summary``, ``retcode``, ``outputter``; every key is
        always there.
    """
    names = sorted(ids)
    known = {site: snapshot_of(site, answers, last_words) for site in names}
    above = parents_of(known, parents)
    sites = {
        site: _site(site, known[site], answers.get(site), now, max_age)
        | {"parent": above.get(site, ""), "tier": tier_of(site, above)}
        | {"wave": (waves_of or {}).get(site, "")}
        for site in names
    }
    images = _images(known)
    return {
        "sites": sites,
        "images": images,
        "waves": dict(waves or {}),
        "left_out": sorted(left_out),
        "summary": _summary(sites, images),
        "retcode": code_of(sites),
        "outputter": OUTPUTTER,
    }


def snapshot_of(site: str, answers: Mapping[str, Answer], last_words: Mapping[str, Any]) -> Snapshot:
    """A site's snapshot, or what the mine has of a silent one.

    Args:
        site: its id.
        answers: id → return of ``registry_sync.last``.
        last_words: id → snapshot.

    Returns:
        One with every key, also where the site has said nothing that can be read.
    """
    value = answers[site].value if site in answers else last_words.get(site)
    return returns.snapshot_in(value) or returns.nothing_known()


def _site(site: str, snapshot: Snapshot, answer: Answer | None, now: float, max_age: int) -> dict[str, Any]:
    age = round(max(0.0, now - snapshot["at"]), 1) if snapshot["at"] else 0.0
    outcome = returns.SILENT if answer is None else returns.outcome_of(returns.LAST, answer)
    if outcome.status in (returns.CURRENT, returns.BEHIND) and max_age and age > max_age:
        outcome = Outcome(returns.UNKNOWN, error=f"its last run ended {spelt(age)} ago")
    kept = ("at", "counts", "behind", "tags", "url", "version")
    return {
        "status": outcome.status,
        "age": age,
        "cause": outcome.cause,
        "error": outcome.error,
        "last_known": answer is None and bool(snapshot["at"]),
        **{key: snapshot[key] for key in kept},
    }


def _images(known: Mapping[str, Snapshot]) -> dict[str, Any]:
    """Each tag: how many sites have it in which way, and which digests they have."""
    statuses: dict[str, Counter[str]] = {}
    digests: dict[str, dict[str, list[str]]] = {}
    for site, snapshot in known.items():
        behind, held, extra, tags = (snapshot[key] for key in ("behind", "held", "extra", "tags"))
        here = {**extra, **held, **tags}
        for name, digest in here.items():
            digests.setdefault(name, {}).setdefault(digest, []).append(site)
        for name in (*here, *(name for name in behind if name not in here)):
            status = _cell(name, behind, held, extra, tags)
            statuses.setdefault(name, Counter())[status] += 1
    return {
        # What no site's list has is not of the mirror, and may differ.
        name: {"statuses": dict(found), "digests": at, "drift": len(at) > 1 and found.keys() != {"extra"}}
        for name, found, at in ((name, statuses[name], digests.get(name, {})) for name in sorted(statuses))
    }


def _cell(name: str, behind: Any, held: Any, extra: Any, tags: Any) -> str:
    if name in behind:
        return str(behind[name]["status"])
    if name in held:
        return "held"
    return "extra" if name in extra and name not in tags else returns.CURRENT


def _summary(sites: Mapping[str, Any], images: Mapping[str, Any]) -> dict[str, Any]:
    counts = Counter(site["status"] for site in sites.values())
    return {
        **{status: counts[status] for status in returns.STATUSES},
        "sites": len(sites),
        "images": len(images),
        "drift": sum(image["drift"] for image in images.values()),
        "seconds": 0.0,
    }


def code_of(sites: Mapping[str, Any]) -> int:
    """The return code: 0 all current, 2 some are known to lag, 1 one failed, is silent or not known."""
    statuses = {site["status"] for site in sites.values()}
    if not statuses or statuses & {returns.FAILED, returns.UNREACHABLE, returns.UNKNOWN}:
        return 1
    return 2 if returns.BEHIND in statuses else 0


def spelt(seconds: float) -> str:
    """A time as a person says it, in its largest unit."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


OK, WARNING, CRITICAL, UNKNOWN = range(4)
_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


def brief(report: Mapping[str, Any]) -> tuple[int, str]:
    """Grade a fleet in one line, as a plugin of Nagios would.

    Returns:
        0 ``OK``: all are current; 1 ``WARNING``: some lag; 2 ``CRITICAL``: one failed, is silent or unknown;
        3 ``UNKNOWN``: there are no sites; and the line.
    """
    summary = report["summary"]
    told = [_named(status, report["sites"]) for status in returns.STATUSES if summary[status]]
    grade = UNKNOWN if not told else {0: OK, 2: WARNING}.get(code_of(report["sites"]), CRITICAL)
    measures = [f"{status}={summary[status]};;;0;" for status in (*returns.STATUSES, "drift")]
    text = ", ".join(told) or "no minion is a site"
    return grade, f"{_WORDS[grade]} - {text.replace('|', '/')} | {' '.join(measures)}"


def _named(status: str, sites: Mapping[str, Any]) -> str:
    names = [site for site, entry in sites.items() if entry["status"] == status]
    if status == returns.CURRENT:
        return f"{len(names)} current"
    cause = sites[names[0]]["cause"]
    return f"{len(names)} {status} ({names[0]}{f': {cause}' if cause else ''}{', …' if names[1:] else ''})"
