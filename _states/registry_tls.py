"""
States of the registry's own certificate authority.

They renew certificates also where a populated registry is left alone.
"""

from __future__ import annotations

from salt.exceptions import CommandExecutionError

import _registry_config_defaults as defaults
from _registry_state_files import read as _read
from _registry_state_returns import joined as _joined
from _registry_state_returns import ret as _ret

_NOT_WANTED = "The registry has no CA of its own"


def certificate(name, user, group):
    """
    Create a certificate authority on this host, once, and a certificate that it signs
    (``docker_registry:registry:tls: self_signed``). Both are renewed before they expire.

    Args:
        name (str): where the registry's configuration is.
        user (str): of the registry's process; nobody else can read its key.
        group (str): and its group.

    Returns:
        dict: result False where it cannot be created.

    .. code-block:: yaml

        Registry certificate is signed by its own CA:
          registry_tls.certificate:
            - name: /etc/docker/registry
            - user: docker-registry
            - group: docker-registry
    """
    try:
        if not __salt__["registry_tls.makes_authority"]():
            return _ret(name, True, _NOT_WANTED)
        due = __salt__["registry_tls.due"](name)
        if due and not __opts__["test"]:
            __salt__["registry_tls.renew"](name, user, group)
    except CommandExecutionError as mistake:
        return _ret(name, False, str(mistake))
    if due:
        would = "Would make" if __opts__["test"] else "Made"
        comment = "; ".join(f"{would} the {what}: {why}" for what, why in due.items())
        return _ret(name, None if __opts__["test"] else True, comment, {**due})
    return _joined(name, _owned(__salt__["registry_tls.files"](name), user, group))


def ca_fetched(name):
    """
    Fetch the CA certificate of a registry on another host from the mine, where the minion whose ID is
    ``docker_registry:local:host`` has published it.

    Args:
        name (str): any.

    Returns:
        dict: result False where it is not in the mine.

    .. code-block:: yaml

        Registry CA is fetched from the mine:
          registry_tls.ca_fetched: []
    """
    try:
        path = __salt__["registry_tls.authority_path"]()
        if not path:
            return _ret(name, True, _NOT_WANTED)
        if __salt__["registry_tls.has_ca_key"]():
            return _ret(name, True, "It was created on this host")
        text = __salt__["registry_tls.published_ca"]()
    except CommandExecutionError as mistake:
        return _ret(name, False, str(mistake))
    if text:
        return _joined(name, [_managed(path, "root", "root", "0644", contents=text, makedirs=True)])
    if __salt__["registry_tls.authority"]():
        return _ret(name, True, f"No CA in the mine; keeping {path}")
    if __opts__["test"]:
        return _ret(name, None, f"Would write it to {path}, once it is created")
    return _ret(
        name,
        False,
        "docker_registry:registry:tls: self_signed: the mine has nothing of a minion whose ID is that of "
        "docker_registry:local:host; apply docker_registry.config there first, or give this host "
        "docker_registry:registry:tls:ca and docker_registry:local:tls: true",
    )


def ca_published(name):
    """
    Publish the CA certificate to the mine, for the engines of other hosts.

    Args:
        name (str): any.

    Returns:
        dict: a change where it was published.

    .. code-block:: yaml

        Registry CA is published to the mine:
          registry_tls.ca_published: []
    """
    try:
        if not __salt__["registry_tls.makes_authority"]():
            return _ret(name, True, _NOT_WANTED)
        if __salt__["registry_tls.is_published"]():
            return _ret(name, True, "The CA in the mine is current")
    except CommandExecutionError as mistake:
        return _ret(name, False, str(mistake))
    if __opts__["test"]:
        return _ret(name, None, "Would publish the CA to the mine", {"mine": "published"})
    if __salt__["registry_tls.publish_ca"]():
        return _ret(name, True, "The CA was published to the mine", {"mine": "published"})
    return _ret(name, True, "The master keeps no mine; docs/logging-in.md says what other hosts need")


def absent(name):
    """
    Remove the authority's files, and its certificate from the mine.

    Args:
        name (str): any.

    Returns:
        dict: the files that were removed.

    .. code-block:: yaml

        Registry CA is absent:
          registry_tls.absent: []
    """
    try:
        path = __salt__["registry_tls.authority_path"]() or _left_behind()
        of_mine = bool(path) and __salt__["registry_tls.is_in_mine"]()
    except CommandExecutionError as mistake:
        return _ret(name, False, str(mistake))
    if not path:
        return _ret(name, True, _NOT_WANTED)
    directory = path.rpartition("/")[0]
    rets = [__states__["file.absent"](each) for each in (path, f"{directory}/ca-key.pem")]
    if of_mine:
        done = __opts__["test"] or __salt__["registry_tls.unpublish_ca"]()
        rets.append(_ret(name, None if __opts__["test"] else done, "", {"mine": "removed"}))
    if any(ret["changes"] for ret in rets) and not __opts__["test"]:
        # It refuses where somebody else has put a file there.
        __salt__["file.rmdir"](directory)
    return _joined(name, rets)


def _left_behind():
    """The authority that this formula has made or fetched, and that the pillar does not know any more."""
    usual = f"{defaults.AUTHORITY_DIRECTORY}/ca.pem"
    text = _read(usual, __salt__, errors="replace")
    return usual if text and __salt__["registry_tls.is_made_here"](text) else ""


def _owned(paths, user, group):
    """The files with the owner and mode that they need; their content stays."""
    keeps = {"replace": False, "create": False}
    return [
        _managed(paths["authority_key"], "root", "root", "0600", **keeps),
        _managed(paths["authority"], "root", "root", "0644", **keeps),
        _managed(paths["key"], user, group, "0600", **keeps),
        _managed(paths["certificate"], user, group, "0644", **keeps),
    ]


def _managed(path, user, group, mode, **keywords):
    return __states__["file.managed"](path, user=user, group=group, mode=mode, show_changes=False, **keywords)
