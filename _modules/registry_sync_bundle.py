"""Images over a gap that no network crosses: more functions of ``registry_sync``.

A bundle is an OCI image layout with a table of contents, as a directory or in volumes that are each a whole
tar. ``export`` writes it where upstream is reached, ``import`` reads it where only a disk arrives, ``bundle``
says whether it is whole, and ``inventory`` writes what the other side need not send again.
"""

import logging
from pathlib import Path

from salt.exceptions import CommandExecutionError

# Modules, not their functions: whatever function stands here is one of registry_sync to Salt.
import _registry_config_validators as validators
import _registry_show_prometheus as metrics
import _registry_state_progress as telling
import _registry_state_settings as checked
import _registry_state_storage as files
import _registry_store_bundle_base as stock
import _registry_sync_bundle as bundles
import _registry_sync_bundle_inventory as here
import _registry_sync_commands as commands
import _registry_sync_export as exporting
import _registry_sync_import as importing
import _registry_sync_ledger as ledger
from _registry_config_validators import SettingsError
from _registry_oci_errors import RegistryError

log = logging.getLogger(__name__)

__virtualname__ = "registry_sync"
__func_alias__ = {"import_": "import"}
__outputter__ = dict.fromkeys(("export", "import_", "import", "bundle"), "registry_sync")


def __virtual__():  # noqa: N807 - Salt's own name
    """Beside the functions of the file ``registry_sync.py``."""
    return __virtualname__


def export(path="", since="", volume="", source="upstream", images_file="", test=False):
    """
    Write the images of the list into a bundle, with what is attached to them and their simple signatures.

    Each blob is written once. The bundle is under ``PATH.partial`` until it is whole; calling again goes on
    with a run that was killed, or in which something failed. What of the list cannot be read is left out and
    told. Nothing is written where the very same bundle is at the path; something else is never overwritten.

    Progress, events, metrics, bandwidth and deadline are those of ``sync``.

    Args:
        path: of the bundle; without it ``docker_registry:bundle:path``.
        since: an inventory that the other side has written, or a former bundle: what is there is not sent
            again. Without it ``bundle:since``.
        volume: bytes of a volume, such as ``4GB``; 0 = a directory. Without it ``bundle:volume``.
        source: ``upstream``, or ``local`` for what the mirror has.
        images_file: as in ``check``.
        test: say what would be written.

    Returns:
        A report as that of ``sync``: ``copied`` is in the bundle, ``current`` has the other side already; and
        ``bundle``: ``path``; ``id``, the same for the same content; ``created``; ``base``, what it builds on
        (``id``, ``created``, ``name``); ``new``, whether it was written now; ``images``, ``blobs`` and
        ``bytes`` in it; ``volumes``, name → ``bytes`` and ``sha256``; ``cut``, the digests of blobs larger
        than a volume, which only this formula can join. The return code: 0, or 1 where something failed.

    Raises:
        CommandExecutionError: it cannot be written, something else is there, or a mistake in the pillar.

    CLI Example:

    .. code-block:: bash

        salt-call registry_sync.export /srv/bundles/site-b
        salt-call registry_sync.export /media/usb/week-48 since=/media/usb/site-b.inventory.json.gz volume=4GB
    """
    settings = checked.with_list(_pillar_settings, __salt__, __context__, images_file)
    own = settings.bundle
    if source not in exporting.SOURCES:
        raise CommandExecutionError(f"source={source}: give upstream or local")
    report = _done(
        exporting.export,
        settings,
        _path(path, own),
        since=str(since or own.since),
        volume=_bytes(volume, own),
        source=source,
        sign_with=own.sign_with,
        test=bool(test),
        directory=_directory(),
        progress=_progress(),
    )
    return _coded("export", settings, report, commands.return_code(report), told=not test)


def import_(path="", into="", force=False, test=False):
    """
    Bring a bundle's images into the local registry, straight out of its directory or volumes.

    Every blob is hashed while it is sent, several at a time, and nothing is unpacked. An image lands when all
    that it needs is in the volumes at hand or in the registry; the others say what they wait for. Called
    again, it brings what is not here yet. What the image list says of ``signed_by`` holds here, too.

    Other layouts are taken as well: ``skopeo copy … oci:DIR:NAME``, ``oras backup``, ``crane pull
    --format=oci``.

    Args:
        path: of the bundle; without it ``docker_registry:bundle:path``.
        into: ``repository``, or of one image ``repository:tag``, for what has no whole name in another
            layout; refused where all have one.
        force: bring also what was made before what is here; without it such a tag is ``held``.
        test: say what would be brought.

    Returns:
        A report as that of ``sync``, and ``bundle``: as ``bundle`` has it, with ``inventory``, the file in
        which stands what the registry has now. The return code: 0, or 1 where something failed.

    Raises:
        CommandExecutionError: it is no bundle, nobody of ``bundle:accept`` has signed it, a sync runs, or a
            mistake in the pillar.

    CLI Example:

    .. code-block:: bash

        salt-call registry_sync.import /media/usb/week-48
        salt-call registry_sync.import /media/usb/week-48 test=True
        salt-call registry_sync.import /tmp/layout into=team/app:1.0
    """
    settings = _pillar_settings()
    if not test:
        __salt__["registry_push.recover"]()
    report = _done(
        importing.import_bundle,
        settings,
        _path(path, settings.bundle),
        into=str(into),
        force=bool(force),
        accept=settings.bundle.accept,
        test=bool(test),
        directory=_directory(),
        ledger_directory=_ledger_directory(),
        storage=files.own_storage(settings, __salt__),
        inventory=str(Path(_ledger_directory()) / "inventory.json.gz"),
        progress=_progress(),
    )
    return _coded("import", settings, report, commands.return_code(report), told=not test)


def bundle(path="", into=""):
    """
    Say whether a bundle is whole, what is in it, and whether what it builds on is here; nothing is changed.

    Args:
        path: of the bundle; without it ``docker_registry:bundle:path``.
        into: as in ``import``.

    Returns:
        A report as that of ``plan``, from the bundle to the local registry, and ``bundle``: what ``export``
        says of it; ``amiss``, volume (or ``base``) → why it is not at hand, and how many tags wait for it;
        ``damaged``, file → what is wrong with it; ``signed_by``. The return code: 0 all of it can be
        imported, 2 volumes or what it builds on are lacking, 1 it is damaged.

    Raises:
        CommandExecutionError: it is no bundle, or a mistake in the pillar.

    CLI Example:

    .. code-block:: bash

        salt-call registry_sync.bundle /media/usb/week-48
    """
    settings = _pillar_settings()
    place = _path(path, settings.bundle)
    report = _done(bundles.inspect, settings, place, into=str(into), accept=settings.bundle.accept)
    __context__["retcode"] = bundles.bundle_code(report)
    return report


def inventory(file=""):
    """
    Write what the local registry has, for whoever exports a bundle for it: ``export since=FILE``.

    Args:
        file: absolute path of the file, gzipped JSON; without it one in ``/var/lib/docker_registry``.

    Returns:
        ``file``, ``id``, and the numbers of ``tags``, ``manifests``, ``blobs`` and ``signatures``.

    Raises:
        CommandExecutionError: the registry does not answer, the file cannot be written, or a mistake in the
            pillar.

    CLI Example:

    .. code-block:: bash

        salt-call registry_sync.inventory /media/usb/site-b.inventory.json.gz
    """
    given = checked.argument(validators.path, file, "file")
    place = given or str(Path(_ledger_directory()) / "inventory.json.gz")
    try:
        found = here.take_stock(_pillar_settings())
        stock.write_stock(found, place)
    except RegistryError as failure:
        raise CommandExecutionError(str(failure)) from None
    return {
        "file": place,
        "id": found.base.id,
        "tags": sum(len(tags) for tags in found.tags.values()),
        "manifests": len(found.manifests),
        "blobs": len(found.blobs),
        "signatures": sum(found.signatures.values()),
    }


def _done(command, settings, path, **how):
    try:
        return command(settings, path, **how)
    except (RegistryError, SettingsError) as failure:
        raise CommandExecutionError(str(failure)) from None


def _path(path, own):
    place = str(path or own.path)
    if not place.startswith("/"):
        what = f"path {place!r} is not absolute" if place else "no path is given"
        raise CommandExecutionError(f"{what}; docker_registry:bundle:path names one")
    return place.rstrip("/") or "/"


def _bytes(volume, own):
    if volume in ("", None):
        return own.volume
    return checked.argument(validators.size, volume, "volume")


def _pillar_settings(listing=None):
    return checked.settings_of(__pillar__, __grains__, __salt__, __context__, listing=listing)


def _directory():
    return str(Path(__opts__["cachedir"]) / "registry_sync")


def _ledger_directory():
    return ledger.directory_below(__opts__["root_dir"])


def _progress():
    return telling.progress_of(__opts__, __salt__, log.info)


def _coded(function, settings, report, code, *, told):
    if settings.metrics and told:
        try:
            metrics.write_bundle_metrics(settings.metrics, function, report, success=code == 0)
        except OSError as failure:
            log.warning("docker_registry:metrics: not written: %s", failure)
    __context__["retcode"] = code
    return report
