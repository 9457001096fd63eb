"""A layout as files: damaged or hostile ones, several writers at once, a kill, a full disk."""

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
from _registry_oci_manifest import Descriptor
from _registry_oci_names import digest_of
from _registry_store_layout import LayoutStore
from _registry_store_protocol import Written
from support.images import Layer, oci_image
from support.layouts import entries, entry_of, fill, make_layout, path_of

UTILS = Path(__file__).resolve().parents[2] / "_utils"
BODY = b"content" * 100_000
BLOB = Descriptor(digest_of(BODY), len(BODY))
IMAGE = oci_image([Layer("a"), Layer("b")])
NOWHERE = digest_of(b"nowhere")


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "layout"


@pytest.fixture
def store(directory):
    return LayoutStore(str(directory), side="local")


def partials(directory):
    return list(directory.rglob(".partial-*"))


def in_a_process(directory, script):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(directory)],
        env={**os.environ, "PYTHONPATH": str(UTILS)},
        timeout=60,
        check=False,
    )


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
