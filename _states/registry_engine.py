"""States that make docker and podman trust the registries of the pillar, and that undo it."""

from __future__ import annotations

from salt.exceptions import CommandExecutionError

from _registry_state_returns import joined as _joined
from _registry_state_returns import ret as _ret

_LEFT_ALONE = "Nothing to configure on this host"


def file_cleaned(name, of):
    """
    Remove our registries from a file of docker; other settings stay.

    Args:
        name (str): path of the file.
        of (str): ``sysconfig`` or ``daemon``.

    Returns:
        dict: as ``file.managed`` or, where nothing else is in it, ``file.absent`` gives it.

    .. code-block:: yaml

        Registries are absent from Docker's daemon.json:
          registry_engine.file_cleaned:
            - name: /etc/docker/daemon.json
            - of: daemon
    """
    if not __salt__["file.file_exists"](name):
        return _ret(name, True, f"There is no {name}")
    try:
        text = __salt__["registry_engine.text"](of, clean=True)
    except CommandExecutionError as error:
        return _ret(name, False, str(error))
    if not text:
        return __states__["file.absent"](name)
    if text == __salt__["file.read"](name):
        return _ret(name, True, f"{name} does not name our registries")
    return __states__["file.managed"](name, contents=text)


def authorities(name, engine):
    """
    Install the CAs of our registries for an engine, which reads them at each pull.

    Args:
        name (str): its directory of authorities, such as /etc/docker/certs.d.
        engine (str): docker or podman.

    Returns:
        dict: a file for each registry.

    .. code-block:: yaml

        Docker trusts the CA of the registry:
          registry_engine.authorities:
            - name: /etc/docker/certs.d
            - engine: docker
    """
    # A registry that is left alone may still have renewed its own CA.
    idle = __salt__["registry_host.skips_configuration"]() and not __salt__["registry_tls.self_signed"]()
    if idle or not __salt__["registry_engine.manages"](engine):
        return _ret(name, True, _LEFT_ALONE)
    rets = [
        __states__["file.managed"](f"{name}/{registry}/ca.crt", contents=text, mode="0644", makedirs=True)
        for registry, text in __salt__["registry_engine.authorities"]().items()
        # In test mode it may not exist yet.
        if text or __opts__["test"]
    ]
    return _joined(name, rets) if rets else _ret(name, True, "No registry has a private CA")


def authorities_absent(name):
    """
    Undo ``authorities``.

    Args:
        name (str): the engine's directory of authorities.

    Returns:
        dict: a file for each registry.

    .. code-block:: yaml

        CA of the registry is absent:
          registry_engine.authorities_absent:
            - name: /etc/docker/certs.d
    """
    rets = []
    for registry in __salt__["registry_engine.authorities"]():
        rets.append(__states__["file.absent"](f"{name}/{registry}/ca.crt"))
        if rets[-1]["changes"] and not __opts__["test"]:
            # It refuses where somebody else has put a file there.
            __salt__["file.rmdir"](f"{name}/{registry}")
    return _joined(name, rets) if rets else _ret(name, True, "No registry has a private CA")
