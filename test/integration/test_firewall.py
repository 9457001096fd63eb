"""The port in the firewall that runs on a host: opened once, found open, closed again."""

from __future__ import annotations

import socket
import subprocess
import time

import pytest

from integration.conftest import minion_on
from integration.story import changes, failures, states
from support.hosts import become_el9

pytestmark = pytest.mark.thorough

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
# Those of a site that starts with what its system brings, each with the file that its system loads at boot.
NFTABLES = {
    "drop": """#!/usr/sbin/nft -f
flush ruleset
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		iifname lo accept
		meta l4proto { icmp, ipv6-icmp } accept
		tcp dport 22 accept
	}
	chain forward { type filter hook forward priority filter; policy drop; }
}
""",
    # After Enterprise Linux's /etc/nftables/main.nft.
    "reject": """flush ruleset
table inet nftables_svc {
	set allowed_tcp_dports { type inet_service; elements = { 22, 9090 } }
	chain allow {
		ct state established,related accept
		ct state invalid drop
		iifname lo accept
		meta l4proto { icmp, ipv6-icmp } accept
		tcp dport @allowed_tcp_dports accept
	}
	chain INPUT {
		type filter hook input priority filter + 20; policy accept;
		jump allow
		reject with icmpx type port-unreachable
	}
}
""",
}


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
    # The wire outlives the host; no two have one address.
    put, address = ("ip", "address", "replace"), f"fd99:7::{host.address.rpartition('.')[2]}"
    with wire.entered():
        subprocess.run([*put, "fd99:7::1/64", "dev", "switch", "nodad"], check=True)
    host.output(*put, f"{address}/64", "dev", "host0", "nodad")
    return address


def listen(host, port):
    """Have something other than the registry listen on a port."""
    host.start_service(f"listener-{port}", "python3", "-m", "http.server", "--bind", "::", str(port))
    deadline = time.monotonic() + 10
    asked = ("python3", "-c", f"import socket; socket.create_connection(('::1', {port}))")
    while host.run(*asked).returncode:
        assert time.monotonic() < deadline


def move(minion, vendor):
    """Have the pillar name port 5001, and something else listen on the old one."""
    host = minion.host
    pillar = vendor.pillar(host.address)
    pillar["local"]["port"] = 5001
    minion.set_pillar({"docker_registry": pillar})
    assert failures(minion.apply("docker_registry.service")) == []
    assert failures(minion.apply("docker_registry.firewall")) == []
    again = minion.apply("docker_registry.firewall")
    assert (failures(again), changes(again)) == ([], {})
    listen(host, 5000)


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
    move(minion, vendor)
    assert not any(can_connect(wire, address, 5000) for address in addresses)
    assert all(can_connect(wire, address, 5001) for address in addresses)
    assert all("--dport 5000" not in walled.read(file) for file in saved)
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
    move(minion, vendor)
    assert not can_connect(wire, host.address, 5000)
    assert can_connect(wire, host.address, 5001)
    assert failures(minion.apply("docker_registry.clean")) == []
    assert rules() == closed


@pytest.fixture
def nft(boot, request):
    """Return a host whose only firewall is a file of nftables that it loads at boot."""
    host = boot("nft")
    host.output("apt-get", "install", "-qq", "nftables")
    host.write("/etc/nftables.conf", NFTABLES[getattr(request, "param", "drop")])
    host.output("systemctl", "enable", "--now", "nftables")
    return host


@pytest.mark.parametrize("nft", NFTABLES, indirect=True)
def test_nftables_let_the_registry_be_reached_now_and_after_a_boot(nft, vendor, wire):
    minion = minion_on(nft, vendor.pillar(nft.address))
    addresses = (nft.address, give_ipv6(nft, wire))
    file = nft.read("/etc/nftables.conf")

    def rules():
        return nft.output("nft", "list", "ruleset"), nft.read("/etc/nftables.conf")

    def reached(port):
        return [can_connect(wire, address, port) for address in addresses]

    assert failures(minion.apply("docker_registry.service")) == []
    assert reached(5000) == [False, False]
    closed, opened = apply_twice(minion, rules)
    assert opened[1].startswith(file)
    assert reached(5000) == [True, True]
    # What a boot does: no rules, then those of the file.
    nft.output("systemctl", "restart", "nftables")
    assert rules() == opened
    assert reached(5000) == [True, True]
    move(minion, vendor)
    assert (reached(5000), reached(5001)) == ([False, False], [True, True])
    nft.output("systemctl", "restart", "nftables")
    assert (reached(5000), reached(5001)) == ([False, False], [True, True])
    assert failures(minion.apply("docker_registry.clean")) == []
    assert rules() == closed
    listen(nft, 5001)
    assert reached(5001) == [False, False]


def test_rules_that_the_file_of_the_boot_does_not_make_fail_and_nothing_is_touched(nft, vendor):
    minion = minion_on(nft, vendor.pillar(nft.address))
    nft.output("nft", "add table inet other")
    nft.output("nft", "add chain inet other input { type filter hook input priority 0; policy drop; }")
    before = nft.output("nft", "list", "ruleset"), nft.read("/etc/nftables.conf")
    for test in (True, False):
        answer = minion.apply("docker_registry.firewall", test=test)
        comment = states(answer)[OPEN]["comment"]
        assert (states(answer)[OPEN]["result"], changes(answer)) == (False, {})
        assert "(inet filter input, inet other input)" in comment
        assert "once /etc/nftables.conf is loaded, nft says: " in comment
        assert "add 'tcp dport 5000 accept' to the chain" in comment
    assert (nft.output("nft", "list", "ruleset"), nft.read("/etc/nftables.conf")) == before


def test_what_the_site_has_opened_in_nftables_stays_its_own(nft, vendor, wire):
    minion = minion_on(nft, vendor.pillar(nft.address))
    nft.output("nft", "add rule inet filter input tcp dport { 443, 5000 } accept")
    before = nft.output("nft", "list", "ruleset")
    answer = minion.apply("docker_registry.firewall")
    assert states(answer)[OPEN]["comment"] == "No firewall is managed here"
    assert nft.output("nft", "list", "ruleset") == before


def test_iptables_and_nftables_that_both_filter_are_both_opened(walled, vendor, wire):
    walled.output("apt-get", "install", "-qq", "nftables")
    minion = minion_on(walled, vendor.pillar(walled.address, force=True))
    # What iptables makes is listed by nft, too.
    plan = states(minion.apply("docker_registry.firewall", test=True))[OPEN]
    assert plan["comment"].startswith("Would open port 5000 of iptables. ")
    rules = NFTABLES["drop"].replace("flush ruleset\n", "")
    walled.write("/etc/nftables.conf", rules)
    walled.output("nft", "-f", "/etc/nftables.conf")
    listen(walled, 5000)
    assert not can_connect(wire, walled.address, 5000)
    assert failures(minion.apply("docker_registry.firewall")) == []
    again = minion.apply("docker_registry.firewall")
    assert (failures(again), changes(again)) == ([], {})
    assert can_connect(wire, walled.address, 5000)
    assert "--dport 5000" in walled.output("iptables", "-S", "INPUT")
    assert failures(minion.apply("docker_registry.clean")) == []
    assert "5000" not in walled.output("nft", "list", "ruleset")
    assert walled.read("/etc/nftables.conf") == rules


def test_enterprise_linux_keeps_its_rules_where_its_own_unit_loads_them(boot, vendor, wire):
    host = boot("nft9")
    host.output("apt-get", "install", "-qq", "nftables")
    file = "/etc/sysconfig/nftables.conf"
    host.write("/etc/nftables/main.nft", NFTABLES["reject"].replace("flush ruleset\n", ""))
    host.write(file, 'include "/etc/nftables/main.nft"\n')
    unit = f"[Service]\nExecStart=\nExecStart=/sbin/nft -f {file}\n"
    host.write("/etc/systemd/system/nftables.service.d/el.conf", unit)
    host.output("systemctl", "daemon-reload")
    become_el9(host)
    host.output("systemctl", "start", "nftables")
    minion = minion_on(host, vendor.pillar(host.address, force=True))
    listen(host, 5000)
    assert not can_connect(wire, host.address, 5000)
    apply_twice(minion, lambda: (host.output("nft", "list", "ruleset"), host.read(file)))
    assert can_connect(wire, host.address, 5000)
    host.output("systemctl", "restart", "nftables")
    assert can_connect(wire, host.address, 5000)
    # A site that gives its chain another name loses our rule, and not all of its own.
    renamed = host.read("/etc/nftables/main.nft").replace("INPUT", "input")
    host.write("/etc/nftables/main.nft", renamed)
    host.output("systemctl", "restart", "nftables")
    assert not can_connect(wire, host.address, 5000)
    assert failures(minion.apply("docker_registry.firewall")) == []
    assert can_connect(wire, host.address, 5000)
