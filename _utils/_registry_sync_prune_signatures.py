"""Remove the simple signatures of manifests that a prune has deleted: what sync wrote, and nothing else.

The directory of a manifest goes whole or not at all: what somebody has put there, or has changed, keeps it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import stat
from collections.abc import Iterator, Mapping

from _registry_oci_errors import NotFound, RegistryError
from _registry_store_protocol import Store
from _registry_sync_lookaside import LARGEST_SIGNATURE, directory_name
from _registry_sync_signature_notes import SignatureNotes

log = logging.getLogger(__name__)

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# A pipe that somebody has put there must not be waited for.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _StaysError(Exception):
    """Why a directory is left as it is."""


def forget_signatures(directory: str, notes: SignatureNotes, target: Store) -> None:
    """Remove what was kept of manifests that were going to be deleted, and that the registry has no longer.

    Args:
        directory: ``signatures:directory``.
        notes: what was written there.
        target: the local registry.
    """
    for repository, digest in notes.going:
        try:
            target.resolve(repository, digest)
        except NotFound:
            gone = _gone(directory, repository, digest, notes.files(repository, digest))
            notes.end(repository, digest, gone=gone)
        except RegistryError as failure:
            # The next prune asks again.
            log.warning("%s@%s: its signatures stay for now: %s", repository, digest, failure)
        else:
            notes.end(repository, digest, gone=False)


def _gone(directory: str, repository: str, digest: str, files: Mapping[str, str]) -> bool:
    name = directory_name(repository, digest)
    try:
        _remove(directory, name, files)
    except FileNotFoundError:
        return True
    except (_StaysError, OSError) as failure:
        log.warning("%s/%s: stays: %s", directory, name, _why(failure))
        return False
    log.info("%s/%s: removed with its image", directory, name)
    return True


def _why(failure: _StaysError | OSError) -> str:
    if isinstance(failure, _StaysError):
        return str(failure)
    if failure.errno in (errno.ELOOP, errno.ENOTDIR):
        return f"{failure.filename} is a link, or no directory"
    return str(failure.strerror)


def _remove(base: str, name: str, files: Mapping[str, str]) -> None:
    """Remove one directory with its files; of the way to it only the base may be a link."""
    *above, last = name.split("/")
    if any(part in ("", ".", "..") for part in (*above, last)):
        raise _StaysError("it is no name of a repository")
    with contextlib.ExitStack() as opened:
        parent = opened.enter_context(_opened(base, _DIRECTORY))
        for part in above:
            parent = opened.enter_context(_opened(part, _DIRECTORY | os.O_NOFOLLOW, parent))
        here = opened.enter_context(_opened(last, _DIRECTORY | os.O_NOFOLLOW, parent))
        names = os.listdir(here)  # noqa: PTH208 - of an open directory
        for file in names:
            _demand_ours(file, files, here)
        # The highest first: an engine that reads meanwhile stops at a gap.
        for file in sorted(names, key=lambda file: (len(file), file), reverse=True):
            os.unlink(file, dir_fd=here)
        os.rmdir(last, dir_fd=parent)


def _demand_ours(name: str, files: Mapping[str, str], directory: int) -> None:
    if name not in files:
        raise _StaysError(f"sync has not written {name}")
    with _opened(name, _FILE, directory) as file:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise _StaysError(f"{name} is no file")
        with os.fdopen(os.dup(file), "rb") as reader:
            content = reader.read(LARGEST_SIGNATURE + 1)
    if hashlib.sha256(content).hexdigest() != files[name]:
        raise _StaysError(f"{name} was changed since sync wrote it")


@contextlib.contextmanager
def _opened(name: str, flags: int, directory: int | None = None) -> Iterator[int]:
    file = os.open(name, flags, dir_fd=directory)
    try:
        yield file
    finally:
        os.close(file)
