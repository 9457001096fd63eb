"""Whether the local registry holds every image that a deployment will pull; upstream is not asked."""

from __future__ import annotations

import time
from collections.abc import Sequence

from _registry_config_values import Settings
from _registry_http_retry import Run
from _registry_oci_errors import NotFound, RegistryError
from _registry_show_report import Report
from _registry_sync_compare import Comparison
from _registry_sync_inventory import take_inventory
from _registry_sync_report import report_on
from _registry_sync_stores import open_stores
from _registry_sync_tag import Tag
from _registry_tripleo_files import Wanted, named_elsewhere


def check_deployment(settings: Settings, wanted: Sequence[Wanted]) -> Report:
    """Look for each image.

    Args:
        settings: who the local registry is.
        wanted: what ``wanted_images`` found.

    Returns:
        A report as that of ``check``. An image that is not there, or that would be pulled from another
        registry, is ``missing``, and its error names the parameter.
    """
    began = time.monotonic()
    stores = open_stores(settings, Run(settings.transfer))
    pairs = [(_tag(image, settings), image) for image in wanted]
    inventory = take_inventory(stores, [tag.target for tag, _ in pairs])

    def find(pair: tuple[Tag, Wanted]) -> None:
        tag, image = pair
        elsewhere = named_elsewhere(image, settings.local)
        try:
            if elsewhere:
                raise NotFound(elsewhere)
            if inventory.error:
                raise inventory.error
            tag.local = stores.target.resolve(tag.target, tag.target_reference).digest
            tag.status = "current"
        except NotFound as failure:
            tag.fail("missing", failure)
            if not elsewhere:
                tag.error = f"{settings.local.name} has no {tag.name}, which {image.parameter} names"
        except RegistryError as failure:
            tag.fail("unreadable", failure)

    stores.map_target(find, pairs)
    return report_on(settings, Comparison([tag for tag, _ in pairs], inventory), (), began)


def _tag(image: Wanted, settings: Settings) -> Tag:
    """The image as a tag; one of another registry keeps that registry's name, so that none hides another."""
    name = image.name
    elsewhere = named_elsewhere(image, settings.local)
    target = f"{name.registry}/{name.repository}" if elsewhere else name.repository
    return Tag(None, name.reference, target, name.reference)
