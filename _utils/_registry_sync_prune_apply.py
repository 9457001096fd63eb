"""Forget what a plan says: manifests and tags, never blobs, which the registry's own collection frees.

Parents go before children. Right before each deletion the digest is read again: what somebody has changed
since the plan was made is left.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial

from _registry_oci_errors import DigestMismatch, NotFound, RegistryError, Unsupported
from _registry_oci_manifest import OCI_INDEX, Manifest, read_manifest
from _registry_store_protocol import Store
from _registry_sync_ledger import Ledger
from _registry_sync_prune import DOOMED, FAILED, KEPT, PRUNED, Item
from _registry_sync_prune_look import MARK, PrunePlan
from _registry_sync_stores import Stores

# Told before a tag or digest is deleted.
Telling = Callable[[Item], None]
# Tags that are given one empty index and go with it, since distribution 2 reads
# all tags of a repository for each deletion.
TAGS_AT_ONCE = 50


def forget(plan: PrunePlan, stores: Stores, ledger: Ledger, tell: Telling) -> None:
    """Do what a plan says; each item gets its final status, and one that fails never stops the others.

    Args:
        plan: of ``look``.
        stores: the same.
        ledger: is told what is gone.
        tell: is told of each deletion before it happens.

    Raises:
        RegistryError: the registry lets nothing be deleted, or the ledger cannot be written; nothing was
            done.
    """
    doomed = plan.doomed
    if not doomed:
        return
    ledger.save()
    _demand_deletes(stores.target, doomed[0].repository)
    groups: dict[str, list[Item]] = {}
    for item in doomed:
        groups.setdefault(item.repository, []).append(item)
    try:
        for items in groups.values():
            _forget_in(items, stores, ledger, tell)
    finally:
        ledger.save()


def _demand_deletes(target: Store, repository: str) -> None:
    """Ask whether anything may be deleted, by what cannot be there, before anything is overwritten."""
    try:
        target.delete(repository, f"sha256:{'0' * 64}")
    except NotFound:
        return


def _forget_in(items: Sequence[Item], stores: Stores, ledger: Ledger, tell: Telling) -> None:
    """Forget in one repository: whole digests and twins' tags first, what only they needed after them."""
    tags = [item for item in items if ":" not in item.reference]
    digests = [item for item in items if ":" in item.reference]
    whole: dict[str, list[Item]] = {}
    for item in tags:
        if not item.twins:
            whole.setdefault(item.digest, []).append(item)
    twins = [item for item in tags if item.twins]
    batches = [twins[at : at + TAGS_AT_ONCE] for at in range(0, len(twins), TAGS_AT_ONCE)]
    delete = partial(_delete_digest, target=stores.target)
    untag = _Untag(stores)
    steps: list[tuple[Sequence[Item], Callable[[Sequence[Item]], None]]] = [
        *((group, delete) for group in whole.values()),
        *((batch, untag) for batch in batches),
        *(([item], delete) for item in digests),
    ]
    for group, step in steps:
        stores.run.check()
        _carry_out(group, step, ledger, tell)


def _carry_out(
    items: Sequence[Item], step: Callable[[Sequence[Item]], None], ledger: Ledger, tell: Telling
) -> None:
    for item in items:
        tell(item)
    try:
        step(items)
    except _ChangedError as change:
        for item in items:
            item.status, item.reason = KEPT, str(change)
    except RegistryError as failure:
        for item in items:
            if item.status == DOOMED:
                item.status, item.cause, item.error = FAILED, failure.cause, str(failure)
    for item in items:
        # A step has said itself of which items it has to say something else.
        if item.status == DOOMED:
            item.status = PRUNED
            ledger.pruned(item.repository, item.reference)
            if not item.twins:
                ledger.gone(item.repository, item.digest)


class _ChangedError(RegistryError):
    """It is not any more what the plan says."""


def _demand_same(item: Item, target: Store) -> None:
    """Look once more, right before the deed."""
    now = target.resolve(item.repository, item.reference).digest
    if now != item.digest:
        raise _ChangedError(f"it has become {now} since the plan was made")


def _delete_digest(items: Sequence[Item], target: Store) -> None:
    """Delete a digest with all its tags, which all are doomed; what is gone already is done."""
    try:
        for item in items:
            _demand_same(item, target)
        target.delete(items[0].repository, items[0].digest)
    except NotFound:
        return


class _Untag:
    """Takes tags away whose digests stay under others.

    A registry that can (distribution 3) deletes the tag. Else an empty index of its own takes the tags, and
    is deleted: who pulls in between is told that there is no image for his platform.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._target = stores.target
        self._by_tag = True
        self._proved = False
        self._broken: RegistryError | None = None

    def __call__(self, items: Sequence[Item]) -> None:
        if not self._proved and len(items) > 1:
            # The first alone: should the registry take its twins with it, no other is touched.
            self(items[:1])
            items = items[1:]
        if self._broken:
            raise self._broken
        first = items[0]
        saved = None if self._proved else self._target.manifest(first.repository, first.digest)
        left = [item for item in items if not self._deleted_by_tag(item) and item.status == DOOMED]
        if left:
            self._replace_and_delete(left)
        if saved is not None:
            self._prove(first, saved)

    def _deleted_by_tag(self, item: Item) -> bool:
        if not self._by_tag or not self._is_same(item):
            return False
        try:
            self._target.delete(item.repository, item.reference)
        except NotFound:
            return True
        except (Unsupported, DigestMismatch):
            self._by_tag = False
            return False
        return True

    def _replace_and_delete(self, items: Sequence[Item]) -> None:
        substitute = _empty_index()

        def replace(item: Item) -> bool:
            if not self._is_same(item):
                return False
            self._target.put(item.repository, item.reference, substitute)
            return True

        if any(self._stores.map_target(replace, items)):
            self._target.delete(items[0].repository, substitute.digest)

    def _is_same(self, item: Item) -> bool:
        """Look once more, right before the deed; note what has changed or is gone."""
        try:
            _demand_same(item, self._target)
        except _ChangedError as change:
            item.status, item.reason = KEPT, str(change)
        except NotFound:
            return False
        return item.status != KEPT

    def _prove(self, item: Item, saved: Manifest) -> None:
        """See that the twins are still there; else put them back and go no further."""
        for twin in item.twins:
            try:
                now = self._target.resolve(item.repository, twin).digest
            except NotFound:
                now = ""
            if now != item.digest:
                self._target.put(item.repository, twin, saved)
                self._broken = RegistryError(
                    f"{self._target} took {twin} with {item.name}; {twin} was put back",
                    side=self._target.side,
                )
                raise self._broken
        self._proved = True


def _empty_index() -> Manifest:
    """An index of nothing, unlike any other, so that its digest is no other tag's."""
    note = f'"annotations":{{"{MARK}":"{secrets.token_hex(16)} {time.time():.0f}"}}'
    body = f'{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[],{note}}}'
    return read_manifest(body.encode(), OCI_INDEX)
