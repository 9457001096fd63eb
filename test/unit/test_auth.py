"""Challenges, tokens and who we are, without a network."""

from __future__ import annotations

import json
import re
import threading
import time
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from _registry_config_read import SettingsError, read_settings
from _registry_config_warnings import warnings_of
from _registry_http_auth import Authorizer, Challenge, read_challenges
from _registry_http_authfile import AuthFile, AuthFileError, Helper, Login, names_of
from _registry_http_credentials import Credentials, Keyring
from _registry_http_endpoint import Endpoint
from _registry_http_environment import Environment, read_environment
from _registry_http_transport import Answer
from _registry_oci_errors import RateLimited, Unauthorized, Unreachable, Untrusted
from support.logins import settings_between, write_auth_file

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


def test_what_holds_secrets_does_not_show_them():
    found = Credentials(Login("u", "hunter2", "hunter2", "hunter2"), "/root/auth.json")
    shown = repr(found) + str(found) + repr(Login("u", "hunter2", "hunter2", "hunter2"))
    shown += repr(Answer(200, {"x": "hunter2"}, b"hunter2", "https://a/?hunter2"))
    shown += repr(Endpoint("local", "h", 1, password="hunter2", proxy="http://a:hunter2@b"))
    shown += repr(Environment((), "http://a:hunter2@b", "http://a:hunter2@b"))
    assert "hunter2" not in shown


# Files.


@pytest.mark.parametrize(
    ("key", "host", "port"),
    [
        ("r.example.com", "r.example.com", 443),
        ("r.example.com:443", "r.example.com", 443),
        ("https://r.example.com", "r.example.com", 443),
        ("https://r.example.com/v1/", "r.example.com", 443),
        ("r.example.com:5000", "r.example.com", 5000),
        ("https://index.docker.io/v1/", "registry-1.docker.io", 443),
        ("docker.io", "registry-1.docker.io", 443),
        ("[fd00::1]:5000", "fd00::1", 5000),
    ],
)
def test_keys_that_name_a_registry(tmp_path, key, host, port):
    path = write_auth_file(tmp_path / "auth.json", {key: ("u", "p:q")})
    found = Keyring(Endpoint("upstream", host, port, auth_file=str(path))).credentials()
    assert (found.login, str(found)) == (Login("u", "p:q"), f"user u from {path}")


@pytest.mark.parametrize(
    "key",
    ["r.example.com:5000", "example.com", "xr.example.com", "r.example.com.evil.org", "r.example.com/team"],
)
def test_keys_of_other_registries(tmp_path, key):
    path = write_auth_file(tmp_path / "auth.json", {key: ("u", "p")})
    found = Keyring(Endpoint("upstream", "r.example.com", 443, auth_file=str(path))).credentials("other/name")
    assert str(found) == f"anonymous access ({path} has no login for r.example.com)"


def test_the_longest_part_of_a_repository_wins(tmp_path):
    keys = ["r.example.com", "r.example.com/team", "r.example.com/team/app/sub"]
    path = write_auth_file(tmp_path / "auth.json", {key: (key.rpartition("/")[2], "p") for key in keys})
    keyring = Keyring(Endpoint("upstream", "r.example.com", 443, auth_file=str(path)))
    users = {
        name: keyring.credentials(name).login.username
        for name in ("", "x", "team/app", "team/app/sub/y", "teams")
    }
    assert users == {
        "": "r.example.com",
        "x": "r.example.com",
        "team/app": "team",
        "team/app/sub/y": "sub",
        "teams": "r.example.com",
    }


def test_the_pillar_comes_before_files(tmp_path):
    path = write_auth_file(tmp_path / "auth.json", {"r.example.com": ("file", "p")})
    endpoint = Endpoint("upstream", "r.example.com", 443, username="pillar", auth_file=str(path))
    assert str(Keyring(endpoint).credentials()) == "user pillar"


@pytest.mark.parametrize(
    "content",
    [
        {"auths": {"h:1": {"auth": "%%%"}}},
        {"auths": {"h:1": {"auth": "/w=="}}},
        {"credHelpers": {"h:1": "../x"}},
    ],
)
def test_entries_without_sense(tmp_path, content):
    path = tmp_path / "auth.json"
    path.write_text(json.dumps(content))
    with pytest.raises(AuthFileError, match=str(path)):
        list(AuthFile(str(path)).candidates(("h:1",), ""))


def test_helpers_come_for_the_registry_first_and_the_store_last(tmp_path):
    path = write_auth_file(
        tmp_path / "c.json", {"h:1": ("u", "p")}, credHelpers={"h:1": "one"}, credsStore="all"
    )
    assert list(AuthFile(str(path)).candidates(("h:1",), "a")) == [
        Helper("one", "h:1"),
        Login("u", "p"),
        Helper("all", "h:1"),
    ]
    hub = names_of("registry-1.docker.io", 443, 443)
    assert list(AuthFile(str(path)).candidates(hub, "")) == [Helper("all", "https://index.docker.io/v1/")]


# The environment.


def test_where_podman_and_docker_look():
    alone = read_environment({}, home="/root", user=0)
    assert alone.auth_files == (
        "/run/containers/0/auth.json",
        "/root/.config/containers/auth.json",
        "/root/.docker/config.json",
    )
    variables = {
        "HOME": "/h",
        "XDG_RUNTIME_DIR": "/run/user/0",
        "DOCKER_CONFIG": "/d",
        "XDG_CONFIG_HOME": "/c",
    }
    assert read_environment(variables, home="/root", user=0).auth_files == (
        "/run/user/0/containers/auth.json",
        "/run/containers/0/auth.json",
        "/c/containers/auth.json",
        "/d/config.json",
    )
    named = read_environment({"REGISTRY_AUTH_FILE": "/named"}, home="/root", user=0)
    assert named.auth_files == ("/named", "/root/.docker/config.json")


def test_proxies_of_the_environment():
    variables = {
        "http_proxy": "http://a",
        "HTTP_PROXY": "http://b",
        "ALL_PROXY": "http://c",
        "NO_PROXY": "d,e",
    }
    found = read_environment(variables, home="/", user=0)
    assert (found.http_proxy, found.https_proxy, found.no_proxy) == ("http://a", "http://c", "d,e")


# Warnings.

PLAIN = "local l.example.com:5000: tls is false, so anybody on the way to it can read "


@pytest.mark.parametrize(
    ("upstream", "local", "said"),
    [
        ({}, {}, []),
        (
            {"verify": False},
            {},
            ["upstream u.example.com:443: verify is false, so anybody on the way to it can pose as it"],
        ),
        (
            {"verify": False, "username": "x", "password": "hunter2"},
            {},
            [
                "upstream u.example.com:443: verify is false, so anybody on the way to it can pose as it"
                " and take the password of user x"
            ],
        ),
        (
            {},
            {"tls": False, "username": "x", "password": "hunter2"},
            [
                PLAIN + "the password of user x",
            ],
        ),
        (
            {},
            {"tls": False, "auth_file": "/root/auth.json"},
            [
                PLAIN + "the login from /root/auth.json",
            ],
        ),
        ({}, {"host": "127.0.0.1", "tls": False, "username": "x", "password": "hunter2"}, []),
        ({}, {"host": "localhost", "tls": False, "username": "x", "password": "hunter2"}, []),
        ({"verify": "/etc/ca.pem"}, {"tls": True}, []),
    ],
)
def test_insecure_settings_are_a_warning(upstream, local, said):
    settings = settings_between({"host": "u.example.com", **upstream}, {"host": "l.example.com", **local})
    assert warnings_of(settings) == said


# The pillar.


@pytest.mark.parametrize(
    ("upstream", "sentence"),
    [
        ({"username": "u", "password": 4711}, "upstream:password: is no string; put it in quotes"),
        ({"password": "p"}, "upstream:password: there is no username to it"),
        ({"username": "u:4711"}, "upstream:username: has a colon in it; give the name alone"),
        ({"key": "/k"}, "upstream:key: there is no cert to it"),
        ({"proxy": "socks5://u:4711@p"}, "upstream:proxy: is no URL of a proxy; give e.g. http://proxy"),
        ({"proxy": ["4711"]}, "upstream:proxy: is no string"),
    ],
)
def test_a_mistake_with_a_secret_is_told_without_it(upstream, sentence):
    with pytest.raises(SettingsError) as caught:
        settings_between(upstream, {})
    assert str(caught.value).startswith(f"docker_registry:{sentence}")
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize(
    "proxy", ["http://p:3128", "https://u:x%40y@p.example.com:3128/", "p:3128", "http://[fd00::1]:1"]
)
def test_proxies_of_the_pillar(proxy):
    assert settings_between({"proxy": proxy}, {}).upstreams[0].proxy == proxy


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io"])
def test_docker_hub_goes_by_many_names(host):
    assert settings_between({"host": host}, {}).upstreams[0].host == "registry-1.docker.io"


def test_an_auth_file_serves_every_upstream_and_a_password_only_its_own():
    upstream = {"host": "a.example.com", "auth_file": "/root/auth.json", "cert": "/c", "key": "/k"}
    pillar = {"upstream": upstream, "images": [{"name": "a/b", "upstream": {"host": "b.example.com"}}]}
    (other,) = read_settings(pillar, host="h", environment=Environment()).upstreams
    assert (other.host, other.auth_file, other.cert, other.key) == (
        "b.example.com",
        "/root/auth.json",
        "",
        "",
    )


# Documents.

YAML_BLOCKS = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def test_the_pillars_of_the_page_on_logging_in_are_right(checkout):
    page = (checkout / "docs" / "logging-in.md").read_text()
    pillars = [block for block in YAML_BLOCKS.findall(page) if "\ndocker_registry:\n" in f"\n{block}"]
    assert len(pillars) == 8
    for pillar in pillars:
        tree = yaml.safe_load(pillar)["docker_registry"]
        read_settings(tree, host="mirror.example.com", environment=Environment())
