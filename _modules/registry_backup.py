"""The configuration of this host before the formula changed it; ``docker_registry.clean`` restores it."""

from __future__ import annotations

import base64
import json

import _registry_state_files as host_files

PATH = "/var/lib/docker_registry/before.json"


def saved_state():
    """
    The configuration that was saved when the formula first configured the registry of this host.

    Returns:
        dict: ``package`` (the one that the formula then installed, empty where it was there already or none
        was needed), ``service`` (``runs``, ``enabled``) and ``files`` (path → text, user, group and mode, and
        base64 where a text cannot hold its bytes, or none where there was no such file); empty where nothing
        was saved.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_backup.saved_state
    """
    return json.loads(__salt__["file.read"](PATH)) if __salt__["file.file_exists"](PATH) else {}


def is_ours(config=""):
    """
    Whether the registry of this host is one that the formula has set up: what was here before is saved, and
    the configuration that it wrote then is there.

    Args:
        config (str): path of its configuration; without it that of the first that was saved.

    Returns:
        bool: true if it is.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_backup.is_ours
    """
    files = saved_state().get("files") or {}
    known = [config] if config in files else [] if config else list(files)[:1]
    return any(map(__salt__["file.file_exists"], known))


def path():
    """
    Where it is saved.

    Returns:
        str: a path.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_backup.path
    """
    return PATH


def capture(package, service, files):
    """
    The current configuration, in the form of ``saved_state``.

    Args:
        package (str): the system's package of the registry.
        service (str): its service.
        files (list): paths that the formula may write.

    Returns:
        dict: as ``saved_state``.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_backup.capture docker-registry docker-registry '[/etc/docker/registry/config.yml]'
    """
    installs = __salt__["registry_host.should_manage"]("package") and not __salt__["pkg.version"](package)
    return {
        "package": package if installs else "",
        "service": {
            "runs": __salt__["registry_service.control"](service, "status"),
            "enabled": __salt__["registry_service.control"](service, "enabled"),
        },
        "files": {file: _capture_file(file) for file in files},
    }


def installed(package):
    """
    Whether the formula installed a package, as the condition of a state.

    Args:
        package (str): its name.

    Returns:
        bool: true if it did.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_backup.installed docker-registry
    """
    # See registry_host.should_manage.
    __context__["retcode"] = 0
    return saved_state().get("package") == package


def _capture_file(file):
    if not __salt__["file.file_exists"](file):
        return None
    stats = __salt__["file.stats"](file)
    content = host_files.to_bytes(host_files.read(file, __salt__))
    text = content.decode("utf-8", "replace")
    whole = {} if text.encode() == content else {"base64": base64.b64encode(content).decode()}
    return {"text": text, **whole, **{key: stats[key] for key in ("user", "group", "mode")}}
