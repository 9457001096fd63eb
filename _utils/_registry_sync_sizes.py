"""What each repository of the list takes, every blob counted once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from _registry_config_values import Settings
from _registry_http_retry import Run
from _registry_sync_memory import Memory
from _registry_sync_prune_graph import Graph
from _registry_sync_stores import open_stores


@dataclass
class Sizes:
    """Bytes and tags.

    Args:
        tags: of each repository, how many of the list are here.
        repositories: of each, the bytes of its blobs, each once.
        whole: bytes of all of them; a blob that several repositories share is counted once.
        unread: manifests whose sizes are not known.
    """

    tags: dict[str, int] = field(default_factory=dict)
    repositories: dict[str, int] = field(default_factory=dict)
    whole: int = 0
    unread: int = 0


def sizes_of(settings: Settings, images: Mapping[str, Mapping[str, Any]], directory: str) -> Sizes:
    """Say what the tags of a report take here.

    A manifest that no sync has moved is read once, and never again.

    Args:
        settings: the local registry, which is up.
        images: those of a report.
        directory: where is kept what need not be read again; empty = nowhere.
    """
    here = {name: image["local"] for name, image in images.items() if _is_here(image)}
    pairs = {name: (_repository(name), digest) for name, digest in here.items()}
    # Whoever waits for a report does not wait for a registry that comes back.
    once = replace(settings.transfer, retries=0)
    memory = Memory(directory)
    found = Graph(open_stores(settings, Run(once)), memory).sizes(dict.fromkeys(pairs.values()))
    memory.save()
    return _summed(pairs, found)


def _is_here(image: Mapping[str, Any]) -> bool:
    return bool(image["local"]) and image["status"] != "extra"


def _repository(name: str) -> str:
    return name.partition("@")[0].partition(":")[0]


def _summed(
    pairs: Mapping[str, tuple[str, str]], found: Mapping[tuple[str, str], Mapping[str, int] | None]
) -> Sizes:
    sizes = Sizes(unread=sum(blobs is None for blobs in found.values()))
    blobs_of: dict[str, dict[str, int]] = {}
    for repository, digest in pairs.values():
        sizes.tags[repository] = sizes.tags.get(repository, 0) + 1
        blobs_of.setdefault(repository, {}).update(found[repository, digest] or {})
    sizes.repositories = {name: sum(blobs.values()) for name, blobs in blobs_of.items()}
    everything = {digest: size for blobs in blobs_of.values() for digest, size in blobs.items()}
    sizes.whole = sum(everything.values())
    return sizes
