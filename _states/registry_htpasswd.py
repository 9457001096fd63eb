"""State of the registry's htpasswd file."""

from __future__ import annotations

from salt.exceptions import CommandExecutionError

from _registry_state_returns import ret as _ret


def managed(name, user, group):
    """
    Write the users of ``docker_registry:registry:htpasswd`` to the htpasswd file, as hashes.

    Args:
        name (str): path of the file.
        user (str): of the registry's process.
        group (str): and its group.

    Returns:
        dict: as ``file.managed`` gives it, without the difference.

    .. code-block:: yaml

        Registry htpasswd file is managed:
          registry_htpasswd.managed:
            - name: /etc/docker/registry/htpasswd
            - user: docker-registry
            - group: docker-registry
    """
    try:
        if not __salt__["registry_host.should_manage"]("htpasswd"):
            return _ret(name, True, "The registry has no users of its own, or is left alone")
        text = __salt__["registry_htpasswd.text"](name)
    except CommandExecutionError as mistake:
        return _ret(name, False, str(mistake))
    return __states__["file.managed"](
        name, user=user, group=group, mode="0600", show_changes=False, contents=text
    )
