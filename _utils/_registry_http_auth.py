"""How we answer when a registry asks who we are: Basic, and Bearer with a token server.

- https://distribution.github.io/distribution/spec/auth/token/
- https://distribution.github.io/distribution/spec/auth/oauth/
- https://www.rfc-editor.org/rfc/rfc9110#section-11
"""

from __future__ import annotations

import copy
import json
import logging
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode, urlsplit

from _registry_http_credentials import Credentials, Keyring
from _registry_http_endpoint import Endpoint
from _registry_http_limits import retry_after
from _registry_http_pools import is_loopback, origin_of
from _registry_http_transport import AGENT, Answer, Http
from _registry_oci_errors import RateLimited, RegistryError, Unauthorized, Unreachable, Untrusted

# What a token lives where its server does not say; given by the token specification.
TOKEN_SECONDS = 60.0
LONGEST_TOKEN_SECONDS = 86400.0
# Renewed a little early, so that it does not end on the way.
TOKEN_MARGIN = 0.85
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

Scopes = tuple[str, ...]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Challenge:
    """One way in which a registry wants to be asked.

    Args:
        scheme: in lower case.
        parameters: names in lower case.
    """

    scheme: str
    parameters: Mapping[str, str]


def read_challenges(header: str) -> list[Challenge]:
    """The challenges of a WWW-Authenticate header; several headers are joined by commas."""
    found: list[tuple[str, dict[str, str]]] = []
    for match in _CHALLENGE_PART.finditer(header[:_CHALLENGE_LIMIT]):
        if match["scheme"]:
            found.append((match["scheme"].lower(), {}))
        elif found:
            value = re.sub(r"\\(.)", r"\1", match["quoted"]) if match["bare"] is None else match["bare"]
            found[-1][1].setdefault(match["name"].lower(), value)
    return [Challenge(scheme, parameters) for scheme, parameters in found]


_CHALLENGE_LIMIT = 4096
_CHALLENGE_PART = re.compile(
    r"""(?<![\w-])(?P<name>[\w-]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s,"]+))"""
    r"""|(?<![\w-])(?P<scheme>[A-Za-z][\w-]*)(?=\s|,|$)"""
)


@dataclass
class _Slot:
    """The token for some scopes, and who is fetching it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    token: str = field(default="", repr=False)
    ends: float = 0.0
    fetched: int = 0
    failure: RegistryError | None = None
    # The registry's own name for what we want, where it differs from ours.
    renamed: Scopes = ()


class Authorizer:
    """Remembers how one registry wants to be asked, and the tokens it gave.

    Args:
        endpoint: the registry.
        keyring: who we are there.
        http: how its token server is reached.
    """

    def __init__(self, endpoint: Endpoint, keyring: Keyring, http: Http) -> None:
        self._endpoint = endpoint
        self._keyring = keyring
        self._http = http
        self._lock = threading.Lock()
        # How the registry asks at /v2/, and how for some scopes: a challenge holds for its scope alone.
        self._challenge: Challenge | None = None
        self._challenges: dict[Scopes, Challenge] = {}
        self._slots: dict[Scopes, _Slot] = {}
        self._oauth_only = False
        self._warned = False

    def credentials(self, scopes: Scopes) -> Credentials:
        """Who we are for a request.

        Args:
            scopes: what it needs.

        Raises:
            Unauthorized: an auth file or helper that the pillar names is no help.
        """
        return self._keyring.credentials(_repository_of(scopes))

    def header(self, scopes: Scopes) -> dict[str, str]:
        """The Authorization header for a request, as far as the registry has asked for one.

        Args:
            scopes: what the request needs, e.g. ``repository:rhosp13/openstack-cron:pull``.

        Raises:
            Unauthorized: the token server refuses.
            RateLimited: it asks for a slower pace.
            Unreachable: it does not answer.
            Untrusted: it is none that a password may be sent to.
        """
        challenge = self._challenges.get(scopes, self._challenge)
        if challenge is None:
            return {}
        credentials = self.credentials(scopes)
        self._warn_of_plain_text(credentials)
        if challenge.scheme == "basic":
            value = credentials.basic
        else:
            value = f"Bearer {credentials.login.bearer or self._token(challenge, credentials, scopes)}"
        return {"Authorization": value} if value else {}

    def challenged(self, header: str, scopes: Scopes, sent: Mapping[str, str]) -> bool:
        """Take in a 401 of the registry itself.

        Args:
            header: its WWW-Authenticate.
            scopes: what the request needs.
            sent: the headers that were refused.

        Returns:
            Whether the request is worth another try.

        Raises:
            Unauthorized: an auth file or helper that the pillar names is no help.
        """
        refused = sent.get("Authorization", "")
        by_scheme = {challenge.scheme: challenge for challenge in reversed(read_challenges(header))}
        challenge = by_scheme.get("bearer") or by_scheme.get("basic")
        if challenge is None:
            return False
        if not scopes:
            self._challenge = challenge
        self._challenges[scopes] = challenge
        credentials = self.credentials(scopes)
        if challenge.scheme == "basic":
            return credentials.basic not in ("", refused)
        if credentials.login.bearer:
            return refused != f"Bearer {credentials.login.bearer}"
        self._forget(refused, scopes, challenge)
        return True

    def _forget(self, refused: str, scopes: Scopes, challenge: Challenge) -> None:
        """Never use a refused token again: it may have ended on the way, or be for something else."""
        slot = self._slot(scopes)
        with slot.lock:
            if not refused or refused != f"Bearer {slot.token}":
                return
            slot.ends = 0.0
            named = challenge.parameters.get("scope", "").split()
            slot.renamed = tuple(scope for scope in named if _is_no_wider(scope, scopes))

    def _token(self, challenge: Challenge, credentials: Credentials, scopes: Scopes) -> str:
        """A token that has not ended; of all workers that need the same one, the first fetches it."""
        slot = self._slot(scopes)
        seen = slot.fetched
        with slot.lock:
            if time.monotonic() < slot.ends:
                return slot.token
            if slot.failure and slot.fetched != seen:
                # Somebody asked while we waited: asking once more is for the next try.
                raise copy.copy(slot.failure)
            try:
                slot.failure = None
                began = time.monotonic()
                slot.token, seconds = self._fetch(challenge, credentials, (*scopes, *slot.renamed))
                slot.ends = began + seconds * TOKEN_MARGIN
            except RegistryError as failure:
                slot.failure = failure
                raise
            finally:
                slot.fetched += 1
            return slot.token

    def _slot(self, scopes: Scopes) -> _Slot:
        with self._lock:
            return self._slots.setdefault(scopes, _Slot())

    def _fetch(self, challenge: Challenge, credentials: Credentials, scopes: Scopes) -> tuple[str, float]:
        """A fresh token and the seconds it lives."""
        realm = self._checked_realm(challenge.parameters.get("realm", ""))
        service = challenge.parameters.get("service", "")
        login = credentials.login
        if login.identity_token:
            form = {"grant_type": "refresh_token", "refresh_token": login.identity_token}
            answer = self._post(realm, service, scopes, form)
        else:
            answer = self._log_in(realm, service, scopes, credentials)
        if answer.status != 200:
            raise self._refusal(answer, credentials, scopes)
        return self._read_token(answer)

    def _log_in(self, realm: str, service: str, scopes: Scopes, credentials: Credentials) -> Answer:
        if not self._oauth_only:
            answer = self._get(realm, service, scopes, credentials)
            if answer.status not in (404, 405) or not credentials:
                return answer
            self._oauth_only = True
        login = credentials.login
        form = {"grant_type": "password", "username": login.username, "password": login.password}
        return self._post(realm, service, scopes, form)

    def _get(self, realm: str, service: str, scopes: Scopes, credentials: Credentials) -> Answer:
        query = [("service", service)] if service else []
        query += [("scope", scope) for scope in scopes]
        headers = {}
        if credentials.basic:
            query.append(("account", credentials.login.username))
            headers["Authorization"] = credentials.basic
        joint = "&" if urlsplit(realm).query else "?"
        return self._http.ask("GET", f"{realm}{joint}{urlencode(query)}" if query else realm, headers)

    def _post(self, realm: str, service: str, scopes: Scopes, form: Mapping[str, str]) -> Answer:
        fields = {**form, "client_id": AGENT, "service": service, "scope": " ".join(scopes)}
        body = urlencode({name: value for name, value in fields.items() if value}).encode()
        return self._http.ask("POST", realm, {**FORM, "Content-Length": str(len(body))}, body)

    def _checked_realm(self, realm: str) -> str:
        try:
            origin = origin_of(realm)
        except ValueError:
            raise Unauthorized(
                f"{self._endpoint} names no token server in its challenge", side=self._endpoint.side
            ) from None
        if self._endpoint.tls and origin.scheme != "https":
            raise Untrusted(
                f"{self._endpoint} wants to be logged in to over plain HTTP at {origin.name}; refused",
                side=self._endpoint.side,
            )
        return realm

    def _refusal(self, answer: Answer, credentials: Credentials, scopes: Scopes) -> RegistryError:
        server, side = f"{self._endpoint}: its token server", self._endpoint.side
        if answer.status == 429:
            return RateLimited(f"{server} asks for a slower pace", retry_after(answer.headers), side=side)
        if answer.status >= 500 or answer.status == 408:
            return Unreachable(f"{server} answered {answer.status}", retry_after(answer.headers), side=side)
        wanted = _repository_of(scopes)
        hidden = (
            f" for {wanted} ({answer.status}); it may also not exist" if wanted else f" ({answer.status})"
        )
        return Unauthorized(f"{server} refused {credentials}{hidden}", side=side)

    def _read_token(self, answer: Answer) -> tuple[str, float]:
        try:
            document = json.loads(answer.body)
            token = document.get("token") or document.get("access_token")
            seconds = float(document.get("expires_in") or TOKEN_SECONDS)
            age = _age(document.get("issued_at"), answer.headers.get("Date"))
        except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
            token, seconds, age = None, 0.0, 0.0
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
            raise Unreachable(f"{self._endpoint}: its token server gave no token", side=self._endpoint.side)
        if not 0 < seconds <= LONGEST_TOKEN_SECONDS:
            seconds = TOKEN_SECONDS
        return token, max(0.0, seconds - age)

    def _warn_of_plain_text(self, credentials: Credentials) -> None:
        """Tell of logins that stand in files; ``warnings_of`` covers logins from the pillar."""
        told = self._warned or self._endpoint.username or self._endpoint.auth_file
        if told or self._endpoint.tls or not credentials or is_loopback(self._endpoint.host):
            return
        self._warned = True
        log.warning(
            "%s: tls is false, so anybody on the way to it can read the login of %s",
            self._endpoint,
            credentials,
        )


def _age(issued_at: object, now: str | None) -> float:
    """Seconds since a token was issued, by its server's own clock; ours may differ."""
    if not isinstance(issued_at, str) or not now:
        return 0.0
    # Go writes nanoseconds, which Python 3.10 does not read, and Z.
    trimmed = re.sub(r"\.\d+", "", issued_at).replace("Z", "+00:00")
    try:
        return max(0.0, (parsedate_to_datetime(now) - datetime.fromisoformat(trimmed)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _repository_of(scopes: Scopes) -> str:
    """The repository that a request is about; of a mount the one that the blob goes to."""
    kind, _, rest = scopes[0].partition(":") if scopes else ("", "", "")
    return rest.rpartition(":")[0] if kind == "repository" else ""


def _is_no_wider(scope: str, scopes: Scopes) -> bool:
    """Whether a scope names other things than ours but asks for no other actions.

    A proxy in front of a registry may know a repository by a longer name.
    """
    allowed = {action for own in scopes for action in own.rpartition(":")[2].split(",")}
    return scope not in scopes and set(scope.rpartition(":")[2].split(",")) <= allowed
