"""The registry's own files, on its host: what it does not tell of them, or not as it is."""

from __future__ import annotations

from pathlib import Path

from _registry_oci_errors import RegistryError
from _registry_oci_manifest import MANIFEST_LIMIT, Descriptor
from _registry_oci_names import is_digest
from _registry_store_disk import DiskStore
from _registry_sync_quarantine import Quarantine, has_digest


class OwnFiles:
    """The files of a registry that is written to: what it does not tell of them, or not as it is.

    Args:
        disk: where they are.
    """

    def __init__(self, disk: DiskStore) -> None:
        self._disk = disk
        self._quarantine = Quarantine(disk)

    def resolve(self, repository: str, tag: str) -> tuple[Descriptor, float] | None:
        """What the registry gives for a tag, and since when, in seconds since 1970.

        None unless all that it reads for that is there and right, and it may read it.
        """
        link = self._disk.tag_link(repository, tag)
        revision = self._disk.revision_link(repository, link.digest)
        try:
            file = self._disk.blob(link.digest)
            if file is None or file.size > MANIFEST_LIMIT or revision.digest != link.digest:
                return None
            path = self._disk.blob_path(link.digest)
            readable = all(
                self._disk.serves(where, one)
                for where, one in ((link.path, link), (revision.path, revision), (path, file))
            )
            if readable and has_digest(Path(path), link.digest):
                return Descriptor(link.digest, file.size), link.mtime
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
        try:
            file = self._disk.blob(blob.digest)
            # Whoever says how long it is may be wrong, too.
            if (
                file is None
                or file.size == blob.size
                or has_digest(Path(self._disk.blob_path(blob.digest)), blob.digest)
            ):
                return False
        except (OSError, RegistryError):
            # Whoever runs this may not be the one that may look.
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
