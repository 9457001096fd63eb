"""Hash many files in a few threads that leave the host's other work its processors."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from _registry_http_retry import Run
from _registry_oci_errors import RegistryError
from _registry_show_progress import Progress
from _registry_store_disk import BlobFile
from _registry_store_disk_mark import Broken
from _registry_sync_jobs import Job, run_jobs
from _registry_sync_verify_memory import Hashed

WORKERS = 4
# As ``nice`` has it, of our threads alone: Linux gives each its own, and they end with the run.
NICENESS = 10
# What is larger comes first, so that no thread is left with a large one at the end; the rest by inode, in
# whose order a disk that turns has them.
LARGE = 16 * 1024 * 1024


@dataclass(slots=True)
class Hashing:
    """How fast bytes are read, and who is told.

    Args:
        run: its bandwidth, and the end of all.
        progress: is told what is under way.
        workers: threads.
    """

    run: Run
    progress: Progress
    workers: int = field(default_factory=lambda: min(WORKERS, os.cpu_count() or 1))

    def is_over(self) -> bool:
        """Whether the run must end."""
        try:
            self.run.check()
        except RegistryError:
            return True
        return False


@dataclass(slots=True)
class Outcome:
    """What hashing came to.

    Args:
        broken: what is wrong.
        unread: path or digest → why it could not be read.
        hashed: how many files.
        size: their bytes.
        left: how many were not hashed since the run was to end.
    """

    broken: list[Broken] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    hashed: int = 0
    size: int = 0
    left: int = 0


def hash_all(
    wrong: Callable[[BlobFile, Hashing], Broken | None],
    files: Sequence[BlobFile],
    hashing: Hashing,
    memory: Hashed,
) -> Outcome:
    """Hash every file once.

    Args:
        wrong: hashes one and says what is wrong with it.
        files: which.
        hashing: how fast.
        memory: is told what is right.
    """
    outcome = Outcome(left=len(files))
    if not files:
        return outcome
    order = sorted(files, key=lambda file: (-file.size if file.size > LARGE else 0, file.inode))
    waiting = iter(order)
    lock = threading.Lock()

    def work() -> None:
        _be_nice()
        while not hashing.is_over():
            with lock:
                file = next(waiting, None)
            if file is None:
                return
            try:
                broken = wrong(file, hashing)
            except RegistryError as failure:
                if hashing.is_over():
                    return
                with lock:
                    outcome.left -= 1
                    outcome.unread[file.digest] = str(failure)
                continue
            with lock:
                outcome.left -= 1
                outcome.hashed += 1
                outcome.size += file.size
                if broken:
                    outcome.broken.append(broken)
            if not broken:
                memory.note(file)

    hashing.progress.start(0, len(order), sum(file.size for file in order))
    jobs = [Job(work) for _ in range(min(hashing.workers, len(order)))]
    try:
        run_jobs(jobs, len(jobs), hashing.run.stopping)
    except BaseException:
        hashing.run.stop()
        raise
    finally:
        hashing.progress.finish()
    return outcome


def _be_nice() -> None:
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
