"""Many small questions at once: HEAD requests that do not wait for one another's answers.

A request costs little more than what its line is long and its client does around it. Here many go out
together over one connection, and the answers come back in their order, as HTTP/1.1 has it:
https://www.rfc-editor.org/rfc/rfc9112#section-9.3.2

What comes of it is a first look and no more: some servers and proxies do not bear it. Whatever is not a plain
200 with a digest counts as untold, and is asked once more in the ordinary way by whoever needs it, and so
is every answer that is not the one that was hoped for.
"""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import urllib3
from urllib3.exceptions import HTTPError

from _registry_oci_names import is_digest

# Of one connection: what both sides' buffers hold, so that nobody waits for the other to read.
AT_ONCE = 50
# Of the headers of an answer.
LINES = 100
LINE_LIMIT = 16 * 1024


def digests(
    pool: urllib3.HTTPConnectionPool,
    host: str,
    requests: Sequence[tuple[str, Mapping[str, str]]],
    *,
    seconds: float,
) -> list[str]:
    """The ``Docker-Content-Digest`` of each path's answer; empty where that is not plainly told.

    Args:
        pool: of connections to the server itself.
        host: for the requests.
        requests: path and headers of each.
        seconds: that the server may be silent.
    """
    told: list[str] = []
    try:
        # urllib3 has no other way to its connections.
        connection: Any = pool._get_conn(timeout=seconds)
    except (HTTPError, OSError):
        return [""] * len(requests)
    try:
        if getattr(connection, "sock", None) is None:
            connection.connect()
        connection.sock.settimeout(seconds)
        with connection.sock.makefile("rb") as answers:
            for start in range(0, len(requests), AT_ONCE):
                batch = requests[start : start + AT_ONCE]
                connection.sock.sendall(b"".join(_head(host, path, headers) for path, headers in batch))
                for _ in batch:
                    told.append(_digest(answers))
    except (HTTPError, OSError, ValueError, http.client.HTTPException):
        connection.close()
    finally:
        with contextlib.suppress(HTTPError):
            pool._put_conn(connection)
    return told + [""] * (len(requests) - len(told))


def _head(host: str, path: str, headers: Mapping[str, str]) -> bytes:
    lines = [
        f"HEAD {path} HTTP/1.1",
        f"Host: {host}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line break in a request")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _digest(answers: BinaryIO) -> str:
    """The digest that the next answer tells.

    Raises:
        ValueError: it ends the connection, or is no answer: nothing that follows can be told.
    """
    status = answers.readline(LINE_LIMIT)
    if not status.startswith(b"HTTP/1.1 "):
        raise ValueError("no answer")
    digest = ""
    for _ in range(LINES):
        line = answers.readline(LINE_LIMIT)
        name, _, value = line.partition(b":")
        if line == b"\r\n":
            return digest if status[9:12] == b"200" and is_digest(digest) else ""
        if name.lower() == b"docker-content-digest":
            digest = value.strip().decode("latin-1")
        is_last = name.lower() == b"connection" and b"close" in value.lower()
        if is_last or not line.endswith(b"\n"):
            break
    raise ValueError("the end of what can be told")
