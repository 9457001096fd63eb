"""What everything that holds images can do: a registry over HTTP, an OCI layout on a disk.

Plan, copy and compare know nothing else of the sides that they work on. A store makes one attempt at
a blob and leaves nothing behind when it fails; whoever copies tries again. What it gives is not yet
verified: whoever copies hashes, in one place, whatever the store.

The words are those of the distribution-spec:
https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from _registry_oci_manifest import Descriptor, Manifest


class Written(enum.Enum):
    """How a blob came to be where it was written to."""

    EXISTED = "existed"
    MOUNTED = "mounted"
    COPIED = "copied"


class Store(Protocol):
    """Repositories of manifests and blobs; ``str(store)`` is how messages name it.

    Every method raises a ``RegistryError`` that says in ``side`` which store it is of.
    """

    @property
    def side(self) -> str:
        """``upstream`` or ``local``, as errors say which store they are of."""
        ...

    def repositories(self) -> Iterator[str]:
        """Every repository that has something.

        Raises:
            RegistryError: also where the store keeps no catalog.
        """
        ...

    def tags(self, repository: str, *, pages: int = 0) -> list[str]:
        """Every tag of a repository, sorted.

        Args:
            repository: its name.
            pages: of which the list may consist; 0 = any number.

        Raises:
            NotFound: there is no such repository.
            Unsupported: the list has more pages.
        """
        ...

    def resolve(self, repository: str, reference: str) -> Descriptor:
        """What a tag or digest points to, without reading it where that can be told; a size of 0 = untold.

        Raises:
            NotFound: it is not there.
        """
        ...

    def resolve_many(self, names: Sequence[tuple[str, str]]) -> list[Descriptor | None]:
        """What tags stand for by a quick first look: an answer that surprises is to be asked for again.

        Args:
            names: repository and tag or digest of each.

        Returns:
            A descriptor for each, None where it is not told.
        """
        ...

    def manifest(self, repository: str, reference: str) -> Manifest:
        """A manifest, byte for byte, hashed before it is parsed.

        Args:
            repository: its name.
            reference: a tag or digest.

        Raises:
            NotFound: it is not there.
            DigestMismatch: the bytes are others than named.
            Unsupported: it is of a kind that cannot be mirrored.
        """
        ...

    def has(self, repository: str, digest: str) -> bool:
        """Whether a blob is in a repository."""
        ...

    def read(self, repository: str, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """A blob's bytes from an offset on, in one attempt; what came before a failure is handed out first.

        Raises:
            NotFound: there is no such blob.
            Unreachable: the line broke.
            DigestMismatch: it is longer or shorter than its descriptor says.
        """
        ...

    def write(
        self, repository: str, blob: Descriptor, chunks: Iterable[bytes], *, mount_from: str = ""
    ) -> Written:
        """Put a blob into a repository.

        Args:
            repository: where to.
            blob: digest and size in bytes.
            chunks: its bytes, iterated once at most, and only if they are needed. What they raise is
                passed on once nothing is left behind.
            mount_from: a repository of this store that has the blob already; empty = none is known.
        """
        ...

    def put(self, repository: str, reference: str, manifest: Manifest) -> None:
        """Store a manifest under a tag or its digest; what it needs must be there."""
        ...

    def delete(self, repository: str, reference: str) -> None:
        """Forget a tag, or a manifest by its digest.

        Raises:
            NotFound: it is not there.
            Unsupported: the store does not let it be deleted.
        """
        ...

    def lists_referrers(self, repository: str, digest: str) -> bool:
        """Whether the store itself knows what refers to a manifest; else an index under a tag tells it.

        Args:
            repository: by which that is tried, the first time.
            digest: of a manifest in it.
        """
        ...

    def referrers(self, repository: str, digest: str) -> list[Descriptor]:
        """Manifests whose ``subject`` is a manifest, as the store says; none where there are none."""
        ...


class Files(Protocol):
    """The files of a registry on this host."""

    def resolve(self, repository: str, tag: str) -> tuple[Descriptor, float] | None:
        """What the registry gives for a tag, and since when, in seconds since 1970.

        None where it may give something else, or nothing.
        """
        ...

    def holds(self, digest: str) -> bool:
        """Whether the file of a blob or manifest has bytes."""
        ...

    def make_room(self, blob: Descriptor) -> bool:
        """Set a file aside that has not the bytes of its blob; whether there was one."""
        ...

    def lacks_manifest(self, repository: str, reference: str) -> bool:
        """Whether a tag or digest is there whose link or manifest has no bytes."""
        ...
