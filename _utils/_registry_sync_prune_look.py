"""Look at what a registry could forget: both sides are read, nothing changes but the ledger's notes."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from _registry_config_values import Image, Settings
from _registry_oci_errors import NotFound, RegistryError
from _registry_oci_manifest import NESTING_LIMIT
from _registry_oci_referrers import is_attachment_tag, stems_of
from _registry_store_protocol import Store
from _registry_sync_inventory import Inventory, take_inventory
from _registry_sync_ledger import Ledger
from _registry_sync_memory import Memory
from _registry_sync_prune import DOOMED, KEPT, Found, Item, judge, plan_id, share
from _registry_sync_select import tags_of_image
from _registry_sync_stores import Stores

# The annotation of the empty index that a prune gives a tag before it takes it away.
MARK = "io.salt.docker_registry.pruned"


@dataclass(slots=True)
class PrunePlan:
    """What could be forgotten.

    Args:
        id: what the plan is known by; empty where nothing is doomed.
        items: every tag, and every digest that sync has left without one.
        inventory: of the registry.
        emptied: repositories that would hold no tag any more.
        refused: why nothing at all may be forgotten now; empty where it may.
        ceiling: why only this plan's id goes on; empty where that is not needed.
    """

    id: str
    items: list[Item]
    inventory: Inventory
    emptied: list[str] = field(default_factory=list)
    refused: str = ""
    ceiling: str = ""

    @property
    def doomed(self) -> list[Item]:
        """What it says to forget."""
        return [item for item in self.items if item.status == DOOMED]


def list_id(images: Iterable[Image]) -> str:
    """What an image list is known by, from one run to the next."""
    told = sorted(
        repr((image.source.url, image.repository, image.target, image.tags, image.platforms))
        for image in images
    )
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def look(
    settings: Settings, stores: Stores, ledger: Ledger, memory: Memory, in_use: Sequence[str] = ()
) -> PrunePlan:
    """Find out what could be forgotten, and why all else is kept; changes nothing but the ledger's notes.

    Args:
        settings: the list and the rules.
        stores: how both sides are reached.
        ledger: what sync has put into the registry.
        memory: what earlier runs have read of manifests.
        in_use: ``repository:tag`` that deployments name.
    """
    listed = {image.target for image in settings.images}
    names = sorted({*listed, *ledger.repositories()})
    inventory, _ = stores.run_both(
        partial(
            take_inventory, stores, names, catalog=settings.prune.foreign, everything=settings.prune.foreign
        ),
        partial(stores.connect, [image.source for image in settings.images if image.tags.needs_list]),
    )
    refused = _refusal(settings, ledger, inventory)
    found = _found(settings, stores, ledger, memory, inventory) if not inventory.error else []
    items = [
        item
        for repository in found
        for item in judge(repository, settings.prune, ledger.now, in_use=in_use, backups=settings.backup.keep)
    ]
    _note_unwanted(items, ledger)
    doomed = any(item.status == DOOMED for item in items)
    if doomed:
        graph = _Graph(stores, memory)
        items = graph.complete(items)
    plan = PrunePlan("", items, inventory, _emptied(items), refused)
    if plan.doomed:
        plan.id = plan_id(settings.local.url, settings.prune, items)
        percent = share(items)
        if percent > settings.prune.ceiling:
            plan.ceiling = (
                f"{percent:.0f} % of the tags would go, more than prune:ceiling "
                f"({settings.prune.ceiling:g} %); registry_sync.prune plan={plan.id} does it all the same"
            )
    return plan


def _refusal(settings: Settings, ledger: Ledger, inventory: Inventory) -> str:
    """Why nothing may be forgotten now, whatever the rules say."""
    reasons = (
        (not settings.listed, "the pillar names no images, and nothing is forgotten by a list of defaults"),
        (not settings.images, "docker_registry:images is empty"),
        (
            ledger.trouble,
            f"{ledger.trouble}: what sync has put here is not known, so all of it may be somebody else's",
        ),
        (ledger.clock_went_back, "this host's clock is earlier than when the ledger was last written"),
        (
            ledger.complete != list_id(settings.images),
            "no sync of this very list has ended without a failure yet",
        ),
        (inventory.error, f"{inventory.error}"),
        (inventory.unread, f"{next(iter(inventory.unread.values()), '')}"),
    )
    return next((why for holds, why in reasons if holds), "")


def _found(
    settings: Settings, stores: Stores, ledger: Ledger, memory: Memory, inventory: Inventory
) -> list[Found]:
    wanted: dict[str, set[str]] = {}
    unknown: dict[str, str] = {}
    for tags in stores.map_sources(lambda image: tags_of_image(image, stores, memory), settings.images):
        for tag in tags:
            wanted.setdefault(tag.target, set()).add(tag.target_reference)
            if tag.unresolved:
                unknown[tag.target] = tag.error
    listed = {image.target for image in settings.images}
    references = {
        name: sorted({*names, *_digests_of((*wanted.get(name, ()), *ledger.references(name)))})
        for name, names in sorted(inventory.tags.items())
    }
    pairs = [(name, reference) for name, them in references.items() for reference in them]
    digests = dict(zip(pairs, stores.map_target(partial(_digest, stores.target), pairs), strict=True))
    below = _below_subjects(references, digests, _Graph(stores, memory))
    return [
        Found(
            name,
            {ref: digests[name, ref] for ref in them if digests[name, ref] or ref in inventory.tags[name]},
            wanted.get(name, set()),
            name in listed,
            unknown.get(name, ""),
            _interrupted(name, them, digests, stores.target, ledger),
            ledger.references(name),
            below[name],
        )
        for name, them in references.items()
    ]


def _below_subjects(
    references: Mapping[str, Sequence[str]], digests: Mapping[tuple[str, str], str], graph: _Graph
) -> dict[str, dict[str, list[str]]]:
    """What is below the manifests of repositories in which something is attached to what has no tag."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, them in references.items():
        here = list(filter(None, (digests[name, reference] for reference in them)))
        stems = stems_of(here)
        attached = filter(is_attachment_tag, them)
        if all(tag.partition(".")[0] in stems for tag in attached):
            found[name] = {}
        else:
            found[name] = {digest: graph.below(name, digest) or [] for digest in dict.fromkeys(here)}
    return found


def _digests_of(references: Iterable[str]) -> list[str]:
    return [reference for reference in references if ":" in reference]


def _interrupted(
    name: str, tags: Iterable[str], digests: Mapping[tuple[str, str], str], target: Store, ledger: Ledger
) -> list[str]:
    """Tags that an earlier prune has given its empty index, and did not get to delete."""
    found = []
    for tag in tags:
        entry, digest = ledger.entry(name, tag), digests[name, tag]
        if entry and digest and entry.digest not in ("", digest):
            with contextlib.suppress(RegistryError):
                if MARK.encode() in target.manifest(name, digest).body:
                    found.append(tag)
    return found


def _digest(target: Store, pair: tuple[str, str]) -> str:
    try:
        return target.resolve(*pair).digest
    except RegistryError:
        return ""


def _note_unwanted(items: Iterable[Item], ledger: Ledger) -> None:
    for item in items:
        entry = ledger.entry(item.repository, item.reference)
        if entry:
            entry.unwanted = item.since if item.status != KEPT or item.since else 0.0


def _emptied(items: Iterable[Item]) -> list[str]:
    staying: dict[str, bool] = {}
    for item in items:
        staying[item.repository] = staying.get(item.repository, False) or item.status != DOOMED
    return sorted(name for name, stays in staying.items() if not stays)


class _Graph:
    """What manifests need: which children go with an index, and which bytes with all of it."""

    def __init__(self, stores: Stores, memory: Memory) -> None:
        self._stores = stores
        self._memory = memory
        self._edges: dict[str, _Edges] = {}

    def complete(self, items: list[Item]) -> list[Item]:
        """Add the children that nothing kept needs, and count the bytes.

        An index that cannot be read keeps what is in its repository: what it needs is not known.
        """
        by_repository: dict[str, list[Item]] = {}
        for item in items:
            by_repository.setdefault(item.repository, []).append(item)
        self._read([(item.repository, item.digest) for item in items if item.digest])
        completed = [item for group in by_repository.values() for item in self._with_children(group)]
        self._count_bytes(completed)
        return completed

    def _with_children(self, items: list[Item]) -> list[Item]:
        repository = items[0].repository
        needed: set[str] = set()
        for item in items:
            if item.status == DOOMED:
                continue
            below = self.below(repository, item.digest) if item.digest else None
            if below is None:
                _keep_all(items, f"what {item.name} needs cannot be read")
                return items
            needed |= {item.digest, *below}
        known = {item.digest for item in items}
        children: dict[str, Item] = {}
        for item in items:
            if item.status != DOOMED:
                continue
            if ":" in item.reference and item.digest in needed:
                item.status, item.reason = KEPT, "a kept index needs it"
                continue
            for child in self.below(repository, item.digest) or ():
                if child not in needed and child not in known:
                    children.setdefault(
                        child,
                        Item(repository, child, child, DOOMED, f"it is part of {item.reference}", item.since),
                    )
        return [*items, *children.values()]

    def below(self, repository: str, digest: str) -> list[str] | None:
        """Everything below an index, the nearest first; None where that cannot be told."""
        level, found = [digest], dict[str, None]()
        for _ in range(NESTING_LIMIT):
            self._read([(repository, name) for name in level])
            if any(self._edges[name].unreadable for name in level):
                return None
            level = [child for name in level for child in self._edges[name].children if child not in found]
            found.update(dict.fromkeys(level))
        return list(found)

    def _read(self, pairs: Iterable[tuple[str, str]]) -> None:
        new = {digest: repository for repository, digest in pairs if digest not in self._edges}
        read = self._stores.map_target(lambda pair: self._edges_of(*pair), list(new.items()))
        self._edges.update(zip(new, read, strict=True))

    def _edges_of(self, digest: str, repository: str) -> _Edges:
        told = self._memory.get("edges", digest)
        if told is not None:
            return _Edges.from_words(told)
        try:
            manifest = self._stores.target.manifest(repository, digest)
        except NotFound:
            return _Edges()
        except RegistryError:
            return _Edges(unreadable=True)
        edges = _Edges(
            tuple(child.digest for child in manifest.children),
            {blob.digest: blob.size for blob in manifest.blobs} | {digest: len(manifest.body)},
        )
        self._memory.put(edges.in_words(), "edges", digest)
        return edges

    def _count_bytes(self, items: Iterable[Item]) -> None:
        """Count for each doomed digest the bytes that nothing kept, and no earlier item, needs."""
        everything = list(items)
        counted: set[str] = set()
        for item in everything:
            if item.status != DOOMED and item.digest:
                for digest in (item.digest, *(self.below(item.repository, item.digest) or ())):
                    counted.update(self._edges[digest].sizes)
        for item in everything:
            if item.status == DOOMED and not item.twins:
                own = self._edges[item.digest].sizes if item.digest in self._edges else {}
                item.size = sum(size for digest, size in own.items() if digest not in counted)
                counted.update(own)


def _keep_all(items: Iterable[Item], reason: str) -> None:
    for item in items:
        if item.status == DOOMED:
            item.status, item.reason = KEPT, reason


@dataclass(frozen=True)
class _Edges:
    """What a manifest names: children, and blobs with their bytes, itself among them."""

    children: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    unreadable: bool = False

    def in_words(self) -> str:
        """For the memory of what was read."""
        return " ".join((*self.children, *(f"{digest}={size}" for digest, size in self.sizes.items())))

    @classmethod
    def from_words(cls, words: str) -> _Edges:
        """The same back."""
        parts = [word.partition("=") for word in words.split()]
        return cls(
            tuple(digest for digest, sign, _ in parts if not sign),
            {digest: int(size) for digest, sign, size in parts if sign},
        )
