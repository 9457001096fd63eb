"""The checked pillar for execution modules, whose errors are Salt's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

import _registry_config_minion as minion
import _registry_config_validators as validators
import _registry_tripleo_files as undercloud_files
from _registry_config_validators import Checker, SettingsError
from _registry_config_values import Settings
from _registry_host_address import is_here
from _registry_host_service import push_socket
from _registry_trust_keys import read_keys

_UNKNOWN = "so what this minion is to mirror is not known"


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
    if missing := _missing(pillar, functions):
        raise CommandExecutionError(missing)
    try:
        settings = minion.settings_of(pillar.get("docker_registry"), grains, functions, context, **options)
    except SettingsError as mistake:
        raise CommandExecutionError(str(mistake)) from None
    socket = push_socket(settings.local.port)
    # A socket tells of a registry on this host alone.
    if not Path(socket).is_socket() or not is_here(settings.local.host, functions):
        return settings
    return replace(settings, local=replace(settings.local, push_socket=socket))


def _missing(pillar: Mapping[str, Any], functions: minion.Functions) -> str:
    """Why the defaults would not be what this site wants, although the pillar does not say otherwise."""
    if errors := pillar.get("_errors"):
        # What has come of it may lack the very keys of this site.
        return f"the pillar did not render, {_UNKNOWN}: {' '.join(str(errors[0]).split())}"
    if not pillar and minion.is_over_ssh(functions):
        return (
            f"salt-ssh gives a function no pillar, {_UNKNOWN}; a state gets it: salt-ssh '*' state.single "
            "module.run name=registry_sync.check, or state.apply docker_registry.sync"
        )
    return ""


def with_list(
    read: Callable[..., Settings],
    functions: Mapping[str, Callable[..., Any]],
    context: Mapping[str, Any],
    images_file: str = "",
) -> Settings:
    """The settings with the list of images that a file, or an undercloud's command line, has written.

    Args:
        read: gives the settings of the pillar; takes ``listing``.
        functions: ``__salt__``.
        context: ``__context__``.
        images_file: path of a file that takes the place of the pillar's list.

    Raises:
        CommandExecutionError: one sentence about the file, or its path.
    """
    images_file = argument(validators.string, images_file, "images_file")
    settings = _with_good_keys(read())
    planned = context.get("registry_undercloud.planned", "")
    file, text = (
        (images_file, read_text(images_file)) if images_file else _prepared(settings, functions, planned)
    )
    if not file:
        return settings
    try:
        listing = undercloud_files.listing_of(text, file, settings, alone=bool(images_file))
    except undercloud_files.ListError as mistake:
        raise CommandExecutionError(str(mistake)) from None
    return _with_good_keys(read(listing=listing))


def _with_good_keys(settings: Settings) -> Settings:
    """The settings, unless a key that images are to be signed with is none."""
    try:
        read_keys(settings.keys, (name for image in settings.images for name in image.signed_by))
    except SettingsError as mistake:
        raise CommandExecutionError(str(mistake)) from None
    return settings


def _prepared(
    settings: Settings, functions: Mapping[str, Callable[..., Any]], planned: str
) -> tuple[str, str]:
    """Path and text of the list that an undercloud's command line has written, or would; or nothing."""
    undercloud = settings.undercloud
    if not (undercloud.prepare and functions["registry_undercloud.is_undercloud"]()):
        return "", ""
    file = undercloud.path(undercloud.images_file)
    if planned:
        return file, planned
    return (file, read_text(file)) if Path(file).exists() else ("", "")


def argument(check: Checker, value: Any, name: str) -> Any:
    """An argument that somebody typed, checked as a value of the pillar is.

    Args:
        check: for it.
        value: as Salt has read it.
        name: of the argument.

    Raises:
        CommandExecutionError: one sentence that begins with the name.
    """
    try:
        return check(value, name)
    except SettingsError as mistake:
        raise CommandExecutionError(str(mistake)) from None


def choice(choices: Iterable[str], value: Any, name: str) -> Any:
    """An argument that is one of some words.

    Raises:
        CommandExecutionError: it is another; the sentence begins with the name.
    """
    return argument(validators.one_of(*choices), value, name)


def read_text(file: str) -> str:
    """A text file.

    Raises:
        CommandExecutionError: it cannot be read.
    """
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as failure:
        raise CommandExecutionError(f"{file}: cannot be read: {failure.strerror}") from None
    except UnicodeDecodeError:
        raise CommandExecutionError(f"{file}: is no YAML") from None
