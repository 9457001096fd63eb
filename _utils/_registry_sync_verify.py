"""Look whether a registry is whole: every pointer followed, every byte hashed. Nothing changes.

A push makes visible last what needs the rest, and parents are read before what they name; so what a push
under way does cannot look broken for long. What does is looked at again, and what is young is left to the
next run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from _registry_oci_errors import RegistryError
from _registry_store_disk import BlobFile
from _registry_store_disk_mark import Broken, Mark, Repository, What
from _registry_sync_verify_hash import Hashing, Outcome, hash_all
from _registry_sync_verify_memory import Hashed

# A manifest and a link are written in place, within milliseconds; a slow disk and a clock may add some.
YOUNG_SECONDS = 60.0
LOOKS = 3
PAUSE_SECONDS = 0.3
REPAIRED, LOST = "repaired", "lost"
UNSETTLED = "it seemed broken, and the run ended before it could be looked at again"


@dataclass(slots=True)
class Finding:
    """Something that is broken.

    Args:
        broken: what and where.
        status: of ``Kind``, then ``repaired`` or ``lost``.
        images: ``repository:tag``, or ``repository@digest`` without a tag, that it breaks.
        repositories: theirs.
        cause: why it could not be repaired, one word.
        error: details, one sentence.
        moved: bytes that came from upstream for it.
        tried: a repair of it was tried.
    """

    broken: Broken
    status: str
    images: list[str] = field(default_factory=list)
    repositories: set[str] = field(default_factory=set)
    cause: str = ""
    error: str = ""
    moved: int = 0
    tried: bool = False

    @property
    def is_of_bytes(self) -> bool:
        """Whether it is the bytes of a blob or manifest, else a link."""
        return self.broken.what in (What.BLOB, What.MANIFEST)


class Reader(Protocol):
    """How a registry is read: its own files, or its API."""

    def mark(self, repositories: Collection[str] | None = None) -> Mark:
        """Follow every pointer, of these repositories or of all."""
        ...

    def files(self, found: Mark) -> Iterator[BlobFile]:
        """What there is to hash."""
        ...

    def wrong(self, file: BlobFile, hashing: Hashing) -> Broken | None:
        """Hash one file; what is wrong with it.

        Raises:
            RegistryError: we cannot read it, which does not say that it is broken.
        """
        ...

    def again(self, broken: Broken, hashing: Hashing) -> Broken | None:
        """Look once more at bytes that were found wrong."""
        ...

    def age(self, broken: Broken) -> float:
        """Seconds since somebody wrote what is broken; without end where that cannot be told."""
        ...


@dataclass(slots=True)
class Verified:
    """How a registry stands.

    Args:
        mark: what is reachable.
        files: digest → bytes of every file of a blob or manifest.
        findings: what is broken.
        unread: path or digest → why we could not read it.
        young: paths that are wrong and so young that somebody may be writing them.
        outcome: of the hashing.
    """

    mark: Mark
    files: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    young: list[str] = field(default_factory=list)
    outcome: Outcome = field(default_factory=Outcome)


def look(reader: Reader, hashing: Hashing, memory: Hashed, *, fast: bool = False) -> Verified:
    """Read a registry.

    Args:
        reader: how.
        hashing: how fast, what ends it, and who is told.
        memory: what earlier runs have hashed, and this one does.
        fast: pointers and sizes alone; of manifests, which are read for that, the bytes too.

    Raises:
        RegistryError: it cannot be read at all.
    """
    verified = Verified(reader.mark())
    verified.unread.update(verified.mark.unknown)
    broken = list(verified.mark.broken)
    judged = {end.digest for end in broken if end.what in (What.BLOB, What.MANIFEST)}
    due = []
    for file in reader.files(verified.mark):
        verified.files[file.digest] = file.size
        is_read = file.digest in verified.mark.edges or file.digest in judged
        if not (fast or is_read or memory.is_fresh(file)):
            due.append(file)
    verified.outcome = hash_all(reader.wrong, due, hashing, memory)
    verified.unread.update(verified.outcome.unread)
    broken += verified.outcome.broken
    verified.findings = [Finding(end, end.kind.value) for end in broken]
    name_images(verified)
    _settle(verified, reader, hashing)
    if not fast:
        memory.forget([finding.broken.digest for finding in verified.findings])
        memory.keep_only(verified.files.keys())
        memory.save()
    return verified


def _settle(verified: Verified, reader: Reader, hashing: Hashing) -> None:
    """Look again at what seems broken, until it is not, or is not young any more."""
    try:
        for _ in range(LOOKS):
            if not verified.findings:
                return
            hashing.run.sleep(PAUSE_SECONDS)
            verified.findings = _still_broken(verified, reader, hashing)
            name_images(verified)
            if not any(_is_young(finding, reader) for finding in verified.findings):
                return
    except RegistryError:
        if not hashing.is_over():
            raise
        # What was looked at once may have been under way.
        verified.unread.update({finding.broken.path: UNSETTLED for finding in verified.findings})
        verified.findings = []
    verified.young = [finding.broken.path for finding in verified.findings if _is_young(finding, reader)]
    verified.findings = [finding for finding in verified.findings if not _is_young(finding, reader)]


def _is_young(finding: Finding, reader: Reader) -> bool:
    return reader.age(finding.broken) < YOUNG_SECONDS


def look_again(verified: Verified, reader: Reader) -> dict[tuple[str, str], Broken]:
    """Follow the pointers once more of every repository that something is broken in.

    Returns:
        What is broken now, by path and repository.
    """
    repositories = {name for finding in verified.findings for name in finding.repositories}
    again = reader.mark(sorted(repositories))
    verified.mark.repositories.update(again.repositories)
    verified.mark.edges.update(again.edges)
    verified.mark.sizes.update(again.sizes)
    return {(end.path, end.repository): end for end in again.broken}


def _still_broken(verified: Verified, reader: Reader, hashing: Hashing) -> list[Finding]:
    now = look_again(verified, reader)
    left = []
    for finding in verified.findings:
        end = now.get((finding.broken.path, finding.broken.repository))
        if end is None and finding.is_of_bytes:
            end = _wrong_again(finding.broken, verified, reader, hashing)
        if end:
            left.append(Finding(end, end.kind.value))
    return left


def _wrong_again(end: Broken, verified: Verified, reader: Reader, hashing: Hashing) -> Broken | None:
    try:
        return reader.again(end, hashing)
    except RegistryError as failure:
        verified.unread[end.path] = str(failure)
        return None


def name_images(verified: Verified) -> None:
    """Fill in which images each finding breaks."""
    of_bytes: dict[str, list[Finding]] = {}
    of_links: dict[str, dict[str, list[Finding]]] = {}
    for finding in verified.findings:
        finding.images, finding.repositories = [], set()
        end = finding.broken
        if finding.is_of_bytes:
            of_bytes.setdefault(end.digest, []).append(finding)
        elif end.what is not What.TAG:
            of_links.setdefault(end.repository, {}).setdefault(end.digest, []).append(finding)
    for repository, found in verified.mark.repositories.items():
        links = of_links.get(repository, {})
        unlinked = {digest for digest, them in links.items() if them[0].broken.what is What.REVISION}
        roots = _roots(verified.mark, repository, found, unlinked) if of_bytes or links else ()
        for name, root in roots:
            for digest in verified.mark.below(root):
                for finding in (*of_bytes.get(digest, ()), *links.get(digest, ())):
                    _name(finding, repository, name)
    for finding in verified.findings:
        _name_by_link(finding)


def _name_by_link(finding: Finding) -> None:
    """Name what no tag leads to, since it is the link itself that is broken."""
    end = finding.broken
    if end.repository:
        finding.repositories.add(end.repository)
    if end.what is What.TAG:
        _name(finding, end.repository, f"{end.repository}:{end.tag}")
    elif end.what is What.REVISION and not finding.images:
        _name(finding, end.repository, f"{end.repository}@{end.digest}")


def _name(finding: Finding, repository: str, image: str) -> None:
    finding.repositories.add(repository)
    finding.images.append(image)


def _roots(
    mark: Mark, repository: str, found: Repository, unlinked: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Every tag, and every manifest that no tag and no other manifest leads to, also by a broken link."""
    reached: set[str] = set()
    for tag, digest in found.tags.items():
        if digest:
            reached.update(mark.below(digest))
            yield f"{repository}:{tag}", digest
    for digest in untagged(mark, found.revisions.union(unlinked), reached):
        yield f"{repository}@{digest}", digest


def untagged(mark: Mark, revisions: Collection[str], reached: Collection[str]) -> list[str]:
    """Manifests of a repository that no tag leads to, but for those that others of them need."""
    alone = [digest for digest in revisions if digest not in reached]
    children = {child for digest in alone for child in mark.below(digest) if child != digest}
    return sorted(digest for digest in alone if digest not in children)
