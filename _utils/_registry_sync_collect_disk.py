"""A registry's disk while space is freed: what lies there, a lease on what stays, repositories that go."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from _registry_oci_names import digest_of
from _registry_store_disk import LAYERS, MANIFESTS, UPLOADS, DiskStore
from _registry_store_disk_mark import mark
from _registry_sync_collect import LEASE, View, lease_manifests
from _registry_sync_collect_window import CollectError

# Below the storage directory; what is in it belongs to no repository any more.
ASIDE = ".registry_sync"
_REMOVED = "repositories-"


def look(disk: DiskStore, grace: float, now: float) -> View:
    """Read what lies on the disk.

    Args:
        disk: the registry's files.
        grace: seconds within which what nothing names is young.
        now: seconds since 1970.

    Raises:
        RegistryError: it cannot be read.
    """
    # Blobs come before the manifests that name them: a push in between is not taken for loose.
    blobs = {file.digest: file for file in disk.blobs()}
    marked = mark(disk)
    reached = marked.reached
    young = frozenset(
        digest for digest in blobs if digest not in reached and now - _came(disk.blob_path(digest)) < grace
    )
    unseen = frozenset(name for name in marked.repositories if LAYERS not in disk.parts(name))
    return View(marked, blobs, young, unseen)


def _came(path: str) -> float:
    """When a file came to be where it is: its last byte may have come long before the push was ended."""
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return 0.0
    return max(found.st_mtime, found.st_ctime)


class Lease:
    """A repository that names what must stay, so that ``garbage-collect`` keeps it.

    Args:
        disk: the registry's files.
    """

    def __init__(self, disk: DiskStore) -> None:
        self._disk = disk
        self._repository = Path(disk.directory(LEASE))
        self._owner = Path(disk.top)
        self.digests: list[str] = []

    def write(self, kept: Collection[str]) -> None:
        """Name what is to be kept.

        Raises:
            CollectError: it cannot be written.
        """
        nonce = secrets.token_hex(16)
        try:
            self._make(self._repository / LAYERS)
            for body in lease_manifests(kept, nonce):
                digest = digest_of(body)
                self.digests.append(digest)
                self._put(Path(self._disk.blob_path(digest)), body)
                name = digest.replace(":", "/")
                link = self._repository / MANIFESTS / "revisions" / name / "link"
                self._put(link, digest.encode())
        except OSError as failure:
            raise CollectError(f"{self._disk}: cannot protect what must stay: {failure}") from None

    def remove(self) -> None:
        """Take it away, also one that an earlier run has left; its manifests go with a later collection.

        Raises:
            CollectError: a repository of that name is somebody's own, or it cannot be removed.
        """
        if self._disk.tag_links(LEASE) or self._disk.layer_links(LEASE) or self._disk.uploads(LEASE):
            raise CollectError(f"the repository {LEASE} is in the way: that name is needed to free space")
        try:
            if self._repository.exists():
                shutil.rmtree(self._repository)
            for digest in self.digests:
                with suppress(FileNotFoundError):
                    shutil.rmtree(Path(self._disk.blob_path(digest)).parent)
        except OSError as failure:
            raise CollectError(f"{self._disk}: cannot remove {self._repository}: {failure}") from None
        self.digests = []

    def _put(self, file: Path, content: bytes) -> None:
        self._make(file.parent)
        file.write_bytes(content)
        file.chmod(0o644)
        self._give(file)

    def _make(self, directory: Path) -> None:
        """Make a directory that the server can use as well: of two letters it may be the first."""
        if directory.is_dir():
            return
        self._make(directory.parent)
        directory.mkdir(mode=0o755)
        directory.chmod(0o755)
        self._give(directory)

    def _give(self, path: Path) -> None:
        owner = self._owner.stat()
        if os.geteuid() == 0:
            os.chown(path, owner.st_uid, owner.st_gid)


def empty_repositories(disk: DiskStore, view: View, grace: float, now: float) -> list[str]:
    """Repositories without a tag, a manifest or an upload, whose layers all came before the grace.

    Args:
        disk: the registry's files.
        view: what lies there.
        grace: seconds.
        now: seconds since 1970.
    """
    return [
        name
        for name, found in view.mark.repositories.items()
        if not found.tags
        and not found.revisions
        and not disk.uploads(name)
        and all(now - link.mtime >= grace for link in disk.layer_links(name))
    ]


def remove_repository(disk: DiskStore, name: str) -> None:
    """Take a repository's own directories away; those of others below its name stay.

    Args:
        disk: the registry's files.
        name: the repository.

    Raises:
        CollectError: they cannot be moved.
    """
    aside = Path(disk.root, ASIDE, _REMOVED + secrets.token_hex(8))
    try:
        aside.mkdir(mode=0o700, parents=True)
        for part in (LAYERS, MANIFESTS, UPLOADS):
            with suppress(FileNotFoundError):
                Path(disk.directory(name), part).rename(aside / part)
    except OSError as failure:
        raise CollectError(f"{disk}: {name} cannot be removed: {failure}") from None
    shutil.rmtree(aside, ignore_errors=True)


def sweep_aside(disk: DiskStore) -> None:
    """Delete what earlier runs have moved aside and not deleted."""
    for left in Path(disk.root, ASIDE).glob(f"{_REMOVED}*"):
        shutil.rmtree(left, ignore_errors=True)
