"""Where the files of a bundle go: each into a file of its own, or into its place in a volume."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from _registry_oci_errors import LOCAL, NoSpace, RegistryError
from _registry_store_bundle_follow import Followers, FollowingHash
from _registry_store_bundle_format import (
    BLOCK,
    END_OF_TAR,
    HEAD,
    Member,
    blob_name,
    digest_in,
)

CHUNK = 1024 * 1024
PARTIAL = ".partial-"
_DRAFT = re.compile(rf"{re.escape(PARTIAL)}[0-9a-f]{{16}}")
# Smaller files are not worth a hint; fsync has them all at the end.
WRITTEN_BACK_FROM = CHUNK
_CREATE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Places(Protocol):
    """Where blobs of a bundle go."""

    # Bytes of each blob, by digest.
    sizes: dict[str, int]

    def is_marked(self, digest: str) -> bool:
        """Whether somebody has written a blob whole."""
        ...

    def unmark(self, digest: str) -> None:
        """Take that back."""
        ...

    def read(self, digest: str) -> Iterator[bytes]:
        """What was written."""
        ...

    def write(self, digest: str, chunks: Iterable[bytes]) -> None:
        """Write a blob; it is marked when all of it is there."""
        ...

    def proven(self, digest: str) -> None:
        """A blob is whole, and right: it will not change."""
        ...

    def finish(self, small: Mapping[str, bytes]) -> dict[str, str]:
        """Be sure that all is on the disk: name of each file → its SHA-256.

        Args:
            small: files that were written beside.
        """
        ...

    def close(self) -> None:
        """Let go of all files."""
        ...


class Loose:
    """Each blob is a file, as a layout has it.

    Args:
        directory: the layout.
        members: what is to come.
    """

    def __init__(self, directory: Path, members: Iterable[Member]) -> None:
        self._directory = directory
        self._members = tuple(members)
        self.sizes = {digest_in(one.name): one.size for one in members if digest_in(one.name)}
        self._followers = Followers()

    def is_marked(self, digest: str) -> bool:
        with failures(self._path(digest)):
            path = self._path(digest)
            return path.is_file() and path.stat().st_size == self.sizes[digest]

    def unmark(self, digest: str) -> None:
        with failures(self._path(digest)):
            self._path(digest).unlink()

    def read(self, digest: str) -> Iterator[bytes]:
        yield from _file_chunks(self._path(digest))

    def write(self, digest: str, chunks: Iterable[bytes]) -> None:
        put_file(self._path(digest), chunks)

    def proven(self, digest: str) -> None:
        if self.sizes[digest] >= WRITTEN_BACK_FROM:
            self._followers.write_back_file(self._path(digest))

    def finish(self, small: Mapping[str, bytes]) -> dict[str, str]:
        names = dict.fromkeys([*small, *(one.name for one in self._members)])
        for name in names:
            flush(self._directory / name)
        for directory in {(self._directory / name).parent for name in names}:
            flush(directory)
        return {name: self._sum(name) for name in names}

    def close(self) -> None:
        self._followers.close()

    def _sum(self, name: str) -> str:
        """The hash of a file; that of a blob was proven when it came."""
        algorithm, _, value = digest_in(name).partition(":")
        if algorithm == "sha256":
            return value
        found = hashlib.sha256()
        for chunk in _file_chunks(self._directory / name):
            found.update(chunk)
        return found.hexdigest()

    def _path(self, digest: str) -> Path:
        return self._directory / blob_name(digest)


@dataclass(frozen=True)
class Spot:
    """Where a file, or a piece of a blob, goes in a volume."""

    volume: str
    header_at: int
    header: bytes
    size: int

    @property
    def begin(self) -> int:
        """Where its bytes begin."""
        return self.header_at + len(self.header)

    @property
    def end(self) -> int:
        """Where the next file may begin."""
        return self.begin + -(-self.size // BLOCK) * BLOCK


class Volumes:
    """Tars whose files all have their places; a file's header is written when its bytes are whole.

    Args:
        directory: where they lie.
        volumes: name → its files in order.
        small: files whose bytes are known, those of the head among them.
    """

    def __init__(
        self, directory: Path, volumes: Mapping[str, Sequence[Member]], small: Mapping[str, bytes]
    ) -> None:
        self._directory = directory
        self._files: dict[str, int] = {}
        self._spots: dict[str, list[Spot]] = {}
        self._hashes: dict[str, FollowingHash] = {}
        self._followers = Followers()
        try:
            for name, members in volumes.items():
                self._begin(name, [*(Member(one, len(small[one])) for one in HEAD), *members], small)
        except BaseException:
            self.close()
            raise
        self.sizes = {digest: sum(spot.size for spot in spots) for digest, spots in self._spots.items()}

    def is_marked(self, digest: str) -> bool:
        return all(
            os.pread(self._files[one.volume], len(one.header), one.header_at) == one.header
            for one in self._spots[digest]
        )

    def unmark(self, digest: str) -> None:
        for spot in self._spots[digest]:
            self._write(spot.volume, bytes(len(spot.header)), spot.header_at)

    def read(self, digest: str) -> Iterator[bytes]:
        for spot in self._spots[digest]:
            yield from _chunks(self._files[spot.volume], spot.begin, spot.begin + spot.size)

    def write(self, digest: str, chunks: Iterable[bytes]) -> None:
        spots = self._spots[digest]
        ahead = iter(spots)
        spot = next(ahead)
        at = spot.begin
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                if at == spot.begin + spot.size:
                    spot = next(ahead)
                    at = spot.begin
                part = view[: spot.begin + spot.size - at]
                self._write(spot.volume, part, at)
                at += len(part)
                view = view[len(part) :]
        for spot in spots:
            self._write(spot.volume, spot.header, spot.header_at)

    def proven(self, digest: str) -> None:
        for spot in self._spots[digest]:
            self._hashes[spot.volume].came(spot.end)
        for volume in {spot.volume for spot in self._spots[digest]}:
            self._followers.hash(lambda volume=volume: self._follow(volume))  # type: ignore[misc]

    def finish(self, small: Mapping[str, bytes]) -> dict[str, str]:
        sums = {name: self._end(name) for name in self._files}
        flush(self._directory)
        return sums

    def close(self) -> None:
        self._followers.close()
        for file in self._files.values():
            os.close(file)
        self._files = {}

    def _follow(self, volume: str) -> None:
        begin, end = self._hashes[volume].follow()
        self._followers.write_back(self._files[volume], begin, end)

    def _end(self, name: str) -> str:
        with failures(self._directory / name):
            found = self._hashes[name].hexdigest()
            os.fsync(self._files[name])
            return found

    def _begin(self, volume: str, members: Iterable[Member], small: Mapping[str, bytes]) -> None:
        path = self._directory / volume
        with failures(path):
            self._files[volume] = os.open(path, _CREATE, 0o644)
        offset, ends, known = 0, [], []
        for member in members:
            spot = Spot(volume, offset, member.header, member.size)
            if digest := digest_in(member.name):
                self._spots.setdefault(digest, []).append(spot)
            else:
                self._write(volume, spot.header + small[member.name], offset)
                known.append(spot.end)
            offset = spot.end
            ends.append(offset)
        self._hashes[volume] = FollowingHash(self._files[volume], ends, self._followers.stopping)
        for end in known:
            self._hashes[volume].came(end)
        with failures(path):
            os.ftruncate(self._files[volume], offset + END_OF_TAR)

    def _write(self, volume: str, body: bytes | memoryview, offset: int) -> None:
        rest = memoryview(body)
        with failures(self._directory / volume):
            while rest:
                written = os.pwrite(self._files[volume], rest, offset)
                offset += written
                rest = rest[written:]


def is_draft(name: str) -> bool:
    """Whether a file is what ``put_file`` leaves when it is killed."""
    return _DRAFT.fullmatch(name) is not None


def sweep(directory: Path) -> None:
    """Remove the drafts below a directory that nobody writes any more."""
    with failures(directory):
        for path in directory.rglob(f"{PARTIAL}*"):
            if is_draft(path.name):
                path.unlink()


def put_file(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file whole or not at all; what ``chunks`` raises is passed on."""
    draft = path.with_name(f"{PARTIAL}{secrets.token_hex(8)}")
    with failures(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(draft, _CREATE | os.O_EXCL, 0o644)
    try:
        for chunk in chunks:
            rest = memoryview(chunk)
            with failures(path):
                while rest:
                    rest = rest[os.write(file, rest) :]
        with failures(path):
            draft.replace(path)
    finally:
        os.close(file)
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


@contextlib.contextmanager
def failures(path: Path) -> Iterator[None]:
    """Tell what the operating system says of a path in a sentence."""
    try:
        yield
    except OSError as failure:
        said = f"{path}: {failure.strerror}"
        if failure.errno == errno.EFBIG:
            said += "; with volume= such a blob is cut"
        if failure.errno == errno.EMFILE:
            said += "; a larger volume= needs fewer"
        if failure.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise NoSpace(said, side=LOCAL) from failure
        raise RegistryError(said, side=LOCAL) from failure


def flush(path: Path) -> None:
    """Wait until a file, or a directory's names, are on the disk."""
    with failures(path):
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        except OSError as failure:
            # Not every file system has something to do for a directory.
            if failure.errno != errno.EINVAL:
                raise
        finally:
            os.close(file)


def _file_chunks(path: Path) -> Iterator[bytes]:
    with failures(path), path.open("rb") as file:
        yield from _chunks(file.fileno(), 0, path.stat().st_size)


def _chunks(file: int, begin: int, end: int) -> Iterator[bytes]:
    while begin < end:
        chunk = os.pread(file, min(CHUNK, end - begin), begin)
        if not chunk:
            return
        begin += len(chunk)
        yield chunk
