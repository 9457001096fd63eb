"""
Settings and texts of the registry service on this host, for the states of ``docker_registry``.

The states name most of these functions as slots and as conditions, so that they are called when a
state runs, not when a file is rendered: by then the modules may not have been synced.
https://docs.saltproject.io/en/latest/topics/slots/index.html
"""

from __future__ import annotations

import secrets
from pathlib import PurePosixPath

import salt.utils.systemd

import _registry_host_address as address
import _registry_host_guard as guard
import _registry_host_service as host
import _registry_host_units as units
import _registry_http_pools as pools
import _registry_state_files as files
import _registry_state_found as found
import _registry_state_settings as checked


def skips_configuration():
    """
    Whether the registry of this host is to be left as it is: somebody else has set it up and it serves
    images, or is that of an undercloud, or what it serves cannot be told; and the pillar does not say
    ``docker_registry:force: true``. Within one state run the answer stays the same.

    Returns:
        bool: true if nothing is to be configured.

    Raises:
        CommandExecutionError: the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.skips_configuration
    """
    return not _verdict().configures


def obstacle(config, storage_default, asks=True):
    """
    Why this host must not be configured as the pillar says: what serves at the registry's address cannot be
    told, somebody else's registry keeps images here without serving them there, or images of our own would be
    out of sight in another storage.

    Args:
        config (str): path of the registry's configuration file.
        storage_default (str): where the system's package keeps the images.
        asks (bool): whether this host is to ask the registry for anything, which takes a name that resolves.

    Returns:
        str: a sentence; empty where nothing stands against it.

    Raises:
        CommandExecutionError: the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.obstacle /etc/docker/registry/config.yml /var/lib/docker-registry
    """
    settings = _settings()
    # The state that guards comes first, and tells all others which configuration it is about.
    _once("config", lambda: config)
    # Known by the proxy where there is one.
    if asks and not pools.is_proxied(settings.local):
        reason = address.unresolved(settings.local.host)
        if reason:
            return guard.unresolved(settings.local.host, reason)
    if settings.force:
        return ""
    return _verdict().failure or _once("hidden", lambda: _hidden_images(settings, config, storage_default))


def should_manage(what):
    """
    Whether a state that configures should run on this host.

    Args:
        what (str): ``package``, ``container``, ``quadlet`` or ``unit`` (ways to install the registry),
            ``service``, or what it reads: ``certificate``, ``key``, ``htpasswd``; ``push`` (the second
            service), ``push_unit``, ``push_quadlet`` or ``push_script`` (ways to run that), or ``single``
            (there is a registry and no second service).

    Returns:
        bool: true if the state should run.

    Raises:
        CommandExecutionError: the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.should_manage package
    """
    condition = _CONDITIONS[checked.choice(_CONDITIONS, what, "what")]
    wanted = not skips_configuration() and condition()
    # Salt takes a condition for failed when a command has failed anywhere before, and asking whether a
    # service runs is one: https://github.com/saltstack/salt/blob/master/salt/state.py (_run_check_onlyif)
    __context__["retcode"] = 0
    return wanted


def forced_changes(config, storage_default):
    """
    What ``docker_registry:force: true`` would change in the registry's configuration.

    Args:
        config (str): path of the registry's configuration file.
        storage_default (str): where the system's package keeps the images.

    Returns:
        list: phrases that stand after *would*.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.forced_changes /etc/docker/registry/config.yml /var/lib/docker-registry
    """
    if _settings().service.install == "none":
        return []
    lines = host.config_lines_changed(_text(config), service_config(config, storage_default))
    return [f"change {config} ({lines} line{'s' if lines > 1 else ''})"] if lines else []


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
    service = _settings().service
    return host.storage_directory(service.config, service.storage or default)


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
    return host.service_config(_site(file, storage_default))


def push_config(file, storage_default):
    """
    The configuration of the second docker-distribution, through which this host alone pushes.

    Args:
        file (str): path of the first one's configuration file, whose ``http.secret`` it shares.
        storage_default (str): where the system's package keeps the images.

    Returns:
        dict: what its file should say.

    Raises:
        CommandExecutionError: the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.push_config /etc/docker/registry/config.yml /var/lib/docker-registry
    """
    return host.push_config(_site(file, storage_default))


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
    return getattr(_settings().service, checked.choice(("certificate", "key"), of, "of"))


def container_unit(kind, name, config, storage_default, push=False):
    """
    The unit that runs the registry's image under podman.

    Args:
        kind (str): ``quadlet``, or ``unit`` for a podman before 4.4.
        name (str): the service.
        config (str): path of the registry's configuration file.
        storage_default (str): where the images lie unless the pillar says.
        push (bool): it is the second service, through which this host alone pushes.

    Returns:
        str: the unit's text.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.container_unit unit registry /etc/registry/config.yml /var/lib/registry
    """
    container = units.Container(
        name=name,
        image=_settings().service.image,
        config=config,
        storage=storage(storage_default),
        files=tuple(filter(None, (_tls_path(part, config) for part in ("certificate", "key")))),
        socket_directory=host.PUSH_DIRECTORY if push else "",
    )
    return units.quadlet(container) if kind == "quadlet" else units.unit(container)


def is_our_unit(file):
    """
    Whether this formula wrote a unit or an init script.

    Args:
        file (str): path of it.

    Returns:
        bool: true if it did.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_host.is_our_unit /etc/systemd/system/registry.service
    """
    return units.is_ours(_text(file))


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


def _verdict():
    settings = _settings()
    if settings.force or settings.service.install == "none":
        return guard.Verdict(configures=True)
    # What the run itself changes is no reason to decide anew.
    return _once("verdict", lambda: _judged(settings))


def _judged(settings):
    """Ours is not asked: whatever it answers, it follows the pillar."""
    if __salt__["registry_backup.is_ours"](_once("config", str)) or not address.is_here(
        settings.local.host, __salt__
    ):
        return guard.Verdict(configures=True)
    return guard.judge(found.look(settings, __salt__))


def _hidden_images(settings, config, storage_default):
    """Why the images that the current configuration names would be out of sight; empty where none would."""
    old = host.storage_location(host.read_config(_text(config)))
    if settings.service.install == "none" or skips_configuration() or not old:
        return ""
    if not __salt__["registry_backup.is_ours"](config):
        return _foreign_images(settings, config, old)
    new = host.storage_location(service_config(config, storage_default))
    repositories = 0 if old == new else found.repositories_in(old, settings)
    return guard.hidden(old, new, repositories) if repositories else ""


def _foreign_images(settings, config, storage):
    """A registry of somebody else may be stopped, or listen elsewhere, and still be one."""
    if not storage.startswith("/"):
        images = "" if storage == "inmemory" else f"its storage in {storage}"
    else:
        repositories = found.repositories_in(storage, settings)
        images = guard.kept(repositories, storage) if repositories else ""
    return guard.out_of_use(settings.local.name, config, images) if images else ""


def _once(name, find):
    """The first answer in this state run; later ones would show what the run itself has changed."""
    key = f"registry_host.{name}"
    if key not in __context__:
        __context__[key] = find()
    return __context__[key]


def _settings():
    return checked.settings_of(__pillar__, __grains__, __salt__, __context__)


def _site(file, storage_default):
    settings = _settings()
    service = settings.service
    return host.Site(
        config=service.config,
        storage=service.storage or storage_default,
        port=settings.local.port,
        secret=host.secret_in(_text(file)) or secrets.token_hex(32),
        certificate=_tls_path("certificate", file),
        key=_tls_path("key", file),
        htpasswd=_beside(file, "htpasswd") if service.htpasswd else "",
        token=service.token,
        readonly=host.has_push_instance(service),
    )


def _text(path):
    # Other bytes can stand in a comment of somebody's.
    return files.read(path, __salt__, errors="replace") if path else ""


def _way():
    choice = _settings().service.install
    return _once("way", _found_way) if choice == "auto" else choice


def _found_way():
    """Enterprise Linux from 8 on has no package, newer Fedoras may have none."""
    if __grains__["os_family"] != "RedHat" or __grains__.get("osmajorrelease", 0) < 8:
        return "package"
    name = "docker-distribution"
    # To pkg.latest_version a package that is in no repository would be an error in Salt's log.
    offered = __salt__["pkg.version"](name) or __salt__["pkg.list_repo_pkgs"](name)
    return "package" if offered else "container"


def _has_quadlet():
    # Without the epoch, which Enterprise Linux gives its podman and which outdoes every version.
    version = __salt__["pkg.version"]("podman") or __salt__["pkg.latest_version"]("podman")
    version = version.rpartition(":")[2]
    return bool(version) and __salt__["pkg.version_cmp"](version, "4.4") >= 0


def _booted():
    return salt.utils.systemd.booted(__context__)


def _pushes():
    return host.has_push_instance(_settings().service)


def _tls_path(part, config):
    """Where the registry finds its certificate or key: the pillar has a path, or the text itself."""
    if __salt__["registry_tls.makes_authority"]():
        return _beside(config, f"tls-{part}.pem")
    value = getattr(_settings().service, part)
    return _beside(config, f"tls-{part}.pem") if host.is_pem(value) else value


def _beside(config, name):
    return str(PurePosixPath(config).with_name(name))


_CONDITIONS = {
    "package": lambda: _way() == "package",
    "quadlet": lambda: _way() == "container" and _has_quadlet(),
    "unit": lambda: _way() == "container" and not _has_quadlet(),
    "container": lambda: _way() == "container",
    "service": lambda: _way() != "none",
    "push": lambda: _pushes(),
    "push_unit": lambda: _pushes() and (_booted() if _way() == "package" else not _has_quadlet()),
    "push_quadlet": lambda: _pushes() and _way() == "container" and _has_quadlet(),
    "push_script": lambda: _pushes() and _way() == "package" and not _booted(),
    "single": lambda: _way() != "none" and not _pushes(),
    "certificate": lambda: host.is_pem(_settings().service.certificate),
    "key": lambda: host.is_pem(_settings().service.key),
    "htpasswd": lambda: bool(_settings().service.htpasswd),
}
