"""Where an upload had got to when a run ended, kept so that the next run can go on with it.

One small file for each blob under way, readable by its owner alone: an upload's URL is signed and
whoever has it may write there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

# docker-distribution forgets an upload after a week.
# https://distribution.github.io/distribution/about/configuration/#uploadpurging
FORGOTTEN_SECONDS = 168 * 3600


class Journal:
    """The uploads of one blob.

    Args:
        directory: where the files lie; empty = nothing is kept.
        names: what tells this blob's upload from every other: registry, repository, digest.
    """

    def __init__(self, directory: str, *names: str) -> None:
        self._file = None
        if directory:
            name = hashlib.sha256("\n".join(names).encode()).hexdigest()
            self._file = Path(directory) / f"upload-{name}.json"

    def read(self) -> list[tuple[str, int]]:
        """The URLs and offsets in bytes that were saved, the farthest first; none is no error."""
        if self._file is None:
            return []
        try:
            if time.time() - self._file.stat().st_mtime > FORGOTTEN_SECONDS:
                self.forget()
                return []
            entries = json.loads(self._file.read_text("utf-8"))
            saved = [(str(url), int(offset)) for url, offset in entries]
        except (OSError, ValueError, TypeError):
            return []
        return sorted(saved, key=lambda entry: -entry[1])

    def save(self, uploads: Sequence[tuple[str, int]]) -> None:
        """Replace what was saved, whole or not at all; a full disk here never stops the copy."""
        if self._file is None:
            return
        draft = self._file.with_suffix(".new")
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(list(uploads), file)
            draft.replace(self._file)

    def forget(self) -> None:
        """Drop what was saved."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.unlink(missing_ok=True)
