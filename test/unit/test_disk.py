"""A registry's own files read without a server, and everything reachable in them."""

from __future__ import annotations

import pytest

from _registry_oci_errors import DigestMismatch, NotFound
from _registry_oci_manifest import Descriptor
from _registry_store_disk import DiskStore
from _registry_store_disk_mark import Kind, What, mark
from _registry_sync_own_files import OwnFiles
from support.disk import DiskTree
from support.images import Layer, docker_image, docker_list

SHARED = Layer("shared", 1000)
ONE = docker_image([SHARED, Layer("one", 10)])
TWO = docker_image([SHARED, Layer("two", 20)])
BOTH = docker_list([ONE, TWO])


@pytest.fixture
def tree(tmp_path):
    """Two repositories, one below the other, which share an image."""
    made = DiskTree(tmp_path / "registry")
    made.push("team/app", "1", BOTH)
    made.push("team/app/debug", "latest", ONE)
    return made


@pytest.fixture
def disk(tree):
    return DiskStore(str(tree.root))


def broken_in(disk):
    return [(end.what, end.kind, end.path) for end in mark(disk).broken]


def test_repositories_lie_below_one_another(disk):
    assert list(disk.repositories()) == ["team/app", "team/app/debug"]


def test_what_a_repository_names(disk, tree):
    assert disk.tags("team/app") == ["1"]
    assert disk.tag_links("team/app")[0].digest == BOTH.digest
    assert {link.name for link in disk.revision_links("team/app")} == {ONE.digest, TWO.digest, BOTH.digest}
    layers = {blob.digest for image in (ONE, TWO) for blob in image.blobs}
    assert {link.name for link in disk.layer_links("team/app")} == layers
    assert disk.parts("team/app") == ["_layers", "_manifests"]
    assert disk.uploads("team/app") == []


def test_every_blob_is_told_with_its_size_and_what_tells_a_change(disk, tree):
    found = {file.digest: file for file in disk.blobs()}
    assert found.keys() == mark(disk).reached
    stat = tree.data(SHARED.digest).stat()
    file = found[SHARED.digest]
    assert (file.size, file.mtime, file.inode) == (SHARED.size, stat.st_mtime_ns, stat.st_ino)


def test_a_manifest_is_hashed_before_it_is_parsed(disk, tree):
    assert disk.manifest("team/app", "1").body == BOTH.manifest
    assert disk.manifest("team/app", ONE.digest).digest == ONE.digest
    tree.data(BOTH.digest).write_bytes(BOTH.manifest.replace(b"amd64", b"amd46"))
    with pytest.raises(DigestMismatch, match=str(tree.data(BOTH.digest))):
        disk.manifest("team/app", "1")
    with pytest.raises(NotFound):
        disk.manifest("team/app", "2")


def test_a_blob_is_read_from_an_offset(disk):
    whole = b"".join(SHARED.chunks())
    assert b"".join(disk.read("team/app", Descriptor(SHARED.digest, SHARED.size), 990)) == whole[990:]


def test_a_healthy_registry_has_no_broken_end(disk):
    found = mark(disk)
    assert found.broken == []
    assert found.unknown == {}
    assert set(found.below(BOTH.digest)) == {
        BOTH.digest, *(x.digest for image in (ONE, TWO) for x in (image, *image.blobs))
    }  # fmt: skip
    assert found.sizes[SHARED.digest] == SHARED.size


@pytest.mark.parametrize(
    ("kind", "name", "what"),
    [
        ("_layers", SHARED.digest, What.LAYER),
        ("revisions", ONE.digest, What.REVISION),
        ("tags", "1", What.TAG),
    ],
)
@pytest.mark.parametrize(
    ("text", "how"), [(None, Kind.MISSING), (b"", Kind.EMPTY), (b"sha256:1", Kind.EMPTY)]
)
def test_a_link_that_is_gone_or_says_nothing_is_told_by_its_path(disk, tree, kind, name, what, text, how):
    link = tree.link("team/app", kind, name)
    link.unlink() if text is None else link.write_bytes(text)
    assert broken_in(disk) == [(what, how, str(link))]


@pytest.mark.parametrize("digest", [SHARED.digest, ONE.digest, BOTH.digest], ids=["blob", "child", "index"])
@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_bytes_that_are_gone_or_too_few_are_told_once_whoever_needs_them(disk, tree, digest, content):
    file = tree.data(digest)
    file.unlink() if content is None else file.write_bytes(content)
    what = What.BLOB if digest == SHARED.digest else What.MANIFEST
    found = broken_in(disk)
    assert [(end[0], end[2]) for end in found] == [(what, str(file))]
    assert found[0][1] is Kind.MISSING if content is None else found[0][1] in (Kind.SHORT, Kind.CORRUPT)
    assert digest in mark(disk).reached


def test_a_deleted_revision_whose_directory_stays_is_nothing(disk, tree):
    tree.link("team/app/debug", "tags", "latest").parents[1].rename(tree.root / "away")
    tree.link("team/app/debug", "revisions", ONE.digest).unlink()
    assert broken_in(disk) == []
    assert disk.revision_links("team/app/debug") == []


def test_what_is_below_a_child_without_a_revision_is_reached_all_the_same(disk, tree):
    tree.link("team/app", "revisions", TWO.digest).unlink()
    assert {blob.digest for blob in TWO.blobs} <= mark(disk).reached


def test_a_manifest_of_an_unknown_kind_is_told_and_not_called_broken(disk, tree):
    old = docker_image([Layer("old")])
    strange = type(old)("application/json", b'{"schemaVersion": 1, "fsLayers": []}')
    tree.push("team/old", "1", strange)
    found = mark(disk)
    assert found.broken == []
    assert list(found.unknown) == [strange.digest]


def test_where_nothing_is_yet_there_is_nothing_and_no_reason_against_reading(tmp_path):
    empty = DiskStore(str(tmp_path))
    assert (list(empty.repositories()), list(empty.blobs()), empty.readable()) == ([], [], "")
    assert DiskStore(str(tmp_path / "no")).readable() == f"{tmp_path}/no is not there"


@pytest.mark.parametrize("part", ["tag", "revision", "manifest"])
def test_a_tag_of_which_the_server_may_not_read_something_is_not_told(disk, tree, monkeypatch, part):
    """The formula runs as root and would read it."""
    monkeypatch.setattr(DiskStore, "server", (4321, 4321))
    files = OwnFiles(disk)
    found = files.resolve("team/app", "1")
    assert found
    assert found[0].digest == BOTH.digest
    locked = {
        "tag": tree.link("team/app", "tags", "1"),
        "revision": tree.link("team/app", "revisions", BOTH.digest),
        "manifest": tree.data(BOTH.digest),
    }
    locked[part].chmod(0o600)
    assert files.resolve("team/app", "1") is None


@pytest.mark.parametrize("part", ["tag", "revision", "manifest"])
def test_a_tag_of_which_the_server_may_not_reach_something_is_not_told(disk, tree, monkeypatch, part):
    monkeypatch.setattr(DiskStore, "server", (4321, 4321))
    closed = {
        "tag": tree.link("team/app", "tags", "1"),
        "revision": tree.link("team/app", "revisions", BOTH.digest),
        "manifest": tree.data(BOTH.digest),
    }[part].parent
    closed.chmod(0o750)
    assert OwnFiles(disk).resolve("team/app", "1") is None
    assert [kind for _, kind, path in broken_in(disk) if path.startswith(str(closed))] == [Kind.UNREADABLE]
    closed.chmod(0o751)
    assert OwnFiles(DiskStore(disk.root)).resolve("team/app", "1")


def test_a_link_with_a_line_break_is_none_as_the_server_sees_it(disk, tree):
    link = tree.link("team/app", "tags", "1")
    link.write_text(link.read_text("utf-8") + "\n", "utf-8")
    assert OwnFiles(disk).resolve("team/app", "1") is None
    assert OwnFiles(disk).lacks_manifest("team/app", "1")
    assert (What.TAG, Kind.EMPTY, str(link)) in broken_in(disk)


def test_a_file_that_may_not_be_looked_at_is_left(disk, tree, monkeypatch):
    (blob, *_) = TWO.blobs
    monkeypatch.setattr(DiskStore, "blob", refuse)
    assert not OwnFiles(disk).make_room(Descriptor(blob.digest, blob.size + 1))


def refuse(*_):
    raise PermissionError(13, "Permission denied")
