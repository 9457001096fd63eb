"""Which of a repository's tags are wanted, and the order of versions; no I/O."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from _registry_oci_names import is_pattern, is_tag


@dataclass(frozen=True)
class TagRule:
    """Which tags of a repository are wanted.

    Args:
        include: tags, patterns (``13.0*``, ``*``), digests (``sha256:…``) or tags pinned to a digest
            (``13.0@sha256:…``).
        exclude: tags or patterns to leave out.
        semver: comparisons joined by spaces (``>=3 <4``); tags that are no version fall out.
        newest: keep only so many of the tags that patterns found, the newest version first; 0 = all.
    """

    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    semver: str = ""
    newest: int = 0

    @property
    def needs_list(self) -> bool:
        """Whether upstream's tags must be listed to know what the rule means."""
        return any(map(is_pattern, self.include))

    @property
    def literals(self) -> tuple[str, ...]:
        """The entries that name one tag or digest each."""
        return tuple(entry for entry in self.include if not is_pattern(entry))


def select_tags(rule: TagRule, there: Iterable[str]) -> list[str]:
    """The tags that the patterns of a rule find among those that upstream has.

    Args:
        rule: what is wanted.
        there: every tag of the upstream repository.

    Returns:
        Matching tags in version order, oldest first; entries that name one tag are not among them
        unless a pattern finds them too.
    """
    patterns = [entry for entry in rule.include if is_pattern(entry)]
    found = {
        tag
        for tag in there
        if is_tag(tag)
        and any(fnmatchcase(tag, pattern) for pattern in patterns)
        and not any(fnmatchcase(tag, pattern) for pattern in rule.exclude)
        and (not rule.semver or satisfies(tag, rule.semver))
    }
    ordered = sorted(found, key=version_key)
    return ordered[-rule.newest :] if rule.newest else ordered


_VERSION = re.compile(r"v?(\d+(?:\.\d+)*)(?:[-+._]?(.*))?")
_COMPARISON = re.compile(r"(>=|<=|!=|==|=|>|<|\^|~)?\s*v?(\d+(?:\.\d+)*(?:[-+].*)?)")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}


def is_comparison(word: str) -> bool:
    """Whether a word of ``semver`` can be understood (``>=3``, ``<4.1``, ``^2``, ``~1.4``)."""
    return _COMPARISON.fullmatch(word) is not None


def satisfies(tag: str, comparisons: str) -> bool:
    """Whether a tag is a version and every comparison holds for its numbers.

    A build suffix as in ``13.0-38`` counts as a further number, as registries use it: it is not the
    pre-release that semver would see in it.
    """
    version = _numbers(tag)
    return version is not None and all(_holds(version, word) for word in comparisons.split())


def version_key(tag: str) -> tuple[Any, ...]:
    """A sort key that puts ``3-9`` before ``3-10`` and names that are no version before all others."""
    parts = re.split(r"(\d+)", tag)
    natural = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part)
    return (_numbers(tag) is not None, natural)


def _numbers(tag: str) -> tuple[int, ...] | None:
    match = _VERSION.fullmatch(tag)
    if match is None:
        return None
    suffix = match.group(2) or ""
    build = tuple(int(number) for number in re.findall(r"\d+", suffix)) if suffix[:1].isdigit() else ()
    return tuple(int(number) for number in match.group(1).split(".")) + build


def _holds(version: tuple[int, ...], word: str) -> bool:
    match = _COMPARISON.fullmatch(word)
    if match is None:
        return False
    sign, bound = match.group(1) or "==", _numbers(match.group(2)) or ()
    if sign in "^~":
        fixed = bound[:1] if sign == "^" else bound[: max(1, len(bound) - 1)]
        return _padded(version) >= _padded(bound) and version[: len(fixed)] == fixed
    return _OPERATORS["==" if sign == "=" else sign](_padded(version), _padded(bound))


def _padded(numbers: tuple[int, ...]) -> tuple[int, ...]:
    return numbers + (0,) * (8 - len(numbers))
