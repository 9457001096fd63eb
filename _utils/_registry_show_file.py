"""Put a whole file in the place of another, so that nobody reads half of one."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

READABLE = 0o644


def replace_file(path: Path, content: bytes, mode: int = READABLE, *, owner: str = "") -> None:
    """Write a file beside its place, then move it there.

    Args:
        path: the file; its directory exists.
        content: what is to be in it.
        mode: its permissions.
        owner: the user whose it becomes where we are root; empty = ours.

    Raises:
        OSError: it cannot be written; the old one is as it was.
    """
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
        give(draft, owner)
        Path(draft).replace(path)
    except OSError:
        Path(draft).unlink(missing_ok=True)
        raise


def give(path: str, owner: str) -> None:
    """Make a file another user's, where we may and there is that user."""
    if owner and os.geteuid() == 0:
        with contextlib.suppress(LookupError):
            shutil.chown(path, owner)
