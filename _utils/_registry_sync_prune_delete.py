"""Delete from a registry, however it deletes: a digest with all its tags, or tags whose digest stays.

distribution 2 deletes by digest alone, and with it all tags that have it. distribution 3 deletes a tag by
its name, too. Others delete a digest and leave its tags, or take a request and delete nothing.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Sequence

from _registry_oci_errors import DigestMismatch, NotFound, RegistryError, Unsupported
from _registry_oci_manifest import OCI_INDEX, Manifest, read_manifest
from _registry_store_protocol import Store
from _registry_sync_prune import DOOMED, FAILED, KEPT, Item
from _registry_sync_prune_look import MARK
from _registry_sync_stores import Stores

Step = Callable[[Sequence[Item]], None]


class ChangedError(RegistryError):
    """It is not any more what the plan says."""


class NothingDeletedError(RegistryError):
    """The registry takes a request to delete, and deletes nothing."""

    cause = "unsupported"


def _is_there(item: Item, target: Store) -> bool:
    """Look once more, right before the deed.

    Raises:
        ChangedError: it is something else now.
    """
    try:
        now = target.resolve(item.repository, item.reference).digest
    except NotFound:
        return False
    if now != item.digest:
        raise ChangedError(f"it has become {now} since the plan was made")
    return True


def _demand_gone(item: Item, target: Store) -> None:
    """See that what a registry has deleted, or calls absent, is not there any more."""
    if _is_there(item, target):
        raise NothingDeletedError(
            f"{target} takes a request to delete {item.name} and still has it, so nothing was deleted",
            side=target.side,
        )


class DeleteDigest:
    """Deletes a digest with all its tags, which all are doomed; what is gone already is done."""

    def __init__(self, target: Store) -> None:
        self._target = target
        self._leaves_tags: bool | None = None

    def __call__(self, items: Sequence[Item]) -> None:
        """Delete what these have in common.

        Raises:
            ChangedError: one of them is something else now; none was deleted.
        """
        there = [item for item in items if _is_there(item, self._target)]
        if not there:
            return
        self._delete(there[0], there[0].digest)
        tags = [item for item in there if ":" not in item.reference]
        if tags and self._leaves_tags is None:
            self._leaves_tags = _is_there(tags[0], self._target)
        if self._leaves_tags:
            for item in tags:
                self._delete(item, item.reference)

    def _delete(self, item: Item, reference: str) -> None:
        try:
            self._target.delete(item.repository, reference)
        except NotFound:
            _demand_gone(item, self._target)


class ClearTags:
    """Takes tags away that are listed and have no manifest, as a server leaves them within a deletion.

    https://github.com/distribution/distribution/issues/1755
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._target = stores.target

    def __call__(self, items: Sequence[Item]) -> None:
        """Give them an empty index, which can be deleted with them; what is there again stays."""
        substitute = _empty_index()

        def replace(item: Item) -> bool:
            try:
                now = self._target.resolve(item.repository, item.reference).digest
                item.status, item.reason = KEPT, f"it has become {now} since the plan was made"
            except NotFound:
                self._target.put(item.repository, item.reference, substitute)
            return item.status != KEPT

        if any(self._stores.map_target(replace, items)):
            self._target.delete(items[0].repository, substitute.digest)


class Untag:
    """Takes tags away whose digests stay.

    A registry that can deletes the tag. Else an empty index of its own takes the tags, and is deleted: who
    pulls in between is told that there is no image for his platform.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._target = stores.target
        self._by_tag = True
        self._proved = False
        self._broken: RegistryError | None = None

    def __call__(self, items: Sequence[Item]) -> None:
        """Take tags of one repository away; those of which something else is to be said get their status."""
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
        if saved is not None and first.status == DOOMED:
            self._prove(first, saved)

    def _deleted_by_tag(self, item: Item) -> bool:
        if not self._by_tag or not self._is_same(item):
            return False
        try:
            self._target.delete(item.repository, item.reference)
        except NotFound:
            _demand_gone(item, self._target)
        except (Unsupported, DigestMismatch):
            self._by_tag = False
            return False
        return True

    def _replace_and_delete(self, items: Sequence[Item]) -> None:
        substitute = _empty_index()

        def replace(item: Item) -> bool:
            try:
                if not self._is_same(item):
                    return False
                self._target.put(item.repository, item.reference, substitute)
            except RegistryError as failure:
                item.status, item.cause, item.error = FAILED, failure.cause, str(failure)
                return False
            return True

        put = self._stores.map_target(replace, items)
        replaced = [item for item, is_replaced in zip(items, put, strict=True) if is_replaced]
        if replaced:
            try:
                self._target.delete(items[0].repository, substitute.digest)
            except RegistryError:
                self._put_back(replaced)
                raise

    def _put_back(self, items: Sequence[Item]) -> None:
        """Give tags back what they were; where that fails too, the next prune ends it."""
        for item in items:
            with contextlib.suppress(RegistryError):
                manifest = self._target.manifest(item.repository, item.digest)
                self._target.put(item.repository, item.reference, manifest)

    def _is_same(self, item: Item) -> bool:
        """Look once more, right before the deed; note what has changed or is gone."""
        try:
            return _is_there(item, self._target)
        except ChangedError as change:
            item.status, item.reason = KEPT, str(change)
            return False

    def _prove(self, item: Item, saved: Manifest) -> None:
        """See that the tag is gone and its digest is not; else put that back and go no further."""
        _demand_gone(item, self._target)
        for reference in (*item.twins, item.digest):
            try:
                now = self._target.resolve(item.repository, reference).digest
            except NotFound:
                now = ""
            if now != item.digest:
                self._target.put(item.repository, reference, saved)
                self._broken = RegistryError(
                    f"{self._target} took {reference} with {item.name}; {reference} was put back",
                    side=self._target.side,
                )
        if self._broken:
            raise self._broken
        self._proved = True


def _empty_index() -> Manifest:
    """An index of nothing, unlike any other, so that its digest is no other tag's."""
    note = f'"annotations":{{"{MARK}":"{secrets.token_hex(16)} {time.time():.0f}"}}'
    body = f'{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[],{note}}}'
    return read_manifest(body.encode(), OCI_INDEX)
