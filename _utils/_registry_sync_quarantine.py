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
from _registry_oci_manifest import MANIFEST_LIMIT, Descriptor
from _registry_oci_names import hasher, is_digest
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
                if _is(aside, digest) and not path.exists():
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


class OwnFiles:
    """The files of a registry that is written to: what it does not tell of them, or not as it is.

    Args:
        disk: where they are.
    """

    def __init__(self, disk: DiskStore) -> None:
        self._disk = disk
        self._quarantine = Quarantine(disk)

    def resolve(self, repository: str, tag: str) -> Descriptor | None:
        """What the registry gives for a tag, if all that it reads for that is there, right and readable."""
        link = self._disk.tag_link(repository, tag)
        revision = self._disk.revision_link(repository, link.digest)
        try:
            file = self._disk.blob(link.digest)
            if file is None or file.size > MANIFEST_LIMIT or revision.digest != link.digest:
                return None
            readable = all(
                self._disk.serves(one.owner, one.group, one.mode) for one in (link, revision, file)
            )
            if readable and _is(Path(self._disk.blob_path(link.digest)), link.digest):
                return Descriptor(link.digest, file.size)
        except (OSError, RegistryError):
            pass
        return None

    def holds(self, digest: str) -> bool:
        """Whether the file of a blob or manifest has bytes, whatever a cache says."""
        return self._disk.holds(digest)

    def lacks_manifest(self, repository: str, reference: str) -> bool:
        """Whether a tag or digest is there whose link or manifest has no bytes."""
        digest = reference
        if not is_digest(reference):
            link = self._disk.tag_link(repository, reference)
            if not link.digest:
                # Where there is no file the tag is not there, which is no loss.
                return bool(link.mtime)
            digest = link.digest
        return not self._disk.revision_link(repository, digest).digest or not self._disk.holds(digest)

    def make_room(self, blob: Descriptor) -> bool:
        """Set a file aside that has not the bytes of its blob: the registry would keep it.

        Returns:
            Whether there was one.
        """
        file = self._disk.blob(blob.digest)
        # Whoever says how long it is may be wrong, too.
        if (
            file is None
            or file.size == blob.size
            or _is(Path(self._disk.blob_path(blob.digest)), blob.digest)
        ):
            return False
        self._quarantine.set_aside(blob.digest)
        return True


def own_files(storage: str) -> OwnFiles | None:
    """The files in a storage directory; None where there is none that can be read.

    Args:
        storage: its path; empty = it is not on this host.
    """
    disk = DiskStore(storage)
    return OwnFiles(disk) if storage and not disk.readable() else None


def _set_aside_at(file: Path) -> float:
    """When, as its name says; the file itself is as old as it was."""
    try:
        return float(file.name.partition(".")[2])
    except ValueError:
        return float("inf")


def _is(file: Path, digest: str) -> bool:
    found = hasher(digest)
    with file.open("rb") as source:
        while block := source.read(BLOCK):
            found.update(block)
    return found.hexdigest() == digest.partition(":")[2]
