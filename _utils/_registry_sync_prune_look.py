"""Look at what a registry could forget: both sides are read, nothing changes but the ledger's notes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from _registry_config_values import Settings
from _registry_oci_errors import NotFound, RegistryError
from _registry_oci_referrers import is_attachment_tag, stem_of, stems_of
from _registry_store_protocol import Store
from _registry_sync_inventory import Inventory, take_inventory
from _registry_sync_ledger import Ledger
from _registry_sync_memory import Memory
from _registry_sync_prune import DOOMED, IN_USE, Found, Item, judge, plan_id, share
from _registry_sync_prune_graph import Graph
from _registry_sync_record import list_id
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


def look(
    settings: Settings, stores: Stores, ledger: Ledger, memory: Memory, in_use: Sequence[str] = ()
) -> PrunePlan:
    """Find out what could be forgotten, and why all else is kept; changes nothing but the ledger's notes.

    Args:
        settings: the list and the rules.
        stores: how both sides are reached.
        ledger: what sync has put into the registry.
        memory: what earlier runs have read of manifests.
        in_use: ``repository:tag`` and ``repository@digest`` that deployments name.
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
    items = _without_gone(items, stores, ledger)
    doomed = any(item.status == DOOMED for item in items)
    if doomed:
        items = Graph(stores, memory).complete(items)
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
        name: sorted({*names, *wanted.get(name, ()), *_known(name, ledger)})
        for name, names in sorted(inventory.tags.items())
    }
    pairs = [(name, reference) for name, them in references.items() for reference in them]
    digests = dict(zip(pairs, stores.map_target(partial(_digest, stores.target), pairs), strict=True))
    below = _below_subjects(references, digests, Graph(stores, memory))
    ledger.settle({pair: digest for pair, digest in digests.items() if digest is not None})
    return [
        Found(
            name,
            # What the list, or the ledger, names need not be here.
            {
                ref: digests[name, ref] or ""
                for ref in them
                if digests[name, ref] != "" or ref in inventory.tags[name]
            },
            wanted.get(name, set()),
            name in listed,
            unknown.get(name, ""),
            _interrupted(name, them, digests, stores.target, ledger),
            {ref for ref in them if digests[name, ref] is None},
            ledger.references(name),
            below[name],
        )
        for name, them in references.items()
    ]


def _known(name: str, ledger: Ledger) -> list[str]:
    """What should be there as far as the ledger knows, whatever the registry's list of tags says."""
    return [reference for reference in ledger.references(name) if ledger.last(name, reference)]


def _below_subjects(
    references: Mapping[str, Sequence[str]], digests: Mapping[tuple[str, str], str | None], graph: Graph
) -> dict[str, dict[str, list[str]]]:
    """What is below the manifests of repositories in which something is attached to what has no tag."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, them in references.items():
        here = list(filter(None, (digests[name, reference] for reference in them)))
        stems = stems_of(here)
        attached = filter(is_attachment_tag, them)
        if all(stem_of(tag) in stems for tag in attached):
            found[name] = {}
        else:
            found[name] = {digest: graph.below(name, digest) or [] for digest in dict.fromkeys(here)}
    return found


def _interrupted(
    name: str,
    tags: Iterable[str],
    digests: Mapping[tuple[str, str], str | None],
    target: Store,
    ledger: Ledger,
) -> list[str]:
    """Tags that an earlier prune has given its empty index, and did not get to delete."""
    found = []
    for tag in tags:
        digest = digests[name, tag]
        if digest and ledger.last(name, tag) not in ("", digest):
            with contextlib.suppress(RegistryError):
                if MARK.encode() in target.manifest(name, digest).body:
                    found.append(tag)
    return found


def _digest(target: Store, pair: tuple[str, str]) -> str | None:
    """The digest of a tag; empty = it is not there, None = it could not be told."""
    try:
        return target.resolve(*pair).digest
    except NotFound:
        return ""
    except RegistryError:
        return None


def _note_unwanted(items: Iterable[Item], ledger: Ledger) -> None:
    """Note since when nothing wants a tag, also where it is somebody else's that may go."""
    for item in items:
        if ledger.entry(item.repository, item.reference) or (item.since and ":" not in item.reference):
            ledger.note_unwanted(item.repository, item.reference, item.since)


def _without_gone(items: list[Item], stores: Stores, ledger: Ledger) -> list[Item]:
    """Leave out digests without a tag that somebody else has deleted, or that only a deployment names."""
    doubtful = [
        item for item in items if ":" in item.reference and (item.status == DOOMED or item.reason == IN_USE)
    ]
    pairs = [(item.repository, item.digest) for item in doubtful]
    found = dict(zip(pairs, stores.map_target(partial(_digest, stores.target), pairs), strict=True))
    gone = {pair for pair, digest in found.items() if digest == ""}
    for item in doubtful:
        if item.status == DOOMED and (item.repository, item.digest) in gone:
            ledger.gone(item.repository, item.digest)
    return [item for item in items if (item.repository, item.reference) not in gone]


def _emptied(items: Iterable[Item]) -> list[str]:
    staying: dict[str, bool] = {}
    for item in items:
        staying[item.repository] = staying.get(item.repository, False) or item.status != DOOMED
    return sorted(name for name, stays in staying.items() if not stays)
