"""A run that ends in its middle leaves no thread, no lock and no upload behind in the minion's process."""

from __future__ import annotations

import contextlib
import signal
import threading
import time

import pytest

import _registry_sync_commands as commands
from _registry_show_progress import Progress
from support import faults
from support.hostile_local import far, leftovers, make_far
from support.images import Layer, docker_image
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registry_content import digest_of, push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

MIB = 1024 * 1024
LARGE = Layer("large", 40 * MIB)
IMAGE = docker_image([LARGE])
LIST = [{"name": "large/image", "tags": ["1"]}]
BLOB = f"/large/image/blobs/{LARGE.digest}"


@pytest.fixture(scope="module")
def filled(module_upstream):
    push(module_upstream.url, "large/image", "1", IMAGE)
    return module_upstream


@pytest.fixture
def line(filled):
    with FaultProxy(filled.url) as line:
        yield line


def sync(line, local, tmp_path):
    settings = settings_of(line, local, LIST, transfer={"retries": 1})
    progress = Progress([lambda state, landings: None], tick=0.05)
    return commands.sync(settings, directory=str(tmp_path / "cache"), progress=progress)


@pytest.fixture
def threads_left():
    """Return a function that names the threads of this test that are still there after some seconds."""
    before = set(threading.enumerate())

    def ours():
        new = set(threading.enumerate()) - before
        return sorted(thread.name for thread in new if thread.name.startswith("registry-"))

    def wait(seconds=5.0):
        ends = time.monotonic() + seconds
        while ours() and time.monotonic() < ends:
            time.sleep(0.05)
        return ours()

    return wait


def assert_the_next_run_is_as_any_other(line, local, tmp_path):
    line.forget_rules()
    assert sync(line, local, tmp_path)["images"]["large/image:1"]["error"] == ""
    assert digest_of(local.url, "large/image", "1") == IMAGE.digest


def interrupt(number, frame):
    raise KeyboardInterrupt


@pytest.mark.parametrize("distance", ["near", "far"])
def test_an_interrupt_in_the_middle_leaves_no_thread_and_no_lock(
    line, local, tmp_path, threads_left, distance
):
    if distance == "far":
        make_far(line)
    line.on("GET", BLOB, far(faults.limit_rate(MIB)), times=None)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 1.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            sync(line, local, tmp_path)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert threads_left() == []
    assert_the_next_run_is_as_any_other(line, local, tmp_path)
    assert len(leftovers(local)) <= 1


@pytest.mark.parametrize("starting", [1, 2, 4])
def test_a_thread_that_cannot_start_leaves_none_behind(
    line, local, tmp_path, monkeypatch, threads_left, starting
):
    """A host at its limit of processes: the others do the work, or the run ends."""
    make_far(line)
    start, count = threading.Thread.start, [0]

    def fail_after(thread):
        # Those that look up are gone when the one that tells of the copying starts.
        if thread.name == "registry-progress" or (count[0] and thread.name.startswith("registry-")):
            count[0] += 1
            if count[0] > starting:
                raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail_after)
        # Whether it is raised or told in the report is not what this is about.
        with contextlib.suppress(Exception):
            sync(line, local, tmp_path)
    assert count[0] > starting
    assert threads_left() == []
    assert_the_next_run_is_as_any_other(line, local, tmp_path)
