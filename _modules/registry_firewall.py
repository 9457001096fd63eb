"""The registry's port in the firewall of this host, firewalld, iptables or nftables: rules of our own."""

from __future__ import annotations

import salt.utils.path
from salt.exceptions import CommandExecutionError

import _registry_host_firewall as rules_of_iptables
import _registry_state_settings as checked
from _registry_host_nftables import MARK
from _registry_state_nftables import Nftables

__func_alias__ = {"open_": "open"}

# A service of its own, so that removing it closes no port that somebody else has opened.
_SERVICE = MARK
# IPv6 has rules of its own; by what Salt calls a family.
_PROGRAMS = {"ipv4": "iptables", "ipv6": "ip6tables"}
_SAVED_RULES = {
    ("RedHat", "ipv4"): "/etc/sysconfig/iptables",
    ("RedHat", "ipv6"): "/etc/sysconfig/ip6tables",
    ("Debian", "ipv4"): "/etc/iptables/rules.v4",
    ("Debian", "ipv6"): "/etc/iptables/rules.v6",
}
# What loads these files at boot.
_RULES_PACKAGES = {"RedHat": "iptables-services", "Debian": "iptables-persistent"}
_IPTABLES_TABLES = ("filter", "mangle", "nat", "raw", "security")


def kinds():
    """
    The firewalls in which the registry's port is opened: where several filter, each has to let it through.

    Returns:
        list: of ``firewalld``, ``iptables``, ``nftables``: the pillar's ``firewall``, or what filters here.

    Raises:
        CommandExecutionError: the rules of nftables cannot be read.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_firewall.kinds
    """
    choice = _choice()
    if choice != "auto":
        return [] if choice == "none" else [choice]
    return _found()


def ports():
    """
    The ports that are opened: the registry's, and that of its signatures where they are served.

    Returns:
        list: TCP ports.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_firewall.ports
    """
    signatures = _settings().signatures.serve
    return [__salt__["registry_host.port"](), *([signatures] if signatures else [])]


def kind():
    """
    The first firewall in which the registry's port is opened; ``kinds`` gives all.

    Returns:
        str: ``firewalld``, ``iptables``, ``nftables`` or ``none``.

    Raises:
        CommandExecutionError: the rules of nftables cannot be read.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_firewall.kind
    """
    return next(iter(kinds()), "none")


def warnings():
    """
    What may keep the registry's port closed, now or after a boot, and is not for this formula to change.

    Returns:
        list: one sentence each.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_firewall.warnings
    """
    managed = kinds()
    families = _families() if "iptables" in managed else []
    lost = [_lost_at_boot(family) for family in families if not _saved_rules(family)[0]]
    found = _iptables_or_firewalld() if managed and _choice() != "auto" else []
    return [*lost, *(_not_managed(name) for name in found if name not in managed)]


def is_open():
    """
    Whether our rule is active, and saved where rules are loaded at boot.

    Returns:
        bool: true if nothing is to be done.

    Raises:
        CommandExecutionError: the firewall cannot be asked, or what would have to be done would not last.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_firewall.is_open
    """
    managed = kinds()
    refusing = _nftables().refusing() if managed in (["firewalld"], ["iptables"]) else []
    if refusing:
        raise CommandExecutionError(
            f"nftables refuses connections to {_phrase()} ({', '.join(map(str, refusing))}), and "
            f"docker_registry:firewall is {' and '.join(managed)}; auto opens the port in each that filters"
        )
    return all(_call(_IS_OPEN, managed))


def has_rule():
    """
    Whether there is any rule of ours, also for another port.

    Returns:
        bool: true if ``close`` has something to do.

    Raises:
        CommandExecutionError: the firewall cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_firewall.has_rule
    """
    return any(_call(_HAS_RULE, kinds()))


def open_():
    """
    Open the registry's port, now and after a boot, and close a port that it had before.

    Raises:
        CommandExecutionError: the firewall refuses.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_firewall.open
    """
    managed = kinds()
    for kind, is_open_there in zip(managed, _call(_IS_OPEN, managed), strict=True):
        if not is_open_there:
            _OPEN[kind]()


def close():
    """
    Remove our rule; rules of others stay.

    Raises:
        CommandExecutionError: the firewall refuses.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_firewall.close
    """
    _call(_CLOSE, kinds())


def _call(functions, managed):
    missing = [kind for kind in managed if _choice() == kind and f"{kind}.version" not in __salt__]
    if missing:
        raise CommandExecutionError(f"docker_registry:firewall: {missing[0]} is not installed here")
    return [functions[kind]() for kind in managed]


def _choice():
    return _settings().firewall


def _settings():
    return checked.settings_of(__pillar__, __grains__, __salt__, __context__)


def _phrase():
    numbers = ports()
    return f"port{'s' if len(numbers) > 1 else ''} {' and '.join(map(str, numbers))}"


def _found():
    """The firewalls that filter here, or have a rule of ours."""
    nftables = _nftables()
    return [*_iptables_or_firewalld(), *(["nftables"] if nftables.refusing() or nftables.has_rule() else [])]


def _iptables_or_firewalld():
    which = salt.utils.path.which
    if which("firewall-cmd") and __salt__["registry_service.control"]("firewalld", "status"):
        return ["firewalld"]
    return ["iptables"] if which("iptables") and any(map(_filters, _families())) else []


def _not_managed(kind):
    return (
        f"{kind} filters here, too, and the pillar's firewall does not name it; auto opens the port in each"
    )


def _lost_at_boot(family):
    path = _SAVED_RULES.get((__grains__["os_family"], family))
    reason = f"there is no {path}" if path else "this formula knows no file of saved rules on this system"
    package = _RULES_PACKAGES.get(__grains__["os_family"])
    remedy = f"; install {package} and apply again" if package else ""
    return f"the rule of {_PROGRAMS[family]} is lost at the next boot, as {reason}{remedy}"


# firewalld. Salt's states can make a service and give it to a zone, and neither takes it away again.


def _firewalld_has_rule():
    return _SERVICE in __salt__["firewalld.get_services"]()


def _firewalld_is_open():
    return (
        _firewalld_has_rule()
        and sorted(__salt__["firewalld.get_service_ports"](_SERVICE)) == sorted(_firewalld_ports())
        and _SERVICE in __salt__["firewalld.list_services"](_zone())
    )


def _open_firewalld():
    if not _firewalld_has_rule():
        __salt__["firewalld.new_service"](_SERVICE, restart=False)
    for stale in set(__salt__["firewalld.get_service_ports"](_SERVICE)) - set(_firewalld_ports()):
        __salt__["firewalld.remove_service_port"](_SERVICE, stale)
    for port in _firewalld_ports():
        __salt__["firewalld.add_service_port"](_SERVICE, port)
    __salt__["firewalld.add_service"](_SERVICE, _zone())
    __salt__["firewalld.reload_rules"]()


def _close_firewalld():
    if _SERVICE in __salt__["firewalld.list_services"](_zone()):
        __salt__["firewalld.remove_service"](_SERVICE, _zone())
    __salt__["firewalld.delete_service"](_SERVICE, restart=False)
    __salt__["firewalld.reload_rules"]()


def _zone():
    return __salt__["firewalld.default_zone"]()


def _firewalld_ports():
    return [f"{port}/tcp" for port in ports()]


# iptables, and ip6tables where it is. Salt's states know a rule by all that it says, so that one for another
# port stays, and save it with all rules that are active.


def _filters(family):
    """Whether iptables filters; without rules there is nothing to open."""
    return bool(set(_rules(family)) - {"-P INPUT ACCEPT"})


def _families():
    """IPv4, and IPv6 unless this host has none."""
    return [family for family in _PROGRAMS if family == "ipv4" or _rules(family)]


def _iptables_has_rule():
    return any(
        _our_rules(_rules(family)) or _our_rules(_saved_rules(family)[1].splitlines())
        for family in _families()
    )


def _iptables_is_open():
    return all(map(_family_is_open, _families()))


def _family_is_open(family):
    path, saved = _saved_rules(family)
    wanted = _wanted_rules()
    return _our_rules(_rules(family)) == wanted and (not path or _our_rules(saved.splitlines()) == wanted)


def _open_iptables():
    for family in _families():
        if not _family_is_open(family):
            _open_family(family)


def _open_family(family):
    for stale in _our_rules(_rules(family)):
        __salt__["iptables.delete"]("filter", "INPUT", rule=stale, family=family)
    # In front, as on Enterprise Linux the chain's last rule rejects what came so far.
    for rule in reversed(_wanted_rules()):
        error = __salt__["iptables.insert"]("filter", "INPUT", 1, rule, family=family)
        if error:
            raise CommandExecutionError(f"{_PROGRAMS[family]}: {error}")
    _save(family, _wanted_rules())


def _close_iptables():
    for family in _families():
        for rule in _our_rules(_rules(family)):
            __salt__["iptables.delete"]("filter", "INPUT", rule=rule, family=family)
        _save(family, [])


def _rules(family):
    if not salt.utils.path.which(_PROGRAMS[family]):
        return []
    command = [_PROGRAMS[family], "-S", "INPUT"]
    # Also where the kernel has no IPv6 it says nothing here.
    return __salt__["cmd.run_stdout"](command, python_shell=False, ignore_retcode=True).splitlines()


def _wanted_rules():
    # In the order in which iptables-save writes it, so that one saved by others is recognised.
    return [f"-p tcp -m tcp --dport {port} -m comment --comment {_SERVICE} -j ACCEPT" for port in ports()]


def _our_rules(lines):
    rules = map(rules_of_iptables.input_rule, lines)
    return [rule for rule in rules if f" {_SERVICE} " in rule]


def _save(family, rules):
    """
    Write our rules to the file that is loaded at boot. Salt's ``iptables.save`` would save all active rules,
    also those that docker and others add at run time.
    """
    path, saved = _saved_rules(family)
    text = rules_of_iptables.replace_saved_rules(saved, _our_rules(saved.splitlines()), rules)
    if text != saved and path:
        # It ends each argument with a line's end of its own.
        __salt__["file.write"](path, text.removesuffix("\n"))


def _saved_rules(family):
    path = _SAVED_RULES.get((__grains__["os_family"], family), "")
    if not path or not __salt__["file.file_exists"](path):
        return "", ""
    return path, __salt__["file.read"](path)


# nftables


def _nftables():
    choice, has_nft = _choice(), salt.utils.path.which("nft")
    managed_by_others = _tables_of_others() if has_nft and choice != "nftables" else []
    return Nftables(__salt__, __grains__["os_family"], ports(), managed_by_others)


def _tables_of_others():
    """Tables that firewalld makes, and iptables, which cannot read those that others have made."""
    families = {"ipv4": "ip", "ipv6": "ip6"}
    of_iptables = [families[family] for family in _PROGRAMS if _filters(family)]
    return [
        *((family, "firewalld") for family in ("inet", "ip", "ip6")),
        *((family, table) for family in of_iptables for table in _IPTABLES_TABLES),
    ]


_IS_OPEN = {
    "firewalld": _firewalld_is_open,
    "iptables": _iptables_is_open,
    "nftables": lambda: _nftables().is_open(),
}
_HAS_RULE = {
    "firewalld": _firewalld_has_rule,
    "iptables": _iptables_has_rule,
    "nftables": lambda: _nftables().has_rule(),
}
_OPEN = {
    "firewalld": _open_firewalld,
    "iptables": _open_iptables,
    "nftables": lambda: _nftables().open(),
}
_CLOSE = {
    "firewalld": _close_firewalld,
    "iptables": _close_iptables,
    "nftables": lambda: _nftables().close(),
}
