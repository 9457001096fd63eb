"""A fleet as ``registry_fleet.matrix`` tells of it, for its page."""

from __future__ import annotations

from typing import Any

from support import pages

LAGGING = {
    "site-031.edge.example.com": ("failed", "network", "upstream region-1.example.com:5000 does not answer"),
    "site-077.edge.example.com": ("unreachable", "", "its minion did not answer"),
    "site-110.edge.example.com": ("behind", "", ""),
    "site-163.edge.example.com": ("behind", "", ""),
}


def fleet(count: int = 200) -> dict[str, Any]:
    """So many sites with 132 images, of which four are not current.

    Args:
        count: of sites.
    """
    ids = [f"site-{number:03d}.edge.example.com" for number in range(1, count + 1)]
    sites = {site: _site(number, site) for number, site in enumerate(ids)}
    images = {name: _image(name, sites) for name in pages.names()}
    statuses = [site["status"] for site in sites.values()]
    return {
        "sites": sites,
        "images": images,
        "waves": {
            "canary": _wave("done", 2, 264, 800_000_000, 61.0),
            "sites": _wave("stopped", 60, 7_788, 31_200_000_000, 1_830.0)
            | {"failed": 1, "unreachable": 1, "error": "2 of 60 sites failed or are silent, and 1 may"},
            "edge": _wave("not started", count - 62, 0, 0, 0.0),
        },
        "left_out": ["lab.example.com"],
        "summary": {status: statuses.count(status) for status in set(statuses)},
        "retcode": 1,
        "outputter": "registry_sync",
    }


def _site(number: int, name: str) -> dict[str, Any]:
    status, cause, error = LAGGING.get(name, ("current", "", ""))
    known = pages.snapshot({} if status == "current" else dict(list(pages.BEHIND.items())[: 1 + number % 4]))
    kept = ("counts", "behind", "tags", "url", "version")
    return {
        "status": status,
        "at": pages.NOW - 600 - 60 * (number % 40) - (3 * pages.DAY if status == "unreachable" else 0),
        "age": 600.0,
        "parent": f"region-{1 + number % 4}.example.com",
        "tier": 1,
        "wave": "canary" if number < 2 else "sites" if number < 62 else "edge",
        "cause": cause,
        "error": error,
        "last_known": status == "unreachable",
        **{key: known[key] for key in kept},
    }


def _image(name: str, sites: dict[str, Any]) -> dict[str, Any]:
    statuses: dict[str, int] = {}
    digests: dict[str, list[str]] = {}
    for number, (site, entry) in enumerate(sites.items()):
        status = entry["behind"].get(name, {"status": "current"})["status"]
        statuses[status] = statuses.get(status, 0) + 1
        if name in entry["tags"]:
            seen = pages.digest(
                f"old {name}" if status != "current" or (number == 17 and "cron" in name) else name
            )
            digests.setdefault(seen, []).append(site)
    return {"statuses": statuses, "digests": digests, "drift": len(digests) > 1}


def _wave(status: str, sites: int, copied: int, moved: int, seconds: float) -> dict[str, Any]:
    return {
        "status": status,
        "sites": sites,
        "copied": copied,
        "bytes": moved,
        "failed": 0,
        "unreachable": 0,
        "seconds": seconds,
        "error": "",
    }
