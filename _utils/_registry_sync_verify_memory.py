"""Which files have been hashed and when, so that a run goes on where another was stopped; and how it ended.

What is not as it was then (size, time, inode) is hashed anew, and so is what was hashed too long ago. A file
that is lost or damaged costs one more reading of everything.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from _registry_store_disk import BlobFile
from _registry_sync_ledger import file_name

VERSION = 1
SAVE_SECONDS = 5.0
# Of a verification's summary, what is remembered.
RESULT = ("whole", "broken", "repaired", "lost", "unread", "left")


class Hashed:
    """What was found right, of one registry.

    Args:
        directory: where the file lies, beside the ledger; empty = nothing outlives this run.
        registry: the registry's URL, or where its files lie.
        every: seconds after which a file is hashed again; 0 = each time.
        clock: seconds since 1970.
    """

    def __init__(
        self, directory: str, registry: str, every: int, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = Path(directory, f"verified-{file_name(registry)}.json") if directory else None
        self._every = every
        self._clock = clock
        self._lock = threading.Lock()
        self._known = self._read()
        self._save_at = time.monotonic() + SAVE_SECONDS

    def is_fresh(self, file: BlobFile) -> bool:
        """Whether a file was found right not long ago, and is what it was then."""
        words = self._known.get(file.digest, "").split()
        if words[:-1] != _words_of(file):
            return False
        return 0 <= self._clock() - int(words[-1]) < self._every

    def note(self, file: BlobFile) -> None:
        """Note that a file was just hashed and is right."""
        with self._lock:
            self._known[file.digest] = " ".join((*_words_of(file), str(int(self._clock()))))
            if time.monotonic() > self._save_at:
                self._write()
                self._save_at = time.monotonic() + SAVE_SECONDS

    def forget(self, digests: Collection[str]) -> None:
        """Forget what was found wrong."""
        with self._lock:
            for digest in digests:
                self._known.pop(digest, None)

    def keep_only(self, digests: Collection[str]) -> None:
        """Forget what is not there any more."""
        with self._lock:
            self._known = {name: words for name, words in self._known.items() if name in digests}

    def save(self) -> None:
        """Write it; where that cannot be, the next run reads everything."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        draft = self._path.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_text(json.dumps({"version": VERSION, "hashed": self._known}), "utf-8")
            draft.replace(self._path)

    def _read(self) -> dict[str, str]:
        try:
            told = json.loads(self._path.read_text("utf-8")) if self._path else {}
            if told.get("version") != VERSION:
                return {}
            return {str(digest): str(words) for digest, words in told["hashed"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return {}


def note_verified(
    directory: str, report: Mapping[str, Any], *, fast: bool, clock: Callable[[], float] = time.time
) -> None:
    """Keep how a verification has ended; where that cannot be written, nothing of it is known later.

    Args:
        directory: in which runs keep what outlives them.
        report: of ``verify``.
        fast: only pointers and sizes were looked at.
        clock: seconds since 1970.
    """
    told = {key: report["summary"][key] for key in RESULT}
    told |= {"at": round(clock(), 3), "fast": fast, "url": report["registry"]["url"]}
    file = Path(directory, "verified.json")
    draft = file.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_text(json.dumps(told), "utf-8")
        draft.replace(file)


def last_verified(directory: str, url: str) -> dict[str, Any] | None:
    """How the last verification of a registry has ended: ``at``, ``fast`` and the counts; None = not known.

    Args:
        directory: in which runs keep what outlives them.
        url: the registry's.
    """
    try:
        told = json.loads(Path(directory, "verified.json").read_text("utf-8"))
        counts = {key: int(told[key]) for key in RESULT}
        return (
            {**counts, "at": float(told["at"]), "fast": told["fast"] is True} if told["url"] == url else None
        )
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _words_of(file: BlobFile) -> list[str]:
    return [str(file.size), str(file.mtime), str(file.inode)]
