"""Whether a name stands for this host, or for any."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any


def is_here(name: str, functions: Mapping[str, Callable[..., Any]]) -> bool:
    """Whether a name or address is this host's own; with ``ip_nonlocal_bind`` a bind would not tell.

    Args:
        name: as in ``docker_registry:local:host``.
        functions: Salt's; of them ``network.ip_addrs`` and ``network.ip_addrs6`` are called.

    Returns:
        True if it is; False also where nobody resolves the name.
    """
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(name, None)}
    except (OSError, UnicodeError):
        return False
    # Debian gives the host's own name 127.0.1.1, which no interface lists.
    if any(address.startswith("127.") or address == "::1" for address in found):
        return True
    own = functions["network.ip_addrs"](include_loopback=True)
    own += functions["network.ip_addrs6"](include_loopback=True)
    return not found.isdisjoint(own)


def unresolved(name: str) -> str:
    """Why this host finds no address for a name.

    Args:
        name: as in ``docker_registry:local:host``.

    Returns:
        The resolver's words; empty where it resolves, as an address always does.
    """
    try:
        socket.getaddrinfo(name, None)
    except OSError as failure:
        return failure.strerror or str(failure)
    except UnicodeError:
        return "no host has such a name"
    return ""
