"""
What the master's mine says of the authority of a registry (``docker_registry:registry:tls: self_signed``),
for the engines of other hosts.

https://docs.saltproject.io/en/latest/topics/mine/index.html
"""

from __future__ import annotations

_MINE = "docker_registry_authority"
_PEM = "-----BEGIN CERTIFICATE-----"


def told():
    """
    What the master's mine says of the registry's authority, under the minion whose ID is the name that
    ``docker_registry:local:host`` has: only that minion can have put it there.

    Returns:
        str: PEM; empty where it says nothing, or there is no master.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_mine.told
    """
    return _pem(_mine(__salt__["registry_door.registry_host"]()))


def is_told():
    """
    Whether the mine has what ``tell`` would put there.

    Returns:
        bool: true if it has, or there is no master.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_mine.is_told
    """
    return _has_no_master() or _pem(_mine(__opts__["id"])) == __salt__["registry_door.authority"]()


def tell():
    """
    Put the certificate of the registry's authority into the mine, for the engines of other hosts.

    Returns:
        bool: true if the master has taken it.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_mine.tell
    """
    return bool(__salt__["mine.send"](_MINE, mine_function="registry_door.authority")) and is_told()


def untell():
    """
    Take it out again.

    Returns:
        bool: true if the mine has nothing of it.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_mine.untell
    """
    return _has_no_master() or bool(__salt__["mine.delete"](_MINE))


def is_known_of():
    """
    Whether the mine still has something of this host's.

    Returns:
        bool: true if it has.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_mine.is_known_of
    """
    return not _has_no_master() and bool(_mine(__opts__["id"]))


def _mine(minion):
    if _has_no_master():
        return ""
    return (__salt__["mine.get"](minion, _MINE, tgt_type="list") or {}).get(minion, "")


def _pem(text):
    return text if isinstance(text, str) and text.lstrip().startswith(_PEM) else ""


def _has_no_master():
    return __opts__.get("file_client") == "local"
