"""What can go wrong on the side that is written to, as actions of a proxy, and what is left on its disk."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import requests

from support import faults
from support.faults import Action, CutError, PassOn, Request, Response
from support.proxy import FaultProxy

# An upload whose body has more than this is a layer's; configs and manifests are smaller.
LARGER_THAN_A_CONFIG = 200_000
# Far by any measure, on loopback: seconds before each answer.
FAR_SECONDS = 0.03
AN_UPLOAD = r"/blobs/uploads/[0-9a-f-]{36}"


def leftovers(registry: Any) -> list[Path]:
    """Return the bytes of uploads that were begun and neither committed nor cancelled.

    What docker-distribution 2.8 keeps of a cancelled one, `hashstates/sha256/0` of 108 bytes, no client can
    remove; `data` is there as long as the upload is.
    """
    return list(Path(registry.directory).glob("**/_uploads/*/data"))


def bytes_of(line: FaultProxy, digest: str) -> int:
    """Return the bytes of a blob that have crossed a line, however often."""
    return sum(seen.bytes_down for seen in list(line.seen) if digest in seen.request.path)


def gets_of(line: FaultProxy, digest: str) -> list[Request]:
    """Return the requests for a blob's bytes."""
    return [request for request in line.requests("GET blobs") if digest in request.path]


def make_far(line: FaultProxy) -> None:
    """Delay every answer, as a long line does; call it before rules are added, which then win."""
    line.on(None, "", faults.delay(FAR_SECONDS), times=None)


def far(action: Action) -> Action:
    """Do an action at the end of a long line."""
    return faults.both(faults.delay(FAR_SECONDS), action)


class Bodies:
    """A fault of what carries a layer's bytes into a repository, whatever method does; `used` counts them."""

    def __init__(self, line: FaultProxy, repository: str, action: Action, times: int | None) -> None:
        self.used = 0
        self._action = action
        self._times = times
        self._lock = threading.Lock()
        for method in ("PATCH", "PUT"):
            line.on(method, f"/{repository}{AN_UPLOAD}", self._act, times=None)

    def _act(self, request: Request, pass_on: PassOn) -> Response:
        large, body = _is_large(request.body)
        request = replace(request, body=body)
        with self._lock:
            mine = large and (self._times is None or self.used < self._times)
            self.used += mine
        return self._action(request, pass_on) if mine else pass_on(request)


def on_bodies(line: FaultProxy, repository: str, action: Action, *, times: int | None = 1) -> Bodies:
    """Apply an action to the next `times` requests that carry a layer's bytes; None: to all."""
    return Bodies(line, repository, action, times)


def answer_after(status: int, body: bytes = b"") -> Action:
    """Let the registry carry the request out, and answer something else."""

    def act(request: Request, pass_on: PassOn) -> Response:
        for _ in pass_on(request).body:
            pass
        return Response(status, (), [body], len(body))

    return act


def hang_up_within(size: int) -> Action:
    """Reset the connection after `size` bytes of a body of which the registry sees nothing."""

    def act(request: Request, pass_on: PassOn) -> Response:
        come = 0
        for chunk in request.body:
            come += len(chunk)
            if come >= size:
                break
        raise CutError

    return act


def upload_instead(request: Request, pass_on: PassOn) -> Response:
    """Act as a registry that knows no mounts: it begins an upload, as the spec allows."""
    return pass_on(replace(request, path=request.path.split("?")[0]))


def without_range(request: Request, pass_on: PassOn) -> Response:
    """Act as a registry that knows no ranges."""
    headers = tuple(pair for pair in request.headers if pair[0].lower() != "range")
    return pass_on(replace(request, headers=headers))


def lose_the_upload(registry: Any) -> Action:
    """Have the registry lose the upload that a request is about, before it sees the request.

    Others may be beginning: one that is lost between two of its files keeps the second.
    """

    def act(request: Request, pass_on: PassOn) -> Response:
        name = request.path.partition("?")[0].rpartition("/")[2]
        (upload,) = Path(registry.directory).glob(f"**/_uploads/{name}")
        shutil.rmtree(upload)
        return pass_on(request)

    return act


def lose_the_blob(registry: Any, repository: str, digest: str) -> Action:
    """Have the registry lose a blob, as a garbage collection does, before it sees the request."""

    def act(request: Request, pass_on: PassOn) -> Response:
        delete_blob(registry, repository, digest)
        return pass_on(request)

    return act


def delete_blob(registry: Any, repository: str, digest: str) -> None:
    """Delete a blob from one repository."""
    with requests.Session() as session:
        session.trust_env = False
        session.delete(f"{registry.url}/v2/{repository}/blobs/{digest}").raise_for_status()


def spec_error(code: str, detail: Any = None) -> bytes:
    """Return an error's body as the distribution-spec has it."""
    return json.dumps({"errors": [{"code": code, "message": "said a proxy", "detail": detail}]}).encode()


def _is_large(body: Iterable[bytes]) -> tuple[bool, Iterator[bytes]]:
    stream, head, size = iter(body), [], 0
    for chunk in stream:
        head.append(chunk)
        size += len(chunk)
        if size > LARGER_THAN_A_CONFIG:
            break
    return size > LARGER_THAN_A_CONFIG, chain(head, stream)
