"""A bundle, or another OCI layout, as a store that is read."""

from __future__ import annotations

from collections.abc import Iterator

from _registry_oci_errors import UPSTREAM, NotFound
from _registry_oci_manifest import Descriptor
from _registry_oci_names import is_digest
from _registry_store_bundle_format import INDEX, NotWhole
from _registry_store_bundle_read import BundleFiles
from _registry_store_layout import LayoutStore
from _registry_store_layout_index import LayoutIndex, reference_name


class BundleStore(LayoutStore):
    """A bundle, or another layout, as a store that is read.

    Args:
        files: of it.
        repository: to which bare tags and manifests without a name belong.
    """

    def __init__(self, files: BundleFiles, repository: str = "") -> None:
        super().__init__(str(files.path), side=UPSTREAM, repository=repository)
        self._name = str(files)
        self._files = files  # type: ignore[assignment]
        self._bundle = files

    def index(self) -> LayoutIndex:
        """What ``index.json`` names."""
        return self._index()

    def read(self, repository: str, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """A blob's bytes from an offset on.

        Raises:
            NotFound: it is not at hand, and why.
        """
        if self._bundle.blob_size(blob.digest) is None:
            self._bundle.explain(blob.digest)
        yield from super().read(repository, blob, offset)

    def resolve(self, repository: str, reference: str) -> Descriptor:
        """What a tag or digest points to.

        Raises:
            NotFound: it is not there.
            NotWhole: it is not at hand, and why.
        """
        digest = self._digest_of(repository, reference)
        if digest and not self.has(repository, digest):
            raise NotWhole(self._bundle.why_not(digest), side=UPSTREAM)
        try:
            return super().resolve(repository, reference)
        except NotFound:
            if is_digest(reference) and not self.has(repository, reference):
                self._bundle.explain(reference)
            raise

    def _digest_of(self, repository: str, reference: str) -> str:
        """What a name means, also where the index is not at hand; empty = nothing by itself."""
        contents = self._bundle.contents
        if contents and not self._bundle.has_file(INDEX):
            name = reference_name(repository, reference)
            return next((one.digest for one in contents.images if one.name == name), "")
        entry = self._index().entry(repository, reference)
        return entry.descriptor.digest if entry and entry.descriptor else ""

    def _reachable(self, repository: str) -> Iterator[Descriptor]:
        """Also what has no name: a referrer belongs to whatever it refers to."""
        yield from super()._reachable(repository)
        if repository:
            yield from super()._reachable("")
