"""What is attached to manifests, as values: names, descriptors and lists."""

from __future__ import annotations

import json

import pytest

from _registry_oci_manifest import DOCKER_LIST, OCI_INDEX, OCI_MANIFEST, ManifestError, read_manifest
from _registry_oci_referrers import (
    cosign_tags,
    entries_of,
    fallback_index,
    fallback_tag,
    is_attachment_tag,
    layers_of,
    listed_referrers,
    read_list,
    referrer,
    refers_to,
    stems_of,
    tags_of,
    with_layers_of,
)

A, B, C = ("sha256:" + letter * 64 for letter in "abc")
LONG = "sha512:" + "d" * 128
EMPTY = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": C, "size": 2}


def manifest(subject=A, **members):
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": EMPTY, "layers": [], **members}
    if subject:
        document["subject"] = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 3}
    return read_manifest(json.dumps(document).encode(), OCI_MANIFEST)


def index(*digests, media_type=OCI_INDEX, **members):
    entries = [{"mediaType": OCI_MANIFEST, "digest": digest, "size": 3} for digest in digests]
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries, **members}
    return read_manifest(json.dumps(document).encode(), media_type)


@pytest.mark.parametrize(
    ("digest", "tag"),
    [
        (A, "sha256-" + "a" * 64),
        (LONG, "sha512-" + "d" * 64),
        ("test+algorithm+using+algorithm+separators+and+lots+of+characters+to+excercise+overall+truncation:"
         "alsoSome=InTheEncodedSectionToShowHyphenReplacementAndLotsAndLotsOfCharactersToExcerciseEncodedTruncation",
         "test-algorithm-using-algorithm-s-alsoSome-InTheEncodedSectionToShowHyphenReplacementAndLotsAndLot"),
    ],
)  # fmt: skip
def test_the_fallback_tag_is_cut_as_the_specification_says(digest, tag):
    assert fallback_tag(digest) == tag


def test_cosign_has_three_tags_for_a_digest_and_none_for_one_that_is_too_long():
    assert cosign_tags(A) == [f"sha256-{'a' * 64}{suffix}" for suffix in (".sig", ".att", ".sbom")]
    assert cosign_tags(LONG) == []


@pytest.mark.parametrize(
    "name", [fallback_tag(A), fallback_tag(LONG), *cosign_tags(A), cosign_tags(A)[0] + ".x"]
)
def test_a_tag_made_of_a_digest_is_one_of_an_attachment(name):
    assert is_attachment_tag(name)


@pytest.mark.parametrize("name", ["1.0", "sha256-abc", "sha256-" + "g" * 64, "x" + fallback_tag(A), "sha256"])
def test_any_other_tag_is_one_of_an_image(name):
    assert not is_attachment_tag(name)


def test_of_many_tags_those_of_a_digest_are_told():
    names = [*cosign_tags(B), "1.0", fallback_tag(A), *cosign_tags(A), fallback_tag(A) + "x.sig"]
    assert tags_of(A, names) == sorted(cosign_tags(A))
    assert stems_of([A]) == {fallback_tag(A)}
    assert stems_of([LONG]) == {fallback_tag(LONG), LONG.replace(":", "-")}


@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ({"artifactType": "a/b"}, "a/b"),
        ({}, EMPTY["mediaType"]),
        ({"artifactType": ""}, EMPTY["mediaType"]),
        ({"config": {**EMPTY, "mediaType": ""}}, None),
    ],
    ids=["said", "of-its-config", "empty", "none"],
)
def test_the_kind_of_a_referrer_is_what_it_says_or_what_its_config_is(members, kind):
    assert referrer(manifest(**members)).get("artifactType") == kind


def test_the_descriptor_of_a_referrer_is_made_of_its_manifest_alone():
    one = manifest(artifactType="a/b", annotations={"z": "1", "a": "\u00e4"})
    assert referrer(one) == {
        "mediaType": OCI_MANIFEST,
        "digest": one.digest,
        "size": one.size,
        "artifactType": "a/b",
        "annotations": {"a": "\u00e4", "z": "1"},
    }
    assert "annotations" not in referrer(manifest())


def test_an_index_without_a_kind_has_none_as_a_referrer():
    assert "artifactType" not in referrer(index(B, subject={"digest": A, "size": 1}))


def test_a_list_has_the_same_bytes_whatever_the_order():
    many = [manifest(annotations={"n": str(number)}) for number in range(5)]
    one = fallback_index(many)
    assert one.body == fallback_index([*reversed(many), many[0]]).body
    assert [child.digest for child in one.children] == sorted(each.digest for each in many)
    assert one.media_type == OCI_INDEX


def test_a_list_keeps_what_others_say_unless_the_manifest_is_known():
    mine = manifest()
    told = {"mediaType": "x/y", "digest": B, "size": 1, "more": [1]}
    lie = {"mediaType": OCI_MANIFEST, "digest": mine.digest, "size": 7}
    assert entries_of(fallback_index([mine], [told, lie])) == {B: told, mine.digest: referrer(mine)}


def test_a_list_of_referrers_is_an_oci_index_and_not_its_subject():
    there = index(B, C)
    assert [one.digest for one in listed_referrers(there, A) or ()] == [B, C]
    assert listed_referrers(there, there.digest) is None
    assert listed_referrers(index(B, media_type=DOCKER_LIST), A) is None
    assert listed_referrers(manifest(), A) is None


def test_a_manifest_says_itself_what_it_is_about():
    assert refers_to(manifest(), A)
    assert not refers_to(manifest(), B)
    assert not refers_to(manifest(subject=None), A)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"manifests": [{"digest": "x"}]}', b'{"manifests": 1}'])
def test_an_answer_that_is_no_list_is_refused(body):
    with pytest.raises(ManifestError):
        read_list(body)


def test_an_empty_answer_is_an_empty_list():
    assert read_list(b'{"schemaVersion": 2, "manifests": []}') == []


def layer(word, digest=B):
    return {"mediaType": "x/y", "digest": digest, "size": 3, "annotations": {"signature": word}}


def test_signatures_of_one_payload_are_told_apart_by_their_annotations():
    one, two = manifest(layers=[layer("1")]), manifest(layers=[layer("1"), layer("2")])
    assert layers_of(one) < layers_of(two)
    assert with_layers_of(two, one) is two
    merged = with_layers_of(one, manifest(layers=[layer("3"), layer("1")]))
    assert json.loads(merged.body)["layers"] == [layer("1"), layer("3")]
