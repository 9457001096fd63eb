"""HTTP against servers that say exactly what a test tells them, byte for byte."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time

import pytest

from _registry_http_endpoint import Endpoint
from _registry_http_environment import Environment
from _registry_http_limits import allowance, retry_after
from _registry_http_pools import Origin, is_direct, new_route, origin_of
from _registry_http_transport import Http
from _registry_oci_errors import Unreachable, Unsupported, Untrusted

LOOPBACK = "127.0.0.1"


class RawServer:
    """Answers each connection with the next of some scripts, the last one over and over."""

    def __init__(self, *scripts, close=True):
        self.scripts = list(scripts)
        self.heard = []
        self._close = close
        self._socket = socket.create_server((LOOPBACK, 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://{LOOPBACK}:{self.port}"

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                threading.Thread(target=self._answer, args=(connection, script), daemon=True).start()

    def _answer(self, connection, script):
        with connection, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and (data := connection.recv(65536)):
                head += data
            self.heard.append(head.decode("latin-1"))
            for piece in [script] if isinstance(script, bytes) else script:
                connection.sendall(piece)

    def __enter__(self):
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def answer(status=200, body=b"", **headers):
    lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def http_for(server, **others):
    return Http(Endpoint("upstream", LOOPBACK, server.port, tls=False, **others), connections=2)


def get(server, path="/v2/", headers=None, **options):
    return http_for(server).ask("GET", server.url + path, headers or {}, **options)


def test_an_answer_is_read_whole():
    with RawServer(answer(200, b"hello", X_Y="z")) as server:
        found = get(server)
        assert (found.status, found.body, found.headers["x-y"]) == (200, b"hello", "z")


# What must be bounded.


def test_a_body_has_a_limit_whatever_it_claims():
    endless = [b"HTTP/1.1 200 x\r\nConnection: close\r\n\r\n", *[b"x" * 65536] * 100]
    with RawServer(endless) as server, pytest.raises(Unsupported, match="more than 100000 bytes"):
        get(server, limit=100_000)


@pytest.mark.parametrize(
    "head",
    [
        b"".join(b"X-%d: y\r\n" % number for number in range(200)),
        b"X: " + b"y" * 100_000 + b"\r\n",
    ],
)
def test_headers_have_limits(head):
    with RawServer(b"HTTP/1.1 200 x\r\n" + head + b"\r\n") as server, pytest.raises(Unreachable) as caught:
        get(server)
    assert "no proper HTTP" in str(caught.value)


@pytest.mark.parametrize(
    "script",
    [
        b"",
        b"\r\n",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 abc x\r\n\r\n",
        b"\x00" * 1000,
        b"HTTP/1.1 200 x\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab",
    ],
)
def test_what_is_no_answer_is_one_sentence(script):
    with RawServer(script) as server, pytest.raises(Unreachable) as caught:
        get(server, "/v2/?secret=hunter2")
    said = str(caught.value)
    assert said.startswith(f"upstream {LOOPBACK}:{server.port}: ")
    assert "\n" not in said
    assert "0x" not in said
    assert "hunter2" not in said


def test_a_silent_server_is_left():
    with RawServer([]) as server:
        server.scripts = [iter(lambda: time.sleep(5) or b"", None)]
        began = time.monotonic()
        with pytest.raises(Unreachable, match="no answer in time"):
            get(server, read_timeout=0.3)
        assert time.monotonic() - began < 3


def test_compressed_bodies_are_not_unpacked():
    with RawServer(answer(200, b"\x1f\x8b not gzip", Content_Encoding="gzip")) as server:
        assert get(server).body == b"\x1f\x8b not gzip"
        assert "Accept-Encoding: identity" in server.heard[0]


# Redirects.

SECRET = {"Authorization": "Basic hunter2", "Range": "bytes=5-"}


def test_a_redirect_to_the_same_host_keeps_authorization():
    with RawServer(answer(307, Location="/elsewhere?x=1"), answer(200, b"there")) as server:
        assert get(server, headers=SECRET).body == b"there"
        assert server.heard[1].startswith("GET /elsewhere?x=1 ")
        assert "Authorization: Basic hunter2" in server.heard[1]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_port_loses_it_and_never_finds_it_again(status):
    with RawServer(answer()) as other, RawServer(answer()) as home:
        home.scripts = [answer(status, Location=f"{other.url}/x"), answer(200, b"back")]
        other.scripts = [answer(status, Location=f"{home.url}/y")]
        assert get(home, headers=SECRET).body == b"back"
        for heard in (*other.heard, home.heard[1]):
            assert "hunter2" not in heard
            assert "Range: bytes=5-" in heard


def test_user_info_in_a_redirect_is_not_sent():
    with RawServer(answer()) as server:
        server.scripts = [answer(307, Location=f"http://u:p@{LOOPBACK}:{server.port}/x"), answer()]
        assert get(server).status == 200
        assert "Authorization" not in server.heard[1]


def test_redirects_to_ever_new_hosts_are_not_kept_for_ever():
    with RawServer(answer()) as server:
        http = http_for(server)
        for number in range(1, 100):
            with contextlib.suppress(Unreachable):
                server.scripts = [answer(307, Location=f"http://127.0.0.{number}:9/"), answer()]
                http.ask("GET", server.url, {})
        assert len(http._routes) <= 32
        assert http.ask("GET", server.url, {}).status == 200


def test_redirects_end():
    with RawServer(answer(307, Location="/again")) as server:
        with pytest.raises(Untrusted, match="redirects without end"):
            get(server)
        assert len(server.heard) == 6


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_only_reads_follow_redirects(method):
    with RawServer(answer(307, Location="/x"), answer()) as server:
        body = None if method == "DELETE" else b"secret"
        assert http_for(server).ask(method, server.url + "/v2/", {}, body).status == 307
        assert len(server.heard) == 1


@pytest.mark.parametrize(
    "target", ["http://a b/", "http://\x01/", "ht!tp://x/", "http:///x", "data:text/plain,x"]
)
def test_redirects_to_nonsense(target):
    with (
        RawServer(answer(307, Location=target)) as server,
        pytest.raises((Untrusted, Unreachable)) as caught,
    ):
        get(server)
    assert str(caught.value).startswith("upstream ")


def test_a_redirect_cannot_smuggle_a_header():
    with RawServer(answer(307, Location="/x%0d%0aEvil: 1"), answer()) as server:
        get(server)
        assert "\r\nEvil" not in server.heard[1]


# What is said of requests.


class Lines(logging.Handler):
    """Keeps every line of some loggers, whatever levels others have set."""

    def __init__(self):
        super().__init__(level=1)
        self.records = []

    def emit(self, record):
        self.records.append(record)

    @property
    def text(self):
        return "\n".join(record.getMessage() for record in self.records)


@pytest.fixture
def all_logs():
    lines = Lines()
    loggers = [logging.getLogger(name) for name in ("urllib3", "_registry_http_transport")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(lines)
        logger.setLevel(1)
    yield lines
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(lines)
        logger.setLevel(level)


def test_signed_urls_and_states_are_in_no_log(all_logs):
    with RawServer(answer(200, b"x")) as other, RawServer(answer(200, b"x")) as home:
        home.scripts = [answer(307, Location=f"{other.url}/signed-hunter2/x?X-Amz-Signature=hunter2")]
        http = http_for(home)
        http.ask("GET", f"{home.url}/v2/a/blobs/b?_state=hunter2", {"Authorization": "hunter2"})
    assert "hunter2" not in all_logs.text
    assert f"GET {home.url}/v2/a/blobs/b: 307" in all_logs.text
    assert f"GET {other.url}/…: 200" in all_logs.text
    assert [record for record in all_logs.records if record.name.startswith("urllib3")] == []


def test_a_body_that_reads_from_another_request_does_not_end_the_silence(all_logs):
    with RawServer(answer(200, b"abc")) as source, RawServer(answer(201)) as target:
        http = http_for(target)

        def body():
            yield http.ask("GET", source.url + "/x?sig=hunter2", {}).body

        http.ask("PUT", target.url + "/y?sig=hunter2", {"Content-Length": "3"}, body())
    assert "hunter2" not in all_logs.text
    assert [record for record in all_logs.records if record.name.startswith("urllib3")] == []


def test_others_keep_their_lines(all_logs):
    import urllib3

    with RawServer(answer(200, b"x")) as server:
        get(server)
        urllib3.PoolManager().request("GET", server.url + "/theirs", retries=False)
    assert "/theirs" in all_logs.text


@pytest.mark.parametrize("script", [b"", b"junk", answer(200, b"x" * 100)[:-50]])
def test_errors_carry_no_url_along(script):
    with RawServer(answer()) as other, RawServer(answer()) as home:
        other.scripts = [script]
        home.scripts = [answer(307, Location=f"{other.url}/hunter2?sig=hunter2")]
        with pytest.raises(Unreachable) as caught:
            get(home)
    error = caught.value
    assert "hunter2" not in str(error)
    # Salt logs a traceback with every cause that is not cut off.
    assert error.__cause__ is None
    assert error.__suppress_context__


# Waiting and ways.


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("²", 0),
        ("9" * 400, 30 * 86400),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0),
        ("Fri, 01 Jan 9999 00:00:00 GMT", 30 * 86400),
        ("Mon, 99 Jan 2001 00:00:00 GMT", 0),
    ],
)
def test_retry_after(text, seconds):
    assert retry_after({"Retry-After": text}) == seconds


def test_an_allowance_that_is_reset_at_a_time():
    headers = {"RateLimit-Remaining": "10", "RateLimit-Reset": str(int(time.time()) + 30)}
    remaining, distance = allowance(headers)
    assert remaining == 10
    assert distance == pytest.approx(3.0, abs=0.3)
    assert allowance({**headers, "RateLimit-Reset": "1500000000"}) == (10, 0.0)


@pytest.mark.parametrize(
    ("remaining", "limit", "reset", "told"),
    [
        ("", "100;w=60", "", None),
        ("many", "100;w=60", "", None),
        ("10;w=60", "100;w=60", "", (10, 0.6)),
        ("10", "100;w=60", "", (10, 0.6)),
        ("10;w=60", "", "", (10, 6.0)),
        ("10", "100", "30", (10, 3.0)),
        ("0", "100", "30", (0, 30.0)),
        ("0", "", "", (0, 0.0)),
    ],
)
def test_allowance(remaining, limit, reset, told):
    headers = {"RateLimit-Remaining": remaining, "RateLimit-Limit": limit, "RateLimit-Reset": reset}
    assert allowance({name: value for name, value in headers.items() if value}) == told


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Registry.Example.com/x", ("https", "registry.example.com", 443)),
        ("https://registry.example.com:443", ("https", "registry.example.com", 443)),
        ("http://h", ("http", "h", 80)),
        ("http://u:p@h:81/", ("http", "h", 81)),
        ("https://[FD00::1]:5000/", ("https", "fd00::1", 5000)),
    ],
)
def test_origins(url, origin):
    assert origin_of(url) == Origin(*origin)


@pytest.mark.parametrize(
    "url", ["", "/x", "//h/x", "ftp://h/", "https://", "http://[x", "http://h:99999/", "http://h:x/"]
)
def test_what_has_no_origin(url):
    with pytest.raises(ValueError, match=r"URL|port|Port|netloc"):
        origin_of(url)


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("", False),
        ("*", True),
        ("r.example.com", True),
        ("example.com", True),
        (".example.com", True),
        ("*.example.com", True),
        ("xample.com", False),
        ("other.com, R.Example.Com", True),
        ("r.example.com:5000", True),
        ("r.example.com:443", False),
        ("10.0.0.0/8", False),
    ],
)
def test_no_proxy(no_proxy, direct):
    assert is_direct(Origin("https", "r.example.com", 5000), no_proxy) is direct


@pytest.mark.parametrize(
    ("host", "no_proxy", "direct"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "11.0.0.0/8", False),
        ("fd00::1", "fd00::/8", True),
        ("fd00::1", "fd00::1", True),
        ("fd00::1", "[fd00::1]:5000", True),
        ("fd00::1", "[fd00::1]:5001", False),
    ],
)
def test_no_proxy_for_addresses(host, no_proxy, direct):
    assert is_direct(Origin("http", host, 5000), no_proxy) is direct


@pytest.mark.parametrize("proxy", ["socks5://u:hunter2@p:1", "http://[hunter2", "http://p:hunter2/"])
def test_a_proxy_that_is_none_is_told_without_what_it_holds(proxy):
    endpoint = Endpoint("upstream", "r.example.com", 443, environment=Environment(https_proxy=proxy))
    with pytest.raises(Unsupported) as caught:
        new_route(endpoint, Origin("https", "r.example.com", 443), connections=1)
    assert str(caught.value) == "upstream r.example.com:443: its proxy is not given as http://HOST:PORT"
    assert caught.value.__suppress_context__
