"""The table of contents of a bundle, and how files are put into volumes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import resource
import tarfile

import pytest

from _registry_oci_errors import DigestMismatch, NoSpace, NotFound, RegistryError, Unsupported
from _registry_oci_manifest import Descriptor
from _registry_store_bundle_base import Stock, StockStore, read_stock, with_more, write_stock
from _registry_store_bundle_format import (
    CONTENTS,
    HEAD,
    INDEX,
    INVENTORY,
    SUMS,
    BadBundle,
    Base,
    Member,
    Packed,
    blob_name,
    pack,
    read_contents,
    read_sums,
    signature_name,
)
from _registry_store_bundle_places import Volumes
from _registry_store_bundle_read import BundleFiles
from _registry_store_bundle_write import BundleWriter, partial_of

INDEX_BODY = b'{"schemaVersion": 2, "manifests": []}'


def digest(body):
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def blobs(*sizes):
    return [bytes([number]) * size for number, size in enumerate(sizes, 1)]


def contents_of(bodies, volume=0, path="/srv/week-1", small=None):
    files = [Member(blob_name(digest(body)), len(body)) for body in bodies]
    files.append(Member(INDEX, len(INDEX_BODY)))
    image = Packed("registry.example.com/team/app:1.0", "team/app", "1.0", digest(bodies[0]))
    return pack([image], files, Base(), created="2026-11-26T05:50:00Z", volume=volume, path=path, small=small)


def written(path, bodies, volume=0, skip=()):
    writer = BundleWriter(str(path), contents_of(bodies, volume, str(path)), {INDEX: INDEX_BODY}, {})
    try:
        for name in writer.unverified():
            writer.verify(name)
        for body in bodies:
            if body not in skip and not writer.has(digest(body)):
                writer.write(Descriptor(digest(body), len(body)), [body[:100], body[100:]])
        if not skip:
            sums = writer.finish()
            writer.put(SUMS, "".join(f"{value}  {name}\n" for name, value in sums.items()).encode())
            writer.publish()
    finally:
        writer.close()
    return writer


def test_a_table_of_contents_reads_as_it_was_written():
    made = contents_of(blobs(10, 2000), 300_000)
    assert read_contents(made.serialized(), "x") == made


def test_one_that_was_made_before_it_had_hashes_is_read():
    made = contents_of(blobs(10))
    document = json.loads(made.serialized())
    del document["sha256"]
    assert read_contents(json.dumps(document).encode(), "x") == made


def test_what_is_in_it_decides_its_id_and_not_when_it_was_made():
    one, other = contents_of(blobs(10)), contents_of(blobs(11))
    assert one.id == contents_of(blobs(10)).id != other.id
    first, second = (contents_of(blobs(10), small={INDEX: body}) for body in (b"first", b"other"))
    assert first.id != second.id


@pytest.mark.parametrize("volume", [200_000, 300_000, 1_000_000])
def test_no_volume_is_larger_than_it_may_be(tmp_path, volume):
    bodies = blobs(150_000, 1, 90_000, 700_000, 0, 512)
    written(tmp_path / "b", bodies, volume)
    volumes = sorted((tmp_path / "b").glob("*.tar"))
    assert len(volumes) > 1 or volume == 1_000_000
    assert max(path.stat().st_size for path in volumes) <= volume


def test_tar_reads_every_volume_and_all_of_them_are_the_layout(tmp_path):
    bodies = blobs(150_000, 1, 90_000)
    written(tmp_path / "b", bodies, 250_000)
    for path in sorted((tmp_path / "b").glob("*.tar")):
        with tarfile.open(path, "r:") as tar:
            assert tar.getnames()[:3] == [CONTENTS, "oci-layout", INDEX]
            tar.extractall(tmp_path / "layout", filter="data")
    for body in bodies:
        assert (tmp_path / "layout" / blob_name(digest(body))).read_bytes() == body


@pytest.mark.parametrize("volume", [0, 200_000, 1_000_000])
def test_every_blob_is_read_back_from_any_offset(tmp_path, volume):
    bodies = blobs(150_000, 1, 700_000, 0)
    written(tmp_path / "b", bodies, volume)
    files = BundleFiles(str(tmp_path / "b"))
    for body in bodies:
        for begin in (0, len(body) // 2, len(body)):
            assert b"".join(files.blob_chunks(digest(body), begin, len(body))) == body[begin:]
    assert files.amiss == {}
    files.close()


@pytest.mark.parametrize("lost", [0, -1])
def test_the_volume_of_any_piece_that_is_not_at_hand_is_named(tmp_path, lost):
    (body,) = blobs(700_000)
    written(tmp_path / "b", [body], 200_000)
    volume = sorted((tmp_path / "b").glob("*.tar"))[lost]
    volume.unlink()
    files = BundleFiles(str(tmp_path / "b"))
    assert files.blob_size(digest(body)) is None
    with pytest.raises(NotFound, match=rf"^{volume.name} is missing; sha256:.* is in it$"):
        files.explain(digest(body))
    files.close()


@pytest.mark.parametrize("volume", [0, 200_000])
def test_what_was_not_ended_is_gone_on_with(tmp_path, volume):
    bodies = blobs(150_000, 20, 90_000)
    first = written(tmp_path / "b", bodies, volume, skip=[bodies[2]])
    assert not (tmp_path / "b").exists()
    again = BundleWriter(
        str(first.path), contents_of(bodies, volume, str(first.path)), {INDEX: INDEX_BODY}, {}
    )
    assert set(again.unverified()) == {digest(bodies[0]), digest(bodies[1])}
    with pytest.raises(RegistryError, match="is not there"):
        again.finish()
    again.close()
    written(tmp_path / "b", bodies, volume)
    assert (tmp_path / "b" / SUMS).exists()
    assert not partial_of(tmp_path / "b").exists()


@pytest.mark.parametrize("volume", [0, 1_000_000])
def test_what_an_earlier_run_has_left_is_hashed_before_it_is_believed(tmp_path, volume):
    bodies = blobs(150_000, 20)
    written(tmp_path / "b", bodies, volume, skip=[bodies[1]])
    (left,) = [
        path
        for path in partial_of(tmp_path / "b").rglob("*")
        if path.is_file() and path.stat().st_size > 10**5
    ]
    with left.open("r+b") as file:
        file.seek(100_000)
        file.write(b"not what was written")
    writer = BundleWriter(
        str(tmp_path / "b"), contents_of(bodies, volume, str(tmp_path / "b")), {INDEX: INDEX_BODY}, {}
    )
    writer.verify(digest(bodies[0]))
    assert not writer.has(digest(bodies[0]))
    writer.close()


def test_another_bundle_does_not_go_on_with_it(tmp_path):
    written(tmp_path / "b", blobs(100, 20), 0, skip=[blobs(100, 20)[1]])
    written(tmp_path / "b", blobs(7000))
    assert len(list((tmp_path / "b/blobs/sha256").iterdir())) == 1


DRAFT = ".partial-0123456789abcdef"


@pytest.mark.parametrize("place", ["", "docker_registry", "blobs/sha256"])
@pytest.mark.parametrize("volume", [0, 200_000])
@pytest.mark.parametrize("then", [(100, 20), (7000,)], ids=["the same", "another"])
def test_what_was_being_written_when_an_export_was_killed_is_in_no_bundle(tmp_path, place, volume, then):
    bodies = blobs(100, 20)
    written(tmp_path / "b", bodies, volume, skip=bodies[1:])
    left = partial_of(tmp_path / "b") / place
    left.mkdir(parents=True, exist_ok=True)
    (left / DRAFT).write_bytes(b"half")
    written(tmp_path / "b", blobs(*then), volume)
    assert not list((tmp_path / "b").rglob(".partial*"))


def test_a_draft_alone_is_no_reason_to_leave_a_directory_alone(tmp_path):
    partial_of(tmp_path / "b").mkdir()
    (partial_of(tmp_path / "b") / DRAFT).write_bytes(b"half")
    written(tmp_path / "b", blobs(10))
    assert not list((tmp_path / "b").rglob(".partial*"))


def test_a_directory_of_somebody_else_is_left_alone(tmp_path):
    partial_of(tmp_path / "b").mkdir()
    (partial_of(tmp_path / "b") / "thesis.txt").write_text("mine")
    with pytest.raises(BadBundle, match="something else than a bundle"):
        written(tmp_path / "b", blobs(10))
    assert (partial_of(tmp_path / "b") / "thesis.txt").read_text() == "mine"


def test_two_do_not_write_one_bundle(tmp_path):
    first = BundleWriter(str(tmp_path / "b"), contents_of(blobs(10)), {INDEX: INDEX_BODY}, {})
    with pytest.raises(RegistryError, match="another export"):
        BundleWriter(str(tmp_path / "b"), contents_of(blobs(10)), {INDEX: INDEX_BODY}, {})
    first.close()


@pytest.mark.parametrize("chunks", [[b"\1" * 9], [b"\1" * 11]])
def test_a_blob_of_another_length_is_not_there(tmp_path, chunks):
    writer = BundleWriter(str(tmp_path / "b"), contents_of(blobs(10, 5), 10**6), {INDEX: INDEX_BODY}, {})
    with pytest.raises(DigestMismatch):
        writer.write(Descriptor(digest(blobs(10)[0]), 10), chunks)
    assert not writer.unverified()
    writer.close()


def test_a_volume_that_is_all_head_is_refused():
    with pytest.raises(Unsupported, match="too few"):
        contents_of(blobs(10), 1000)


def packed(files, volume):
    return pack([], [Member(INDEX, 10), *files], Base(), created="now", volume=volume, path="/srv/week-1")


def test_more_volumes_than_can_be_named_are_refused():
    files = [Member(blob_name(f"sha256:{number:064x}"), 2_000_000) for number in range(10_000)]
    assert len(packed(files[:-1], 4_000_000).volumes) == 9999
    with pytest.raises(Unsupported, match="volume: 4000000 bytes are too few: 10000 volumes"):
        packed(files, 4_000_000)


def test_a_signature_that_no_volume_has_room_for_is_refused():
    name = signature_name(digest(b"x"), 1)
    with pytest.raises(Unsupported, match=f"volume: {name} of 500000 bytes has no room"):
        packed([Member(name, 500_000)], 200_000)


def test_more_volumes_than_files_may_be_open_are_told(tmp_path):
    volumes = {f"b.{number:03}.tar": () for number in range(1, 30)}
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 10, hard))
    try:
        with pytest.raises(RegistryError, match="Too many open files; a larger volume= needs fewer"):
            Volumes(tmp_path, volumes, dict.fromkeys(HEAD, b""))
        (tmp_path / "all are closed again").touch()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_than_the_disk_holds_is_told_before_anything_is_written(tmp_path):
    files = [Member(blob_name(digest(b"x")), 10**15), Member(INDEX, len(INDEX_BODY))]
    made = pack([], files, Base(), created="now", volume=0, path=str(tmp_path / "b"))
    with pytest.raises(NoSpace, match="nothing was written"):
        BundleWriter(str(tmp_path / "b"), made, {INDEX: INDEX_BODY}, {})


def test_sums_name_files_of_bundles_alone():
    good = f"{'0' * 64}  week.001.tar\n".encode()
    assert read_sums(good, "x") == {"week.001.tar": "0" * 64}
    for bad in (b"x", good + good, f"{'0' * 64}  ../week.tar".encode(), f"{'0' * 64}  /etc/passwd".encode()):
        with pytest.raises(BadBundle):
            read_sums(bad, "x")


def test_an_inventory_reads_as_it_was_written_and_grows(tmp_path):
    one, two = digest(b"1"), digest(b"2")
    stock = Stock("a:5000", "now", {"team/app": {"1.0": one}}, {one: (9, "kind", two)}, {two}, {one: 2})
    write_stock(stock, str(tmp_path / "i.json.gz"))
    assert read_stock(str(tmp_path / "i.json.gz")) == stock
    more = with_more(stock, Stock("b", "later", {"team/app": {"2.0": two}}, {two: (1, "kind", "")}))
    assert more.tags == {"team/app": {"1.0": one, "2.0": two}}
    store = StockStore(more)
    assert [found.digest for found in store.referrers("team/app", two)] == [one]
    assert store.resolve("team/app", "1.0") == Descriptor(one, 9, "kind")
    assert store.has("other", two)


def test_an_inventory_knows_in_which_repository_a_manifest_and_its_signatures_are(tmp_path):
    one, two, three = digest(b"1"), digest(b"2"), digest(b"3")
    stock = Stock("a:5000", "now", {}, {one: (9, "kind", two), two: (5, "kind", "")}, set(), {two: 1})
    for name in (one, two):
        stock.put("team/app", name)
    stock.put("team/app", two, [b"signature"])
    write_stock(stock, str(tmp_path / "i.json.gz"))
    stock = read_stock(str(tmp_path / "i.json.gz"))
    store = StockStore(stock)
    assert store.resolve("team/app", two).digest == two
    assert [found.digest for found in store.referrers("team/app", two)] == [one]
    assert store.referrers("other/app", two) == []
    with pytest.raises(NotFound, match="has no other/app@"):
        store.resolve("other/app", two)
    more = Stock("b", "later", {}, {three: (1, "kind", "")})
    more.put("other/app", three)
    more.put("team/app", two, [b"another"])
    joined = with_more(stock, more)
    assert joined.has("other/app", three)
    assert joined.has_signatures("team/app", two, [b"another", b"signature"])
    assert not joined.has_signatures("team/app", two, [b"another", b"a third"])
    assert not joined.has_signatures("other/app", two, [b"signature"])
    assert stock.base.id != joined.base.id


def test_an_inventory_of_an_earlier_version_tells_no_repository_and_counts_signatures(tmp_path):
    one, two = digest(b"1"), digest(b"2")
    document = {
        "version": 1,
        "name": "a:5000",
        "created": "now",
        "tags": {"team/app": {"1.0": two}},
        "manifests": {one: [9, "kind", two], two: [5, "kind", ""]},
        "blobs": [],
        "signatures": {two: 1},
    }
    (tmp_path / "i").write_bytes(gzip.compress(json.dumps(document).encode()))
    stock = read_stock(str(tmp_path / "i"))
    joined = with_more(stock, Stock("b", "later", places={"team/app": {one: []}}))
    for known in (stock, joined):
        store = StockStore(known)
        assert [found.digest for found in store.referrers("team/app", two)] == [one]
        assert store.referrers("new/app", two) == []
        assert known.has_signatures("team/app", two, [b"any one"])
        assert not known.has_signatures("team/app", two, [b"any one", b"a second"])
        assert not known.has_signatures("new/app", two, [b"any one"])


@pytest.mark.parametrize("places", [[], {"team/app": ["x"]}, {"team/app": {"x": []}}, {"a": {"x": 1}}])
def test_what_says_amiss_where_manifests_are_is_no_inventory(tmp_path, places):
    write_stock(Stock("a", "now", places=places), str(tmp_path / "i"))
    with pytest.raises(BadBundle, match="is no inventory"):
        read_stock(str(tmp_path / "i"))


@pytest.mark.parametrize("body", [b"", b"no gzip", b"\x1f\x8b\x08\x00" + b"\0" * 20])
def test_what_is_no_inventory_is_said_to_be_none(tmp_path, body):
    (tmp_path / "i").write_bytes(body)
    with pytest.raises(BadBundle, match="no inventory"):
        read_stock(str(tmp_path / "i"))


def test_of_an_inventory_that_cannot_be_written_nothing_stays(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(RegistryError, match=f"^{tmp_path}/taken: Is a directory$"):
        write_stock(Stock("a", "now"), str(tmp_path / "taken"))
    assert [path.name for path in tmp_path.rglob("*")] == ["taken"]


def test_an_inventory_with_a_size_that_is_none_is_none(tmp_path):
    stock = Stock("a", "now", manifests={digest(b"1"): (9, "kind", "")})
    text = gzip.decompress(stock.serialized()).replace(b"[9,", b"[Infinity,")
    (tmp_path / "i").write_bytes(gzip.compress(text))
    with pytest.raises(BadBundle, match="no inventory"):
        read_stock(str(tmp_path / "i"))


def test_an_inventory_that_would_fill_the_memory_is_refused(tmp_path):
    (tmp_path / "i").write_bytes(gzip.compress(b"[" + b"[]," * 4_000_000 + b"0]"))
    with pytest.raises(BadBundle, match="unpacks to more than 8"):
        read_stock(str(tmp_path / "i"))


def test_an_inventory_of_a_hundred_thousand_tags_is_read(tmp_path):
    names = {f"{number}.0": digest(b"%d" % (number % 10)) for number in range(100_000)}
    stock = Stock("a", "now", {"team/app": names})
    write_stock(stock, str(tmp_path / "i"))
    assert read_stock(str(tmp_path / "i")) == stock


def test_an_inventory_is_found_in_a_former_bundle(tmp_path):
    (tmp_path / "docker_registry").mkdir()
    write_stock(Stock("a", "now"), str(tmp_path / INVENTORY))
    assert read_stock(str(tmp_path)).name == read_stock(str(tmp_path / CONTENTS)).name == "a"


def tar_of(*members):
    """Return a tar of (name or TarInfo, body)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, body in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return stream.getvalue()
