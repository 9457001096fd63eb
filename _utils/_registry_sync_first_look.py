"""Tags that stand alike on both sides, found by a first look at all of them at once.

In a mirror that is kept up to date these are nearly all. What surprises is left to be asked for tag by tag.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from _registry_oci_manifest import SCHEMA1, Descriptor
from _registry_sync_inventory import Inventory
from _registry_sync_memory import Memory
from _registry_sync_stores import Stores
from _registry_sync_tag import Tag


def differing(tags: Sequence[Tag], stores: Stores, memory: Memory, inventory: Inventory) -> list[Tag]:
    """Give those that stand alike on both sides the status ``current``.

    Args:
        tags: of the list.
        stores: how the two sides are reached.
        memory: what earlier runs have read.
        inventory: of the target; a tag that it has not is not looked for.

    Returns:
        The others.
    """
    asked = [tag for tag in tags if tag.target_reference in inventory.tags.get(tag.target, ())]
    mine, theirs = stores.run_both(
        partial(stores.resolve_target, [(tag.target, tag.target_reference) for tag in asked]),
        partial(
            stores.resolve_sources,
            [(tag.wanted_by.source, tag.wanted_by.repository, tag.reference) for tag in asked],
        ),
    )
    for tag, here, there in zip(asked, mine, theirs, strict=True):
        if here and there and _is_same(tag, here, there, memory):
            tag.local = tag.upstream = here.digest
            tag.source, tag.media_type = there.digest, there.media_type
            tag.status = "current"
    return [tag for tag in tags if not tag.status]


def _is_same(tag: Tag, here: Descriptor, there: Descriptor, memory: Memory) -> bool:
    """Whether the target has what upstream has, or what the list leaves of it."""
    if there.media_type in SCHEMA1:
        return False
    if here.digest == there.digest:
        return True
    platforms = ",".join(tag.wanted_by.platforms)
    return bool(platforms) and memory.get("platforms", there.digest, platforms) == here.digest
