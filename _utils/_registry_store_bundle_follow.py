"""Follow what is written: hash a volume and send files to the disk while more of them comes.

At the end little is left to hash or to wait for, however large a bundle is.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHUNK = 256 * 1024
# What is sent to the disk at once: a stick takes a second for it, and a run that is stopped waits no longer.
STEP = 8 * 1024 * 1024
HASHERS = 2


class Followers:
    """Threads that come after those who write.

    What fails in them is left: it is done again, and told, at the end.
    """

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._hashing = ThreadPoolExecutor(HASHERS, "registry-hash")
        # Writing back may wait for the disk; hashing must not.
        self._writing = ThreadPoolExecutor(1, "registry-flush")

    def hash(self, follow: Callable[[], object]) -> None:
        """Have something hashed."""
        self._hashing.submit(follow)

    def write_back(self, file: int, begin: int, end: int) -> None:
        """Have pages of an open file written to the disk, which is not waited for."""
        self._writing.submit(self._write_back, file, begin, end)

    def write_back_file(self, path: Path) -> None:
        """Have a file written to the disk, which is not waited for."""
        self._writing.submit(self._write_back_file, path)

    def close(self) -> None:
        """End soon; afterwards nobody uses a file any more."""
        self.stopping.set()
        for pool in (self._hashing, self._writing):
            pool.shutdown(cancel_futures=True)

    def _write_back_file(self, path: Path) -> None:
        with path.open("rb") as file:
            self._write_back(file.fileno(), 0, os.fstat(file.fileno()).st_size)

    def _write_back(self, file: int, begin: int, end: int) -> None:
        for offset in range(begin, end, STEP):
            if self.stopping.is_set():
                return
            # Linux begins to write what is dirty, which fsync would begin only at the end.
            # https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/tree/mm/fadvise.c
            os.posix_fadvise(file, offset, min(STEP, end - offset), os.POSIX_FADV_DONTNEED)


class FollowingHash:
    """SHA-256 of a file whose parts come in any order; each byte is read once, soon after it was written.

    Args:
        file: descriptor of it.
        ends: where each part ends, in order.
        stopping: ends a long read.
    """

    def __init__(self, file: int, ends: Iterable[int], stopping: threading.Event) -> None:
        self._file = file
        self._ahead = deque(ends)
        self._stopping = stopping
        self._whole: set[int] = set()
        self._lock = threading.Lock()
        self._at = 0
        self._hash = hashlib.sha256()
        self._buffer = bytearray()

    def came(self, end: int) -> None:
        """Say that the part which ends there is whole and will not change."""
        self._whole.add(end)

    def follow(self) -> tuple[int, int]:
        """Hash what is whole as far as nothing is lacking; from where to where that was."""
        with self._lock:
            begin = self._at
            while self._ahead and self._ahead[0] in self._whole and not self._stopping.is_set():
                self._read_to(self._ahead[0])
                self._whole.discard(self._ahead.popleft())
            return begin, self._at

    def hexdigest(self) -> str:
        """The hash of the whole file; its last part must have come."""
        self.follow()
        with self._lock:
            self._read_to(os.fstat(self._file).st_size)
            return self._hash.hexdigest()

    def _read_to(self, end: int) -> None:
        # One buffer, which stays in the processor's cache.
        self._buffer = self._buffer or bytearray(CHUNK)
        view = memoryview(self._buffer)
        while self._at < end and not self._stopping.is_set():
            size = os.preadv(self._file, [view[: end - self._at]], self._at)
            if not size:
                return
            self._hash.update(view[:size])
            self._at += size
