"""pillar.example says what is so, and says all of it."""

from __future__ import annotations

import re

import pytest
import yaml

from _registry_config_read import known_keys, read_settings


@pytest.fixture
def example(checkout):
    return (checkout / "pillar.example").read_text(encoding="utf-8")


def test_as_it_is_it_changes_nothing(example):
    tree = yaml.safe_load(example)
    assert list(tree) == ["docker_registry"]
    assert read_settings(tree["docker_registry"], host="h") == read_settings(None, host="h")


@pytest.mark.parametrize("key", list(known_keys()))
def test_every_key_stands_in_it(key, example):
    assert re.search(rf"^  (# )?{key}:", example, re.MULTILINE), key


def test_every_key_in_it_is_one(example):
    words_of_comments = {"true", "false", "auto"}
    told = set(re.findall(r"^  (?:# )?([a-z_]+):(?: |$)", example, re.MULTILINE)) - words_of_comments
    assert told == set(known_keys())
