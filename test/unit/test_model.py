from __future__ import annotations

import json

import pytest

from _registry_oci_manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    ManifestError,
    keep_platforms,
    read_manifest,
)
from _registry_oci_names import digest_of, is_repository, is_tag
from _registry_oci_tags import TagRule, satisfies, select_tags, version_key
from support.images import Layer, docker_image, docker_list, oci_image, oci_index

LAYERS = [Layer("a"), Layer("b")]
DIGEST = digest_of(b"x")


def body(**entries):
    return json.dumps({"schemaVersion": 2, **entries}).encode()


def descriptor(**entries):
    return {"mediaType": "x", "digest": DIGEST, "size": 1, **entries}


@pytest.mark.parametrize("build", [docker_image, oci_image])
def test_an_image_names_its_config_and_layers(build):
    image = build(LAYERS)
    manifest = read_manifest(image.manifest, image.media_type)
    assert manifest.digest == image.digest
    assert [(blob.digest, blob.size) for blob in manifest.blobs] == [
        (blob.digest, blob.size) for blob in image.blobs
    ]


@pytest.mark.parametrize("build", [docker_list, oci_index])
def test_an_index_names_its_children(build):
    children = [docker_image(LAYERS), docker_image(LAYERS, architecture="arm64")]
    index = build(children)
    manifest = read_manifest(index.manifest, index.media_type)
    assert [child.digest for child in manifest.children] == [child.digest for child in children]
    assert [child.platform for child in manifest.children] == ["linux/amd64", "linux/arm64"]


def test_an_oci_manifest_need_not_say_what_it_is():
    assert read_manifest(body(manifests=[]), "application/json").media_type == OCI_INDEX
    plain = body(config=descriptor(), layers=[])
    assert read_manifest(plain, "").media_type == OCI_MANIFEST


def test_foreign_layers_are_not_asked_for():
    foreign = Layer(
        "far",
        media_type="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        urls=("https://elsewhere.example.com/layer",),
    )
    image = docker_image([*LAYERS, foreign])
    assert foreign.digest not in {b.digest for b in read_manifest(image.manifest, image.media_type).blobs}


@pytest.mark.parametrize(
    ("manifest", "media_type", "reason"),
    [
        (b"<html>", DOCKER_MANIFEST, "not JSON"),
        (b"[" * 100_000, DOCKER_MANIFEST, "not JSON"),
        (b"[]", DOCKER_MANIFEST, "not a JSON object"),
        (json.dumps({"schemaVersion": 1}).encode(), DOCKER_MANIFEST, "schema1"),
        (body(), "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema1"),
        (body(mediaType="application/x-tape"), "", "'application/x-tape' cannot be mirrored"),
        (body(layers=[]), DOCKER_MANIFEST, "no config"),
        (body(config=descriptor(), layers="x"), DOCKER_MANIFEST, "no list of layers"),
        (body(config=descriptor(), layers=[1]), DOCKER_MANIFEST, "no list of layers"),
        (body(config=descriptor(digest="../x"), layers=[]), DOCKER_MANIFEST, "valid digest"),
        (body(config=descriptor(digest="md5:aa"), layers=[]), DOCKER_MANIFEST, "kind md5"),
        (body(config=descriptor(size=-1), layers=[]), DOCKER_MANIFEST, "impossible size"),
        (body(config=descriptor(size="1"), layers=[]), DOCKER_MANIFEST, "impossible size"),
        (body(config=descriptor(size=10**13), layers=[]), DOCKER_MANIFEST, "impossible size"),
        (body(manifests=[{"digest": DIGEST}]), DOCKER_LIST, "impossible size"),
    ],
)
def test_what_cannot_be_mirrored_says_why(manifest, media_type, reason):
    with pytest.raises(ManifestError, match=reason):
        read_manifest(manifest, media_type)


def index_of(*platforms):
    images = [docker_image(LAYERS, architecture=name) for name in platforms]
    return read_manifest(docker_list(images).manifest, DOCKER_LIST)


def test_a_choice_of_platforms_makes_a_smaller_index_that_is_the_same_each_time():
    whole = index_of("amd64", "arm64", "s390x")
    chosen = keep_platforms(whole, ["linux/arm64", "linux/amd64"])
    assert [child.platform for child in chosen.children] == ["linux/amd64", "linux/arm64"]
    assert chosen == keep_platforms(whole, ["linux/arm64", "linux/amd64"])
    assert chosen.digest == digest_of(chosen.body) != whole.digest


def test_an_index_that_has_nothing_else_stays_as_it_is():
    whole = index_of("amd64", "arm64")
    assert keep_platforms(whole, ["linux/amd64", "linux/arm64"]) is whole
    assert keep_platforms(whole, []) is whole


def test_a_platform_that_is_not_there_is_absent():
    with pytest.raises(ManifestError, match=r"linux/ppc64le is there \(there: linux/amd64\)") as caught:
        keep_platforms(index_of("amd64"), ["linux/ppc64le"])
    assert caught.value.cause == "absent"


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


@pytest.mark.parametrize("name", ["a", "a/b-c_d.e", "a__b", "a---b", "0/1/2"])
def test_repository_names_of_the_spec(name):
    assert is_repository(name)


@pytest.mark.parametrize("name", ["", "A", "a/", "/a", "a//b", "a..b", "a/../b", "a___b", "-a", "a" * 256])
def test_names_that_are_no_repository(name):
    assert not is_repository(name)


def test_tags_of_the_spec():
    assert is_tag("A_b.c-1")
    assert not is_tag("a" * 129)
    assert not is_tag(".a")
