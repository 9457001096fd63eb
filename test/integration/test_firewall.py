"""The port in the firewall that runs on a host: opened once, found open, closed again."""

from __future__ import annotations

import socket

import pytest

from integration.conftest import minion_on
from integration.story import changes, failures, states

OPEN = "Registry's port is open"


def can_connect(wire, address, port):
    """Tell whether a program at the other end of the wire reaches a port."""
    with wire.entered():
        try:
            socket.create_connection((address, port), timeout=1).close()
        except OSError:
            return False
    return True


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
    """Return a host that lets in nothing that it has not asked for."""
    host = boot("walled")
    host.output(
        "iptables", "-A", "INPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT"
    )
    host.output("iptables", "-A", "INPUT", "-i", "lo", "-j", "ACCEPT")
    host.output("iptables", "-A", "INPUT", "-j", "REJECT")
    return host


def test_iptables_lets_the_registry_be_reached(walled, vendor, wire):
    minion = minion_on(walled, vendor.pillar(walled.address))

    def rules():
        return walled.output("iptables", "-S", "INPUT").splitlines()

    assert failures(minion.apply("docker_registry.service")) == []
    assert not can_connect(wire, walled.address, 5000)
    closed, opened = apply_twice(minion, rules)
    (ours,) = set(opened) - set(closed)
    assert "--dport 5000" in ours
    assert can_connect(wire, walled.address, 5000)
    assert failures(minion.apply("docker_registry.clean")) == []
    assert rules() == closed


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
