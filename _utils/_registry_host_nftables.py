"""What a ruleset of nftables does to a connection from outside, and the rules that let one in; no I/O.

The rules are those of ``nft --json list ruleset``: https://man.archlinux.org/man/libnftables-json.5
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

# The comment of our rules; in a file it also stands behind the lines that they need.
MARK = "salt-docker-registry"

_Expression = Mapping[str, Any]
# A packet to this host meets base chains of these hooks, and each of them may refuse it.
_HOOKS = ("input", "prerouting", "ingress")
_FAMILIES = ("inet", "ip", "ip6", "netdev")
_OTHER_PROTOCOLS = ("udp", "udplite", "icmp", "icmpv6", "igmp", "sctp", "dccp", "esp", "ah", "comp")
# Statements that neither decide nor depend on anything.
_NEUTRAL = ("match", "counter", "log")
_ACCEPT, _REFUSE, _RETURN = "accept", "refuse", "return"


class Place(NamedTuple):
    """A chain, by what nft calls it."""

    family: str
    table: str
    chain: str

    def __str__(self) -> str:
        return " ".join(self)


class OurRule(NamedTuple):
    """A rule of ours that is active."""

    place: Place
    handle: int
    port: int


class _Probe(NamedTuple):
    """The first packet of a connection, by what nft calls the protocol below TCP."""

    port: int
    protocol: str

    @classmethod
    def of(cls, place: Place, port: int) -> _Probe:
        # In a table for both, a site that lets one in by IPv4 alone may want it so.
        return cls(port, "ip6" if place.family == "ip6" else "ip")


class Ruleset:
    """The active rules.

    Args:
        objects: the list of ``nftables`` in what ``nft --json list ruleset`` prints.
    """

    def __init__(self, objects: Iterable[Mapping[str, Any]]) -> None:
        self._bases: dict[Place, Mapping[str, Any]] = {}
        self._rules: dict[Place, list[Mapping[str, Any]]] = defaultdict(list)
        self._elements: dict[Place, Sequence[Any]] = {}
        for kind, item in (pair for each in objects for pair in each.items()):
            if kind == "rule":
                self._rules[_place(item, item["chain"])].append(item)
            elif kind in ("set", "map"):
                self._elements[_place(item, item["name"])] = item.get("elem", [])
            elif kind == "chain" and item.get("hook") in _HOOKS and item["family"] in _FAMILIES:
                self._bases[_place(item, item["name"])] = item

    def refusing(self, port: int, others: Collection[tuple[str, str]] = ()) -> list[Place]:
        """The base chains that refuse a new TCP connection from outside, were it not for rules of ours.

        What depends on the address of the other side, on limits or marks is the site's own and refuses
        nothing here; where such a rule accepts just this port, the site has opened it in its own way.

        Args:
            port: of this host.
            others: tables, each as its family and name, whose chains are not looked at.
        """
        bases = ((place, base) for place, base in self._bases.items() if place[:2] not in others)
        return [place for place, base in bases if self._refuses(place, base, port)]

    def ours(self) -> list[OurRule]:
        """Our rules, also for other ports."""
        return [
            OurRule(place, rule["handle"], _port_of(rule))
            for place, rules in self._rules.items()
            for rule in rules
            if rule.get("comment") == MARK
        ]

    def _refuses(self, place: Place, base: Mapping[str, Any], port: int) -> bool:
        verdict = self._walk(place, port)
        return verdict == _REFUSE or (verdict is None and base.get("policy") == "drop")

    def _walk(self, place: Place, port: int) -> str | None:
        for rule in self._rules[place]:
            verdict = None if rule.get("comment") == MARK else self._apply(place, rule["expr"], port)
            if verdict:
                return None if verdict == _RETURN else verdict
        return None

    def _apply(self, place: Place, expressions: Sequence[_Expression], port: int) -> str | None:
        """The verdict of a rule, or None where it decides nothing."""
        *conditions, statement = expressions or ({"counter": None},)
        answers = [self._is_met(place, condition, port) for condition in conditions]
        if False in answers:
            return None
        if None not in answers:
            return self._decide(place, statement, port)
        names_port = any(answer and _is_port(of) for of, answer in zip(conditions, answers, strict=True))
        return _ACCEPT if names_port and "accept" in statement else None

    def _is_met(self, place: Place, condition: _Expression, port: int) -> bool | None:
        """Whether a new connection from outside meets it; None = that depends."""
        ((kind, of),) = condition.items()
        if kind != "match":
            return True if kind in _NEUTRAL else None
        return _matches(of["left"], of["op"], self._values(place, of["right"]), _Probe.of(place, port))

    def _values(self, place: Place, right: Any) -> list[Any]:
        if isinstance(right, str) and right.startswith("@"):
            right = self._elements.get(place._replace(chain=right[1:]), [])
        if isinstance(right, dict) and "set" in right:
            right = right["set"]
        return [_bare(each) for each in (right if isinstance(right, list) else [right])]

    def _decide(self, place: Place, statement: _Expression, port: int) -> str | None:
        ((kind, of),) = statement.items()
        if kind in ("accept", "return"):
            return kind
        if kind in ("drop", "reject") or (kind == "xt" and (of or {}).get("name") == "REJECT"):
            return _REFUSE
        if kind in ("jump", "goto"):
            verdict = self._walk(place._replace(chain=of["target"]), port)
            return verdict or (_RETURN if kind == "goto" else None)
        return self._look_up(place, of, port) if kind == "vmap" else None

    def _look_up(self, place: Place, vmap: Mapping[str, Any], port: int) -> str | None:
        verdicts = [
            self._decide(place, verdict, port)
            for value, verdict in self._values(place, vmap["data"])
            if _matches(vmap["key"], "==", [_bare(value)], _Probe.of(place, port))
        ]
        # Several interfaces are from outside.
        return _REFUSE if _REFUSE in verdicts else next(filter(None, verdicts), None)


def rule(port: int) -> str:
    """Our rule as it would stand in a chain.

    Args:
        port: the one that it opens.
    """
    return f'tcp dport {port} accept comment "{MARK}"'


def insertions(placed: Iterable[tuple[Place, int]]) -> list[str]:
    """Commands of nft that put our rules before all others, as a later one could not undo a refusal.

    Args:
        placed: chains, each with a port that its rule opens.
    """
    return [f"insert rule {place} {rule(port)}" for place, port in placed]


def deletions(rules: Iterable[OurRule]) -> list[str]:
    """Commands of nft that remove rules of ours.

    Args:
        rules: active ones.
    """
    return [f"delete rule {each.place} handle {each.handle}" for each in rules]


def saved(text: str) -> list[tuple[Place, int]]:
    """The chains and ports of our rules in a file of nft.

    Args:
        text: the file.
    """
    found = re.findall(rf'^insert rule (\S+) (\S+) (\S+) tcp dport (\d+) .*"{MARK}"$', text, re.MULTILINE)
    return [(Place(*place), int(port)) for *place, port in found]


def replace_saved(text: str, placed: Collection[tuple[Place, int]]) -> str:
    """Change our rules in a file of nft.

    Args:
        text: the file.
        placed: chains that get one, each with the port that it opens; none = they all go.
    """
    others = "".join(line for line in text.splitlines(keepends=True) if MARK not in line)
    lines = [line for place, port in placed for line in _saved_lines(place, port)]
    return others + ("\n" if lines and others and not others.endswith("\n") else "") + "".join(lines)


def _saved_lines(place: Place, port: int) -> list[str]:
    # Adding a chain that is there changes nothing; were it not, the rule alone would keep the whole file from
    # being loaded.
    return [
        f"add table {place.family} {place.table} # {MARK}\n",
        f"add chain {place} # {MARK}\n",
        *(f"{line}\n" for line in insertions([(place, port)])),
    ]


def _place(item: Mapping[str, Any], name: str) -> Place:
    return Place(item["family"], item["table"], name)


def _bare(element: Any) -> Any:
    """An element of a set without what is kept beside it, such as counters."""
    return element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element


def _port_of(item: Mapping[str, Any]) -> int:
    ports = (each["match"]["right"] for each in item["expr"] if _is_port(each))
    return next((port for port in ports if isinstance(port, int)), 0)


def _is_port(expression: _Expression) -> bool:
    payload = expression.get("match", {}).get("left", {}).get("payload", {})
    return bool(payload.get("field") == "dport")


def _matches(left: _Expression, operator: str, values: list[Any], probe: _Probe) -> bool | None:
    """Whether each new connection from outside has one of these values there; None = that depends."""
    ((kind, of),) = left.items()
    if kind == "payload" and of.get("protocol") in {*_OTHER_PROTOCOLS, "ip", "ip6"} - {probe.protocol}:
        return False
    if operator not in ("==", "in", "!="):
        return None
    if kind == "meta" and of["key"] in ("iif", "iifname"):
        return _comes_in(operator, values)
    value = _value(kind, of, probe)
    if value is None:
        return None
    found = any(each == value or _in_range(each, value) for each in values)
    return found != (operator == "!=")


def _comes_in(operator: str, interfaces: list[Any]) -> bool | None:
    """Whether an interface is one to the outside; to which side of it is for the site to know."""
    outside = [name for name in interfaces if name != "lo"]
    if operator == "!=":
        return None if outside else True
    return bool(outside)


def _value(kind: str, of: Any, probe: _Probe) -> str | int | None:
    """What a part of the packet says, as far as every such connection says the same."""
    part = (kind, *of.values()) if isinstance(of, dict) else ()
    known: dict[tuple[str, ...], str | int] = {
        ("ct", "state"): "new",
        ("meta", "nfproto"): {"ip": "ipv4", "ip6": "ipv6"}[probe.protocol],
        ("meta", "protocol"): probe.protocol,
        ("meta", "l4proto"): "tcp",
        ("payload", "ip", "protocol"): "tcp",
        ("payload", "ip6", "nexthdr"): "tcp",
        ("payload", "tcp", "dport"): probe.port,
        ("payload", "th", "dport"): probe.port,
    }
    # fib and jhash tell what they look at by lists and expressions, and depend on who asks.
    return known.get(part) if all(isinstance(each, str) for each in part) else None


def _in_range(each: Any, value: str | int) -> bool:
    if not isinstance(each, dict) or "range" not in each or isinstance(value, str):
        return False
    first, last = each["range"]
    return bool(first <= value <= last)
