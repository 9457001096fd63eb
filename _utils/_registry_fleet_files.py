"""What a rollout leaves beside the master's other files: a lock, how far it is, and whether it is to stop.

A runner that root types and one that an orchestration starts are of different users; both may write here.
https://docs.saltproject.io/en/latest/topics/releases/3006.0.html (the master runs as the user salt)
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from _registry_fleet_config import FleetError
from _registry_show_file import give, replace_file

STATE = "rollout.json"
STOP = "stop"
_LOCK = "lock"
_MODE = 0o660


@contextlib.contextmanager
def only_one(directory: str, jid: str, owner: str) -> Iterator[None]:
    """Keep every other rollout of this master out.

    The kernel frees the lock of a process that ends in whatever way: a dead one's is taken over.

    Args:
        directory: it is made where there is none.
        jid: of this rollout.
        owner: user that the master runs as.

    Raises:
        FleetError: another runs, with its jid and pid.
    """
    with _lock_file(directory, owner) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = Path(directory, _LOCK).read_text("utf-8").strip() or "just started"
            raise FleetError(
                f"another rollout runs ({who}); salt-run registry_fleet.stop ends it, nothing was done"
            ) from None
        os.truncate(file, 0)
        os.write(file, f"jid {jid}, pid {os.getpid()}".encode())
        Path(directory, STOP).unlink(missing_ok=True)
        try:
            yield
        finally:
            os.truncate(file, 0)


def is_running(directory: str) -> bool:
    """Whether a rollout holds the lock."""
    try:
        descriptor = os.open(Path(directory, _LOCK), os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def ask_to_stop(directory: str, owner: str) -> None:
    """Have the rollout that runs publish nothing more."""
    replace_file(Path(directory, STOP), b"", _MODE, owner=owner)


def asked_to_stop(directory: str) -> bool:
    """Whether somebody wants the rollout to end."""
    return Path(directory, STOP).exists()


def write_state(directory: str, state: Mapping[str, Any], owner: str) -> None:
    """Keep how far the rollout is, for ``stop`` and for reports to come."""
    replace_file(Path(directory, STATE), json.dumps(state).encode(), _MODE, owner=owner)


def read_state(directory: str) -> dict[str, Any]:
    """How far the last rollout is or was; every key is there."""
    nothing: dict[str, Any] = {"jid": "", "pid": 0, "at": 0.0, "waves": {}, "job": {}}
    try:
        found = json.loads(Path(directory, STATE).read_text("utf-8"))
    except (OSError, ValueError):
        return nothing
    return nothing | found if isinstance(found, dict) else nothing


@contextlib.contextmanager
def _lock_file(directory: str, owner: str) -> Iterator[int]:
    Path(directory).mkdir(mode=0o770, parents=True, exist_ok=True)
    give(directory, owner)
    file = Path(directory, _LOCK)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, _MODE)
    try:
        give(str(file), owner)
        yield descriptor
    finally:
        os.close(descriptor)
