"""Logins, proxies and what else says who we are: from files, the environment and the pillar."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from _registry_config_read import SettingsError, read_settings
from _registry_config_warnings import warnings_of
from _registry_http_authfile import AuthFile, AuthFileError, Helper, Login, names_of
from _registry_http_credentials import Credentials, Keyring
from _registry_http_endpoint import Endpoint
from _registry_http_environment import Environment, read_environment
from _registry_http_transport import Answer
from support.logins import settings_between, write_auth_file

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


# Secrets.


def test_what_holds_secrets_does_not_show_them():
    found = Credentials(Login("u", "hunter2", "hunter2", "hunter2"), "/root/auth.json")
    shown = repr(found) + str(found) + repr(Login("u", "hunter2", "hunter2", "hunter2"))
    shown += repr(Answer(200, {"x": "hunter2"}, b"hunter2", "https://a/?hunter2"))
    shown += repr(Endpoint("local", "h", 1, password="hunter2", proxy="http://a:hunter2@b"))
    shown += repr(Environment((), "http://a:hunter2@b", "http://a:hunter2@b"))
    assert "hunter2" not in shown
