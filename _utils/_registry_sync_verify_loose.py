"""What lies in a registry and belongs to no image: counted, never called broken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from _registry_store_disk import DiskStore
from _registry_store_disk_mark import Kind, Mark, What
from _registry_sync_verify import Finding, Verified, untagged

LOOSE = (
    "untagged",
    "unreferenced",
    "dangling_tags",
    "empty_links",
    "empty_repositories",
    "old_uploads",
    "young",
)
# docker-distribution purges them after a week.
OLD_UPLOAD_SECONDS = 24 * 3600.0

Loose = dict[str, dict[str, int]]
"""Of each kind how many there are (``count``) and their bytes (``bytes``)."""


def count_loose(
    verified: Verified, disk: DiskStore | None, *, clock: Callable[[], float] = time.time
) -> Loose:
    """Count loose ends, and take those out of the findings that no image needs.

    Args:
        verified: of ``look``.
        disk: the registry's files; None = it was read through its API, which shows few of them.
        clock: seconds since 1970.
    """
    loose: Loose = {name: {"count": 0, "bytes": 0} for name in LOOSE}
    needless = [finding for finding in verified.findings if _is_needless(finding)]
    verified.findings = [finding for finding in verified.findings if finding not in needless]
    _add(loose, "empty_links", (0 for _ in needless))
    _add(loose, "young", (0 for _ in verified.young))
    _add(loose, "dangling_tags", (0 for _ in _dangling(verified)))
    _count_untagged(loose, verified)
    reached = verified.mark.reached
    _add(loose, "unreferenced", (size for name, size in verified.files.items() if name not in reached))
    if disk:
        for name, found in verified.mark.repositories.items():
            uploads = disk.uploads(name)
            if not (found.tags or found.revisions or uploads):
                _add(loose, "empty_repositories", [0])
            old = [upload for upload in uploads if clock() - upload.mtime > OLD_UPLOAD_SECONDS]
            _add(loose, "old_uploads", (upload.size for upload in old))
    return loose


def _add(loose: Loose, name: str, sizes: Iterable[int]) -> None:
    for size in sizes:
        loose[name]["count"] += 1
        loose[name]["bytes"] += size


def _is_needless(finding: Finding) -> bool:
    """A link to a blob that no manifest of its repository names."""
    return finding.broken.what is What.LAYER and not finding.images


def _dangling(verified: Verified) -> list[str]:
    """Tags that lead to no manifest."""
    missing = {
        (finding.broken.repository, finding.broken.digest)
        for finding in verified.findings
        if finding.broken.what is What.REVISION and finding.broken.kind is Kind.MISSING
    }
    return [
        f"{name}:{tag}"
        for name, found in verified.mark.repositories.items()
        for tag, digest in found.tags.items()
        if not digest or (name, digest) in missing
    ]


def _count_untagged(loose: Loose, verified: Verified) -> None:
    mark = verified.mark
    tagged: set[str] = set()
    alone: set[str] = set()
    for found in mark.repositories.values():
        reached = {name for digest in found.tags.values() if digest for name in mark.below(digest)}
        tagged |= reached
        roots = [
            digest
            for digest in untagged(mark, found.revisions, reached)
            if not _is_attached(mark, digest, reached)
        ]
        _add(loose, "untagged", (0 for _ in roots))
        alone |= {name for digest in roots for name in mark.below(digest)}
    sizes = (verified.files.get(name, 0) for name in alone - tagged)
    loose["untagged"]["bytes"] = sum(sizes)


def _is_attached(mark: Mark, digest: str, reached: set[str]) -> bool:
    """Whether it is about something that a tag leads to."""
    edges = mark.edges.get(digest)
    return bool(edges and edges.subject in reached)
