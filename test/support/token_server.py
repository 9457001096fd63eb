"""A token server for docker-distribution: it counts requests and may be unkind.

https://distribution.github.io/distribution/spec/auth/token/ and …/oauth/
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt

from support.pki import Authority, Pair
from support.registries import LOOPBACK

SERVICE = "registry of a test"
ISSUER = "token server of a test"


@dataclass(frozen=True)
class TokenRequest:
    """What was asked for."""

    method: str
    scopes: tuple[str, ...]
    user: str
    fields: Mapping[str, list[str]] = field(repr=False)


@dataclass
class Behaviour:
    """What the server does; a test may change it at any time."""

    # What clients are told.
    seconds: float = 300
    # What the registry, which grants 60 s of leeway, goes by: one a token, the last one for all others.
    ends_in: list[int] = field(default_factory=lambda: [300])
    knows_get: bool = True
    # Statuses to answer with instead, one a request, and their headers.
    failures: list[int] = field(default_factory=list)
    failure_headers: Mapping[str, str] = field(default_factory=dict)
    pause: float = 0.0
    anonymous_pull: bool = False


class TokenServer:
    """Grants everything to `users` (name → password) and `identity_tokens` while in `with`."""

    def __init__(
        self,
        authority: Authority,
        directory: Path,
        *,
        users: Mapping[str, str],
        identity_tokens: tuple[str, ...] = (),
        tls: Pair | None = None,
        host: str = LOOPBACK,
    ) -> None:
        self.users = users
        self.identity_tokens = identity_tokens
        self.behaviour = Behaviour()
        self.requests: list[TokenRequest] = []
        self.tokens: list[str] = []
        self.at_once = self.most_at_once = 0
        self._authority = authority
        self._signer = authority.issue(f"signer-{uuid.uuid4().hex[:8]}")
        self._key = self._signer.key.read_bytes()
        self._lock = threading.Lock()
        self._server = _Server((host, 0), _Handler, self)
        self._scheme = "https" if tls else "http"
        self.host, self.port = host, self._server.server_address[1]
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def url(self) -> str:
        """What a registry names as realm."""
        return f"{self._scheme}://{self.host}:{self.port}/token"

    def registry_config(self) -> dict[str, Any]:
        """Return what makes a docker-distribution ask for our tokens."""
        return {
            "auth": {
                "token": {
                    "realm": self.url,
                    "service": SERVICE,
                    "issuer": ISSUER,
                    "rootcertbundle": str(self._authority.bundle),
                }
            }
        }

    def count(self, *scopes: str) -> int:
        """Return how many requests there were, with these scopes or at all."""
        return sum(1 for request in self.requests if not scopes or request.scopes == scopes)

    def session_headers(self, *scopes: str) -> dict[str, str]:
        """Return headers with which a test may do as it likes."""
        return {"Authorization": f"Bearer {self.sign(list(scopes), 'test')}"}

    def sign(self, scopes: list[str], user: str) -> str:
        """Return a token."""
        now = int(time.time())
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        claims = {
            "iss": ISSUER,
            "sub": user,
            "aud": SERVICE,
            "exp": now + self._next_end(),
            "nbf": now - 600,
            "iat": now,
            "jti": uuid.uuid4().hex,
            "access": access,
        }
        chain = [base64.b64encode(self._signer.der).decode()]
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"x5c": chain})

    def answer(self, request: TokenRequest, password: str) -> tuple[int, dict[str, Any]]:
        """Return status and document for a request."""
        with self._lock:
            self.requests.append(request)
            failure = self.behaviour.failures.pop(0) if self.behaviour.failures else None
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            time.sleep(self.behaviour.pause)
            if failure:
                return failure, {"details": "a failure for the test"}
            if request.method == "GET" and not self.behaviour.knows_get:
                return 405, {}
            if not self._knows(request, password):
                return 401, {"details": "incorrect username or password"}
            token = self.sign(list(request.scopes), request.user)
            self.tokens.append(token)
            name = "token" if request.method == "GET" else "access_token"
            return 200, {name: token, "expires_in": self.behaviour.seconds}
        finally:
            with self._lock:
                self.at_once -= 1

    def _next_end(self) -> int:
        with self._lock:
            ends = self.behaviour.ends_in
            return ends.pop(0) if len(ends) > 1 else ends[0]

    def _knows(self, request: TokenRequest, password: str) -> bool:
        if request.fields.get("grant_type") == ["refresh_token"]:
            return request.fields["refresh_token"][0] in self.identity_tokens
        if not request.user:
            return self.behaviour.anonymous_pull and all(scope.endswith(":pull") for scope in request.scopes)
        return self.users.get(request.user) == password

    def __enter__(self) -> TokenServer:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type, owner: TokenServer) -> None:
        self.owner = owner
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that refuse our certificate are what some tests want."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        fields = parse_qs(urlsplit(self.path).query)
        user, password = self._basic()
        self._reply("GET", tuple(fields.get("scope", ())), user, password, fields)

    def do_POST(self) -> None:
        fields = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        user = fields.get("username", [""])[0]
        password = fields.get("password", [""])[0]
        self._reply("POST", tuple(fields.get("scope", [""])[0].split()), user, password, fields)

    def _reply(
        self, method: str, scopes: tuple[str, ...], user: str, password: str, fields: Mapping[str, list[str]]
    ) -> None:
        owner = self.server.owner
        status, document = owner.answer(TokenRequest(method, scopes, user, fields), password)
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in (owner.behaviour.failure_headers if status != 200 else {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _basic(self) -> tuple[str, str]:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind != "Basic":
            return "", ""
        user, _, password = base64.b64decode(value).decode().partition(":")
        return user, password

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""
