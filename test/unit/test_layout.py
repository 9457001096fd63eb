"""What a layout holds: images under their names, as we and other tools write them."""

from __future__ import annotations

import json
import os

import pytest

import _registry_oci_errors as errors
from _registry_oci_manifest import Descriptor
from _registry_oci_names import digest_of
from _registry_store_layout import LayoutStore
from _registry_store_layout_index import Entry
from support.images import Layer, docker_image, docker_list, oci_image, oci_index
from support.layouts import entries, entry_of, fill, make_layout, manifest_of, path_of

IMAGE = oci_image([Layer("a"), Layer("b")])
ARM = oci_image([Layer("a")], architecture="arm64")
INDEX = oci_index([IMAGE, ARM])
NOWHERE = digest_of(b"nowhere")


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "layout"


@pytest.fixture
def store(directory):
    return LayoutStore(str(directory), side="local")


def test_a_store_names_itself_by_side_and_directory(store, directory):
    assert str(store) == f"local layout {directory}"


@pytest.mark.parametrize("build", [docker_image, oci_image])
def test_an_image_comes_back_byte_for_byte(store, build):
    image = build([Layer("a"), Layer("b")])
    fill(store, "some/app", "1.0", image)
    manifest = store.manifest("some/app", "1.0")
    assert (manifest.body, manifest.media_type) == (image.manifest, image.media_type)
    for blob in manifest.blobs:
        assert digest_of(b"".join(store.read("some/app", blob))) == blob.digest


@pytest.mark.parametrize("build", [docker_list, oci_index])
def test_the_children_of_an_index_are_in_its_repository_alone(store, build):
    index = build([IMAGE, ARM])
    fill(store, "some/app", "multi", index)
    for child in index.children:
        assert store.manifest("some/app", child.digest).body == child.manifest
        with pytest.raises(errors.NotFound):
            store.resolve("another/app", child.digest)


def test_tags_and_repositories_are_those_of_the_index(store):
    fill(store, "b/app", "2", IMAGE)
    fill(store, "b/app", "1", IMAGE)
    fill(store, "a/app", ARM.digest, ARM)
    assert list(store.repositories()) == ["a/app", "b/app"]
    assert store.tags("b/app") == ["1", "2"]
    assert store.tags("a/app") == []
    with pytest.raises(errors.NotFound, match="no repository 'c/app'"):
        store.tags("c/app")


def test_what_a_tag_or_digest_points_to_is_told_without_reading_it(store):
    fill(store, "x", "multi", INDEX)
    expected = Descriptor(INDEX.digest, len(INDEX.manifest), INDEX.media_type)
    assert store.resolve("x", "multi") == expected
    assert store.resolve("x", INDEX.digest) == expected
    child = store.resolve("x", ARM.digest)
    assert (child.digest, child.size, child.media_type) == (ARM.digest, len(ARM.manifest), ARM.media_type)


@pytest.mark.parametrize("reference", ["2", NOWHERE, "../1", ""])
def test_what_is_not_there_is_not_found(store, reference):
    fill(store, "x", "1", IMAGE)
    for use in (store.resolve, store.manifest, store.delete):
        with pytest.raises(errors.NotFound):
            use("x", reference)


def test_a_tag_whose_manifest_is_gone_is_not_found(store, directory):
    fill(store, "x", "1", IMAGE)
    path_of(directory, IMAGE.digest).unlink()
    with pytest.raises(errors.NotFound, match="has no x:1"):
        store.resolve("x", "1")


def test_a_flipped_byte_in_a_manifest_is_told_and_mended_by_the_next_put(store, directory):
    fill(store, "x", "1", IMAGE)
    rotten = IMAGE.manifest.replace(b"2", b"3", 1)
    path_of(directory, IMAGE.digest).write_bytes(rotten)
    with pytest.raises(errors.DigestMismatch, match="x:1 is not what its digest"):
        store.manifest("x", "1")
    fill(store, "x", "1", IMAGE)
    assert store.manifest("x", "1").body == IMAGE.manifest


@pytest.mark.parametrize("body", [b"no JSON", b'{"schemaVersion": 1}', b'{"padding": "' + b" " * 5_000_000])
def test_what_is_no_manifest_is_unsupported(store, directory, body):
    entry = entry_of(IMAGE, ref="x:1") | {"digest": digest_of(body), "size": len(body)}
    make_layout(directory, entry, blobs=[body])
    with pytest.raises(errors.Unsupported, match="x:1") as caught:
        store.manifest("x", "1")
    assert caught.value.side == "local"


def test_a_manifest_without_what_it_needs_is_refused(store, directory):
    config, layer, _ = IMAGE.blobs
    store.write("x", Descriptor(config.digest, config.size), config.chunks())
    with pytest.raises(errors.BlobUnknown, match=layer.digest):
        store.put("x", "1", manifest_of(IMAGE))
    with pytest.raises(errors.BlobUnknown, match=IMAGE.digest):
        store.put("x", "multi", manifest_of(INDEX))
    assert entries(directory) == []
    assert not store.has("x", IMAGE.digest)


def test_a_manifest_whose_layer_was_cut_is_refused(store, directory):
    fill(store, "x", "1", IMAGE)
    layer = IMAGE.blobs[1]
    os.truncate(path_of(directory, layer.digest), layer.size - 1)
    with pytest.raises(errors.BlobUnknown, match=layer.digest):
        store.put("x", "2", manifest_of(IMAGE))


def test_a_manifest_cannot_be_put_under_the_digest_of_another(store):
    fill(store, "x", "1", IMAGE)
    with pytest.raises(errors.DigestMismatch):
        store.put("x", NOWHERE, manifest_of(IMAGE))


@pytest.mark.parametrize(
    ("repository", "reference"),
    [("x", ""), ("x", "a/b"), ("x", "../1"), ("x:y", NOWHERE + "0"), ("x@y", "1")],
)
def test_a_name_that_would_be_read_as_another_is_refused(store, repository, reference):
    fill(store, "x", "1", IMAGE)
    with pytest.raises(errors.Unsupported, match="cannot hold the name"):
        store.put(repository, reference, manifest_of(IMAGE))


def test_a_tag_moves_to_another_manifest(store, directory):
    fill(store, "x", "latest", IMAGE)
    fill(store, "y", "latest", IMAGE)
    fill(store, "x", "latest", ARM)
    assert store.resolve("x", "latest").digest == ARM.digest
    assert store.resolve("y", "latest").digest == IMAGE.digest
    assert len(entries(directory)) == 2


def test_a_tag_is_forgotten_and_its_blobs_stay(store):
    fill(store, "x", "1", IMAGE)
    fill(store, "x", "2", IMAGE)
    store.delete("x", "1")
    assert store.tags("x") == ["2"]
    store.delete("x", "2")
    assert list(store.repositories()) == []
    assert all(store.has("x", blob.digest) for blob in IMAGE.blobs)


def test_a_manifest_is_forgotten_with_all_tags_of_its_repository(store):
    for repository, reference in [("x", "1"), ("x", "2"), ("x", IMAGE.digest), ("y", "1")]:
        fill(store, repository, reference, IMAGE)
    fill(store, "x", "arm", ARM)
    store.delete("x", IMAGE.digest)
    assert store.tags("x") == ["arm"]
    assert store.tags("y") == ["1"]
    with pytest.raises(errors.NotFound):
        store.resolve("x", IMAGE.digest)


def test_what_was_put_by_its_digest_stays_when_the_index_that_names_it_goes(store):
    fill(store, "x", "multi", INDEX)
    store.delete("x", "multi")
    assert store.resolve("x", ARM.digest).digest == ARM.digest


def test_referrers_are_found_under_tags_digests_and_in_indexes(store, directory):
    by_digest, tagged, listed = (
        oci_image([Layer("a")], subject=IMAGE, annotations={"how": how}) for how in ("digest", "tag", "index")
    )
    fill(store, "x", "1", IMAGE)
    fill(store, "x", by_digest.digest, by_digest)
    fill(store, "x", "sig", tagged)
    fill(store, "x", "list", oci_index([listed]))
    store.delete("x", listed.digest)
    assert {one.digest for one in store.referrers("x", IMAGE.digest)} == {
        image.digest for image in (by_digest, tagged, listed)
    }
    assert store.referrers("x", ARM.digest) == []
    assert store.referrers("y", IMAGE.digest) == []


def test_a_broken_manifest_hides_no_referrer_of_another(store, directory):
    signature = oci_image([Layer("a")], subject=IMAGE)
    fill(store, "x", "1", IMAGE)
    fill(store, "x", "broken", ARM)
    fill(store, "x", "sig", signature)
    path_of(directory, ARM.digest).write_bytes(b"rot")
    fresh = LayoutStore(str(directory), side="local")
    assert [one.digest for one in fresh.referrers("x", IMAGE.digest)] == [signature.digest]


@pytest.mark.parametrize(
    ("annotations", "repository", "reference"),
    [
        ({"ref": "some/app:1.0"}, "some/app", "1.0"),
        ({"ref": "1.0"}, "", "1.0"),
        ({"ref": "docker.io/library/x:1.0"}, "docker.io/library/x", "1.0"),
        ({"ref": "localhost:5000/x:1.0"}, "localhost:5000/x", "1.0"),
        ({"ref": "localhost:5000/x"}, "localhost:5000/x", "latest"),
        ({"ref": "some/app"}, "some/app", "latest"),
        ({"ref": f"x@{NOWHERE}"}, "x", NOWHERE),
        ({"ref": f"x:1.0@{NOWHERE}"}, "x", "1.0"),
        ({"ref": "1.0", "containerd": "docker.io/library/x:1.0"}, "docker.io/library/x", "1.0"),
        ({"containerd": "docker.io/library/x:1.0"}, "docker.io/library/x", "1.0"),
        ({"ref": "some/app:1", "containerd": "docker.io/library/x:1.0"}, "some/app", "1"),
        ({"ref": 7}, "", IMAGE.digest),
        ({}, "", IMAGE.digest),
    ],
)
def test_names_of_other_tools_have_a_place(annotations, repository, reference):
    assert Entry(entry_of(IMAGE, **annotations)).place("") == (repository, reference)


def test_bare_tags_belong_to_the_repository_that_the_store_is_told(directory):
    make_layout(directory, entry_of(IMAGE, ref="1.0"), entry_of(ARM), blobs=[IMAGE.manifest, ARM.manifest])
    store = LayoutStore(str(directory), side="upstream", repository="some/app")
    assert list(store.repositories()) == ["some/app"]
    assert store.tags("some/app") == ["1.0"]
    assert store.manifest("some/app", ARM.digest).body == ARM.manifest


def test_bare_tags_can_be_written_without_a_repository(store, directory):
    fill(store, "", "1.0", IMAGE)
    fill(store, "", ARM.digest, ARM)
    assert [entry.get("annotations") for entry in entries(directory)] == [
        {"org.opencontainers.image.ref.name": "1.0"},
        None,
    ]
    fresh = LayoutStore(str(directory), side="local")
    assert fresh.tags("") == ["1.0"]
    assert fresh.manifest("", ARM.digest).body == ARM.manifest


def test_what_others_have_noted_in_an_index_stays(store, directory):
    theirs = entry_of(ARM, ref="theirs:1") | {"platform": {"os": "linux"}, "artifactType": "x/y"}
    strange = {"digest": "sha512:abc", "size": "many"}
    make_layout(directory, theirs, theirs, strange, blobs=[ARM.manifest], annotations={"who": "they"})
    fill(store, "ours", "1", IMAGE)
    document = json.loads((directory / "index.json").read_text())
    assert document["annotations"] == {"who": "they"}
    assert document["manifests"][:3] == [theirs, theirs, strange]
    store.delete("theirs", "1")
    assert list(store.repositories()) == ["", "ours"]


def test_a_child_that_a_layout_leaves_out_is_not_found(store, directory):
    make_layout(directory, entry_of(INDEX, ref="x:multi"), blobs=[INDEX.manifest, IMAGE.manifest])
    assert store.manifest("x", IMAGE.digest).body == IMAGE.manifest
    with pytest.raises(errors.NotFound):
        store.manifest("x", ARM.digest)
