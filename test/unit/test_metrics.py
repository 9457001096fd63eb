"""The file for Prometheus: what stands in it, what it keeps, and that promtool takes it."""

from __future__ import annotations

import os
import stat
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

import _registry_show_prometheus as metrics
from _registry_config_read import read_settings
from _registry_config_values import Settings
from _registry_show_report import CAUSES, STATUSES

DIGEST = "sha256:" + "a" * 64
PILLAR = {
    "upstream": {"host": "vendor.example.com"},
    "image_defaults": {"tags": ["13.0"]},
    "images": [
        "cron",
        {"name": "ceph/rhceph", "upstream": {"host": "other.example.com", "port": 5000}, "tags": ["3-9"]},
        {"name": "ceph/old", "target": "ceph/rhceph", "tags": ["2-9", f"pinned@{DIGEST}", DIGEST]},
    ],
}


@pytest.fixture
def settings() -> Settings:
    return read_settings(PILLAR, host="mirror")


def report(images: dict[str, tuple[str, str]] | None = None, **summary: Any) -> dict[str, Any]:
    return {
        "registry": {"url": "http://mirror:5000", "up": True, "repositories": 2, "tags": 2, "error": ""},
        "images": {
            name: {"status": status, "cause": cause} for name, (status, cause) in (images or {}).items()
        },
        "summary": {"bytes": 0, "seconds": 0.25} | summary,
    }


@pytest.fixture
def write(tmp_path: Path, settings: Settings) -> Any:
    path = tmp_path / "docker_registry.prom"

    def write(function: str, what: dict[str, Any], *, success: bool = True, now: float = 1.0) -> str:
        metrics.write_metrics(str(path), function, settings, what, success=success, clock=lambda: now)
        return path.read_text()

    return write


MIXED = {
    "rhosp13/openstack-cron:13.0": ("current", ""),
    "rhosp13/openstack-cron:12.0": ("extra", ""),
    "ceph/rhceph:3-9": ("unreadable", "auth"),
    "ceph/rhceph:2-9": ("missing", ""),
    "foreign/thing:1": ("extra", ""),
}


def test_tags_are_counted_by_upstream_and_status(write: Any) -> None:
    lines = write("check", report(MIXED)).splitlines()
    counted = {line for line in lines if line.startswith("registry_sync_tags{") and not line.endswith(" 0")}
    assert counted == {
        'registry_sync_tags{upstream="vendor.example.com:443",status="current"} 1',
        'registry_sync_tags{upstream="vendor.example.com:443",status="extra"} 1',
        'registry_sync_tags{upstream="vendor.example.com:443",status="missing"} 1',
        'registry_sync_tags{upstream="other.example.com:5000",status="unreadable"} 1',
        'registry_sync_tags{upstream="none",status="extra"} 1',
    }


def test_every_status_and_cause_has_a_series_from_the_first_run_on(write: Any) -> None:
    text = write("check", report())
    for name in ("vendor.example.com:443", "other.example.com:5000"):
        for status in STATUSES:
            assert f'registry_sync_tags{{upstream="{name}",status="{status}"}} 0\n' in text
    for cause in CAUSES:
        assert f'registry_sync_failed_tags{{cause="{cause}"}} 0\n' in text


def test_failures_are_counted_by_cause(write: Any) -> None:
    assert 'registry_sync_failed_tags{cause="auth"} 1\n' in write("check", report(MIXED))


def test_the_last_success_survives_a_failed_run(write: Any) -> None:
    write("sync", report(), now=100)
    text = write("sync", report(), now=200.5, success=False)
    assert 'registry_sync_last_run_timestamp_seconds{function="sync"} 200.500\n' in text
    assert 'registry_sync_last_success_timestamp_seconds{function="sync"} 100\n' in text


def test_a_mirror_that_never_was_in_step_has_no_last_success(write: Any) -> None:
    assert "last_success" not in write("check", report(), success=False)


def test_check_and_sync_leave_each_others_times_alone(write: Any) -> None:
    write("sync", report(bytes=1000), now=100)
    text = write("check", report(seconds=9), now=200)
    assert 'registry_sync_last_run_timestamp_seconds{function="sync"} 100\n' in text
    assert 'registry_sync_last_run_timestamp_seconds{function="check"} 200\n' in text
    assert 'registry_sync_last_run_moved_bytes{function="sync"} 1000\n' in text
    assert 'registry_sync_last_run_duration_seconds{function="check"} 9\n' in text


def test_bytes_add_up_over_runs(write: Any) -> None:
    write("sync", report(bytes=1_500_000_000))
    write("check", report(bytes=7))
    assert "registry_sync_moved_bytes_total 1500000300\n" in write("sync", report(bytes=300))


def test_an_upstream_that_left_the_list_leaves_the_file(write: Any, tmp_path: Path) -> None:
    write("check", report(MIXED))
    only_cron = read_settings(PILLAR | {"images": ["cron"]}, host="mirror")
    path = tmp_path / "docker_registry.prom"
    metrics.write_metrics(str(path), "check", only_cron, report(), success=True)
    assert "other.example.com" not in path.read_text()


def test_tags_that_share_a_target_keep_their_own_upstream(settings: Settings) -> None:
    names = [f"ceph/rhceph{end}" for end in (":3-9", ":2-9", ":pinned", f"@{DIGEST}", ":unknown")]
    other, vendor = "other.example.com:5000", "vendor.example.com:443"
    found = metrics.upstreams_of(settings, names)
    assert list(found.values()) == [other, vendor, vendor, vendor, other]


def test_the_file_can_be_read_by_others_and_nothing_else_is_left(write: Any, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write("check", report())
    finally:
        os.umask(before)
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_a_reader_never_sees_half_a_file(write: Any, tmp_path: Path) -> None:
    write("check", report(MIXED))
    path, halves, done = tmp_path / "docker_registry.prom", [], threading.Event()

    def read() -> None:
        while not done.is_set():
            text = path.read_text()
            if "registry_sync_moved_bytes_total" not in text or not text.endswith("\n"):
                halves.append(text)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        write("check", report(MIXED), now=number)
    done.set()
    reader.join()
    assert halves == []


def test_a_directory_that_is_not_there_is_an_error_and_leaves_nothing(
    settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="No such file"):
        metrics.write_metrics(str(tmp_path / "no" / "x.prom"), "check", settings, report(), success=True)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_taken_is_an_error_and_leaves_no_draft(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "x.prom").mkdir()
    with pytest.raises(OSError, match=r"x\.prom"):
        metrics.write_metrics(str(tmp_path / "x.prom"), "check", settings, report(), success=True)
    assert [path.name for path in tmp_path.iterdir()] == ["x.prom"]


@pytest.mark.parametrize(
    "rubbish",
    [b"\xff\xfe\x00", b"registry_sync_moved_bytes_total 1e999\n", b"registry_sync_moved_bytes_total ...\n"],
)
def test_rubbish_in_the_old_file_is_forgotten(write: Any, tmp_path: Path, rubbish: bytes) -> None:
    (tmp_path / "docker_registry.prom").write_bytes(rubbish)
    assert "registry_sync_moved_bytes_total 5\n" in write("sync", report(bytes=5))


@pytest.mark.needs("promtool")
def test_promtool_has_nothing_to_say(write: Any) -> None:
    write("sync", report(MIXED, bytes=5))
    text = write("check", report(MIXED), success=False)
    answer = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stdout + answer.stderr) == (0, "")


def test_a_collection_adds_up_and_a_sync_keeps_it(write: Any, tmp_path: Path) -> None:
    path = tmp_path / "docker_registry.prom"
    write("sync", report())
    for size in (100, 20):
        metrics.write_collect_metrics(str(path), {"bytes": size, "read_only_seconds": 1.5})
    text = write("sync", report())
    assert "registry_sync_freed_bytes_total 120\n" in text
    assert "registry_sync_read_only_seconds 1.500\n" in text
    assert "registry_sync_moved_bytes_total 0\n" in text
