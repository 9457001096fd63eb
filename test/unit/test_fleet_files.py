"""What a rollout leaves on the master: its lock, how far it is, and the wish that it stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import _registry_fleet_files as files
from _registry_fleet_config import FleetError

HOLDER = """\
import sys, time
sys.path.insert(0, {utils!r})
import _registry_fleet_files as files
with files.only_one({directory!r}, "20261126", ""):
    print("holds", flush=True)
    time.sleep(600)
"""


def holder(directory: Path) -> subprocess.Popen[str]:
    """Start a process that holds the lock."""
    utils = str(Path(files.__file__).parent)
    script = HOLDER.format(utils=utils, directory=str(directory))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "holds\n"
    return process


def test_a_second_rollout_is_refused_and_names_the_first_and_a_dead_ones_lock_is_taken_over(
    tmp_path: Path,
) -> None:
    other = holder(tmp_path)
    try:
        assert files.is_running(str(tmp_path))
        with (
            pytest.raises(FleetError, match=rf"another rollout runs \(jid 20261126, pid {other.pid}\)"),
            files.only_one(str(tmp_path), "1", ""),
        ):
            pass
    finally:
        os.kill(other.pid, signal.SIGKILL)
        other.communicate()
    assert not files.is_running(str(tmp_path))
    with files.only_one(str(tmp_path), "2", ""):
        assert (tmp_path / "lock").read_text("utf-8") == f"jid 2, pid {os.getpid()}"


def test_a_wish_to_stop_is_for_the_rollout_that_runs_and_not_for_the_next(tmp_path: Path) -> None:
    directory = str(tmp_path / "registry_fleet")
    with files.only_one(directory, "1", ""):
        assert not files.asked_to_stop(directory)
        files.ask_to_stop(directory, "")
        assert files.asked_to_stop(directory)
    with files.only_one(directory, "2", ""):
        assert not files.asked_to_stop(directory)


@pytest.mark.parametrize("text", [None, "", "[]", "{broken", '{"jid": "7"}'])
def test_a_state_that_is_missing_or_damaged_has_every_key(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "rollout.json").write_text(text)
    state = files.read_state(str(tmp_path))
    assert set(state) == {"jid", "pid", "at", "waves", "job"}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    files.write_state(str(tmp_path), {"jid": "7", "job": {"sites": ["a"]}}, "")
    assert files.read_state(str(tmp_path))["job"] == {"sites": ["a"]}
    assert (tmp_path / "rollout.json").stat().st_mode & 0o777 == 0o660
    with pytest.raises(OSError, match="no-such"):
        files.write_state(str(tmp_path / "no-such"), {}, "")
    assert [path.name for path in tmp_path.iterdir()] == ["rollout.json"]
