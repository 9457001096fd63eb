"""Who we are to a registry, and how we answer when it asks.

Basic and Bearer as in https://distribution.github.io/distribution/spec/auth/token/.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from _registry_errors import Busy, Distrusted, Unauthorized, Unreachable
from _registry_http import Answer, Http, retry_after
from _registry_settings import Endpoint

# What a token lives where its server does not say; given by the token specification.
TOKEN_SECONDS = 60
# Renewed a little early, so that it does not end on the way.
TOKEN_MARGIN = 0.85


@dataclass(frozen=True)
class Credentials:
    """A user of one registry; without a name it is nobody."""

    username: str = ""
    password: str = field(default="", repr=False)
    origin: str = ""

    def __str__(self) -> str:
        if not self.username:
            return "anonymous access"
        return f"user {self.username}" + (f" (from {self.origin})" if self.origin else "")

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()


def find_credentials(endpoint: Endpoint) -> Credentials:
    """What is known about us at this registry.

    Args:
        endpoint: its ``username`` and ``password`` come first, then its ``auth_file``.

    Raises:
        Unauthorized: the auth file cannot be read.
    """
    if endpoint.username:
        return Credentials(endpoint.username, endpoint.password)
    if not endpoint.auth_file:
        return Credentials()
    entry = _entry_for(endpoint, _read_auth_file(endpoint))
    if not entry:
        return Credentials()
    username, _, password = base64.b64decode(entry).decode().partition(":")
    return Credentials(username, password, endpoint.auth_file)


def _read_auth_file(endpoint: Endpoint) -> Mapping[str, Any]:
    try:
        auths = json.loads(Path(endpoint.auth_file).read_text("utf-8")).get("auths", {})
    except (OSError, ValueError, AttributeError) as failure:
        reason = getattr(failure, "strerror", None) or "not a docker or podman auth file"
        raise Unauthorized(f"{endpoint.side} {endpoint.name}: {endpoint.auth_file}: {reason}") from None
    return auths if isinstance(auths, dict) else {}


def _entry_for(endpoint: Endpoint, auths: Mapping[str, Any]) -> str:
    default_port = 443 if endpoint.tls else 80
    names = [endpoint.name, endpoint.host] if endpoint.port == default_port else [endpoint.name]
    for name in names:
        for key in (name, f"https://{name}", f"http://{name}"):
            entry = auths.get(key)
            if isinstance(entry, dict) and isinstance(entry.get("auth"), str):
                return str(entry["auth"])
    return ""


class Authorizer:
    """Remembers how one registry wants to be asked, and the tokens it gave.

    Args:
        endpoint: the registry.
        credentials: who we are there.
        http: how its token server is reached.
    """

    def __init__(self, endpoint: Endpoint, credentials: Credentials, http: Http) -> None:
        self.credentials = credentials
        self._endpoint = endpoint
        self._http = http
        self._lock = threading.Lock()
        self._scheme = ""
        self._bearer: Mapping[str, str] = {}
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}

    def header(self, scopes: tuple[str, ...]) -> dict[str, str]:
        """The Authorization header for a request, as far as the registry has asked for one.

        Args:
            scopes: what the request needs, e.g. ``repository:rhosp13/openstack-cron:pull``.

        Raises:
            Unauthorized: the token server refuses.
            Unreachable: it does not answer.
        """
        if self._scheme == "basic":
            return {"Authorization": self.credentials.basic}
        if self._scheme == "bearer":
            return {"Authorization": f"Bearer {self._token(scopes)}"}
        return {}

    def challenged(self, challenge: str, scopes: tuple[str, ...], sent: Mapping[str, str]) -> bool:
        """Take in a 401.

        Args:
            challenge: its WWW-Authenticate header.
            scopes: what the request needs.
            sent: the header that was refused.

        Returns:
            Whether the request is worth another try.
        """
        with self._lock:
            scheme, _, rest = challenge.strip().partition(" ")
            scheme = scheme.lower()
            if scheme == "bearer":
                self._bearer = _parameters(rest)
                # The one that was refused may have ended on the way: never use it again.
                token, _ = self._tokens.get(scopes, ("", 0.0))
                if sent.get("Authorization") == f"Bearer {token}":
                    self._tokens.pop(scopes, None)
            elif (
                scheme != "basic"
                or not self.credentials.username
                or sent.get("Authorization") == self.credentials.basic
            ):
                return False
            self._scheme = scheme
            return True

    def _token(self, scopes: tuple[str, ...]) -> str:
        with self._lock:
            token, ends = self._tokens.get(scopes, ("", 0.0))
        if time.monotonic() < ends:
            return token
        token, seconds = self._fetch_token(scopes)
        with self._lock:
            self._tokens[scopes] = (token, time.monotonic() + seconds * TOKEN_MARGIN)
        return token

    def _fetch_token(self, scopes: tuple[str, ...]) -> tuple[str, float]:
        realm = self._bearer.get("realm", "")
        self._check_realm(realm)
        query: list[tuple[str, str]] = [("scope", scope) for scope in scopes]
        if self._bearer.get("service"):
            query.insert(0, ("service", self._bearer["service"]))
        headers = {}
        if self.credentials.username:
            query.append(("account", self.credentials.username))
            headers["Authorization"] = self.credentials.basic
        joint = "&" if urlsplit(realm).query else "?"
        return self._read_token(self._http.ask("GET", f"{realm}{joint}{urlencode(query)}", headers))

    def _check_realm(self, realm: str) -> None:
        parts = urlsplit(realm)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unauthorized(f"{self._who} names no token server in its challenge")
        if self._endpoint.tls and parts.scheme != "https":
            raise Distrusted(f"{self._who} wants its password sent over plain HTTP; refused")

    def _read_token(self, answer: Answer) -> tuple[str, float]:
        if answer.status in (400, 401, 403, 404):
            raise Unauthorized(f"{self._who}: its token server refused {self.credentials}")
        if answer.status == 429:
            raise Busy(f"{self._who}: its token server is busy", retry_after(answer.headers))
        if answer.status != 200:
            raise Unreachable(f"{self._who}: its token server answered {answer.status}")
        try:
            document = json.loads(answer.body)
            token = document.get("token") or document.get("access_token")
            seconds = float(document.get("expires_in") or TOKEN_SECONDS)
        except (ValueError, TypeError, AttributeError):
            token, seconds = None, 0.0
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
            raise Unreachable(f"{self._who}: its token server gave no token")
        return token, seconds

    @property
    def _who(self) -> str:
        return f"{self._endpoint.side} {self._endpoint.name}"


def _parameters(text: str) -> dict[str, str]:
    """The parameters of a challenge: ``realm="…",service="…"``."""
    pairs = re.findall(r'([a-zA-Z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))', text)
    return {name.lower(): quoted or bare for name, quoted, bare in pairs}
