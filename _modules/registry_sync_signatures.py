"""Who has signed the images of the list: one more function of ``registry_sync``.

Which keys are known, and whose signatures an image must have, stands in the pillar:
``docker_registry:signatures:keys`` and ``signed_by`` of images. Keys are read from this minion's files.
"""

from pathlib import Path

from salt.exceptions import CommandExecutionError

# Modules, not their functions: whatever function stands here is one of registry_sync to Salt.
import _registry_state_settings as checked
import _registry_sync_signatures as who
from _registry_config_validators import SettingsError
from _registry_oci_errors import RegistryError

__virtualname__ = "registry_sync"
__outputter__ = {"signatures": "registry_sync"}


def __virtual__():  # noqa: N807 - Salt's own name
    """Beside the functions of the file ``registry_sync.py``."""
    return __virtualname__


def signatures(name="", side="local"):
    """
    Say who has signed the images of the list, with which keys, and whether that is what ``signed_by`` wants.

    Every signature is told, also those of keys that nobody has named: OpenPGP messages of a vendor's store
    (``simple``), cosign's under a tag (``cosign``), Sigstore's bundles (``bundle``) and Notation's
    (``notation``, which are not verified here). Nothing of the images but their manifests is read.

    Args:
        name: ``repository:tag``, or a repository, as ``check`` shows them; without it all of the list.
        side: ``local``, what is kept here, or ``upstream``.

    Returns:
        ``side`` and ``url`` (of the local registry), and every key is always there:

        ``images``
            ``repository:tag`` → ``digest``; ``accepted``, whether it is signed as the list wants it (null:
            it wants nothing); ``wanted``, the names of ``signed_by``; ``signed_by``, those that have signed
            it; ``signatures``, a list of ``subject`` (digest of the manifest that is signed: the image's, or
            of an index a child's), ``kind``, ``verdict`` (``valid``, ``unknown key``, ``invalid`` or
            ``unreadable here``), ``keys`` (names in ``signatures:keys``), ``key`` (fingerprint or hint),
            ``identity`` (the image that it names; bundles name none), ``time`` (seconds since 1970, 0 = it
            does not say), ``fits`` (it is valid and for this very image) and ``reason`` (why it does not);
            ``notes``, what an operator should know; ``cause`` and ``error`` of a refusal or failure.
        ``summary``
            how many ``images``, ``accepted``, ``refused``, ``not_asked``, ``unreadable`` and ``signatures``;
            ``seconds``.

        The return code: 0 all that must be signed is, 1 some could not be read, 2 some is not signed.

    Raises:
        CommandExecutionError: a mistake in the pillar or in a key, or the local registry does not answer.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_sync.signatures
        salt-call registry_sync.signatures rhosp13/openstack-cron:13.0
        salt-call registry_sync.signatures side=upstream --out=json
    """
    if side not in who.SIDES:
        raise CommandExecutionError(f"side: {side!r} is none; give one of {', '.join(who.SIDES)}")
    settings = checked.with_list(_pillar_settings, __salt__, __context__)
    directory = str(Path(__opts__["cachedir"]) / "registry_sync")
    try:
        report = who.signatures(settings, name=str(name), side=side, directory=directory)
    except (RegistryError, SettingsError) as failure:
        raise CommandExecutionError(str(failure)) from None
    if name and not report["images"]:
        raise CommandExecutionError(f"{name}: nothing of the image list is called so")
    __context__["retcode"] = who.signatures_code(report)
    return report


def _pillar_settings(listing=None):
    return checked.settings_of(__pillar__, __grains__, __salt__, __context__, listing=listing)
