"""Rules of iptables as text; no I/O, nothing of Salt."""

from __future__ import annotations

from collections.abc import Collection


def replace_saved_rules(text: str, old: Collection[str], new: Collection[str]) -> str:
    """Change the rules of INPUT in a file of ``iptables-save``.

    Args:
        text: the file.
        old: rules that go.
        new: the rules that stand before all others.
    """
    gone = {f"-A INPUT {rule}\n" for rule in old}
    lines = [line for line in text.splitlines(keepends=True) if line not in gone]
    if new and "*filter\n" in lines:
        table = lines.index("*filter\n")
        ends = (at for at in range(table, len(lines)) if lines[at].startswith(("-A ", "COMMIT")))
        at = next(ends, len(lines))
        lines[at:at] = [f"-A INPUT {rule}\n" for rule in new]
    return "".join(lines)
