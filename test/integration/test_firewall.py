"""The port in the firewall that runs on a host: opened once, found open, closed again."""

from __future__ import annotations

import socket
import subprocess

import pytest

from integration.conftest import minion_on
from integration.story import changes, failures, states

OPEN = "Registry port is open"
# Each with the file of its rules that is loaded at boot.
PROGRAMS = {"iptables": "/etc/iptables/rules.v4", "ip6tables": "/etc/iptables/rules.v6"}
WALL = (
    "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    "-i lo -j ACCEPT",
    # IPv6's own way to find who has an address.
    "-p ipv6-icmp -j ACCEPT",
    "-j REJECT",
)


def can_connect(wire, address, port):
    """Tell whether a program at the other end of the wire reaches a port."""
    with wire.entered():
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            return False
    return True


def give_ipv6(host, wire):
    """Give the host and its wire an address each in a network that is nobody's; return the host's."""
    add = ("ip", "address", "add")
    with wire.entered():
        subprocess.run([*add, "fd99:7::1/64", "dev", "switch", "nodad"], check=True)
    host.output(*add, "fd99:7::2/64", "dev", "host0", "nodad")
    return "fd99:7::2"


def apply_twice(minion, rules):
    """Open and open again; return the rules without and with the port."""
    closed = rules()
    plan = minion.apply("docker_registry.firewall", test=True)
    assert states(plan)[OPEN]["result"] is None
    assert rules() == closed
    assert failures(minion.apply("docker_registry.firewall")) == []
    opened = rules()
    assert opened != closed
    again = minion.apply("docker_registry.firewall")
    assert (failures(again), changes(again)) == ([], {})
    assert rules() == opened
    return closed, opened


@pytest.fixture
def walled(boot):
    """Return a host that lets in nothing that it has not asked for, by IPv4 and by IPv6."""
    host = boot("walled")
    for program in PROGRAMS:
        for rule in WALL:
            host.output(program, "-A", "INPUT", *rule.split())
    return host


def test_iptables_lets_the_registry_be_reached(walled, vendor, wire):
    minion = minion_on(walled, vendor.pillar(walled.address))

    def rules():
        return [
            (program, rule)
            for program in PROGRAMS
            for rule in walled.output(program, "-S", "INPUT").splitlines()
        ]

    by_ipv6 = give_ipv6(walled, wire)
    # Saved rules are loaded at boot; only ours is to come and go.
    for program, file in PROGRAMS.items():
        walled.write(file, walled.output(f"{program}-save"))
    saved = {file: walled.read(file) for file in PROGRAMS.values()}
    assert failures(minion.apply("docker_registry.service")) == []
    addresses = (walled.address, by_ipv6)
    assert not any(can_connect(wire, address, 5000) for address in addresses)
    closed, opened = apply_twice(minion, rules)
    ours = sorted(set(opened) - set(closed))
    assert [program for program, _ in ours] == ["ip6tables", "iptables"]
    assert all("--dport 5000" in rule for _, rule in ours)
    assert len(opened) == len(closed) + 2
    assert all(can_connect(wire, address, 5000) for address in addresses)
    for file, text in saved.items():
        assert len(walled.read(file).splitlines()) == len(text.splitlines()) + 1
    assert failures(minion.apply("docker_registry.clean")) == []
    assert rules() == closed
    assert {file: walled.read(file) for file in saved} == saved


def test_a_host_without_ip6tables_gets_the_one_rule(walled, vendor):
    walled.path("/usr/sbin/ip6tables").unlink()
    minion = minion_on(walled, vendor.pillar(walled.address))
    assert failures(minion.apply("docker_registry.firewall")) == []
    assert "--dport 5000" in walled.output("iptables", "-S", "INPUT")
    again = minion.apply("docker_registry.firewall")
    assert (failures(again), changes(again)) == ([], {})


def test_a_host_without_a_firewall_gets_none(boot, vendor):
    host = boot("open")
    answer = minion_on(host, vendor.pillar(host.address)).apply("docker_registry.firewall")
    assert states(answer)[OPEN]["comment"] == "No firewall is managed here"
    assert host.output("iptables", "-S").splitlines() == [
        f"-P {chain} ACCEPT" for chain in ("INPUT", "FORWARD", "OUTPUT")
    ]


def test_none_touches_nothing(walled, vendor):
    before = walled.output("iptables", "-S")
    answer = minion_on(walled, vendor.pillar(walled.address, firewall="none")).apply(
        "docker_registry.firewall"
    )
    assert (failures(answer), changes(answer)) == ([], {})
    assert walled.output("iptables", "-S") == before


def test_firewalld_gets_one_service_of_ours(boot, vendor, wire):
    host = boot("firewalld")
    host.output("apt-get", "install", "-qq", "firewalld")
    if not host.is_active("firewalld"):
        pytest.skip("firewalld does not start on this kernel")
    minion = minion_on(host, vendor.pillar(host.address))

    def rules():
        return host.output("firewall-cmd", "--list-all"), host.output(
            "firewall-cmd", "--permanent", "--list-all"
        )

    assert failures(minion.apply("docker_registry.service")) == []
    assert not can_connect(wire, host.address, 5000)
    closed, _ = apply_twice(minion, rules)
    assert can_connect(wire, host.address, 5000)
    assert failures(minion.apply("docker_registry.clean")) == []
    assert rules() == closed
