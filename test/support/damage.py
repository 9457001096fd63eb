"""Break a registry's files as disks, crashes and people do; each way returns the path that is wrong then."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

OLD_SECONDS = 3600


class Damage:
    """What can go wrong with the files of one registry.

    Args:
        data: its storage directory.
    """

    def __init__(self, data: Path) -> None:
        self.top = data / "docker/registry/v2"

    def data(self, digest: str) -> Path:
        """The file of a blob or manifest."""
        algorithm, _, name = digest.partition(":")
        return self.top / "blobs" / algorithm / name[:2] / name / "data"

    def link(self, repository: str, kind: str, name: str) -> Path:
        """A link of a kind: `_layers`, `revisions` or `tags`."""
        below = self.top / "repositories" / repository
        if kind == "tags":
            return below / "_manifests/tags" / name / "current/link"
        between = "_layers" if kind == "_layers" else "_manifests/revisions"
        return below / between / name.replace(":", "/") / "link"

    def age(self) -> None:
        """Let all files be an hour old, so that none could be one of this moment."""
        then = time.time() - OLD_SECONDS
        for file in self.top.rglob("*"):
            os.utime(file, (then, then))

    def flip_a_bit(self, file: Path) -> Path:
        """Change one bit in the middle, as a disk does: nothing else tells of it."""
        body = bytearray(file.read_bytes())
        body[len(body) // 2] ^= 1
        return self._rewrite(file, bytes(body))

    def truncate(self, file: Path) -> Path:
        """Leave the first half, as a crash does."""
        return self._rewrite(file, file.read_bytes()[: file.stat().st_size // 2])

    def empty(self, file: Path) -> Path:
        """Leave nothing in it."""
        return self._rewrite(file, b"")

    def remove(self, file: Path) -> Path:
        """Remove it."""
        file.unlink()
        return file

    def lock_out(self, file: Path) -> Path:
        """Give it to root alone."""
        self.give(file, 0)
        file.chmod(0o600)
        return file

    @staticmethod
    def give(file: Path, user: int) -> None:
        """Make somebody else its owner."""
        os.chown(file, user, user)

    @staticmethod
    def _rewrite(file: Path, body: bytes) -> Path:
        before = file.stat()
        file.write_bytes(body)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        return file


def states(report: dict[str, Any]) -> dict[str, str]:
    """Image → status, of a report of `verify`."""
    return {name: image["status"] for name, image in report["images"].items()}


def paths(report: dict[str, Any]) -> list[str]:
    """Every path that a report of `verify` names as broken."""
    return sorted([*(blob["path"] for blob in report["blobs"].values()), *report["links"]])


# What happens to the bytes of a blob or manifest, and to a link, and what `verify` calls it.
TO_BYTES = {
    "a flipped bit": (Damage.flip_a_bit, "corrupt"),
    "truncation": (Damage.truncate, "short"),
    "zero bytes": (Damage.empty, "short"),
    "a missing file": (Damage.remove, "missing"),
}
TO_LINKS = {"a missing link": (Damage.remove, "missing"), "an empty link": (Damage.empty, "empty")}
