"""What may be forgotten, and why all else is kept: decided from what was found, without I/O."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from _registry_config_values import Prune
from _registry_oci_referrers import is_attachment_tag, stem_of, stems_of
from _registry_oci_tags import version_key
from _registry_sync_ledger import ROLLBACK, SYNC, Entry

PRUNE_STATUSES = ("kept", "waiting", "doomed", "pruned", "failed")
KEPT, WAITING, DOOMED, PRUNED, FAILED = PRUNE_STATUSES
HELD = "a roll-back holds it"
IN_USE = "prune:keep:environments"


@dataclass(slots=True)
class Found:
    """One repository as it is.

    Args:
        name: of it.
        tags: tag → digest of all that are there, and the digests that the list wants or wanted without one;
            an empty digest where one cannot be told.
        interrupted: tags at which an earlier prune was interrupted.
        unreadable: tags whose digest could not be told; one that is listed and not there is none of them.
        wanted: tags and digests that the image list wants.
        listed: an entry of the list fills it.
        unknown: why it is not known what the list wants here; empty where it is.
        entries: what the ledger says.
        below: digest → digests of the manifests that it names, as far as something may be attached to these.
    """

    name: str
    tags: Mapping[str, str]
    wanted: Collection[str] = ()
    listed: bool = False
    unknown: str = ""
    interrupted: Collection[str] = ()
    unreadable: Collection[str] = ()
    entries: Mapping[str, Entry] = field(default_factory=dict)
    below: Mapping[str, Collection[str]] = field(default_factory=dict)


@dataclass(slots=True)
class Item:
    """A tag, or a digest without one, and what is to become of it.

    Args:
        repository: where.
        reference: a tag, or a digest.
        digest: what it is; empty = nothing is there under its name any more, or that cannot be told.
        status: ``kept``, ``waiting``, ``doomed``, ``pruned`` or ``failed``.
        reason: of the status, a phrase.
        since: since when nothing wants it, in seconds since 1970; 0 = it is wanted.
        twins: tags of the same digest that stay.
        needed: an index that stays needs the digest.
        parents: what goes and has it below it.
        unreadable: its digest could not be told.
        interrupted: it has the empty index of an earlier prune.
        size: bytes that would be free once it is gone and space is freed.
        cause: of a failure, one word.
        error: of a failure, one sentence.
    """

    repository: str
    reference: str
    digest: str
    status: str = KEPT
    reason: str = ""
    since: float = 0.0
    twins: tuple[str, ...] = ()
    needed: bool = False
    parents: list[Item] = field(default_factory=list, repr=False)
    unreadable: bool = False
    interrupted: bool = False
    size: int = 0
    cause: str = ""
    error: str = ""

    @property
    def name(self) -> str:
        """``repository:tag``, or ``repository@digest``."""
        return f"{self.repository}{'@' if ':' in self.reference else ':'}{self.reference}"

    @property
    def stays(self) -> bool:
        """Whether its digest stays when it goes."""
        return self.needed or bool(self.twins)


def judge(
    found: Found, rules: Prune, now: float, *, in_use: Collection[str] = (), backups: int = 0
) -> list[Item]:
    """Decide for every tag of a repository, and every digest that sync has left there without one.

    Args:
        found: the repository.
        rules: of the pillar.
        now: seconds since 1970.
        in_use: ``repository:tag`` and ``repository@digest`` that deployments name.
        backups: how many earlier digests of a tag are kept.
    """
    names = [
        tag
        for tag, digest in found.tags.items()
        if digest and _is_image(tag) and tag not in found.interrupted
    ]
    newest = set(sorted(names, key=version_key, reverse=True)[: rules.newest])
    backed_up = _backups(found, backups)
    items = []
    for tag, digest in found.tags.items():
        item = Item(found.name, tag, digest, unreadable=tag in found.unreadable)
        if tag in found.interrupted and tag not in found.wanted:
            item.status, item.reason, item.interrupted = DOOMED, "an earlier prune was interrupted here", True
            items.append(item)
            continue
        item.reason = _why_kept(item, found, rules, now, newest, in_use)
        if not item.reason and digest in backed_up:
            item.reason = "backup:keep"
        if not item.reason:
            _set_waiting(item, found.entries.get(tag), rules, now)
        items.append(item)
    items += _untagged(found, rules, now, backups, in_use)
    items += _named_by_digest(found, items, in_use)
    _keep_the_last(items, found)
    _let_attachments_follow(items, found.below)
    _name_twins(items)
    return items


def _backups(found: Found, backups: int) -> set[str]:
    """The latest earlier digests of each tag, also where a sync has kept them under tags of their own."""
    return {
        before.digest
        for reference, entry in found.entries.items()
        for before in _earlier(entry, found.tags.get(reference, ""))[: _kept_of(reference, found, backups)]
    }


def _kept_of(reference: str, found: Found, backups: int) -> int:
    """How many earlier digests of a tag are backups: none of one that was pruned itself."""
    return backups if reference in found.tags or reference in found.wanted else 0


def _why_kept(
    item: Item, found: Found, rules: Prune, now: float, newest: Collection[str], in_use: Collection[str]
) -> str:
    entry = found.entries.get(item.reference)
    put_here = entry is not None and bool(entry.digest)
    checks = (
        (item.reference in found.wanted, "it is on the image list"),
        (found.unknown, f"what the list wants here is not known: {found.unknown}"),
        (item.unreadable, "its digest cannot be read"),
        (not put_here and not rules.foreign, "sync never put it here"),
        (
            put_here and entry and item.digest not in ("", entry.digest) and not rules.foreign,
            "it was changed since sync put it here",
        ),
        (entry is not None and entry.held, HELD),
        (entry is not None and entry.pending, "a sync into it was interrupted"),
        (_matches(item.reference, rules.tags), "prune:keep:tags"),
        (item.reference in newest, "prune:keep:newest"),
        (entry is not None and _put_at(entry) > now - rules.since, "prune:keep:since"),
        (item.name in in_use, IN_USE),
        (_at(found.name, item.digest) in in_use, IN_USE),
    )
    return next((why for holds, why in checks if holds), "")


def _at(repository: str, digest: str) -> str:
    return f"{repository}@{digest}"


def _named_by_digest(found: Found, items: Iterable[Item], in_use: Collection[str]) -> list[Item]:
    """What deployments name by a digest that nothing here is known to have: part of an index."""
    known = {item.digest for item in items}
    named = (name.partition("@")[2] for name in in_use if name.startswith(_at(found.name, "")))
    return [Item(found.name, one, one, reason=IN_USE) for one in sorted(set(named) - known)]


def _put_at(entry: Entry) -> float:
    return entry.history[-1].at if entry.history else 0.0


def _matches(tag: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(tag, pattern) for pattern in patterns)


def _set_waiting(item: Item, entry: Entry | None, rules: Prune, now: float) -> None:
    """Let it wait from our first sight of it unwanted; what was lost meanwhile, too."""
    item.since = (entry.unwanted if entry else 0.0) or now
    if rules.after is None:
        item.status, item.reason = WAITING, "no entry of the list wants it; prune:after is never"
    elif now - item.since < rules.after:
        item.status = WAITING
        item.reason = f"no entry of the list wants it; until {_date(item.since + rules.after)}"
    else:
        item.status, item.reason = DOOMED, f"no entry of the list wants it since {_date(item.since)}"


def _untagged(found: Found, rules: Prune, now: float, backups: int, in_use: Collection[str]) -> list[Item]:
    """Digests that their tag has left, as far as sync put them there and none of the tags is them now."""
    present = {*found.tags.values(), *found.wanted}
    held = {entry.held for entry in found.entries.values()}
    left: dict[str, Item] = {}
    for reference, entry in found.entries.items():
        kept = _kept_of(reference, found, backups)
        for age, before in enumerate(_earlier(entry, found.tags.get(reference, ""))):
            if before.digest in present or not before.ours:
                continue
            item = Item(found.name, before.digest, before.digest, since=before.until)
            if age < kept:
                item.reason = "backup:keep"
            elif before.digest in held:
                item.reason = HELD
            elif _at(found.name, before.digest) in in_use:
                item.reason = IN_USE
            elif found.unknown:
                item.reason = f"what the list wants here is not known: {found.unknown}"
            elif rules.untagged is None or now - before.until < rules.untagged:
                item.status = WAITING
                item.reason = f"tag {reference} has left it; prune:untagged"
            else:
                item.status = DOOMED
                item.reason = f"tag {reference} has left it on {_date(before.until)}"
            other = left.get(before.digest)
            # Whoever keeps it wins.
            if other is None or _RANK[item.status] < _RANK[other.status]:
                left[before.digest] = item
    return list(left.values())


_RANK = {KEPT: 0, WAITING: 1, DOOMED: 2}


@dataclass(slots=True)
class _Before:
    """A digest that a tag had.

    Args:
        digest: of a manifest that is still there.
        until: when the tag left it, in seconds since 1970.
        ours: a sync, or a roll-back, has put it there.
    """

    digest: str
    until: float
    ours: bool


def _earlier(entry: Entry, now: str) -> list[_Before]:
    """What a tag was before, the latest first, each digest once.

    Args:
        entry: of the tag.
        now: its digest; empty = it is not there.
    """
    spans = [(was, after.at) for was, after in zip(entry.history, entry.history[1:], strict=False)]
    if not now and entry.history and entry.unwanted:
        spans.append((entry.history[-1], entry.unwanted))
    found: dict[str, _Before] = {}
    for was, until in reversed(spans):
        if was.digest and was.digest != now and not was.gone:
            before = found.setdefault(was.digest, _Before(was.digest, until, ours=False))
            before.ours = before.ours or was.by in (SYNC, ROLLBACK)
    return list(found.values())


def _is_image(reference: str) -> bool:
    """Whether it is a tag, and none of an attachment: those are counted by no rule."""
    return ":" not in reference and not is_attachment_tag(reference)


def _let_attachments_follow(items: Sequence[Item], below: Mapping[str, Collection[str]]) -> None:
    """A signature goes when its subject goes, and not before; so does what is attached to that in turn."""
    attached = [item for item in items if is_attachment_tag(item.reference)]
    others = [item for item in items if not is_attachment_tag(item.reference)]
    for status, reason in ((KEPT, "its subject is kept"), (WAITING, "its subject waits")):
        staying = _stems((item for item in others if item.status == status), below)
        _follow(attached, staying, below, KEPT, reason)
    doomed = _stems((item for item in others if item.status == DOOMED), below)
    _follow([item for item in attached if item.status != KEPT], doomed, below, DOOMED, "its subject goes")


def _follow(
    attached: Iterable[Item], stems: set[str], below: Mapping[str, Collection[str]], status: str, reason: str
) -> None:
    """Give a status to what is attached to manifests, and to what is attached to that."""
    left = list(attached)
    while followers := [item for item in left if stem_of(item.reference) in stems]:
        left = [item for item in left if item not in followers]
        stems |= _stems(followers, below)
        for item in followers:
            if item.status != KEPT:
                item.status, item.reason = status, reason


def _stems(items: Iterable[Item], below: Mapping[str, Collection[str]]) -> set[str]:
    """How the tags begin under which something is attached to what items are, and to what is below it."""
    digests = [item.digest for item in items if item.digest]
    return stems_of([*digests, *(one for digest in digests for one in below.get(digest, ()))])


def _keep_the_last(items: Sequence[Item], found: Found) -> None:
    """Never the last tag of a repository that the list names."""
    tags = [
        item
        for item in items
        if item.digest and _is_image(item.reference) and item.reference not in found.interrupted
    ]
    if found.listed and tags and all(item.status == DOOMED for item in tags):
        last = max(tags, key=lambda item: version_key(item.reference))
        last.status, last.reason = KEPT, "it is the last tag of a repository that is on the image list"


def _name_twins(items: Iterable[Item]) -> None:
    staying: dict[str, list[str]] = {}
    everything = list(items)
    for item in everything:
        if item.status != DOOMED and item.digest:
            staying.setdefault(item.digest, []).append(item.reference)
    for item in everything:
        if item.status == DOOMED:
            item.twins = tuple(staying.get(item.digest, ()))
            if item.twins and ":" in item.reference:
                item.status, item.reason, item.twins = KEPT, f"tag {item.twins[0]} has it", ()


def plan_id(registry: str, rules: Prune, items: Iterable[Item]) -> str:
    """What a plan is known by: the same for the same registry, settings and deeds."""
    deeds = sorted(
        (item.name, item.digest, str(item.needed), *item.twins) for item in items if item.status == DOOMED
    )
    told = json.dumps([registry, repr(rules), deeds])
    # With a letter ahead it is no number to Salt, which reads what is typed as YAML.
    return f"p{hashlib.sha256(told.encode()).hexdigest()[:7]}"


def share(items: Sequence[Item]) -> float:
    """Which percentage of the tags is doomed."""
    tags = [item for item in items if ":" not in item.reference]
    doomed = sum(item.status == DOOMED for item in tags)
    return 100 * doomed / len(tags) if tags else 0.0


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
