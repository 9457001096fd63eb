"""The pillar of this minion. The modules lend what Salt gave them; nothing here imports Salt.

A value may only name where the value is: ``sdb://PROFILE/KEY``, as Salt's sdb has it.
https://docs.saltproject.io/en/latest/topics/sdb/index.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from _registry_config_read import read_settings
from _registry_config_validators import SettingsError
from _registry_config_values import Settings

SCHEME = "sdb://"
Functions = Mapping[str, Callable[..., Any]]


def pillar_of(given: Any, functions: Functions, context: MutableMapping[str, Any]) -> Any:
    """The pillar's ``docker_registry`` with each ``sdb://`` resolved, once a run.

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


def is_over_ssh(functions: Functions) -> bool:
    """Whether this is salt-ssh's Salt on its target, which has a pillar in state runs alone.

    Args:
        functions: Salt's; of them ``config.option`` is called.

    https://github.com/saltstack/salt/blob/master/salt/client/ssh/__init__.py (``minion_opts``)
    """
    root, sockets = (str(functions["config.option"](name)) for name in ("root_dir", "sock_dir"))
    return root.endswith("/running_data") and sockets.rstrip("/") in ("", root)


def resolved(
    pillar: Any,
    functions: Functions,
    known: MutableMapping[str, Any],
    key: str = "docker_registry",
) -> Any:
    """The pillar with every ``sdb://`` in it replaced by its value.

    Args:
        pillar: any value; mappings and lists come back as Python's own.
        functions: Salt's; of them ``sdb.get`` is called.
        known: what was read before in this run; it is added to, so that each is asked for once.
        key: the pillar key of the value, for messages.

    Raises:
        SettingsError: one sentence that names the key, where there is no such profile or value.
    """
    if isinstance(pillar, Mapping):
        return {name: resolved(entry, functions, known, f"{key}:{name}") for name, entry in pillar.items()}
    if isinstance(pillar, list):
        return [resolved(entry, functions, known, f"{key}:{at}") for at, entry in enumerate(pillar)]
    if not isinstance(pillar, str) or not pillar.startswith(SCHEME):
        return pillar
    if pillar not in known:
        known[pillar] = _value(pillar, functions["sdb.get"], key)
    return known[pillar]


def _value(uri: str, read: Callable[..., Any], key: str) -> Any:
    try:
        value = read(uri, strict=True)
    except Exception as failure:  # noqa: BLE001 - drivers raise whatever their database does
        # Its text may have the login of that database in it.
        what = type(failure).__name__
        raise SettingsError(
            f"{key}: cannot be read ({what}); salt-call sdb.get {uri} strict=True says more"
        ) from None
    if value is None or value == "":
        raise SettingsError(f"{key}: {uri} has no value")
    return value
