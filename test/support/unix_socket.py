"""A client of a server that listens on a Unix socket."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import requests
import requests.adapters
import urllib3
import urllib3.connection


class _Connection(urllib3.connection.HTTPConnection):
    socket_path = ""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.socket_path)


class _Adapter(requests.adapters.HTTPAdapter):
    def __init__(self, path: str) -> None:
        connection = type("Connection", (_Connection,), {"socket_path": path})
        pool = type("Pool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": connection})
        self._pool = pool("push", maxsize=4)
        super().__init__()

    def get_connection_with_tls_context(self, *arguments: Any, **keywords: Any) -> Any:
        return self._pool

    def get_connection(self, *arguments: Any, **keywords: Any) -> Any:
        return self._pool

    def close(self) -> None:
        self._pool.close()
        super().close()


def session_to(path: Path) -> requests.Session:
    """Return a session whose every http URL leads to a socket."""
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", _Adapter(str(path)))
    return session
