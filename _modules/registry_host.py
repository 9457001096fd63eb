"""
Settings and texts of the registry service on this host, for the states of ``docker_registry``.

The states name most of these functions as slots and as conditions, so that they are called when a
state runs, not when a file is rendered: by then the modules may not have been synced.
https://docs.saltproject.io/en/latest/topics/slots/index.html
"""

from __future__ import annotations

import secrets
import socket
from pathlib import PurePosixPath

from salt.exceptions import CommandExecutionError

import _registry_config_minion as here
import _registry_host_service as host
import _registry_host_units as units
from _registry_config_read import SettingsError

_CONFIGURING = ("package", "config", "service", "engine", "firewall")
_IMAGE = "docker.io/library/registry:2"


def skips_configuration():
    """
    Whether the registry of this host is to be left as it is: it serves images already, or is that of an
    undercloud, and the pillar does not say ``docker_registry:force: true``. Within one state run the
    answer stays the same.

    Returns:
        bool: true if nothing is to be configured.

    Raises:
        CommandExecutionError: the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.skips_configuration
    """
    settings = _settings()
    # Asked first: forced_changes looks at a run with force inside one without, and Salt hands down what
    # the outer run has found.
    return not settings.force and _once("skips_configuration", lambda: _serves_already(settings))


def should_manage(what):
    """
    Whether a state that configures should run on this host.

    Args:
        what (str): ``package``, ``container``, ``quadlet`` or ``unit`` (ways to install the registry),
            ``service``, or what it reads: ``certificate``, ``key``, ``htpasswd``.

    Returns:
        bool: true if the state should run.

    Raises:
        CommandExecutionError: the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.should_manage package
    """
    wanted = not skips_configuration() and _CONDITIONS[what]()
    # Salt takes a condition for failed when a command has failed anywhere before, and asking whether a
    # service runs is one: https://github.com/saltstack/salt/blob/master/salt/state.py (_run_check_onlyif)
    __context__["retcode"] = 0
    return wanted


def forced_changes(config, storage_default):
    """
    What ``docker_registry:force: true`` would change, as a run in test mode reports it.

    Args:
        config (str): path of the registry's configuration file.
        storage_default (str): where the system's package keeps the images.

    Returns:
        list: phrases that stand after *would*.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.forced_changes /etc/docker/registry/config.yml /var/lib/docker-registry
    """
    test = __opts__["test"]
    ran = __salt__["state.sls"](
        ",".join(f"docker_registry.{name}" for name in _CONFIGURING),
        test=True,
        concurrent=True,
        saltenv=__opts__.get("saltenv"),
        pillarenv=__opts__.get("pillarenv"),
        # With sdb:// as given: the nested pillar must hold no secret.
        pillar={"docker_registry": {**host.plain(__pillar__.get("docker_registry") or {}), "force": True}},
    )
    # Salt's loader takes the test mode of an inner run over to the outer one, where a function of the same
    # module runs in both: https://github.com/saltstack/salt/blob/master/salt/loader/lazy.py (LoadedFunc)
    __opts__["test"] = test
    if not isinstance(ran, dict):
        return [f"fail: {'; '.join(map(str, ran))}"]
    # The file holds secrets, so its state shows no difference that could be counted.
    lines = {
        config: host.config_lines_changed(_text(config), service_config(config, storage_default)),
    }
    ordered = sorted(ran.items(), key=lambda item: item[1]["__run_num__"])
    return [host.planned_change(tag, ret, lines) for tag, ret in ordered if ret["result"] is not True]


def storage(default):
    """
    The directory of the images.

    Args:
        default (str): where the system's package keeps them.

    Returns:
        str: a path, empty where the pillar's ``registry:config`` names another storage driver.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.storage /var/lib/registry
    """
    registry = _pillar("registry")
    return host.storage_directory(registry.get("config", {}), registry.get("storage") or default)


def service_config(file, storage_default):
    """
    The configuration of docker-distribution: the pillar's ``docker_registry:registry:config`` merged
    over defaults. ``http.secret`` is the pillar's, else the one the file has, else a new one.

    Args:
        file (str): path of the configuration file.
        storage_default (str): where the system's package keeps the images.

    Returns:
        dict: what the file should say.

    Raises:
        CommandExecutionError: the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.service_config /etc/docker/registry/config.yml /var/lib/docker-registry
    """
    port = _settings().local.port
    registry = _pillar("registry")
    return host.service_config(
        host.Site(
            config=registry.get("config", {}),
            storage=registry.get("storage") or storage_default,
            port=port,
            secret=host.secret_in(_text(file)) or secrets.token_hex(32),
            certificate=_tls_path("certificate", file),
            key=_tls_path("key", file),
            htpasswd=_beside(file, "htpasswd") if registry.get("htpasswd") else "",
            token=registry.get("token"),
        )
    )


def owner(packaged):
    """
    Owner of the registry's files.

    Args:
        packaged (str): user or group of the system's package.

    Returns:
        str: the same, or root where the registry runs in a container.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.owner docker-registry
    """
    return "root" if _way() == "container" else packaged


def text(of):
    """
    Contents of a file whose text is in the pillar.

    Args:
        of (str): ``certificate`` or ``key``.

    Returns:
        str: the whole text.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.text certificate
    """
    return _pillar("registry", "tls")[of]


def container_unit(kind, name, config, storage_default):
    """
    The unit that runs the registry's image under podman.

    Args:
        kind (str): ``quadlet``, or ``unit`` for a podman before 4.4.
        name (str): the service.
        config (str): path of the registry's configuration file.
        storage_default (str): where the images lie unless the pillar says.

    Returns:
        str: the unit's text.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.container_unit unit registry /etc/registry/config.yml /var/lib/registry
    """
    container = units.Container(
        name=name,
        image=_pillar("registry").get("image") or _IMAGE,
        config=config,
        storage=storage(storage_default),
        files=tuple(filter(None, (_tls_path(part, config) for part in ("certificate", "key")))),
    )
    return units.quadlet(container) if kind == "quadlet" else units.unit(container)


def is_our_unit(file):
    """
    Whether ``container_unit`` wrote a unit.

    Args:
        file (str): path of the unit.

    Returns:
        bool: true if it did.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.is_our_unit /etc/systemd/system/registry.service
    """
    return _text(file).startswith(units.UNIT_MARK)


def purges():
    """
    Whether ``docker_registry.clean`` removes the images, too.

    Returns:
        bool: the pillar's ``registry:purge``.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.purges
    """
    return _pillar("registry").get("purge") is True


def port():
    """
    The port that the registry listens on.

    Returns:
        int: a TCP port.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.port
    """
    return _settings().local.port


def _serves_already(settings):
    if not _is_here(settings.local.host):
        return False
    if __salt__["registry_undercloud.is_undercloud"]():
        # The director's own installation has set it up; it may still be empty.
        return bool(__salt__["registry_sync.registry"]()["up"])
    return bool(__salt__["registry_sync.populated"]())


def _once(name, find):
    """The first answer in this state run; later ones would show what the run itself has changed."""
    key = f"registry_host.{name}"
    if key not in __context__:
        __context__[key] = find()
    return __context__[key]


def _pillar(*path):
    """A mapping of our pillar. From Salt 3008 on ``pillar.get`` gives modules asterisks only."""
    tree = _whole_pillar()
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) else {}


def _whole_pillar():
    try:
        return here.pillar_of(__pillar__.get("docker_registry"), __salt__, __context__)
    except SettingsError as mistake:
        raise CommandExecutionError(str(mistake)) from None


def _settings():
    try:
        return here.settings_of(__pillar__.get("docker_registry"), __grains__, __salt__, __context__)
    except SettingsError as mistake:
        raise CommandExecutionError(str(mistake)) from None


def _is_here(name):
    """Whether a name stands for this host; with ``ip_nonlocal_bind`` a bind would not tell."""
    try:
        found = {str(info[4][0]) for info in socket.getaddrinfo(name, None)}
    except OSError:
        return False
    own = __salt__["network.ip_addrs"](include_loopback=True)
    own += __salt__["network.ip_addrs6"](include_loopback=True)
    # Debian gives the host's own name 127.0.1.1, which no interface lists.
    return any(address.startswith("127.") or address in own for address in found)


def _text(path):
    return __salt__["file.read"](path) if path and __salt__["file.file_exists"](path) else ""


# How the registry is installed


def _way():
    choice = _pillar("registry").get("install", "auto")
    return _once("way", _found_way) if choice == "auto" else choice


def _found_way():
    """Enterprise Linux from 8 on has no package, newer Fedoras may have none."""
    if __grains__["os_family"] != "RedHat" or __grains__.get("osmajorrelease", 0) < 8:
        return "package"
    return "package" if _version("docker-distribution") else "container"


def _has_quadlet():
    # Without the epoch, which Enterprise Linux gives its podman and which outdoes every version.
    version = _version("podman").rpartition(":")[2]
    return bool(version) and __salt__["pkg.version_cmp"](version, "4.4") >= 0


def _version(package):
    """The version that is installed or that an installation would bring; empty if there is none."""
    return __salt__["pkg.version"](package) or __salt__["pkg.latest_version"](package)


def _tls_path(part, config):
    """Where the registry finds its certificate or key: the pillar has a path, or the text itself."""
    if __salt__["registry_tls.makes_authority"]():
        return _beside(config, f"tls-{part}.pem")
    value = _pillar("registry", "tls").get(part, "")
    return _beside(config, f"tls-{part}.pem") if host.is_pem(value) else value


def _beside(config, name):
    return str(PurePosixPath(config).with_name(name))


_CONDITIONS = {
    "package": lambda: _way() == "package",
    "quadlet": lambda: _way() == "container" and _has_quadlet(),
    "unit": lambda: _way() == "container" and not _has_quadlet(),
    "container": lambda: _way() == "container",
    "service": lambda: _way() != "none",
    "certificate": lambda: host.is_pem(_pillar("registry", "tls").get("certificate", "")),
    "key": lambda: host.is_pem(_pillar("registry", "tls").get("key", "")),
    "htpasswd": lambda: bool(_pillar("registry", "htpasswd")),
}
