"""What an entry of the image list means: the tags that upstream has of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from _registry_config_values import Image
from _registry_oci_errors import DigestMismatch, NotFound, RegistryError, Unsupported
from _registry_oci_manifest import NESTING_LIMIT
from _registry_oci_names import is_pattern, nearest
from _registry_oci_referrers import is_attachment_tag
from _registry_oci_tags import parse_date, select_recent, select_tags
from _registry_store_protocol import Store
from _registry_sync_blobs import Source, read_whole
from _registry_sync_memory import Memory
from _registry_sync_stores import Stores
from _registry_sync_tag import Tag

# What a sentence about a missing tag names of those that are there.
TAGS_SHOWN = 5
CONFIG_LIMIT = 4 * 1024 * 1024


def tags_of_image(image: Image, stores: Stores, memory: Memory) -> list[Tag]:
    """What an entry of the list means upstream, one Tag each; one that cannot be told is ``unreadable``."""
    tags = [_literal(image, entry) for entry in image.tags.literals]
    if not image.tags.needs_list:
        return tags
    try:
        found = _select(image, stores, memory)
    except RegistryError as failure:
        unknown = Tag(image, _patterns(image), image.target, _patterns(image), unresolved=True)
        unknown.fail("unreadable", failure)
        return [*tags, unknown]
    named = {tag.target_reference for tag in tags}
    return tags + [Tag(image, name, image.target, name) for name in found if name not in named]


def explain_absence(failure: NotFound, tag: Tag, upstream: Store) -> str:
    """What upstream has instead: a repository without the tag, or nothing of that name."""
    try:
        there = upstream.tags(tag.wanted_by.repository)
    except RegistryError:
        return f"{failure}; it shows no repository of that name"
    suggestion = nearest(tag.reference, there)
    return f"{failure}; it has the repository but no such tag ({_there(there)}){suggestion}"


def _select(image: Image, stores: Stores, memory: Memory) -> list[str]:
    upstream = stores.source(image.source)
    there = [name for name in stores.listings.tags(image.source, image.repository) if _is_image(name, image)]
    found = select_tags(image.tags, there)
    since = ""
    if image.tags.needs_dates:
        dates = stores.map_sources(lambda tag: _created(image, tag, stores, memory), found)
        found = select_recent(image.tags, dict(zip(found, dates, strict=True)))
        since = f" and was created since {image.tags.since}"
    if not found:
        raise NotFound(
            f"{upstream} has no tag of {image.repository} that matches {_patterns(image)}{since} "
            f"({_there(there)})",
            side=upstream.side,
        )
    return found


def _is_image(name: str, image: Image) -> bool:
    """Whether a pattern may mean a tag; what is attached to images travels with them instead."""
    patterns = filter(is_pattern, image.tags.include)
    return not is_attachment_tag(name) or any(pattern.startswith("sha") for pattern in patterns)


def _created(image: Image, tag: str, stores: Stores, memory: Memory) -> datetime | None:
    """When an image says that it was made; None where it says nothing that is a date."""
    upstream = stores.source(image.source)
    try:
        digest = upstream.resolve(image.repository, tag).digest
        told = memory.get("created", digest)
        if told is None:
            told = _read_created(image, digest, stores)
            memory.put(told, "created", digest)
    except (NotFound, Unsupported, DigestMismatch):
        return None
    return parse_date(told)


def _read_created(image: Image, digest: str, stores: Stores) -> str:
    """``created`` of an image's config, of the first platform where there are several.

    https://github.com/opencontainers/image-spec/blob/main/config.md#properties
    """
    upstream = stores.source(image.source)
    manifest = upstream.manifest(image.repository, digest)
    for _ in range(NESTING_LIMIT):
        children = [child for child in manifest.children if not child.attests]
        if not children:
            break
        manifest = upstream.manifest(image.repository, children[0].digest)
    config = next(iter(manifest.blobs), None)
    if config is None or config.size > CONFIG_LIMIT:
        return ""
    try:
        body = read_whole(Source(upstream, image.repository), config, stores)
        told = json.loads(body).get("created")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return told if isinstance(told, str) and parse_date(told) else ""


def _literal(image: Image, entry: str) -> Tag:
    name, _, pin = entry.partition("@")
    return Tag(image, pin or name, image.target, name)


def _patterns(image: Image) -> str:
    return " ".join(entry for entry in image.tags.include if entry not in image.tags.literals)


def _there(tags: Sequence[str]) -> str:
    shown = ", ".join(tags[:TAGS_SHOWN])
    more = len(tags) - TAGS_SHOWN
    return f"there: {shown or 'none'}" + (f" and {more} more" if more > 0 else "")
