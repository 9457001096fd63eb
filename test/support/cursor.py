"""Words that move a terminal's cursor or turn what is written around, in all that a minion can say."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

MOVES = "\x1b[2J\u202e"


def spoilt(value: Any, *, but: Collection[str] = ()) -> Any:
    """End every text with what moves the cursor, and every name of an image or file.

    Args:
        value: a report of any kind; what is empty stays so.
        but: keys whose values are left alone.
    """
    if isinstance(value, str):
        return value and value + MOVES
    if isinstance(value, dict):
        return {
            f"{key}{MOVES}" if set(":/") & set(key) else key: entry if key in but else spoilt(entry, but=but)
            for key, entry in value.items()
        }
    return [spoilt(entry, but=but) for entry in value] if isinstance(value, (list, tuple)) else value


def moving(lines: Iterable[str]) -> list[str]:
    """The lines that would move the cursor."""
    return [line for line in lines if not line.isprintable()]
