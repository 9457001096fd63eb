"""The users of the registry on this host (``docker_registry:registry:htpasswd``)."""

from __future__ import annotations

from salt.exceptions import CommandExecutionError

import _registry_config_minion as here
import _registry_host_htpasswd as users_file
from _registry_config_read import SettingsError

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
    # Checked as a whole; a number for a name is one.
    _check()
    wanted = {str(name): entry for name, entry in _registry().get("htpasswd", {}).items()}
    try:
        return users_file.htpasswd(
            wanted, __salt__["file.read"](file) if __salt__["file.file_exists"](file) else ""
        )
    except users_file.NoBcryptError:
        raise CommandExecutionError(_NO_BCRYPT) from None


def _check():
    try:
        here.settings_of(__pillar__.get("docker_registry"), __grains__, __salt__, __context__)
    except SettingsError as mistake:
        raise CommandExecutionError(str(mistake)) from None


def _registry():
    return here.pillar_of(__pillar__.get("docker_registry"), __salt__, __context__).get("registry", {})
