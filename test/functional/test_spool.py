"""Large blobs from far away are kept on this host while they come, so that a kill costs next to nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import _registry_sync_commands as commands
from _registry_show_progress import Progress
from support import faults
from support.hostile_local import bytes_of, far, leftovers, make_far, without_range
from support.images import Layer, docker_image
from support.pillar import pillar_of, settings_of
from support.proxy import FaultProxy
from support.registry_content import digest_of, push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

MIB = 1024 * 1024
LARGE = Layer("large", 96 * MIB)
IMAGE = docker_image([LARGE])
GOOD = docker_image([Layer("good", 50_000)])
LIST = [{"name": "large/image", "tags": ["1"]}, {"name": "good/image", "tags": ["1"]}]
BLOB = f"/large/image/blobs/{LARGE.digest}"
# More than any lock, journal or list of what has come; less than the first piece of a blob.
NO_BLOB = 512 * 1024
# What several connections had under way when the run was killed.
UNDER_WAY = 24 * MIB

CHILD = """
import json, sys
import _registry_sync_commands as commands
from _registry_config_read import read_settings
commands.sync(read_settings(json.loads(sys.argv[1]), host="unused"), directory=sys.argv[2])
"""


@pytest.fixture(scope="module")
def filled(module_upstream):
    push(module_upstream.url, "large/image", "1", IMAGE)
    push(module_upstream.url, "good/image", "1", GOOD)
    return module_upstream


@pytest.fixture
def line(filled):
    with FaultProxy(filled.url) as line:
        make_far(line)
        yield line


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "cache"


def spooled(directory):
    """Return the files that hold bytes of a blob."""
    return [file for file in Path(directory).rglob("*") if file.is_file() and file.stat().st_size > NO_BLOB]


def sync(line, local, directory, *, images=LIST, progress=None, **transfer):
    settings = settings_of(line, local, images, transfer=transfer)
    return commands.sync(settings, directory=str(directory), progress=progress)


def assert_arrived(report, local, directory):
    assert [entry["error"] for entry in report["images"].values() if entry["error"]] == []
    assert digest_of(local.url, "large/image", "1") == IMAGE.digest
    assert digest_of(local.url, "good/image", "1") == GOOD.digest
    assert spooled(directory) == []
    assert leftovers(local) == []


@pytest.fixture
def killed(line, local, directory, checkout):
    """Have half of the large blob come, and kill the run; return how many bytes have come."""
    line.on("GET", BLOB, far(faults.limit_rate(8 * MIB)), times=None)
    arguments = [json.dumps(pillar_of(line, local, LIST)), str(directory)]
    environment = {**os.environ, "PYTHONPATH": str(checkout / "_utils")}
    child = subprocess.Popen([sys.executable, "-c", CHILD, *arguments], env=environment)
    deadline = time.monotonic() + 60
    while line.bytes_down < LARGE.size // 2 and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    come = bytes_of(line, LARGE.digest)
    line.forget_rules()
    make_far(line)
    line.forget_seen()
    return come


def test_after_a_kill_only_the_rest_is_fetched(killed, line, local, directory):
    report = sync(line, local, directory)
    assert_arrived(report, local, directory)
    rest = LARGE.size - killed + UNDER_WAY
    assert report["summary"]["bytes"] <= rest
    assert bytes_of(line, LARGE.digest) <= rest


def flip(file):
    with file.open("r+b") as content:
        content.seek(300_000)
        byte = content.read(1)[0] ^ 0xFF
        content.seek(300_000)
        content.write(bytes([byte]))


def fill_with_garbage(file):
    file.write_bytes(b"\xaa" * file.stat().st_size)


TAMPERINGS = {
    "a-byte": flip,
    "empty": lambda file: os.truncate(file, 0),
    "truncated": lambda file: os.truncate(file, file.stat().st_size // 2 + 1),
    "garbage": fill_with_garbage,
    "too-large": lambda file: os.truncate(file, LARGE.size + 1000),
    "a-directory": lambda file: file.unlink() or file.mkdir(),
    "a-link": lambda file: file.unlink() or file.symlink_to("/dev/null"),
}


@pytest.mark.usefixtures("killed")
@pytest.mark.parametrize("tampering", TAMPERINGS.values(), ids=TAMPERINGS.keys())
def test_what_is_wrong_with_the_kept_bytes_is_found(line, local, directory, tampering):
    kept = spooled(directory)
    assert kept
    for file in kept:
        tampering(file)
    assert_arrived(sync(line, local, directory), local, directory)


@pytest.mark.usefixtures("killed")
def test_an_upstream_that_knows_no_ranges_sends_it_whole_after_a_kill(line, local, directory):
    assert spooled(directory)
    line.on("GET", BLOB, far(without_range), times=None)
    assert_arrived(sync(line, local, directory), local, directory)
    assert bytes_of(line, LARGE.digest) <= 2 * LARGE.size


@pytest.mark.usefixtures("killed")
def test_what_was_kept_of_a_blob_that_nobody_wants_any_more_goes(line, local, directory):
    kept = spooled(directory)
    assert kept
    month_ago = time.time() - 30 * 86400
    for file in kept:
        os.utime(file, (month_ago, month_ago))
    report = sync(line, local, directory, images=LIST[1:])
    assert report["summary"]["failed"] == 0
    assert spooled(directory) == []


class Watch:
    """A sink that notes what a directory holds while a run goes on."""

    def __init__(self, directory):
        self.directory = directory
        self.seen = {}
        self.folders = {}
        self.most = 0

    def __call__(self, state, landings):
        total = 0
        for file in Path(self.directory).rglob("*"):
            try:
                status = file.stat()
            except OSError:
                continue
            if file.is_dir():
                self.folders[file] = status.st_mode & 0o777
            elif status.st_size > NO_BLOB:
                self.seen[file] = status.st_mode & 0o777
                total += status.st_size
        self.most = max(self.most, total)


def slowly(line):
    line.on("GET", BLOB, far(faults.limit_rate(10 * MIB)), times=None)


def test_kept_bytes_are_for_their_owner_alone(line, local, directory):
    slowly(line)
    watch = Watch(directory)
    umask = os.umask(0)
    try:
        assert_arrived(sync(line, local, directory, progress=Progress([watch], tick=0.02)), local, directory)
    finally:
        os.umask(umask)
    assert watch.seen
    assert set(watch.seen.values()) == {0o600}
    assert {watch.folders.get(file.parent, 0o700) for file in watch.seen} == {0o700}


def test_nothing_is_kept_where_that_is_not_wanted(line, local, directory):
    slowly(line)
    watch = Watch(directory)
    report = sync(line, local, directory, progress=Progress([watch], tick=0.02), spool=0)
    assert_arrived(report, local, directory)
    assert watch.seen == {}


def test_a_bound_on_what_is_kept_is_kept(line, local, directory):
    slowly(line)
    watch = Watch(directory)
    report = sync(line, local, directory, progress=Progress([watch], tick=0.02), spool=50 * MIB)
    assert_arrived(report, local, directory)
    assert watch.most <= 50 * MIB


@pytest.mark.needs("mount")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
@pytest.mark.parametrize("size", ["64k", "20m"])
def test_where_there_is_no_room_to_keep_bytes_they_are_streamed(line, local, directory, size):
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", directory], check=True)
    try:
        assert_arrived(sync(line, local, directory), local, directory)
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


@pytest.mark.needs("mount")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_disk_that_gets_full_while_bytes_are_kept_does_not_fail_the_blob(line, local, directory):
    """There is room when the blob begins; somebody else takes it."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", directory], check=True)
    slowly(line)
    thief = Thief(directory, at=20 * MIB)
    try:
        report = sync(line, local, directory, progress=Progress([thief], tick=0.02))
        assert thief.took
        thief.loot.unlink()
        assert_arrived(report, local, directory)
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


class Thief:
    """A sink that fills a disk once some bytes have come."""

    def __init__(self, directory, at):
        self.loot = directory / "loot"
        self.took = False
        self._at = at

    def __call__(self, state, landings):
        if state.moved > self._at and not self.took:
            self.took = True
            with self.loot.open("wb", buffering=0) as file:
                try:
                    while file.write(bytes(MIB)):
                        pass
                except OSError:
                    pass
