"""A registry's own files on this host, as docker-distribution lays them out: read, never written.

What lies below ``<root>/docker/registry/v2`` may be read while the server runs: a blob is there as a whole
once it is visible, a manifest and a link are written in place. Whoever finds one that is wrong and young
reads it again before he judges.
https://github.com/distribution/distribution/blob/v2.8.2/registry/storage/paths.go
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from _registry_oci_errors import LOCAL, DigestMismatch, NotFound, RegistryError, Unsupported
from _registry_oci_manifest import MANIFEST_LIMIT, Descriptor, Manifest, ManifestError, read_manifest
from _registry_oci_names import algorithm_of, is_digest, is_tag, matches
from _registry_store_disk_files import PERMISSIONS, BlobFile, Link, Upload, names_in, read_link, read_upload
from _registry_store_protocol import Written

__all__ = ["BlobFile", "DiskStore", "Link", "Upload", "read_link"]

BLOCK = 1024 * 1024
# The parts of a repository; whatever else stands beside them is a repository below it.
LAYERS, MANIFESTS, UPLOADS = "_layers", "_manifests", "_uploads"
# Rights of others; the group's and the owner's lie three and six bits above.
_READ, _ENTER = 0o4, 0o1
_HEX = re.compile(r"[0-9a-f]{64}(?:[0-9a-f]{64})?")


class DiskStore:
    """The registry whose files lie in a directory of this host.

    Args:
        root: the storage directory, ``storage.filesystem.rootdirectory`` of the configuration.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self._top = f"{self.root}/docker/registry/v2"
        self._names = f"{self._top}/repositories"
        self._server: tuple[int, int] | None = None
        self._entered: dict[str, bool] = {}

    def __str__(self) -> str:
        return f"local {self.root}"

    @property
    def side(self) -> str:
        """``local``: only a registry of this host has its files here."""
        return LOCAL

    @property
    def top(self) -> str:
        """The directory that the server has made."""
        return self._top

    def readable(self) -> str:
        """Why the files cannot be read; empty where they can, also where there are none yet.

        A mirror that is still empty has a storage directory and nothing in it.
        """
        for directory in (self.root, self._top, self._names, f"{self._top}/blobs"):
            try:
                os.scandir(directory).close()
            except FileNotFoundError:
                if directory == self.root:
                    return f"{directory} is not there"
            except OSError as failure:
                return f"{directory}: {failure.strerror}"
        return ""

    @property
    def server(self) -> tuple[int, int]:
        """User and group that the server runs as: those of the directory that it has made."""
        if self._server is None:
            try:
                found = Path(self._top).stat()
                self._server = found.st_uid, found.st_gid
            except OSError:
                self._server = 0, 0
        return self._server

    @property
    def server_is_root(self) -> bool:
        """Whether it may read whatever there is."""
        return self.server[0] == 0

    def serves(self, path: str, file: Link | BlobFile) -> bool:
        """Whether the server may read a file."""
        if self.server_is_root:
            return True
        return self._grants(_READ, file.owner, file.group, file.mode) and self._may_enter(_above(path))

    def _may_enter(self, directory: str) -> bool:
        """Whether the server may go into a directory below the root, each of which is looked at once."""
        if directory not in self._entered:
            try:
                found = Path(directory).stat()
            except OSError:
                return False
            self._entered[directory] = self._grants(_ENTER, found.st_uid, found.st_gid, found.st_mode) and (
                len(directory) <= len(self.root) or self._may_enter(_above(directory))
            )
        return self._entered[directory]

    def _grants(self, right: int, owner: int, group: int, mode: int) -> bool:
        user, its_group = self.server
        if mode & right:
            return True
        return bool((owner == user and mode & right << 6) or (group == its_group and mode & right << 3))

    # What a repository names

    def repositories(self) -> Iterator[str]:
        """Every repository, also one that holds nothing any more; sorted within each directory."""
        waiting = [""]
        while waiting:
            name = waiting.pop()
            below = names_in(f"{self._names}/{name}")
            if name and not {LAYERS, MANIFESTS, UPLOADS}.isdisjoint(below):
                yield name
            inner = [entry for entry in below if not entry.startswith("_")]
            waiting += [f"{name}/{entry}" if name else entry for entry in reversed(inner)]

    def parts(self, repository: str) -> list[str]:
        """Which of ``_layers``, ``_manifests`` and ``_uploads`` a repository has."""
        return [part for part in names_in(f"{self._names}/{repository}") if part.startswith("_")]

    def directory(self, repository: str) -> str:
        """Where a repository's parts are; those of others may lie beside them."""
        return f"{self._names}/{repository}"

    def tag_links(self, repository: str) -> list[Link]:
        """Every tag, as the server lists them: also those whose link is gone."""
        names = names_in(f"{self._names}/{repository}/{MANIFESTS}/tags")
        return [self.tag_link(repository, name) for name in names if is_tag(name)]

    def tag_link(self, repository: str, tag: str) -> Link:
        """One tag's link."""
        return read_link(f"{self._names}/{repository}/{MANIFESTS}/tags/{tag}/current/link", tag)

    def tag_history(self, repository: str, tag: str) -> list[Link]:
        """Every digest that a tag ever had, what it was last first: the server keeps that by itself."""
        below = f"{repository}/{MANIFESTS}/tags/{tag}/index"
        return sorted(self._links(below), key=lambda link: -link.mtime)

    def revision_links(self, repository: str) -> list[Link]:
        """Every manifest that the repository serves by digest; a deleted one leaves its directory alone."""
        return self._links(f"{repository}/{MANIFESTS}/revisions")

    def revision_link(self, repository: str, digest: str) -> Link:
        """One revision's link."""
        return self._link(f"{repository}/{MANIFESTS}/revisions", digest)

    def layer_links(self, repository: str) -> list[Link]:
        """Every blob that the repository serves."""
        return self._links(f"{repository}/{LAYERS}")

    def layer_link(self, repository: str, digest: str) -> Link:
        """The link to one blob."""
        return self._link(f"{repository}/{LAYERS}", digest)

    def uploads(self, repository: str) -> list[Upload]:
        """Uploads under way, and those that were left."""
        directory = f"{self._names}/{repository}/{UPLOADS}"
        return [read_upload(f"{directory}/{name}") for name in names_in(directory)]

    # Blobs and manifests, which all repositories share

    def blob_path(self, digest: str) -> str:
        """Where the bytes of a blob or manifest lie."""
        algorithm, _, name = digest.partition(":")
        return f"{self._top}/blobs/{algorithm}/{name[:2]}/{name}/data"

    def blobs(self) -> Iterator[BlobFile]:
        """Every file of a blob or manifest, whoever names it."""
        for algorithm in names_in(f"{self._top}/blobs"):
            for half in names_in(f"{self._top}/blobs/{algorithm}"):
                for name in names_in(f"{self._top}/blobs/{algorithm}/{half}"):
                    file = self.blob(f"{algorithm}:{name}") if name.startswith(half) else None
                    if file:
                        yield file

    def blob(self, digest: str) -> BlobFile | None:
        """The file of a blob or manifest; None where there is none."""
        if not is_digest(digest):
            return None
        try:
            found = os.stat(self.blob_path(digest))  # noqa: PTH116 - see _bytes
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as failure:
            raise _failure(self, self.blob_path(digest), failure) from None
        return BlobFile(
            digest,
            found.st_size,
            found.st_mtime_ns,
            found.st_ino,
            found.st_uid,
            found.st_gid,
            found.st_mode & PERMISSIONS,
        )

    def manifest_by_digest(self, digest: str) -> Manifest:
        """A manifest, whichever repositories name it, hashed before it is parsed.

        Raises:
            NotFound: its file is not there.
            DigestMismatch: the bytes are others than named.
            Unsupported: they are no manifest of a kind that can be mirrored.
        """
        path = self.blob_path(digest)
        body = b"".join(self._bytes(path, limit=MANIFEST_LIMIT + 1))
        if not matches(body, digest):
            raise DigestMismatch(f"{self}: {path} is not what its digest says", side=self.side)
        try:
            return read_manifest(body, "", algorithm_of(digest))
        except ManifestError as failure:
            raise Unsupported(f"{self}: {path}: {failure}", side=self.side) from None

    # As every store

    def tags(self, repository: str, *, pages: int = 0) -> list[str]:
        """Every tag of a repository, sorted."""
        return sorted(link.name for link in self.tag_links(repository))

    def resolve(self, repository: str, reference: str) -> Descriptor:
        """What a tag or digest points to.

        Raises:
            NotFound: it is not there.
        """
        by_digest = is_digest(reference)
        link = (self.revision_link if by_digest else self.tag_link)(repository, reference)
        file = self.blob(link.digest) if link.digest else None
        if file is None:
            raise NotFound(f"{self}: {repository} has no {reference}", side=self.side)
        return Descriptor(link.digest, file.size)

    def manifest(self, repository: str, reference: str) -> Manifest:
        """A manifest of a repository; see ``manifest_by_digest``."""
        return self.manifest_by_digest(self.resolve(repository, reference).digest)

    def has(self, repository: str, digest: str) -> bool:
        """Whether a repository names a blob and its file has bytes."""
        if self.layer_link(repository, digest).digest != digest:
            return False
        return self.holds(digest)

    def holds(self, digest: str) -> bool:
        """Whether a blob's file is there and has bytes."""
        file = self.blob(digest)
        return file is not None and (file.size > 0 or matches(b"", digest))

    def read(self, repository: str, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """A blob's bytes from an offset on; the repository is not looked at."""
        return self._bytes(self.blob_path(blob.digest), offset)

    def resolve_many(self, names: Sequence[tuple[str, str]]) -> list[Descriptor | None]:
        """What tags stand for; None where there is none."""
        digests = [self.tag_link(repository, tag).digest for repository, tag in names]
        return [Descriptor(digest, 0) if digest else None for digest in digests]

    def lists_referrers(self, repository: str, digest: str) -> bool:
        """All manifests of a repository are looked through, so it is known."""
        return True

    def referrers(self, repository: str, digest: str) -> list[Descriptor]:
        """Manifests of a repository whose ``subject`` is a manifest."""
        return list(self._referrers(repository, digest))

    def write(
        self, repository: str, blob: Descriptor, chunks: Iterable[bytes], *, mount_from: str = ""
    ) -> Written:
        """Not here: the server itself is written to."""
        self._refuse()

    def put(self, repository: str, reference: str, manifest: Manifest) -> None:
        """Not here: the server itself is written to."""
        self._refuse()

    def delete(self, repository: str, reference: str) -> None:
        """Not here: the server itself is asked to delete."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise Unsupported(f"{self}: a registry's files are only read", side=self.side)

    def _referrers(self, repository: str, digest: str) -> Iterator[Descriptor]:
        for link in self.revision_links(repository):
            try:
                manifest = self.manifest_by_digest(link.name)
            except RegistryError:
                continue
            if manifest.subject and manifest.subject.digest == digest:
                yield Descriptor(manifest.digest, manifest.size, manifest.media_type)

    def _links(self, below: str) -> list[Link]:
        """The links in the directories of digests; a directory without one is what a deletion leaves."""
        found = []
        for algorithm in names_in(f"{self._names}/{below}"):
            for name in names_in(f"{self._names}/{below}/{algorithm}"):
                if _HEX.fullmatch(name):
                    found.append(self._link(below, f"{algorithm}:{name}"))
        return [link for link in found if link.mtime or link.error]

    def _link(self, below: str, digest: str) -> Link:
        return read_link(f"{self._names}/{below}/{digest.replace(':', '/', 1)}/link", digest)

    def _bytes(self, path: str, offset: int = 0, limit: int = 0) -> Iterator[bytes]:
        """A file's bytes; not more than ``limit``, where one is given."""
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a path object for each blob costs time
                file.seek(offset)
                left = limit or -1
                while left and (block := file.read(min(BLOCK, left) if limit else BLOCK)):
                    left -= len(block) if limit else 0
                    yield block
        except FileNotFoundError:
            raise NotFound(f"{self}: {path} is not there", side=self.side) from None
        except OSError as failure:
            raise _failure(self, path, failure) from None


def _failure(store: DiskStore, path: str, failure: OSError) -> RegistryError:
    return RegistryError(f"{store}: {path}: {failure.strerror}", side=LOCAL)


def _above(path: str) -> str:
    return path.rpartition("/")[0]
