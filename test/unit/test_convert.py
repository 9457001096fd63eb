"""The files of other programs as pillars of ours."""

from __future__ import annotations

import fnmatch
import itertools
import re
from pathlib import Path

import pytest
import yaml

from _registry_config_convert import ConvertError, convert
from _registry_config_convert_rules import CannotSay, comparisons_of, patterns_of, set_of_expressions
from _registry_config_read import read_settings
from _registry_oci_tags import TagRule, select_tags

FOREIGN = Path(__file__).parent / "foreign"
FILES = sorted(FOREIGN.iterdir())


def converted(name):
    """Return the pillar, and the comments, that a file of ours becomes."""
    text = convert((FOREIGN / name).read_text())
    return yaml.safe_load(text)["docker_registry"], [
        line for line in text.splitlines() if line.startswith("#")
    ]


def image(pillar, name):
    (found,) = [entry for entry in pillar["images"] if entry["name"] == name]
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_what_comes_of_a_file_passes_the_check_of_settings(file):
    pillar, _ = converted(file.name)
    assert read_settings(pillar, host="mirror").images


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_no_secret_of_a_file_is_shown(file):
    text = convert(file.read_text())
    for secret in ("correct-horse-battery", "hunter", "pusher", "HUB_USER", "/run/secrets"):
        assert secret not in text


def test_skopeo_names_tags_and_digests_as_they_are_written():
    pillar, _ = converted("skopeo.yaml")
    digest = "sha256:00000000000000000000000000000000aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    assert image(pillar, "tools/redis")["tags"] == ["7.2", "7.10", digest]
    assert image(pillar, "tools/all")["tags"] == ["*"]


def test_skopeo_registries_become_upstreams_the_most_used_one_the_common_one():
    pillar, comments = converted("skopeo.yaml")
    assert pillar["upstream"] == {
        "host": "registry.example.com",
        "port": 5443,
        "username": "PLACEHOLDER",
        "password": "PLACEHOLDER",
    }
    assert image(pillar, "coreos/etcd")["upstream"] == {"host": "quay.io", "port": 443, "verify": False}
    # A name of one word is one of Docker's own images.
    assert image(pillar, "library/golang")["upstream"] == {"host": "docker.io", "port": 443}
    assert any("credentials" in line and "PLACEHOLDER" in line for line in comments)


def test_skopeo_expressions_and_versions_become_patterns_and_comparisons():
    pillar, comments = converted("skopeo.yaml")
    assert image(pillar, "web/nginx")["tags"] == ["1.2[5-7].[12]-alpine"]
    assert image(pillar, "web/httpd")["tags"] == {"include": ["2.4.[0-9]*"], "semver": ">=0"}
    assert image(pillar, "prometheus/node-exporter")["tags"]["semver"] == ">=1.8.0 <2"
    assert image(pillar, "cephcsi/cephcsi")["tags"]["semver"] == ">=v3.1.1 <=v3.4.0"
    assert image(pillar, "library/golang")["tags"] == {"include": ["1.22-bookworm", "*"], "semver": ">=1.21"}
    text = "\n".join(comments)
    for lost in (
        "web/odd: not carried",
        "either/way: not carried",
        "cert-dir: not carried",
        "web/httpd: no p",
    ):
        assert lost in text


def test_regsync_targets_are_local_and_names_there_are_kept():
    pillar, _ = converted("regsync.yaml")
    assert pillar["local"] == {
        "host": "mirror.example.com",
        "port": 5000,
        "tls": False,
        "username": "PLACEHOLDER",
        "password": "PLACEHOLDER",
    }
    assert image(pillar, "library/busybox") == {"name": "library/busybox", "tags": ["1.36", "latest"]}
    assert image(pillar, "library/alpine")["target"] == "hub/alpine"


def test_regsync_rules_of_tags_are_carried():
    pillar, _ = converted("regsync.yaml")
    alpine = image(pillar, "library/alpine")["tags"]
    assert alpine == {"include": ["3?20", "3.[0-9]*", "edge"], "exclude": ["*-rc*"]}
    regctl = image(pillar, "tools/regctl")
    assert regctl["platforms"] == ["linux/arm64"]
    assert regctl["tags"]["include"] == ["latest", "edge", "v[0-9]*.[0-9]*.[0-9]*"]
    assert regctl["tags"]["semver"] == ">=0.5.1 <1.0"


def test_regsync_schedule_and_backup_are_carried_and_the_rest_is_named():
    pillar, comments = converted("regsync.yaml")
    assert pillar["schedule"] == {"function": "sync", "hours": 2}
    assert pillar["backup"] == {"keep": 1, "tags": "was-{tag}-{n}"}
    text = "\n".join(comments)
    for lost in (
        "sync:2: not carried; it keeps a tag under another one",
        "sync:5: not carried; it has a template",
        "sync:6: not carried; it mirrors a whole registry",
        "sync:7: not carried; it is about a directory",
        "creds:2:regcert: not carried",
        "creds:2:reqPerSec: not carried",
        "defaults:parallel: not carried",
    ):
        assert lost in text


@pytest.mark.parametrize("version", [1, 2])
def test_additional_images_of_oc_mirror_are_carried_and_the_rest_is_named(version):
    pillar, comments = converted(f"oc-mirror-v{version}.yaml")
    assert pillar["upstream"] == {"host": "registry.redhat.io"}
    assert image(pillar, "ubi9/ubi")["tags"] == ["9.4"]
    lost = {
        1: ["mirror:platform: not", "mirror:operators: not", "additionalImages:3: not", "storageConfig: not"],
        2: ["additionalImages:2: not carried", "additionalImages:3: not carried", "mirror:helm: not"],
    }
    for words in lost[version]:
        assert words in "\n".join(comments)


def test_oc_mirror_names_without_a_tag_mean_latest_and_digests_stay():
    pillar, _ = converted("oc-mirror-v1.yaml")
    assert image(pillar, "ubi9/ubi-minimal")["tags"] == ["latest"]
    (digest,) = image(pillar, "example/tool")["tags"]
    assert digest.startswith("sha256:")
    assert pillar["bundle"] == {"volume": "4GiB"}
    newer, _ = converted("oc-mirror-v2.yaml")
    python = image(newer, "ubi9/python-312")
    assert python["target"] == "base/python"
    assert python["tags"][0].startswith("1@sha256:")


def test_keys_of_oc_mirror_may_be_in_any_case():
    text = (FOREIGN / "oc-mirror-v1.yaml").read_text()
    pillar = yaml.safe_load(convert(text.replace("additionalImages", "additionalimages")))
    assert image(pillar["docker_registry"], "ubi9/ubi")["tags"] == ["9.4"]


def test_what_our_own_check_refuses_is_a_comment_and_the_rest_is_carried():
    text = convert(
        "sync:\n"
        "- {source: quay.io/a/b, target: 'm:5000/x/y', type: repository}\n"
        "- {source: quay.io/c/d, target: 'm:5000/x/y', type: repository}\n"
        "- {source: quay.io/e/f, target: 'm:5000/e/f', type: repository}\n"
    )
    assert [entry["name"] for entry in yaml.safe_load(text)["docker_registry"]["images"]] == ["a/b", "e/f"]
    assert "# - c/d: not carried; lands on x/y" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is no YAML"),
        ("", "is none of"),
        ("- a\n- b\n", "is none of"),
        ("services: {web: {image: nginx}}", "is none of"),
        ("kind: ImageSetConfiguration\napiVersion: mirror.openshift.io/v9\nmirror: {}", "is none of"),
        ("kind: ImageSetConfiguration\napiVersion: [a]\nmirror: {}", "is none of"),
        ("created: !!timestamp 2024-13-45", "is none of"),
        ("a: !!int [1]", "is no YAML"),
        ("quay.io: {images: {}}", "has no image that can be carried"),
        ("sync: []", "has no image that can be carried"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_a_sentence(text, message):
    with pytest.raises(ConvertError, match=message):
        convert(text)


def test_a_value_is_the_text_that_it_is_whatever_its_tag_says():
    pillar = yaml.safe_load(convert("quay.io: {images: {a/b: [3.10, !!float 3.20, !!int x, !!bool v]}}"))
    assert pillar["docker_registry"]["images"][0]["tags"] == ["3.10", "3.20", "x", "v"]


REGSYNC = "sync: [{{source: a/b, target: m.x/a/b, type: image}}]\n"


@pytest.mark.parametrize(
    "text",
    [
        "{place}: {{images: {{a/b: [x]}}}}",
        "quay.io: {{images: {{'{place}': [x], a/b: [x]}}}}",
        "quay.io: {{images: {{c/d: ['{place}'], a/b: [x]}}}}",
        "quay.io: {{images-by-tag-regex: {{c/d: '({place}'}}, images: {{a/b: [x]}}}}",
        "quay.io: {{images-by-semver: {{c/d: '{place}'}}, images: {{a/b: [x]}}}}",
        "sync: [{{source: '{place}/a/b', target: 'm/a/b', type: image}}]",
        "sync: [{{source: a/b, target: m.x/a/b, type: image, platform: '{place}'}}]",
        REGSYNC + "creds: [{{registry: '{place}'}}]",
        REGSYNC + "creds: [{{registry: a.b, hostname: '{place}'}}]",
        REGSYNC + "defaults: {{backup: '{place}'}}",
        REGSYNC + "defaults: {{schedule: '{place}'}}",
        REGSYNC + "creds: [{{registry: docker.io, token: '{place}'}}]",
    ],
)
def test_a_login_in_an_unexpected_place_is_not_shown(text):
    try:
        shown = convert(text.format(place="user:s3cr3t@x.example.com"))
    except ConvertError as refused:
        shown = str(refused)
    assert "s3cr3t" not in shown


SAMPLE = [
    *(
        "".join(parts)
        for parts in itertools.product(["1", "2.4", "v3", "10.0.1"], ["", "-rc1", "-alpine", ".7"])
    ),
    "latest",
    "edge",
    "a_b",
    "4f5e6d7",
]


@pytest.mark.parametrize(
    "expression",
    [
        r"^1\.2[5-7]$",
        r"^v?\d+$",
        r"^latest$|^edge$",
        r"alpine",
        r"^(v|)3(-alpine|-rc\d)?$",
        r"^\d{1,2}\.\d\.\d$",
        r"^[^v].*-rc.$",
        r"\.7$",
        r"^.+$",
        r"^2.4(\.7)*$",
        r"^(?:1|2\.4)-\w+$",
    ],
)
def test_patterns_find_all_that_an_expression_finds_and_no_more_where_they_say_so(expression):
    patterns, exact = patterns_of(expression)
    found = {tag for tag in SAMPLE if any(fnmatch.fnmatchcase(tag, pattern) for pattern in patterns)}
    wanted = {tag for tag in SAMPLE if re.search(expression, tag)}
    assert found >= wanted
    assert not exact or found == wanted


@pytest.mark.parametrize(
    "expression",
    ["(", ")", "[", "a**", "*", "(?i)a", "(?=a)b", r"\bx", "a+b$^c", "[a/b]", "(a|b|c|d){6}", "/"],
)
def test_an_expression_that_no_pattern_says_is_refused(expression):
    with pytest.raises(CannotSay):
        patterns_of(expression)


def test_of_an_expression_for_versions_only_versions_are_taken():
    tags = set_of_expressions([r"^v?\d+\.\d+\.\d+$"])
    rule = TagRule(tags.include, semver=tags.semver)
    there = ["1.2.3", "v1.3.0", "1.2.3-rc1", "1.2.3-alpine", "1.2", "latest", "20240115"]
    assert select_tags(rule, there) == ["1.2.3", "v1.3.0"]


def test_tags_are_left_out_only_by_patterns_that_are_exact():
    assert set_of_expressions([], ["dev-.*"], anchored=True).exclude == ("dev-*",)
    with pytest.raises(CannotSay):
        set_of_expressions([], [r"\d+"], anchored=True)


@pytest.mark.parametrize(
    ("text", "comparisons"),
    [
        (">= 1.2, < 2", ">=1.2 <2"),
        ("1.2 - 1.4.5", ">=1.2 <=1.4.5"),
        ("~>1.2", "~1.2"),
        ("1.2.x", "~1.2"),
        ("= 3.7", "~3.7"),
        ("1.2.3", "1.2.3"),
        ("^0.4", "^0.4"),
        ("*", ">=0"),
    ],
)
def test_comparisons_of_others_are_ours(text, comparisons):
    assert comparisons_of(text) == comparisons


@pytest.mark.parametrize("text", ["", "^1 || ^2", "abc", ">= "])
def test_comparisons_that_ours_do_not_say_are_refused(text):
    with pytest.raises(CannotSay):
        comparisons_of(text)
