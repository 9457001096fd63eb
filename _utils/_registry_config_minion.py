"""What the pillar says on this minion. The modules lend what Salt gave them; nothing here imports Salt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from _registry_config_read import read_settings
from _registry_config_sdb import resolved
from _registry_config_values import Settings

Functions = Mapping[str, Callable[..., Any]]


def pillar_of(given: Any, functions: Functions, context: MutableMapping[str, Any]) -> Any:
    """The pillar's ``docker_registry`` with what ``sdb://`` stands for, each asked for once a run.

    Args:
        given: as it stands in the pillar.
        functions: Salt's.
        context: what lasts as long as the run.

    Raises:
        SettingsError: one sentence that names the key.
    """
    return resolved(given, functions, context.setdefault("registry.sdb", {}))


def settings_of(
    given: Any,
    grains: Mapping[str, Any],
    functions: Functions,
    context: MutableMapping[str, Any],
    **options: Any,
) -> Settings:
    """The same, checked, for this host.

    Args:
        given: as it stands in the pillar.
        grains: of the minion.
        functions: Salt's.
        context: what lasts as long as the run.
        options: for ``read_settings``.

    Raises:
        SettingsError: one sentence that names the key.
    """
    host = grains.get("fqdn") or grains.get("host") or "localhost"
    undercloud = functions["registry_undercloud.is_undercloud"]()
    return read_settings(pillar_of(given, functions, context), host=host, undercloud=undercloud, **options)
