"""The files of an OCI image layout: blobs under their digest and one index, each whole or not there.

A layout may come from anywhere, so nothing in it is followed out of it: a digest is checked before it
becomes a path, and what is no regular file is not read.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from _registry_oci_errors import DigestMismatch, NoSpace, NotFound, RegistryError, Unsupported
from _registry_oci_manifest import OCI_INDEX, Descriptor
from _registry_oci_names import is_digest

CHUNK = 128 * 1024
VERSION = "1.0.0"
# Bytes of an index.json; one entry needs about 300.
INDEX_LIMIT = 64 * 1024 * 1024
PARTIAL = ".partial-"
# Seconds after which nobody can be writing to a partial file any more: a kill has left it.
PARTIAL_AGE = 24 * 3600
# What may stand in a directory that becomes a layout: the root of a fresh disk has it.
_NOTHING = frozenset({"lost+found"})
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

# What changes with every replacement of a file: inode, time in ns, size in bytes.
Stamp = tuple[int, int, int]
NO_FILE: Stamp = (0, 0, 0)


class LayoutFiles:
    """Files of one layout; safe to use from several threads, and by several processes.

    Args:
        directory: the layout; it is made when something is written.
        name: how messages name it.
        side: which side it is, for errors.
    """

    def __init__(self, directory: str, *, name: str, side: str) -> None:
        self.directory = Path(directory)
        self._name = name
        self._side = side
        self._lock = threading.Lock()
        self._is_prepared = False

    def blob_path(self, digest: str) -> Path:
        """Where a blob is.

        Raises:
            Unsupported: the digest is none, or of an algorithm that cannot be verified.
        """
        if not is_digest(digest):
            raise Unsupported(f"{self._name}: {digest[:100]!r} is no digest known here", side=self._side)
        algorithm, _, encoded = digest.partition(":")
        return self.directory / "blobs" / algorithm / encoded

    def blob_size(self, digest: str) -> int | None:
        """Bytes of a blob; None where there is none."""
        path = self.blob_path(digest)
        with self._failures(path):
            try:
                found = path.lstat()
            except FileNotFoundError:
                return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def blob_chunks(self, digest: str, begin: int, end: int) -> Iterator[bytes]:
        """A blob's bytes from ``begin`` up to ``end``, fewer where it is shorter."""
        path = self.blob_path(digest)
        file = self._open(path)
        try:
            while begin < end:
                with self._failures(path):
                    chunk = os.pread(file, min(CHUNK, end - begin), begin)
                if not chunk:
                    return
                begin += len(chunk)
                yield chunk
        finally:
            os.close(file)

    def write_blob(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """Write a blob; nothing is left of it unless it is whole.

        Raises:
            DigestMismatch: the chunks have more or fewer bytes than the descriptor says.
            NoSpace: the disk is full.
        """
        path = self.blob_path(blob.digest)
        self.prepare()
        with self._failures(path.parent):
            path.parent.mkdir(exist_ok=True)
        self._replace(path, self._measured(blob, chunks))

    def read_index(self) -> dict[str, Any]:
        """The document in ``index.json``.

        Raises:
            NotFound: there is no layout yet.
            RegistryError: the directory holds something else.
        """
        self._check_version()
        return self._document("index.json")

    def write_index(self, document: bytes) -> None:
        """Replace ``index.json``; only within ``locked``."""
        self._replace(self.directory / "index.json", [document])

    def index_stamp(self) -> Stamp:
        """What tells that ``index.json`` is still the one that was read; zeros where there is none."""
        path = self.directory / "index.json"
        with self._failures(path):
            try:
                found = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return NO_FILE
        return (found.st_ino, found.st_mtime_ns, found.st_size)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other threads, stores and processes from replacing the index."""
        path = self.directory / "oci-layout"
        with self._lock, contextlib.ExitStack() as held:
            with self._failures(path):
                # NFS locks only what is open for writing.
                file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
                held.callback(os.close, file)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def prepare(self) -> None:
        """Make the directory a layout, unless it is one; before anything is written.

        Raises:
            RegistryError: it holds something else.
        """
        if self._is_prepared:
            return
        with self._lock:
            with self._failures(self.directory):
                self.directory.mkdir(parents=True, exist_ok=True)
            if self._is_empty():
                version = json.dumps({"imageLayoutVersion": VERSION}).encode()
                self._replace(self.directory / "oci-layout", [version])
            self._check_version()
            blobs = self.directory / "blobs"
            with self._failures(blobs):
                blobs.mkdir(exist_ok=True)
                _sweep(self.directory)
        with self.locked():
            if self.index_stamp() == NO_FILE:
                empty = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
                self.write_index(json.dumps(empty).encode())
        self._is_prepared = True

    def _is_empty(self) -> bool:
        with self._failures(self.directory):
            names = {path.name for path in self.directory.iterdir()}
        return not {name for name in names - _NOTHING if not name.startswith(PARTIAL)}

    def _check_version(self) -> None:
        """Refuse what is no layout; what is not there yet is NotFound."""
        with self._failures(self.directory):
            is_there = self.directory.exists() and not (self.directory.is_dir() and self._is_empty())
        if not is_there:
            raise NotFound(f"{self._name}: there is nothing yet", side=self._side)
        try:
            version = self._document("oci-layout").get("imageLayoutVersion")
        except NotFound:
            self._fail("the directory is no OCI image layout: it has no file oci-layout")
        if version != VERSION:
            said = json.dumps(version)[:100]
            raise Unsupported(f"{self._name} is of version {said}, known is {VERSION}", side=self._side)

    def _document(self, name: str) -> dict[str, Any]:
        path = self.directory / name
        file = self._open(path)
        with os.fdopen(file, "rb") as stream, self._failures(path):
            body = stream.read(INDEX_LIMIT + 1)
        if len(body) > INDEX_LIMIT:
            self._fail(f"{path} has more than {INDEX_LIMIT} bytes")
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            self._fail(f"{path} is not JSON")
        if not isinstance(document, dict):
            self._fail(f"{path} is not a JSON object")
        return document

    def _open(self, path: Path) -> int:
        with self._failures(path):
            file = os.open(path, _READ)
            is_regular = stat.S_ISREG(os.fstat(file).st_mode)
        if not is_regular:
            os.close(file)
            self._fail(f"{path} is no regular file")
        return file

    def _measured(self, blob: Descriptor, chunks: Iterable[bytes]) -> Iterator[bytes]:
        left = blob.size
        for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                break
            yield chunk
        if left:
            length = "shorter" if left > 0 else "longer"
            raise DigestMismatch(
                f"{self._name}: blob {blob.digest} came {length} than its {blob.size} bytes", side=self._side
            )

    def _replace(self, path: Path, chunks: Iterable[bytes]) -> None:
        """Write beside the path, then rename; what ``chunks`` raises passes on as it is."""
        partial = path.with_name(PARTIAL + secrets.token_hex(8))
        with self._failures(partial):
            file = os.open(partial, _CREATE, 0o644)
        try:
            for chunk in chunks:
                with self._failures(partial):
                    _write_all(file, chunk)
            with self._failures(path):
                os.fsync(file)
                partial.replace(path)
        finally:
            os.close(file)
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _failures(self, path: Path) -> Iterator[None]:
        """Tell what the operating system says of a path in a sentence."""
        try:
            yield
        except OSError as failure:
            said = f"{self._name}: {path}: {failure.strerror}"
            if failure.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace(said, side=self._side) from failure
            if isinstance(failure, FileNotFoundError):
                raise NotFound(said, side=self._side) from failure
            if failure.errno == errno.ELOOP:
                said = f"{self._name}: {path} is a symbolic link, which is not followed"
            raise RegistryError(said, side=self._side) from failure

    def _fail(self, what: str) -> NoReturn:
        raise RegistryError(f"{self._name}: {what}", side=self._side)


def _write_all(file: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(file, rest) :]


def _sweep(directory: Path) -> None:
    """Remove what writers that were killed have left."""
    for partial in (*directory.glob(PARTIAL + "*"), *directory.glob(f"blobs/*/{PARTIAL}*")):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - partial.lstat().st_mtime > PARTIAL_AGE:
                partial.unlink()
