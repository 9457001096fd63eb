"""States of the registry's port in the firewall of this host."""

from __future__ import annotations

from salt.exceptions import CommandExecutionError

from _registry_state_returns import ret as _ret

_LEFT_ALONE = "Nothing to configure on this host"


def port_open(name):
    """
    Open the registry's port in the firewall that runs here.

    Args:
        name (str): any.

    Returns:
        dict: result False where the firewall refuses.

    .. code-block:: yaml

        Registry port is open:
          registry_firewall.port_open: []
    """
    if not __salt__["registry_host.should_manage"]("service"):
        return _ret(name, True, _LEFT_ALONE)
    ret = _port_state(name, "open", lambda: not __salt__["registry_firewall.is_open"]())
    if ret["result"] is False:
        return ret
    warnings = [f"Warning: {warning}" for warning in __salt__["registry_firewall.warnings"]()]
    return {**ret, "comment": ". ".join([ret["comment"], *warnings])}


def port_closed(name):
    """
    Remove the rule of ``port_open``.

    Args:
        name (str): any.

    Returns:
        dict: result False where the firewall refuses.

    .. code-block:: yaml

        Registry port is closed:
          registry_firewall.port_closed: []
    """
    return _port_state(name, "close", lambda: __salt__["registry_firewall.has_rule"]())


def _port_state(name, action, is_needed):
    done = "open" if action == "open" else "closed"
    try:
        kinds = __salt__["registry_firewall.kinds"]()
        if not kinds:
            return _ret(name, True, "No firewall is managed here")
        # Our rule may still be that of another port.
        what = f"{_ports() if action == 'open' else 'our port'} of {' and '.join(kinds)}"
        verb = "are" if what.startswith("ports") else "is"
        changes = dict.fromkeys(kinds, done)
        if not is_needed():
            return _ret(name, True, f"{what.capitalize()} {verb} {done} already")
        if __opts__["test"]:
            return _ret(name, None, f"Would {action} {what}", changes)
        __salt__[f"registry_firewall.{action}"]()
    except CommandExecutionError as error:
        return _ret(name, False, str(error))
    return _ret(name, True, f"{what.capitalize()} {verb} {done} now", changes)


def _ports():
    ports = __salt__["registry_firewall.ports"]()
    return f"port{'s' if len(ports) > 1 else ''} {' and '.join(map(str, ports))}"
