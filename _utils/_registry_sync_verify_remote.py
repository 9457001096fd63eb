"""A registry read through its API, to be verified: where its files are not this host's.

It takes longer, shows no loose ends, and a path is a URL. What a registry answers from its cache counts for
nothing: every blob is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import partial

from _registry_oci_errors import DigestMismatch, NotFound, RegistryError, Stopped, Unauthorized, Unsupported
from _registry_oci_manifest import NESTING_LIMIT, Descriptor, Manifest
from _registry_oci_names import hasher
from _registry_store_disk import BlobFile
from _registry_store_disk_mark import Broken, Edges, Kind, Mark, Repository, What
from _registry_sync_stores import Stores
from _registry_sync_verify_hash import Hashing


class RemoteReader:
    """Reads a registry as a client does.

    Args:
        stores: of which the target is read.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._where: dict[str, str] = {}

    def mark(self, repositories: Collection[str] | None = None) -> Mark:
        """Follow every pointer that the registry shows.

        Raises:
            RegistryError: it does not answer, or keeps no catalog.
        """
        names = sorted(self._stores.target.repositories() if repositories is None else repositories)
        found = Mark()
        for name in names:
            self._repository(name, found)
        found.broken = list(self._joined(found.broken))
        return found

    def files(self, found: Mark) -> Iterator[BlobFile]:
        """Every blob that some manifest names."""
        gone = {end.digest for end in found.broken}
        for digest, size in found.sizes.items():
            if digest in self._where and digest not in gone:
                yield BlobFile(digest, size, 0, 0, -1, -1, 0)

    def wrong(self, file: BlobFile, hashing: Hashing) -> Broken | None:
        """Read a blob from the registry and hash it.

        Raises:
            RegistryError: it does not answer.
        """
        repository = self._where[file.digest]
        blob = Descriptor(file.digest, file.size)
        digest, come = hasher(file.digest), 0
        with hashing.progress.carrying(repository, blob) as progress:
            try:
                for chunk in self._stores.target.read(repository, blob):
                    digest.update(chunk)
                    come += len(chunk)
                    hashing.run.check()
                    hashing.run.spend(len(chunk))
                    progress.received(len(chunk))
            except NotFound as failure:
                return self._broken(repository, What.BLOB, Kind.MISSING, file.digest, failure, file.size)
            except DigestMismatch as failure:
                return self._broken(repository, What.BLOB, Kind.SHORT, file.digest, failure, file.size)
            except RegistryError as failure:
                if come or not self._answers(repository, file.digest):
                    return self._broken(repository, What.BLOB, Kind.SHORT, file.digest, failure, file.size)
                raise
        if digest.hexdigest() == file.digest.partition(":")[2]:
            return None
        kind = Kind.CORRUPT if come == file.size else Kind.SHORT
        return self._broken(repository, What.BLOB, kind, file.digest, None, file.size)

    def again(self, broken: Broken, hashing: Hashing) -> Broken | None:
        """Read once more what was found wrong."""
        if broken.digest not in self._where:
            return None
        return self.wrong(BlobFile(broken.digest, broken.size, 0, 0, -1, -1, 0), hashing)

    def age(self, broken: Broken) -> float:
        """Nobody says when it was written."""
        return float("inf")

    def _joined(self, broken: Iterable[Broken]) -> Iterator[Broken]:
        """A blob that no repository gives is one thing, not one for each of them."""
        told = set()
        for end in broken:
            if end.what is not What.LAYER or end.digest in self._where:
                yield end
            elif end.digest not in told:
                told.add(end.digest)
                yield end._replace(what=What.BLOB, repository="")

    def _demand_alive(self, failure: RegistryError) -> None:
        """A registry that answers 500 to this and nothing to that has it broken; else it cannot be read.

        Raises:
            RegistryError: it does not answer, or hides what it has.
        """
        if isinstance(failure, (Unauthorized, Stopped)):
            raise failure
        self._stores.connect_target()

    def _answers(self, repository: str, digest: str) -> bool:
        """Whether the registry has bytes of a blob: it may break the line for want of them."""
        try:
            return self._stores.target.has(repository, digest)
        except RegistryError:
            return True

    def _repository(self, name: str, found: Mark) -> None:
        own = Repository()
        found.repositories[name] = own
        try:
            tags = self._stores.target.tags(name)
        except NotFound:
            return
        digests = self._stores.map_target(partial(self._resolved, name, found), tags)
        own.tags.update(zip(tags, digests, strict=True))
        level = {digest for digest in digests if digest}
        for _ in range(NESTING_LIMIT):
            new = sorted(level - own.revisions)
            self._stores.map_target(partial(self._manifest, name, found), new)
            own.revisions |= {digest for digest in new if digest in found.edges}
            level = {child for digest in new for child in found.edges.get(digest, Edges()).children}
        blobs = sorted({blob for digest in own.revisions for blob in found.edges[digest].blobs})
        self._stores.map_target(partial(self._blob, name, found), blobs)

    def _resolved(self, repository: str, found: Mark, tag: str) -> str:
        try:
            return self._stores.target.resolve(repository, tag).digest
        except (NotFound, Unsupported) as failure:
            kind = Kind.MISSING if isinstance(failure, NotFound) else Kind.WRONG
            path = self._url(repository, f"manifests/{tag}")
            found.broken.append(Broken(path, What.TAG, kind, "", repository, tag, str(failure)))
        except RegistryError as failure:
            self._demand_alive(failure)
            path = self._url(repository, f"manifests/{tag}")
            found.broken.append(Broken(path, What.TAG, Kind.UNREADABLE, "", repository, tag, str(failure)))
        return ""

    def _manifest(self, repository: str, found: Mark, digest: str) -> None:
        try:
            manifest = self._stores.target.manifest(repository, digest)
        except NotFound as failure:
            self._report(found, repository, What.REVISION, Kind.MISSING, digest, failure)
        except DigestMismatch as failure:
            self._report(found, repository, What.MANIFEST, Kind.CORRUPT, digest, failure)
        except Unsupported as failure:
            found.unknown[digest] = str(failure)
        except RegistryError as failure:
            self._demand_alive(failure)
            self._report(found, repository, What.MANIFEST, Kind.UNREADABLE, digest, failure)
        else:
            self._note(found, manifest)

    def _note(self, found: Mark, manifest: Manifest) -> None:
        for descriptor in (*manifest.children, *manifest.blobs):
            found.sizes[descriptor.digest] = descriptor.size
        found.sizes[manifest.digest] = manifest.size
        found.edges[manifest.digest] = Edges(
            tuple(child.digest for child in manifest.children),
            tuple(blob.digest for blob in manifest.blobs),
            manifest.subject.digest if manifest.subject else "",
            manifest.size,
            manifest.media_type,
        )

    def _blob(self, repository: str, found: Mark, digest: str) -> None:
        """Whether a repository gives at least a byte of a blob; one of them gives all of it later."""
        try:
            is_there = self._stores.target.has(repository, digest)
        except RegistryError as failure:
            self._demand_alive(failure)
            self._report(found, repository, What.LAYER, Kind.UNREADABLE, digest, failure)
            return
        if is_there:
            self._where.setdefault(digest, repository)
        else:
            self._report(found, repository, What.LAYER, Kind.MISSING, digest, None)

    def _report(
        self,
        found: Mark,
        repository: str,
        what: What,
        kind: Kind,
        digest: str,
        failure: RegistryError | None,
    ) -> None:
        found.broken.append(
            self._broken(repository, what, kind, digest, failure, found.sizes.get(digest, -1))
        )

    def _broken(
        self,
        repository: str,
        what: What,
        kind: Kind,
        digest: str,
        failure: RegistryError | None,
        size: int,
    ) -> Broken:
        part = "manifests" if what in (What.REVISION, What.MANIFEST) else "blobs"
        of_all = "" if what in (What.BLOB, What.MANIFEST) else repository
        path = self._url(repository, f"{part}/{digest}")
        return Broken(path, what, kind, digest, of_all, "", str(failure or ""), size)

    def _url(self, repository: str, rest: str) -> str:
        return f"{self._stores.target}: {repository}/{rest}"
