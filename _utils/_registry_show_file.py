"""Put a whole file in the place of another, so that nobody reads half of one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Write a file beside its place, then move it there.

    Args:
        path: the file; its directory exists.
        content: what is to be in it.
        mode: its permissions.

    Raises:
        OSError: it cannot be written; the old one is as it was.
    """
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
        Path(draft).replace(path)
    except OSError:
        Path(draft).unlink(missing_ok=True)
        raise
