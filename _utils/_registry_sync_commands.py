"""What an operator asks for, each one function: settings in, plain JSON data out."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from _registry_config_values import Settings
from _registry_http_retry import Pace, Run
from _registry_oci_errors import RegistryError
from _registry_show_progress import Progress
from _registry_show_report import Report, return_code
from _registry_store_remote import RemoteStore
from _registry_sync_compare import Comparison, compare, find_extras
from _registry_sync_copy import TransferStats, execute
from _registry_sync_edges import remember
from _registry_sync_history import hold_back
from _registry_sync_inventory import take_inventory
from _registry_sync_ledger import Ledger
from _registry_sync_lock import only_one, stopping_on_signals
from _registry_sync_lookaside import Lookaside
from _registry_sync_memory import Memory, Unfinished
from _registry_sync_plan import Plan, make_plan
from _registry_sync_publish import Publisher
from _registry_sync_record import backup_with, note_begin, note_end
from _registry_sync_report import report_on, report_registry
from _registry_sync_space import demand_space
from _registry_sync_stores import Stores, open_stores
from _registry_sync_tag import Tag

__all__ = ["check", "listing", "plan", "populated", "registry", "return_code", "sync"]


def check(
    settings: Settings,
    *,
    directory: str = "",
    ledger_directory: str = "",
    storage: str = "",
    everything: bool = False,
) -> Report:
    """Read both sides and change nothing.

    Args:
        settings: the list and the two sides.
        directory: where is kept what need not be read again; empty = nowhere.
        ledger_directory: where the ledger lies; empty = nowhere.
        storage: the directory in which the local registry keeps its images; empty = it is not of this host.
        everything: tell of the tags in repositories that the list does not name, too.

    Returns:
        The report; see the execution module for its keys.
    """
    began = time.monotonic()
    stores = open_stores(settings, Run(settings.transfer), storage)
    memory = Memory(directory)
    comparison = compare(
        settings.images, stores, memory, everything=everything, attachments=settings.attachments
    )
    hold_back(comparison.tags, Ledger(ledger_directory, settings.local.url))
    _verify(settings, comparison, stores, memory, Lookaside(settings.signatures, stores.run))
    memory.save()
    return report_on(settings, comparison, find_extras(comparison, stores), began)


def plan(
    settings: Settings,
    *,
    directory: str = "",
    ledger_directory: str = "",
    storage: str = "",
    fresh: bool = False,
) -> Report:
    """Say what a sync would do, with the blobs and bytes that it would move.

    Args:
        settings: the list and the two sides.
        directory: where is kept what need not be read again; empty = nowhere.
        ledger_directory: where the ledger lies; empty = nowhere.
        storage: the directory in which the local registry keeps its images; empty = it is not of this host.
        fresh: take a local registry that cannot be reached for one that is still empty.
    """
    began = time.monotonic()
    stores = open_stores(settings, Run(settings.transfer), storage)
    memory = Memory(directory)
    comparison = compare(
        settings.images, stores, memory, assume_empty=fresh, attachments=settings.attachments
    )
    hold_back(comparison.tags, Ledger(ledger_directory, settings.local.url))
    _verify(settings, comparison, stores, memory, Lookaside(settings.signatures, stores.run))
    memory.save()
    planned = make_plan(comparison, stores)
    return report_on(settings, comparison, find_extras(comparison, stores), began, planned=planned)


def sync(
    settings: Settings,
    *,
    directory: str = "",
    ledger_directory: str = "",
    storage: str = "",
    progress: Progress | None = None,
) -> Report:
    """Bring the local registry up to date.

    Args:
        settings: the list and the two sides.
        directory: a directory of its own, for a lock and for what a later run needs to go on where
            this one ended; empty = neither.
        ledger_directory: where is noted what was put into the registry; empty = nowhere.
        storage: the directory in which the local registry keeps its images; empty = it is not of this host.
        progress: is told what moves and what is done.

    Raises:
        AlreadyRunning: another sync into the same registry.
        NoSpace: its disk has no room for what would be copied; nothing was.
        Stopped: told to stop before anything was copied.
    """
    began = time.monotonic()
    run = Run(settings.transfer)
    stores = open_stores(settings, run, storage)
    with only_one(directory, settings.local), stopping_on_signals(run):
        memory = Memory(directory)
        unfinished = Unfinished(directory, settings.local.url)
        ledger = Ledger(ledger_directory, settings.local.url)
        # What an earlier run has left without a tag is known from its note, else from the catalog.
        comparison = compare(
            settings.images, stores, memory, catalog=not directory, attachments=settings.attachments
        )
        hold_back(comparison.tags, ledger)
        lookaside = Lookaside(settings.signatures, run)
        _verify(settings, comparison, stores, memory, lookaside)
        planned = make_plan(comparison, stores, unfinished.repositories)
        demand_space(planned.bytes_to_copy, storage)
        unfinished.begin(tag.target for tag, _ in planned.content)
        keep = backup_with(settings.backup.tags, stores.target, ledger)
        signatures = Publisher(lookaside, planned, stores, memory)
        signatures.prepare(ledger.signatures)
        note_begin(ledger, comparison.tags, planned)
        memory.save()

        def before_overwriting(tag: Tag) -> None:
            keep(tag)
            signatures.publish(tag)

        stats = execute(
            planned,
            stores,
            progress or Progress(),
            directory=directory,
            before_overwriting=before_overwriting,
            put_here=ledger.digest,
        )
        note_end(ledger, comparison.tags, settings.images, stats.attached)
        _remember(planned, stats, memory)
        if all(tag.status in ("current", "copied", "held") for tag in comparison.tags):
            unfinished.end()
    return report_on(settings, comparison, (), began, stats=stats)


def _remember(planned: Plan, stats: TransferStats, memory: Memory) -> None:
    """Keep what need not be read again."""
    for digest, listed in stats.lists.items():
        memory.put(listed, "listed", digest)
    remember(planned.manifests.values(), memory)
    memory.save()


def _verify(
    settings: Settings, comparison: Comparison, stores: Stores, memory: Memory, lookaside: Lookaside
) -> None:
    """Refuse what is not signed as the list wants it."""
    if not any(image.signed_by for image in settings.images):
        return
    # What reads signatures takes as long to load as a whole check of a mirror near by.
    from _registry_sync_signed import verify_signatures

    looked = settings.attachments.travel
    asked = settings.engine.policy
    verify_signatures(
        comparison.tags, settings.keys, stores, memory, lookaside.find, looked=looked, engines_ask=asked
    )


def listing(settings: Settings) -> dict[str, dict[str, str]]:
    """Every tag that the local registry holds.

    Returns:
        Repository → tag → digest; an empty digest where a tag is broken.

    Raises:
        RegistryError: the local registry cannot be read.
    """
    stores = open_stores(settings, Run(settings.transfer))
    targets = [image.target for image in settings.images]
    inventory = take_inventory(stores, targets, everything=True)
    for failure in (inventory.error, inventory.catalog_error):
        if failure:
            raise failure
    pairs = [(name, tag) for name, tags in sorted(inventory.tags.items()) for tag in sorted(tags)]

    def digest_of(pair: tuple[str, str]) -> str:
        try:
            return stores.target.resolve(*pair).digest
        except RegistryError:
            return ""

    digests = stores.map_target(digest_of, pairs)
    found: dict[str, dict[str, str]] = {}
    for (name, tag), digest in zip(pairs, digests, strict=True):
        found.setdefault(name, {})[tag] = digest
    return found


def registry(settings: Settings) -> dict[str, Any]:
    """The local registry in short: url, up, repositories, tags, others, error, upstreams."""
    stores = open_stores(settings, Run(settings.transfer))
    targets = [image.target for image in settings.images]
    return report_registry(settings, take_inventory(stores, targets), settings.images)


def populated(settings: Settings) -> bool:
    """Whether the local registry answers and names at least one repository."""
    try:
        return holds_anything(settings)
    except RegistryError:
        return False


def holds_anything(settings: Settings) -> bool:
    """Whether the local registry names at least one repository.

    Raises:
        RegistryError: it cannot be told.
    """
    # Asked before anything is set up, when nothing may be listening: waiting longer would not help.
    local = RemoteStore(settings.local, Pace(Run(replace(settings.transfer, retries=0))))
    local.ping()
    return bool(local.first_repository())
