"""HTTP as registries need it: pooled connections, bounded bodies, redirects that leak nothing.

urllib3, which Salt brings along with requests, is used directly: requests follows redirects, decodes
and copies bodies in ways that have to be undone here, and costs twice the processor time a request.
"""

from __future__ import annotations

import contextlib
import email.utils
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests.utils
import urllib3
from urllib3.exceptions import HTTPError, SSLError

from _registry_errors import Distrusted, Unreachable, Unsupported
from _registry_settings import Endpoint

# Bytes read at a time: what a cut connection loses at most, and what each worker holds twice.
CHUNK = 256 * 1024
ANSWER_LIMIT = 1024 * 1024
CONNECT_SECONDS = 15.0
ANSWER_SECONDS = 60.0
REDIRECTS = 5
# Reading so much costs less than another connection.
WORTH_DRAINING = 64 * 1024
REDIRECT_STATUSES = (301, 302, 303, 307, 308)
AGENT = "salt-docker-registry"

Body = bytes | Iterable[bytes] | None


@dataclass(frozen=True)
class Answer:
    """A whole answer: status, headers and a body of bounded length."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class Stream:
    """An answer whose body is read piece by piece.

    Args:
        response: as urllib3 gives it, not yet read.
        url: where it came from in the end.
        who: the registry, for messages.
    """

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str, who: str) -> None:
        self.status = response.status
        self.headers = response.headers
        self.url = url
        self._response = response
        self._who = who

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces of at most ``CHUNK`` bytes.

        Raises:
            Unreachable: the line broke.
        """
        try:
            while chunk := self._response.read(CHUNK, decode_content=False):
                yield chunk
        except (HTTPError, OSError) as failure:
            raise Unreachable(f"{self._who}: {_reason(failure)} in the middle of a body") from failure
        finally:
            self.close()

    def whole(self, limit: int) -> Answer:
        """The whole body.

        Args:
            limit: bytes at most.

        Raises:
            Unreachable: the line broke.
            Unsupported: there is more.
        """
        parts: list[bytes] = []
        size = 0
        try:
            # A body of unknown length ends with an empty piece, one of known length with the last byte.
            while chunk := self._response.read(CHUNK, decode_content=False):
                parts.append(chunk)
                size += len(chunk)
                if size > limit:
                    self._response.close()
                    raise Unsupported(f"{self._who}: an answer of more than {limit} bytes")
        except (HTTPError, OSError) as failure:
            self._response.close()
            raise Unreachable(f"{self._who}: {_reason(failure)} in the middle of an answer") from failure
        self._response.release_conn()
        return Answer(self.status, self.headers, b"".join(parts), self.url)

    def close(self) -> None:
        """Give the connection back, if what is left to read is little; else close it."""
        left = getattr(self._response, "length_remaining", None)
        if left is not None and left <= WORTH_DRAINING:
            with contextlib.suppress(HTTPError, OSError):
                self._response.read(decode_content=False)
                self._response.release_conn()
                return
        self._response.close()


@dataclass(frozen=True)
class _Route:
    """Connections to one host; a plain-HTTP proxy is asked for whole URLs, not for paths."""

    pool: urllib3.HTTPConnectionPool
    wants_whole_url: bool = False


class Http:
    """Connections to one registry, to its token server and to the hosts that it redirects to.

    Args:
        endpoint: the registry.
        connections: how many are kept open to one host.
    """

    def __init__(self, endpoint: Endpoint, *, connections: int) -> None:
        self._endpoint = endpoint
        self._connections = connections
        self._routes: dict[tuple[str, str, int], _Route] = {}
        self._lock = threading.Lock()

    def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body = None,
        *,
        limit: int = ANSWER_LIMIT,
        patience: float = ANSWER_SECONDS,
    ) -> Answer:
        """Make a request and read the whole answer.

        Args:
            method: of HTTP.
            url: absolute.
            headers: Authorization among them goes to the host of ``url`` only.
            body: bytes, or pieces with a Content-Length among the headers.
            limit: bytes of an answer's body at most.
            patience: seconds that the other side may be silent.

        Returns:
            The answer, whatever its status.

        Raises:
            Unreachable: no connection, or it broke.
            Unsupported: the answer is longer than the limit.
        """
        return self.open(method, url, headers, body, patience=patience).whole(limit)

    def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body = None,
        *,
        patience: float = ANSWER_SECONDS,
    ) -> Stream:
        """Make a request and follow redirects; the body of the answer is not read yet.

        Raises:
            Unreachable: no connection, it broke, or redirects went astray.
        """
        sent = dict(headers)
        for _ in range(REDIRECTS + 1):
            stream = self._send(method, url, sent, body, patience)
            target = stream.headers.get("Location", "")
            # Answers to uploads have a Location too; only reads are sent elsewhere.
            if stream.status not in REDIRECT_STATUSES or not target or method not in ("GET", "HEAD"):
                return stream
            stream.close()
            url, sent = self._redirected(url, urljoin(url, target), sent)
        raise Unreachable(f"{self._who}: redirects without end")

    def _redirected(self, url: str, target: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
        """Where to go on: never from https to http, and with credentials only to the same host."""
        before, after = urlsplit(url), urlsplit(target)
        if after.scheme not in ("http", "https") or (before.scheme, after.scheme) == (
            "https",
            "http",
        ):
            raise Distrusted(f"{self._who}: redirects from https to {after.scheme or 'nowhere'}; refused")
        if (before.scheme, before.netloc) != (after.scheme, after.netloc):
            headers = {key: value for key, value in headers.items() if key != "Authorization"}
        return target, headers

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: Body, patience: float) -> Stream:
        parts = urlsplit(url)
        route = self._route(parts.scheme, parts.hostname or "", parts.port)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            response = route.pool.urlopen(
                method,
                url if route.wants_whole_url else path,
                body=body,
                headers={"User-Agent": AGENT, **headers},
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=patience),
            )
        except SSLError as failure:
            raise Distrusted(f"{self._who}: {_tls_reason(failure)}") from failure
        except (HTTPError, OSError, ValueError) as failure:
            raise Unreachable(f"{self._who}: {_reason(failure)}") from failure
        return Stream(response, url, self._who)

    @property
    def _who(self) -> str:
        return f"{self._endpoint.side} {self._endpoint.name}"

    def _route(self, scheme: str, host: str, port: int | None) -> _Route:
        key = (scheme, host, port or (443 if scheme == "https" else 80))
        with self._lock:
            if key not in self._routes:
                self._routes[key] = self._new_route(*key)
            return self._routes[key]

    def _new_route(self, scheme: str, host: str, port: int) -> _Route:
        options: dict[str, Any] = {"maxsize": self._connections, "blocksize": CHUNK}
        if scheme == "https":
            options["ssl_context"] = _tls_context(self._endpoint)
        proxy = self._proxy_for(scheme, host, port)
        if proxy:
            manager = urllib3.ProxyManager(proxy, proxy_headers=_proxy_headers(proxy), **options)
            return _Route(manager.connection_from_host(host, port, scheme), scheme == "http")
        if scheme == "https":
            return _Route(urllib3.HTTPSConnectionPool(host, port, **options))
        return _Route(urllib3.HTTPConnectionPool(host, port, **options))

    def _proxy_for(self, scheme: str, host: str, port: int) -> str:
        url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
        if self._endpoint.proxy:
            bypass = requests.utils.should_bypass_proxies(url, no_proxy=None)
            return "" if bypass else self._endpoint.proxy
        proxies = requests.utils.get_environ_proxies(url)
        return proxies.get(scheme) or proxies.get("all") or ""


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a Retry-After header asks for, given as seconds or as a date; 0 without one.

    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    text = headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    bundle = endpoint.verify if isinstance(endpoint.verify, str) else None
    try:
        context = ssl.create_default_context(cafile=bundle)
        if bundle is None:
            # Salt's own Python may know no system store; a site's CA stands only in that.
            context.load_verify_locations(requests.utils.DEFAULT_CA_BUNDLE_PATH)
        if endpoint.verify is False:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if endpoint.cert:
            context.load_cert_chain(endpoint.cert, endpoint.key or None)
    except OSError as failure:
        reason = failure.strerror or failure
        raise Distrusted(f"{endpoint.side} {endpoint.name}: its CA or certificate files: {reason}") from None
    return context


def _proxy_headers(proxy: str) -> dict[str, str]:
    parts = urlsplit(proxy)
    if not parts.username:
        return {}
    return dict(urllib3.make_headers(proxy_basic_auth=f"{parts.username}:{parts.password or ''}"))


def _reason(failure: BaseException) -> str:
    """The innermost reason in plain words: urllib3 wraps it and adds addresses of objects."""
    while True:
        inner = getattr(failure, "reason", None) or failure.__cause__ or failure.__context__
        if not isinstance(inner, BaseException) or inner is failure:
            break
        failure = inner
    if isinstance(failure, TimeoutError):
        return "no answer in time"
    if isinstance(failure, OSError) and failure.strerror:
        return failure.strerror.lower()
    return str(failure).split(">: ")[-1].rstrip(".") or type(failure).__name__


def _tls_reason(failure: BaseException) -> str:
    reason = _reason(failure)
    if "WRONG_VERSION_NUMBER" in str(failure) or "HTTP_REQUEST" in str(failure):
        return "does not speak TLS; is it plain HTTP (tls: false)?"
    return f"the certificate or TLS was refused: {reason}; verify takes the path of a private CA"
