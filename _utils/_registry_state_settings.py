"""The checked pillar for execution modules, whose errors are Salt's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

import _registry_config_minion as minion
from _registry_config_validators import SettingsError
from _registry_config_values import Settings
from _registry_host_address import is_here
from _registry_host_service import push_socket


def settings_of(
    pillar: Mapping[str, Any],
    grains: Mapping[str, Any],
    functions: Mapping[str, Callable[..., Any]],
    context: MutableMapping[str, Any],
    **options: Any,
) -> Settings:
    """The settings of this minion; a registry here that has a push socket is written to through it.

    Args:
        pillar: all of it: ``__pillar__``.
        grains: ``__grains__``.
        functions: ``__salt__``.
        context: ``__context__``.
        options: for ``read_settings``.

    Raises:
        CommandExecutionError: one sentence that names the wrong key, or says that no pillar has come.
    """
    if errors := pillar.get("_errors"):
        # What has come of it may lack the very keys of this site.
        raise CommandExecutionError(
            f"the pillar did not render, so what this minion is to mirror is not known: {errors[0]}"
        )
    try:
        settings = minion.settings_of(pillar.get("docker_registry"), grains, functions, context, **options)
    except SettingsError as mistake:
        raise CommandExecutionError(str(mistake)) from None
    socket = push_socket(settings.local.port)
    # A socket tells of a registry on this host alone.
    if not Path(socket).is_socket() or not is_here(settings.local.host, functions):
        return settings
    return replace(settings, local=replace(settings.local, push_socket=socket))
