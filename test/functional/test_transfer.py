"""Large blobs: split on a far line, kept for the next run, stopped, capped, one sync at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import _registry_store_remote_read as fetch
import _registry_sync_commands as mirror
import _registry_sync_copy as copy
import _registry_sync_stores
from _registry_show_progress import Progress
from _registry_sync_lock import AlreadyRunning, only_one
from support import faults
from support.images import Layer, docker_image
from support.pillar import pillar_of, settings_of
from support.proxy import FaultProxy
from support.registry_content import digest_of, push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

MIB = 1024 * 1024
LARGE = Layer("large", 40 * MIB)
IMAGE = docker_image([LARGE])
LIST = [{"name": "large/image", "tags": ["1"]}]
BLOB = rf"/large/image/blobs/{LARGE.digest}"


@pytest.fixture
def line(upstream):
    push(upstream.url, "large/image", "1", IMAGE)
    with FaultProxy(upstream.url) as line:
        yield line


@pytest.fixture
def far(monkeypatch):
    """Take every upstream for a far one."""
    monkeypatch.setattr(_registry_sync_stores, "FAR_SECONDS", 0.0)


@pytest.fixture
def spooling(monkeypatch):
    """Keep blobs of 8 MiB already while they are under way."""
    monkeypatch.setattr(copy, "SPOOLED_SIZE_FAR", 8 * MIB)
    monkeypatch.setattr(copy, "SPOOLED_SIZE", 8 * MIB)


def spans(line):
    return [request.header("Range") for request in line.requests("GET blobs") if LARGE.digest in request.path]


def assert_arrived(report, local):
    assert report["images"]["large/image:1"]["error"] == ""
    assert report["images"]["large/image:1"]["status"] == "copied"
    assert digest_of(local.url, "large/image", "1") == IMAGE.digest


@pytest.mark.usefixtures("far")
def test_on_a_far_line_a_large_blob_comes_in_several_requests_at_a_time(line, local):
    line.on("GET", BLOB, faults.delay(0.2), times=None)
    assert_arrived(mirror.sync(settings_of(line, local, LIST)), local)
    assert len(set(spans(line))) == -(-LARGE.size // fetch.RANGE)
    assert line.most_at_once > 3


@pytest.mark.usefixtures("far")
def test_pieces_that_break_are_fetched_again_from_where_they_broke(line, local):
    line.on("GET", BLOB, faults.cut_after(500_000), times=6)
    assert_arrived(mirror.sync(settings_of(line, local, LIST)), local)


def whole_blob(request, pass_on):
    """Act as a registry that knows no ranges."""
    import dataclasses

    headers = tuple(pair for pair in request.headers if pair[0].lower() != "range")
    return pass_on(dataclasses.replace(request, headers=headers))


@pytest.mark.usefixtures("far")
def test_a_registry_that_knows_no_ranges_sends_it_whole(line, local):
    line.on("GET", BLOB, whole_blob, times=None)
    assert_arrived(mirror.sync(settings_of(line, local, LIST)), local)
    assert len(spans(line)) == 2


@pytest.fixture
def store(upstream, line):
    """Have the registry send everybody who wants a blob to a store elsewhere, by a signed URL."""
    with FaultProxy(upstream.url) as store:
        line.on(
            "GET", BLOB, faults.redirect(lambda request: f"{store.url}{request.path}?signed=1"), times=None
        )
        yield store


@pytest.mark.usefixtures("far")
def test_a_registry_is_asked_once_where_it_has_a_blob(line, store, local):
    assert_arrived(mirror.sync(settings_of(line, local, LIST)), local)
    assert len(spans(line)) == 1
    assert len(spans(store)) == -(-LARGE.size // fetch.RANGE)


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize("refusal", [faults.answer(403), faults.answer(410), faults.reset()])
def test_a_registry_is_asked_again_when_a_signed_url_has_ended(line, store, local, refusal):
    store.on("GET", BLOB, refusal, times=1, skip=3)
    assert_arrived(mirror.sync(settings_of(line, local, LIST)), local)
    assert len(spans(line)) == 2


@pytest.mark.usefixtures("far")
def test_a_wrong_byte_in_one_piece_is_found(line, local):
    line.on("GET", BLOB, faults.change_byte(7), times=None, skip=3)
    report = mirror.sync(settings_of(line, local, LIST))
    assert report["images"]["large/image:1"]["cause"] == "digest"
    assert digest_of(local.url, "large/image", "1") is None


def leftovers(local):
    return list(Path(local.directory).glob("**/_uploads/*/data"))


@pytest.mark.parametrize(
    ("fault", "times"), [(faults.cut_after(9 * MIB), 1), (faults.change_byte(12 * MIB), None)]
)
def test_a_blob_that_fails_leaves_nothing_on_the_registrys_disk(line, local, fault, times):
    line.on("GET", BLOB, faults.reset(), times=None)
    line.on("GET", BLOB, fault, times=times)
    settings = settings_of(line, local, LIST, transfer={"retries": 1})
    assert mirror.sync(settings)["images"]["large/image:1"]["status"] == "failed"
    assert not leftovers(local)


@pytest.mark.usefixtures("spooling")
def test_the_next_run_goes_on_where_upstream_went_away(line, local, tmp_path):
    line.on("GET", BLOB, faults.reset(), times=None)
    line.on("GET", BLOB, faults.cut_after(20 * MIB), times=1)
    settings = settings_of(line, local, LIST, transfer={"retries": 1})
    assert mirror.sync(settings, directory=str(tmp_path))["images"]["large/image:1"]["cause"] == "network"
    line.forget_rules()
    come = []
    ear = Progress([lambda state, _: come.extend(blob.come for blob in state.flying)], tick=0.001)
    report = mirror.sync(settings, directory=str(tmp_path), progress=ear)
    assert_arrived(report, local)
    assert report["summary"]["bytes"] <= LARGE.size - 15 * MIB
    # What was there already counts in what a terminal shows of that blob.
    assert max(come) > LARGE.size - 10 * MIB
    assert not leftovers(local)


@pytest.mark.usefixtures("spooling")
def test_the_next_run_goes_on_where_one_was_stopped(line, local, tmp_path, checkout):
    line.on("GET", BLOB, faults.limit_rate(10 * MIB), times=None)
    child = start_child(checkout, pillar_of(line, local, LIST), tmp_path)
    while line.bytes_down < 15 * MIB:
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=30)
    line.forget_rules()
    report = mirror.sync(settings_of(line, local, LIST), directory=str(tmp_path))
    assert_arrived(report, local)
    assert report["summary"]["bytes"] <= LARGE.size - 10 * MIB


def spooled(directory):
    return [file.stat() for file in directory.glob("spool/*")]


@pytest.mark.usefixtures("spooling")
def test_a_spooled_blob_arrives_and_leaves_nothing(line, local, tmp_path):
    assert_arrived(mirror.sync(settings_of(line, local, LIST), directory=str(tmp_path)), local)
    assert not spooled(tmp_path)


@pytest.mark.usefixtures("spooling", "far")
def test_an_upstream_that_goes_away_in_the_middle_costs_what_was_under_way(line, local, tmp_path):
    settings = settings_of(line, local, LIST, transfer={"retries": 0})
    line.on("GET", BLOB, faults.reset_from(15 * MIB), times=None)
    report = mirror.sync(settings, directory=str(tmp_path))
    assert report["images"]["large/image:1"]["cause"] == "network"
    assert not leftovers(local)
    (kept,) = spooled(tmp_path)
    assert kept.st_mode & 0o077 == 0
    line.forget_rules()
    report = mirror.sync(settings, directory=str(tmp_path))
    assert_arrived(report, local)
    assert report["summary"]["bytes"] == LARGE.size - kept.st_size
    assert report["summary"]["bytes"] < LARGE.size - 8 * MIB
    assert not spooled(tmp_path)


CHILD = """
import json, sys
import _registry_sync_commands as mirror
import _registry_sync_copy as copy
from _registry_config_read import read_settings
copy.SPOOLED_SIZE = copy.SPOOLED_SIZE_FAR = 16 * 1024 * 1024
report = mirror.sync(read_settings(json.loads(sys.argv[1]), host="unused"), directory=sys.argv[2])
print(json.dumps(report))
sys.exit(mirror.return_code(report))
"""


def start_child(checkout, pillar, directory):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, json.dumps(pillar), str(directory)],
        env={**os.environ, "PYTHONPATH": str(checkout / "_utils")},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.usefixtures("spooling")
@pytest.mark.parametrize("at", [0.3, 0.5])
def test_a_kill_in_the_middle_of_a_blob_costs_a_piece(line, local, tmp_path, checkout, at):
    line.on("GET", BLOB, faults.limit_rate(4 * MIB), times=None)
    child = start_child(checkout, pillar_of(line, local, LIST, transfer={"parallel": 2}), tmp_path)
    while line.bytes_down < LARGE.size * at:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    line.forget_rules()
    report = mirror.sync(settings_of(line, local, LIST), directory=str(tmp_path))
    assert_arrived(report, local)
    # What the readers had ahead.
    assert report["summary"]["bytes"] <= LARGE.size * (1 - at) + 2 * MIB
    # The kill came before anything was sent.
    assert not leftovers(local)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_within_two_seconds_with_its_report(line, local, tmp_path, checkout, number):
    line.on("GET", BLOB, faults.stall_after(3 * MIB, 60), times=None)
    child = start_child(checkout, pillar_of(line, local, LIST), tmp_path)
    while line.bytes_down < MIB:
        time.sleep(0.01)
    began = time.monotonic()
    child.send_signal(number)
    output, _ = child.communicate(timeout=30)
    assert time.monotonic() - began < 2.5
    entry = json.loads(output)["images"]["large/image:1"]
    assert (entry["status"], entry["error"]) == ("failed", "stopped before this was done")
    assert child.returncode == 1


def test_a_second_sync_says_who_runs_and_leaves(line, local, tmp_path):
    settings = settings_of(line, local, LIST)
    with (
        only_one(str(tmp_path), settings.local),
        pytest.raises(AlreadyRunning, match=rf"sync into {local.address} runs \(pid {os.getpid()}, since"),
    ):
        mirror.sync(settings, directory=str(tmp_path))
    assert_arrived(mirror.sync(settings, directory=str(tmp_path)), local)


def test_the_lock_of_a_killed_run_blocks_nobody(line, local, tmp_path, checkout):
    line.on("GET", BLOB, faults.stall_after(MIB, 30), times=None)
    child = start_child(checkout, pillar_of(line, local, LIST), tmp_path)
    while line.bytes_down < MIB:
        time.sleep(0.01)
    child.kill()
    child.wait()
    line.forget_rules()
    assert_arrived(mirror.sync(settings_of(line, local, LIST), directory=str(tmp_path)), local)


def test_a_cap_on_bandwidth_is_kept(line, local):
    began = time.monotonic()
    report = mirror.sync(settings_of(line, local, LIST, transfer={"bandwidth": "10MB"}))
    seconds = time.monotonic() - began
    assert_arrived(report, local)
    # Bytes that are counted twice take twice as long; how near to one it comes is for the bench.
    assert 0.95 < seconds / (IMAGE.total_size / 10e6) < 1.9


def test_a_deadline_ends_the_run(line, local):
    line.on("GET", BLOB, faults.limit_rate(MIB), times=None)
    began = time.monotonic()
    report = mirror.sync(settings_of(line, local, LIST, transfer={"deadline": 2}))
    assert time.monotonic() - began < 5
    entry = report["images"]["large/image:1"]
    assert (entry["status"], entry["cause"]) == ("failed", "network")
    assert "transfer:deadline (2 s)" in entry["error"]


def test_no_thread_is_left_behind(line, local):
    def left():
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("registry-")]

    mirror.sync(settings_of(line, local, LIST))
    deadline = time.monotonic() + 5
    while left() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left() == []
