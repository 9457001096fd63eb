from __future__ import annotations

import contextlib
import json
import re

import pytest

from _registry_oci_manifest import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    ManifestError,
    keep_platforms,
    read_manifest,
)
from _registry_oci_names import digest_of, printable
from support.images import OCI_LAYER, Layer, docker_image, docker_list, oci_image, oci_index

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


def test_foreign_layers_are_told_and_not_asked_for():
    foreign = Layer(
        "far",
        media_type="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        urls=("https://elsewhere.example.com/layer",),
    )
    image = docker_image([*LAYERS, foreign])
    manifest = read_manifest(image.manifest, image.media_type)
    assert [blob.digest for blob in manifest.blobs] == [blob.digest for blob in image.blobs]
    assert [layer.digest for layer in manifest.foreign] == [foreign.digest]


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
        (
            body(config=descriptor(digest="md5:aa"), layers=[]),
            DOCKER_MANIFEST,
            "by md5:aa, which",
        ),
        (body(config=descriptor(size=-1), layers=[]), DOCKER_MANIFEST, "impossible size"),
        (body(config=descriptor(size="1"), layers=[]), DOCKER_MANIFEST, "impossible size"),
        (body(config=descriptor(size=10**13), layers=[]), DOCKER_MANIFEST, "impossible size"),
        (body(manifests=[{"digest": DIGEST}]), DOCKER_LIST, "impossible size"),
        (body(config=descriptor(size=1.0), layers=[]), DOCKER_MANIFEST, "impossible size"),
        (body(config=descriptor(size=True), layers=[]), DOCKER_MANIFEST, "impossible size"),
        (body(config=descriptor()), DOCKER_MANIFEST, "no list of layers"),
        (body(manifests=None), DOCKER_LIST, "no list of manifests"),
        (body(manifests=[descriptor(mediaType=OCI_LAYER)]), OCI_INDEX, "build cache of BuildKit"),
        (body(config=descriptor(), layers={}), OCI_MANIFEST, "no list of layers"),
        (body(config=descriptor(), layers=[], subject="x"), OCI_MANIFEST, "no subject"),
        (body(config=descriptor(), layers=[], subject={}), OCI_MANIFEST, "valid digest"),
        (body(mediaType={"a": 1}, layers=[]), OCI_MANIFEST, "says that it is"),
        (body(mediaType=["x"]), "", "cannot be mirrored"),
        (b'{"config": NaN}', OCI_MANIFEST, "not JSON"),
        ('{"schemaVersion": 2}'.encode("utf-16"), OCI_MANIFEST, "not JSON"),
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


TWO_IN_ONE = [
    body(manifests=[], layers=[]),
    body(manifests=[], config=descriptor()),
    body(manifests=[descriptor()], config=descriptor(), layers=[descriptor()]),
    body(manifests=[], fsLayers=[]),
    body(manifests=[], Layers=[]),
]


@pytest.mark.parametrize("document", TWO_IN_ONE)
@pytest.mark.parametrize("served", [DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX, "", "text/plain"])
def test_what_is_an_index_and_an_image_at_once_is_refused(document, served):
    with pytest.raises(ManifestError, match="an index and an image at once") as caught:
        read_manifest(document, served)
    assert caught.value.cause == "unsupported"


KINDS = [DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX]


@pytest.mark.parametrize("served", KINDS)
@pytest.mark.parametrize("said", [*KINDS, "application/x-tape"])
def test_a_manifest_that_contradicts_its_content_type_is_refused(served, said):
    content = (
        {"manifests": []} if said in (DOCKER_LIST, OCI_INDEX) else {"config": descriptor(), "layers": []}
    )
    document = body(mediaType=said, **content)
    if said == served:
        assert read_manifest(document, f"{served.upper()}; charset=utf-8").media_type == said
        return
    with pytest.raises(ManifestError, match=f"served as {re.escape(served)} but says"):
        read_manifest(document, served)


def test_null_is_as_good_as_not_there():
    assert (
        read_manifest(body(manifests=None, config=descriptor(), layers=None), "").media_type == OCI_MANIFEST
    )


def test_content_of_sha512_is_read():
    digest = digest_of(b"x", "sha512")
    blobs = read_manifest(body(config=descriptor(digest=digest), layers=[]), OCI_MANIFEST).blobs
    assert [blob.digest for blob in blobs] == [digest]


def test_a_manifest_is_known_by_the_algorithm_that_it_was_asked_by():
    plain = body(config=descriptor(), layers=[])
    assert read_manifest(plain, OCI_MANIFEST, "sha512").digest == digest_of(plain, "sha512")
    assert read_manifest(plain, OCI_MANIFEST).size == len(plain)


def test_a_blob_of_two_sizes_is_refused():
    layers = [descriptor(), descriptor(size=2)]
    with pytest.raises(ManifestError, match="two different sizes"):
        read_manifest(body(config=descriptor(), layers=layers), OCI_MANIFEST)
    with pytest.raises(ManifestError, match="two different sizes"):
        read_manifest(body(manifests=layers), OCI_INDEX)


def test_a_blob_of_two_media_types_is_asked_for_once():
    layers = [descriptor(mediaType="y"), descriptor(mediaType="z")]
    blobs = read_manifest(body(config=descriptor(), layers=layers), OCI_MANIFEST).blobs
    assert [blob.media_type for blob in blobs] == ["x"]


EMPTY = "application/vnd.oci.empty.v1+json"
EMPTY_CONFIG = descriptor(mediaType=EMPTY, digest=digest_of(b"{}"), size=2, data="e30=")


@pytest.mark.parametrize("layers", [{}, {"layers": None}, {"layers": []}])
def test_an_artifact_need_not_have_layers(layers):
    manifest = read_manifest(
        body(config=EMPTY_CONFIG, artifactType="application/x-note", **layers), OCI_MANIFEST
    )
    assert [blob.digest for blob in manifest.blobs] == [digest_of(b"{}")]
    assert manifest.artifact_type == "application/x-note"


def test_an_artifact_is_of_the_kind_of_its_config_where_it_does_not_say():
    config = descriptor(mediaType="application/vnd.cncf.helm.config.v1+json")
    assert read_manifest(body(config=config, layers=[]), OCI_MANIFEST).artifact_type == config["mediaType"]


def test_a_manifest_says_what_it_is_about():
    image = oci_image(LAYERS)
    note = oci_image(LAYERS, subject=image)
    subject = read_manifest(note.manifest, OCI_MANIFEST).subject
    assert subject is not None
    assert (subject.digest, subject.size) == (image.digest, len(image.manifest))
    assert subject.digest not in {blob.digest for blob in read_manifest(note.manifest, OCI_MANIFEST).blobs}
    assert read_manifest(image.manifest, OCI_MANIFEST).subject is None
    about = body(manifests=[], subject=descriptor(), artifactType="application/x-note")
    index = read_manifest(about, OCI_INDEX)
    assert (index.subject, index.artifact_type) == (Descriptor(DIGEST, 1, "x"), "application/x-note")


def test_layers_of_zstd_are_layers():
    layer = Layer("z", media_type="application/vnd.oci.image.layer.v1.tar+zstd")
    image = oci_image([layer])
    assert [b.media_type for b in read_manifest(image.manifest, OCI_MANIFEST).blobs][1:] == [layer.media_type]


def test_an_index_in_an_index_is_a_child():
    inner = oci_index([oci_image(LAYERS)])
    outer = body(manifests=[descriptor(mediaType=OCI_INDEX, digest=inner.digest)])
    (child,) = read_manifest(outer, OCI_INDEX).children
    assert child.is_index


HUGE = "x" * 1_000_000
SURROGATE = "\ud800"


@pytest.mark.parametrize("foreign", [HUGE, SURROGATE, {"a": SURROGATE}, 5, [HUGE]], ids=lambda _: "")
def test_a_strange_platform_is_read_as_something_that_can_be_printed(foreign):
    strange = descriptor(platform={"os": foreign, "architecture": foreign, "variant": foreign})
    fine = descriptor(platform={"os": "linux", "architecture": "amd64"})
    index = read_manifest(body(manifests=[strange, fine]), OCI_INDEX)
    assert len(index.children[0].platform.encode()) < 1000
    assert [child.platform for child in keep_platforms(index, ["linux/amd64"]).children] == ["linux/amd64"]
    with pytest.raises(ManifestError) as caught:
        keep_platforms(index, ["linux/arm64"])
    assert len(str(caught.value).encode()) < 1000


def test_a_thousand_platforms_are_told_in_a_line():
    entries = [descriptor(platform={"os": "linux", "architecture": f"a{n}"}) for n in range(1000)]
    with pytest.raises(ManifestError) as caught:
        keep_platforms(read_manifest(body(manifests=entries), OCI_INDEX), ["linux/arm64"])
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "document",
    [
        body(mediaType=HUGE),
        body(mediaType=SURROGATE),
        body(config=descriptor(digest=HUGE), layers=[]),
        body(config=descriptor(digest="x:" + HUGE), layers=[]),
        body(config=descriptor(digest=HUGE + ":x"), layers=[]),
        body(config=descriptor(digest=SURROGATE), layers=[]),
        body(manifests=[descriptor(digest="x:" + HUGE)]),
    ],
    ids=lambda _: "",
)
@pytest.mark.parametrize("served", ["", OCI_MANIFEST])
def test_what_a_manifest_says_is_cut_in_messages(document, served):
    with pytest.raises(ManifestError) as caught:
        read_manifest(document, served)
    message = str(caught.value)
    assert len(message.encode()) < 500
    assert printable(message, 500) == message


def test_a_strange_media_type_is_printable():
    layers = [descriptor(mediaType=HUGE), descriptor(mediaType=SURROGATE), descriptor(mediaType=7)]
    for layer in layers:
        (blob,) = read_manifest(body(config=layer, layers=[]), OCI_MANIFEST).blobs
        assert len(blob.media_type.encode()) < 300


def child(architecture):
    return descriptor(platform={"os": "linux", "architecture": architecture})


@pytest.mark.parametrize("depth", [300, 700, 900, 2000, 100_000])
def test_an_index_of_any_depth_is_read_or_refused(depth):
    deep = body(x="HERE", manifests=[child("amd64"), child("arm64")])
    deep = deep.replace(b'"HERE"', b"[" * depth + b"]" * depth)
    with contextlib.suppress(ManifestError):
        assert len(keep_platforms(read_manifest(deep, OCI_INDEX), ["linux/amd64"]).children) == 1


def attested(*architectures, lost=False):
    """An index as BuildKit writes it: each image, then an attestation to each."""
    images = [
        descriptor(digest=digest_of(name.encode()), platform={"os": "linux", "architecture": name})
        for name in architectures
    ]
    about = [image["digest"] for image in images] + [DIGEST] * lost
    attestations = [
        descriptor(
            digest=digest_of(digest.encode()),
            platform={"os": "unknown", "architecture": "unknown"},
            annotations={
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": digest,
            },
        )
        for digest in about
    ]
    return read_manifest(body(mediaType=OCI_INDEX, manifests=images + attestations), OCI_INDEX)


def test_attestations_stay_with_the_image_that_they_are_about():
    chosen = keep_platforms(attested("amd64", "arm64"), ["linux/arm64"])
    image, attestation = chosen.children
    assert image.platform == "linux/arm64"
    assert attestation.attests == image.digest == digest_of(b"arm64")


def test_an_index_of_which_all_images_and_attestations_stay_is_the_same():
    whole = attested("amd64", "arm64")
    assert keep_platforms(whole, ["linux/arm64", "linux/amd64"]) is whole


def test_an_attestation_to_nothing_falls_out():
    whole = attested("amd64", lost=True)
    assert [child.platform for child in whole.children] == [
        "linux/amd64",
        "unknown/unknown",
        "unknown/unknown",
    ]
    assert keep_platforms(whole, ["linux/amd64"]).children == whole.children[:2]


@pytest.mark.parametrize("notes", [{"vnd.docker.reference.digest": [DIGEST]}, "x", None, [1]])
def test_strange_annotations_attest_nothing(notes):
    (child,) = read_manifest(body(manifests=[descriptor(annotations=notes)]), OCI_INDEX).children
    assert child.attests == ""
