"""A disk under the local registry that is really full."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

import _registry_sync_commands as commands
from _registry_oci_errors import NoSpace
from support.hostile_local import leftovers, make_far
from support.images import Layer, docker_image
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registry_content import digest_of, push

pytestmark = [
    pytest.mark.needs("docker-distribution", "skopeo", "mount"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk"),
]

MIB = 1024 * 1024
GOOD = docker_image([Layer("good", 50_000)])
LIST = [{"name": "bad/image", "tags": ["1"]}, {"name": "good/image", "tags": ["1"]}]


@pytest.fixture
def small(start_registry, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", disk], check=True)
    try:
        registry = start_registry(directory=disk)
        yield registry
        registry.stop()
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.parametrize("distance", ["near", "far"])
@pytest.mark.parametrize("size", [25 * MIB, 60 * MIB], ids=["25 MB", "60 MB"])
def test_a_disk_that_gets_full_within_an_upload_is_told_as_space(upstream, small, tmp_path, size, distance):
    bad = docker_image([Layer(f"bad{size}", size)])
    push(upstream.url, "bad/image", "1", bad)
    push(upstream.url, "good/image", "1", GOOD)
    with FaultProxy(upstream.url) as line:
        if distance == "far":
            make_far(line)
        settings = settings_of(line, small, LIST, transfer={"retries": 2})
        report = commands.sync(settings, directory=str(tmp_path / "cache"))
    entry = report["images"]["bad/image:1"]
    assert (entry["cause"], entry["error"]) == ("space", f"local {small.address} has no space left")
    assert digest_of(small.url, "bad/image", "1") is None
    assert report["images"]["good/image:1"]["status"] == "copied"
    assert digest_of(small.url, "good/image", "1") == GOOD.digest
    # What it wrote before the disk was full stays with docker-distribution 2.8 for a week, as of every upload
    # whose offset it has not told. A second try would cost the disk as much again.
    assert len(leftovers(small)) <= 1


def test_where_the_disk_has_no_room_for_all_nothing_is_copied_and_both_sizes_are_told(
    upstream, small, tmp_path
):
    push(upstream.url, "bad/image", "1", docker_image([Layer("large", 25 * MIB)]))
    push(upstream.url, "good/image", "1", GOOD)
    settings = settings_of(upstream, small, LIST)
    since = small.log_position()
    with pytest.raises(NoSpace) as refused:
        commands.sync(settings, directory=str(tmp_path / "cache"), storage=str(small.data))
    said = r"(\S+) has ([\d.]+) MB free, and this sync brings 26\.\d MB and needs 5% more; nothing was copied"
    match = re.fullmatch(said, str(refused.value))
    assert match
    assert match[1] == str(small.data)
    assert 0 < float(match[2]) < 25
    asked = list(small.access_log(since))
    assert asked
    assert not any('"POST ' in line for line in asked)
    # What has room is copied.
    report = commands.sync(settings_of(upstream, small, LIST[1:]), storage=str(small.data))
    assert report["summary"]["copied"] == 1
