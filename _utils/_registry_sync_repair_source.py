"""Where a repair gets right bytes from: the upstreams that the image list names for a repository."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from _registry_config_values import Image
from _registry_oci_errors import UPSTREAM, RegistryError, Unsupported
from _registry_oci_manifest import Manifest, ManifestError, keep_platforms
from _registry_store_disk_mark import Broken
from _registry_sync_blobs import Source
from _registry_sync_stores import Stores
from _registry_sync_verify import Finding


class Lost(RegistryError):
    """Nobody is known to have it."""

    cause = "absent"


class Upstreams:
    """The upstreams of repositories.

    Args:
        images: the list.
        stores: how they are reached.
    """

    def __init__(self, images: Sequence[Image], stores: Stores) -> None:
        self._images = images
        self._stores = stores

    def manifest(self, finding: Finding) -> Manifest:
        """A manifest, byte for byte, from whichever upstream of its repositories still has it.

        Raises:
            RegistryError: why the first could not give it.
        """
        first_failure: RegistryError | None = None
        for repository in sorted(finding.repositories):
            for read in self._ways_to(finding, repository):
                try:
                    manifest = read()
                except RegistryError as failure:
                    first_failure = first_failure or failure
                    continue
                if manifest.digest == finding.broken.digest:
                    finding.moved = manifest.size
                    return manifest
        raise first_failure or nobody(finding)

    def _ways_to(self, finding: Finding, repository: str) -> Iterator[Callable[[], Manifest]]:
        """By its digest; or, of an index made here for a choice of platforms, from what it was made of."""
        digest = finding.broken.digest
        for image, source in self._images_of(repository):
            yield lambda source=source: source.store.manifest(source.repository, digest)  # type: ignore[misc]
            for tag in _tags_of(finding, repository) if image.platforms else ():
                yield lambda source=source, image=image, tag=tag: _narrowed(  # type: ignore[misc]
                    source.store.manifest(source.repository, tag), image
                )

    def sources(self, repository: str) -> list[Source]:
        """Where its blobs come from."""
        return [source for _, source in self._images_of(repository)]

    def fills(self, repository: str) -> bool:
        """Whether an entry of the list fills it."""
        return any(image.target == repository for image in self._images)

    def _images_of(self, repository: str) -> Iterator[tuple[Image, Source]]:
        """The entries of the list that fill a repository.

        Raises:
            RegistryError: why one of their upstreams cannot be asked.
        """
        for image in self._images:
            if image.target == repository:
                yield image, Source(self._stores.source(image.source), image.repository)

    def wanted(self, end: Broken, here: Callable[[str], Manifest | None]) -> Manifest:
        """What upstream has under a tag, if that is here already.

        Args:
            end: the tag's broken link.
            here: gives a manifest by its digest.
        """
        for image, source in self._images_of(end.repository):
            manifest = _narrowed(source.store.manifest(source.repository, end.tag), image)
            if here(manifest.digest):
                return manifest
            raise Lost(
                f"what {end.repository}:{end.tag} was is not known; the next sync brings what it is now"
            )
        raise Lost(f"what {end.repository}:{end.tag} was is not known")


def _narrowed(manifest: Manifest, image: Image) -> Manifest:
    try:
        return keep_platforms(manifest, image.platforms)
    except ManifestError as failure:
        raise Unsupported(str(failure), side=UPSTREAM) from None


def _tags_of(finding: Finding, repository: str) -> list[str]:
    names = (name.rpartition(":") for name in finding.images if "@" not in name)
    return [tag for name, _, tag in names if name == repository]


def nobody(finding: Finding) -> RegistryError:
    """Why nothing can be asked."""
    names = ", ".join(sorted(finding.repositories))
    return Lost(f"no entry of the image list says where {names} comes from")
