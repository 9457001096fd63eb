"""Where files lie in a tar: headers are read, and nothing is ever extracted.

A tar may come from anywhere. What is no regular file is refused, and so is a name that leads out of the
directory; what a header says of more than the file has is damage. Only headers are read: their number and
the bytes of long names are bounded.

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
_LONG_NAME_LIMIT = 4096
# Of pax headers what changes a name or a size: nobody who writes layouts needs these.
_PAX_MEANT = re.compile(rb"(?:^|\n)\d+ (?:path|linkpath|size|GNU\.sparse[^=]*)=")
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)


class Damaged(DigestMismatch):
    """A tar that was cut, or whose bytes are not what was written."""


class Place(NamedTuple):
    """Where a file of a tar lies."""

    name: str
    offset: int
    size: int


def places_in(file: int, where: str) -> Iterator[Place]:
    """The files of a tar.

    Args:
        file: descriptor of it.
        where: how messages name it.

    Raises:
        BadBundle: something in it is no regular file, or leads out of a directory.
        Damaged: it ends early, or a header is none.
    """
    end = os.fstat(file).st_size
    offset, long_name = 0, ""
    for _ in range(MEMBERS_AT_MOST):
        header = os.pread(file, BLOCK, offset)
        if len(header) < BLOCK:
            raise Damaged(f"{where} ends early")
        if not header.strip(b"\0"):
            return
        info = _info(header, where)
        begin = offset + BLOCK
        if info.size < 0 or begin + info.size > end:
            raise Damaged(f"{where} ends early")
        offset = begin + -(-info.size // BLOCK) * BLOCK
        if info.type in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE):
            long_name = _long(file, begin, info, where) or long_name
            continue
        name, long_name = _name(long_name or info.name, where), ""
        if info.type == tarfile.DIRTYPE:
            continue
        if info.type not in _REGULAR:
            raise BadBundle(f"{where}: {printable(name)} is {_kind(info)}")
        yield Place(name, begin, info.size)
    raise BadBundle(f"{where} has more than {MEMBERS_AT_MOST} files")


def _info(header: bytes, where: str) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError):
        raise Damaged(f"{where} has something else than a tar's header where one should be") from None


def _long(file: int, begin: int, info: tarfile.TarInfo, where: str) -> str:
    """The long name that a header of its own holds."""
    if info.size > _LONG_NAME_LIMIT:
        raise BadBundle(f"{where} has a header of {info.size} bytes")
    body = os.pread(file, info.size, begin)
    if info.type == tarfile.GNUTYPE_LONGNAME:
        return body.rstrip(b"\0").decode("utf-8", "surrogateescape")
    if _PAX_MEANT.search(body):
        raise BadBundle(f"{where} renames a file in a pax header")
    return ""


def _name(name: str, where: str) -> str:
    """A name as a layout has it, without what leads nowhere."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise BadBundle(f"{where} names {printable(name)}")
    return "/".join(part for part in parts if part not in ("", "."))


def _kind(info: tarfile.TarInfo) -> str:
    return "a link" if info.issym() or info.islnk() else "no regular file"
