"""A first pillar, from names of images or another program's file: more functions of ``registry_sync``."""

from salt.exceptions import CommandExecutionError

# Modules, not their functions: whatever function stands here is one of registry_sync to Salt.
import _registry_config_convert as conversion
import _registry_config_validators as validators
import _registry_state_settings as checked
import _registry_sync_init as beginning
from _registry_oci_reference import ReferenceMistake

__virtualname__ = "registry_sync"
__outputter__ = {"init": "registry_sync", "convert": "registry_sync"}


def __virtual__():  # noqa: N807 - Salt's own name
    """Beside the functions of the file ``registry_sync.py``."""
    return __virtualname__


def init(*names, newest=3):
    """
    Print a pillar that mirrors some images, with the tags that their registries have now. Nothing is written.

    For each name the registry is asked for its tags; taken are the newest versions, in the order that
    ``newest`` in the pillar has, or the tag that is given. A comment says how many tags there are, and
    for which platforms the newest one is.

    A registry that the pillar names as an upstream is asked as it says there (login, CA, proxy), any other
    one by HTTPS, with a login that docker or podman keep on this minion. If it speaks plain HTTP alone, it is
    asked without a login, and the pillar that is printed says ``tls: false``.

    Args:
        names: of images, as docker and podman take them: ``quay.io/prometheus/node-exporter``,
            ``nginx:1.27``, ``registry.example.com:5000/tools/chart``.
        newest: how many tags of each, at most.

    Returns:
        The text of a pillar; a name that could not be asked for is a comment with the reason, and the return
        code is 1 then.

    Raises:
        CommandExecutionError: no name is given, one is none, or none of them could be asked for.

    CLI Example:

    .. code-block:: bash

        salt-call registry_sync.init quay.io/prometheus/node-exporter docker.io/library/nginx:1.27
        salt-call registry_sync.init quay.io/prometheus/node-exporter newest=5
        salt-call --log-level=quiet registry_sync.init nginx > /srv/pillar/docker_registry.sls
    """
    if not names:
        raise CommandExecutionError("give the name of an image, e.g. quay.io/prometheus/node-exporter")
    if isinstance(newest, bool) or not isinstance(newest, int) or newest < 1:
        raise CommandExecutionError("newest: give a whole number from 1 on")
    settings = checked.settings_of(__pillar__, __grains__, __salt__, __context__)
    try:
        text, failed = beginning.first_pillar([str(name) for name in names], settings, newest=newest)
    except (ReferenceMistake, beginning.NothingFound) as mistake:
        raise CommandExecutionError(str(mistake)) from None
    __context__["retcode"] = 1 if failed else 0
    return text.rstrip("\n")


def convert(file):
    """
    Print the pillar that does what the file of another program does. Nothing is written, no registry asked.

    Read are the YAML file of ``skopeo sync``, that of regsync, and ``additionalImages`` of an
    ImageSetConfiguration of oc-mirror (``v1alpha2`` and ``v2alpha1``). What cannot be carried over, or is not
    quite the same, is a comment each. A login is never shown: ``PLACEHOLDER`` stands where it belongs, and a
    comment says so.

    Args:
        file: its path on the minion.

    Returns:
        The text of a pillar, which passes the check of the formula.

    Raises:
        CommandExecutionError: the file cannot be read, is none of these, or has nothing to carry over.

    CLI Example:

    .. code-block:: bash

        salt-call registry_sync.convert /etc/skopeo/sync.yaml
        salt-call --log-level=quiet registry_sync.convert /etc/regsync.yaml > /srv/pillar/docker_registry.sls
    """
    file = checked.argument(validators.filled_string, file, "file")
    try:
        return conversion.convert(checked.read_text(file)).rstrip("\n")
    except conversion.ConvertError as mistake:
        raise CommandExecutionError(f"{file}: {mistake}") from None
