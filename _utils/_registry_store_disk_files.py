"""What the files of a registry are: links, blobs, uploads; see ``_registry_store_disk``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from _registry_oci_errors import LOCAL, RegistryError
from _registry_oci_names import is_digest

# The longest text of a link is a sha512 digest, 135 characters.
_LINK_LIMIT = 256
PERMISSIONS = 0o7777


class Link(NamedTuple):
    """A file whose text is a digest: a tag, a revision or a layer of one repository.

    Args:
        path: of the file.
        name: the tag, or the digest, that the directories around it name.
        digest: its text; empty = it is not there, empty, or no digest.
        mtime: seconds since 1970; 0 = it is not there.
        error: why it cannot be read; empty where it can.
        owner: of the file; -1 = it could not be told.
        group: of the file.
        mode: its permissions.
    """

    path: str
    name: str
    digest: str
    mtime: float
    error: str = ""
    owner: int = -1
    group: int = -1
    mode: int = 0


class BlobFile(NamedTuple):
    """The file of a blob, or of a manifest, which lies beside the blobs.

    Args:
        digest: that its directories name.
        size: bytes.
        mtime: nanoseconds since 1970; of a blob when its last byte came, not when it was committed.
        inode: of the file.
        owner: its user.
        group: its group.
        mode: its permissions.
    """

    digest: str
    size: int
    mtime: int
    inode: int
    owner: int
    group: int
    mode: int


class Upload(NamedTuple):
    """An upload under way, or one that was left.

    Args:
        path: of its directory.
        mtime: when its last byte came, in seconds since 1970.
        size: bytes that have come.
    """

    path: str
    mtime: float
    size: int


def read_link(path: str, name: str) -> Link:
    """Read a link.

    Args:
        path: of the file.
        name: the tag or digest that it is of.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return Link(path, name, "", 0.0)
    except OSError as failure:
        return Link(path, name, "", 0.0, failure.strerror or str(failure))
    try:
        text = os.read(descriptor, _LINK_LIMIT)
        found = os.fstat(descriptor)
    except OSError as failure:
        return Link(path, name, "", 0.0, failure.strerror or str(failure))
    finally:
        os.close(descriptor)
    digest = text.decode("ascii", "replace")
    known = digest if is_digest(digest) else ""
    mode = found.st_mode & PERMISSIONS
    return Link(path, name, known, found.st_mtime, "", found.st_uid, found.st_gid, mode)


def names_in(directory: str) -> list[str]:
    """What lies in a directory, sorted; nothing where it is none, or is gone meanwhile."""
    try:
        return sorted(os.listdir(directory))  # noqa: PTH208 - a path object for each entry costs time
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as failure:
        raise RegistryError(f"local {directory}: {failure.strerror}", side=LOCAL) from None


def read_upload(directory: str) -> Upload:
    """What has come of an upload."""
    for file in (f"{directory}/data", directory):
        try:
            found = Path(file).stat()
        except OSError:
            continue
        return Upload(directory, found.st_mtime, found.st_size if file != directory else 0)
    return Upload(directory, 0.0, 0)
