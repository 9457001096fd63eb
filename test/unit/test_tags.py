from __future__ import annotations

import pytest

from _registry_oci_tags import TagRule, satisfies, select_tags, version_key

THERE = ["13.0", "13.0-9", "13.0-38", "13.0-38-source", "12.0", "latest", "3-9", "3-38", "4.1"]


@pytest.mark.parametrize(
    ("rule", "tags"),
    [
        (TagRule(("13.0*",)), ["13.0", "13.0-9", "13.0-38", "13.0-38-source"]),
        (TagRule(("13.0*",), exclude=("*-source",)), ["13.0", "13.0-9", "13.0-38"]),
        (TagRule(("*",), exclude=("latest", "1*"), semver=">=3 <4"), ["3-9", "3-38"]),
        (TagRule(("*",), semver=">=3 <5", newest=2), ["3-38", "4.1"]),
        (TagRule(("13.0-*",), exclude=("*-source",), newest=1), ["13.0-38"]),
        (TagRule(("nothing*",)), []),
        (TagRule(("12.0",)), []),
    ],
)
def test_patterns_choose_tags_in_version_order(rule, tags):
    assert select_tags(rule, THERE) == tags


def test_a_tag_that_is_no_tag_is_never_chosen():
    assert select_tags(TagRule(("*",)), ["ok", "../../etc", "a b", ""]) == ["ok"]


@pytest.mark.parametrize(
    ("tag", "comparisons", "holds"),
    [
        ("3.2", ">=3 <4", True),
        ("v3.2.1", "^3", True),
        ("4.0", "^3", False),
        ("1.4.9", "~1.4.2", True),
        ("1.5.0", "~1.4.2", False),
        ("3", "=3.0", True),
        ("latest", ">=0", False),
        ("13.0-38", ">13.0", True),
    ],
)
def test_semver_compares_numbers(tag, comparisons, holds):
    assert satisfies(tag, comparisons) is holds


def test_versions_sort_by_number():
    assert sorted(["1.10", "latest", "1.9", "1.9-2"], key=version_key) == ["latest", "1.9", "1.9-2", "1.10"]
