"""What lies on a local registry's disk: looked at, copied and written without asking the server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dataset import POOL, Content

from support.images import Layer, docker_image
from support.registries import Distribution
from support.registry_content import push

TREE = Path("docker/registry/v2")


@dataclass(frozen=True)
class StoredBlob:
    """A blob: a repository that has it, its digest and bytes, and the file that holds it."""

    repository: str
    digest: str
    size: int
    file: Path


def blobs_of(registry: Distribution, content: Content) -> list[StoredBlob]:
    """Return the unique blobs of a set, the largest first."""
    root = registry.data / TREE / "blobs/sha256"
    found: dict[str, StoredBlob] = {}
    for repository, tags in content.items():
        for blob in (blob for image in tags.values() for blob in image.blobs):
            hexadecimal = blob.digest.partition(":")[2]
            file = root / hexadecimal[:2] / hexadecimal / "data"
            found.setdefault(blob.digest, StoredBlob(repository, blob.digest, blob.size, file))
    return sorted(found.values(), key=lambda blob: -blob.size)


def unfinished_uploads(registry: Distribution) -> Iterator[int]:
    """Yield the size in bytes of every file that belongs to an unfinished upload."""
    for directory, names, files in os.walk(registry.data / TREE / "repositories"):
        names[:] = [name for name in names if name not in ("_manifests", "_layers")]
        if "_uploads" in Path(directory).parts:
            yield from (size_of(Path(directory, file)) for file in files)


def size_of(file: Path) -> int:
    """Return the size of a file in bytes; 0 where it has gone."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def replace_with_copy(source: Distribution, target: Distribution) -> None:
    """Let a registry have what another one has; it is restarted."""
    target.stop()
    shutil.rmtree(target.data, ignore_errors=True)
    # A server writes a link file in place, yet never the data of a blob.
    shutil.copytree(source.data / TREE / "blobs", target.data / TREE / "blobs", copy_function=os.link)
    shutil.copytree(source.data / TREE / "repositories", target.data / TREE / "repositories")
    shutil.rmtree(target.data / TREE / "repositories" / POOL, ignore_errors=True)
    target.start()


def add_foreign_repositories(registry: Distribution, count: int) -> None:
    """Put so many repositories of one tiny image into a registry; it is restarted."""
    push(registry.url, "foreign/0", "latest", docker_image([Layer("foreign", 100)]))
    registry.stop()
    foreign = registry.data / TREE / "repositories/foreign"
    for number in range(1, count):
        # A server that walks its storage follows these; real directories take longer than the case.
        (foreign / str(number)).symlink_to("0")
    registry.start()
