"""HTTP as registries need it: pooled connections, bounded bodies, redirects that leak nothing.

urllib3, which Salt brings along with requests, is used directly: requests follows redirects, decodes
and copies bodies in ways that have to be undone here, and costs twice the processor time a request.
Both urllib3 1.26, which Salt 3006 ships, and 2 will do.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import math
import re
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, ProxyError, SSLError
from urllib3.util.ssl_match_hostname import CertificateError

from _registry_http_endpoint import Endpoint
from _registry_http_pipeline import heads
from _registry_http_pools import BLOCK_SIZE, CONNECT_SECONDS, Origin, Route, new_route, origin_of
from _registry_oci_errors import Unreachable, Unsupported, Untrusted
from _registry_oci_manifest import Descriptor

CHUNK = BLOCK_SIZE
ANSWER_LIMIT = 1024 * 1024
ANSWER_SECONDS = 60.0
REDIRECTS = 5
# Hosts to which connections are kept.
ROUTES = 32
# Reading so much costs less than another connection.
WORTH_DRAINING = 64 * 1024
REDIRECT_STATUSES = (301, 302, 303, 307, 308)
AGENT = "salt-docker-registry"

Body = bytes | Iterable[bytes] | None

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """A whole answer: status, headers and a body of bounded length."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    # A signed one opens what it leads to.
    url: str = field(repr=False)


class Stream:
    """An answer whose body is read piece by piece.

    Args:
        response: as urllib3 gives it, not yet read.
        url: where it came from in the end.
        endpoint: the registry, for messages.
    """

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str, endpoint: Endpoint) -> None:
        self.status = response.status
        self.headers = response.headers
        self.url = url
        self._response = response
        self._endpoint = endpoint

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces of at most ``CHUNK`` bytes.

        Raises:
            Unreachable: the line broke.
        """
        try:
            while chunk := self._response.read(CHUNK, decode_content=False):
                yield chunk
        except (HTTPError, OSError) as failure:
            raise self._broken(failure, "a body") from None
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
                    raise Unsupported(
                        f"{self._endpoint}: an answer of more than {limit} bytes", side=self._endpoint.side
                    )
        except (HTTPError, OSError) as failure:
            self._response.close()
            raise self._broken(failure, "an answer") from None
        self._response.release_conn()
        return Answer(self.status, self.headers, b"".join(parts), self.url)

    def _broken(self, failure: Exception, what: str) -> Unreachable:
        said = f"{self._endpoint}: {_reason(failure)} in the middle of {what}"
        return Unreachable(said, side=self._endpoint.side)

    def close(self) -> None:
        """Give the connection back, if what is left to read is little; else close it."""
        left = getattr(self._response, "length_remaining", None)
        if left is not None and left <= WORTH_DRAINING:
            with contextlib.suppress(HTTPError, OSError):
                self._response.read(decode_content=False)
                self._response.release_conn()
                return
        self._response.close()


class Http:
    """Connections to one registry, to its token server and to the hosts that it redirects to.

    Args:
        endpoint: the registry.
        connections: how many are kept open to one host.
    """

    def __init__(self, endpoint: Endpoint, *, connections: int) -> None:
        self._endpoint = endpoint
        self._connections = connections
        self._home = origin_of(endpoint.url)
        self._routes: dict[Origin, Route] = {}
        self._lock = threading.Lock()
        # Seconds from a request to the registry itself until it answered.
        self.fastest = math.inf
        _silence_urllib3()

    def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body = None,
        *,
        limit: int = ANSWER_LIMIT,
        read_timeout: float = ANSWER_SECONDS,
    ) -> Answer:
        """Make a request and read the whole answer.

        Args:
            method: of HTTP.
            url: absolute.
            headers: Authorization among them goes to the host of ``url`` only.
            body: bytes, or pieces with a Content-Length among the headers.
            limit: bytes of an answer's body at most.
            read_timeout: seconds that the other side may be silent.

        Returns:
            The answer, whatever its status.

        Raises:
            Unreachable: no connection, or it broke.
            Untrusted: the certificate does not fit, or a redirect leads where we do not go.
            Unsupported: the answer is longer than the limit.
        """
        return self.open(method, url, headers, body, read_timeout=read_timeout).whole(limit)

    def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body = None,
        *,
        read_timeout: float = ANSWER_SECONDS,
    ) -> Stream:
        """Make a request and follow redirects; the body of the answer is not read yet.

        Raises:
            Unreachable: no connection, or it broke.
            Untrusted: the certificate does not fit, a redirect leads where we do not go, or they do not end.
        """
        sent = dict(headers)
        for hop in range(REDIRECTS + 1):
            stream = self._send(
                method, url, sent, body, read_timeout, signed=hop > 0 or not self.is_same_origin(url)
            )
            target = stream.headers.get("Location", "")
            # Answers to uploads have a Location too; only reads are sent elsewhere.
            if stream.status not in REDIRECT_STATUSES or not target or method not in ("GET", "HEAD"):
                return stream
            stream.close()
            url, sent = self._redirected(url, target, sent)
        raise self._untrusted("redirects without end")

    def head_many(self, requests: Sequence[tuple[str, Mapping[str, str]]]) -> list[Descriptor | None]:
        """What manifests URLs of the registry itself give, as far as a first look tells.

        Args:
            requests: URL and headers of each.

        Returns:
            A descriptor for each, None where it is not told; behind a proxy none is.
        """
        route = self._route(self._home)
        if route.proxy:
            return [None] * len(requests)
        asked = [(urlsplit(url).path, {"User-Agent": AGENT, **headers}) for url, headers in requests]
        return heads(route.pool, self._home.name, asked, seconds=ANSWER_SECONDS)

    def is_same_origin(self, url: str) -> bool:
        """Whether a URL leads to the registry itself, and not to another scheme, host or port."""
        try:
            return origin_of(url) == self._home
        except ValueError:
            return False

    def _redirected(self, url: str, target: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
        """Where to go on: never from https to http, and with credentials only to the same host."""
        before = origin_of(url)
        try:
            target = absolute_url(url, target)
            after = origin_of(target)
        except ValueError:
            raise self._untrusted("redirects to something else than a web address; refused") from None
        if (before.scheme, after.scheme) == ("https", "http"):
            raise self._untrusted(f"redirects from https to plain http at {after.name}; refused")
        if before != after:
            headers = {key: value for key, value in headers.items() if key != "Authorization"}
        return target, headers

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body,
        read_timeout: float,
        *,
        signed: bool,
    ) -> Stream:
        origin, parts = origin_of(url), urlsplit(url)
        route = self._route(origin)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        began = time.monotonic()
        try:
            with _silenced():
                response = route.pool.urlopen(
                    method,
                    url if route.wants_whole_url else path,
                    body=body,
                    headers={"User-Agent": AGENT, **headers},
                    retries=False,
                    redirect=False,
                    # The route is to the host of the URL, or to a proxy.
                    assert_same_host=False,
                    preload_content=False,
                    decode_content=False,
                    # The default of urllib3 2: a body that ends early is a broken line.
                    enforce_content_length=True,
                    timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=read_timeout),
                )
        # Their texts and those of what caused them hold URLs: none is chained.
        except SSLError as failure:
            raise Untrusted(f"{self._at(origin)}: {_tls_reason(failure)}", side=self._side) from None
        except ProxyError as failure:
            said = f"{self._at(origin)}: proxy {route.proxy}: {_reason(failure)}"
            raise Unreachable(said, side=self._side) from None
        except (HTTPError, OSError, ValueError) as failure:
            raise Unreachable(f"{self._at(origin)}: {_reason(failure)}", side=self._side) from None
        if origin == self._home:
            self.fastest = min(self.fastest, time.monotonic() - began)
        # Queries hold states of uploads and signatures, and so may the path that a redirect gave.
        log.debug("%s %s%s: %s", method, origin.url, "/…" if signed else parts.path, response.status)
        return Stream(response, url, self._endpoint)

    @property
    def _side(self) -> str:
        return self._endpoint.side

    def _untrusted(self, what: str) -> Untrusted:
        return Untrusted(f"{self._endpoint}: {what}", side=self._side)

    def _at(self, origin: Origin) -> str:
        return str(self._endpoint) if origin == self._home else f"{self._endpoint}: leads to {origin.name}"

    def _route(self, origin: Origin) -> Route:
        with self._lock:
            if origin not in self._routes:
                self._evict_pool()
                self._routes[origin] = new_route(self._endpoint, origin, connections=self._connections)
            return self._routes[origin]

    def _evict_pool(self) -> None:
        """Keep few: a registry may redirect every blob to a host of its own."""
        if len(self._routes) >= ROUTES:
            oldest = next(origin for origin in self._routes if origin != self._home)
            del self._routes[oldest]


def absolute_url(base: str, target: str) -> str:
    """Where a Location or Link header leads.

    Raises:
        ValueError: to nothing that can be asked.
    """
    parts = urlsplit(target)
    # urljoin would take ``http:///path`` for a path of the same host.
    if parts.scheme and not parts.netloc:
        raise ValueError("no host")
    return urljoin(base, target)


# What urllib3 logs of our requests are whole URLs, and a signed one opens what it leads to. Only what
# it says while one of our requests is under way in the same thread is dropped; `log` above tells of
# the request instead. Other users of urllib3 in the same process keep their lines.
_URLLIB3_LOGGERS = ("urllib3.connection", "urllib3.connectionpool", "urllib3.response", "urllib3.util.retry")
_under_way = threading.local()


class _NotOurs(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(_under_way, "ours", False)


_not_ours = _NotOurs()


def _silence_urllib3() -> None:
    for name in _URLLIB3_LOGGERS:
        # Adding the same filter again does nothing.
        logging.getLogger(name).addFilter(_not_ours)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    # The body of an upload may be read from another request of ours: not to end with that one.
    before = getattr(_under_way, "ours", False)
    _under_way.ours = True
    try:
        yield
    finally:
        _under_way.ours = before


def _innermost(failure: BaseException) -> BaseException:
    """What happened first: urllib3 wraps it, more than once, and trips over things of its own before."""
    chain = [failure]
    while True:
        inner = getattr(chain[-1], "reason", None) or chain[-1].__cause__ or chain[-1].__context__
        if not isinstance(inner, BaseException) or inner in chain:
            break
        chain.append(inner)
    tellable = (OSError, http.client.HTTPException, CertificateError)
    return next((cause for cause in reversed(chain) if isinstance(cause, tellable)), failure)


def _reason(failure: BaseException) -> str:
    """What happened, in words of our own or the system's: urllib3's hold URLs."""
    failure = _innermost(failure)
    if isinstance(failure, TimeoutError):
        return "no answer in time"
    if isinstance(failure, ssl.SSLError):
        return _tls_words(failure)
    if isinstance(failure, OSError) and failure.strerror:
        return failure.strerror.lower()
    if isinstance(failure, (http.client.IncompleteRead, http.client.RemoteDisconnected)):
        return "the connection was closed"
    refusal = re.match(r"Tunnel connection failed: (\d{3})", str(failure))
    if refusal:
        return f"it refused with {refusal[1]}"
    return f"no proper HTTP ({type(failure).__name__})"


def _tls_reason(failure: BaseException) -> str:
    inner = _innermost(failure)
    words = _tls_words(inner)
    if words in ("wrong version number", "http request", "record layer failure"):
        return "does not speak TLS; is it plain HTTP (tls: false)?"
    # An alert is what the other side says.
    if "alert" in words and any(sign in words for sign in ("certificate", "unknown ca", "handshake")):
        return f"wants a certificate of ours, or another one (cert, key): {words}"
    return f"TLS failed: {words}; verify takes the path of a private CA"


def _tls_words(failure: BaseException) -> str:
    if isinstance(failure, CertificateError):
        return "the certificate is for another name"
    said = getattr(failure, "verify_message", "") or getattr(failure, "reason", "") or type(failure).__name__
    return str(said).replace("_", " ").rstrip(".").lower()
