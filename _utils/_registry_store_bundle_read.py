"""Read a bundle, or another OCI layout, as it lies: a directory, a tar, or volumes; nothing is extracted.

What is not at hand is told by whoever asks for it: a volume that is missing or damaged takes away only the
images that need something of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import threading
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from _registry_oci_errors import UPSTREAM, DigestMismatch, NotFound, RegistryError
from _registry_oci_names import is_digest, printable
from _registry_store_bundle_format import (
    CONTENTS,
    CONTENTS_LIMIT,
    HEAD,
    INDEX,
    LAYOUT,
    SIGNATURE,
    SUMS,
    BadBundle,
    Contents,
    Member,
    NotWhole,
    blob_name,
    digest_in,
    is_member,
    read_contents,
    read_sums,
    signature_name,
)
from _registry_store_bundle_tar import Damaged, Place, places_in
from _registry_store_layout_files import Stamp

CHUNK = 256 * 1024
SMALL_LIMIT = 16 * 1024 * 1024
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_SIGNATURES_AT_MOST = 128
# A bundle may have more volumes, and a layout more blobs, than files may be open.
KEPT_OPEN = 64
_DIRECTORIES = ("blobs", "docker_registry")


class _Part(NamedTuple):
    """Where a file, or a piece of a blob, lies."""

    path: Path
    offset: int
    size: int


@dataclass
class _Found:
    """What is at hand, and why something is not."""

    files: dict[str, _Part] = field(default_factory=dict)
    pieces: dict[str, list[tuple[str, _Part]]] = field(default_factory=dict)
    amiss: dict[str, RegistryError] = field(default_factory=dict)


class BundleFiles:
    """The files of a bundle that is only read; safe for threads.

    Args:
        path: a directory, with or without volumes, or one tar.

    Raises:
        BadBundle: it is none, or something in it is what nobody would have made in good faith.
        NotFound: there is nothing.
        NotWhole: its export has not ended.
    """

    def __init__(self, path: str) -> None:
        # A link to it is the operator's own; in it none is followed.
        self.path = Path(path)
        if self.path.is_symlink():
            self.path = Path(os.path.realpath(path))
        self._lock = threading.Lock()
        self._open: dict[Path, int] = {}
        self._found = _Found()
        self.sums: dict[str, str] = {}
        # The bytes that these were read from, for whoever asks who has signed them.
        self.sums_body = b""
        self.contents: Contents | None = None
        self._look()

    def __str__(self) -> str:
        return f"bundle {self.path}"

    @property
    def amiss(self) -> dict[str, RegistryError]:
        """Volumes that are missing or damaged, and why."""
        return self._found.amiss

    def blob_size(self, digest: str) -> int | None:
        """Bytes of a blob; None where not all of it is at hand."""
        parts = self._parts(digest)
        return sum(part.size for part in parts) if parts else None

    def blob_chunks(self, digest: str, begin: int, end: int) -> Iterator[bytes]:
        """A blob's bytes from ``begin`` up to ``end``, fewer where it is shorter."""
        parts = self._parts(digest)
        if not parts:
            self.explain(digest)
        start = 0
        for part in parts:
            low, high = max(begin, start), min(end, start + part.size)
            yield from self._chunks(part, low - start, high - start)
            start += part.size

    def explain(self, digest: str) -> NoReturn:
        """Say why a blob is not at hand."""
        raise NotFound(self.why_not(digest), side=UPSTREAM)

    def why_not(self, digest: str) -> str:
        """Why a blob is not at hand."""
        contents = self.contents
        volumes = contents.volumes_of.get(digest, ()) if contents else ()
        short = f"{digest[:19]}…"
        for volume in volumes:
            if volume in self.amiss:
                return f"{self.amiss[volume]}; {short} is in it"
        if contents and not volumes and contents.base.id:
            return (
                f"the bundle builds on {contents.base}, and {short} of that is not here: export it with "
                "since= this registry's inventory"
            )
        return f"{self} does not have {short}"

    def read_index(self) -> dict[str, Any]:
        """The document in ``index.json``.

        Raises:
            NotWhole: it is not at hand, and why.
        """
        if not self.has_file(INDEX):
            raise NotWhole(str(next(iter(self.amiss.values()), f"{self} has no {INDEX}")), side=UPSTREAM)
        return self._document(INDEX)

    def index_stamp(self) -> Stamp:
        """It never changes."""
        return (1, 1, 1)

    def small(self, name: str, limit: int = SMALL_LIMIT) -> bytes:
        """The bytes of a small file, hashed where something says what its hash is.

        Raises:
            Damaged: they are others.
        """
        part = self._found.files.get(name)
        if part is None:
            raise NotFound(f"{self} has no {name}", side=UPSTREAM)
        if part.size > limit:
            raise BadBundle(f"{self}: {name} has {part.size} bytes")
        body = b"".join(self._chunks(part, 0, part.size))
        self._compare_hash(name, body)
        return body

    def is_covered(self, name: str) -> bool:
        """Whether ``SHA256SUMS``, or the table of contents, says what the hash of a file is."""
        return any(name in sums for _, sums in self._sums)

    def has_file(self, name: str) -> bool:
        """Whether a file is at hand."""
        return name in self._found.files

    def signatures(self, digest: str, limit: int = SMALL_LIMIT) -> Iterator[bytes]:
        """The simple signatures of a manifest that are in it, none of more than ``limit`` bytes."""
        names = (signature_name(digest, number) for number in range(1, _SIGNATURES_AT_MOST + 1))
        for name in names if is_digest(digest) else ():
            if not self.has_file(name):
                return
            yield self.small(name, limit)

    def check_sums(self, name: str) -> RegistryError | None:
        """Hash a file that ``SHA256SUMS`` names; what is wrong with it, if anything."""
        path = self.path / name
        found = hashlib.sha256()
        try:
            size = path.lstat().st_size
            for chunk in self._chunks(_Part(path, 0, size), 0, size):
                found.update(chunk)
        except FileNotFoundError:
            return NotFound(f"{name} is missing", side=UPSTREAM)
        except OSError as failure:
            return _failed(path, failure)
        except RegistryError as failure:
            return failure
        if found.hexdigest() != self.sums[name]:
            return DigestMismatch(f"{name} is not what {SUMS} says", side=UPSTREAM)
        return None

    def raw(self, name: str) -> bytes:
        """A small file that lies beside the volumes, as ``SHA256SUMS`` does."""
        path = self.path / name
        try:
            size = path.lstat().st_size
        except OSError as failure:
            raise _failed(path, failure) from None
        if size > SMALL_LIMIT:
            raise BadBundle(f"{path} has {size} bytes")
        return b"".join(self._chunks(_Part(path, 0, size), 0, size))

    def close(self) -> None:
        """Let go of all files."""
        with self._lock:
            for file in self._open.values():
                os.close(file)
            self._open = {}

    @property
    def _sums(self) -> Iterator[tuple[str, Mapping[str, str]]]:
        """What says which hash a file has."""
        yield SUMS, self.sums
        if self.contents:
            yield CONTENTS, self.contents.sums

    def _compare_hash(self, name: str, body: bytes) -> None:
        found = hashlib.sha256(body).hexdigest()
        for where, sums in self._sums:
            if sums.get(name, found) != found:
                raise Damaged(f"{self}: {name} is not what {where} says", side=UPSTREAM)

    def _parts(self, digest: str) -> list[_Part]:
        if not is_digest(digest):
            raise BadBundle(f"{self}: {printable(digest)!r} is no digest known here")
        whole = self._found.files.get(blob_name(digest))
        return [whole] if whole else [part for _, part in self._found.pieces.get(digest, ())]

    def _look(self) -> None:
        try:
            kind = self.path.lstat().st_mode
        except OSError as failure:
            raise _failed(self.path, failure) from None
        if stat.S_ISREG(kind):
            self._take_tar(self.path)
        elif stat.S_ISDIR(kind):
            self._look_in_directory()
        else:
            raise BadBundle(f"{self.path} is neither a directory nor a file")
        if self.has_file(CONTENTS):
            self._read_contents()
        elif not self.has_file(LAYOUT):
            raise next(iter(self.amiss.values()), None) or BadBundle(f"{self.path} is no bundle: no {LAYOUT}")
        self._check_version()

    def _look_in_directory(self) -> None:
        try:
            self._walk(self.path, "")
        except OSError as failure:
            raise _failed(Path(failure.filename or self.path), failure) from None
        for path in sorted(self.path.glob("*.tar")):
            self._take_tar(path)

    def _walk(self, directory: Path, prefix: str) -> None:
        for entry in os.scandir(directory):
            name = prefix + entry.name
            if entry.is_symlink():
                if is_member(name) or name in (*_DIRECTORIES, SUMS, SIGNATURE):
                    raise BadBundle(f"{self.path}: {printable(name)} is a link")
            elif entry.is_dir() and (prefix or name in _DIRECTORIES) and name.count("/") < 3:
                self._walk(Path(entry.path), f"{name}/")
            elif entry.is_file() and is_member(name):
                self._add(name, _Part(Path(entry.path), 0, entry.stat(follow_symlinks=False).st_size))

    def _take_tar(self, path: Path) -> None:
        """Learn what a tar has; one that is damaged takes away only what is in it."""
        seen: set[str] = set()
        places: list[Place] = []
        try:
            with self._opened(path) as file:
                for place in places_in(file, path.name):
                    if place.name in seen:
                        raise BadBundle(f"{path.name} has {printable(place.name)} twice")
                    seen.add(place.name)
                    places.append(place)
        except Damaged as failure:
            self.amiss[path.name] = failure
            return
        if any(map(is_member, seen)):
            self._take_places(path, places, seen)

    def _take_places(self, path: Path, places: Iterable[Place], seen: Container[str]) -> None:
        for name, offset, size, oddity in places:
            if oddity:
                raise BadBundle(f"{path.name}: {printable(name)} is {oddity}")
            if is_member(name):
                self._add(name, _Part(path, offset, size))
            elif CONTENTS in seen:
                raise BadBundle(f"{path.name} names {printable(name)!r}")

    def _add(self, name: str, part: _Part) -> None:
        known = self._found.files.get(name)
        if name in HEAD and known:
            if self._bytes(known) != self._bytes(part):
                raise BadBundle(
                    f"{part.path.name} is of another bundle than {known.path.name}: {name} differs"
                )
            return
        if (
            known
            and known.path.parent == part.path.parent
            and known.path.suffix == part.path.suffix == ".tar"
        ):
            raise BadBundle(f"{part.path.name} and {known.path.name} both have {name}")
        self._found.files.setdefault(name, part)

    def _bytes(self, part: _Part) -> bytes:
        if part.size > CONTENTS_LIMIT:
            raise BadBundle(f"{part.path} begins with {part.size} bytes of contents")
        return b"".join(self._chunks(part, 0, part.size))

    def _read_contents(self) -> None:
        body = self.small(CONTENTS, CONTENTS_LIMIT)
        contents = read_contents(body, str(self.path))
        self.contents = contents
        if self.path.is_dir():
            self._read_sums()
            self._compare_hash(CONTENTS, body)
        volumes = {name for name in contents.volumes if name}
        for path in self.path.glob("*.tar") if self.path.is_dir() else ():
            if path.name not in volumes and volumes:
                raise BadBundle(f"{path.name} is no volume of this bundle")
        self._compare(contents)

    def _read_sums(self) -> None:
        try:
            self.sums_body = self.raw(SUMS)
            self.sums = read_sums(self.sums_body, str(self.path))
        except NotFound:
            raise NotWhole(f"{self.path} is not whole: it has no {SUMS}", side=UPSTREAM) from None

    def _compare(self, contents: Contents) -> None:
        """See that what lies here is what the table of contents says; note what is not at hand."""
        for volume, members in contents.volumes.items():
            if volume in self.amiss:
                continue
            lacking = [one for one in members if one.name not in self._found.files]
            if len(lacking) == len(members) and lacking and not (self.path / volume).is_file():
                name = volume or str(self.path)
                self.amiss[volume] = NotFound(f"{name} is missing", side=UPSTREAM)
                continue
            if lacking:
                said = f"{volume or self.path} has not all that it should have: {lacking[0].name}"
                self.amiss[volume] = Damaged(said, side=UPSTREAM)
            self._compare_sizes(members)
        self._gather_pieces(contents)

    def _compare_sizes(self, members: Iterable[Member]) -> None:
        for one in members:
            part = self._found.files.get(one.name)
            if part and part.size != one.size:
                raise BadBundle(f"{self.path}: {one.name} has {part.size} bytes, not {one.size}")

    def _gather_pieces(self, contents: Contents) -> None:
        for digest in contents.pieces:
            names = sorted(
                one.name
                for members in contents.volumes.values()
                for one in members
                if digest_in(one.name) == digest
            )
            parts = [(name, self._found.files[name]) for name in names if name in self._found.files]
            if len(parts) == len(names):
                self._found.pieces[digest] = parts

    def _check_version(self) -> None:
        if self.has_file(LAYOUT):
            version = self._document(LAYOUT).get("imageLayoutVersion")
            if version != "1.0.0":
                raise BadBundle(f"{self.path} is a layout of version {printable(version)}, known is 1.0.0")

    def _document(self, name: str) -> dict[str, Any]:
        try:
            document = json.loads(self.small(name, CONTENTS_LIMIT))
        except (ValueError, RecursionError):
            raise BadBundle(f"{self.path}: {name} is not JSON") from None
        if not isinstance(document, dict):
            raise BadBundle(f"{self.path}: {name} is not a JSON object")
        return document

    @contextlib.contextmanager
    def _opened(self, path: Path) -> Iterator[int]:
        """A file that is open meanwhile; of tars some stay so."""
        file = self._open.get(path)
        if file is not None:
            yield file
            return
        file = _open_regular(path)
        if self._keep_open(path, file):
            yield file
            return
        try:
            yield file
        finally:
            os.close(file)

    def _keep_open(self, path: Path, file: int) -> bool:
        if path.suffix != ".tar" and path != self.path:
            return False
        with self._lock:
            is_kept = len(self._open) < KEPT_OPEN and path not in self._open
            if is_kept:
                self._open[path] = file
            return is_kept

    def _chunks(self, part: _Part, begin: int, end: int) -> Iterator[bytes]:
        """Bytes of a file."""
        with self._opened(part.path) as file:
            while begin < end:
                try:
                    chunk = os.pread(file, min(CHUNK, end - begin), part.offset + begin)
                except OSError as failure:
                    raise _failed(part.path, failure) from None
                if not chunk:
                    return
                begin += len(chunk)
                yield chunk


def _open_regular(path: Path) -> int:
    try:
        file = os.open(path, _READ)
    except OSError as failure:
        raise _failed(path, failure) from None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise BadBundle(f"{path} is no regular file")
    return file


def _failed(path: Path, failure: OSError) -> RegistryError:
    """What the operating system says of a path, in a sentence."""
    kind = NotFound if isinstance(failure, FileNotFoundError) else RegistryError
    return kind(f"{path}: {failure.strerror}", side=UPSTREAM)
