"""A bundle that is written, as the store that a copy fills."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from _registry_oci_errors import LOCAL, BlobUnknown, NotFound, RegistryError, Unsupported
from _registry_oci_manifest import Descriptor, Manifest
from _registry_store_bundle_write import BundleWriter
from _registry_store_layout_index import reference_name
from _registry_store_protocol import Written


class BundleTarget:
    """A bundle that is written, as the store that a copy fills.

    Args:
        writer: of its files.
    """

    side = LOCAL

    def __init__(self, writer: BundleWriter) -> None:
        self._writer = writer

    def __str__(self) -> str:
        return str(self._writer)

    def repositories(self) -> Iterator[str]:
        """None: what is in a bundle was settled before it is written."""
        return iter(())

    def tags(self, repository: str, *, pages: int = 0) -> list[str]:
        """None."""
        raise NotFound(f"{self} has no repository {repository!r}", side=self.side)

    def resolve(self, repository: str, reference: str) -> Descriptor:
        """Nothing: what is put has to be what the table of contents says."""
        raise NotFound(f"{self} has no {reference_name(repository, reference)}", side=self.side)

    def resolve_many(self, names: Sequence[tuple[str, str]]) -> list[Descriptor | None]:
        """Nothing is told."""
        return [None] * len(names)

    def manifest(self, repository: str, reference: str) -> Manifest:
        """Nothing."""
        raise NotFound(f"{self} has no {reference_name(repository, reference)}", side=self.side)

    def has(self, repository: str, digest: str) -> bool:
        """Whether all of a blob is there."""
        return self._writer.has(digest)

    def read(self, repository: str, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """Nothing is read back."""
        raise NotFound(f"{self} is not read while it is written", side=self.side)

    def write(
        self, repository: str, blob: Descriptor, chunks: Iterable[bytes], *, mount_from: str = ""
    ) -> Written:
        """Put a blob into its place, once."""
        if self._writer.has(blob.digest):
            return Written.EXISTED
        if not self._writer.knows(blob.digest):
            raise BlobUnknown(f"{self} has no place for blob {blob.digest}", side=self.side)
        self._writer.write(blob, chunks)
        return Written.COPIED

    def put(self, repository: str, reference: str, manifest: Manifest) -> None:
        """See that a manifest is there; the table of contents has its name."""
        if not self._writer.has(manifest.digest):
            name = reference_name(repository, reference)
            raise RegistryError(f"{self} has no place for {name}, {manifest.digest}", side=self.side)

    def delete(self, repository: str, reference: str) -> None:
        """Refuse it."""
        raise Unsupported(f"{self}: nothing is deleted", side=self.side)

    def lists_referrers(self, repository: str, digest: str) -> bool:
        """A layout is looked through whole, and needs no list under a tag."""
        return True

    def referrers(self, repository: str, digest: str) -> list[Descriptor]:
        """None."""
        return []
