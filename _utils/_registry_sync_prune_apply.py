"""Forget what a plan says: manifests and tags, never blobs, which the registry's own collection frees.

Parents go before children. Right before each deletion the digest is read again: what somebody has changed
since the plan was made is left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from _registry_oci_errors import NotFound, RegistryError
from _registry_show_progress import Progress
from _registry_store_protocol import Store
from _registry_sync_ledger import Ledger
from _registry_sync_prune import DOOMED, FAILED, KEPT, PRUNED, Item
from _registry_sync_prune_delete import (
    ChangedError,
    ClearTags,
    DeleteDigest,
    NothingDeletedError,
    Step,
    Untag,
)
from _registry_sync_prune_look import PrunePlan
from _registry_sync_stores import Stores

# Told before a tag or digest is deleted.
Telling = Callable[[Item], None]
# Tags that are given one empty index and go with it, since distribution 2 reads
# all tags of a repository for each deletion.
TAGS_AT_ONCE = 50


def forget(
    plan: PrunePlan, stores: Stores, ledger: Ledger, tell: Telling, progress: Progress | None = None
) -> None:
    """Do what a plan says; each item gets its final status, and one that fails never stops the others.

    Args:
        plan: of ``look``.
        stores: the same.
        ledger: is told what is gone.
        tell: is told of each deletion before it happens.
        progress: is told what is done.

    Raises:
        RegistryError: the registry lets nothing be deleted, or the ledger cannot be written; nothing was
            done.
    """
    doomed = plan.doomed
    if not doomed:
        return
    _note_what_goes(doomed, ledger)
    _demand_deletes(stores.target, doomed[0].repository)
    groups: dict[str, list[Item]] = {}
    for item in doomed:
        groups.setdefault(item.repository, []).append(item)
    shown = progress or Progress()
    shown.start(len(doomed), 0, 0)
    forgetting = _Forgetting(stores, ledger, tell, shown)
    known: dict[str, dict[str, str]] = {}
    for item in plan.items:
        known.setdefault(item.repository, {})[item.reference] = item.digest
    try:
        for repository, items in groups.items():
            forgetting.of(items, known[repository])
    finally:
        shown.finish()
        ledger.save()


def _note_what_goes(items: Sequence[Item], ledger: Ledger) -> None:
    """Have the ledger know what a tag was, so that the next prune knows this one where it is interrupted."""
    for item in items:
        if ":" not in item.reference and item.digest and not item.interrupted:
            ledger.found(item.repository, item.reference, item.digest)
    going = ((item.repository, item.digest) for item in items if item.digest and not item.stays)
    ledger.signatures.begin(going)
    ledger.save()


def _demand_deletes(target: Store, repository: str) -> None:
    """Ask whether anything may be deleted, by what cannot be there, before anything is overwritten."""
    try:
        target.delete(repository, f"sha256:{'0' * 64}")
    except NotFound:
        return


class _Forgetting:
    """Forgets in one repository after the other."""

    def __init__(self, stores: Stores, ledger: Ledger, tell: Telling, progress: Progress) -> None:
        self._stores = stores
        self._ledger = ledger
        self._tell = tell
        self._progress = progress
        self._delete = DeleteDigest(stores.target)

    def of(self, items: Sequence[Item], known: Mapping[str, str]) -> None:
        """Forget what goes of a repository, unless its tags are others than the plan knows."""
        self._leave_where_tags_changed(items, known)
        for group, step in self._steps(items):
            self._stores.run.check()
            standing = next((it for item in group for it in item.parents if it.status != PRUNED), None)
            if standing:
                _end(group, KEPT, f"{standing.name}, which needs it, was left")
            else:
                self._carry_out([item for item in group if item.status == DOOMED], step)
            for item in group:
                self._progress.tag_done(item.name, item.status, item.cause, item.error)

    def _leave_where_tags_changed(self, items: Sequence[Item], known: Mapping[str, str]) -> None:
        """A tag that the plan knows not, or as something else, may have a digest that goes, or need it."""
        repository = items[0].repository
        going = {item.reference for item in items}
        try:
            tags = self._stores.target.tags(repository)
        except NotFound:
            return
        except RegistryError as failure:
            _fail(items, failure)
            return
        new = sorted(set(tags).difference(known))
        if new:
            _end(items, KEPT, f"tag {new[0]} has come since the plan was made")
            return
        try:
            found = self._digests(repository, [tag for tag in tags if tag not in going])
        except RegistryError as failure:
            _fail(items, failure)
            return
        moved = next((tag for tag, digest in found.items() if digest not in ("", known[tag])), "")
        if moved:
            _end(items, KEPT, f"tag {moved} was changed since the plan was made")

    def _digests(self, repository: str, tags: Sequence[str]) -> dict[str, str]:
        """What tags are now; empty = gone."""
        told = self._stores.resolve_target([(repository, tag) for tag in tags])
        found = {tag: one.digest if one else "" for tag, one in zip(tags, told, strict=True)}
        for tag in (tag for tag, digest in found.items() if not digest):
            with contextlib.suppress(NotFound):
                found[tag] = self._stores.target.resolve(repository, tag).digest
        return found

    def _steps(self, items: Sequence[Item]) -> Iterator[tuple[list[Item], Step]]:
        """Tags whose digests stay, then whole digests: those that are part of others after these."""
        staying = [item for item in items if item.stays]
        untag = Untag(self._stores)
        for at in range(0, len(staying), TAGS_AT_ONCE):
            yield staying[at : at + TAGS_AT_ONCE], untag
        whole: dict[str, list[Item]] = {}
        for item in sorted(items, key=lambda item: len(item.parents)):
            if not item.stays:
                whole.setdefault(item.digest, []).append(item)
        # What an interrupted deletion has left is no image, and is in nobody's way.
        lost = whole.pop("", [])
        for group in whole.values():
            yield group, self._delete
        if lost:
            yield lost, ClearTags(self._stores)

    def _carry_out(self, items: Sequence[Item], step: Step) -> None:
        if not items:
            return
        for item in items:
            self._tell(item)
        try:
            step(items)
        except NothingDeletedError:
            raise
        except ChangedError as change:
            _end(items, KEPT, str(change))
        except RegistryError as failure:
            _fail(items, failure)
        # A step has said itself of which items it has to say something else.
        for item in items:
            if item.status == DOOMED:
                item.status = PRUNED
                self._ledger.pruned(item.repository, item.reference)
                if item.digest and not item.stays:
                    self._ledger.gone(item.repository, item.digest)


def _end(items: Sequence[Item], status: str, reason: str) -> None:
    """Give those that have none yet their final status."""
    for item in items:
        if item.status == DOOMED:
            item.status, item.reason = status, reason


def _fail(items: Sequence[Item], failure: RegistryError) -> None:
    for item in items:
        if item.status == DOOMED:
            item.status, item.cause, item.error = FAILED, failure.cause, str(failure)
