"""What a verification remembers, sets aside, counts and shows; no server."""

from __future__ import annotations

import json

import pytest

import _registry_show_prometheus as metrics
from _registry_config_read import SettingsError, read_settings
from _registry_oci_manifest import Descriptor
from _registry_show_report import verify_code
from _registry_state_storage import storage_here
from _registry_store_disk import DiskStore
from _registry_sync_own_files import OwnFiles
from _registry_sync_quarantine import Quarantine
from _registry_sync_verify_memory import Hashed
from _registry_sync_verify_run import Storage, verify
from _registry_verify_table import verify_lines
from support.cursor import moving, spoilt
from support.damage import Damage, paths, states
from support.disk import DiskTree
from support.images import Layer, docker_image

LAYER = Layer("layer", 1000)
IMAGE = docker_image([LAYER])
URL = "http://mirror.example.com:5000"


@pytest.fixture
def tree(tmp_path):
    made = DiskTree(tmp_path / "registry")
    made.push("team/app", "1", IMAGE)
    return made


@pytest.fixture
def disk(tree):
    return DiskStore(str(tree.root))


@pytest.fixture
def damage(tree):
    made = Damage(tree.root)
    made.age()
    return made


def report_of(tree, **options):
    """Verify without a server: nobody listens at that port."""
    pillar = {
        "local": {"host": "127.0.0.1", "port": 9, "tls": False},
        "transfer": {"retries": 0},
        "verify": {"every": 0},
    }
    return verify(read_settings(pillar, host="unused"), Storage(str(tree.root)), **options)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def test_what_was_hashed_is_fresh_until_it_is_too_long_ago(tmp_path, disk):
    clock = Clock()
    file = disk.blob(LAYER.digest)
    memory = Hashed(str(tmp_path), URL, 100, clock=clock)
    assert not memory.is_fresh(file)
    memory.note(file)
    memory.save()
    again = Hashed(str(tmp_path), URL, 100, clock=clock)
    assert again.is_fresh(file)
    assert not again.is_fresh(file._replace(size=1))
    assert not again.is_fresh(file._replace(mtime=1))
    assert not again.is_fresh(file._replace(inode=1))
    clock.now += 100
    assert not again.is_fresh(file)
    # A clock that went back says nothing of when that was.
    clock.now = 1.0
    assert not again.is_fresh(file)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 2, "hashed": {}}', '{"version": 1}'])
def test_a_memory_that_is_damaged_costs_one_more_reading(tmp_path, disk, text):
    (tmp_path / "verified-mirror.example.com-5000.json").write_text(text)
    memory = Hashed(str(tmp_path), URL, 100)
    assert not memory.is_fresh(disk.blob(LAYER.digest))
    memory.note(disk.blob(LAYER.digest))
    memory.save()
    assert Hashed(str(tmp_path), URL, 100).is_fresh(disk.blob(LAYER.digest))


def test_a_file_is_set_aside_and_put_back(tree, disk):
    quarantine = Quarantine(disk)
    path = tree.data(LAYER.digest)
    body = path.read_bytes()
    quarantine.set_aside(LAYER.digest)
    assert not path.exists()
    (aside,) = (tree.root / ".registry_sync/quarantine").iterdir()
    assert aside.read_bytes() == body
    assert oct(aside.parent.stat().st_mode)[-3:] == "700"
    quarantine.put_back(LAYER.digest)
    assert path.read_bytes() == body
    assert list(aside.parent.iterdir()) == []


def test_a_file_in_its_place_is_never_overwritten_by_what_was_set_aside(tree, disk):
    quarantine = Quarantine(disk)
    path = tree.data(LAYER.digest)
    quarantine.set_aside(LAYER.digest)
    path.write_bytes(b"another")
    quarantine.put_back(LAYER.digest)
    assert path.read_bytes() == b"another"


def test_what_was_set_aside_and_is_right_is_given_back_to_a_later_run(tree, disk):
    path = tree.data(LAYER.digest)
    Quarantine(disk).set_aside(LAYER.digest)
    assert Quarantine(disk).restore(LAYER.digest)
    assert path.exists()
    path.write_bytes(b"bad")
    Quarantine(disk).set_aside(LAYER.digest)
    assert not Quarantine(disk).restore(LAYER.digest)
    assert not path.exists()


def test_only_a_file_without_its_bytes_makes_room(tree, disk):
    files = OwnFiles(disk)
    blob = Descriptor(LAYER.digest, LAYER.size)
    assert not files.make_room(blob)
    tree.data(LAYER.digest).write_bytes(b"")
    assert files.make_room(blob)
    assert not files.make_room(blob)
    assert not files.holds(LAYER.digest)


def test_a_manifest_that_is_wrong_about_a_size_takes_no_right_file_away(tree, disk):
    assert not OwnFiles(disk).make_room(Descriptor(LAYER.digest, LAYER.size + 1))
    assert tree.data(LAYER.digest).exists()


def functions(**files):
    """What Salt lends: a host of these addresses, and what the formula has saved."""
    return {
        "registry_backup.saved_state": lambda: {"files": files},
        "network.ip_addrs": lambda **_: ["127.0.0.1"],
        "network.ip_addrs6": lambda **_: [],
    }


def test_the_storage_is_where_the_formulas_configuration_says(tmp_path):
    config = tmp_path / "config.yml"
    other = tmp_path / "other.yml"
    other.write_text("{http: {addr: ':5001'}, storage: {filesystem: {rootdirectory: /srv/others}}}")
    saved = functions(**dict.fromkeys(map(str, (tmp_path / "gone.yml", other, config))))
    config.write_text("{http: {addr: ':5000'}, storage: {filesystem: {rootdirectory: /srv/images}}}")
    here = read_settings({"local": {"host": "127.0.0.1"}}, host="m")
    assert storage_here(here, saved) == Storage("/srv/images")
    config.write_text("{http: {addr: ':5000'}, storage: {s3: {bucket: images}}}")
    assert "s3 images" in storage_here(here, saved).reason
    assert "is not known" in storage_here(here, functions()).reason
    named = read_settings({"local": {"host": "127.0.0.1"}, "registry": {"storage": "/srv/b"}}, host="m")
    assert storage_here(named, functions()) == Storage("/srv/b")
    away = read_settings({"local": {"host": "192.0.2.1"}, "registry": {"storage": "/srv/b"}}, host="m")
    assert storage_here(away, functions()) == Storage(reason="192.0.2.1 is not this host")


def test_a_registry_that_is_stopped_is_verified_by_its_files(tree, damage):
    report = report_of(tree)
    assert (states(report), verify_code(report)) == ({"team/app:1": "whole"}, 0)
    path = damage.flip_a_bit(tree.data(LAYER.digest))
    report = report_of(tree)
    assert (states(report), paths(report), verify_code(report)) == (
        {"team/app:1": "broken"},
        [str(path)],
        2,
    )


def test_an_empty_link_that_no_image_needs_is_loose(tree, damage):
    other = Layer("other")
    tree.push("team/other", "1", docker_image([other]))
    link = tree.link("team/app", "_layers", other.digest)
    link.parent.mkdir()
    link.write_bytes(b"")
    damage.age()
    report = report_of(tree)
    assert (paths(report), report["loose"]["empty_links"]["count"]) == ([], 1)
    assert verify_code(report) == 0


def test_what_has_no_tag_is_counted_with_its_bytes(tree, damage):
    alone = docker_image([Layer("alone")])
    tree.push("team/app", "2", alone)
    tag = tree.link("team/app", "tags", "2").parents[1]
    tag.rename(tree.root / "away")
    damage.age()
    report = report_of(tree)
    sizes = len(alone.manifest) + sum(blob.size for blob in alone.blobs)
    assert report["loose"]["untagged"] == {"count": 1, "bytes": sizes}
    assert report["loose"]["unreferenced"]["count"] == 0


def test_a_manifest_that_cannot_be_read_here_is_said_not_to_be_read(tree, damage):
    strange = type(IMAGE)("application/json", b'{"schemaVersion": 1}')
    tree.push("team/old", "1", strange)
    damage.age()
    report = report_of(tree)
    assert list(report["unread"]) == [strange.digest]
    assert (report["summary"]["bad"], verify_code(report)) == (0, 1)


def test_the_table_names_each_file_with_what_it_breaks(tree, damage):
    path = damage.truncate(tree.data(LAYER.digest))
    lines = verify_lines(report_of(tree))
    assert lines[0].startswith("127.0.0.1:9  1 tag, files in ")
    assert "  broken  team/app:1" in lines
    (line,) = [line for line in lines if str(path) in line]
    assert line.endswith("in team/app:1")
    assert "blob short" in line
    assert lines[-1].startswith("1 broken; ")


def test_the_table_takes_no_control_characters_from_files(tree, damage):
    damage.truncate(tree.data(LAYER.digest))
    report = report_of(tree)
    report["unread"] = {"/a": "gone"}
    report["registry"]["reason"] = "no files here"
    assert moving(verify_lines(spoilt(report))) == []
    assert moving(verify_lines(spoilt(report, but=["status"]))) == []


def test_metrics_tell_when_every_byte_was_read_last(tmp_path, tree, damage):
    file = tmp_path / "mirror.prom"
    metrics.write_verify_metrics(str(file), report_of(tree), fast=False, clock=lambda: 77.0)
    assert "registry_sync_verified_timestamp_seconds 77\n" in file.read_text()
    assert 'registry_sync_broken_images{status="broken"} 0\n' in file.read_text()
    damage.empty(tree.data(LAYER.digest))
    metrics.write_verify_metrics(str(file), report_of(tree, fast=True), fast=True, clock=lambda: 99.0)
    # Pointers and sizes alone prove no byte.
    assert "registry_sync_verified_timestamp_seconds 77\n" in file.read_text()
    assert 'registry_sync_broken_images{status="broken"} 1\n' in file.read_text()


def test_a_report_is_plain_json(tree, damage):
    damage.remove(tree.data(LAYER.digest))
    report = report_of(tree)
    assert json.loads(json.dumps(report)) == report


def test_the_pillar_says_how_often_how_fast_and_whether_to_repair():
    settings = read_settings(
        {"verify": {"every": "7d", "bandwidth": "50MB", "repair": True}}, host="m"
    ).verify
    assert (settings.every, settings.bandwidth, settings.repair) == (7 * 86400, 50_000_000, True)
    assert read_settings({}, host="m").verify.every == 30 * 86400
    with pytest.raises(SettingsError, match="docker_registry:verify:repair"):
        read_settings({"verify": {"repair": "sometimes"}}, host="m")
