"""Read both sides: each is asked once for each tag of the list, by its own name, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from _registry_config_values import Attachments, Image
from _registry_oci_errors import NotFound, RegistryError, Unauthorized, Unsupported
from _registry_oci_manifest import SCHEMA1
from _registry_oci_referrers import stems_of
from _registry_store_protocol import Store
from _registry_sync_attachments import ALL, find_attachments
from _registry_sync_first_look import differing
from _registry_sync_inventory import Inventory, take_inventory
from _registry_sync_memory import Memory
from _registry_sync_select import explain_absence, tags_of_image
from _registry_sync_stores import Stores
from _registry_sync_tag import Tag, chosen

Digest = str | Exception


@dataclass(slots=True)
class Comparison:
    """Both sides, read.

    Args:
        tags: every tag of the list, in its order.
        inventory: of the target.
    """

    tags: list[Tag]
    inventory: Inventory


def compare(
    images: Sequence[Image],
    stores: Stores,
    memory: Memory,
    *,
    assume_empty: bool = False,
    catalog: bool = True,
    everything: bool = False,
    attachments: Attachments = ALL,
) -> Comparison:
    """Read both sides and give every tag of the list a status.

    Args:
        images: the list.
        stores: how the two sides are reached.
        memory: what earlier runs have read.
        assume_empty: take a target that cannot be reached for one that is still empty.
        catalog: name the repositories that the list does not name.
        everything: list the tags of repositories that the list does not name, too.
        attachments: what travels of that which upstream has attached to images.

    Returns:
        Tags that are ``current``, ``missing``, ``stale`` or ``unreadable``; one that fails never
        keeps the others from being told.
    """
    targets = [image.target for image in images]
    inventory, _ = stores.run_both(
        partial(take_inventory, stores, targets, catalog=catalog, everything=everything),
        partial(stores.connect, [image.source for image in images]),
    )
    if assume_empty and inventory.error and not isinstance(inventory.error, Unauthorized):
        inventory = Inventory(up=inventory.up)
    found = stores.map_sources(lambda image: tags_of_image(image, stores, memory), images)
    tags = _without_collisions([tag for tags in found for tag in tags])
    for tag in tags:
        if inventory.error and not tag.status:
            tag.fail("unreadable", inventory.error)
    unknown = [tag for tag in tags if not tag.status]
    _compare_tags(unknown, stores, memory, inventory, attachments)
    find_attachments(unknown, stores, memory, inventory, attachments)
    return Comparison(tags, inventory)


def find_extras(comparison: Comparison, stores: Stores) -> list[Tag]:
    """Tags that the target holds and the list does not want, in the repositories that were listed.

    Returns:
        Tags with the status ``extra``, sorted by name.
    """
    wanted = {tag.name for tag in comparison.tags}
    # Where upstream could not say what a pattern means, nothing can be called superfluous.
    unknown = {tag.target for tag in comparison.tags if tag.unresolved}
    stems = _attached_stems(comparison.tags)
    extras = [
        Tag(None, name, repository, name, "extra")
        for repository, names in sorted(comparison.inventory.tags.items())
        for name in sorted(names)
        if repository not in unknown
        and f"{repository}:{name}" not in wanted
        and name.partition(".")[0] not in stems.get(repository, ())
    ]

    def read(tag: Tag) -> None:
        try:
            tag.local = stores.target.resolve(tag.target, tag.target_reference).digest
        except RegistryError as failure:
            tag.fail("unreadable", failure)

    stores.map_target(read, extras)
    return extras


def _attached_stems(tags: Iterable[Tag]) -> dict[str, set[str]]:
    """How tags begin, by repository, under which something is attached to what is wanted or stands here."""
    digests: dict[str, set[str]] = {}
    for tag in tags:
        about = [digest for one in tag.attached for digest in (one.subject, one.descriptor.digest)]
        digests.setdefault(tag.target, set()).update((tag.upstream, tag.local, *tag.below, *about))
    return {repository: stems_of(filter(None, them)) for repository, them in digests.items()}


def _without_collisions(tags: list[Tag]) -> list[Tag]:
    """Fail tags of different entries that patterns have led to one target."""
    seen: dict[str, Tag] = {}
    for tag in tags:
        first = seen.setdefault(tag.name, tag)
        if first is not tag and first.image and tag.image:
            both = f"{first.image.key} and {tag.image.key} both have this target"
            first.fail("unreadable", Unsupported(both))
    return list(seen.values())


def _compare_tags(
    tags: Sequence[Tag], stores: Stores, memory: Memory, inventory: Inventory, attachments: Attachments
) -> None:
    """Give each tag its status: from a first look at both sides, or else from one at each for itself."""
    left, _ = stores.run_both(
        partial(differing, tags, stores, memory, inventory),
        partial(_list_for_attachments, tags, stores, attachments),
    )
    locals_, upstreams = stores.run_both(
        partial(_target_digests, left, stores, inventory),
        partial(_source_digests, left, stores),
    )
    for tag, local, upstream in zip(left, locals_, upstreams, strict=True):
        _set_status(tag, local, upstream)
    narrowed = [tag for tag in tags if tag.status in ("missing", "stale") and tag.wanted_by.platforms]
    choices = stores.map_sources(_or_failure(partial(_digest_of_choice, stores, memory)), narrowed)
    for tag, choice in zip(narrowed, choices, strict=True):
        _set_status(tag, tag.local, choice)


def _or_failure(read: Callable[[Tag], str]) -> Callable[[Tag], Digest]:
    """The same, with a failure as its result: whatever it is, the other tags go on."""

    def read_or_fail(tag: Tag) -> Digest:
        try:
            return read(tag)
        except Exception as failure:  # noqa: BLE001 - told by whoever sets the tag's status
            return failure

    return read_or_fail


def _set_status(tag: Tag, local: Digest, upstream: Digest) -> None:
    """Give a tag its status from the digests of both sides, or from why there is none."""
    tag.local, tag.upstream = ("" if isinstance(side, Exception) else side for side in (local, upstream))
    for side in (local, upstream):
        if isinstance(side, Exception):
            tag.fail("unreadable", side)
            return
    if tag.local == tag.upstream:
        tag.status = "current"
    else:
        tag.status = "stale" if tag.local else "missing"


def _target_digests(tags: Sequence[Tag], stores: Stores, inventory: Inventory) -> list[Digest]:
    """What stands under each tag's own name, whatever a listing says of it.

    Only of a repository that is said not to exist no tag is asked for, as long as that proves true of one.
    """
    if not inventory.up:
        return [""] * len(tags)
    read = _or_failure(partial(_target_digest, stores.target))
    unknown = [tag for tag in tags if tag.target in inventory.unknown]
    if unknown and read(unknown[0]) == "":
        asked = [tag for tag in tags if tag.target not in inventory.unknown]
        found = dict(zip(map(id, asked), stores.map_target(read, asked), strict=True))
        return [found.get(id(tag), "") for tag in tags]
    return stores.map_target(read, tags)


def _target_digest(target: Store, tag: Tag) -> str:
    """What stands under the tag's own name, whatever a listing says of it."""
    try:
        return target.resolve(tag.target, tag.target_reference).digest
    except NotFound:
        return ""


def _source_digests(tags: Sequence[Tag], stores: Stores) -> list[Digest]:
    return stores.map_sources(_or_failure(partial(_source_digest, stores)), tags)


def _list_for_attachments(tags: Sequence[Tag], stores: Stores, attachments: Attachments) -> None:
    """Read while the other side is asked what will tell whether something is attached."""
    if attachments.travel:
        places = dict.fromkeys((tag.wanted_by.source, tag.wanted_by.repository) for tag in tags)
        stores.map_sources(lambda place: stores.listings.few(*place), list(places))


def _source_digest(stores: Stores, tag: Tag) -> str:
    image = tag.wanted_by
    upstream = stores.source(image.source)
    try:
        found = upstream.resolve(image.repository, tag.reference)
    except NotFound as failure:
        raise NotFound(explain_absence(failure, tag, upstream), side=failure.side) from None
    if found.media_type in SCHEMA1:
        said = f"{upstream} has {tag.reference} of {image.repository} only as obsolete schema1"
        raise Unsupported(said, side=upstream.side)
    tag.source, tag.media_type = found.digest, found.media_type
    return found.digest


def _digest_of_choice(stores: Stores, memory: Memory, tag: Tag) -> str:
    """The digest that the local side should have: of what is left after the choice of platforms."""
    image = tag.wanted_by
    platforms = ",".join(image.platforms)
    known = memory.get("platforms", tag.source, platforms)
    if known and known == tag.local:
        return known
    manifest = stores.source(image.source).manifest(image.repository, tag.source)
    tag.root = chosen(tag, manifest)
    memory.put(tag.root.digest, "platforms", tag.source, platforms)
    return tag.root.digest
