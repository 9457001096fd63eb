"""What rules of nftables do to a connection from outside; each line as `nft --json list ruleset` tells it."""

from __future__ import annotations

import pytest

from _registry_host_nftables import MARK, OurRule, Place, Ruleset, deletions, insertions, replace_saved, saved

INPUT = Place("inet", "filter", "input")
ALLOW = Place("inet", "filter", "allow")


def match(left, right, op="=="):
    return {"match": {"op": op, "left": left, "right": right}}


def payload(protocol, field):
    return {"payload": {"protocol": protocol, "field": field}}


ACCEPT, DROP, COUNTER = {"accept": None}, {"drop": None}, {"counter": {"packets": 0, "bytes": 0}}
REJECT = {"reject": {"type": "icmpx", "expr": "port-unreachable"}}
JUMP, GOTO = {"jump": {"target": "allow"}}, {"goto": {"target": "allow"}}
PORT = match(payload("tcp", "dport"), 5000)
SSH = match(payload("tcp", "dport"), 22)
STATE = {"ct": {"key": "state"}}
INTERFACE = {"meta": {"key": "iifname"}}
ESTABLISHED = match(STATE, ["established", "related"], "in")
NEW = match(STATE, "new", "in")
BANNED = match(payload("ip", "saddr"), "@banned")
LIMIT = {"limit": {"rate": 5, "burst": 5, "per": "second"}}
NO_WAY_BACK = match({"fib": {"result": "oif", "flags": ["saddr", "iif"]}}, False)
BROADCAST = match({"fib": {"result": "type", "flags": ["daddr"]}}, {"set": ["broadcast", "multicast"]})
SHARE = match({"jhash": {"mod": 2, "expr": payload("ip", "saddr")}}, 0)


def vmap(key, *elements):
    return {"vmap": {"key": key, "data": {"set": [list(element) for element in elements]}}}


def chain(place, **base):
    family, table, name = place
    return {"chain": {"family": family, "table": table, "name": name, "handle": 1, **base}}


def rule(place, *expressions, **more):
    family, table, name = place
    where = {"family": family, "table": table, "chain": name, "handle": 7}
    return {"rule": {**where, "expr": list(expressions), **more}}


def ruleset(*rules, policy="accept", hook="input", place=INPUT, allow=(), more=()):
    base = chain(place, type="filter", hook=hook, prio=0, policy=policy)
    others = [rule(ALLOW, *expressions) for expressions in allow]
    return Ruleset([base, chain(ALLOW), *(rule(place, *each) for each in rules), *others, *more])


@pytest.mark.parametrize(
    "rules",
    [
        {"policy": "accept"},
        {"policy": "drop", "rules": [(PORT, ACCEPT)]},
        {"policy": "drop", "rules": [(match(payload("th", "dport"), {"range": [4000, 6000]}), ACCEPT)]},
        {"policy": "drop", "rules": [(NEW, PORT, COUNTER, ACCEPT)]},
        {"policy": "drop", "rules": [(BANNED, PORT, ACCEPT)]},
        {"policy": "drop", "rules": [(PORT, LIMIT, ACCEPT)]},
        {"policy": "drop", "rules": [(match(INTERFACE, "eth0"), ACCEPT)]},
        {"policy": "drop", "rules": [(JUMP,)], "allow": [(PORT, ACCEPT)]},
        {"policy": "drop", "rules": [(vmap(payload("tcp", "dport"), (22, ACCEPT), (5000, ACCEPT)),)]},
        {"rules": [(BANNED, DROP)]},
        {"rules": [(SSH, BANNED, REJECT)]},
        {"rules": [(NEW, LIMIT, DROP)]},
        {"rules": [(NO_WAY_BACK, DROP), (BROADCAST, DROP), (SHARE, DROP)], "hook": "prerouting"},
        {"rules": [(match(INTERFACE, {"range": ["eth0", "eth9"]}, "!="), DROP)]},
        {"rules": [(match(payload("udp", "dport"), 5000), DROP)]},
        {"rules": [(match(payload("tcp", "dport"), 5000, "!="), DROP)]},
        {"rules": [(vmap(STATE, ("established", ACCEPT), ("invalid", DROP)),)]},
        {"rules": [(match(INTERFACE, "lo"), DROP)]},
        {"rules": [(JUMP,), (ACCEPT,), (DROP,)], "allow": [({"return": None},), (DROP,)]},
        {"rules": [(COUNTER,), (SSH,), ({"continue": None},)]},
        {"policy": "drop", "hook": "output"},
        {"policy": "drop", "hook": "forward"},
        {"policy": "drop", "place": Place("bridge", "filter", "input")},
        {"rules": [(BANNED, JUMP)], "allow": [(DROP,)]},
        {"rules": [(match({"meta": {"key": "nfproto"}}, "ipv6"), DROP)]},
        {"rules": [(match(payload("ip6", "nexthdr"), "tcp"), DROP)]},
        # A site that has opened it by IPv4 alone.
        {"policy": "drop", "rules": [(match(payload("ip", "saddr"), "192.0.2.1"), PORT, ACCEPT)]},
    ],
)
def test_what_lets_the_port_be_reached_or_depends_on_who_asks_refuses_nothing(rules):
    assert ruleset(*rules.pop("rules", ()), **rules).refusing(5000) == []


@pytest.mark.parametrize(
    "rules",
    [
        {"policy": "drop"},
        {"policy": "drop", "rules": [(SSH, ACCEPT), (ESTABLISHED, ACCEPT)]},
        {"policy": "drop", "rules": [(BROADCAST, DROP), (SHARE, ACCEPT)]},
        {"policy": "drop", "rules": [(match(payload("ip", "protocol"), "icmp"), ACCEPT)]},
        {"policy": "drop", "rules": [(match(INTERFACE, "lo"), ACCEPT)]},
        {"policy": "drop", "rules": [(match(payload("udp", "dport"), 5000), ACCEPT)]},
        {"policy": "drop", "rules": [(match(payload("tcp", "dport"), "@ports"), ACCEPT)]},
        {"policy": "drop", "rules": [(BANNED, ACCEPT)]},
        {"policy": "drop", "rules": [(GOTO,), (ACCEPT,)], "allow": [(SSH, ACCEPT)]},
        {"policy": "drop", "hook": "prerouting"},
        {"policy": "drop", "hook": "ingress", "place": Place("netdev", "filter", "input")},
        {"rules": [(REJECT,)]},
        {"rules": [(DROP,), (PORT, ACCEPT)]},
        {"rules": [(PORT, DROP)]},
        {"rules": [(match({"meta": {"key": "l4proto"}}, "tcp"), {"reject": {"type": "tcp reset"}})]},
        {"rules": [(match(INTERFACE, "lo", "!="), DROP)]},
        {"rules": [(match(STATE, {"set": ["new", "untracked"]}), {"log": {"prefix": "no"}}, REJECT)]},
        {"rules": [(JUMP,)], "allow": [(SSH, ACCEPT), (DROP,)]},
        {"rules": [(vmap(INTERFACE, ("lo", ACCEPT), ("lan", ACCEPT), ("wan", JUMP)),)], "allow": [(DROP,)]},
        {"rules": [(match({"meta": {"key": "nfproto"}}, "ipv4"), DROP)]},
        {"rules": [(match(payload("ip", "protocol"), "tcp"), DROP)]},
        {
            "rules": [(match(payload("ip6", "nexthdr"), "tcp"), DROP)],
            "place": Place("ip6", "filter", "input"),
        },
        {"rules": [(COUNTER, {"xt": {"type": "target", "name": "REJECT"}})]},
    ],
)
def test_what_refuses_every_connection_to_the_port_is_found(rules):
    place = rules.get("place", INPUT)
    assert ruleset(*rules.pop("rules", ()), **rules).refusing(5000) == [place]


@pytest.mark.parametrize(
    ("elements", "refuses"),
    [([22], True), ([22, 5000], False), ([{"elem": {"val": 5000, "counter": {}}}], False)],
)
def test_a_port_is_looked_up_in_a_set_that_has_a_name(elements, refuses):
    ports = {"set": {"family": "inet", "table": "filter", "name": "ports", "elem": elements}}
    rules = ruleset((match(payload("tcp", "dport"), "@ports"), ACCEPT), policy="drop", more=[ports])
    assert bool(rules.refusing(5000)) == refuses


def test_a_verdict_is_looked_up_in_a_map_that_has_a_name():
    verdicts = {"map": {"family": "inet", "table": "filter", "name": "ports", "elem": [[5000, DROP]]}}
    by_port = {"vmap": {"key": payload("tcp", "dport"), "data": "@ports"}}
    assert ruleset((by_port,), more=[verdicts]).refusing(5000) == [INPUT]


def test_a_table_that_another_firewall_makes_is_not_looked_at():
    rules = ruleset(policy="drop", more=[rule(INPUT, {"made later": {}, "by others": {}}, DROP)])
    assert rules.refusing(5000, others=[INPUT[:2]]) == []
    assert ruleset(policy="drop").refusing(5000, others=[("ip", "filter")]) == [INPUT]


def test_our_rules_are_found_and_disregarded():
    ours = rule(INPUT, PORT, ACCEPT, comment=MARK)
    rules = ruleset(policy="drop", more=[ours])
    assert rules.ours() == [OurRule(INPUT, 7, 5000)]
    assert rules.refusing(5000) == [INPUT]
    assert deletions(rules.ours()) == ["delete rule inet filter input handle 7"]


def test_our_rule_stands_first_and_carries_our_mark():
    assert insertions([(INPUT, 5000)]) == [
        f'insert rule inet filter input tcp dport 5000 accept comment "{MARK}"'
    ]


@pytest.mark.parametrize("text", ["", "flush ruleset\n", f"# {MARK[:4]}\n"])
def test_rules_come_into_a_file_and_go_without_a_trace(text):
    written = replace_saved(text, [(INPUT, 5000), (ALLOW, 5000), (INPUT, 5001)])
    assert saved(written) == [(INPUT, 5000), (ALLOW, 5000), (INPUT, 5001)]
    assert written.startswith(text)
    moved = replace_saved(written, [(INPUT, 5001)])
    assert saved(moved) == [(INPUT, 5001)]
    assert replace_saved(moved, []) == text


def test_a_last_line_without_an_end_stays_a_line():
    assert replace_saved("flush ruleset", [(INPUT, 5000)]).splitlines()[0] == "flush ruleset"
