"""One sync at a time for one local registry, and a decent end for one that is told to stop."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from _registry_http_endpoint import Endpoint
from _registry_http_retry import Run
from _registry_oci_errors import RegistryError


class AlreadyRunning(RegistryError):
    """Another process mirrors into the same registry."""


@contextlib.contextmanager
def only_one(directory: str, local: Endpoint) -> Iterator[None]:
    """Keep every other sync into a registry out.

    The kernel frees the lock of a process that ends in whatever way, so none is ever stale.

    Args:
        directory: where the lock's file lies; empty = nobody is kept out.
        local: the registry.

    Raises:
        AlreadyRunning: who runs, and since when.
    """
    if not directory:
        yield
        return
    Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    name = hashlib.sha256(local.url.encode()).hexdigest()
    descriptor = os.open(Path(directory) / f"lock-{name}", os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = file.read().strip() or "just started"
            raise AlreadyRunning(f"another sync into {local.name} runs ({owner}); nothing was done") from None
        file.truncate()
        file.write(f"pid {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}")
        file.flush()
        yield
        file.seek(0)
        file.truncate()


@contextlib.contextmanager
def stopping_on_signals(run: Run) -> Iterator[None]:
    """Let SIGINT and SIGTERM end a run, which then closes its uploads and tells what it did.

    Python hands signals to the main thread alone; in any other this changes nothing.

    Args:
        run: what to stop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        run.stop()

    before: dict[int, Any] = {
        number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: a handler that was not set from Python cannot be set again from it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
