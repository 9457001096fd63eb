"""Whether images are deleted with the registry whose they are, and may be: more of ``registry_host``."""

from __future__ import annotations

import os

# Modules, not their functions: whatever function stands here is one of registry_host to Salt.
import _registry_host_guard as guard
import _registry_host_service as host
import _registry_state_files as files
import _registry_state_found as found
import _registry_state_settings as checked
import _registry_sync_ledger as ledger

__virtualname__ = "registry_host"


def __virtual__():  # noqa: N807 - Salt's own name
    """Beside the functions of the file ``registry_host.py``."""
    return __virtualname__


def purges():
    """
    Whether ``docker_registry.clean`` removes the images, too.

    Returns:
        bool: the pillar's ``registry:purge``.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.purges
    """
    return _settings().service.purge


def purge_obstacle(storage_default):
    """
    Why the images must not be deleted although ``registry:purge`` is true: nothing shows that the registry
    whose they are is one that this formula has set up, nor that ``registry_sync`` has put all of them there.

    Args:
        storage_default (str): where the system's package keeps the images.

    Returns:
        str: a sentence; empty where nothing stands against it.

    Raises:
        CommandExecutionError: the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.purge_obstacle /var/lib/docker-registry
    """
    settings, directory = _settings(), __salt__["registry_host.storage"](storage_default)
    if settings.service.install == "none":
        return guard.not_purged(directory, "docker_registry:registry:install is none")
    if os.path.realpath(directory) in _own_storages():
        return ""
    book = ledger.Ledger(ledger.directory_below(__opts__["root_dir"]), settings.local.url)
    unknown = found.unknown_image(directory, book)
    return guard.not_purged(directory, f"{unknown} was not put there by registry_sync") if unknown else ""


def _own_storages():
    """Where the configurations say that the images are which this formula has written."""
    saved = __salt__["registry_backup.saved_state"]().get("files") or {}
    texts = (files.read(file, __salt__, errors="replace") for file in saved)
    named = (host.storage_location(host.read_config(text)) for text in texts)
    return {os.path.realpath(directory) for directory in named if directory.startswith("/")}


def _settings():
    return checked.settings_of(__pillar__, __grains__, __salt__, __context__)
