"""Values of an unusual kind or size: each is read as it is meant, or refused in one sentence."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from _registry_config_read import read_settings
from _registry_config_values import Settings
from support.mistakes import mistake_in


def read(pillar: Any) -> Settings:
    return read_settings(pillar, host="mirror.example.com")


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


@pytest.mark.parametrize("tag", [1.10, datetime.date(2024, 1, 15)])
def test_what_yaml_has_read_is_not_proposed_in_place_of_what_was_written(tag: Any) -> None:
    said = mistake_in({"images": [{"name": "a/b", "tags": [tag]}]})
    assert said.startswith("docker_registry:images:0:tags:0: ")
    assert said.endswith(", as YAML reads it; put it in quotes")


@pytest.mark.parametrize(
    ("pillar", "key"),
    [
        ({"prune": {"keep": {"environments": [""]}}}, "prune:keep:environments:0"),
        ({"prune": {"keep": {"environments": [None]}}}, "prune:keep:environments:0"),
        ({"undercloud": {"profile": {"files": ["/a", None]}}}, "undercloud:profile:files:1"),
        ({"undercloud": {"profile": {"directories": [""]}}}, "undercloud:profile:directories:0"),
    ],
)
def test_a_list_of_paths_has_no_empty_one(pillar: Any, key: str) -> None:
    assert mistake_in(pillar) == f"docker_registry:{key}: is empty"


def test_a_page_has_a_path() -> None:
    said = mistake_in({"page": {"max_age": "1h"}})
    assert said == "docker_registry:page: has no path, so no page is written"
    assert read({"page": {"path": "", "max_age": "1h"}}).page.path == ""


@pytest.mark.parametrize("since", [False, 0, [], {}])
def test_since_is_not_given_by_what_is_empty_and_no_text(since: Any) -> None:
    said = mistake_in({"image_defaults": {"tags": {"since": since}}})
    assert said == f"docker_registry:image_defaults:tags:since: '{since}' is no date; give e.g. 2025-01-01"


@pytest.mark.parametrize("namespace", [False, 0, [], {}])
def test_a_namespace_is_a_string_or_nothing(namespace: Any) -> None:
    said = mistake_in({"image_defaults": {"namespace": namespace}})
    assert said.startswith("docker_registry:image_defaults:namespace: ")
    assert "give a string" in said
    assert read({"image_defaults": {"namespace": None}}).namespace == ""


# Python writes no number of 5000 digits.
HUGE = {"400": 10**400, "400 as text": "9" * 400, "5000": 10**5000, "5000 as text": "9" * 5000}


@pytest.mark.parametrize("value", HUGE.values(), ids=HUGE)
@pytest.mark.parametrize("name", ["deadline", "patience", "bandwidth", "spool", "parallel"])
def test_a_number_that_nothing_can_be_counted_with_is_refused(name: str, value: Any) -> None:
    said = mistake_in({"transfer": {name: value}})
    assert said.startswith(f"docker_registry:transfer:{name}: is ")
    assert len(said) < 120


def test_a_number_that_python_does_not_write_is_no_example() -> None:
    said = mistake_in({"bundle": {"sign_with": 10**5000}})
    assert said == "docker_registry:bundle:sign_with: is a number; give a string"


@pytest.mark.parametrize("value", ["100001d", 10**10, "9" * 18])
def test_a_time_is_one_that_clocks_can_tell(value: Any) -> None:
    said = mistake_in({"transfer": {"deadline": value}})
    assert said == "docker_registry:transfer:deadline: is longer than 100000 days"
    assert read({"transfer": {"deadline": "100000d"}}).transfer.deadline == 8_640_000_000


@pytest.mark.parametrize(
    ("pillar", "key"),
    [
        ({"registry": {"htpasswd": {"joe": "\ud800"}}}, "registry:htpasswd:joe: has a character in it"),
        ({"bundle": {"sign_with": "\ud800"}}, "bundle:sign_with: has a character in it"),
        ({"upstream": {"proxy": "http://\ud800@proxy"}}, "upstream:proxy: has a character in it"),
        ({"metrics": "/srv/a\0b"}, "metrics: is no path"),
        ({"page": "/srv/a\0b"}, "page: is no path"),
        ({"page": {"path": "/srv/a\0b"}}, "page:path: is no path"),
    ],
)
def test_a_character_that_no_file_can_have_is_refused(pillar: Any, key: str) -> None:
    assert mistake_in(pillar).startswith(f"docker_registry:{key}")


@pytest.mark.parametrize(
    ("value", "kind"),
    [(datetime.date(2024, 1, 2), "is a date"), (b"x", "is of type bytes"), ({"a"}, "is of type set")],
)
def test_what_is_neither_text_nor_list_nor_mapping_is_called_what_it_is(value: Any, kind: str) -> None:
    said = mistake_in({"images": value})
    assert said == f"docker_registry:images: {kind}; give a list, e.g. [aodh-api, cron]"
