"""Where simple signatures lie, and under which names they are kept."""

from __future__ import annotations

import pytest

from _registry_config_read import SettingsError, read_settings
from _registry_http_endpoint import Endpoint
from _registry_sync_lookaside import read_kept, store_of

STORES = {
    "vendor.example.com": "https://vendor.example.com/all",
    "vendor.example.com/team": "https://vendor.example.com/team",
    "vendor.example.com:5000": "https://vendor.example.com/other",
    "silent.example.com": "",
    "[::1]": "http://[::1]:5001",
}


def signatures_of(pillar):
    return read_settings({"signatures": pillar}, host="mirror.example.com").signatures


@pytest.mark.parametrize(
    ("host", "port", "repository", "store"),
    [
        ("vendor.example.com", 443, "app", "https://vendor.example.com/all"),
        ("vendor.example.com", 443, "team/app", "https://vendor.example.com/team"),
        ("vendor.example.com", 443, "team", "https://vendor.example.com/team"),
        ("vendor.example.com", 443, "teams/app", "https://vendor.example.com/all"),
        ("vendor.example.com", 5000, "app", "https://vendor.example.com/other"),
        ("vendor.example.com", 5001, "app", "https://vendor.example.com/all"),
        ("silent.example.com", 443, "app", ""),
        ("unknown.example.com", 443, "app", ""),
        ("::1", 5000, "app", "http://[::1]:5001"),
    ],
)
def test_the_store_whose_name_says_most_is_asked(host, port, repository, store) -> None:
    assert store_of(STORES, Endpoint("upstream", host, port), repository) == store


def test_red_hats_stores_are_known_beside_those_of_the_site() -> None:
    stores = signatures_of({"stores": {"vendor.example.com": "https://sign.example.com/"}}).stores
    assert stores == {
        "registry.access.redhat.com": "https://access.redhat.com/webassets/docker/content/sigstore",
        "registry.redhat.io": "https://registry.redhat.io/containers/sigstore",
        "vendor.example.com": "https://sign.example.com",
    }


def test_a_site_can_say_that_a_known_registry_has_no_store() -> None:
    assert signatures_of({"stores": {"registry.redhat.io": ""}}).stores["registry.redhat.io"] == ""


@pytest.mark.parametrize(
    ("pillar", "said"),
    [
        ({"stores": {"a.example.com": "file:///srv"}}, "stores:a.example.com: is no address of a store"),
        ({"stores": {"a.example.com": "https://me:secret@b/"}}, "stores:a.example.com: is no address"),
        ({"stores": {"a.example.com": "https://b/?c=1"}}, "stores:a.example.com: is no address of a store"),
        ({"stores": {"https://a.example.com": "https://b"}}, "'https://a.example.com' is no registry"),
        ({"stores": {"a.example.com/UPPER": "https://b"}}, "'a.example.com/UPPER' is no registry"),
        ({"stores": {"a.example.com": "http://b:99999/x"}}, "stores:a.example.com: is no address of a store"),
        ({"stores": {"a.example.com": "http://b:0/x"}}, "stores:a.example.com: is no address of a store"),
        ({"stores": {"a.example.com": "http://b..example.com"}}, "stores:a.example.com: is no address of a"),
        ({"stores": {"a.example.com:99999": "https://b"}}, "'a.example.com:99999' is no registry"),
        ({"stores": {"a.example.com:0/team": "https://b"}}, "'a.example.com:0/team' is no registry"),
        ({"stores": {"a..example.com": "https://b"}}, "'a..example.com' is no registry"),
        ({"directory": "sigstore"}, "directory: 'sigstore' is no absolute path"),
        ({"directory": ""}, "directory: is empty"),
        ({"serve": 70000}, "serve: 70000 is not between 0 and 65535"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_key(pillar, said) -> None:
    with pytest.raises(SettingsError) as mistake:
        signatures_of(pillar)
    assert said in str(mistake.value)
    assert "secret" not in str(mistake.value)


def test_what_is_kept_is_read_up_to_a_gap(tmp_path) -> None:
    for number in (1, 2, 4):
        (tmp_path / f"signature-{number}").write_bytes(bytes([number]))
    assert read_kept(tmp_path) == (b"\x01", b"\x02")
