"""A store on a disk: an OCI image layout that holds several repositories.

A layout has blobs and one ``index.json``, but no repositories. Here they are in the reference names of the
index: ``repository:tag``, which is what skopeo takes in ``oci:DIRECTORY:repository:tag``, and
``repository@sha256:…`` for what was put by its digest alone. As in a registry, what was put by its digest
stays until it is deleted by its digest, also when an index names it.

Layouts of others are read, too:

- a bare tag (``1.0``) and a manifest without a name belong to the repository that the store is told;
- ``docker.io/library/busybox:1.0`` belongs to the repository ``docker.io/library/busybox``;
- docker and containerd give the whole name in an annotation of their own beside a bare tag.

A manifest keeps its bytes and media type. skopeo 1.9 finds only OCI manifests and indexes by their name in
a layout, not Docker's.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md
https://github.com/opencontainers/image-spec/blob/main/annotations.md#pre-defined-annotation-keys
https://github.com/containers/image/blob/main/docs/containers-transports.5.md#ocipathreference
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from _registry_oci_errors import BlobUnknown, DigestMismatch, NotFound, RegistryError, Unsupported
from _registry_oci_manifest import (
    MANIFEST_LIMIT,
    NESTING_LIMIT,
    Descriptor,
    Manifest,
    ManifestError,
    read_manifest,
)
from _registry_oci_names import is_digest, is_tag, matches
from _registry_store_layout_files import NO_FILE, LayoutFiles, Stamp
from _registry_store_layout_index import Edges, Entry, LayoutIndex, edges_of, reference_name
from _registry_store_protocol import Written


class LayoutStore:
    """The store of an OCI image layout.

    Args:
        directory: the layout; it is made when something is written.
        side: which side it is, ``upstream`` or ``local``.
        repository: to which bare tags and manifests without a name belong.

    Raises:
        RegistryError: from every method, where the directory is something else than a layout.
    """

    def __init__(self, directory: str, *, side: str, repository: str = "") -> None:
        self.side = side
        self._name = f"{side} layout {directory}"
        self._repository = repository
        self._files = LayoutFiles(directory, name=self._name, side=side)
        self._known: tuple[Stamp, LayoutIndex] = (NO_FILE, LayoutIndex())
        self._edges: dict[str, Edges] = {}
        self._waiting: dict[object, tuple[str, str, Entry]] = {}

    def __str__(self) -> str:
        return self._name

    def repositories(self) -> Iterator[str]:
        """Every repository that has something; the one of bare tags may be the empty string."""
        yield from sorted(self._index().places)

    def tags(self, repository: str, *, pages: int = 0) -> list[str]:
        """Every tag of a repository, sorted.

        Args:
            repository: its name.
            pages: of no matter: a layout has one index.

        Raises:
            NotFound: there is no such repository.
        """
        there = self._index().places.get(repository)
        if there is None:
            raise NotFound(f"{self} has no repository {repository!r}", side=self.side)
        return sorted(filter(is_tag, there))

    def resolve(self, repository: str, reference: str) -> Descriptor:
        """What a tag or digest points to; a digest only if the repository leads to it.

        Raises:
            NotFound: it is not there.
        """
        entry = self._index().entry(repository, reference)
        if entry is None:
            found = (one for one in self._reachable(repository) if one.digest == reference)
            descriptor = next(found, None)
        elif entry.descriptor is None:
            name = reference_name(repository, reference)
            raise Unsupported(f"{self}: {name} has no valid digest and size in index.json", side=self.side)
        else:
            descriptor = entry.descriptor
        if descriptor is None or not self.has(repository, descriptor.digest):
            raise NotFound(f"{self} has no {reference_name(repository, reference)}", side=self.side)
        return descriptor

    def resolve_many(self, names: Sequence[tuple[str, str]]) -> list[Descriptor | None]:
        """What tags stand for; None where there is none."""

        def descriptor(name: tuple[str, str]) -> Descriptor | None:
            try:
                return self.resolve(*name)
            except RegistryError:
                return None

        return [descriptor(name) for name in names]

    def manifest(self, repository: str, reference: str) -> Manifest:
        """A manifest, byte for byte, hashed before it is parsed.

        Raises:
            NotFound: it is not there.
            DigestMismatch: the bytes are others than named.
            Unsupported: it is of a kind that cannot be mirrored.
        """
        descriptor = self.resolve(repository, reference)
        what = f"{self}: {reference_name(repository, reference)}"
        body = self._small_blob(descriptor, what)
        try:
            return read_manifest(body, descriptor.media_type)
        except ManifestError as failure:
            raise Unsupported(f"{what}: {failure}", side=self.side) from None

    def has(self, repository: str, digest: str) -> bool:
        """Whether a blob is there; all repositories share them."""
        return self._files.blob_size(digest) is not None

    def read(self, repository: str, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """A blob's bytes from an offset on; of a longer one those that its descriptor tells of.

        Raises:
            NotFound: there is no such blob.
            DigestMismatch: it is longer or shorter than its descriptor says.
        """
        there = offset
        for chunk in self._files.blob_chunks(blob.digest, offset, blob.size):
            there += len(chunk)
            yield chunk
        size = self._files.blob_size(blob.digest)
        if there != blob.size or size != blob.size:
            raise DigestMismatch(
                f"{self}: blob {blob.digest} has {size} bytes instead of {blob.size}", side=self.side
            )

    def write(
        self, repository: str, blob: Descriptor, chunks: Iterable[bytes], *, mount_from: str = ""
    ) -> Written:
        """Put a blob into the layout; it is hashed by whoever copies.

        Args:
            repository: of no matter: all share their blobs.
            blob: digest and size in bytes; a blob of another size under this digest is replaced.
            chunks: its bytes.
            mount_from: of no matter.

        Raises:
            DigestMismatch: the chunks have more or fewer bytes than ``blob.size``.
            NoSpace: the disk is full.
        """
        if self._files.blob_size(blob.digest) == blob.size:
            return Written.EXISTED
        self._files.write_blob(blob, chunks)
        return Written.COPIED

    def put(self, repository: str, reference: str, manifest: Manifest) -> None:
        """Store a manifest under a tag or its digest.

        Raises:
            BlobUnknown: a blob or child that it needs is not there.
            DigestMismatch: the reference is another manifest's digest.
            Unsupported: no layout can hold this name.
        """
        digest = reference if is_digest(reference) else manifest.digest
        if not matches(manifest.body, digest):
            name = reference_name(repository, reference)
            raise DigestMismatch(f"{self}: {name} cannot be {manifest.digest}", side=self.side)
        blob = Descriptor(digest, len(manifest.body), manifest.media_type)
        entry = self._new_entry(repository, reference, blob)
        self._require_content(repository, reference, manifest)
        # Also where it is: nobody has looked whether what is there is whole.
        self._files.write_blob(blob, [manifest.body])
        self._enter(repository, reference, entry)

    def delete(self, repository: str, reference: str) -> None:
        """Forget a tag, or a manifest by its digest with all tags of the repository that point to it.

        Blobs stay, and so does what an index of the repository names.

        Raises:
            NotFound: it is not there.
        """
        with self._files.locked():
            index = self._index()
            fewer = index.without(repository, reference)
            if fewer == index:
                raise NotFound(f"{self} has no {reference_name(repository, reference)}", side=self.side)
            self._replace_index(fewer)

    def lists_referrers(self, repository: str, digest: str) -> bool:
        """A layout is looked through whole, and so knows."""
        return True

    def referrers(self, repository: str, digest: str) -> list[Descriptor]:
        """Manifests of the repository, and those that its indexes name, whose ``subject`` is a manifest."""
        try:
            there = list(self._reachable(repository))
        except NotFound:
            return []
        return [descriptor for descriptor in there if self._edges_of(descriptor).subject == digest]

    def _index(self) -> LayoutIndex:
        """The index as it is on the disk, read again only when it was replaced."""
        stamp = self._files.index_stamp()
        known_stamp, known = self._known
        if stamp == known_stamp and stamp != NO_FILE:
            return known
        try:
            index = LayoutIndex.of(self._files.read_index(), self._repository)
        except ValueError as failure:
            raise RegistryError(f"{self}: index.json is no index: {failure}", side=self.side) from None
        self._known = (stamp, index)
        return index

    def _enter(self, repository: str, reference: str, entry: Entry) -> None:
        """Write an entry, and with it those of all that wait meanwhile: each time costs the whole index."""
        key = object()
        self._waiting[key] = (repository, reference, entry)
        try:
            with self._files.locked():
                if key not in self._waiting:
                    return
                batch = dict(self._waiting)
                index = self._index()
                for one in batch.values():
                    index = index.with_entry(*one)
                self._replace_index(index)
                for written in batch:
                    del self._waiting[written]
        finally:
            # After a failure the others try for themselves.
            self._waiting.pop(key, None)

    def _replace_index(self, index: LayoutIndex) -> None:
        self._files.write_index(index.serialized())
        self._known = (self._files.index_stamp(), index)

    def _new_entry(self, repository: str, reference: str, manifest: Descriptor) -> Entry:
        entry = Entry.named(repository, reference, manifest)
        is_known_kind = is_digest(reference) or is_tag(reference)
        if not is_known_kind or entry.place(self._repository) != (repository, reference):
            name = reference_name(repository, reference)[:400]
            raise Unsupported(f"{self} cannot hold the name {name!r}", side=self.side)
        return entry

    def _require_content(self, repository: str, reference: str, manifest: Manifest) -> None:
        """Refuse what a registry would refuse: a manifest of something that is not there."""
        missing = [f"blob {blob.digest}" for blob in manifest.blobs if not self._has_whole(blob)]
        missing += [f"manifest {one.digest}" for one in manifest.children if not self.has("", one.digest)]
        if missing:
            what = reference_name(repository, reference)
            raise BlobUnknown(f"{self} does not have {missing[0]}, which {what} needs", side=self.side)

    def _has_whole(self, blob: Descriptor) -> bool:
        return self._files.blob_size(blob.digest) == blob.size

    def _small_blob(self, descriptor: Descriptor, what: str) -> bytes:
        """The bytes of a manifest, verified."""
        chunks = self._files.blob_chunks(descriptor.digest, 0, MANIFEST_LIMIT + 1)
        body = b"".join(chunks)
        if len(body) > MANIFEST_LIMIT:
            raise Unsupported(f"{what} has more than {MANIFEST_LIMIT} bytes", side=self.side)
        if not matches(body, descriptor.digest):
            raise DigestMismatch(f"{what} is not what its digest {descriptor.digest} says", side=self.side)
        return body

    def _reachable(self, repository: str) -> Iterator[Descriptor]:
        """Every manifest that a repository leads to, each once, and the nearest first."""
        level = self._index().roots(repository)
        seen: set[str] = set()
        for _ in range(NESTING_LIMIT + 1):
            fresh = [descriptor for descriptor in level if descriptor.digest not in seen]
            level = []
            for descriptor in fresh:
                if descriptor.digest not in seen:
                    seen.add(descriptor.digest)
                    yield descriptor
                    level += self._edges_of(descriptor).children

    def _edges_of(self, descriptor: Descriptor) -> Edges:
        """What a manifest points to; a missing or broken one leads nowhere, and says so when it is read."""
        known = self._edges.get(descriptor.digest)
        if known is None:
            try:
                body = self._small_blob(descriptor, descriptor.digest)
            except RegistryError:
                return Edges()
            known = self._edges[descriptor.digest] = edges_of(body)
        return known
