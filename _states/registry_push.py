"""States of the second registry service, through which this host alone pushes."""

from __future__ import annotations

import _registry_host_service as host
import _registry_host_units as units
from _registry_state_returns import joined as _joined


def absent(name, config):
    """
    Stop the service, and remove what this formula wrote for it: unit, configuration, socket and log.

    Args:
        name (str): the service.
        config (str): path of its configuration file.

    Returns:
        dict: result False where it does not stop.

    .. code-block:: yaml

        Pushes of this host have no service of their own:
          registry_push.absent:
            - name: docker-registry-push
            - config: /etc/docker/registry/push.yml
    """
    stopped = __states__["registry_service.stopped"](name)
    if stopped["result"] is False:
        return stopped
    ours = [file for file in units.files(name) if __salt__["registry_host.is_our_unit"](file)]
    rets = [stopped, *(__states__["registry_host.unit_absent"](file) for file in ours)]
    if __salt__["registry_push.is_our_config"](config):
        rets.append(__states__["file.absent"](config))
    if ours:
        # An init script keeps a log of its own; the directory stays where the service was killed.
        rets += [__states__["file.absent"](path) for path in (host.PUSH_DIRECTORY, f"/var/log/{name}.log")]
    return _joined(name, [ret for ret in rets if ret["changes"]], f"There is no {name}")
