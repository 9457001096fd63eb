"""Rules of iptables as text; no I/O, nothing of Salt."""

from __future__ import annotations

from collections.abc import Collection


def replace_saved_rules(text: str, old: Collection[str], new: str) -> str:
    """Change the rules of INPUT in a file of ``iptables-save``.

    Args:
        text: the file.
        old: rules that go.
        new: the rule that stands before all others; empty = none.
    """
    gone = {f"-A INPUT {rule}\n" for rule in old}
    lines = [line for line in text.splitlines(keepends=True) if line not in gone]
    if new and "*filter\n" in lines:
        table = lines.index("*filter\n")
        ends = (at for at in range(table, len(lines)) if lines[at].startswith(("-A ", "COMMIT")))
        lines.insert(next(ends, len(lines)), f"-A INPUT {new}\n")
    return "".join(lines)
