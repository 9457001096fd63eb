"""Whether what a sync brings has room on the registry's disk, where that is one of this host."""

from __future__ import annotations

import shutil
from pathlib import Path

from _registry_oci_errors import LOCAL, NoSpace

# Beside the blobs themselves a registry writes links, and a disk that is full to its last byte stops more.
MORE = 0.05


def demand_space(size: int, storage: str) -> None:
    """Refuse to begin what cannot end.

    Args:
        size: bytes that are going to be copied.
        storage: the directory that the registry keeps its images in; empty = it is not of this host.

    Raises:
        NoSpace: there is less free than those bytes and a twentieth more.
    """
    if not storage or not size:
        return
    # The registry makes it when it is first written to.
    there = next(path for path in (Path(storage), *Path(storage).parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < size * (1 + MORE):
        raise NoSpace(
            f"{storage} has {_megabytes(free)} MB free, and this sync brings {_megabytes(size)} MB "
            f"and needs {MORE:.0%} more; nothing was copied",
            side=LOCAL,
        )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"
