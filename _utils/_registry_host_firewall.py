"""Rules of iptables and nftables as text; no I/O, nothing of Salt."""

from __future__ import annotations

import re
from collections.abc import Collection

# Chains of `nft list ruleset`; none stands in another one.
_NFT_CHAIN = re.compile(r"\bchain \S+ \{\n(.*?)\n\s*\}", re.DOTALL)


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


def nftables_may_close(ruleset: str, port: int) -> bool:
    """Whether nftables filters incoming connections and no rule accepts a TCP port.

    Args:
        ruleset: what ``nft list ruleset`` prints.
        port: TCP port.
    """
    if re.search(rf"\btcp dport\b[^\n]*\b{port}\b[^\n]*\baccept\b", ruleset):
        return False
    return any(map(_filters_input, _NFT_CHAIN.findall(ruleset)))


def _filters_input(chain: str) -> bool:
    """Whether a chain is asked about what comes in and may refuse it."""
    declaration, _, rules = chain.strip().partition("\n")
    return " hook input " in declaration and ("policy drop" in declaration or bool(rules.strip()))
