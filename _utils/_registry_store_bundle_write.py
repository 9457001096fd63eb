"""Write a bundle: every file has its place before the first blob comes, so each is written once.

Volumes are filled by several workers at a time, in whatever order, and a run that was killed goes on with
what is not there yet.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from _registry_oci_errors import LOCAL, DigestMismatch, NoSpace, RegistryError
from _registry_oci_manifest import Descriptor
from _registry_oci_names import hasher
from _registry_store_bundle_format import (
    CONTENTS,
    INDEX,
    LAYOUT,
    LAYOUT_BODY,
    SIGNATURE,
    SUMS,
    BadBundle,
    Contents,
    digest_in,
    is_volume,
    read_contents,
)
from _registry_store_bundle_places import (
    Loose,
    Places,
    Volumes,
    failures,
    flush,
    is_draft,
    put_file,
    sweep,
)

PARTIAL = ".partial"
_OURS = {"blobs", "docker_registry", LAYOUT, INDEX, SUMS, SIGNATURE}


class BundleWriter:
    """The files of one bundle under ``PATH.partial``; several threads may write.

    Args:
        path: of the bundle.
        contents: the table of contents; that of an earlier run that did not end takes its place.
        small: files whose bytes are known: name → bytes; the index and the manifests are among them.
        beside: files that lie beside volumes, or in the directory.

    Raises:
        RegistryError: it cannot be written, or another process writes it.
    """

    def __init__(
        self, path: str, contents: Contents, small: Mapping[str, bytes], beside: Mapping[str, bytes]
    ) -> None:
        self.path = Path(path)
        self.directory = partial_of(path)
        self.contents = contents
        self._small = {LAYOUT: LAYOUT_BODY, **small}
        self._beside = beside
        self._done: set[str] = set()
        with failures(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._take()
        try:
            self._begin()
        except BaseException:
            os.close(self._lock)
            raise
        try:
            self._write_small()
        except BaseException:
            self.close()
            raise

    def __str__(self) -> str:
        return f"bundle {self.path}"

    def has(self, digest: str) -> bool:
        """Whether all of a blob is there."""
        return digest in self._done

    def knows(self, digest: str) -> bool:
        """Whether a blob has a place in this bundle."""
        return digest in self._blobs.sizes

    def unverified(self) -> list[str]:
        """Blobs that an earlier run has left, and that nobody has hashed since."""
        return [one for one in self._blobs.sizes if one not in self._done and self._blobs.is_marked(one)]

    def verify(self, digest: str) -> None:
        """Believe a blob that an earlier run has left, if it is what its digest says."""
        found = hasher(digest)
        for chunk in self._blobs.read(digest):
            found.update(chunk)
        if found.hexdigest() == digest.partition(":")[2]:
            self._proven(digest)
        else:
            self._blobs.unmark(digest)

    def write(self, blob: Descriptor, chunks: Iterable[bytes]) -> None:
        """Put a blob into its place.

        Raises:
            DigestMismatch: the chunks have more or fewer bytes than it.
            NoSpace: the disk is full.
        """
        if self._blobs.sizes[blob.digest] != blob.size:
            said = f"{self}: blob {blob.digest} has two sizes in manifests"
            raise DigestMismatch(said, side=LOCAL)
        self._blobs.write(blob.digest, _measured(chunks, blob, str(self)))
        self._proven(blob.digest)

    def finish(self) -> dict[str, str]:
        """End what is written: name of each file → its SHA-256.

        Raises:
            RegistryError: something is not there.
        """
        lacking = next((one for one in self._blobs.sizes if one not in self._done), "")
        if lacking:
            raise RegistryError(f"{self}: blob {lacking} is not there", side=LOCAL)
        beside = {CONTENTS: self.contents.serialized(), **self._beside}
        for name, body in beside.items():
            self.put(name, body)
        sums = {name: hashlib.sha256(body).hexdigest() for name, body in beside.items()}
        return {**sums, **self._blobs.finish(self._small)}

    def put(self, name: str, body: bytes) -> None:
        """Write a small file, whole or not at all, onto the disk."""
        put_file(self.directory / name, [body])
        flush(self.directory / name)

    def publish(self) -> None:
        """Give the bundle its name."""
        flush(self.directory)
        with failures(self.path):
            self.directory.rename(self.path)
        flush(self.path.parent)

    def close(self) -> None:
        """Let go of all files."""
        self._blobs.close()
        os.close(self._lock)

    def _proven(self, digest: str) -> None:
        self._done.add(digest)
        self._blobs.proven(digest)

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise RegistryError(f"another export to {self.path} runs; nothing was done", side=LOCAL) from None

    def _begin(self) -> None:
        """Go on with what is there, if it is this very bundle; else begin anew."""
        known = left_by(self.path)
        if known is None or known.id != self.contents.id:
            self._clear(known)
            self._demand_space()
            self.put(CONTENTS, self.contents.serialized())
        else:
            self.contents = known
            sweep(self.directory)
        members = self.contents.volumes
        head = {CONTENTS: self.contents.serialized(), **self._small}
        self._blobs: Places = (
            Loose(self.directory, members[""]) if "" in members else Volumes(self.directory, members, head)
        )

    def _write_small(self) -> None:
        for name, body in self._small.items():
            if digest := digest_in(name):
                self._blobs.write(digest, [body])
                self._proven(digest)
            elif "" in self.contents.volumes:
                self.put(name, body)

    def _clear(self, known: Contents | None) -> None:
        """Remove what another bundle has left; never anything else."""
        with failures(self.directory):
            names = {path.name for path in self.directory.iterdir()}
            written = {name for name in names if not is_draft(name)}
            foreign = {name for name in written - _OURS if not is_volume(name)}
            if foreign or (written and known is None and "docker_registry" not in written):
                one = min(foreign or written)
                raise BadBundle(f"{self.directory} has something else than a bundle in it: {one}")
            for name in names:
                path = self.directory / name
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def _demand_space(self) -> None:
        with failures(self.directory):
            free = shutil.disk_usage(self.directory).free
        if free < self.contents.size:
            raise NoSpace(
                f"{self.path}: {self.contents.size / 1e6:,.1f} MB are needed, and {free / 1e6:,.1f} MB are "
                "free; nothing was written",
                side=LOCAL,
            )


def _measured(chunks: Iterable[bytes], blob: Descriptor, where: str) -> Iterator[bytes]:
    left = blob.size
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            break
        yield chunk
    if left:
        length = "shorter" if left > 0 else "longer"
        raise DigestMismatch(
            f"{where}: blob {blob.digest} came {length} than its {blob.size} bytes", side=LOCAL
        )


def partial_of(path: str | Path) -> Path:
    """Where a bundle lies until it is whole."""
    return Path(f"{str(path).rstrip('/')}{PARTIAL}")


def left_by(path: str | Path) -> Contents | None:
    """The table of contents that an export has left which did not end."""
    file = partial_of(path) / CONTENTS
    try:
        return read_contents(file.read_bytes(), str(file))
    except (OSError, BadBundle):
        return None
