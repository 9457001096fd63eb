"""Bundles that nobody has made in good faith: each is one sentence, and nothing leads out of it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import resource
import shutil
import tarfile
import tempfile
from pathlib import Path

import pytest

from _registry_oci_errors import RegistryError
from _registry_oci_manifest import Descriptor
from _registry_store_bundle_format import (
    CONTENTS,
    INDEX,
    SUMS,
    BadBundle,
    Base,
    Member,
    NotWhole,
    Packed,
    blob_name,
    pack,
)
from _registry_store_bundle_read import BundleFiles
from _registry_store_bundle_source import BundleStore
from _registry_store_bundle_tar import places_in
from _registry_store_bundle_write import BundleWriter
from _registry_sync_bundle import agree

CONFIG, LAYER = b"{}", b"layer" * 50_000
KIND = "application/vnd.oci.image.manifest.v1+json"


def digest(body):
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": KIND,
        "config": {"mediaType": "application/x", "digest": digest(CONFIG), "size": len(CONFIG)},
        "layers": [{"mediaType": "application/y", "digest": digest(LAYER), "size": len(LAYER)}],
    }
).encode()
NAME = "registry.example.com/team/app:1.0"
ENTRY = {
    "mediaType": KIND,
    "digest": digest(MANIFEST),
    "size": len(MANIFEST),
    "annotations": {"org.opencontainers.image.ref.name": NAME},
}
INDEX_BODY = json.dumps({"schemaVersion": 2, "manifests": [ENTRY]}).encode()


def make(path: Path, volume: int = 0) -> Path:
    """Write a good bundle of one image."""
    bodies = [CONFIG, LAYER, MANIFEST]
    files = [Member(blob_name(digest(body)), len(body)) for body in bodies]
    files.append(Member(INDEX, len(INDEX_BODY)))
    image = Packed(NAME, "team/app", "1.0", digest(MANIFEST))
    contents = pack(
        [image],
        files,
        Base(),
        created="2026-11-26T05:50:00Z",
        volume=volume,
        path=str(path),
        small={INDEX: INDEX_BODY},
    )
    writer = BundleWriter(str(path), contents, {INDEX: INDEX_BODY}, {})
    for body in bodies:
        writer.write(Descriptor(digest(body), len(body)), [body])
    put_sums(writer.directory, writer.finish())
    writer.publish()
    writer.close()
    return path


def put_sums(directory: Path, sums: dict[str, str]) -> None:
    text = "".join(f"{value}  {name}\n" for name, value in sums.items())
    (directory / SUMS).write_text(text, encoding="utf-8")


def read_all(path: Path) -> None:
    """Do what an import does with a bundle, but for sending."""
    files = BundleFiles(str(path))
    try:
        store = BundleStore(files)
        agree(files, store)
        repository = "registry.example.com/team/app"
        manifest = store.manifest(repository, "1.0")
        for blob in manifest.blobs:
            body = b"".join(store.read(repository, blob))
            assert digest(body) == blob.digest, f"{blob.digest} is not what its digest says"
        if files.amiss:
            raise next(iter(files.amiss.values()))
    finally:
        files.close()


def change(path: Path, **changes) -> None:
    """Change the table of contents, and its sum."""
    file = path / CONTENTS
    document = json.loads(file.read_bytes())
    for key, value in changes.items():
        document[key] = value(document[key]) if callable(value) else value
    file.write_text(json.dumps(document))
    put_sums(path, {CONTENTS: hashlib.sha256(file.read_bytes()).hexdigest()})


def put(path: Path, name: str, text: str) -> None:
    """Put another file in the place of one whose hash is told, and no hash is told any more."""
    (path / name).write_text(text)
    change(path, sha256=lambda _: {})


def member(name, **fields):
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def tar(path: Path, *members) -> Path:
    """Write a tar of (TarInfo, body), its headers as they are given."""
    stream = io.BytesIO()
    for info, body in members:
        stream.write(info.tobuf(tarfile.GNU_FORMAT) + body + bytes(-len(body) % 512))
    path.write_bytes(stream.getvalue() + bytes(1024))
    return path


def layout_tar(path: Path, *more) -> Path:
    """Write somebody's layout as a tar, with something more in it."""
    files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', INDEX: INDEX_BODY}
    files |= {blob_name(digest(body)): body for body in (CONFIG, LAYER, MANIFEST)}
    good = [(member(name, size=len(body)), body) for name, body in files.items()]
    return tar(path, *good, *more)


def swap(path: Path) -> None:
    (path / blob_name(digest(LAYER))).write_bytes(b"other" * 50_000)


def rename_pieces(volumes):
    return dict(zip(["../evil.001.tar"], volumes.values(), strict=True))


def replaced_by_link(path: Path, name: str, to: str) -> None:
    (path / name).unlink()
    (path / name).symlink_to(to)


def volume_of(path: Path) -> Path:
    return sorted(path.glob("*.tar"))[-1]


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path, offset: int) -> None:
    body = bytearray(path.read_bytes())
    body[offset] ^= 0xFF
    path.write_bytes(body)


# What is done to a good bundle in a directory, and what is said then.
DIRECTORIES = {
    "no sums": (lambda path: (path / SUMS).unlink(), "is not whole: it has no SHA256SUMS"),
    "a blob is another": (swap, "is not what its digest says"),
    "a blob is cut": (lambda path: truncate(path / blob_name(digest(LAYER))), "bytes, not 250000"),
    "a blob is gone": (lambda path: (path / blob_name(digest(LAYER))).unlink(), "has not all"),
    "a blob is a link": (
        lambda path: replaced_by_link(path, blob_name(digest(LAYER)), "/etc/passwd"),
        "is a link",
    ),
    "the index is a link": (lambda path: replaced_by_link(path, INDEX, "/etc/passwd"), "is a link"),
    "the contents are a link": (lambda path: replaced_by_link(path, CONTENTS, "/etc/passwd"), "is a link"),
    "the sums are a link": (lambda path: replaced_by_link(path, SUMS, "/etc/passwd"), "SUMS is a link"),
    "a blob is another's from now on": (
        lambda path: (path / blob_name(digest(LAYER))).chmod(0),
        r"[0-9a-f]{64}: Permission denied",
    ),
    "the sums are somebody else's": (lambda path: (path / SUMS).chmod(0), "SHA256SUMS: Permission denied"),
    "the blobs are somebody else's": (lambda path: (path / "blobs").chmod(0), "blobs: Permission denied"),
    "the index is no JSON": (lambda path: put(path, INDEX, "["), "is not JSON"),
    "the index is deep": (lambda path: put(path, INDEX, "[" * 100_000), "is not JSON"),
    "the index is a list": (lambda path: put(path, INDEX, "[]"), "is not a JSON object"),
    "the index has another image": (
        lambda path: put(path, INDEX, json.dumps({"manifests": [{**ENTRY, "digest": digest(b"x")}]})),
        "has another image as",
    ),
    "the index has more": (
        lambda path: (path / INDEX).write_text(json.dumps({"manifests": [ENTRY, ENTRY]})),
        "index.json is not what SHA256SUMS says",
    ),
    "the index has more than was hashed": (
        lambda path: ((path / INDEX).write_text(json.dumps({"manifests": [ENTRY, ENTRY]})), change(path)),
        "index.json is not what docker_registry/bundle.json says",
    ),
    "a hash is none": (lambda path: change(path, sha256=lambda _: {INDEX: "0"}), "is no table of contents"),
    "the layout is of another version": (
        lambda path: put(path, "oci-layout", '{"imageLayoutVersion": "9"}'),
        "of version 9",
    ),
    "it is newer": (lambda path: change(path, version=2), "made by another version"),
    "the contents are another's": (
        lambda path: (path / CONTENTS).write_text("{}"),
        r"made by another version|is not what SHA256SUMS says",
    ),
    "the contents lack a key": (lambda path: change(path, images=7), "is no table of contents"),
    "an image is named twice": (lambda path: change(path, images=lambda them: them * 2), "twice"),
    "a blob is named twice": (
        lambda path: change(path, volumes=lambda them: {"": them[""] * 2}),
        "twice",
    ),
    "a member leads out": (
        lambda path: change(path, volumes=lambda them: {"": [["../../etc/passwd", 1]]}),
        "names '../../etc/passwd'",
    ),
    "a volume leads out": (lambda path: change(path, volumes=rename_pieces), "names a volume"),
    "a member has a negative size": (
        lambda path: change(path, volumes=lambda them: {"": [[blob_name(digest(LAYER)), -1]]}),
        "no size that can be",
    ),
    "a member is vast": (
        lambda path: change(path, volumes=lambda them: {"": [[blob_name(digest(LAYER)), 10**20]]}),
        "no size that can be",
    ),
    "a repository leads out": (
        lambda path: change(path, images=lambda them: [{**them[0], "repository": "../x"}]),
        "names no image",
    ),
    "a tag is none": (
        lambda path: change(path, images=lambda them: [{**them[0], "reference": "a b"}]),
        "names no image",
    ),
    "the sums name what is not its": (
        lambda path: (path / SUMS).write_text(f"{'0' * 64}  ../../etc/shadow\n"),
        "SHA256SUMS has the line",
    ),
}
# The same of a bundle of several volumes.
VOLUMES = {
    "a volume is gone": (lambda path: volume_of(path).unlink(), "is missing"),
    "a volume is cut": (lambda path: truncate(volume_of(path)), "ends early"),
    "a volume is zeros": (
        lambda path: volume_of(path).write_bytes(bytes(volume_of(path).stat().st_size)),
        "tar has not all that it should have",
    ),
    "a header is damaged": (lambda path: flip(volume_of(path), 100), "where one should be"),
    "a layer is damaged": (lambda path: flip(volume_of(path), 50_000), "is not what"),
    "a volume of nobody": (
        lambda path: tar(
            path / "week.900.tar", (member("oci-layout", size=31), b'{"imageLayoutVersion": "1.0.0"}')
        ),
        "is no volume of this bundle",
    ),
    "a volume of another bundle": (
        lambda path: tar(volume_of(path), (member(CONTENTS, size=2), b"{}")),
        "is of another bundle",
    ),
    "a volume twice": (
        lambda path: (path / "b.900.tar").write_bytes(volume_of(path).read_bytes()),
        "both have|is no volume",
    ),
}
# What stands in a tar beside a good layout.
TARS = {
    "an absolute name": (member("/etc/passwd", size=1), b"x", "names /etc/passwd"),
    "a name that leads out": (member("blobs/../../x", size=1), b"x", "names blobs"),
    "a symbolic link": (member("blobs/x", type=tarfile.SYMTYPE, linkname="/etc/passwd"), b"", "is a link"),
    "a hard link": (member("blobs/x", type=tarfile.LNKTYPE, linkname="index.json"), b"", "is a link"),
    "a device": (member("blobs/x", type=tarfile.BLKTYPE), b"", "is no regular file"),
    "a pipe": (member("blobs/x", type=tarfile.FIFOTYPE), b"", "is no regular file"),
    "a sparse file": (member("blobs/x", type=tarfile.GNUTYPE_SPARSE, size=1), b"x", "is no regular file"),
    "a name twice": (member(INDEX, size=1), b"x", "twice"),
    "a size beyond the end": (member("blobs/x", size=10**12), b"x", "ends early"),
    "a long name without end": (
        member("././@LongLink", type=tarfile.GNUTYPE_LONGNAME, size=100_000),
        bytes(100_000),
        "a header of 100000 bytes",
    ),
    "a pax header that renames": (
        member("x", type=tarfile.XHDTYPE, size=20),
        b"20 path=/etc/passwd\n",
        "renames a file",
    ),
    "a pax header without end": (
        member("x", type=tarfile.XHDTYPE, size=20),
        b"99 path=/etc/passwd\n",
        "a pax header that is none",
    ),
    "a pax header with a size that is none": (
        member("x", type=tarfile.XHDTYPE, size=11),
        b"11 size=-1\n",
        "a pax header that is none",
    ),
}


@contextlib.contextmanager
def not_as_root():
    """Have permissions count; the directory must be one that everybody may enter."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_path():
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    (path / "b/blobs").chmod(0o755)
    shutil.rmtree(path)


@pytest.mark.parametrize("case", DIRECTORIES)
def test_a_directory_is_refused_with_a_sentence(open_path, case):
    harm, said = DIRECTORIES[case]
    path = make(open_path / "b")
    harm(path)
    with not_as_root(), pytest.raises((RegistryError, AssertionError), match=said):
        read_all(path)


def test_what_lies_beside_a_bundle_need_not_be_readable(open_path):
    path = make(open_path / "b")
    (path / "lost+found").mkdir(mode=0o700)
    (path / "lost+found").chmod(0)
    with not_as_root():
        read_all(path)


def test_a_link_to_a_bundle_is_followed(tmp_path):
    for name in (make(tmp_path / "week-3").name, layout_tar(tmp_path / "layout.tar").name):
        (tmp_path / f"latest-{name}").symlink_to(name)
        read_all(tmp_path / f"latest-{name}")


def pax(records: bytes):
    return (member("x", type=tarfile.XHDTYPE, size=len(records)), records)


def test_a_pax_header_tells_the_size_of_a_file(tmp_path):
    more = (member(blob_name(digest(b"x" * 600)), size=0), b"x" * 600)
    path = layout_tar(tmp_path / "layout.tar", pax(b"15 comment=a\nb\n12 size=600\n"), more)
    files = BundleFiles(str(path))
    assert b"".join(files.blob_chunks(digest(b"x" * 600), 0, 600)) == b"x" * 600
    files.close()


def test_a_file_of_more_than_eight_gibibytes_is_found(tmp_path):
    large = member(blob_name(digest(b"large")), size=9 * 2**30)
    with (tmp_path / "layout.tar").open("wb") as file:
        file.write(large.tobuf(tarfile.PAX_FORMAT))
        file.truncate(file.tell() + large.size + 1024)
    with (tmp_path / "layout.tar").open("rb") as file:
        (place,) = places_in(file.fileno(), "layout.tar")
    assert place == (large.name, 3 * 512, large.size, "")


def test_a_pax_size_beyond_the_end_is_damage(tmp_path):
    path = layout_tar(tmp_path / "layout.tar", pax(b"22 size=9999999999999\n"), (member("x", size=1), b"x"))
    with pytest.raises(RegistryError, match="ends early"):
        read_all(path)


def test_an_archive_of_docker_is_no_layout_whatever_links_it_has(tmp_path):
    link = member("1.0/layer.tar", type=tarfile.SYMTYPE, linkname="../0/layer.tar")
    path = tar(tmp_path / "docker.tar", (member("manifest.json", size=2), b"[]"), (link, b""))
    with pytest.raises(BadBundle, match=r"docker\.tar is no bundle: no oci-layout"):
        BundleFiles(str(path))


@contextlib.contextmanager
def few_files_open(count: int):
    """Have no more than so many files opened beside those that are."""
    free = [os.open(os.devnull, os.O_RDONLY) for _ in range(count)]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1] + 1, limits[1]))
    for file in free:
        os.close(file)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_more_volumes_than_files_may_be_open_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("_registry_store_bundle_read.KEPT_OPEN", 1)
    path = make(tmp_path / "b", 100_000)
    assert len(list(path.glob("*.tar"))) == 3
    with few_files_open(3):
        read_all(path)


@pytest.mark.parametrize("case", VOLUMES)
def test_volumes_are_refused_with_a_sentence(tmp_path, case):
    harm, said = VOLUMES[case]
    path = make(tmp_path / "b", 200_000)
    assert len(list(path.glob("*.tar"))) > 1
    harm(path)
    with pytest.raises((RegistryError, AssertionError), match=said):
        read_all(path)


@pytest.mark.parametrize("case", TARS)
def test_a_tar_is_refused_with_a_sentence(tmp_path, case):
    info, body, said = TARS[case]
    path = layout_tar(tmp_path / "layout.tar", (info, body))
    with pytest.raises(RegistryError, match=said):
        read_all(path)


@pytest.mark.parametrize(("harm", "said"), [(Path.unlink, "is missing"), (truncate, "ends early")])
def test_the_only_volume_is_named_for_each_image_that_waits_for_it(tmp_path, harm, said):
    path = make(tmp_path / "b", 10**6)
    harm(path / "b.001.tar")
    store = BundleStore(BundleFiles(str(path)))
    with pytest.raises(NotWhole, match=rf"^b\.001\.tar {said}; sha256:.* is in it$"):
        store.resolve("registry.example.com/team/app", "1.0")
    with pytest.raises(NotWhole, match=rf"^b\.001\.tar {said}$"):
        store.tags("registry.example.com/team/app")


def test_good_ones_are_read(tmp_path):
    read_all(make(tmp_path / "directory"))
    read_all(make(tmp_path / "volumes", 200_000))
    read_all(layout_tar(tmp_path / "layout.tar", (member("manifest.json", size=2), b"[]")))


@pytest.mark.parametrize(
    "make_it", [lambda path: None, lambda path: path.mkdir(), lambda path: os.mkfifo(path)]
)
def test_what_is_no_bundle_at_all_is_said_to_be_none(tmp_path, make_it):
    make_it(tmp_path / "x")
    with pytest.raises(RegistryError, match=r"no bundle|No such file|neither"):
        BundleFiles(str(tmp_path / "x"))
