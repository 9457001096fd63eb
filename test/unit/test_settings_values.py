"""Values of an unusual kind or size: each is read as it is meant, or refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from _registry_config_read import SettingsError, read_settings
from _registry_config_values import Settings


def read(pillar: Any) -> Settings:
    return read_settings(pillar, host="mirror.example.com")


def mistake_in(pillar: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        read(pillar)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize(
    ("part", "name", "wanted"),
    [
        ("prune", "after", "never, 0 or e.g. 14d"),
        ("prune", "untagged", "never, 0 or e.g. 14d"),
        ("collect", "grace", "e.g. 24h, or 0"),
    ],
)
@pytest.mark.parametrize(
    ("value", "what"), [(None, "is empty"), ("", "is empty"), (False, "false is a boolean")]
)
def test_how_long_things_are_kept_is_not_nothing_for_lack_of_a_value(
    part: str, name: str, wanted: str, value: Any, what: str
) -> None:
    assert mistake_in({part: {name: value}}) == f"docker_registry:{part}:{name}: {what}; give {wanted}"


def test_how_long_things_are_kept_may_be_no_time_at_all() -> None:
    settings = read({"prune": {"after": 0, "untagged": "0"}, "collect": {"grace": 0}})
    assert (settings.prune.after, settings.prune.untagged, settings.collect.grace) == (0, 0, 0)
    assert read({"prune": {"after": "never"}}).prune.after is None


@pytest.mark.parametrize("name", ["deadline", "patience", "bandwidth", "spool"])
def test_false_is_no_amount(name: str) -> None:
    said = mistake_in({"transfer": {name: False}})
    assert said.startswith(f"docker_registry:transfer:{name}: false is a boolean; give ")


@pytest.mark.parametrize(
    "template",
    ["was-{tag}-{n}-{date}", "{tag}-{n}}", "{{tag}-{n}", "{tag}-{n}-{0}", "{tag!r}-{n}", "{tag.x}-{tag}-{n}"],
)
def test_a_template_of_backup_tags_knows_two_places_and_no_others(template: str) -> None:
    said = mistake_in({"backup": {"tags": template}})
    assert said.startswith(f"docker_registry:backup:tags: {template!r} is no template of a tag")


@pytest.mark.parametrize(
    "host",
    [
        "mirror..example.com",
        "mirror.example.com.",
        f"{'x' * 64}.example.com",
        ".".join(["x" * 50] * 6),
        "fe80::1%eth0",
        "[fe80::1%Wan0]",
    ],
)
def test_a_host_that_no_resolver_takes_is_refused(host: str) -> None:
    assert mistake_in({"local": {"host": host}}).startswith("docker_registry:local:host: ")
    assert mistake_in({"local": {"host": host}}).endswith("is no host name or address")


@pytest.mark.parametrize("host", [f"{'x' * 63}.example.com", "a_b.example.com", "127.1", "fd00::1"])
def test_a_host_that_resolvers_take_is_accepted(host: str) -> None:
    assert read({"local": {"host": host}}).local.host == host


PIN, OTHER_PIN = (f"1.0@sha256:{digit * 64}" for digit in "ab")


@pytest.mark.parametrize("tags", [["2.0", "1.0", PIN], ["2.0", PIN, "1.0"], ["2.0", PIN, OTHER_PIN]])
def test_one_tag_is_not_mirrored_with_two_digests(tags: list[str]) -> None:
    said = "2: 1.0 is in this list already, with another digest or none; give it once"
    assert mistake_in({"images": [{"name": "a/b", "tags": tags}]}) == f"docker_registry:images:0:tags:{said}"
    including = mistake_in({"images": [{"name": "a/b", "tags": {"include": tags}}]})
    assert including == f"docker_registry:images:0:tags:include:{said}"
    assert mistake_in({"image_defaults": {"tags": tags}}) == f"docker_registry:image_defaults:tags:{said}"


def test_a_tag_may_stand_in_a_list_twice_and_beside_its_pattern() -> None:
    tags = ["1.*", PIN, PIN, "2.0", "2.0"]
    assert read({"images": [{"name": "a/b", "tags": tags}]}).images[0].tags.include == ("1.*", PIN, "2.0")
