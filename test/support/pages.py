"""What a page is made of, as runs would leave it: snapshots, reports, runs, a fleet."""

from __future__ import annotations

import hashlib
from typing import Any

from _registry_show_page import Disk, Extras, Repository

NOW = 1764151392.0
DAY = 24 * 3600
STATUSES = ("current", "missing", "stale", "held", "extra", "unreadable", "copied", "failed")
_IMAGES = """
aodh-api aodh-evaluator ceilometer-central cinder-api cinder-scheduler cinder-volume cron glance-api
gnocchi-api haproxy heat-api heat-engine horizon iscsid keystone mariadb memcached neutron-server
neutron-l3-agent nova-api nova-compute nova-libvirt nova-scheduler panko-api rabbitmq redis
swift-account swift-container swift-object swift-proxy-server zaqar ec2-api multipathd octavia-api
octavia-worker ovn-controller ovn-northd sahara-api sahara-engine manila-api manila-share barbican-api
barbican-worker tempest
"""
REPOSITORIES = tuple(_IMAGES.split())
TAGS = ("13.0", "13.0-38", "latest")
BEHIND = {
    "rhosp13/openstack-cron:13.0": ("stale", "", "", 2 * 3600),
    "rhosp13/openstack-horizon:latest": ("missing", "", "", 3 * DAY),
    "rhosp13/openstack-iscsid:13.0": (
        "unreadable",
        "absent",
        "upstream registry.redhat.io:443 has no tag 13.0 of rhosp13/openstack-iscsid (404, manifest unknown)",
        9 * DAY,
    ),
    "rhosp13/openstack-nova-compute:13.0-38": (
        "failed",
        "signature",
        "nobody of signed_by (redhat) has signed sha256:93bf2a62f5e4: no signature was found",
        5 * DAY,
    ),
}


def digest(seed: str) -> str:
    """A digest in 12 digits."""
    return hashlib.sha256(seed.encode(errors="replace")).hexdigest()[:12]


def names() -> list[str]:
    """The 132 tags of 44 images."""
    return [f"rhosp13/openstack-{name}:{tag}" for name in REPOSITORIES for tag in TAGS]


def snapshot(behind: dict[str, tuple[str, str, str, int]] | None = None, **changes: Any) -> dict[str, Any]:
    """What ``registry_sync.last`` returns.

    Args:
        behind: name to status, cause, error and for how many seconds; None = BEHIND.
        changes: other keys.
    """
    lagging = BEHIND if behind is None else behind
    entries = {
        name: {
            "status": status,
            "cause": cause,
            "error": error,
            "since": NOW - seconds,
            "upstream": "" if status == "unreadable" else digest(f"new {name}"),
        }
        for name, (status, cause, error, seconds) in lagging.items()
    }
    here = {
        name: digest(name)
        for name in names()
        if entries.get(name, {}).get("status") not in ("missing", "unreadable")
    }
    counts = dict.fromkeys((*STATUSES, "tags"), 0)
    for entry in entries.values():
        counts[str(entry["status"])] += 1
    extra = {} if behind == {} else {"rhosp13/openstack-nova-compute:13.0-37": digest("older")}
    counts |= {"tags": len({*here, *entries}), "extra": len(extra)}
    counts["current"] = counts["tags"] - len(entries)
    code = 1 if counts["failed"] or counts["unreadable"] else 2 if entries else 0
    return {
        "at": NOW - 720,
        "function": "check",
        "url": "https://mirror.example.com:5000",
        "up": True,
        "upstreams": ["registry.redhat.io:443"],
        "version": "0.1.0",
        "list": digest("list"),
        "tags": here,
        "behind": entries,
        "held": {},
        "extra": extra,
        "counts": counts,
        "seconds": 0.74,
        "moved": 0,
        "code": code,
        "cause": "",
        "error": next((entry["error"] for entry in entries.values() if entry["error"]), ""),
        "running": False,
    } | changes


def report(of: dict[str, Any]) -> dict[str, Any]:
    """The report that a snapshot is of."""
    images = {
        name: {
            "status": of["behind"].get(name, {"status": "current"})["status"],
            "upstream": "",
            "local": f"sha256:{of['tags'].get(name, '')}",
            "previous": "",
            "bytes": 0,
            "cause": of["behind"].get(name, {"cause": ""})["cause"],
            "error": of["behind"].get(name, {"error": ""})["error"],
            "attachments": {"here": 1 if name in of["tags"] else 0, "lacking": 0, "skipped": 0},
            "signed_by": ["redhat"] if name in of["tags"] and name not in of["behind"] else [],
        }
        for name in {**of["tags"], **of["behind"]}
    }
    attached = {"here": len(of["tags"]), "lacking": 0, "skipped": 0}
    return {
        "registry": {"url": of["url"], "up": of["up"], "others": ["team/builds", "team/charts"]},
        "images": images,
        "summary": {"attachments": attached, "signed": len(images)},
    }


def runs(count: int = 60) -> list[dict[str, Any]]:
    """What ``registry_sync.runs`` returns, the latest first; some lag and some have failed."""
    return [run(number) for number in range(count)]


def run(number: int) -> dict[str, Any]:
    """One of them, so many before the last."""
    code = 1 if number in (0, 1, 2, 31) else 2 if number % 9 == 4 else 0
    syncs = number % 4 == 1
    counts = dict.fromkeys((*STATUSES, "tags"), 0) | {"tags": 132, "current": 132}
    if code:
        counts |= {"failed" if code == 1 else "stale": 1 + number % 3}
    failed = code == 1
    return {
        "at": NOW - 720 - number * 6 * 3600,
        "function": "sync" if syncs else "check",
        "code": code,
        "seconds": (40.0 + number % 7 * 31 if syncs else 0.7) + (300 if number == 31 else 0),
        "moved": (number % 7) * 93_000_000 if syncs else 0,
        "counts": counts,
        "failed": [],
        "cause": "network" if failed else "",
        "error": "upstream registry.redhat.io:443 does not answer: timed out" if failed else "",
    }


def extras(**changes: Any) -> Extras:
    """What else is known of a mirror."""
    sizes = {
        f"rhosp13/openstack-{name}": Repository(3, 40_000_000 + 1_000_000 * (sum(map(ord, name)) ** 2 % 700))
        for name in REPOSITORIES
    }
    known: dict[str, Any] = {
        "written_at": NOW - 719,
        "written_by": "registry_sync.check",
        "minion": "mirror.example.com",
        "repositories": sizes,
        "size": 9_380_000_000,
        "disk": Disk("/var/lib/registry", 250_000_000_000, 61_000_000_000),
        "certificate_ends": NOW + 203 * DAY,
        "verified": {
            "at": NOW - 4 * DAY,
            "fast": False,
            "whole": 132,
            "broken": 0,
            "repaired": 0,
            "lost": 0,
            "unread": 0,
            "left": 0,
        },
    }
    return Extras(**{**known, **changes})
