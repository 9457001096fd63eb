"""Repair what ``look`` has found: only bad blobs cross the line, and nothing is believed but bytes read back.

A server answers from its cache what its disk has lost, takes a manifest that it believes to have without
writing it, and never overwrites a file. So a bad file is renamed aside, right before the last of the right
bytes are sent, and these go as a blob, also a manifest's. Links are made anew by the server, too. Parents
come after what they need.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

from _registry_config_values import Settings
from _registry_oci_errors import UPSTREAM, DigestMismatch, NotFound, RegistryError, Stopped
from _registry_oci_manifest import NESTING_LIMIT, Descriptor, Manifest
from _registry_oci_names import hasher
from _registry_show_progress import Progress
from _registry_store_disk import DiskStore
from _registry_store_disk_mark import Broken, Kind, What
from _registry_store_protocol import Store, Written
from _registry_store_remote import REMEMBERS
from _registry_sync_blobs import BlobCopier, Source
from _registry_sync_jobs import in_parallel
from _registry_sync_quarantine import Quarantine
from _registry_sync_repair_source import Lost, Upstreams, nobody
from _registry_sync_spool import Spool
from _registry_sync_stores import Stores
from _registry_sync_verify import LOST, REPAIRED, Finding, Reader, Verified, look_again, name_images

log = logging.getLogger(__name__)

WORKERS = 4
SPOOLED_SIZE = 64 * 1024 * 1024
_READABLE = 0o644
# One more than manifests nest: what was broken in a repaired one shows then.
ROUNDS = NESTING_LIMIT + 3
_ORDER = (What.MANIFEST, What.BLOB, What.LAYER, What.REVISION, What.TAG)


def repair(
    verified: Verified,
    reader: Reader,
    settings: Settings,
    stores: Stores,
    disk: DiskStore | None,
    progress: Progress,
    *,
    directory: str = "",
) -> None:
    """Repair every finding that can be; each gets its final status, and one that fails stops no other.

    Args:
        verified: of ``look``.
        reader: the same; what a damaged manifest needs is seen once that is repaired.
        settings: which upstream each repository comes from.
        stores: both sides.
        disk: the registry's files; None = they are not on this host, and what is there stays.
        progress: is told what moves.
        directory: for large blobs under way; empty = none.
    """
    if not verified.findings:
        return
    stores.connect([image.source for image in settings.images])
    bench = _Bench(verified, settings, stores, disk, progress, directory)
    size = sum(max(0, finding.broken.size) for finding in verified.findings if finding.is_of_bytes)
    progress.start(0, len(verified.findings), size)
    try:
        for _ in range(ROUNDS):
            group = _next(verified)
            if not group:
                break
            bench.mend_all(group)
            _add_what_shows(verified, reader)
    except Stopped:
        pass
    finally:
        stores.close()
        progress.finish()
    if disk:
        bench.tidy()


def _next(verified: Verified) -> list[Finding]:
    """Manifests before all else: until they are right, nobody knows what else is needed."""
    untried = [finding for finding in verified.findings if not finding.tried]
    return [finding for finding in untried if finding.broken.what is What.MANIFEST] or untried


def _add_what_shows(verified: Verified, reader: Reader) -> None:
    known = {(finding.broken.path, finding.broken.repository) for finding in verified.findings}
    for key, end in look_again(verified, reader).items():
        if key not in known:
            verified.findings.append(Finding(end, end.kind.value))
    for finding in verified.findings:
        # A manifest that was read just now says how long a blob is that was found wrong before.
        size = verified.mark.sizes.get(finding.broken.digest, -1)
        if finding.broken.what is What.BLOB and size >= 0:
            finding.broken = finding.broken._replace(size=size)
    name_images(verified)


class _Bench:
    """Where findings are repaired, one by one."""

    def __init__(
        self,
        verified: Verified,
        settings: Settings,
        stores: Stores,
        disk: DiskStore | None,
        progress: Progress,
        directory: str,
    ) -> None:
        self._verified = verified
        self._mark = verified.mark
        self._upstreams = Upstreams(settings.images, stores)
        self._stores = stores
        self._disk = disk
        self._target = stores.target
        self._quarantine = Quarantine(disk) if disk else None
        self._replacing = _Replacing(stores.target, self._set_aside)
        spool = Spool(directory, stores.run.transfer.spool)
        self._copier, self._linker = (
            BlobCopier(
                store,
                run=stores.run,
                health_of=self._health_of,
                tracker=progress.carrying,
                spool=spool,
                spool_from=SPOOLED_SIZE,
            )
            for store in (cast(Store, self._replacing), stores.target)
        )
        self._menders: dict[What, Callable[[Finding], None]] = {
            What.BLOB: self._mend_bytes,
            What.MANIFEST: self._mend_bytes,
            What.LAYER: self._mend_layer,
            What.REVISION: self._mend_revision,
            What.TAG: self._mend_tag,
        }

    def mend_all(self, findings: Sequence[Finding]) -> None:
        """Repair some: blobs, then the links to them, then manifests' and tags'."""
        for what in _ORDER:
            group = [finding for finding in findings if finding.broken.what is what]
            group.sort(key=lambda finding: self._height(finding.broken.digest))
            workers = WORKERS if what in (What.BLOB, What.LAYER) else 1
            in_parallel(self.mend, group, workers, self._stores.run.stopping)

    def mend(self, finding: Finding) -> None:
        """Repair one, and say how that ended."""
        finding.tried = True
        try:
            self._stores.run.check()
            self._menders[finding.broken.what](finding)
        except Stopped:
            return
        except RegistryError as failure:
            finding.cause, finding.error = failure.cause, str(failure)
            if isinstance(failure, Lost) or (
                failure.side == UPSTREAM and isinstance(failure, (NotFound, DigestMismatch))
            ):
                finding.status = LOST
        else:
            finding.status = REPAIRED
        was, path = finding.broken.kind.value, finding.broken.path
        log.info("%s was %s: %s", path, was, finding.error or finding.status)

    def _height(self, digest: str) -> int:
        """How many levels of manifests lie below one."""
        edges = self._mark.edges.get(digest)
        return 1 + max(map(self._height, edges.children), default=0) if edges else 0

    def tidy(self) -> None:
        """Remove what was set aside long ago."""
        if self._quarantine:
            self._quarantine.tidy()

    # Bytes

    def _mend_bytes(self, finding: Finding) -> None:
        end = finding.broken
        if end.kind is Kind.UNREADABLE and self._give_to_server(end.path) and self._is_right(end):
            return
        if not finding.repositories:
            self._set_aside_needless(end)
            return
        repositories = sorted(finding.repositories, key=lambda name: (not self._upstreams.fills(name), name))
        if self._quarantine and end.kind is Kind.MISSING and self._quarantine.restore(end.digest):
            self._read_back(repositories[0], end, finding)
            return
        try:
            if end.what is What.MANIFEST:
                manifest = self._upstreams.manifest(finding)
                self._write_as_blob(repositories[0], manifest)
            else:
                self._copy(finding, repositories)
            self._read_back(repositories[0], end, finding)
        except BaseException:
            if self._quarantine:
                self._quarantine.put_back(end.digest)
            raise

    def _set_aside_needless(self, end: Broken) -> None:
        """Set aside what nobody needs, since a push of the same digest would take it for good."""
        unknown = [
            other.broken.path
            for other in self._verified.findings
            if other.broken.what is What.MANIFEST and other.status != REPAIRED
        ]
        if unknown or self._verified.unread:
            what = [*unknown, *self._verified.unread][0]
            raise RegistryError(f"who needs {end.digest} is not known, since {what} cannot be read")
        self._set_aside(end.digest)

    def _copy(self, finding: Finding, repositories: list[str]) -> None:
        end = finding.broken
        sources = list(
            dict.fromkeys(source for name in repositories for source in self._upstreams.sources(name))
        )
        if not sources:
            raise nobody(finding)
        blob = Descriptor(end.digest, end.size)
        finding.moved = self._copier.copy(repositories[0], blob, sources).size

    def _write_as_blob(self, repository: str, manifest: Manifest) -> None:
        self._replacing.write(repository, Descriptor(manifest.digest, manifest.size), [manifest.body])

    def _read_back(self, repository: str, end: Broken, finding: Finding) -> None:
        """Read what the registry gives now.

        Raises:
            DigestMismatch: it still gives other bytes.
        """
        size = self._mark.sizes.get(end.digest, end.size)
        if end.what is What.MANIFEST:
            size = self._size_here(end.digest, finding)
        if self._gives(repository, Descriptor(end.digest, size)):
            return
        said = f"{self._target}: keeps the bytes of {end.digest} that it has"
        if self._disk is None:
            said += "; its own host can replace them"
        elif self._is_right(end):
            said = f"{self._target} {REMEMBERS} of {end.digest}"
        raise DigestMismatch(said, side=self._target.side)

    def _gives(self, repository: str, blob: Descriptor) -> bool:
        """Whether the registry gives the right bytes."""
        digest = hasher(blob.digest)
        with contextlib.suppress(DigestMismatch):
            for chunk in self._target.read(repository, blob):
                digest.update(chunk)
        return digest.hexdigest() == blob.digest.partition(":")[2]

    def _size_here(self, digest: str, finding: Finding) -> int:
        file = self._disk.blob(digest) if self._disk else None
        return file.size if file else finding.moved

    def _is_right(self, end: Broken) -> bool:
        assert self._disk is not None
        digest = hasher(end.digest)
        with contextlib.suppress(RegistryError):
            for block in self._disk.read("", Descriptor(end.digest, 0)):
                digest.update(block)
            return digest.hexdigest() == end.digest.partition(":")[2]
        return False

    def _give_to_server(self, path: str) -> bool:
        """Make a file the server's own, as the one who wrote it left it to somebody else."""
        if self._disk is None:
            return False
        try:
            os.chown(path, *self._disk.server)
            os.chmod(path, _READABLE)  # noqa: PTH101 - a string, as it is everywhere here
        except OSError as failure:
            raise RegistryError(f"{path}: {failure.strerror}", side=self._target.side) from None
        return True

    def _set_aside(self, digest: str) -> None:
        if self._quarantine:
            self._quarantine.set_aside(digest)

    # Links

    def _mend_layer(self, finding: Finding) -> None:
        """Have the server link a blob again whose bytes are here."""
        end = finding.broken
        if end.kind is Kind.UNREADABLE and self._give_to_server(end.path):
            return
        holders = [
            name
            for name, found in self._mark.repositories.items()
            if end.digest in found.layers and name != end.repository
        ]
        blob = Descriptor(end.digest, self._mark.sizes.get(end.digest, -1))
        here = [Source(cast(Store, self._disk), end.repository)] if self._disk else []
        sources = [*here, *self._upstreams.sources(end.repository)]
        mount_from = holders[0] if holders else ""
        copied = self._linker.copy(end.repository, blob, sources, mount_from)
        finding.moved = copied.size if not here else 0
        if not self._target.has(end.repository, end.digest):
            raise DigestMismatch(f"{self._target}: has no {end.digest} after all", side=self._target.side)

    def _mend_revision(self, finding: Finding) -> None:
        end = finding.broken
        if end.kind is Kind.UNREADABLE and self._give_to_server(end.path):
            return
        manifest = self._here(end.digest) or self._upstreams.manifest(finding)
        if self._disk is None:
            # What its cache believes to be there would not be written.
            self._write_as_blob(end.repository, manifest)
        self._target.put(end.repository, end.digest, manifest)
        self._target.manifest(end.repository, end.digest)

    def _mend_tag(self, finding: Finding) -> None:
        end = finding.broken
        if end.kind is Kind.UNREADABLE and self._give_to_server(end.path):
            return
        manifest = self._last_of(end) or self._upstreams.wanted(end, self._here)
        self._target.put(end.repository, end.tag, manifest)
        finding.broken = end._replace(digest=manifest.digest)
        if self._target.manifest(end.repository, end.tag).digest != manifest.digest:
            raise DigestMismatch(f"{self._target}: has not taken {end.tag}", side=self._target.side)

    def _last_of(self, end: Broken) -> Manifest | None:
        """What the tag was last, as the server's own history of it says."""
        for link in self._disk.tag_history(end.repository, end.tag) if self._disk else ():
            manifest = self._here(link.name)
            if manifest:
                return manifest
        return None

    # Where from

    def _here(self, digest: str) -> Manifest | None:
        """A manifest whose bytes are right on this host's disk."""
        try:
            return self._disk.manifest_by_digest(digest) if self._disk else None
        except RegistryError:
            return None

    def _health_of(self, store: Store) -> Any:
        return self._stores.health_of(self._target if store is cast(Any, self._replacing) else store)


class _Replacing:
    """The target, but that a bad file makes room when the right bytes have come and proved right.

    Args:
        target: the registry.
        set_aside: renames a file.
    """

    def __init__(self, target: Store, set_aside: Callable[[str], None]) -> None:
        self._target = target
        self._set_aside = set_aside

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def __str__(self) -> str:
        return str(self._target)

    def write(
        self, repository: str, blob: Descriptor, chunks: Iterable[bytes], *, mount_from: str = ""
    ) -> Written:
        """Put a blob into a repository, whatever lies in its place."""
        return self._target.write(repository, blob, self._making_room(blob, chunks), mount_from=mount_from)

    def _making_room(self, blob: Descriptor, chunks: Iterable[bytes]) -> Iterator[bytes]:
        last = b""
        for chunk in chunks:
            if last:
                yield last
            last = chunk
        self._set_aside(blob.digest)
        if last:
            yield last
