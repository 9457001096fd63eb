"""Which tags another program's file asks for, as ``tags`` of an image has it; no I/O.

skopeo and regsync take regular expressions (https://github.com/google/re2/wiki/Syntax), our pillar takes
patterns as a shell does. What a pattern cannot express is made wider, and the caller is told so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from _registry_oci_names import is_pattern, is_tag
from _registry_oci_tags import is_comparison

# Patterns that one expression may become.
_MOST = 32
# So many of an expression's counted repetitions are written out.
_MOST_REPEATED = 6
_BEGIN, _END = "\x02", "\x03"
_CLASSES = {"d": "[0-9]", "w": "[0-9A-Za-z_]"}
_IN_CLASSES = {"d": "0-9", "w": "0-9A-Za-z_"}
# What stands in patterns of versions alone, of which ``semver`` leaves the releases.
_OF_VERSIONS = set("vV.-0123456789*[]")
_REMAINDER = set("*?[]!")


class CannotSay(ValueError):
    """An expression that patterns, or comparisons, do not have; the text says what of it."""


@dataclass(frozen=True)
class TagSet:
    """Tags that are asked for.

    Args:
        include: tags, digests, patterns.
        exclude: patterns.
        semver: comparisons joined by spaces.
        wider: whether the file asks for fewer.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    semver: str = ""
    wider: bool = False

    @property
    def is_literal(self) -> bool:
        """Whether it names its tags, so that what is left out by other rules does not touch it."""
        return not any(map(is_pattern, self.include))


def tags_value(sets: Iterable[TagSet]) -> list[str] | dict[str, Any]:
    """What stands under ``tags`` for all of some sets together.

    Raises:
        CannotSay: rules of one set would be applied to another.
    """
    parts = list(dict.fromkeys(sets))
    ruled = [part for part in parts if part.semver or part.exclude]
    if ruled and any(not part.is_literal for part in parts if part is not ruled[0]):
        raise CannotSay("has several sets of tags with rules of their own, and an image has one")
    include = list(dict.fromkeys(entry for part in parts for entry in part.include))
    if not ruled:
        return include
    rules = {"exclude": list(ruled[0].exclude), "semver": ruled[0].semver}
    return {"include": include, **{name: value for name, value in rules.items() if value}}


def set_of_expressions(
    allow: Iterable[str], deny: Iterable[str] = (), semver: str = "", *, anchored: bool = False
) -> TagSet:
    """A set of tags from regular expressions.

    Args:
        allow: of tags that are wanted.
        deny: of tags that are not; they must be patterns exactly, or too many would be left out.
        semver: comparisons as these programs write them.
        anchored: whether an expression must match the whole tag.

    Raises:
        CannotSay: patterns cannot say it, not even wider.
    """
    found = [patterns_of(expression, anchored=anchored) for expression in allow]
    include = _without_covered([pattern for patterns, _ in found for pattern in patterns]) or ["*"]
    wider = not all(exact for _, exact in found)
    comparisons = comparisons_of(semver) if semver else ""
    if wider and not comparisons and all(set(pattern) <= _OF_VERSIONS for pattern in include):
        comparisons = ">=0"
    return TagSet(tuple(include), _denied(deny, anchored=anchored), comparisons, wider)


def _without_covered(patterns: list[str]) -> list[str]:
    """The patterns without those that find nothing which another one does not find."""
    beginnings = {pattern[:-1] for pattern in patterns if pattern.endswith("*")}
    return [
        pattern
        for pattern in dict.fromkeys(patterns)
        if not any(pattern.startswith(beginning) for beginning in beginnings - {pattern[:-1]})
    ]


def _denied(deny: Iterable[str], *, anchored: bool) -> tuple[str, ...]:
    exclude: list[str] = []
    for expression in deny:
        patterns, exact = patterns_of(expression, anchored=anchored)
        if not exact:
            raise CannotSay("leaves tags out by an expression that no pattern says")
        exclude += patterns
    return tuple(dict.fromkeys(exclude))


def patterns_of(expression: str, *, anchored: bool = False) -> tuple[list[str], bool]:
    """The patterns that find what a regular expression finds.

    Args:
        expression: of tags.
        anchored: whether it must match the whole tag.

    Returns:
        Patterns, or one tag; and whether they find no more than the expression does.

    Raises:
        CannotSay: it has something that patterns do not have, or finds no tag at all.
    """
    reader = _Reader(f"^(?:{expression})$" if anchored else expression)
    branches = reader.alternatives()
    if reader.rest:
        raise CannotSay("has a bracket too many")
    texts = list(dict.fromkeys(filter(None, (_whole(branch.text) for branch in branches))))
    if not texts:
        raise CannotSay("finds nothing that a tag can be")
    if len(texts) > 1:
        # A tag that is named must be there; a pattern may find nothing.
        texts = [text if is_pattern(text) else f"[{text[0]}]{text[1:]}" for text in texts]
    return texts, all(branch.exact for branch in branches)


def _whole(text: str) -> str:
    """The pattern of one alternative; empty = no tag can be so."""
    text = text.removeprefix(_BEGIN) if text.startswith(_BEGIN) else f"*{text}"
    text = text.removesuffix(_END) if text.endswith(_END) else f"{text}*"
    text = re.sub(r"\*{2,}", "*", text)
    bare = "".join("_" if character in _REMAINDER else character for character in text)
    return text if is_tag(bare) else ""


@dataclass(frozen=True)
class _Branch:
    text: str = ""
    exact: bool = True

    def __add__(self, other: _Branch) -> _Branch:
        return _Branch(self.text + other.text, self.exact and other.exact)


_ANYTHING = _Branch("*", exact=False)


@dataclass
class _Reader:
    """Reads an expression from the left."""

    rest: str
    _depth: int = field(default=0)

    def alternatives(self) -> list[_Branch]:
        """The alternatives up to the end of the group, or of the expression."""
        found = self._sequence()
        while self.rest.startswith("|"):
            self._take(1)
            found = _limited(found + self._sequence())
        return found

    def _sequence(self) -> list[_Branch]:
        found = [_Branch()]
        while self.rest and self.rest[0] not in "|)":
            repeated = self._repeated(self._atom())
            found = _limited([left + right for left in found for right in repeated])
        return found

    def _take(self, count: int) -> str:
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def _atom(self) -> list[_Branch]:
        first = self._take(1)
        if first == "(":
            return self._group()
        if first == "[":
            return [_Branch(self._character_class())]
        if first == "\\":
            return [_Branch(self._escaped(_CLASSES))]
        if first in "*+?{":
            raise CannotSay("repeats nothing")
        return [_Branch({"^": _BEGIN, "$": _END, ".": "?"}.get(first, _literal(first)))]

    def _group(self) -> list[_Branch]:
        self._depth += 1
        if self._depth > _MOST:
            raise CannotSay("has too many brackets")
        if self.rest.startswith("?"):
            if not self.rest.startswith("?:"):
                raise CannotSay("has a flag, a look-ahead or a name")
            self._take(2)
        found = self.alternatives()
        if self._take(1) != ")":
            raise CannotSay("has a bracket too few")
        self._depth -= 1
        return found

    def _escaped(self, classes: dict[str, str]) -> str:
        letter = self._take(1)
        if letter in classes:
            return classes[letter]
        if not letter or letter.isalnum():
            raise CannotSay(f"has \\{letter}")
        return _literal(letter)

    def _character_class(self) -> str:
        negated = "!" if self.rest.startswith("^") else ""
        self._take(len(negated))
        inside = ""
        while self.rest and (self.rest[0] != "]" or not inside):
            first = self._take(1)
            inside += self._escaped(_IN_CLASSES) if first == "\\" else first
        if self._take(1) != "]":
            raise CannotSay("has a bracket too few")
        if not re.fullmatch(r"[A-Za-z0-9._-]+", inside):
            raise CannotSay("has a class of characters that tags do not have")
        return f"[{negated}{inside}]"

    def _repeated(self, atom: list[_Branch]) -> list[_Branch]:
        match = re.match(r"([*+?]|\{(\d+)(,?)(\d*)\})(\??)", self.rest)
        if match is None:
            return atom
        self._take(match.end())
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(match[1][0], (-1, -1))
        if least == -1:
            least = int(match[2])
            most = (int(match[4]) if match[4] else None) if match[3] else least
        return _times(atom, least, most)


def _times(atom: list[_Branch], least: int, most: int | None) -> list[_Branch]:
    if least > _MOST_REPEATED or (most or 0) > _MOST_REPEATED:
        return [_ANYTHING]
    powers = [[_Branch()]]
    for _ in range(most if most is not None else least):
        powers.append(_limited([left + right for left in powers[-1] for right in atom]))
    if most is not None:
        return _limited([branch for power in powers[least:] for branch in power])
    # Of any characters any number is a pattern's own word.
    more = _Branch("*") if atom == [_Branch("?")] else _ANYTHING
    return [branch + more for branch in powers[least]]


def _limited(branches: list[_Branch]) -> list[_Branch]:
    if len(branches) > _MOST:
        raise CannotSay("has too many alternatives")
    return branches


def _literal(character: str) -> str:
    # What no tag has is kept, so that the alternative is seen to find none.
    return character if character not in _REMAINDER else "\x00"


def comparisons_of(text: str) -> str:
    """Comparisons as Masterminds' semver and regsync write them, as ``semver`` has them.

    Raises:
        CannotSay: alternatives, or what is no version.

    https://github.com/Masterminds/semver#checking-version-constraints
    """
    if "||" in text:
        raise CannotSay("has alternatives (||) of versions")
    text = re.sub(r"(\S+)\s+-\s+(\S+)", r">=\1 <=\2", text.replace(",", " "))
    words = re.sub(r"(~>|[<>=!]+|[~^])\s+", r"\1", text).split()
    found = " ".join(map(_comparison, words))
    if not words or not all(map(is_comparison, found.split())):
        raise CannotSay("compares with something that is no version")
    return found


def _comparison(word: str) -> str:
    match = re.fullmatch(r"(~>|[<>=!]+|[~^])?(.*)", word)
    sign, version = (match[1] or "", match[2]) if match else ("", word)
    known = re.split(r"\.?[xX*](?:\.|$)", version)[0]
    if version and not known:
        return ">=0"
    if sign in ("", "=", "==") and len(known.split("-")[0].split(".")) < 3:
        # 1.2 and 1.2.x are all of 1.2 to them.
        return f"~{known}"
    return f"{'~' if sign == '~>' else sign}{known}"
