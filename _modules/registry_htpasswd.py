"""The users of the registry on this host (``docker_registry:registry:htpasswd``)."""

from __future__ import annotations

from salt.exceptions import CommandExecutionError

import _registry_host_htpasswd as users_file
import _registry_state_settings as checked

_NO_BCRYPT = (
    "docker_registry:registry:htpasswd: Salt's Python cannot hash with bcrypt here; give hashes, as "
    "htpasswd -nB makes them, or have it: salt-pip install bcrypt"
)


def text(file):
    """
    Contents of the htpasswd file. A password of the pillar keeps the hash that it has in the current file.

    Args:
        file (str): path of the file.

    Returns:
        str: a line a user, with bcrypt hashes alone; empty where the pillar has no users.

    Raises:
        CommandExecutionError: the pillar has a mistake, or nothing here can hash.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_htpasswd.text /etc/docker/registry/htpasswd
    """
    wanted = checked.settings_of(__pillar__, __grains__, __salt__, __context__).service.htpasswd
    try:
        return users_file.htpasswd(
            wanted, __salt__["file.read"](file) if __salt__["file.file_exists"](file) else ""
        )
    except users_file.NoBcryptError:
        raise CommandExecutionError(_NO_BCRYPT) from None
