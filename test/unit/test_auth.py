"""Challenges and tokens, without a network."""

from __future__ import annotations

import json
import threading
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from _registry_http_auth import Authorizer, Challenge, read_challenges
from _registry_http_credentials import Keyring
from _registry_http_endpoint import Endpoint
from _registry_http_transport import Answer
from _registry_oci_errors import RateLimited, Unauthorized, Unreachable, Untrusted

PULL = ("repository:a/b:pull",)
BEARER = 'Bearer realm="https://auth.example.com/token",service="r.example.com"'


# Challenges.


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('BASIC realm="a b, c"', [("basic", {"realm": "a b, c"})]),
        (BEARER, [("bearer", {"realm": "https://auth.example.com/token", "service": "r.example.com"})]),
        (
            "Bearer realm=https://a.b/t , service = x",
            [("bearer", {"realm": "https://a.b/t", "service": "x"})],
        ),
        (r'Basic realm="say \"friend\""', [("basic", {"realm": 'say "friend"'})]),
        ('Negotiate, Basic realm="x"', [("negotiate", {}), ("basic", {"realm": "x"})]),
        (
            'Basic realm="x", Bearer realm="https://a/",scope="repository:a/b:pull,push"',
            [
                ("basic", {"realm": "x"}),
                ("bearer", {"realm": "https://a/", "scope": "repository:a/b:pull,push"}),
            ],
        ),
        # The first of two wins: what comes later may have been smuggled in.
        ('Bearer realm="https://a/",realm="https://evil/"', [("bearer", {"realm": "https://a/"})]),
        ('Bearer realm="https://unclosed', [("bearer", {})]),
    ],
)
def test_challenges(header, challenges):
    assert read_challenges(header)[: len(challenges) or None] == [Challenge(*pair) for pair in challenges]


@pytest.mark.parametrize("unit", ["a", "a ", 'a="', "1", "\\", "a=", ","])
def test_a_hostile_challenge_costs_no_time(unit):
    began = time.process_time()
    read_challenges(unit * 200_000)
    # What is quadratic takes minutes.
    assert time.process_time() - began < 2


# Tokens.


class Server:
    """Stands in for Http: answers what a test says and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers) or [granted()]
        self.asked = []

    def ask(self, method, url, headers, body=None):
        self.asked.append((method, url, dict(headers), body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer = answer()
        return answer

    def query(self, number=-1):
        return parse_qs(urlsplit(self.asked[number][1]).query)


def granted(token="t0ken", headers=None, **others):
    return Answer(200, headers or {}, json.dumps({"token": token, "expires_in": 300, **others}).encode(), "")


def authorizer(server, **login):
    endpoint = Endpoint("upstream", "r.example.com", 443, **login)
    return Authorizer(endpoint, Keyring(endpoint), server)


def challenged(server, header=BEARER, **login):
    new = authorizer(server, **login)
    assert new.challenged(header, (), {})
    return new


def test_nothing_is_sent_before_the_registry_asks():
    assert authorizer(Server(), username="u", password="p").header(PULL) == {}


def test_basic():
    new = challenged(Server(), "Basic realm=x", username="u", password="p")
    assert new.header(PULL) == {"Authorization": "Basic dTpw"}
    # The same again is no use.
    assert not new.challenged("Basic realm=x", PULL, new.header(PULL))


@pytest.mark.parametrize("header", ["Basic realm=x", "Negotiate", "", "Digest nonce=1"])
def test_nobody_has_no_answer_to(header):
    assert not authorizer(Server()).challenged(header, PULL, {})


def test_bearer_is_preferred_to_basic():
    new = challenged(Server(), f"Basic realm=x, {BEARER}", username="u", password="p")
    assert new.header(PULL) == {"Authorization": "Bearer t0ken"}


def test_a_token_is_asked_for_with_service_scopes_and_login():
    server = Server()
    scopes = ("repository:a/b:pull,push", "repository:c:pull")
    challenged(server, username="u", password="p").header(scopes)
    assert server.query() == {"service": ["r.example.com"], "scope": list(scopes), "account": ["u"]}
    assert server.asked[0][2] == {"Authorization": "Basic dTpw"}


def test_a_realm_keeps_its_own_query():
    server = Server()
    challenged(server, 'Bearer realm="https://a/token?tenant=1"').header(PULL)
    assert server.query()["tenant"] == ["1"]
    assert server.query()["scope"] == list(PULL)


def test_tokens_are_kept_for_each_scope():
    server = Server()
    new = challenged(server)
    for _ in range(3):
        new.header(PULL)
        new.header(("repository:other:pull",))
    assert len(server.asked) == 2


def test_workers_share_one_request():
    entered = threading.Event()
    leave = threading.Event()

    def slow():
        entered.set()
        assert leave.wait(10)
        return granted()

    server = Server(slow)
    new = challenged(server)
    headers = []
    threads = [threading.Thread(target=lambda: headers.append(new.header(PULL))) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert entered.wait(10)
    leave.set()
    for thread in threads:
        thread.join()
    assert len(server.asked) == 1
    assert headers == [{"Authorization": "Bearer t0ken"}] * 20


@pytest.mark.parametrize(
    ("document", "lives"),
    [
        ({}, 60),
        ({"expires_in": 300}, 300),
        ({"expires_in": 0}, 60),
        ({"expires_in": -5}, 60),
        ({"expires_in": 1e300}, 60),
        ({"expires_in": "120"}, 120),
        # Half of its life was over when it came; whether our clock agrees with the server's is no matter.
        ({"expires_in": 300, "issued_at": "2001-01-01T00:00:00.123456789Z"}, 150),
        ({"expires_in": 300, "issued_at": "2001-01-01T02:00:00+02:00"}, 150),
        ({"expires_in": 300, "issued_at": "2031-01-01T00:00:00Z"}, 300),
        ({"expires_in": 300, "issued_at": "yesterday"}, 300),
    ],
)
def test_how_long_a_token_lives(monkeypatch, document, lives):
    now = 1000.0
    monkeypatch.setattr("_registry_http_auth.time.monotonic", lambda: now)
    headers = {"Date": "Mon, 01 Jan 2001 00:02:30 GMT"}
    server = Server(Answer(200, headers, json.dumps({"token": "x", **document}).encode(), ""))
    new = challenged(server)
    new.header(PULL)
    now += lives * 0.8
    new.header(PULL)
    assert len(server.asked) == 1
    now += lives * 0.1
    new.header(PULL)
    assert len(server.asked) == 2


def test_a_refused_token_is_not_used_again_and_a_newer_one_not_thrown_away():
    server = Server(granted("first"), granted("second"))
    new = challenged(server)
    first = new.header(PULL)
    assert new.challenged(BEARER, PULL, first)
    assert new.header(PULL) == {"Authorization": "Bearer second"}
    # A slower worker reports the first one's refusal.
    assert new.challenged(BEARER, PULL, first)
    assert new.header(PULL) == {"Authorization": "Bearer second"}


def test_a_registry_may_call_a_repository_otherwise_but_not_make_us_ask_for_more():
    server = Server(granted("first"), granted("second"))
    new = challenged(server)
    named = (
        BEARER
        + ',scope="repository:proxied/a/b:pull repository:a/b:pull,push,delete",error="insufficient_scope"'
    )
    assert new.challenged(named, PULL, new.header(PULL))
    new.header(PULL)
    assert server.query()["scope"] == [*PULL, "repository:proxied/a/b:pull"]


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (
            Answer(401, {}, b"", ""),
            Unauthorized,
            "its token server refused user u for a/b (401); it may also not",
        ),
        (Answer(403, {}, b"", ""), Unauthorized, "(403)"),
        (Answer(302, {}, b"", ""), Unauthorized, "(302)"),
        (Answer(429, {"Retry-After": "7"}, b"", ""), RateLimited, "slower pace"),
        (Answer(503, {"Retry-After": "7"}, b"", ""), Unreachable, "answered 503"),
        (Answer(200, {}, b"<html>", ""), Unreachable, "gave no token"),
        (Answer(200, {}, b"[]", ""), Unreachable, "gave no token"),
        (Answer(200, {}, b"[" * 100_000, ""), Unreachable, "gave no token"),
        (Answer(200, {}, b'{"token": 7}', ""), Unreachable, "gave no token"),
        (Answer(200, {}, b'{"token": ""}', ""), Unreachable, "gave no token"),
        (Answer(200, {}, b'{"token": "a\\r\\nX-Evil: 1"}', ""), Unreachable, "gave no token"),
        (Answer(200, {}, b'{"token": "a", "expires_in": [1]}', ""), Unreachable, "gave no token"),
    ],
)
def test_what_a_token_server_may_do_wrong(answer, error, said):
    with pytest.raises(error) as caught:
        challenged(Server(answer), username="u", password="p").header(PULL)
    assert str(caught.value).startswith("upstream r.example.com:443: its token server")
    assert said in str(caught.value)
    if answer.status in (429, 503):
        assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    ("realm", "error"),
    [
        ("", Unauthorized),
        ("/token", Unauthorized),
        ("file:///etc/passwd", Unauthorized),
        ("https://[broken", Unauthorized),
        ("https://a:port/", Unauthorized),
        ("http://auth.example.com/token", Untrusted),
    ],
)
def test_realms_that_get_no_password(realm, error):
    server = Server()
    with pytest.raises(error):
        challenged(server, f'Bearer realm="{realm}"', username="u", password="p").header(PULL)
    assert server.asked == []
