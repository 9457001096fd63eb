"""Large blobs under way, on this host's own disk: what has crossed a far line need not cross it again.

A file is named by the digest of its blob and holds the bytes that have come so far. It is whole only
when it hashes to that name: what a kill or a crash has left is hashed again before it is believed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from _registry_oci_manifest import Descriptor

BLOCK = 1024 * 1024
# Of the free disk, what blobs under way may take where transfer:spool does not say.
SHARE_OF_FREE = 4
# What no run has gone on with for so long is not wanted any more.
FORGOTTEN_SECONDS = 7 * 24 * 3600


class SpoolFile:
    """The bytes of one blob that have come so far.

    Args:
        path: of the file, which is made readable by its owner alone.
        blob: whose bytes they are.

    Raises:
        BlockingIOError: another run has it open.
        OSError: it cannot be made or read.
    """

    def __init__(self, path: Path, blob: Descriptor) -> None:
        self._path = path
        self._file = os.fdopen(
            os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b", buffering=0
        )
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.size = os.fstat(self._file.fileno()).st_size
        if self.size > blob.size:
            self.truncate()

    def append(self, chunk: bytes) -> None:
        """Add bytes at the end.

        Raises:
            OSError: the disk is full, or worse.
        """
        view = memoryview(chunk)
        while view:
            written = os.pwrite(self._file.fileno(), view, self.size)
            self.size += written
            view = view[written:]

    def blocks(self, begin: int, end: int) -> Iterator[bytes]:
        """The bytes from one offset to another."""
        while begin < end:
            block = os.pread(self._file.fileno(), min(BLOCK, end - begin), begin)
            if not block:
                raise OSError(f"{self._path} has become shorter")
            begin += len(block)
            yield block

    def truncate(self) -> None:
        """Begin anew."""
        self._file.truncate(0)
        self.size = 0

    def remove(self) -> None:
        """Give the disk back; the file stays readable for whoever has it open."""
        with contextlib.suppress(OSError):
            self._path.unlink()

    def release(self) -> None:
        """Let another run go on with it."""
        with contextlib.suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_UN)


class Spool:
    """A directory for large blobs under way, with a bound on what they take together.

    Args:
        directory: the run's own; empty = nothing is ever spooled.
        bound: bytes; 0 = nothing is spooled, None = a share of what is free.
    """

    def __init__(self, directory: str, bound: int | None) -> None:
        self._directory = Path(directory, "spool") if directory and bound != 0 else None
        self._lock = threading.Lock()
        self._left = self._room(bound)

    def open(self, blob: Descriptor) -> SpoolFile | None:
        """A place for a blob; None where there is no room for all of it."""
        if self._directory is None:
            return None
        path = self._directory / blob.digest.replace(":", "-")
        with self._lock:
            if blob.size > self._left:
                return None
            self._left -= blob.size
        try:
            return SpoolFile(path, blob)
        except OSError:
            self.give_back(blob)
            return None

    def give_back(self, blob: Descriptor) -> None:
        """Note that a blob takes no room any more."""
        with self._lock:
            self._left += blob.size

    def tidy(self) -> None:
        """Remove what earlier runs have left and none has gone on with for long."""
        if self._directory is None:
            return
        # Up to 2026 uploads were kept on the registry, and noted here.
        for note in self._directory.parent.glob("upload-*.json"):
            note.unlink(missing_ok=True)
        for file in self._directory.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - file.stat().st_mtime > FORGOTTEN_SECONDS:
                    file.unlink()

    def _room(self, bound: int | None) -> int:
        if self._directory is None:
            return 0
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            free = shutil.disk_usage(self._directory).free
            self.tidy()
        except OSError:
            self._directory = None
            return 0
        return free // SHARE_OF_FREE if bound is None else min(bound, free)
