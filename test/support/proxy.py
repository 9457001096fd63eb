"""A hostile line: an HTTP proxy in front of a real registry that counts requests and spoils some.

    with FaultProxy(upstream.url) as proxy:
        proxy.on("GET", r"/blobs/", cut_after(1000), times=2)
        ...
        assert proxy.count("GET blobs") == 3

Requests keep their Host, so a registry that answers absolute Locations names the proxy in them.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from io import BufferedIOBase
from typing import Any
from urllib.parse import urlsplit

from support.faults import Action, CutError, Headers, Request, Response, header_of, swallow
from support.registries import LOOPBACK, host_and_port

CHUNK = 64 * 1024
# Hop-by-hop headers and those that say how long a body is: each side of the proxy sets its own.
OWN_HEADERS = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Seen:
    """A request the proxy has handled, and how it went."""

    request: Request
    status: int | None = None
    bytes_up: int = 0
    bytes_down: int = 0
    cut: bool = False

    @property
    def kind(self) -> str:
        """For example `HEAD manifests`."""
        return self.request.kind


@dataclass
class Rule:
    """To which requests an action applies; `used` says to how many it did."""

    method: str | None
    path: re.Pattern[str]
    action: Action
    times: int | None
    skip: int
    used: int = 0

    def applies_to(self, request: Request) -> bool:
        """Decide, and keep count."""
        if self.method not in (None, request.method) or not self.path.search(request.path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None and self.used >= self.times:
            return False
        self.used += 1
        return True


class FaultProxy:
    """An HTTP proxy in front of `upstream` (its URL) while in `with`; connect to `.url` instead."""

    def __init__(self, upstream: str, *, host: str = LOOPBACK, port: int = 0) -> None:
        self.upstream = urlsplit(upstream)
        self.seen: list[Seen] = []
        self.connections = 0
        self.most_at_once = 0
        self.errors: list[BaseException] = []
        self._at_once = 0
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._server = _Server((host, port), self)
        self.host, self.port = self._server.server_address[:2]

    @property
    def address(self) -> str:
        """`host:port`."""
        return host_and_port(str(self.host), int(self.port))

    @property
    def url(self) -> str:
        """The plain HTTP address."""
        return f"http://{self.address}"

    @property
    def bytes_up(self) -> int:
        """Return the bytes of all request bodies."""
        return sum(seen.bytes_up for seen in self.seen)

    @property
    def bytes_down(self) -> int:
        """Return the bytes of all response bodies."""
        return sum(seen.bytes_down for seen in self.seen)

    def on(
        self,
        method: str | None,
        path: str,
        action: Action,
        *,
        times: int | None = 1,
        skip: int = 0,
    ) -> Rule:
        """Apply an action to the next `times` requests whose path has the pattern; None: to all.

        The first `skip` of them pass untouched. The rule that was added last wins.
        """
        rule = Rule(method, re.compile(path), action, times, skip)
        with self._lock:
            self._rules.insert(0, rule)
        return rule

    def forget_rules(self) -> None:
        """Let everything pass from now on."""
        with self._lock:
            self._rules.clear()

    def forget_seen(self) -> None:
        """Count from zero."""
        with self._lock:
            self.seen.clear()
            self.connections = self.most_at_once = 0

    def counts(self) -> Counter[str]:
        """Count the requests so far by kind."""
        return Counter(seen.kind for seen in list(self.seen))

    def count(self, kind: str) -> int:
        """Return how many requests of a kind there were, as in `HEAD manifests`."""
        return self.counts()[kind]

    def requests(self, kind: str | None = None) -> list[Request]:
        """Return the requests so far, of one kind or all."""
        return [seen.request for seen in list(self.seen) if kind in (None, seen.kind)]

    def __enter__(self) -> FaultProxy:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._server.drop_connections()
        if self.errors:
            raise self.errors[0]

    def action_for(self, request: Request) -> Action | None:
        """Return what is to be done to a request."""
        with self._lock:
            return next((rule.action for rule in self._rules if rule.applies_to(request)), None)

    @contextlib.contextmanager
    def watching(self, request: Request) -> Iterator[Seen]:
        """Record a request while it is handled."""
        seen = Seen(request)
        with self._lock:
            self.seen.append(seen)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            yield seen
        finally:
            with self._lock:
                self._at_once -= 1

    def count_connection(self) -> None:
        """Count one more."""
        with self._lock:
            self.connections += 1


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], proxy: FaultProxy) -> None:
        self.proxy = proxy
        self._open: set[socket.socket] = set()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        # A client may hang up whenever it likes.
        if error is not None and not isinstance(error, OSError | ValueError):
            self.proxy.errors.append(error)


class _Connection(socketserver.StreamRequestHandler):
    """Serve one client connection, with one of our own to the registry."""

    server: _Server
    disable_nagle_algorithm = True

    def handle(self) -> None:
        self.proxy = self.server.proxy
        self.proxy.count_connection()
        self.behind: http.client.HTTPConnection | None = None
        try:
            while (request := self._read_request()) and self._serve(request):
                pass
        except CutError:
            self._reset()
        except _EndOfConnectionError:
            pass
        finally:
            self._hang_up_behind()

    def _serve(self, request: Request) -> bool:
        """Handle a request; return whether another may follow on this connection."""
        with self.proxy.watching(request) as seen:
            counted = replace(request, body=_counted(request.body, seen, "bytes_up"))
            action = self.proxy.action_for(request)
            try:
                response = action(counted, self._pass_on) if action else self._pass_on(counted)
                seen.status = response.status
                self._send(request, response, seen)
            except CutError:
                seen.cut = True
                raise
            keep = (request.header("Connection") or "").lower() != "close"
            return keep and swallow(counted.body)

    def _read_request(self) -> Request | None:
        line = self.rfile.readline(65537).decode("latin-1").split()
        if len(line) != 3:
            return None
        headers = tuple(http.client.parse_headers(self.rfile).items())
        length = header_of(headers, "Content-Length")
        if "100-continue" in (header_of(headers, "Expect") or ""):
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        chunked = "chunked" in (header_of(headers, "Transfer-Encoding") or "").lower()
        body = _read_chunked(self.rfile) if chunked else _read(self.rfile, int(length or 0))
        return Request(
            method=line[0],
            path=line[1],
            headers=headers,
            body=body,
            length=None if chunked else int(length or 0),
            client=self.client_address[0],
            arrived=time.monotonic(),
        )

    def _pass_on(self, request: Request) -> Response:
        fresh = self.behind is None
        try:
            return self._ask(request)
        except (http.client.RemoteDisconnected, ConnectionError):
            self._hang_up_behind()
            # A kept connection the registry has closed meanwhile is no fault of the line.
            if fresh or request.length != 0:
                raise CutError from None
            return self._ask(request)

    def _ask(self, request: Request) -> Response:
        self.behind = self.behind or self._dial()
        self.behind.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
        for name, value in _without_own(request.headers):
            self.behind.putheader(name, value)
        if request.length is None:
            self.behind.putheader("Transfer-Encoding", "chunked")
        elif request.length or request.method in ("POST", "PUT", "PATCH"):
            self.behind.putheader("Content-Length", str(request.length))
        self.behind.endheaders()
        for chunk in request.body:
            self.behind.send(_framed(chunk) if request.length is None else chunk)
        if request.length is None:
            self.behind.send(b"0\r\n\r\n")
        return _as_response(self.behind.getresponse())

    def _dial(self) -> http.client.HTTPConnection:
        host, port = self.proxy.upstream.hostname or LOOPBACK, self.proxy.upstream.port
        if self.proxy.upstream.scheme == "https":
            unverified = ssl._create_unverified_context()
            return http.client.HTTPSConnection(host, port, timeout=60, context=unverified)
        return http.client.HTTPConnection(host, port, timeout=60)

    def _send(self, request: Request, response: Response, seen: Seen) -> None:
        has_body = request.method != "HEAD" and response.status not in (204, 304)
        head = [f"HTTP/1.1 {response.status} {http.client.responses.get(response.status, '')}"]
        head += [f"{name}: {value}" for name, value in _without_own(response.headers)]
        chunked = response.length is None and has_body
        if response.length is not None:
            head.append(f"Content-Length: {response.length}")
        elif chunked:
            head.append("Transfer-Encoding: chunked")
        self.wfile.write("\r\n".join([*head, "", ""]).encode("latin-1"))
        if not has_body:
            swallow(response.body)
            return
        sent = 0
        for chunk in _counted(response.body, seen, "bytes_down"):
            self.wfile.write(_framed(chunk) if chunked else chunk)
            sent += len(chunk)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        elif sent != response.length:
            # After a lie about the length the client cannot find the next response.
            raise _EndOfConnectionError

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.connection.close()

    def _hang_up_behind(self) -> None:
        if self.behind is not None:
            self.behind.close()
            self.behind = None


class _EndOfConnectionError(Exception):
    pass


def _as_response(response: http.client.HTTPResponse) -> Response:
    length = response.getheader("Content-Length")
    return Response(
        status=response.status,
        headers=tuple(response.getheaders()),
        body=iter(lambda: response.read(CHUNK), b""),
        length=int(length) if length is not None else None,
    )


def _without_own(headers: Headers) -> Iterator[tuple[str, str]]:
    return (pair for pair in headers if pair[0].lower() not in OWN_HEADERS)


def _framed(chunk: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunk else b""


def _read(stream: BufferedIOBase, length: int) -> Iterator[bytes]:
    while length:
        chunk = stream.read1(min(CHUNK, length))
        if not chunk:
            raise CutError
        length -= len(chunk)
        yield chunk


def _read_chunked(stream: BufferedIOBase) -> Iterator[bytes]:
    while size := int(stream.readline().split(b";")[0] or b"0", 16):
        yield from _read(stream, size)
        stream.readline()
    while stream.readline().strip():
        pass


def _counted(body: Iterable[bytes], seen: Seen, counter: str) -> Iterator[bytes]:
    for chunk in body:
        setattr(seen, counter, getattr(seen, counter) + len(chunk))
        yield chunk
