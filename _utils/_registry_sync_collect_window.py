"""The time in which this host cannot push: begun by one process, ended by whichever is left.

A file is locked for it, by the process that collects and by the ``garbage-collect`` that it runs, which may
outlive it. Whoever gets the lock afterwards finds in the file whether pushes are to be started again. A guard
waits for that from the beginning on: ``flock`` of util-linux, which then starts the service.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from _registry_oci_errors import RegistryError


class CollectError(RegistryError):
    """Space cannot be freed, or not any further."""


@dataclass(frozen=True)
class Pushes:
    """The service through which this host pushes.

    Args:
        name: of it, for messages.
        stop: ends it, once it has answered what it has begun; raises CollectError where it goes on.
        start: starts it, and waits until it answers; raises CollectError where it does not.
        runs: whether it runs.
        guard: takes the path of a file, has the service started as soon as nobody locks that, whatever
            becomes of this process, and returns a function that calls this off.
    """

    name: str
    stop: Callable[[], None]
    start: Callable[[], None]
    runs: Callable[[], bool]
    guard: Callable[[str], Callable[[], None]]


@dataclass(frozen=True)
class Held:
    """The locked file.

    Args:
        path: of it.
        descriptor: of it; a child that inherits it holds the lock, too.
    """

    path: str
    descriptor: int

    @property
    def interrupted(self) -> bool:
        """Whether an earlier window was never closed."""
        return os.fstat(self.descriptor).st_size > 0

    def opened(self, name: str) -> None:
        """Note that pushes are about to stop."""
        text = f"{name} was stopped at {time.strftime('%Y-%m-%d %H:%M:%S')} by pid {os.getpid()}\n"
        # The guard needs no note, and a disk may be too full for one.
        with contextlib.suppress(OSError):
            os.pwrite(self.descriptor, text.encode(), 0)
            os.fsync(self.descriptor)

    def closed(self) -> None:
        """Note that all is as it was."""
        os.ftruncate(self.descriptor, 0)


@contextlib.contextmanager
def locked(path: str) -> Iterator[Held]:
    """Lock the file; the kernel frees it once the last process ends that has it open.

    Args:
        path: of the file; its directory is made.

    Raises:
        CollectError: a ``garbage-collect`` still runs, or somebody else collects.
    """
    try:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as failure:
        raise CollectError(f"{path}: {failure.strerror}; nothing was done") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            said = Path(path).read_text(encoding="utf-8", errors="replace").strip()
            raise CollectError(f"space is being freed ({said or 'just begun'}); nothing was done") from None
        yield Held(path, descriptor)
    finally:
        # Not unlocked: a child that is left would lose it as well.
        os.close(descriptor)


@dataclass(slots=True)
class Window:
    """How long this host could not push, in seconds; 0 before it can again."""

    seconds: float = 0.0


@contextlib.contextmanager
def without_pushes(held: Held, pushes: Pushes, window: Window) -> Iterator[None]:
    """Stop pushes, and start them again whatever happens.

    Where they do not start, the guard goes on once the file is free, and its note is left for the next run.

    Args:
        held: the locked file.
        pushes: the service.
        window: is told how long it took.

    Raises:
        CollectError: they do not stop, or do not start again.
    """
    call_off = pushes.guard(held.path)
    held.opened(pushes.name)
    began = time.monotonic()
    try:
        pushes.stop()
        yield
    finally:
        pushes.start()
        window.seconds = time.monotonic() - began
        held.closed()
        call_off()


def recover(path: str, pushes: Pushes) -> bool:
    """Start pushes again where a collection was killed and its guard with it.

    Args:
        path: of the file that is locked while space is freed.
        pushes: the service.

    Returns:
        Whether there was anything to do.

    Raises:
        CollectError: what was begun still runs, or the service does not start.
    """
    if not Path(path).exists():
        return False
    with locked(path) as held:
        if not held.interrupted:
            return False
        if not pushes.runs():
            pushes.start()
        held.closed()
        return True
