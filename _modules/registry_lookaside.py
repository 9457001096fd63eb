"""The web server that gives simple signatures to engines, as the pillar's ``signatures:serve`` wants it."""

from __future__ import annotations

from pathlib import Path

import salt.utils.path

import _registry_host_web as web
import _registry_state_settings as checked
import _registry_sync_ledger as ledger


def should_manage(what):
    """
    Whether a state of the web server should run on this host.

    Args:
        what (str): ``serve`` (signatures are to be served), ``package`` (and no nginx is installed yet),
            ``passage`` (and they lie in the directory of the formula, which is root's) or ``absent`` (they
            are not to be served, and are).

    Returns:
        bool: true if the state should run.

    Raises:
        CommandExecutionError: the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_lookaside.should_manage serve
    """
    condition = _CONDITIONS[checked.choice(_CONDITIONS, what, "what")]
    wanted = __salt__["registry_host.should_manage"]("service") and condition()
    # See registry_host.should_manage.
    __context__["retcode"] = 0
    return wanted


def directory():
    """
    Where the signatures are kept.

    Returns:
        str: the pillar's ``signatures:directory``.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_lookaside.directory
    """
    return _signatures().directory


def config(user, registry_config, storage):
    """
    The configuration of the web server: with the certificate of the registry, where that has one.

    Args:
        user (str): whom it reads files as.
        registry_config (str): path of the registry's configuration file.
        storage (str): where the system's package keeps the images.

    Returns:
        str: the whole text.

    Raises:
        CommandExecutionError: the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_lookaside.config www-data /etc/docker/registry/config.yml /var/lib/docker-registry
    """
    tls = __salt__["registry_host.service_config"](registry_config, storage)["http"].get("tls") or {}
    return web.configuration(
        web.Web(
            _signatures().directory,
            _signatures().serve,
            user,
            ipv6=Path("/proc/net/if_inet6").exists(),
            certificate=tls.get("certificate", ""),
            key=tls.get("key", ""),
        )
    )


def unit(program, path):
    """
    The unit of systemd that runs the web server.

    Args:
        program (str): path of nginx.
        path (str): of its configuration.

    Returns:
        str: the whole text.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_lookaside.unit /usr/sbin/nginx /etc/docker/registry/signatures.conf
    """
    return web.unit(program, path)


def _signatures():
    return checked.settings_of(__pillar__, __grains__, __salt__, __context__).signatures


def _is_below_ours():
    return Path(ledger.DIRECTORY) in Path(_signatures().directory).parents


_CONDITIONS = {
    "serve": lambda: bool(_signatures().serve),
    "package": lambda: bool(_signatures().serve) and not salt.utils.path.which("nginx"),
    "passage": lambda: bool(_signatures().serve) and _is_below_ours(),
    "absent": lambda: not _signatures().serve and __salt__["file.file_exists"](web.UNIT),
}
