"""Bad files of a registry, renamed aside so that the server takes right ones in their place.

docker-distribution never overwrites a file that is there, whatever is pushed. What is set aside stays on the
same disk for a week, below the storage directory and out of the server's sight.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from _registry_oci_errors import LOCAL, RegistryError
from _registry_oci_names import hasher
from _registry_store_disk import BLOCK, DiskStore

DIRECTORY = ".registry_sync/quarantine"
KEPT_SECONDS = 7 * 24 * 3600


class Quarantine:
    """Files set aside, of one registry.

    Args:
        disk: the registry's files.
        clock: seconds since 1970.
    """

    def __init__(self, disk: DiskStore, *, clock: Callable[[], float] = time.time) -> None:
        self._disk = disk
        self._clock = clock
        self._directory = Path(disk.root, DIRECTORY)
        self._aside: dict[str, Path] = {}

    def set_aside(self, digest: str) -> None:
        """Rename a bad file; nothing where there is none.

        Raises:
            RegistryError: it cannot be renamed.
        """
        path = Path(self._disk.blob_path(digest))
        if not path.exists():
            return
        target = self._directory / f"{digest.replace(':', '-')}.{self._clock():.6f}"
        try:
            self._make_directory()
            path.rename(target)
        except OSError as failure:
            raise RegistryError(f"{path}: cannot be set aside: {failure.strerror}", side=LOCAL) from None
        self._aside[digest] = target

    def put_back(self, digest: str) -> None:
        """Rename a file back that this run has set aside, unless another one has taken its place."""
        aside, path = self._aside.pop(digest, None), Path(self._disk.blob_path(digest))
        if aside and not path.exists():
            with contextlib.suppress(OSError):
                aside.rename(path)

    def restore(self, digest: str) -> bool:
        """Give back what was set aside and is right after all; a run may have been killed over it."""
        path = Path(self._disk.blob_path(digest))
        for aside in sorted(self._directory.glob(f"{digest.replace(':', '-')}.*"), reverse=True):
            with contextlib.suppress(OSError):
                if has_digest(aside, digest) and not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    aside.rename(path)
                    return True
        return False

    def tidy(self) -> None:
        """Remove what was set aside a week ago."""
        with contextlib.suppress(OSError):
            for file in self._directory.iterdir():
                if self._clock() - _set_aside_at(file) > KEPT_SECONDS:
                    file.unlink()

    def _make_directory(self) -> None:
        """Make it the server's own, as all below the storage directory is."""
        for directory in (self._directory.parent, self._directory):
            if not directory.exists():
                directory.mkdir(mode=0o700)
                if not os.geteuid():
                    os.chown(directory, *self._disk.server)


def has_digest(file: Path, digest: str) -> bool:
    """Whether a file has the bytes that a digest stands for.

    Raises:
        OSError: it cannot be read.
    """
    found = hasher(digest)
    with file.open("rb") as source:
        while block := source.read(BLOCK):
            found.update(block)
    return found.hexdigest() == digest.partition(":")[2]


def _set_aside_at(file: Path) -> float:
    """When, as its name says; the file itself is as old as it was."""
    try:
        return float(file.name.partition(".")[2])
    except ValueError:
        return float("inf")
