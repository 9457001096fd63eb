"""What was once read of upstream's manifests and never changes, kept by their digest from run to run.

A manifest need then not be pulled again to know what it comes to. A file that is lost or damaged costs
those pulls and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Of each run at least: a list of so many tags is far beyond any that was seen.
ENTRIES = 50_000


class Memory:
    """Facts about digests.

    Args:
        directory: where the file lies; empty = nothing outlives this run.
    """

    def __init__(self, directory: str = "") -> None:
        self._file = Path(directory, "digests.json") if directory else None
        self._lock = threading.Lock()
        self._facts = self._read()
        self._changed = False

    def get(self, *key: str) -> str | None:
        """What is known, or None."""
        return self._facts.get(" ".join(key))

    def put(self, value: str, *key: str) -> None:
        """Note what never changes."""
        with self._lock:
            self._facts[" ".join(key)] = value
            self._changed = True

    def save(self) -> None:
        """Write the file, whole or not at all; a full disk here stops nothing."""
        if self._file is None or not self._changed:
            return
        with self._lock:
            _write(self._file, dict(list(self._facts.items())[-ENTRIES:]))
            self._changed = False

    def _read(self) -> dict[str, str]:
        facts = _read(self._file)
        if not isinstance(facts, dict):
            return {}
        return {key: value for key, value in facts.items() if isinstance(value, str)}


class Unfinished:
    """Repositories that a run was filling when it ended early: they may hold blobs and no tag yet.

    Args:
        directory: where the file lies; empty = nothing outlives this run.
        target: names the store that is filled.
    """

    def __init__(self, directory: str, target: str) -> None:
        name = f"unfinished-{hashlib.sha256(target.encode()).hexdigest()[:16]}.json"
        self._file = Path(directory, name) if directory else None
        found = _read(self._file)
        self.repositories = (
            {name for name in found if isinstance(name, str)} if isinstance(found, list) else set()
        )

    def begin(self, repositories: Iterable[str]) -> None:
        """Note what is going to be filled."""
        self.repositories |= set(repositories)
        if self._file and self.repositories:
            _write(self._file, sorted(self.repositories))

    def end(self) -> None:
        """Note that all is whole."""
        if self._file:
            with contextlib.suppress(OSError):
                self._file.unlink(missing_ok=True)


def _read(file: Path | None) -> Any:
    try:
        return json.loads(file.read_text("utf-8")) if file else None
    except (OSError, ValueError, RecursionError):
        return None


def _write(file: Path, content: Any) -> None:
    """Write a file whole or not at all."""
    draft = file.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_text(json.dumps(content), "utf-8")
        draft.replace(file)
