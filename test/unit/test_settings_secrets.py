"""What may be a secret is in no sentence about a mistake: it would stand in returns, logs and histories."""

from __future__ import annotations

from typing import Any

import pytest

from _registry_config_read import read_settings
from _registry_oci_reference import ReferenceMistake
from _registry_sync_init import first_pillar
from support.mistakes import mistake_in

PRIVATE_KEY = "-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0IGJ5dGVzIG9mIGEga2V5\n-----END EC PRIVATE KEY-----\n"


@pytest.mark.parametrize("name", ["cert", "key", "auth_file", "verify"])
@pytest.mark.parametrize("text", [PRIVATE_KEY, PRIVATE_KEY.replace("\n", "\\n"), "/" + PRIVATE_KEY])
def test_the_text_of_a_file_in_place_of_its_path_is_not_shown(name: str, text: str) -> None:
    said = mistake_in({"upstream": {"cert": "/srv/cert.pem", name: text}})
    assert said.startswith(f"docker_registry:upstream:{name}: is ")
    assert "PRIVATE" not in said
    assert "c2Vj" not in said
    assert "path" in said


def test_logins_in_place_of_the_path_of_their_file_are_not_shown() -> None:
    said = mistake_in({"upstream": {"auth_file": '{"auths": {"quay.io": {"auth": "am9l"}}}'}})
    assert said.startswith("docker_registry:upstream:auth_file: is no path; put it into a file")
    assert "am9l" not in said


@pytest.mark.parametrize("key", ["gpg", "cosign"])
def test_a_key_in_place_of_a_list_of_keys_is_not_shown(key: str) -> None:
    said = mistake_in({"signatures": {"keys": {"ours": {key: PRIVATE_KEY}}}})
    assert said.startswith(f"docker_registry:signatures:keys:ours:{key}: is a string; give a list")
    assert "PRIVATE" not in said


def test_a_key_in_place_of_the_mapping_that_has_it_is_not_shown() -> None:
    said = mistake_in({"registry": {"tls": PRIVATE_KEY}})
    assert said.startswith("docker_registry:registry:tls: is a string; give self_signed, or a mapping of")
    assert "PRIVATE" not in said


@pytest.mark.parametrize(
    ("pillar", "said"),
    [
        ({"upstream": "https://joe:hunter2@quay.io"}, "upstream: is a string; give a mapping of host, port"),
        (
            {"upstream": {"https://joe:hunter2@quay.io": None}},
            "upstream: has an unknown key; known here:",
        ),
        (
            {"upstream": {"host": "joe:hunter2@quay.io"}},
            "upstream:host: has a login in it; give the",
        ),
        ({"upstream": {"host": "https://joe:hunter2@quay.io"}}, "upstream:host: has a login in it; give the"),
        ({"upstream": {"host": "joe:hunter2"}}, "upstream:host: is no host name or address"),
        ({"upstream": {"path": "joe:hunter2@quay.io"}}, "upstream:path: is no path of a URL"),
        ({"upstream": {"signed_as": "joe:hunter2@quay.io"}}, "upstream:signed_as: is neither a host, as"),
        ({"registry": {"htpasswd": "joe:hunter2"}}, "registry:htpasswd: is a string; give a mapping"),
        (
            {"registry": {"htpasswd": {"joe:hunter2": "x"}}},
            "registry:htpasswd:'joe:…': is no name of a user",
        ),
        ({"registry": {"token": "hunter2"}}, "registry:token: is a string; give a mapping"),
        ({"registry": {"config": "hunter2"}}, "registry:config: is a string; give a mapping"),
        ({"registry": {"tls": "hunter2@quay.io"}}, "registry:tls: is a string; give self_signed, or"),
        (
            {"signatures": {"stores": {"joe:hunter2@quay.io": ""}}},
            "signatures:stores: is no registry; give",
        ),
        ({"images": "joe:hunter2@quay.io/a/b"}, "images: is a string; give a list"),
        ({"images": ["joe:hunter2@quay.io/a/b"]}, "images:0: begins with a registry, which upstream and"),
        ({"images": ["joe:hunter2@quay.io"]}, "images:0: names a tag or a digest; give the repository alone"),
    ],
)
def test_a_login_that_stands_elsewhere_is_not_shown(pillar: Any, said: str) -> None:
    mistake = mistake_in(pillar)
    assert mistake.startswith(f"docker_registry:{said}")
    assert "hunter2" not in mistake


def test_a_login_in_a_name_that_is_typed_is_not_shown() -> None:
    settings = read_settings({}, host="mirror.example.com")
    with pytest.raises(ReferenceMistake) as caught:
        first_pillar(["joe:hunter2@quay.example.com/a/b"], settings, newest=1)
    assert "hunter2" not in str(caught.value)
    assert str(caught.value).startswith(
        "'…@quay.example.com/a/b' has no sha256 or sha512 digest behind the @"
    )


@pytest.mark.parametrize("password", ["hunter2\n", "hunter2\r\n", "hunter2\0"])
def test_a_password_that_no_header_takes_is_refused(password: str) -> None:
    said = mistake_in({"upstream": {"username": "joe", "password": password}})
    assert said.startswith("docker_registry:upstream:password: has a line break or another control character")
    assert "hunter2" not in said


def test_a_name_with_a_line_break_is_refused() -> None:
    said = mistake_in({"local": {"username": "joe\n", "password": "x"}})
    assert said.startswith("docker_registry:local:username: has a line break or another control character")
    assert "\n" not in said


def test_a_name_of_other_letters_is_accepted() -> None:
    pillar = {"upstream": {"username": "jürgen|1 2", "password": "grün \t"}}
    upstream = read_settings(pillar, host="mirror.example.com").upstream
    assert (upstream.username, upstream.password) == ("jürgen|1 2", "grün \t")
