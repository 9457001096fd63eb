"""Rules of iptables as text; no I/O, nothing of Salt."""

from __future__ import annotations

import re
from collections.abc import Collection

_FILTER, _END = "*filter\n", "COMMIT"
# As iptables-save --counters has it, too.
_RULE = re.compile(r"(?:\[\d+:\d+\] )?-A (\S+) ?(.*)")


def input_rule(line: str) -> str:
    """The rule that a line of ``iptables-save`` adds to INPUT; empty = it adds none there.

    Args:
        line: with or without counters.
    """
    found = _RULE.match(line)
    return found[2] if found and found[1] == "INPUT" else ""


def replace_saved_rules(text: str, old: Collection[str], new: Collection[str]) -> str:
    """Change the rules of INPUT in a file of ``iptables-save``.

    Args:
        text: the file; one that has no table to filter gets one, which goes with our rules.
        old: rules that go.
        new: the rules that stand before all others.
    """
    others = text.replace(_table_of(old), "") if old else text
    lines = [line for line in others.splitlines(keepends=True) if input_rule(line) not in old]
    if new and _FILTER in lines:
        table = lines.index(_FILTER)
        ends = (at for at in range(table, len(lines)) if lines[at].startswith(_END) or _RULE.match(lines[at]))
        at = next(ends, len(lines))
        lines[at:at] = _lines_of(new)
    elif new:
        lines += ["\n" if others and not others.endswith("\n") else "", _table_of(new)]
    return "".join(lines)


def _table_of(rules: Collection[str]) -> str:
    return "".join([_FILTER, *_lines_of(rules), f"{_END}\n"])


def _lines_of(rules: Collection[str]) -> list[str]:
    return [f"-A INPUT {rule}\n" for rule in rules]
