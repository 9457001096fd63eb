"""A registry with the referrers API, which no packaged server has: a real one behind a line that knows.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support.faults import Action, PassOn, Request, Response
from support.images import OCI_INDEX, sha256
from support.proxy import FaultProxy


class ReferrersApi:
    """Has a line tell what refers to manifests that were pushed through it.

    Args:
        line: in front of a registry.
        page: descriptors in an answer; 0 = all.
        filters: whether `artifactType` is heeded, and that is said.
    """

    def __init__(self, line: FaultProxy, *, page: int = 0, filters: bool = True) -> None:
        self.known: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        self._page = page
        self._filters = filters
        line.on("PUT", r"/manifests/", self._put, times=None)
        line.on("GET", r"/referrers/", self._list, times=None)

    def _put(self, request: Request, pass_on: PassOn) -> Response:
        body = b"".join(request.body)
        response = pass_on(
            Request(request.method, request.path, request.headers, [body], len(body), request.client)
        )
        document = json.loads(body)
        subject = document.get("subject")
        if response.status != 201 or not subject:
            return response
        repository = request.path.removeprefix("/v2/").partition("/manifests/")[0]
        config = document.get("config", {}).get("mediaType", "")
        entry = {
            "mediaType": document["mediaType"],
            "digest": sha256(body),
            "size": len(body),
            "artifactType": document.get("artifactType") or config,
            "annotations": document.get("annotations", {}),
        }
        self.known.setdefault((repository, subject["digest"]), {})[entry["digest"]] = entry
        headers = (*response.headers, ("OCI-Subject", subject["digest"]))
        return Response(response.status, headers, response.body, response.length)

    def _list(self, request: Request, pass_on: PassOn) -> Response:
        url = urlsplit(request.path)
        repository, _, digest = url.path.removeprefix("/v2/").partition("/referrers/")
        query = parse_qs(url.query)
        entries = list(self.known.get((repository, digest), {}).values())
        headers = [("Content-Type", OCI_INDEX)]
        if self._filters and "artifactType" in query:
            entries = [entry for entry in entries if entry["artifactType"] in query["artifactType"]]
            headers.append(("OCI-Filters-Applied", "artifactType"))
        start = int(query.get("from", ["0"])[0])
        shown = entries[start : start + self._page] if self._page else entries
        if start + len(shown) < len(entries):
            headers.append(("Link", f'<{url.path}?from={start + len(shown)}>; rel="next"'))
        body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": shown}).encode()
        return Response(200, tuple(headers), [body], len(body))


def no_api(line: FaultProxy, status: int) -> None:
    """Have a line answer as registries do that know no such path."""
    line.on("GET", r"/referrers/", _say(status), times=None)


def _say(status: int) -> Action:
    body = b"404 page not found\n"
    headers = (("Content-Type", "text/plain"),)
    answer: Callable[..., Response] = lambda request, pass_on: Response(status, headers, [body], len(body))  # noqa: E731
    return answer
