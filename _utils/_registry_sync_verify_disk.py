"""A registry read from its own files, to be verified."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path

from _registry_http_retry import Run
from _registry_oci_errors import LOCAL, RegistryError
from _registry_oci_manifest import Descriptor
from _registry_oci_names import hasher
from _registry_store_disk import BlobFile, DiskStore
from _registry_store_disk_mark import Broken, Kind, Mark, What, mark
from _registry_sync_verify_hash import Hashing

# What a thread holds; more does not stay in a processor's cache.
BUFFER = 256 * 1024
_OLD = float("inf")


class DiskReader:
    """Reads a registry's own files.

    Args:
        disk: where they are.
        run: ends it.
        clock: seconds since 1970.
    """

    def __init__(self, disk: DiskStore, run: Run, *, clock: Callable[[], float] = time.time) -> None:
        self.disk = disk
        self._run = run
        self._clock = clock

    def mark(self, repositories: Collection[str] | None = None) -> Mark:
        """Follow every pointer."""
        return mark(self.disk, repositories, self._run.check)

    def files(self, found: Mark) -> Iterator[BlobFile]:
        """Every file of a blob or manifest, also what nothing names: a push would take it for good."""
        return self.disk.blobs()

    def wrong(self, file: BlobFile, hashing: Hashing) -> Broken | None:
        """Hash a file.

        Raises:
            RegistryError: we cannot read it, though the server may.
        """
        path = self.disk.blob_path(file.digest)
        digest = hasher(file.digest)
        blob = Descriptor(file.digest, file.size)
        try:
            with (
                hashing.progress.carrying("", blob) as progress,
                Path(path).open("rb", buffering=0) as source,
            ):
                buffer = memoryview(bytearray(BUFFER))
                for size in iter(partial(source.readinto, buffer), 0):
                    digest.update(buffer[:size])
                    hashing.run.check()
                    hashing.run.spend(size)
                    progress.received(size)
        except FileNotFoundError:
            # Whatever needs it, the next look says that it is missing.
            return None
        except PermissionError as failure:
            raise RegistryError(f"{path}: {failure.strerror}", side=LOCAL) from None
        except OSError as failure:
            said = failure.strerror or str(failure)
            return Broken(path, What.BLOB, Kind.UNREADABLE, file.digest, error=said, size=file.size)
        if digest.hexdigest() == file.digest.partition(":")[2]:
            return None
        kind = Kind.CORRUPT if file.size else Kind.SHORT
        return Broken(path, What.BLOB, kind, file.digest, size=file.size)

    def again(self, broken: Broken, hashing: Hashing) -> Broken | None:
        """Hash once more what was found wrong."""
        file = self.disk.blob(broken.digest)
        return self.wrong(file, hashing) if file else None

    def age(self, broken: Broken) -> float:
        """Seconds since the file was written; of a tag that has no link since its directory was."""
        path = broken.path
        if broken.what is What.TAG and broken.kind is Kind.MISSING:
            # The server makes the link of a new tag after its history.
            path = str(Path(path).parents[1])
        elif broken.kind is Kind.UNREADABLE:
            return _OLD
        try:
            return self._clock() - os.stat(path).st_mtime  # noqa: PTH116 - a string, as it is everywhere here
        except OSError:
            return _OLD
