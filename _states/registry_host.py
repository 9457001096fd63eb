"""
States of ``docker_registry`` that Salt has none for, or none that works without a running systemd.

All but the ones that clean up do nothing while the registry is left alone, see ``configuration_guard``.
"""

from __future__ import annotations

import os

from salt.exceptions import CommandExecutionError

import _registry_host_guard as guard
from _registry_state_returns import joined as _joined
from _registry_state_returns import ret as _ret

_LEFT_ALONE = "Nothing to configure on this host"


def configuration_guard(name, config, storage):
    """
    Check the pillar, and report whether the formula configures this host. A registry that this formula has
    set up follows the pillar. One that somebody else has set up and that serves images is left alone,
    unless ``docker_registry:force`` is true.

    Args:
        name (str): any.
        config (str): path of the registry's configuration file.
        storage (str): where the system's package keeps the images.

    Returns:
        dict: result False, with the reason as its comment, where the pillar has a mistake, where it cannot be
        told what serves here, where a registry that this run is to ask has a name that does not resolve, or
        where images would be out of sight.

    .. code-block:: yaml

        Registry is left alone unless forced:
          registry_host.configuration_guard:
            - config: /etc/docker/registry/config.yml
            - storage: /var/lib/docker-registry
    """
    try:
        # A host that is made a client of a registry alone need not know it by name yet.
        asks = any(low["state"] == "registry_sync" for low in __lowstate__)
        obstacle = __salt__["registry_host.obstacle"](config, storage, asks=asks)
        if obstacle:
            return _ret(name, False, obstacle)
        if not __salt__["registry_host.skips_configuration"]():
            return _ret(name, True, "The pillar is valid; the registry is configured as it says")
        served = __salt__["registry_sync.registry"]()
        changes = __salt__["registry_host.forced_changes"](config, storage)
    except CommandExecutionError as mistake:
        return _ret(name, False, str(mistake))
    host = served["url"].partition("://")[2]
    return _ret(name, True, guard.left_alone(host, served["repositories"], changes))


def storage(name, default, user, group):
    """
    Create the directory of the images, owned by the service, and label it where SELinux is used.

    Args:
        name (str): any.
        default (str): where the system's package keeps the images.
        user (str): whom the service runs as.
        group (str): and its group.

    Returns:
        dict: as ``file.directory`` gives it.

    .. code-block:: yaml

        Storage directory exists:
          registry_host.storage:
            - default: /var/lib/registry
            - user: root
            - group: root
    """
    if not __salt__["registry_host.should_manage"]("service"):
        return _ret(name, True, _LEFT_ALONE)
    directory = __salt__["registry_host.storage"](default)
    if not directory:
        return _ret(name, True, "The images are kept in another storage driver than files")
    # Of a link, what the service writes to.
    directory = os.path.realpath(directory)
    rets = [__states__["file.directory"](directory, user=user, group=group, makedirs=True)]
    if "selinux.fcontext_policy_present" in __states__ and __salt__["selinux.getenforce"]() != "Disabled":
        in_container = __salt__["registry_host.should_manage"]("container")
        kind = "container_file_t" if in_container else "container_var_lib_t"
        rets.append(__states__["selinux.fcontext_policy_present"](f"{directory}(/.*)?", kind))
        rets.append(__states__["selinux.fcontext_policy_applied"](directory, recursive=True))
    return _joined(name, rets)


def unit_absent(name):
    """
    Remove a unit or an init script that this formula wrote, and no other.

    Args:
        name (str): path of it.

    Returns:
        dict: as ``file.absent`` gives it.

    .. code-block:: yaml

        Registry unit is absent:
          registry_host.unit_absent:
            - name: /etc/containers/systemd/registry.container
    """
    if not __salt__["file.file_exists"](name):
        return _ret(name, True, f"There is no {name}")
    if not __salt__["registry_host.is_our_unit"](name):
        return _ret(name, True, f"{name} was not written by this formula")
    # A quadlet has no link of its own in a target.
    if not __opts__["test"] and not name.endswith(".container"):
        __salt__["registry_service.control"](name.rpartition("/")[2], "disable")
    ret = __states__["file.absent"](name)
    if not __opts__["test"]:
        __salt__["registry_service.reload_units"]()
    return ret


def images_purged(name, default):
    """
    Delete the images of a removed registry if ``docker_registry:registry:purge`` is true, and if that is one
    that this formula has set up, or all of them are what ``registry_sync`` has put there.

    Args:
        name (str): any.
        default (str): where the system's package keeps the images.

    Returns:
        dict: as ``file.absent`` gives it.

    .. code-block:: yaml

        Images are purged if the pillar says so:
          registry_host.images_purged:
            - default: /var/lib/registry
    """
    try:
        directory = __salt__["registry_host.storage"](default)
        if not __salt__["registry_host.purges"]():
            return _ret(name, True, f"The images stay in {directory or 'their storage'}")
        if not directory:
            return _ret(name, False, "The images do not lie in files; remove them where they lie")
        there = __salt__["file.directory_exists"](f"{directory}/docker/registry")
        obstacle = there and __salt__["registry_host.purge_obstacle"](default)
    except CommandExecutionError as mistake:
        return _ret(name, False, str(mistake))
    if obstacle:
        return _ret(name, False, obstacle)
    # Only what the server makes in its root directory, which may be any directory of the site.
    return {**__states__["file.absent"](f"{directory}/docker/registry"), "name": name}
