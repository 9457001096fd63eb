"""A forward proxy that counts: whole URLs for plain HTTP, CONNECT for everything else.

It looks names up in a table of its own, so a test can use names that no resolver knows.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import select
import socket
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from support.registries import LOOPBACK

CHUNK = 64 * 1024


class ForwardProxy:
    """A proxy on loopback while in `with`.

    `names` says which port of ours stands for a `host:port`; `login` is `user:password`.
    """

    def __init__(self, names: Mapping[str, int] | None = None, *, login: str = "") -> None:
        self.names = dict(names or {})
        self.login = login
        self.seen: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self._server = _Server((LOOPBACK, 0), _Handler, self)
        self.address = f"{LOOPBACK}:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{self.address}"

    def count(self, kind: str) -> int:
        """Return how many requests began so, as in `CONNECT registry.test:443`."""
        return sum(1 for line in self.seen if line.startswith(kind))

    def place_of(self, target: str) -> tuple[str, int]:
        """Return the address that stands for a `host:port`."""
        if target in self.names:
            return LOOPBACK, self.names[target]
        host, _, port = target.rpartition(":")
        return host.strip("[]"), int(port)

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Tell whether a client has shown the login."""
        given = headers.get("Proxy-Authorization", "")
        return not self.login or given == "Basic " + base64.b64encode(self.login.encode()).decode()

    def __enter__(self) -> ForwardProxy:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type, owner: ForwardProxy) -> None:
        self.owner = owner
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: either side may hang up."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_CONNECT(self) -> None:
        if not self._admitted(f"CONNECT {self.path}"):
            return
        self.close_connection = True
        with socket.create_connection(self.server.owner.place_of(self.path)) as behind:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _relay(self.connection, behind)

    def _forward(self) -> None:
        parts = urlsplit(self.path)
        if not self._admitted(f"{self.command} {parts.scheme}://{parts.netloc}{parts.path}"):
            return
        host, port = self.server.owner.place_of(f"{parts.hostname}:{parts.port or 80}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if not name.startswith("Proxy-")}
        behind = http.client.HTTPConnection(host, port, timeout=60)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        behind.request(self.command, target, body or None, headers)
        answer = behind.getresponse()
        content = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _forward  # noqa: N815

    def _admitted(self, line: str) -> bool:
        owner = self.server.owner
        owner.seen.append(line)
        owner.headers.append(dict(self.headers.items()))
        if owner.admits(self.headers):  # type: ignore[arg-type]
            return True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", "Basic")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


def _relay(one: socket.socket, other: socket.socket) -> None:
    across = {one: other, other: one}
    with contextlib.suppress(OSError):
        while True:
            for ready in select.select(list(across), [], [])[0]:
                data = ready.recv(CHUNK)
                if not data:
                    return
                across[ready].sendall(data)
