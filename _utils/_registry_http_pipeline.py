"""Many small questions at once: HEAD requests that do not wait for one another's answers.

A request costs little more than what its line is long and its client does around it. Here many go out
together over one connection, and the answers come back in their order, as HTTP/1.1 has it:
https://www.rfc-editor.org/rfc/rfc9112#section-9.3.2

What comes of it is a first look and no more: some servers and proxies do not bear it. Whatever is not a plain
200 with a digest counts as untold, and is asked once more in the ordinary way by whoever needs it, and so
is every answer that is not the one that was hoped for. A server that asks for a slower pace, or for a login,
is asked nothing more here.
"""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import urllib3
from urllib3.exceptions import HTTPError

from _registry_oci_manifest import Descriptor
from _registry_oci_names import is_digest

# Of one connection: what both sides' buffers hold, so that nobody waits for the other to read.
AT_ONCE = 50
# Of the headers of an answer.
LINES = 100
LINE_LIMIT = 16 * 1024
# From one answer to the next, of requests that were sent together.
NEXT_ANSWER_SECONDS = 5.0
# What follows would be answered so, too.
ENOUGH = (b"401", b"403", b"429", b"500", b"502", b"503", b"504")


def heads(
    pool: urllib3.HTTPConnectionPool,
    host: str,
    requests: Sequence[tuple[str, Mapping[str, str]]],
    *,
    seconds: float,
) -> list[Descriptor | None]:
    """What each path's answer says of a manifest; None where it does not plainly tell its digest.

    Args:
        pool: of connections to the server itself.
        host: for the requests.
        requests: path and headers of each.
        seconds: that the server may be silent.
    """
    told: list[Descriptor | None] = []
    try:
        # urllib3 has no other way to its connections.
        connection: Any = pool._get_conn(timeout=seconds)
    except (HTTPError, OSError):
        return [None] * len(requests)
    try:
        if getattr(connection, "sock", None) is None:
            connection.connect()
        with connection.sock.makefile("rb") as answers:
            for start in range(0, len(requests), AT_ONCE):
                batch = requests[start : start + AT_ONCE]
                connection.sock.settimeout(seconds)
                connection.sock.sendall(b"".join(_head(host, path, headers) for path, headers in batch))
                goes_on = _read(answers, 1, told)
                # Some servers throw away what has come behind the first.
                connection.sock.settimeout(min(seconds, NEXT_ANSWER_SECONDS))
                if not _read(answers, len(batch) - 1, told) or not goes_on:
                    break
    except (HTTPError, OSError, ValueError, http.client.HTTPException):
        connection.close()
    finally:
        with contextlib.suppress(HTTPError):
            pool._put_conn(connection)
    return told + [None] * (len(requests) - len(told))


def _head(host: str, path: str, headers: Mapping[str, str]) -> bytes:
    lines = [
        f"HEAD {path} HTTP/1.1",
        f"Host: {host}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line break in a request")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _read(answers: BinaryIO, count: int, told: list[Descriptor | None]) -> bool:
    """Add what so many answers tell; whether it is worth asking on.

    Raises:
        ValueError: one ends the connection, or is no answer: nothing that follows can be told.
    """
    goes_on = True
    for _ in range(count):
        status, headers = _answer(answers)
        digest = headers.get(b"docker-content-digest", "")
        told.append(_descriptor(digest, headers) if status == b"200" and is_digest(digest) else None)
        goes_on = goes_on and status not in ENOUGH
    return goes_on


def _answer(answers: BinaryIO) -> tuple[bytes, dict[bytes, str]]:
    """Status and headers of the next answer.

    Raises:
        ValueError: it is none, or the last one.
    """
    status = answers.readline(LINE_LIMIT)
    if not status.startswith(b"HTTP/1.1 "):
        raise ValueError("no answer")
    headers: dict[bytes, str] = {}
    for _ in range(LINES):
        line = answers.readline(LINE_LIMIT)
        if line == b"\r\n":
            if "close" in headers.get(b"connection", "").lower():
                break
            return status[9:12], headers
        if not line.endswith(b"\n"):
            break
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip().decode("latin-1")
    raise ValueError("the end of what can be told")


def _descriptor(digest: str, headers: Mapping[bytes, str]) -> Descriptor:
    length = headers.get(b"content-length", "")
    kind = headers.get(b"content-type", "").split(";")[0].strip()
    return Descriptor(digest, int(length) if length.isdigit() else 0, kind)
