"""
States that save the configuration of a host before the formula changes it, and that restore it. Where nothing
was saved the formula has configured nothing, and they leave the host as it is.
"""

from __future__ import annotations

import base64
import json

from salt.exceptions import CommandExecutionError

from _registry_state_files import managed as _managed
from _registry_state_files import to_text as _to_text
from _registry_state_returns import joined as _joined
from _registry_state_returns import ret as _ret

_NOTHING = "The formula has not configured a registry here"


def saved(name, package, service, files):
    """
    Save package, service and files as they are, once, before the first configuration.

    Args:
        name (str): any.
        package (str): the system's package of the registry.
        service (str): its service.
        files (list): paths that the formula may write.

    Returns:
        dict: as ``file.managed`` gives it.

    .. code-block:: yaml

        Previous configuration is saved:
          registry_backup.saved:
            - package: docker-registry
            - service: docker-registry
            - files: [/etc/docker/registry/config.yml]
    """
    if not __salt__["registry_host.should_manage"]("service"):
        return _ret(name, True, "Nothing to configure on this host")
    before = __salt__["registry_backup.saved_state"]()
    # The first is the registry's configuration: one of another path, such as by lookup, is saved as well.
    if before and files[0] in before["files"]:
        return _ret(name, True, "It was saved before")
    found = __salt__["registry_backup.capture"](package, service, files)
    if before:
        found = {**before, "files": {**found["files"], **before["files"]}}
    text = json.dumps(found, indent=1)
    # The files may hold secrets.
    path = __salt__["registry_backup.path"]()
    made = __states__["file.managed"](path, contents=text, mode="0600", makedirs=True, show_changes=False)
    verb = "Would save" if __opts__["test"] else "Saved"
    comment = (
        f"{verb} the previous configuration to {path}" if made["result"] is not False else made["comment"]
    )
    return {**made, "name": name, "comment": comment}


def files_restored(name):
    """
    Restore the files that the formula has overwritten, and remove those that it has created.

    Args:
        name (str): any.

    Returns:
        dict: as ``file.managed`` and ``file.absent`` give it.

    .. code-block:: yaml

        Previous configuration is restored:
          registry_backup.files_restored: []
    """
    files = __salt__["registry_backup.saved_state"]().get("files", {})
    return _joined(name, [_file_restored(path, kept) for path, kept in files.items()], _NOTHING)


def package_restored(name):
    """
    Remove the package if the formula installed it.

    Args:
        name (str): the package.

    Returns:
        dict: as ``pkg.purged`` gives it.

    .. code-block:: yaml

        Registry package is removed:
          registry_backup.package_restored:
            - name: docker-registry
    """
    if not __salt__["registry_backup.installed"](name):
        return _ret(name, True, f"{name} was not installed by this formula and is left as it is")
    return __states__["pkg.purged"](name)


def service_restored(name):
    """
    Restore the state of a service whose package stays, and remove what was saved.

    Args:
        name (str): the service.

    Returns:
        dict: result False where the service does not start.

    .. code-block:: yaml

        Registry's service is as it was:
          registry_backup.service_restored:
            - name: docker-registry
    """
    saved_state = __salt__["registry_backup.saved_state"]()
    if not saved_state:
        return _ret(name, True, _NOTHING)
    changes = {} if saved_state["package"] else _restoring_actions(name, saved_state["service"])
    if __opts__["test"]:
        return _ret(name, None, f"Would have {name} as it was before", {**changes, "backup": "removed"})
    try:
        for action in changes.values():
            __salt__["registry_service.control"](name, action)
    except CommandExecutionError as error:
        return _ret(name, False, f"{name} is not as it was before: {error}")
    __salt__["file.remove"](__salt__["registry_backup.path"]())
    return _ret(name, True, f"{name} is as it was before", {**changes, "backup": "removed"})


def _file_restored(path, kept):
    if kept is None:
        return __states__["file.absent"](path)
    text = _to_text(base64.b64decode(kept["base64"])) if "base64" in kept else kept["text"]
    owner = {key: kept[key] for key in ("user", "group", "mode")}
    return _managed(__states__, path, text, test=__opts__["test"], show_changes=False, **owner)


def _restoring_actions(name, before):
    """Actions that restore the service: at boot, and now."""
    changes = {}
    if bool(__salt__["registry_service.control"](name, "enabled")) != bool(before["enabled"]):
        changes["at boot"] = "enable" if before["enabled"] else "disable"
    # Clean has stopped it, or would have.
    runs = not __opts__["test"] and __salt__["registry_service.control"](name, "status")
    if bool(runs) != bool(before["runs"]):
        changes["now"] = "start" if before["runs"] else "stop"
    return changes
