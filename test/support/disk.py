"""A registry's files made by hand, in docker-distribution's layout: no server needed."""

from __future__ import annotations

from pathlib import Path

from support.images import Image


class DiskTree:
    """Files below a storage directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = root / "docker/registry/v2"
        (self.top / "blobs").mkdir(parents=True)
        (self.top / "repositories").mkdir()

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

    def push(self, repository: str, tag: str, image: Image) -> str:
        """Put an image, with its children, under a tag."""
        self._put(repository, image)
        self._write(self.link(repository, "tags", tag), image.digest.encode())
        return image.digest

    def _put(self, repository: str, image: Image) -> None:
        for blob in image.blobs:
            self._write(self.data(blob.digest), b"".join(blob.chunks()))
            self._write(self.link(repository, "_layers", blob.digest), blob.digest.encode())
        for child in image.children:
            self._put(repository, child)
        self._write(self.data(image.digest), image.manifest)
        self._write(self.link(repository, "revisions", image.digest), image.digest.encode())

    @staticmethod
    def _write(file: Path, content: bytes) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
