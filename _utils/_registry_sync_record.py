"""What a sync notes in the ledger, and keeps of a tag before it overwrites it."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from _registry_config_values import Image
from _registry_oci_errors import LOCAL, Unsupported
from _registry_oci_names import is_tag
from _registry_oci_referrers import fallback_tag
from _registry_store_protocol import Store
from _registry_sync_ledger import Ledger, LedgerError
from _registry_sync_plan import Plan
from _registry_sync_tag import Tag

log = logging.getLogger(__name__)


def list_id(images: Iterable[Image]) -> str:
    """What an image list is known by, from one run to the next."""
    told = sorted(
        repr((image.source.url, image.repository, image.target, image.tags, image.platforms))
        for image in images
    )
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def note_begin(ledger: Ledger, tags: Iterable[Tag], plan: Plan) -> None:
    """Note what is going to be done, so that it is known as ours also where the run is interrupted."""
    if ledger.trouble:
        log.warning("%s; what roll-backs hold is not known, and prune refuses", ledger.trouble)
    ledger.settle({(tag.target, tag.target_reference): tag.local for tag in tags if tag.local})
    with_roots = [
        (tag.target, tag.target_reference, tag.local, tag.upstream) for tag, _ in plan.roots if tag.upstream
    ]
    _save(ledger, lambda: ledger.begin(with_roots))


def note_end(
    ledger: Ledger, tags: Sequence[Tag], images: Iterable[Image], attached: Mapping[tuple[str, str], str]
) -> None:
    """Note what has been done, and since when nothing wants what was put here before.

    Args:
        ledger: where.
        tags: of the list, after the run.
        images: the list.
        attached: repository and tag → digest of what was put there to attach something.
    """
    wanted: dict[str, set[str]] = {}
    for tag in tags:
        subjects = {one.subject for one in tag.attached if not one.tag}
        own = {one.tag for one in tag.attached if one.tag} | set(map(fallback_tag, subjects))
        wanted.setdefault(tag.target, set()).update({tag.target_reference}, own)
        # One that only got something attached stays whose it was.
        if tag.status == "copied" and tag.previous != tag.upstream:
            ledger.became(tag.target, tag.target_reference, tag.upstream)
    for (repository, name), digest in attached.items():
        ledger.became(repository, name, digest)
    if all(tag.status in ("current", "copied", "held") for tag in tags):
        ledger.complete = list_id(images)
        ledger.note_wanted(wanted)
    _save(ledger, ledger.save)


def backup_with(template: str, target: Store, ledger: Ledger) -> Callable[[Tag], None]:
    """What keeps a tag under another name before it is overwritten.

    Args:
        template: of that name, with ``{tag}`` and ``{n}``; empty = it stays without a tag.
        target: where.
        ledger: knows names that were used, and is told of the new one.

    Returns:
        A function of the tag, which raises a ``RegistryError`` where it cannot be kept.
    """
    names: dict[str, set[str]] = {}

    def used(repository: str) -> set[str]:
        # Not every name that is there is known to be ours: the ledger may be a new one.
        if repository not in names:
            names[repository] = {*ledger.references(repository), *target.tags(repository)}
        return names[repository]

    def keep(tag: Tag) -> None:
        if not template or not tag.local or tag.local == tag.upstream:
            return
        manifest = target.manifest(tag.target, tag.local)
        number = str(_next(template, tag, tuple(used(tag.target))))
        name = template.replace("{tag}", tag.target_reference).replace("{n}", number)
        if not is_tag(name):
            raise Unsupported(_too_long(name, tag), side=LOCAL)
        target.put(tag.target, name, manifest)
        used(tag.target).add(name)
        ledger.became(tag.target, name, tag.local)

    return keep


def _next(template: str, tag: Tag, used: Iterable[str]) -> int:
    pattern = (
        re.escape(template).replace(r"\{tag\}", re.escape(tag.target_reference)).replace(r"\{n\}", r"(\d+)")
    )
    matches = (re.fullmatch(pattern, reference) for reference in used)
    return 1 + max((int(match[1]) for match in matches if match), default=0)


def _too_long(name: str, tag: Tag) -> str:
    return (
        f"docker_registry:backup:tags: would keep {tag.target}:{tag.target_reference} under a tag of "
        f"{len(name)} characters, of which it may have 128; give a shorter template"
    )


def _save(ledger: Ledger, write: Callable[[], None]) -> None:
    """A mirror whose ledger cannot be written still mirrors; what it puts there is never pruned then."""
    try:
        write()
    except LedgerError as failure:
        log.warning("%s; what this run brings counts as somebody else's, and is never pruned", failure)
