"""Everything that is reachable in a registry's own files, and every pointer that leads nowhere.

From each tag and each revision of each repository to the children, configs and layers below it. No
network: it is a second opinion on what docker-distribution's own ``garbage-collect`` marks.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from _registry_oci_errors import DigestMismatch, NotFound, RegistryError, Unsupported
from _registry_oci_manifest import NESTING_LIMIT
from _registry_store_disk import DiskStore, Link

_NOT_SERVED = "the registry's user may not read it"


class Kind(enum.Enum):
    """What is wrong at the end of a pointer."""

    MISSING = "missing"
    # A link without text, or with one that is no digest or another.
    EMPTY = "empty"
    WRONG = "wrong"
    # A file that has fewer bytes than the manifest says.
    SHORT = "short"
    CORRUPT = "corrupt"
    # The server's user, or we, may not read it.
    UNREADABLE = "unreadable"


class What(enum.Enum):
    """What a pointer is, or points to."""

    BLOB = "blob"
    MANIFEST = "manifest"
    LAYER = "layer"
    REVISION = "revision"
    TAG = "tag"


class Broken(NamedTuple):
    """A file that is not there, or not as it should be.

    Args:
        path: of the file.
        what: a link of some kind, or the bytes of a blob or manifest.
        kind: what is wrong.
        digest: of what the file should hold, or point to; empty where only the link could have told.
        repository: which has it; empty = it is of all of them: bytes.
        tag: whose link it is; empty for all else.
        error: details, one sentence; empty where kind and path say it all.
        size: bytes that the manifests say; -1 = none says.
    """

    path: str
    what: What
    kind: Kind
    digest: str
    repository: str = ""
    tag: str = ""
    error: str = ""
    size: int = -1


class Edges(NamedTuple):
    """What a manifest names, by digest.

    Args:
        children: of an index.
        blobs: config and layers that the registry holds.
        subject: of an attachment; it need not be there, and is reached by its own revision alone.
        size: bytes of the manifest.
        media_type: of the manifest.
    """

    children: tuple[str, ...] = ()
    blobs: tuple[str, ...] = ()
    subject: str = ""
    size: int = 0
    media_type: str = ""


@dataclass(slots=True)
class Repository:
    """What one repository names.

    Args:
        tags: tag → digest; empty where its link is broken.
        revisions: digests of manifests.
        layers: digests of blobs that it links to; more than it needs.
    """

    tags: dict[str, str] = field(default_factory=dict)
    revisions: set[str] = field(default_factory=set)
    layers: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Mark:
    """What was reached.

    Args:
        repositories: by name.
        edges: of every manifest that was reached and could be read, by digest.
        sizes: of each blob and manifest that was reached the bytes that its parent says.
        broken: every pointer that leads nowhere, each once.
        unknown: manifests whose bytes are right and of a kind that cannot be read here → why; what they
            need is not known.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    edges: dict[str, Edges] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)

    @property
    def reached(self) -> set[str]:
        """Every digest that something names, whether its bytes are there or not."""
        return {*self.sizes, *self.edges, *self.unknown}

    @property
    def manifests(self) -> set[str]:
        """Every manifest that some repository serves by digest."""
        return {digest for found in self.repositories.values() for digest in found.revisions}

    def below(self, digest: str) -> Iterator[str]:
        """A manifest and everything below it, each once."""
        seen = {digest}
        waiting = [digest]
        while waiting:
            current = waiting.pop()
            yield current
            edges = self.edges.get(current, Edges())
            new = [name for name in (*edges.children, *edges.blobs) if name not in seen]
            seen.update(new)
            waiting += new


def mark(
    disk: DiskStore,
    repositories: Iterable[str] | None = None,
    check: Callable[[], None] = lambda: None,
) -> Mark:
    """Follow every pointer, parents before what they name, so that a push under way leads to nothing missing.

    Args:
        disk: the registry's files.
        repositories: those alone; None = all.
        check: is called for each repository and manifest; what it raises ends the walk.

    Raises:
        RegistryError: a directory cannot be read.
    """
    walk = _Walk(disk, check)
    for name in disk.repositories() if repositories is None else repositories:
        check()
        walk.repository(name)
    walk.tell_sizes()
    return walk.mark


class _Walk:
    def __init__(self, disk: DiskStore, check: Callable[[], None]) -> None:
        self.mark = Mark()
        self._disk = disk
        self._check = check
        # One string for each digest, however many manifests name it.
        self._names: dict[str, str] = {}
        self._seen_broken: set[tuple[str, str]] = set()
        self._on_disk: dict[str, int] = {}

    def repository(self, name: str) -> None:
        # Whatever a push makes visible, it has made what that needs visible before.
        tags = self._disk.tag_links(name)
        revisions = self._disk.revision_links(name)
        found = Repository()
        self.mark.repositories[name] = found
        for link in tags:
            found.tags[link.name] = self._tag(name, link)
        for link in revisions:
            digest = self._name(link.name)
            if self._is_sound(link, What.REVISION, name):
                found.revisions.add(digest)
        for link in self._disk.layer_links(name):
            if self._is_sound(link, What.LAYER, name):
                found.layers.add(self._name(link.name))
        done: set[str] = set()
        for digest in [*found.revisions, *(self._name(link.name) for link in revisions)]:
            self._manifest(name, digest, done, 0)
        for tag, digest in found.tags.items():
            if digest:
                self._demand_revision(name, digest, tag)
                self._manifest(name, digest, done, 0)

    def tell_sizes(self) -> None:
        """Tell how long broken manifests should be, where an index that was read later says so."""
        for position, end in enumerate(self.mark.broken):
            expected = self.mark.sizes.get(end.digest, -1)
            if end.what is What.MANIFEST and end.size != expected:
                is_short = end.kind is Kind.CORRUPT and self._size_on_disk(end.digest) < expected
                kind = Kind.SHORT if is_short else end.kind
                self.mark.broken[position] = end._replace(kind=kind, size=expected)

    def _tag(self, repository: str, link: Link) -> str:
        if link.digest:
            self._is_sound(link._replace(name=link.digest), What.TAG, repository, link.name)
            return self._name(link.digest)
        kind = Kind.UNREADABLE if link.error else Kind.EMPTY if link.mtime else Kind.MISSING
        self._report(Broken(link.path, What.TAG, kind, "", repository, link.name, link.error))
        return ""

    def _is_sound(self, link: Link, what: What, repository: str, tag: str = "") -> bool:
        kind = self._kind_of_link(link)
        if kind is None:
            return True
        error = link.error or (_NOT_SERVED if kind is Kind.UNREADABLE else "")
        self._report(Broken(link.path, what, kind, self._name(link.name), repository, tag, error))
        return False

    def _kind_of_link(self, link: Link) -> Kind | None:
        if link.digest == link.name:
            return None if self._disk.serves(link.path, link) else Kind.UNREADABLE
        if link.error:
            return Kind.UNREADABLE
        if not link.mtime:
            return Kind.MISSING
        return Kind.WRONG if link.digest else Kind.EMPTY

    def _demand_revision(self, repository: str, digest: str, tag: str = "") -> None:
        if digest not in self.mark.repositories[repository].revisions:
            link = self._disk.revision_link(repository, digest)
            if self._is_sound(link, What.REVISION, repository):
                self.mark.repositories[repository].revisions.add(digest)

    def _manifest(self, repository: str, digest: str, done: set[str], depth: int) -> None:
        """Follow what a manifest names, as this repository must have it."""
        if digest in done or depth > NESTING_LIMIT:
            return
        done.add(digest)
        self._check()
        edges = self._edges(digest)
        if edges is None:
            return
        layers = self.mark.repositories[repository].layers
        for blob in edges.blobs:
            if blob not in layers and self._is_sound(
                self._disk.layer_link(repository, blob), What.LAYER, repository
            ):
                layers.add(blob)
            self._demand_bytes(blob)
        for child in edges.children:
            self._demand_revision(repository, child)
            self._manifest(repository, child, done, depth + 1)

    def _edges(self, digest: str) -> Edges | None:
        known = self.mark.edges.get(digest)
        if known is not None:
            return known
        path = self._disk.blob_path(digest)
        self.mark.sizes.setdefault(digest, -1)
        if digest in self.mark.unknown or (path, "") in self._seen_broken:
            return None
        try:
            manifest = self._disk.manifest_by_digest(digest)
        except Unsupported as failure:
            self.mark.unknown[digest] = str(failure)
            return None
        except RegistryError as failure:
            size = self.mark.sizes[digest]
            kind = _kind_of(failure, self._size_on_disk(digest), size)
            error = str(failure) if kind is Kind.UNREADABLE else ""
            self._report(Broken(path, What.MANIFEST, kind, digest, error=error, size=size))
            return None
        for descriptor in (*manifest.children, *manifest.blobs):
            name = self._name(descriptor.digest)
            if self.mark.sizes.get(name, -1) < 0:
                self.mark.sizes[name] = descriptor.size
        self._demand_readable(digest, What.MANIFEST)
        edges = Edges(
            tuple(self._name(child.digest) for child in manifest.children),
            tuple(self._name(blob.digest) for blob in manifest.blobs),
            self._name(manifest.subject.digest) if manifest.subject else "",
            manifest.size,
            manifest.media_type,
        )
        self.mark.edges[digest] = edges
        return edges

    def _demand_bytes(self, digest: str) -> None:
        """See that a blob's file is there, with as many bytes as the manifest says."""
        if digest in self._on_disk:
            return
        size, expected = self._size_on_disk(digest), self.mark.sizes.get(digest, -1)
        if size == expected:
            self._demand_readable(digest, What.BLOB)
            return
        kind = Kind.MISSING if size < 0 else Kind.SHORT if size < expected else Kind.CORRUPT
        said = f"{size} of {expected} bytes" if size >= 0 else ""
        self._report(Broken(self._disk.blob_path(digest), What.BLOB, kind, digest, error=said, size=expected))

    def _demand_readable(self, digest: str, what: What) -> None:
        if self._disk.server_is_root:
            return
        file = self._disk.blob(digest)
        path = self._disk.blob_path(digest)
        if file and not self._disk.serves(path, file):
            self._report(Broken(path, what, Kind.UNREADABLE, digest, error=_NOT_SERVED, size=file.size))

    def _size_on_disk(self, digest: str) -> int:
        if digest not in self._on_disk:
            file = self._disk.blob(digest)
            self._on_disk[digest] = file.size if file else -1
        return self._on_disk[digest]

    def _report(self, broken: Broken) -> None:
        key = (broken.path, broken.repository)
        if key not in self._seen_broken:
            self._seen_broken.add(key)
            self.mark.broken.append(broken)

    def _name(self, digest: str) -> str:
        return self._names.setdefault(digest, digest)


def _kind_of(failure: RegistryError, size: int, expected: int) -> Kind:
    if isinstance(failure, NotFound):
        return Kind.MISSING
    if isinstance(failure, DigestMismatch):
        return Kind.SHORT if size == 0 or 0 <= size < expected else Kind.CORRUPT
    return Kind.UNREADABLE
