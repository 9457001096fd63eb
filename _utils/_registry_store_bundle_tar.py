"""Where files lie in a tar: headers are read, and nothing is ever extracted.

A tar may come from anywhere. What is no regular file is told, and a name that leads out of the directory is
refused; what a header says of more than the file has is damage. Only headers are read: their number and the
bytes of those that say more of the next file are bounded.

https://www.gnu.org/software/tar/manual/html_node/Standard.html
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from typing import NamedTuple

from _registry_oci_errors import DigestMismatch
from _registry_oci_names import printable
from _registry_store_bundle_format import BLOCK, BadBundle

MEMBERS_AT_MOST = 500_000
_AHEAD_LIMIT = 4096
_AHEAD = (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE)
# What names a file in a pax header: nobody who writes layouts needs it.
_PAX_NAMES = re.compile(rb"path|linkpath|GNU\.sparse.*")
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)


class Damaged(DigestMismatch):
    """A tar that was cut, or whose bytes are not what was written."""


class Place(NamedTuple):
    """Where a file of a tar lies; ``oddity`` says what it is instead of a regular file."""

    name: str
    offset: int
    size: int
    oddity: str = ""


class _Ahead(NamedTuple):
    """What headers of their own have said of the next file."""

    name: str = ""
    size: int = -1


def places_in(file: int, where: str) -> Iterator[Place]:
    """The files of a tar.

    Args:
        file: descriptor of it.
        where: how messages name it.

    Raises:
        BadBundle: something in it leads out of a directory.
        Damaged: it ends early, or a header is none.
    """
    end = os.fstat(file).st_size
    offset, ahead = 0, _Ahead()
    for _ in range(MEMBERS_AT_MOST):
        header = os.pread(file, BLOCK, offset)
        if len(header) < BLOCK:
            raise Damaged(f"{where} ends early")
        if not header.strip(b"\0"):
            return
        info = _info(header, where)
        begin = offset + BLOCK
        size = info.size if info.type in _AHEAD or ahead.size < 0 else ahead.size
        if size < 0 or begin + size > end:
            raise Damaged(f"{where} ends early")
        offset = begin + -(-size // BLOCK) * BLOCK
        if info.type in _AHEAD:
            ahead = _more(ahead, file, begin, info, where)
            continue
        name, ahead = _name(ahead.name or info.name, where), _Ahead()
        if info.type != tarfile.DIRTYPE:
            yield Place(name, begin, size, _oddity(info))
    raise BadBundle(f"{where} has more than {MEMBERS_AT_MOST} files")


def _info(header: bytes, where: str) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        raise Damaged(f"{where} has something else than a tar's header where one should be") from None


def _more(ahead: _Ahead, file: int, begin: int, info: tarfile.TarInfo, where: str) -> _Ahead:
    """What is known of the next file with what another header of its own says."""
    if info.size > _AHEAD_LIMIT:
        raise BadBundle(f"{where} has a header of {info.size} bytes")
    body = os.pread(file, info.size, begin)
    if info.type == tarfile.GNUTYPE_LONGNAME:
        return ahead._replace(name=body.rstrip(b"\0").decode("utf-8", "surrogateescape"))
    for key, value in _pax_records(body, where):
        if _PAX_NAMES.fullmatch(key):
            raise BadBundle(f"{where} renames a file in a pax header")
        if key == b"size":
            ahead = ahead._replace(size=_number(value, where))
    return ahead


def _pax_records(body: bytes, where: str) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a pax header, of which each record says its length first."""
    while body:
        length = body.partition(b" ")[0]
        end = _number(length, where)
        key, equals, value = body[len(length) + 1 : end].partition(b"=")
        if end > len(body) or not equals or not value.endswith(b"\n"):
            raise Damaged(f"{where} has a pax header that is none")
        yield key, value[:-1]
        body = body[end:]


def _number(digits: bytes, where: str) -> int:
    if not re.fullmatch(rb"\d{1,19}", digits):
        raise Damaged(f"{where} has a pax header that is none")
    return int(digits)


def _name(name: str, where: str) -> str:
    """A name as a layout has it, without what leads nowhere."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise BadBundle(f"{where} names {printable(name)}")
    return "/".join(part for part in parts if part not in ("", "."))


def _oddity(info: tarfile.TarInfo) -> str:
    if info.type in _REGULAR:
        return ""
    return "a link" if info.issym() or info.islnk() else "no regular file"
