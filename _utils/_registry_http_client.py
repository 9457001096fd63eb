"""Requests to one registry: at its pace, with its authorization, each refusal an error of the tree."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from _registry_http_auth import Authorizer
from _registry_http_credentials import Keyring
from _registry_http_endpoint import Endpoint
from _registry_http_errors import refusal
from _registry_http_limits import allowance
from _registry_http_retry import Pace
from _registry_http_transport import (
    ANSWER_LIMIT,
    ANSWER_SECONDS,
    Answer,
    Http,
    Stream,
    absolute_url,
)
from _registry_oci_errors import RegistryError, Unauthorized, Unreachable, Unsupported, Untrusted
from _registry_oci_manifest import Descriptor

Scopes = tuple[str, ...]


class Client:
    """Requests to one registry.

    Args:
        endpoint: where it is and who we are there.
        pace: how fast it may be asked.
        connections: how many are kept open.
    """

    def __init__(self, endpoint: Endpoint, pace: Pace, *, connections: int = 8) -> None:
        self.endpoint = endpoint
        self.pace = pace
        self._logged_in = False
        self._http = Http(endpoint, connections=connections)
        self._authorizer = Authorizer(endpoint, Keyring(endpoint), self._http)

    def __str__(self) -> str:
        return str(self.endpoint)

    @property
    def distance(self) -> float:
        """Seconds that the fastest answer took: a busy machine is slow now and then, a far one always."""
        return self._http.fastest

    def url(self, path: str) -> str:
        """The address of a path below ``/v2/``."""
        return f"{self.endpoint.url}/v2/{path}"

    def ping(self) -> None:
        """Ask whether this is a registry at all and which authorization it wants; log in where we can.

        https://github.com/opencontainers/distribution-spec/blob/main/spec.md#determining-support

        Raises:
            Unauthorized: our login is refused there.
            RegistryError: it is not reachable, or is something else.
        """
        self.pace.attempt(self._ping, is_pull=False)

    def _ping(self) -> None:
        stream = self._http.open("GET", self.url(""), {})
        if stream.status == 401:
            stream.close()
            self._log_in(stream)
        elif stream.status in (403, 408, 429) or stream.status >= 500:
            raise refusal(stream, self.endpoint, "GET", "/v2/", shown=self._shown(()), by_name=False)
        elif stream.status != 200:
            stream.close()
            raise self.error(Unsupported, f"is no registry: {stream.status} at {self.url('')}")
        else:
            stream.whole(ANSWER_LIMIT)

    def _log_in(self, answer: Stream) -> None:
        """Show our login once, as ``docker login`` does.

        A wrong password is so refused once and not for each image: too many tries lock an account.
        """
        if self._logged_in or not self._challenged(answer, (), {}):
            return
        if self._authorizer.credentials(()):
            self.open("GET", self.url(""), (), "our login").whole(ANSWER_LIMIT)
        self._logged_in = True

    def ask(
        self,
        method: str,
        url: str,
        scopes: Scopes,
        what: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        limit: int = ANSWER_LIMIT,
        is_pull: bool = False,
    ) -> Answer:
        """A request that is tried again where that may help, and its whole answer.

        Raises:
            RegistryError: of the last try.
        """
        return self.pace.attempt(
            lambda: self.open(method, url, scopes, what, headers, body).whole(limit), is_pull=is_pull
        )

    def ask_once(
        self,
        method: str,
        url: str,
        scopes: Scopes,
        what: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        *,
        read_timeout: float = ANSWER_SECONDS,
    ) -> Answer:
        """A request that its caller tries again, and its whole answer.

        Raises:
            RegistryError: it failed.
        """
        return self.pace.once(
            lambda: self.open(method, url, scopes, what, headers, body, read_timeout=read_timeout).whole(
                ANSWER_LIMIT
            ),
            is_pull=False,
        )

    def open(
        self,
        method: str,
        url: str,
        scopes: Scopes,
        what: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        *,
        read_timeout: float = ANSWER_SECONDS,
    ) -> Stream:
        """One request, now, after authorization; every status that is no success is raised.

        Args:
            method: of HTTP.
            url: of this registry.
            scopes: what a token must allow.
            what: is asked for, in messages.
            headers: beside our own.
            body: bytes, or pieces with or without a Content-Length among the headers.
            read_timeout: seconds that the registry may be silent.

        Raises:
            RegistryError: it failed.
        """
        if not self.is_same_origin(url):
            raise self.error(Untrusted, f"{what} lies at another host than its own; refused", ":")
        for last in (False, True):
            known = self._authorizer.header(scopes)
            sent = {**(headers or {}), **known}
            stream = self._http.open(method, url, sent, body, read_timeout=read_timeout)
            self._heed(stream)
            elsewhere = stream.status in (401, 403) and not self.is_same_origin(stream.url)
            # A signed URL that has expired, mostly, in place of which there is a new one.
            again = elsewhere or (stream.status == 401 and self._challenged(stream, scopes, known))
            if last or not again:
                break
            stream.close()
            if not (body is None or isinstance(body, (bytes, list))):
                # What a generator has given cannot be sent again.
                said = f"401 during the upload of {what}; it needs fresh credentials"
                raise self.error(Unreachable, said, ":")
        if stream.status < 300:
            return stream
        if elsewhere:
            stream.close()
            host = urlsplit(stream.url).netloc.rpartition("@")[2]
            said = f"{host}, to which it redirects for {what}, answered {stream.status}"
            raise self.error(Unauthorized, said, ":")
        shown = self._shown(scopes) if stream.status in (401, 403) else ""
        raise refusal(stream, self.endpoint, method, what, shown=shown, by_name=bool(scopes))

    def head_many(
        self, requests: Sequence[tuple[str, Scopes]], headers: Mapping[str, str]
    ) -> list[Descriptor | None]:
        """What is said of manifests, as far as a first look at all of them tells.

        Args:
            requests: URL of each, and what a token must allow.
            headers: of each, beside our own.
        """
        asked: dict[int, tuple[str, Mapping[str, str]]] = {}
        for position, (url, scopes) in enumerate(requests):
            # Whoever asks for this one in the ordinary way is told why, or tries again.
            with contextlib.suppress(RegistryError):
                asked[position] = (url, {**headers, **self._authorizer.header(scopes)})
        told: list[Descriptor | None] = [None] * len(requests)
        found = self.pace.once(lambda: self._http.head_many(list(asked.values())), is_pull=False)
        for position, descriptor in zip(asked, found, strict=True):
            told[position] = descriptor
        return told

    def open_elsewhere(self, url: str, headers: Mapping[str, str]) -> Stream | None:
        """What a store of blobs gives that the registry has redirected to; its signed URLs expire one day."""
        try:
            stream = self._http.open("GET", url, headers)
        except RegistryError:
            return None
        if stream.status in (200, 206):
            return stream
        stream.close()
        return None

    def is_same_origin(self, url: str) -> bool:
        """Whether a URL leads to the registry itself, and not to another scheme, host or port."""
        return self._http.is_same_origin(url)

    def follow(self, base: str, target: str, what: str) -> str:
        """Where a header of the registry leads, if that is the registry itself.

        Raises:
            Untrusted: it leads elsewhere.
        """
        try:
            followed = absolute_url(base, target)
        except ValueError:
            followed = ""
        if not self.is_same_origin(followed):
            raise self.error(Untrusted, f"{what} to another scheme or host than its own; refused")
        return followed

    def error(self, kind: type[RegistryError], said: str, joint: str = "") -> RegistryError:
        """A failure of this registry."""
        return kind(f"{self}{joint} {said}", side=self.endpoint.side)

    def _shown(self, scopes: Scopes) -> str:
        return str(self._authorizer.credentials(scopes))

    def _heed(self, stream: Stream) -> None:
        left = allowance(stream.headers)
        if left is not None:
            self.pace.spread(*left)

    def _challenged(self, answer: Stream, scopes: Scopes, sent: Mapping[str, str]) -> bool:
        """Whether a 401 of the registry is worth another try."""
        challenge = answer.headers.get("WWW-Authenticate", "")
        return self._authorizer.challenged(challenge, scopes, sent)


def pull_scope(repository: str) -> Scopes:
    """What reading a repository needs.

    https://distribution.github.io/distribution/spec/auth/scope/
    """
    return (f"repository:{repository}:pull",)


def push_scope(repository: str) -> Scopes:
    """What writing to a repository needs."""
    return (f"repository:{repository}:pull,push",)


def delete_scope(repository: str) -> Scopes:
    """What forgetting something of a repository needs."""
    return (f"repository:{repository}:delete",)
