"""What a request to a registry is, in two words, so that requests can be counted by kind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_ENDPOINTS = (
    (re.compile(r"[?&]mount="), "mounts"),
    (re.compile(r"/blobs/uploads/"), "uploads"),
    (re.compile(r"/blobs/sha(256|512):"), "blobs"),
    (re.compile(r"/manifests/"), "manifests"),
    (re.compile(r"/tags/list"), "tags"),
    (re.compile(r"/v2/_catalog"), "catalog"),
    (re.compile(r"/v2/?$"), "base"),
)
_ACCESS_LOG_LINE = re.compile(
    r'"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/1\.\d" (?P<status>\d{3}) (?P<size>\d+)'
)


@dataclass(frozen=True)
class LoggedRequest:
    """A line of a docker-distribution access log; `size` is the response's body."""

    kind: str
    path: str
    status: int
    size: int


def kind_of(method: str, path: str) -> str:
    """Return for example `HEAD manifests`, `GET blobs`, `POST uploads` or `POST mounts`."""
    endpoint = next((name for pattern, name in _ENDPOINTS if pattern.search(path)), "other")
    return f"{method} {endpoint}"


def read_access_log(lines: Iterable[str]) -> Iterator[LoggedRequest]:
    """Yield the requests of a docker-distribution access log."""
    for line in filter(None, map(_ACCESS_LOG_LINE.search, lines)):
        kind = kind_of(line["method"], line["path"])
        yield LoggedRequest(kind, line["path"], int(line["status"]), int(line["size"]))


def count_access_log(lines: Iterable[str]) -> Counter[str]:
    """Count the requests of a docker-distribution access log by kind."""
    return Counter(request.kind for request in read_access_log(lines))
