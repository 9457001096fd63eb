"""What tags were before, and going back: a manifest that is still here is put under its tag again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from _registry_config_values import Settings
from _registry_http_retry import Run
from _registry_oci_errors import LOCAL, NotFound, RegistryError
from _registry_oci_manifest import NESTING_LIMIT, Manifest
from _registry_oci_names import is_digest, is_repository, is_tag
from _registry_store_protocol import Store
from _registry_sync_ledger import ROLLBACK, Entry, Ledger, LedgerError, Was
from _registry_sync_lock import only_one
from _registry_sync_stores import open_stores
from _registry_sync_tag import Tag

HELD = "held"


def hold_back(tags: Iterable[Tag], ledger: Ledger) -> None:
    """Leave tags alone that a roll-back holds: they differ from upstream because somebody wants it so."""
    for tag in tags:
        entry = ledger.entry(tag.target, tag.target_reference)
        if not entry or not entry.held or tag.local == tag.upstream:
            continue
        if tag.status == "stale":
            tag.status = HELD
            tag.error = _why_held(tag, entry.held)
        elif tag.status == "missing" and entry.held != tag.upstream:
            # What upstream has now is what the roll-back was to get rid of.
            tag.fail("unreadable", NotFound(_why_gone(tag, entry.held), side=LOCAL))


def _why_held(tag: Tag, held: str) -> str:
    if tag.local != held:
        return (
            f"a roll-back to {held[:19]}… was interrupted; registry_sync.rollback {tag.name} digest={held} "
            f"ends it, registry_sync.release {tag.name} gives it up"
        )
    pin = f"{tag.target_reference}@{held}"
    return (
        f"a roll-back holds it at {held[:19]}…; pin it for good with tags: ['{pin}'], "
        f"or let it follow again: registry_sync.release {tag.name}"
    )


def _why_gone(tag: Tag, held: str) -> str:
    return (
        f"a roll-back holds it at {held[:19]}…, and it is gone here; registry_sync.rollback {tag.name} "
        f"digest={held} puts it back, registry_sync.release {tag.name} lets it follow upstream again"
    )


def history(settings: Settings, name: str, *, ledger_directory: str) -> dict[str, Any]:
    """What a tag was, the latest first.

    Args:
        settings: who the local registry is.
        name: ``repository:tag``.
        ledger_directory: where the ledger lies.

    Returns:
        See the execution module.

    Raises:
        RegistryError: the name is none, or the registry does not answer.
    """
    repository, reference = split_name(name)
    ledger = Ledger(ledger_directory, settings.local.url)
    stores = open_stores(settings, Run(settings.transfer))
    stores.connect_target()
    now = _digest(stores.target, repository, reference)
    entry = ledger.entry(repository, reference) or Entry()
    spans = _spans(entry, now)
    digests = list(dict.fromkeys(was.digest for was, _ in spans if was.digest))
    pullable = dict(
        zip(digests, stores.map_target(partial(_is_whole, stores.target, repository), digests), strict=True)
    )
    return {
        "image": name,
        "now": now,
        "held": entry.held,
        "history": [
            {
                "digest": was.digest,
                "from": was.at,
                "until": until,
                "by": was.by,
                "here": was.digest == now and not until,
                "pullable": pullable.get(was.digest, False),
            }
            for was, until in spans
        ],
        "error": ledger.trouble,
    }


def _spans(entry: Entry, now: str) -> list[tuple[Was, float]]:
    ends = [*(was.at for was in entry.history[1:]), 0.0]
    spans = list(zip(entry.history, ends, strict=True))[::-1]
    if now and (not spans or spans[0][0].digest != now):
        # Somebody else has moved it since; when is not known.
        spans.insert(0, (Was(now, 0.0, "other"), 0.0))
    return spans


def rollback(
    settings: Settings, name: str, digest: str = "", *, directory: str, ledger_directory: str
) -> dict[str, Any]:
    """Put an earlier manifest under a tag again, and hold it there; no blob moves.

    Args:
        settings: who the local registry is.
        name: ``repository:tag``.
        digest: which; empty = what it was before.
        directory: of the run's lock.
        ledger_directory: where the ledger lies.

    Returns:
        ``image``, ``was``, ``now``, ``held`` and ``error``.

    Raises:
        RegistryError: the name or the digest is none, or the registry does not answer.
    """
    repository, reference = split_name(name)
    if digest and not is_digest(digest):
        raise RegistryError(
            f"{digest[:100]!r} is no digest; registry_sync.history {name} shows those that were here"
        )
    with only_one(directory, settings.local):
        ledger = Ledger(ledger_directory, settings.local.url)
        _demand_ledger(ledger)
        stores = open_stores(settings, Run(settings.transfer))
        stores.connect_target()
        target = stores.target
        was = _digest(target, repository, reference)
        wanted = digest or _before(ledger.entry(repository, reference) or Entry(), was)
        if not wanted:
            raise NotFound(f"{name} was nothing else before, as far as the ledger knows; give digest=")
        manifest = _whole(target, repository, wanted)
        if was != wanted:
            if was:
                ledger.found(repository, reference, was)
            ledger.hold(repository, reference, wanted)
            ledger.save()
            target.put(repository, reference, manifest)
            ledger.became(repository, reference, wanted, ROLLBACK)
        ledger.hold(repository, reference, wanted)
        ledger.save()
    return {"image": name, "was": was, "now": wanted, "held": wanted, "error": ""}


def release(settings: Settings, name: str, *, directory: str, ledger_directory: str) -> dict[str, Any]:
    """End the hold of a roll-back: the next sync brings the tag up to date.

    Args:
        settings: who the local registry is.
        name: ``repository:tag``.
        directory: of the run's lock.
        ledger_directory: where the ledger lies.

    Returns:
        ``image``, ``was`` and ``now`` (what it was held at, and is), ``held`` (empty) and ``error``.

    Raises:
        RegistryError: the name is none, or nothing holds it.
    """
    repository, reference = split_name(name)
    with only_one(directory, settings.local):
        ledger = Ledger(ledger_directory, settings.local.url)
        _demand_ledger(ledger)
        entry = ledger.entry(repository, reference)
        if entry is None or not entry.held:
            raise NotFound(f"no roll-back holds {name}")
        was = entry.held
        ledger.hold(repository, reference, "")
        ledger.save()
    return {"image": name, "was": was, "now": entry.digest, "held": "", "error": ""}


def split_name(name: str) -> tuple[str, str]:
    """Repository and tag of ``repository:tag``.

    Raises:
        RegistryError: it is something else.
    """
    repository, _, reference = str(name).rpartition(":")
    if "@" in str(name) or not is_repository(repository) or not is_tag(reference):
        raise RegistryError(f"{str(name)[:100]!r} is no repository:tag")
    return repository, reference


def _demand_ledger(ledger: Ledger) -> None:
    if ledger.trouble:
        raise LedgerError(ledger.trouble)


def _digest(target: Store, repository: str, reference: str) -> str:
    try:
        return target.resolve(repository, reference).digest
    except NotFound:
        return ""


def _before(entry: Entry, now: str) -> str:
    """The last digest that a tag had and that is not the one it has now."""
    digests: Sequence[str] = [was.digest for was in reversed(entry.history) if was.digest and not was.gone]
    return next((digest for digest in digests if digest != now), "")


def _is_whole(target: Store, repository: str, digest: str) -> bool:
    try:
        _whole(target, repository, digest)
    except RegistryError:
        return False
    return True


def _whole(target: Store, repository: str, digest: str) -> Manifest:
    """A manifest with everything that it needs there.

    Raises:
        NotFound: what of it is not there.
    """
    root = target.manifest(repository, digest)
    level = [root]
    for _ in range(NESTING_LIMIT):
        for manifest in level:
            for blob in manifest.blobs:
                if not target.has(repository, blob.digest):
                    raise NotFound(
                        f"{target} has no blob {blob.digest} any more, which {repository}@{digest} needs"
                    )
        level = [
            target.manifest(repository, child.digest) for manifest in level for child in manifest.children
        ]
    return root
