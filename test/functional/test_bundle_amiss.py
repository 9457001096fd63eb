"""Bundles on disks that get full, cannot be written or know no large files; two exports at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from _registry_config_values import Bundle
from _registry_oci_errors import RegistryError
from _registry_sync_export import export
from _registry_sync_import import import_bundle
from support.hostile_local import gets_of
from support.images import Layer, docker_image, oci_image
from support.pillar import pillar_of, settings_of
from support.proxy import FaultProxy
from support.registry_content import digest_of, push

pytestmark = [
    pytest.mark.needs("docker-distribution", "mount"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount disks"),
]

MIB = 1024 * 1024
LARGE = [Layer(f"large-{number}", 2 * MIB) for number in range(3)]
IMAGES = {"1.0": docker_image(LARGE[:1]), "2.0": oci_image(LARGE[1:2]), "3.0": oci_image(LARGE[2:])}
NAMES = [{"name": "team/app", "tags": list(IMAGES)}]


@contextmanager
def disk(directory: Path, size: int, *options: str):
    """Mount a disk of so many bytes."""
    directory.mkdir()
    how = ",".join((f"size={size}", *options))
    subprocess.run(["mount", "-t", "tmpfs", "-o", how, "tmpfs", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


def meanwhile(call):
    """An action of a line: do something while a request waits."""

    def act(request, pass_on):
        call()
        return pass_on(request)

    return act


@pytest.fixture
def line(upstream):
    for tag, image in IMAGES.items():
        push(upstream.url, "team/app", tag, image)
    with FaultProxy(upstream.url) as line:
        yield line


@pytest.fixture
def settings(line, local, tmp_path):
    return settings_of(line, local, NAMES, signatures={"directory": str(tmp_path / "sigstore")})


@pytest.mark.parametrize("volume", [0, 100 * MIB])
def test_an_export_onto_a_disk_that_gets_full_goes_on_when_there_is_room(line, settings, tmp_path, volume):
    with disk(tmp_path / "disk", 10 * MIB) as small:
        other = small / "somebody-elses"
        last = LARGE[2].digest
        line.on("GET", last, meanwhile(lambda: other.write_bytes(bytes(5 * MIB))))
        one_by_one = replace(settings, transfer=replace(settings.transfer, parallel=1))
        report = export(one_by_one, str(small / "week-1"), volume=volume)
        failed = {name: image for name, image in report["images"].items() if image["status"] == "failed"}
        assert {image["cause"] for image in failed.values()} == {"space"}
        assert all("No space left on device" in image["error"] for image in failed.values())
        assert report["bundle"]["new"] is False
        assert not (small / "week-1").exists()
        other.unlink()
        come = len(gets_of(line, LARGE[0].digest))
        report = export(settings, str(small / "week-1"), volume=volume)
        assert report["summary"]["failed"] == 0, report["images"]
        assert len(gets_of(line, LARGE[0].digest)) == come
        assert import_bundle(settings, str(small / "week-1"))["summary"]["copied"] == len(IMAGES)


def test_a_disk_without_room_for_all_is_told_before_anything_is_written(settings, tmp_path):
    with disk(tmp_path / "disk", 4 * MIB) as small:
        with pytest.raises(
            RegistryError, match=r"6\.3 MB are needed, and [\d.]+ MB are free; nothing was wr"
        ):
            export(settings, str(small / "week-1"))
        assert [path for path in small.rglob("*") if path.is_file()] == []
        subprocess.run(["mount", "-o", f"remount,size={20 * MIB}", small], check=True)
        assert export(settings, str(small / "week-1"))["bundle"]["new"] is True


@pytest.mark.parametrize("where", ["on this host", "elsewhere"])
def test_an_import_into_a_disk_that_is_full_brings_the_rest_when_there_is_room(
    settings, start_registry, tmp_path, where
):
    """Elsewhere docker-distribution may be left with an empty manifest, which is told."""
    export(settings, str(tmp_path / "week-1"))
    with disk(tmp_path / "disk", 5 * MIB) as small:
        far = start_registry(directory=small)
        storage = str(far.data) if where == "on this host" else ""
        transfer = replace(settings.transfer, retries=2)
        there = replace(settings, local=replace(settings.local, port=far.port), transfer=transfer)
        report = import_bundle(there, str(tmp_path / "week-1"), storage=storage)
        failed = [image for image in report["images"].values() if image["status"] == "failed"]
        assert report["summary"]["copied"] + len(failed) == len(IMAGES)
        assert {image["cause"] for image in failed} == {"space"}
        subprocess.run(["mount", "-o", f"remount,size={50 * MIB}", small], check=True)
        report = import_bundle(there, str(tmp_path / "week-1"), storage=storage)
        if where == "on this host":
            assert report["summary"]["copied"] == len(failed)
        for tag, image in IMAGES.items():
            entry = report["images"][f"team/app:{tag}"]
            if where == "on this host" or entry["cause"] != "digest":
                assert entry["status"] in ("copied", "current"), entry
                assert digest_of(far.url, "team/app", tag) == image.digest
        far.stop()


def test_a_second_export_to_the_same_path_does_nothing(line, settings, tmp_path):
    path, said = str(tmp_path / "week-1"), []

    def second():
        with pytest.raises(RegistryError) as refused:
            export(settings, path)
        said.append(str(refused.value))

    line.on("GET", LARGE[0].digest, meanwhile(second))
    report = export(settings, path)
    assert said == [f"another export to {path} runs; nothing was done"]
    assert report["summary"]["copied"] == len(IMAGES)
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=path, check=True)


def test_a_disk_that_cannot_be_written_is_told_with_its_path(settings, tmp_path):
    with disk(tmp_path / "disk", 20 * MIB, "ro") as sealed:
        with pytest.raises(RegistryError, match="Read-only file system") as refused:
            export(settings, str(sealed / "week-1"))
        assert str(sealed / "week-1") in str(refused.value)


LIMITED = """
import json, resource, sys
from _registry_config_read import read_settings
from _registry_oci_errors import RegistryError
from _registry_sync_export import export
pillar, path, volume, most = json.loads(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
report = export(read_settings(pillar, host="unused.example.com"), path, volume=volume)
print(json.dumps([report["summary"], [image["error"] for image in report["images"].values()]]))
"""


def limited(line, local, tmp_path, volume):
    """Export where no file may be larger than 1 MiB; return the summary and all errors."""
    pillar = pillar_of(line, local, NAMES, signatures={"directory": str(tmp_path / "sigstore")})
    words = json.dumps([pillar, str(tmp_path / f"limited-{volume}"), volume, MIB])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", LIMITED, words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_where_no_large_file_can_be_volumes_are_cut_and_a_directory_says_why_not(
    line, local, settings, tmp_path
):
    summary, errors = limited(line, local, tmp_path, 0)
    assert summary["failed"] == len(IMAGES)
    assert all("File too large; with volume= such a blob is cut" in error for error in errors)
    summary, _ = limited(line, local, tmp_path, MIB)
    assert summary["copied"] == len(IMAGES)
    path = tmp_path / f"limited-{MIB}"
    assert max(file.stat().st_size for file in path.rglob("*") if file.is_file()) <= MIB
    report = import_bundle(settings, str(path))
    assert report["summary"]["copied"] == len(IMAGES), report["images"]


def test_a_volume_is_by_default_no_larger_than_a_file_on_a_stick_may_be():
    assert 0 < Bundle().volume < 2**32
