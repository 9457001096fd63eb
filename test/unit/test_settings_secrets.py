"""What may be a secret is in no sentence about a mistake: it would stand in returns, logs and histories."""

from __future__ import annotations

from typing import Any

import pytest

from _registry_config_read import SettingsError, read_settings

PRIVATE_KEY = "-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0IGJ5dGVzIG9mIGEga2V5\n-----END EC PRIVATE KEY-----\n"


def mistake_in(pillar: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        read_settings(pillar, host="mirror.example.com")
    return str(caught.value)


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
