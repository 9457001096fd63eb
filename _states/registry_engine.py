"""States that make docker and podman trust the registries of the pillar, and that undo it."""

from __future__ import annotations

from salt.exceptions import CommandExecutionError

from _registry_state_files import managed as _managed
from _registry_state_files import read as _read
from _registry_state_returns import joined as _joined
from _registry_state_returns import ret as _ret

_LEFT_ALONE = "Nothing to configure on this host"


def file_managed(name, of):
    """
    Name our registries in a file of docker, where neither it nor the other file does, and no longer those
    that have got TLS or another port; other settings stay, and so do registries that the site has named.

    Args:
        name (str): path of the file.
        of (str): ``sysconfig`` or ``daemon``.

    Returns:
        dict: as ``file.managed`` gives it; result False where docker would refuse what the file then says.

    .. code-block:: yaml

        Docker trusts the registries through its daemon.json:
          registry_engine.file_managed:
            - name: /etc/docker/daemon.json
            - of: daemon
    """
    try:
        if not __opts__["test"]:
            # Before it is written: what is noted and is not there harms nobody.
            __salt__["registry_engine.note"](of)
        ret = _ret(name, True, _LEFT_ALONE)
        if __salt__["registry_engine.should_manage"](of):
            text = __salt__["registry_engine.text"](of)
            ret = _managed(__states__, name, text, test=__opts__["test"], makedirs=True)
        if ret["result"] and not __opts__["test"]:
            __salt__["registry_engine.settle"](of)
    except CommandExecutionError as error:
        return _ret(name, False, str(error))
    return ret


def file_cleaned(name, of):
    """
    Remove from a file of docker the registries that this formula has added; other settings stay, and a file
    that nobody has changed since is the one that was there before.

    Args:
        name (str): path of the file.
        of (str): ``sysconfig``, ``daemon`` or ``tidy``, as in ``registry_engine.text``.

    Returns:
        dict: as ``file.managed`` or, where nothing else is in it, ``file.absent`` gives it.

    .. code-block:: yaml

        Registries are absent from Docker's daemon.json:
          registry_engine.file_cleaned:
            - name: /etc/docker/daemon.json
            - of: daemon
    """
    try:
        ret = _without_ours(name, of)
    except CommandExecutionError as error:
        return _ret(name, False, str(error))
    # The daemon's file is finished by tidy, once docker has forgotten them.
    if of != "daemon" and ret["result"] and not __opts__["test"]:
        __salt__["registry_engine.forget"](name)
    return ret


def _without_ours(name, of):
    if not __salt__["file.file_exists"](name):
        return _ret(name, True, f"There is no {name}")
    text = __salt__["registry_engine.text"](of, clean=True)
    if text == _read(name, __salt__):
        return _ret(name, True, f"{name} has nothing that this formula added")
    if not text and __salt__["registry_engine.goes"](of):
        return __states__["file.absent"](name)
    if of == "daemon" and not __opts__["test"]:
        __salt__["registry_engine.note"](of, clean=True)
    return _managed(__states__, name, text, test=__opts__["test"])


def reloaded(name):
    """
    Have docker read its daemon.json again, when that changes or docker does not know yet what it says of our
    registries. It is never restarted: its containers are not touched.

    Args:
        name (str): docker's service.

    Returns:
        dict: result False where docker does not take over what the file says.

    .. code-block:: yaml

        Docker is reloaded:
          registry_engine.reloaded:
            - name: docker
            - watch:
              - file: /etc/docker/daemon.json
    """
    try:
        # Asked on its socket, a docker that does not run might be started by systemd.
        runs = __salt__["registry_service.control"](name, "status")
        reloads = runs and __salt__["registry_engine.should_manage"]("reload")
    except CommandExecutionError as error:
        return _ret(name, False, str(error))
    return (
        mod_watch(name) if reloads else _ret(name, True, f"{name} is reloaded when its daemon.json changes")
    )


def mod_watch(name, **_):
    """
    Reload docker where it runs.

    Args:
        name (str): docker's service.

    Returns:
        dict: as ``reloaded``.
    """
    if not __salt__["registry_service.control"](name, "status"):
        return _ret(name, True, f"{name} is not running; it reads its daemon.json when it starts")
    changes = {"now": "reloaded"}
    if __opts__["test"]:
        return _ret(name, None, f"Would reload {name}; its containers are not touched", changes)
    try:
        __salt__["registry_engine.reload"](name)
    except CommandExecutionError as error:
        # Without changes Salt would go on to mod_watch and the same again.
        return {**_ret(name, False, str(error)), "skip_watch": True}
    return _ret(name, True, f"{name} was reloaded; its containers were not touched", changes)


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
    try:
        # A registry that is left alone may still have renewed its own CA.
        idle = __salt__["registry_host.skips_configuration"]() and not __salt__["registry_tls.self_signed"]()
        if idle or not __salt__["registry_engine.manages"](engine):
            return _ret(name, True, _LEFT_ALONE)
        rets = [
            _trusted(f"{name}/{registry}/ca.crt", text)
            for registry, text in __salt__["registry_engine.authorities"]().items()
            # In test mode it may not exist yet.
            if text or __opts__["test"]
        ]
        rets += _undone(__salt__["registry_engine.authorities_left"](name))
    except CommandExecutionError as mistake:
        return _ret(name, False, str(mistake))
    return _joined(name, rets) if rets else _ret(name, True, "No registry has a private CA")


def _trusted(path, text):
    if not __opts__["test"]:
        __salt__["registry_engine.note_authority"](path, text)
    return __states__["file.managed"](path, contents=text, mode="0644", makedirs=True)


def authorities_absent(name):
    """
    Undo ``authorities``: a CA that was there before is there again.

    Args:
        name (str): the engine's directory of authorities.

    Returns:
        dict: a file for each registry.

    .. code-block:: yaml

        CA of the registry is absent:
          registry_engine.authorities_absent:
            - name: /etc/docker/certs.d
    """
    try:
        rets = _undone(__salt__["registry_engine.authorities_left"](name, clean=True))
    except CommandExecutionError as mistake:
        return _ret(name, False, str(mistake))
    return _joined(name, rets) if rets else _ret(name, True, "No registry has a private CA")


def _undone(before):
    """The files with what they said before, and none where there was none."""
    rets = []
    for path, text in before.items():
        if text is not None:
            ret = _managed(__states__, path, text, test=__opts__["test"])
        else:
            ret = __states__["file.absent"](path)
            if ret["changes"] and not __opts__["test"]:
                # It refuses where somebody else has put a file there.
                __salt__["file.rmdir"](path.rpartition("/")[0])
        if ret["result"] and not __opts__["test"]:
            __salt__["registry_engine.forget"](path)
        rets.append(ret)
    return rets
