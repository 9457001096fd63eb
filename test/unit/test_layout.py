from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

import _registry_oci_errors as errors
from _registry_oci_manifest import Descriptor, read_manifest
from _registry_oci_names import digest_of
from _registry_store_layout import LayoutStore
from _registry_store_layout_index import Entry
from _registry_store_protocol import Written
from support.images import Layer, docker_image, docker_list, oci_image, oci_index

UTILS = Path(__file__).resolve().parents[2] / "_utils"
BODY = b"content" * 100_000
BLOB = Descriptor(digest_of(BODY), len(BODY))
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


def fill(store, repository, reference, image):
    for blob in image.blobs:
        store.write(repository, Descriptor(blob.digest, blob.size), blob.chunks())
    for child in image.children:
        fill(store, repository, child.digest, child)
    store.put(repository, reference, manifest_of(image))


def manifest_of(image):
    return read_manifest(image.manifest, image.media_type)


def entries(directory):
    return json.loads((directory / "index.json").read_text())["manifests"]


def make_layout(directory, *manifests, blobs=(), version="1.0.0", **rest):
    (directory / "blobs" / "sha256").mkdir(parents=True)
    (directory / "oci-layout").write_text(json.dumps({"imageLayoutVersion": version}))
    document = {"schemaVersion": 2, "manifests": list(manifests), **rest}
    (directory / "index.json").write_text(json.dumps(document))
    for body in blobs:
        path_of(directory, digest_of(body)).write_bytes(body)


def entry_of(image, **annotations):
    names = {"ref": "org.opencontainers.image.ref.name", "containerd": "io.containerd.image.name"}
    notes = {names[key]: value for key, value in annotations.items()}
    content = {"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest)}
    return content | ({"annotations": notes} if notes else {})


def path_of(directory, digest):
    return directory / "blobs" / "sha256" / digest.removeprefix("sha256:")


def partials(directory):
    return list(directory.rglob(".partial-*"))


def in_a_process(directory, script):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(directory)],
        env={**os.environ, "PYTHONPATH": str(UTILS)},
        timeout=60,
        check=False,
    )


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


def test_a_layout_is_made_when_something_is_written_and_not_before(store, directory):
    for read in (
        partial(store.tags, "x"),
        partial(store.resolve, "x", "1"),
        partial(store.manifest, "x", "1"),
    ):
        with pytest.raises(errors.NotFound, match=r"local layout .*/layout: there is nothing yet"):
            read()
    with pytest.raises(errors.NotFound):
        list(store.repositories())
    assert not store.has("x", BLOB.digest)
    assert store.referrers("x", BLOB.digest) == []
    assert not directory.exists()
    store.write("x", BLOB, [BODY])
    assert json.loads((directory / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert entries(directory) == []


def test_an_empty_directory_with_what_a_fresh_disk_has_becomes_a_layout(store, directory):
    (directory / "lost+found").mkdir(parents=True)
    with pytest.raises(errors.NotFound):
        store.tags("x")
    fill(store, "x", "1", IMAGE)
    assert store.tags("x") == ["1"]


def test_a_directory_of_something_else_is_neither_read_nor_written(store, directory):
    directory.mkdir()
    (directory / "passwd").touch()
    for use in (lambda: store.tags("x"), lambda: store.write("x", BLOB, [BODY])):
        with pytest.raises(errors.RegistryError, match="no OCI image layout") as caught:
            use()
        assert (caught.value.cause, caught.value.side) == ("internal", "local")
    assert [path.name for path in directory.iterdir()] == ["passwd"]


def test_a_file_where_the_directory_should_be_is_told(store, directory):
    directory.touch()
    with pytest.raises(errors.RegistryError, match=r"layout.*: Not a directory"):
        store.tags("x")
    with pytest.raises(errors.RegistryError, match=r"layout.*: "):
        store.write("x", BLOB, [BODY])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("oci-layout", "{}", "is of version null"),
        ("oci-layout", '{"imageLayoutVersion": "2.0.0"}', 'is of version "2.0.0", known is 1.0.0'),
        ("oci-layout", "", "oci-layout is not JSON"),
        ("index.json", '{"manifests": [', "index.json is not JSON"),
        ("index.json", "[" * 100_000, "index.json is not JSON"),
        ("index.json", "\udcff", "index.json is not JSON"),
        ("index.json", "[]", "index.json is not a JSON object"),
        ("index.json", "{}", "index.json is no index: it has no list of manifests"),
        ("index.json", '{"manifests": ["x"]}', "index.json is no index: it has no list of manifests"),
    ],
)
def test_a_layout_that_makes_no_sense_is_told_in_a_sentence(store, directory, name, content, said):
    make_layout(directory)
    (directory / name).write_text(content, errors="surrogateescape")
    with pytest.raises(errors.RegistryError) as caught:
        store.tags("x")
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(store))
    assert caught.value.side == "local"


def test_writing_does_not_mend_a_broken_index_by_forgetting_what_it_held(store, directory):
    make_layout(directory)
    (directory / "index.json").write_text("{")
    with pytest.raises(errors.RegistryError, match="not JSON"):
        fill(store, "x", "1", IMAGE)
    assert (directory / "index.json").read_text() == "{"


def test_a_blob_that_is_there_is_not_asked_for(store):
    def never():
        raise AssertionError
        yield b""

    assert store.write("x", BLOB, [BODY]) is Written.COPIED
    assert store.write("y", BLOB, never(), mount_from="x") is Written.EXISTED


def test_a_blob_of_another_size_is_replaced(store, directory):
    store.write("x", BLOB, [BODY])
    path_of(directory, BLOB.digest).write_bytes(BODY[:10])
    assert store.write("x", BLOB, [BODY]) is Written.COPIED
    assert path_of(directory, BLOB.digest).read_bytes() == BODY


@pytest.mark.parametrize("chunks", [[], [BODY[:-1]], [BODY, b"x"], [BODY + b"x"]])
def test_chunks_of_another_size_leave_nothing(store, directory, chunks):
    with pytest.raises(errors.DigestMismatch, match=r"(shorter|longer) than its 700000 bytes"):
        store.write("x", BLOB, chunks)
    assert not store.has("x", BLOB.digest)
    assert not partials(directory)


@pytest.mark.parametrize(
    "failure", [errors.Unreachable("cut"), OSError(errno.ENOSPC, "elsewhere"), KeyboardInterrupt()]
)
def test_what_the_chunks_raise_passes_on_and_leaves_nothing(store, directory, failure):
    def broken():
        yield BODY[:1000]
        raise failure

    with pytest.raises(type(failure)) as caught:
        store.write("x", BLOB, broken())
    assert caught.value is failure
    assert not store.has("x", BLOB.digest)
    assert not partials(directory)


@pytest.mark.parametrize("begin", [0, 1, 128 * 1024, len(BODY) - 1, len(BODY)])
def test_a_blob_is_read_from_an_offset(store, begin):
    store.write("x", BLOB, [BODY])
    chunks = list(store.read("x", BLOB, begin))
    assert b"".join(chunks) == BODY[begin:]
    assert all(len(chunk) <= 128 * 1024 for chunk in chunks)


@pytest.mark.parametrize("there", [b"", BODY[:1000], BODY + b"more"])
def test_a_blob_of_another_size_is_handed_out_and_then_told(store, directory, there):
    store.write("x", BLOB, [BODY])
    path_of(directory, BLOB.digest).write_bytes(there)
    handed_out = []
    with pytest.raises(errors.DigestMismatch, match=f"has {len(there)} bytes instead of 700000"):
        handed_out.extend(store.read("x", BLOB))
    assert b"".join(handed_out) == there[: len(BODY)]


def test_a_missing_blob_is_not_found(store):
    store.write("x", BLOB, [BODY])
    with pytest.raises(errors.NotFound):
        list(store.read("x", Descriptor(NOWHERE, 1)))
    assert not store.has("x", NOWHERE)


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:../../../etc/passwd",
        "../../etc:passwd",
        "/etc/passwd",
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 64 + "\n",
        "",
        "x" * 1_000_000,
    ],
)
def test_no_digest_leads_out_of_the_layout(store, directory, digest):
    store.write("x", BLOB, [BODY])
    blob = Descriptor(digest, 1)
    for use in (
        lambda: store.has("x", digest),
        lambda: list(store.read("x", blob)),
        lambda: store.write("x", blob, [b"x"]),
    ):
        with pytest.raises(errors.Unsupported, match="is no digest known here") as caught:
            use()
        assert len(str(caught.value)) < 500
    assert not partials(directory)


def test_an_entry_of_a_digest_that_leads_out_is_told_and_harms_no_other(store, directory):
    evil = {"mediaType": "x", "digest": "sha256:../../oci-layout", "size": 30}
    evil["annotations"] = {"org.opencontainers.image.ref.name": "x:evil"}
    make_layout(directory, evil, entry_of(IMAGE, ref="x:1"), blobs=[IMAGE.manifest])
    with pytest.raises(errors.Unsupported, match="x:evil has no valid digest"):
        store.manifest("x", "evil")
    assert store.tags("x") == ["1", "evil"]
    assert store.manifest("x", "1").digest == IMAGE.digest
    assert store.manifest("x", IMAGE.digest).digest == IMAGE.digest


def test_a_symbolic_link_is_not_read_and_is_replaced_by_what_is_written(store, directory, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(BODY)
    make_layout(directory)
    path_of(directory, BLOB.digest).symlink_to(secret)
    assert not store.has("x", BLOB.digest)
    with pytest.raises(errors.RegistryError, match="is a symbolic link, which is not followed"):
        list(store.read("x", BLOB))
    assert store.write("x", BLOB, [BODY]) is Written.COPIED
    assert not path_of(directory, BLOB.digest).is_symlink()
    assert secret.read_bytes() == BODY


@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
def test_a_pipe_in_place_of_a_file_does_not_hold_the_reader(store, directory, name):
    make_layout(directory)
    (directory / name).unlink()
    os.mkfifo(directory / name)
    with pytest.raises(errors.RegistryError, match=f"{name} is no regular file"):
        store.tags("x")


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


def test_many_threads_of_two_stores_lose_nothing(directory):
    stores = [LayoutStore(str(directory), side="local") for _ in range(2)]
    tags = [f"1.{number}" for number in range(60)]

    def put(number, tag):
        fill(stores[number % 2], f"app/{number % 3}", tag, IMAGE)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(60), tags))
    for store in stores:
        there = [tag for repository in store.repositories() for tag in store.tags(repository)]
        assert sorted(there) == sorted(tags)
    assert not partials(directory)


def test_a_reader_sees_whole_indexes_only_while_they_are_replaced(store, directory):
    fill(store, "x", "0", IMAGE)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: [fill(store, "x", str(number), IMAGE) for number in range(1, 80)])
        seen = 0
        while not writing.done():
            there = len(LayoutStore(str(directory), side="local").tags("x"))
            assert there >= seen
            seen = there
        writing.result()


def test_processes_that_write_to_one_layout_lose_nothing(store, directory):
    fill(store, "x", "0", IMAGE)
    script = """
        import sys
        from _registry_store_layout import LayoutStore
        store = LayoutStore(sys.argv[1], side="local")
        for number in range(40):
            store.put(sys.argv[2], str(number), store.manifest("x", "0"))
    """
    arguments = [sys.executable, "-c", textwrap.dedent(script), str(directory)]
    environment = {**os.environ, "PYTHONPATH": str(UTILS)}
    writers = [subprocess.Popen([*arguments, name], env=environment) for name in ("a", "b")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert (len(store.tags("a")), len(store.tags("b"))) == (40, 40)


KILLED = """
    import os, signal, sys
    from _registry_oci_manifest import Descriptor
    from _registry_oci_names import digest_of
    from _registry_store_layout import LayoutStore
    def chunks():
        yield b"content" * 50_000
        os.kill(os.getpid(), signal.SIGKILL)
    body = b"content" * 100_000
    LayoutStore(sys.argv[1], side="local").write("x", Descriptor(digest_of(body), len(body)), chunks())
"""


def test_a_kill_leaves_no_half_blob_and_its_rest_is_swept_after_a_day(directory):
    assert in_a_process(directory, KILLED).returncode == -signal.SIGKILL
    (rest,) = partials(directory)
    store = LayoutStore(str(directory), side="local")
    assert not store.has("x", BLOB.digest)
    assert store.write("x", BLOB, [BODY]) is Written.COPIED
    assert partials(directory) == [rest]
    yesterday = time.time() - 25 * 3600
    os.utime(rest, (yesterday, yesterday))
    fill(LayoutStore(str(directory), side="local"), "x", "1", IMAGE)
    assert not partials(directory)


FULL = """
    import sys
    from pathlib import Path
    import _registry_oci_errors as errors
    from _registry_oci_manifest import Descriptor
    from _registry_oci_names import digest_of
    from _registry_store_layout import LayoutStore
    store = LayoutStore(sys.argv[1], side="local")
    small, large = b"x" * 1000, b"y" * 1_000_000
    store.write("x", Descriptor(digest_of(small), len(small)), [small])
    try:
        store.write("x", Descriptor(digest_of(large), len(large)), [large])
    except errors.NoSpace as failure:
        assert failure.side == "local" and "No space left on device" in str(failure), failure
    else:
        raise AssertionError("it fitted")
    assert not list(Path(sys.argv[1]).rglob(".partial-*"))
    assert store.has("x", digest_of(small)) and not store.has("x", digest_of(large))
"""


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    mount = f"mount -t tmpfs -o size=256k tmpfs {tmp_path}"
    unshared = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    if subprocess.run([*unshared, mount], capture_output=True, check=False).returncode:
        pytest.skip("needs mount namespaces")
    run = f'{mount} && exec "$0" -c "$1" {tmp_path}/layout'
    arguments = [*unshared, run, sys.executable, textwrap.dedent(FULL)]
    environment = {**os.environ, "PYTHONPATH": str(UTILS)}
    answer = subprocess.run(
        arguments, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (answer.returncode, answer.stderr) == (0, "")


def test_what_the_system_refuses_is_told_with_path_and_its_words(store, directory):
    make_layout(directory)
    path_of(directory, BLOB.digest).mkdir()
    with pytest.raises(errors.RegistryError, match=f"{directory}.*: Is a directory") as caught:
        store.write("x", BLOB, [BODY])
    assert (caught.value.cause, caught.value.side) == ("internal", "local")
    assert not partials(directory)
