"""What a bundle is: an OCI layout with a table of contents, whole or cut into volumes; values, no I/O.

A bundle carries images over a gap that no network crosses. Its files have the names that they would have in
one OCI image layout, ``docker_registry/bundle.json`` says what they are, and ``SHA256SUMS`` is written last.
Each volume is a whole tar, which begins with the table of contents and the index; a blob that is larger than
a volume is cut into pieces.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from _registry_oci_errors import RegistryError, Unsupported
from _registry_oci_manifest import BLOB_LIMIT
from _registry_oci_names import is_digest, is_repository, is_tag, printable

VERSION = 1
CONTENTS = "docker_registry/bundle.json"
PIECES = "docker_registry/pieces/"
INVENTORY = "docker_registry/inventory.json.gz"
SUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.asc"
LAYOUT = "oci-layout"
INDEX = "index.json"
LAYOUT_BODY = b'{"imageLayoutVersion": "1.0.0"}'
# What each volume begins with.
HEAD = (CONTENTS, LAYOUT, INDEX)
BLOCK = 512
END_OF_TAR = 2 * BLOCK
# A smaller volume would be all head.
SMALLEST_VOLUME = 256 * 1024
PIECES_AT_MOST = 9999
VOLUMES_AT_MOST = 9999
CONTENTS_LIMIT = 64 * 1024 * 1024
_MEMBER = re.compile(
    r"oci-layout|index\.json"
    r"|blobs/(?:sha256/[0-9a-f]{64}|sha512/[0-9a-f]{128})"
    r"|docker_registry/(?:bundle\.json|inventory\.json\.gz"
    r"|pieces/sha(?:256=[0-9a-f]{64}|512=[0-9a-f]{128})\.\d{4}"
    r"|sigstore/sha(?:256=[0-9a-f]{64}|512=[0-9a-f]{128})/signature-\d{1,3})"
)
_VOLUME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,200}\.\d{3,4}\.tar")


class BadBundle(Unsupported):
    """What is read is no bundle, or one that nobody has made in good faith."""


@dataclass(frozen=True)
class Member:
    """One file of a bundle.

    Args:
        name: in the layout.
        size: bytes.
    """

    name: str
    size: int

    @property
    def header(self) -> bytes:
        """What stands before it in a tar."""
        info = tarfile.TarInfo(self.name)
        info.size, info.mode = self.size, 0o644
        return info.tobuf(tarfile.GNU_FORMAT)

    @property
    def room(self) -> int:
        """Bytes that it takes in a tar."""
        return len(self.header) + -(-self.size // BLOCK) * BLOCK


@dataclass(frozen=True)
class Base:
    """What a bundle builds on: that it is on the other side already.

    Args:
        id: of the inventory or bundle that says so; empty = on nothing.
        created: when that was made.
        name: of the registry, or of the bundle.
    """

    id: str = ""
    created: str = ""
    name: str = ""

    def __str__(self) -> str:
        return f"{self.name} of {self.created}"


@dataclass(frozen=True)
class Packed:
    """An image in a bundle.

    Args:
        name: as upstream calls it.
        repository: for the registry that it is imported into.
        reference: tag or digest there.
        digest: of its manifest.
        was: the digest that the base has under that tag; empty = none.
    """

    name: str
    repository: str
    reference: str
    digest: str
    was: str = ""


@dataclass(frozen=True)
class Contents:
    """The table of contents.

    Args:
        id: of what is in it, the same for the same.
        created: UTC, as ``2026-11-26T05:50:00Z``.
        base: what it builds on.
        images: what is in it.
        volumes: name → its files in order, without the head; a bundle that is no tar has one without a name.
        sums: name → SHA-256 of each file whose name is no digest; those made before had none.
    """

    id: str
    created: str
    base: Base
    images: tuple[Packed, ...]
    volumes: Mapping[str, tuple[Member, ...]] = field(repr=False)
    sums: Mapping[str, str] = field(default_factory=dict, repr=False)

    def serialized(self) -> bytes:
        """The bytes of ``bundle.json``."""
        lines = ",\n".join(json.dumps(vars(image)) for image in self.images)
        volumes = {name: [[one.name, one.size] for one in members] for name, members in self.volumes.items()}
        head = {
            "version": VERSION,
            "id": self.id,
            "created": self.created,
            "made_by": "the Salt formula docker_registry",
            "base": vars(self.base),
            "volumes": volumes,
            "sha256": dict(self.sums),
        }
        return f'{json.dumps(head)[:-1]}, "images": [\n{lines}\n]}}\n'.encode()

    @cached_property
    def volumes_of(self) -> Mapping[str, Sequence[str]]:
        """Digest → the volumes that have some of the blob."""
        found: dict[str, list[str]] = {}
        for name, members in self.volumes.items():
            for one in members:
                if digest := digest_in(one.name):
                    found.setdefault(digest, []).append(name)
        return found

    @property
    def pieces(self) -> set[str]:
        """Digests of the blobs that are cut."""
        names = (one.name for members in self.volumes.values() for one in members)
        return {digest_in(name) for name in names if name.startswith(PIECES)}

    @property
    def size(self) -> int:
        """Bytes of all files, without heads."""
        return sum(one.size for members in self.volumes.values() for one in members)


def is_member(name: str) -> bool:
    """Whether a bundle may have a file of this name."""
    return _MEMBER.fullmatch(name) is not None


def is_volume(name: str) -> bool:
    """Whether a volume may have this name."""
    return _VOLUME.fullmatch(name) is not None


def blob_name(digest: str) -> str:
    """Where a blob lies in a layout."""
    return f"blobs/{digest.replace(':', '/', 1)}"


def signature_name(digest: str, number: int) -> str:
    """Where a simple signature of a manifest lies."""
    return f"docker_registry/sigstore/{digest.replace(':', '=', 1)}/signature-{number}"


def piece_name(digest: str, number: int) -> str:
    """Where a piece of a blob lies."""
    return f"{PIECES}{digest.replace(':', '=', 1)}.{number:04}"


def digest_in(name: str) -> str:
    """The digest of the blob that a file is, or is a piece of; empty = of none."""
    if name.startswith("blobs/"):
        return name.removeprefix("blobs/").replace("/", ":", 1)
    if name.startswith(PIECES):
        return name.removeprefix(PIECES).rpartition(".")[0].replace("=", ":", 1)
    return ""


def name_of(path: str, number: int) -> str:
    """The name of a volume."""
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", path.rstrip("/").rpartition("/")[2]).lstrip(".-") or "bundle"
    return f"{stem[:200]}.{number:03}.tar"


def cut(files: Sequence[Member], volume: int, head: int, path: str) -> dict[str, tuple[Member, ...]]:
    """Put files into volumes, in their order.

    Args:
        files: all but the head.
        volume: bytes that one may have; 0 = no volumes are made.
        head: bytes of what each begins with.
        path: of the bundle, whose last part names the volumes.

    Raises:
        Unsupported: so small a volume would need more pieces than can be counted.
    """
    if not volume:
        return {"": tuple(files)}
    room = volume - head - END_OF_TAR
    if room < SMALLEST_VOLUME // 4:
        raise Unsupported(f"volume: {volume} bytes are too few; what each begins with has {head} alone")
    volumes: list[list[Member]] = [[]]
    left = room
    for file in files:
        for part in _parts(file, room):
            if part.room > left:
                volumes.append([])
                left = room
            volumes[-1].append(part)
            left -= part.room
    if len(volumes) > VOLUMES_AT_MOST:
        said = f"volume: {volume} bytes are too few: {len(volumes)} volumes, where {VOLUMES_AT_MOST} can be"
        raise Unsupported(said)
    return {name_of(path, number): tuple(members) for number, members in enumerate(volumes, 1)}


def _parts(file: Member, room: int) -> Iterator[Member]:
    """A file, or the pieces of one that is larger than a volume."""
    if file.room <= room:
        yield file
        return
    digest = digest_in(file.name)
    if not digest:
        raise Unsupported(f"volume: {file.name} of {file.size} bytes has no room in so small a volume")
    each = (room - 4 * BLOCK) // BLOCK * BLOCK
    if -(-file.size // each) > PIECES_AT_MOST:
        raise Unsupported(f"volume: {digest} of {file.size} bytes would be more than {PIECES_AT_MOST} pieces")
    for number, begin in enumerate(range(0, file.size, each), 1):
        yield Member(piece_name(digest, number), min(each, file.size - begin))


def pack(
    images: Sequence[Packed],
    files: Sequence[Member],
    base: Base,
    *,
    created: str,
    volume: int,
    path: str,
    small: Mapping[str, bytes] | None = None,
) -> Contents:
    """Lay a bundle out.

    Args:
        images: what is in it.
        files: all but the head, the index and blobs included.
        base: what it builds on.
        created: when it is made.
        volume: bytes that a volume may have; 0 = a directory.
        path: of the bundle.
        small: files whose bytes are known; those whose names are no digests are hashed.

    Raises:
        Unsupported: a volume of so few bytes cannot hold it.
    """
    sums = {
        name: hashlib.sha256(body).hexdigest() for name, body in (small or {}).items() if not digest_in(name)
    }
    index = next(file for file in files if file.name == INDEX)
    rest = [file for file in files if file.name != INDEX]
    key = json.dumps([list(map(vars, images)), list(map(vars, files)), base.id, volume, sums])
    identity = hashlib.sha256(key.encode()).hexdigest()[:16]
    fixed = Member(LAYOUT, len(LAYOUT_BODY)).room + index.room
    head = fixed + 4096
    while True:
        contents = Contents(identity, created, base, tuple(images), cut(rest, volume, head, path), sums)
        needed = fixed + Member(CONTENTS, len(contents.serialized())).room
        if needed <= head or not volume:
            return contents
        head = needed + 4096


def read_contents(body: bytes, where: str) -> Contents:
    """Read a table of contents; nothing in it is trusted.

    Args:
        body: of ``bundle.json``.
        where: it was read, for messages.

    Raises:
        BadBundle: it is none.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadBundle(f"{where}: {CONTENTS} is not JSON") from None
    if not isinstance(document, dict):
        raise BadBundle(f"{where}: {CONTENTS} is no table of contents")
    version = document.get("version")
    if version != VERSION:
        raise BadBundle(f"{where} was made by another version ({printable(version)}); known is {VERSION}")
    try:
        contents = Contents(
            id=_text(document["id"]),
            created=_text(document["created"]),
            base=Base(**{key: _text(document["base"][key]) for key in ("id", "created", "name")}),
            images=tuple(_packed(one, where) for one in document["images"]),
            volumes={name: _members(name, them, where) for name, them in document["volumes"].items()},
            sums=dict(_sum(*one) for one in document.get("sha256", {}).items()),
        )
    except (KeyError, TypeError, AttributeError, ValueError):
        raise BadBundle(f"{where}: {CONTENTS} is no table of contents") from None
    _refuse_twice((one.name for them in contents.volumes.values() for one in them), where)
    _refuse_twice((f"{one.repository}:{one.reference}" for one in contents.images), where)
    return contents


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 400 or not value.isprintable():
        raise ValueError("no text")
    return value


def _packed(one: Any, where: str) -> Packed:
    packed = Packed(**{key: _text(one[key]) for key in ("name", "repository", "reference", "digest", "was")})
    reference = packed.reference
    good = is_repository(packed.repository) and (is_tag(reference) or is_digest(reference))
    if not good or not is_digest(packed.digest):
        raise BadBundle(f"{where}: {printable(packed.repository)}:{printable(reference)} names no image")
    return packed


def _members(volume: str, members: Any, where: str) -> tuple[Member, ...]:
    if volume and not is_volume(volume):
        raise BadBundle(f"{where} names a volume {printable(volume)!r}")
    return tuple(_member(name, size, where) for name, size in members)


def _member(name: Any, size: Any, where: str) -> Member:
    if not isinstance(name, str) or not is_member(name):
        raise BadBundle(f"{where} names {printable(name)!r}")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= BLOB_LIMIT:
        raise BadBundle(f"{where}: {name} has no size that can be")
    return Member(name, size)


def _sum(name: str, value: Any) -> tuple[str, str]:
    if not is_digest(f"sha256:{_text(value)}"):
        raise ValueError("no hash")
    return name, value


def _refuse_twice(names: Iterable[str], where: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BadBundle(f"{where} names {printable(name)!r} twice")
        seen.add(name)


def read_sums(body: bytes, where: str) -> dict[str, str]:
    """What ``SHA256SUMS`` says: name → hash.

    Raises:
        BadBundle: it says something else.
    """
    sums: dict[str, str] = {}
    for line in body.decode("utf-8", "replace").splitlines():
        match = re.fullmatch(r"([0-9a-f]{64}) [ *](.{1,400})", line)
        if not match or not (is_member(match[2]) or is_volume(match[2])) or match[2] in sums:
            raise BadBundle(f"{where}: {SUMS} has the line {printable(line)!r}")
        sums[match[2]] = match[1]
    return sums


class NotWhole(RegistryError):
    """A bundle whose export has not ended, or of which something that it needs is not at hand."""

    cause = "absent"
