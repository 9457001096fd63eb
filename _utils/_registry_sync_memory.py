"""What was once read of upstream's manifests and never changes, kept by their digest from run to run.

A manifest need then not be pulled again to know what it comes to. A file that is lost or damaged costs
those pulls and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path

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
        draft = self._file.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError), self._lock:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.write_text(json.dumps(dict(list(self._facts.items())[-ENTRIES:])), "utf-8")
            draft.replace(self._file)
            self._changed = False

    def _read(self) -> dict[str, str]:
        if self._file is None:
            return {}
        try:
            facts = json.loads(self._file.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(facts, dict):
            return {}
        return {key: value for key, value in facts.items() if isinstance(value, str)}
