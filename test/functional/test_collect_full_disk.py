"""A full disk is what space is freed for: it must be possible there, and no less safe."""

from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path

import pytest

from _registry_sync_collect_apply import collect
from support.collecting import SOCKET_URL, CollectedRegistry, pull
from support.images import Layer, docker_image
from support.registry_content import push, push_blob

pytestmark = [
    pytest.mark.needs("docker-distribution", "flock", "mount"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk"),
]

KEPT = docker_image([Layer("kept", 2_000_000)])
NEXT = docker_image([Layer("next", 2_500_000)])
GONE = docker_image([Layer("gone", 3_000_000)])


@pytest.fixture
def full(tmp_path: Path):
    """A registry on a disk of its own without a byte left, and an image that was deleted."""
    disk = tmp_path / "registry"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], check=True)
    try:
        with CollectedRegistry(tmp_path) as registry, registry.session() as http:
            for tag, image in (("kept", KEPT), ("gone", GONE)):
                push(SOCKET_URL, "team/app", tag, image, session=http)
            push_blob(SOCKET_URL, "team/app", Layer("young"), session=http)
            registry.delete("team/app", GONE.digest)
            fill(disk / "filler")
            yield registry
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space"):
        filler.writelines(itertools.repeat(bytes(4096)))


def test_what_is_old_goes_and_pushes_are_possible_again(full):
    done = collect(full.site())
    assert (done.refused, done.error) == ("", "")
    assert done.size > 3_000_000
    pull(full.url, "team/app", "kept")
    with full.session() as http:
        push(SOCKET_URL, "team/app", "next", NEXT, session=http)
    pull(full.url, "team/app", "next")


def test_what_is_young_cannot_be_protected_and_so_nothing_goes(full):
    done = collect(full.site(grace=3600.0))
    assert "would take what is needed" in done.refused
    assert "cannot protect what must stay" in done.refused
    assert full.data_of(GONE.blobs[1].digest).exists()
    assert full.data_of(Layer("young").digest).exists()
    assert full.push.runs()
    pull(full.url, "team/app", "kept")
