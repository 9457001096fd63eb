"""Which files of simple signatures sync has written, a part of the ledger: no other is ever removed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any


class SignatureNotes:
    """What was written below ``signatures:directory``."""

    def __init__(self) -> None:
        # Of each repository and digest the names of files with the SHA-256 of each.
        self._files: dict[tuple[str, str], dict[str, str]] = {}
        self._going: set[tuple[str, str]] = set()

    def writes(self, repository: str, digest: str, files: Iterable[tuple[str, bytes]]) -> None:
        """Note files that are going to be written; one that in the end is not harms nobody.

        Args:
            repository: of the mirror.
            digest: of the manifest that is signed.
            files: name and content of each.
        """
        for name, content in files:
            noted = self._files.setdefault((repository, digest), {})
            noted[name] = hashlib.sha256(content).hexdigest()

    def files(self, repository: str, digest: str) -> Mapping[str, str]:
        """The files of a manifest's signatures, each with the SHA-256 of what was written."""
        return self._files.get((repository, digest), {})

    def begin(self, manifests: Iterable[tuple[str, str]]) -> None:
        """Note that manifests are going to be deleted, whose signatures then go, too."""
        self._going.update(manifest for manifest in manifests if manifest in self._files)

    @property
    def going(self) -> list[tuple[str, str]]:
        """Repository and digest of those that were going to be deleted, be it by a run that was killed."""
        return sorted(self._going)

    def end(self, repository: str, digest: str, *, gone: bool) -> None:
        """Note that there is nothing more to do about a manifest's signatures, which are gone or stay."""
        self._going.discard((repository, digest))
        if gone:
            self._files.pop((repository, digest), None)

    def content(self) -> list[dict[str, Any]]:
        """For the ledger's file."""
        return [
            {
                "repository": repository,
                "digest": digest,
                "files": files,
                "going": (repository, digest) in self._going,
            }
            for (repository, digest), files in self._files.items()
        ]

    def take(self, content: Iterable[Mapping[str, Any]]) -> None:
        """The same back.

        Raises:
            ValueError, TypeError, KeyError, AttributeError: it is something else.
        """
        for told in content:
            manifest = (str(told["repository"]), str(told["digest"]))
            self._files[manifest] = {str(name): str(value) for name, value in told["files"].items()}
            if told["going"]:
                self._going.add(manifest)
