"""Connections to hosts: with which certificates, and through which proxy."""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import certifi
import urllib3

from _registry_http_endpoint import Endpoint
from _registry_oci_errors import Unsupported, Untrusted

# Bytes read and sent at a time: what a cut connection loses at most, and what each worker holds twice.
BLOCK_SIZE = 128 * 1024
_HOST = re.compile(r"[a-z0-9_][a-z0-9._-]*|[0-9a-f.]*:[0-9a-f:.]+(?:%[a-z0-9._-]+)?")
_OLD_URLLIB3 = not hasattr(urllib3, "BaseHTTPResponse")
# https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4
LONGEST_HOST = 255
DEFAULT_PORTS = {"http": 80, "https": 443}
CONNECT_SECONDS = 15.0


class Origin(NamedTuple):
    """Whom a URL leads to; credentials are meant for one of these and no other.

    https://www.rfc-editor.org/rfc/rfc6454#section-4
    """

    scheme: str
    host: str
    port: int

    @property
    def name(self) -> str:
        """``host:port``, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Without a path."""
        return f"{self.scheme}://{self.name}"


def origin_of(url: str) -> Origin:
    """The origin of an absolute HTTP URL.

    Raises:
        ValueError: it is something else.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in DEFAULT_PORTS or len(host) > LONGEST_HOST or not _HOST.fullmatch(host):
        raise ValueError("no HTTP URL")
    return Origin(parts.scheme, host, parts.port or DEFAULT_PORTS[parts.scheme])


@dataclass(frozen=True)
class Route:
    """Connections to one host; a plain-HTTP proxy is asked for whole URLs, not for paths.

    Args:
        pool: the connections.
        proxy: ``host:port`` of the proxy in between; empty = none.
        wants_whole_url: what a request's target has to be.
    """

    pool: urllib3.HTTPConnectionPool
    proxy: str = ""
    wants_whole_url: bool = False


def new_route(endpoint: Endpoint, origin: Origin, *, connections: int) -> Route:
    """Prepare connections on behalf of a registry: to itself, its token server, or where it redirects to.

    Args:
        endpoint: the registry.
        origin: the host to connect to.
        connections: how many are kept open.

    Raises:
        Untrusted: the CA or certificate files of the endpoint are no good.
        Unsupported: the proxy's URL is no good, or it is of another kind than HTTP.
    """
    options: dict[str, Any] = {"maxsize": connections, "blocksize": BLOCK_SIZE}
    if endpoint.socket and origin == origin_of(endpoint.url):
        return Route(_strict(_over_socket(endpoint.socket, origin, options)))
    if origin.scheme == "https":
        options["ssl_context"] = _tls_context(endpoint, origin)
        # urllib3 1.26 writes its own default into the context otherwise.
        options["cert_reqs"] = options["ssl_context"].verify_mode
    proxy = _proxy_for(endpoint, origin)
    if proxy:
        return _route_through(proxy, endpoint, origin, options)
    kind = urllib3.HTTPSConnectionPool if origin.scheme == "https" else urllib3.HTTPConnectionPool
    return Route(_strict(kind(origin.host, origin.port, **options)))


def _over_socket(path: str, origin: Origin, options: Mapping[str, Any]) -> urllib3.HTTPConnectionPool:
    """Connections to a Unix socket; requests name the host as they do over TCP."""

    class Connection(urllib3.connection.HTTPConnection):
        def _new_conn(self) -> socket.socket:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(CONNECT_SECONDS)
            try:
                connection.connect(path)
            except OSError as failure:
                connection.close()
                raise urllib3.exceptions.NewConnectionError(self, str(failure)) from failure
            return connection

    pool = urllib3.HTTPConnectionPool(origin.host, origin.port, **options)
    pool.ConnectionCls = Connection
    return pool


class _StrictResponse(http.client.HTTPResponse):
    """Refuses a chunk of negative size, which Python would take for "all that comes", whatever the limit.

    https://www.rfc-editor.org/rfc/rfc9112#section-7.1
    """

    def _read_next_chunk_size(self) -> int:
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        if size < 0:
            raise http.client.HTTPException("a chunk of negative size")
        return size


def _strict(pool: urllib3.HTTPConnectionPool) -> urllib3.HTTPConnectionPool:
    kind = pool.ConnectionCls
    pool.ConnectionCls = type(kind.__name__, (kind,), {"response_class": _StrictResponse})
    return pool


def _route_through(proxy: str, endpoint: Endpoint, origin: Origin, options: Mapping[str, Any]) -> Route:
    url = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts = urlsplit(url)
        where = origin_of(url)
    except ValueError:
        # A proxy's URL may hold a password: it is never shown.
        raise Unsupported(
            f"{endpoint}: its proxy is not given as http://HOST:PORT", side=endpoint.side
        ) from None
    headers = {}
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = dict(urllib3.make_headers(proxy_basic_auth=pair))
    if _OLD_URLLIB3:
        # Its pools know block sizes, its managers of pools do not.
        options = {name: value for name, value in options.items() if name != "blocksize"}
    manager = urllib3.ProxyManager(
        where.url,
        proxy_headers=headers,
        proxy_ssl_context=_tls_context(endpoint, where) if where.scheme == "https" else None,
        **options,
    )
    pool = manager.connection_from_host(origin.host, origin.port, origin.scheme)
    return Route(_strict(pool), where.name, wants_whole_url=origin.scheme == "http")


def _proxy_for(endpoint: Endpoint, origin: Origin) -> str:
    environment = endpoint.environment
    usual = environment.https_proxy if origin.scheme == "https" else environment.http_proxy
    # As everywhere, a proxy of the environment is not asked for this host itself.
    proxy = endpoint.proxy or ("" if is_loopback(origin.host) else usual)
    return "" if is_direct(origin, environment.no_proxy) else proxy


def is_proxied(endpoint: Endpoint) -> bool:
    """Whether a registry is reached through a proxy, which then is the one that resolves its name."""
    return bool(_proxy_for(endpoint, origin_of(endpoint.url)))


def is_direct(origin: Origin, no_proxy: str) -> bool:
    """Whether a host is to be reached without a proxy.

    Args:
        origin: the host.
        no_proxy: names (which include what is below them), addresses, networks, or ``*``, separated
            by commas; each with or without a port.
    """
    return any(_matches(origin, entry.strip().lower()) for entry in no_proxy.split(","))


def _matches(origin: Origin, entry: str) -> bool:
    if entry in ("", "*"):
        return entry == "*"
    if _is_within(origin.host, entry):
        return True
    port = re.search(r"(?<=[^:]):(\d+)$", entry)
    if port and int(port[1]) != origin.port:
        return False
    name = entry[: port.start()] if port else entry
    name = name.strip("[]").removeprefix("*").lstrip(".")
    return origin.host == name or origin.host.endswith(f".{name}")


def _is_within(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    return _is_within(host, "0.0.0.0/0") or _is_within(host, "::/0")


def is_loopback(host: str) -> bool:
    """Whether a host is the one we run on, so that nothing crosses a network."""
    return host == "localhost" or _is_within(host, "127.0.0.0/8") or _is_within(host, "::1/128")


def _tls_context(endpoint: Endpoint, origin: Origin) -> ssl.SSLContext:
    """How a host has to prove itself, and how we do.

    A CA bundle of the pillar vouches alone for the registry. Where that leads elsewhere, to its token
    server or to a store of blobs, public CAs count too. Our own certificate is for the registry only.
    """
    at_home = origin.host == endpoint.host.lower()
    if endpoint.verify is False:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        bundle = endpoint.verify if isinstance(endpoint.verify, str) else ""
        context = _verifying_context(endpoint, bundle, only_bundle=at_home and bool(bundle))
        if _OLD_URLLIB3 and _is_address(origin.host):
            # It hands no addresses to OpenSSL but compares them with the certificate's by itself.
            context.check_hostname = False
    if endpoint.cert and at_home:
        _add_own_certificate(context, endpoint)
    return context


def _verifying_context(endpoint: Endpoint, bundle: str, *, only_bundle: bool) -> ssl.SSLContext:
    if not only_bundle:
        context = ssl.create_default_context()
        # Salt's own Python may know no system store; a site's CA stands only in that.
        context.load_verify_locations(certifi.where())
    if bundle:
        try:
            _demand_file(bundle)
            if only_bundle:
                return ssl.create_default_context(cafile=bundle)
            context.load_verify_locations(bundle)
        except OSError as failure:
            raise Untrusted(
                f"{endpoint}: verify: {bundle}: {_file_trouble(failure)}", side=endpoint.side
            ) from None
    return context


def _add_own_certificate(context: ssl.SSLContext, endpoint: Endpoint) -> None:
    key = endpoint.key or endpoint.cert
    try:
        _demand_file(endpoint.cert)
        _demand_file(key)
        # A key with a passphrase fails instead of asking a terminal that is not there.
        context.load_cert_chain(endpoint.cert, key, password=lambda: b"")
    except (OSError, ValueError) as failure:
        raise Untrusted(
            f"{endpoint}: cert {endpoint.cert}, key {key}: {_file_trouble(failure)}", side=endpoint.side
        ) from None


def _demand_file(path: str) -> None:
    """Fail with a plain OSError: OpenSSL's own does not say which file is missing."""
    with Path(path).open("rb"):
        pass


def _file_trouble(failure: OSError | ValueError) -> str:
    if isinstance(failure, ssl.SSLError):
        return (failure.reason or "no PEM file").replace("_", " ").lower()
    if isinstance(failure, FileNotFoundError):
        return f"no such file: {failure.filename}" if failure.filename else "no such file"
    strerror = failure.strerror if isinstance(failure, OSError) else ""
    return (strerror or "the key has a passphrase").lower()
