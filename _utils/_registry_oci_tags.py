"""Which of a repository's tags are wanted, and what a tag says of a version; no I/O.

What a tag is, as operators read it:

========================  ==========================================  ====================================
a tag like                is                                          in ``>=1`` and its like
========================  ==========================================  ====================================
1.25  v3.9  4.0.0.Final   a release                                   yes
13.0-38  3-9  8u342       a later build of that release               yes
1.10.0-rc1  1.22beta1     a pre-release, before its release           only where it is named
3.19-alpine  17-jdk       a variant, before the plain release         only where it is named
20240115  20240115.1      a date                                      where the bound is one, >=20240101
4f5e6d7  latest  sha-1f   no version                                  never
========================  ==========================================  ====================================

A suffix of numbers is a build, one that begins with a word of ``_PRE_RELEASES`` a pre-release, one with
any other word a variant. Seven or more hexadecimal digits are a commit, unless they read YYYYMMDD.

A *pre-release is named* by a comparison of the same version with a pre-release in it (``>=1.10.0-rc1``
takes 1.10.0-rc2 and not 1.11.0-rc1, as npm and Cargo do), or by a pattern that has its word
(``*-rc*``). A *variant is named* by a comparison or a pattern that has all of its words (``*-alpine*``).

``newest: 2`` takes of the first of these that there are any of, and fills up from no other: releases and
all that is named; dates; variants; pre-releases; what is no version. So commits are taken only where
there is nothing else, and ``latest`` before them. No version is named by a pattern that begins with a
word (``bookworm-*``).

https://semver.org/#spec-item-11, https://github.com/npm/node-semver#prerelease-tags
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from typing import Any

from _registry_oci_names import is_pattern, is_tag

# fmt: off
_PRE_RELEASES = frozenset({
    "a", "alpha", "b", "beta", "canary", "ci", "cr", "daily", "dev", "devel", "develop", "ea", "eap",
    "edge", "experimental", "insiders", "m", "main", "master", "milestone", "next", "nightly", "pr",
    "pre", "prerelease", "preview", "rc", "snapshot", "test", "testing", "trunk", "unstable", "weekly",
})
# fmt: on
# Those that mean the same are one word, so that their numbers compare.
_ALIASES = {"a": "alpha", "b": "beta", "cr": "rc", "milestone": "m", "preview": "pre", "prerelease": "pre"}
# What stands before the number of a build (15.2.0-r21, 8u342), and what says release in other words.
_BUILDS = frozenset(["build", "p", "patch", "pl", "post", "r", "rev", "u", "update"])
_RELEASES = frozenset(["final", "ga", "release"])
_KNOWN = _PRE_RELEASES | _BUILDS | _RELEASES

_DATE = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:\d\d){0,3}")
_COMMIT = re.compile(r"g?[0-9a-f]{7,128}")
_COMMIT_NAME = re.compile(r"(?:(?:sha|git|commit)[-_.]?|sha\d+-)?[0-9a-f]{7,128}(?![0-9a-z]).*")
# A pattern that names no version, as bookworm-* does.
_WORD_FIRST = re.compile(r"[A-Za-z]{2,}")
_VERSION = re.compile(r"[vV]?(\d+(?:\.\d+)*)(.*)")
_COMPARISON = re.compile(r"(>=|<=|!=|==|=|>|<|\^|~)?\s*v?(\d+(?:\.\d+)*(?:[-+_A-Za-z].*)?)")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
}
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d)(:\d\d)?(?:[.,](\d{1,6})\d*)?)?\s*([Zz]|[+-]\d\d:?\d\d)?"
)


@dataclass(frozen=True)
class TagRule:
    """Which tags of a repository are wanted.

    Args:
        include: tags, patterns (``13.0*``, ``*``), digests (``sha256:…``) or tags pinned to a digest
            (``13.0@sha256:…``).
        exclude: tags or patterns to leave out.
        semver: comparisons joined by spaces (``>=3 <4``); tags that are no version fall out.
        newest: keep only so many of the tags that patterns found, the newest version first; 0 = all.
        since: keep only those of the tags that patterns found whose image was created then or later;
            a date or a moment as ``parse_date`` reads it; empty = all.
    """

    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    semver: str = ""
    newest: int = 0
    since: str = ""

    @property
    def needs_list(self) -> bool:
        """Whether upstream's tags must be listed to know what the rule means."""
        return any(map(is_pattern, self.include))

    @property
    def needs_dates(self) -> bool:
        """Whether ``select_tags`` gives candidates, of which ``select_recent`` chooses by their dates."""
        return bool(self.since)

    @property
    def literals(self) -> tuple[str, ...]:
        """The entries that name one tag or digest each."""
        return tuple(entry for entry in self.include if not is_pattern(entry))

    @property
    def patterns(self) -> tuple[str, ...]:
        """The entries that ask for every tag that matches."""
        return tuple(filter(is_pattern, self.include))


def select_tags(rule: TagRule, there: Iterable[str]) -> list[str]:
    """The tags that the patterns of a rule find among those that upstream has.

    Args:
        rule: what is wanted.
        there: every tag of the upstream repository.

    Returns:
        Matching tags in version order, oldest first; entries that name one tag are not among them
        unless a pattern finds them too. With ``since`` these are candidates: neither ``since`` nor
        ``newest`` is applied yet, read their dates and give them to ``select_recent``.
    """
    candidates = sorted((tag for tag in set(there) if _is_wanted(rule, tag)), key=version_key)
    return candidates if rule.since else _newest(rule, candidates)


def select_recent(rule: TagRule, created: Mapping[str, datetime | None]) -> list[str]:
    """The second half of ``select_tags`` for a rule with ``since``.

    Args:
        rule: what is wanted.
        created: what ``select_tags`` has given, each with the date of its image (``created`` of its
            config, read by ``parse_date``), or None where none could be read. UTC where a date does
            not say. The caller tells of tags without a date.

    Returns:
        Tags that are as new as ``since`` asks, of these the ``newest``, in version order. A tag
        without a date is not among them.
    """
    since = parse_date(rule.since)
    recent = [tag for tag, date in created.items() if since is None or (date and _in_utc(date) >= since)]
    return _newest(rule, sorted(recent, key=version_key))


def _is_wanted(rule: TagRule, tag: str) -> bool:
    """Whether include, exclude and semver leave a tag."""
    return (
        is_tag(tag)
        and any(fnmatchcase(tag, pattern) for pattern in rule.patterns)
        and not any(fnmatchcase(tag, pattern) for pattern in rule.exclude)
        and (not rule.semver or satisfies(tag, rule.semver, rule.patterns))
    )


def _newest(rule: TagRule, ordered: list[str]) -> list[str]:
    if not rule.newest:
        return ordered
    grades = [_grade(rule, tag) for tag in ordered]
    best = min(grades, default=0)
    return [tag for tag, grade in zip(ordered, grades, strict=True) if grade == best][-rule.newest :]


def _grade(rule: TagRule, tag: str) -> int:
    """How near to a release a tag is, 0 the nearest; what the rule names is as good as one."""
    version = _read(tag)
    if version is None:
        spelt = any(_WORD_FIRST.match(pattern) and fnmatchcase(tag, pattern) for pattern in rule.patterns)
        return 0 if spelt else 4
    bounds = [_bound(word) for word in rule.semver.split()]
    named = _is_named(version, tag, rule.patterns) or _is_named_by_bound(version, bounds)
    if version.is_date and version.is_plain:
        return 0 if any(bound and bound[1].is_date for bound in bounds) else 1
    return 0 if named else 3 if version.pre else 2


def parse_date(text: str) -> datetime | None:
    """A moment in UTC from ISO 8601, with or without a time; None for what is none.

    Configs have up to nanoseconds (``2024-01-11T17:32:27.123456789Z``), which Python does not read. A
    date is its midnight, and what names no time zone is UTC.
    """
    match = _MOMENT.fullmatch(text.strip())
    if match is None:
        return None
    date, minutes, seconds, fraction, zone = match.groups()
    offset = "+00:00" if zone in (None, "Z", "z") else f"{zone[:3]}:{zone[-2:]}"
    time = f"{minutes or '00:00'}{seconds or ':00'}.{(fraction or '0').ljust(6, '0')}"
    try:
        return datetime.fromisoformat(f"{date}T{time}{offset}").astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def _in_utc(date: datetime) -> datetime:
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)


def is_comparison(word: str) -> bool:
    """Whether a word of ``semver`` can be understood (``>=3``, ``<4.1``, ``^2``, ``~1.4``)."""
    # A tag has 128 characters at most, and a sign two.
    match = _COMPARISON.fullmatch(word) if len(word) <= 130 else None
    return match is not None and _read(match.group(2)) is not None


def satisfies(tag: str, comparisons: str, patterns: Iterable[str] = ()) -> bool:
    """Whether a tag is a version and every comparison holds for it.

    Numbers that a version or a bound does not give are zeros, and a build is later than its release:
    ``>13.0`` takes ``13.0-38``, and ``=13.0`` does not. ``^0.2`` is ``>=0.2 <0.3``, ``~1.4`` is
    ``>=1.4 <1.5`` and ``~1`` is ``>=1 <2``, as npm has it.

    Args:
        tag: any tag.
        comparisons: joined by spaces.
        patterns: of the rule; a pre-release or variant that one of them names may satisfy a range.
    """
    version = _read(tag)
    bounds = [_bound(word) for word in comparisons.split()]
    if version is None or not (_is_named(version, tag, patterns) or _is_named_by_bound(version, bounds)):
        return False
    return all(bound is not None and _holds(version, *bound) for bound in bounds)


def version_key(tag: str) -> tuple[Any, ...]:
    """A sort key, oldest first: what is no version, dates, then versions.

    ``3-9`` is before ``3-10``, ``1.10.0-rc1`` before ``1.10.0``, ``3.19-alpine`` before ``3.19``.
    """
    version = _read(tag)
    if version is None:
        # What upstream itself calls its latest is the last; commits have no order, and come first.
        standing = 2 if tag == "latest" else 0 if _COMMIT_NAME.fullmatch(tag) else 1
        return (0, (standing,), _natural(tag))
    return (1 if version.is_date else 2, version.order, _natural(tag))


@dataclass(frozen=True)
class _Version:
    """What a tag says of a version.

    ``1.10.0-rc.2-alpine3.19`` has the core 1.10.0, the pre-release (rc, 2) and the word alpine.
    """

    core: tuple[int, ...]
    build: tuple[int, ...] = ()
    pre: tuple[int | str, ...] = ()
    words: tuple[str, ...] = ()

    @property
    def is_date(self) -> bool:
        """Whether the first number is a date rather than a version's."""
        return _DATE.fullmatch(str(self.core[0])) is not None

    @property
    def is_plain(self) -> bool:
        """Whether it is a release or a build of one."""
        return not self.pre and not self.words

    @property
    def value(self) -> tuple[Any, ...]:
        """What two versions are compared by."""
        core = self.core
        while core[-1:] == (0,):
            core = core[:-1]
        pre = tuple((0, part, "") if isinstance(part, int) else (1, 0, part) for part in self.pre)
        return (core, self.build, not self.pre, pre)

    @property
    def order(self) -> tuple[Any, ...]:
        """What they are sorted by: a variant is before its release, and the one of most words the first."""
        return (*self.value, -len(self.words))


def _read(tag: str) -> _Version | None:
    match = _VERSION.fullmatch(tag)
    first = re.split(r"[-_.+]", tag)[0]
    if match is None or (_COMMIT.fullmatch(first) and not _DATE.fullmatch(first)):
        return None
    core, suffix = match.groups()
    parts = _parts(suffix)
    if suffix[:1].isalpha() and parts[0] not in _KNOWN:
        return None
    end = next((place for place, part in enumerate(parts) if not _is_number_or_known(part)), len(parts))
    build, pre = _build_and_pre(parts[:end])
    # From the first word of a variant on, numbers are its own: alpine3.19.
    words = tuple(part for part in parts[end:] if not part.isdigit() and part not in _BUILDS | _RELEASES)
    return _Version(tuple(map(int, core.split("."))), build, pre, words)


def _parts(suffix: str) -> list[str]:
    """Numbers and words of a suffix; a commit is one word, whatever it has in it."""
    pieces = [piece for piece in re.split(r"[-_.+]", suffix.lower()) if piece]
    return [
        part
        for piece in pieces
        for part in ([piece] if _COMMIT.fullmatch(piece) else re.findall(r"\d+|[a-z]+", piece))
    ]


def _is_number_or_known(part: str) -> bool:
    return part.isdigit() or part in _KNOWN


def _build_and_pre(parts: Iterable[str]) -> tuple[tuple[int, ...], tuple[int | str, ...]]:
    build: list[int] = []
    pre: list[int | str] = []
    for part in parts:
        if part.isdigit():
            (pre if pre else build).append(int(part))
        # A letter after a build is a build's: 8u392-b08.
        elif part in _PRE_RELEASES and not (build and len(part) == 1):
            pre.append(_ALIASES.get(part, part))
    return tuple(build), tuple(pre)


def _natural(text: str) -> tuple[tuple[int, int, str], ...]:
    parts = re.split(r"(\d+)", text)
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part)


def _bound(word: str) -> tuple[str, _Version] | None:
    match = _COMPARISON.fullmatch(word)
    version = _read(match.group(2)) if match else None
    return (match.group(1) or "=", version) if match and version else None


def _holds(version: _Version, sign: str, bound: _Version) -> bool:
    if version.is_date != bound.is_date:
        return False
    if sign in _OPERATORS:
        return _OPERATORS[sign](version.value, bound.value)
    fixed = _fixed(sign, bound.core)
    padded = version.core + (0,) * (len(fixed) - len(version.core))
    return version.value >= bound.value and padded[: len(fixed)] == fixed


def _fixed(sign: str, core: tuple[int, ...]) -> tuple[int, ...]:
    """The numbers that ``^`` (up to the first that is not 0) or ``~`` (the first two) does not let change."""
    if sign == "~":
        return core[:2]
    first = next((position for position, number in enumerate(core) if number), len(core) - 1)
    return core[: first + 1]


def _is_named_by_bound(version: _Version, bounds: Iterable[tuple[str, _Version] | None]) -> bool:
    named = [bound for _, bound in filter(None, bounds)]
    words = {word for bound in named for word in bound.words}
    same = [bound for bound in named if bound.pre and bound.value[0] == version.value[0]]
    return words.issuperset(version.words) and (not version.pre or bool(same))


def _is_named(version: _Version, tag: str, patterns: Iterable[str]) -> bool:
    """Whether a version is a release, or a pattern that finds the tag has the words of its suffix."""
    if version.is_plain:
        return True
    words = {part for part in version.pre if isinstance(part, str)} | set(version.words)
    return any(fnmatchcase(tag, pattern) and _has_words(pattern, words) for pattern in patterns)


def _has_words(pattern: str, words: Iterable[str]) -> bool:
    """Whether each word stands in a pattern, or begins with what stands there before a ``*``."""
    literal = re.sub(r"\[[^\]]*\]", "?", re.sub(r"^[vV](?=[\d*?\[])", "", pattern)).lower()
    there = [(_ALIASES.get(word, word), star) for word, star in re.findall(r"([a-z]+)(\*?)", literal)]
    return all(any(word == own or (star and word.startswith(own)) for own, star in there) for word in words)
