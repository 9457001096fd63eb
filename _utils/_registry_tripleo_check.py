"""Whether the local registry holds every image that a deployment will pull; upstream is not asked."""

from __future__ import annotations

import time
from collections.abc import Sequence

from _registry_config_values import Settings
from _registry_http_retry import Run
from _registry_oci_errors import NotFound, RegistryError
from _registry_sync_commands import Report, report_on
from _registry_sync_compare import Comparison, Registries, Tag, look
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
    registries = Registries(settings, Run(settings.transfer))
    pairs = [(_tag(image, settings), image) for image in wanted]
    holdings = look(registries, dict.fromkeys(tag.target for tag, _ in pairs))

    def find(pair: tuple[Tag, Wanted]) -> None:
        tag, image = pair
        elsewhere = named_elsewhere(image, settings.local)
        try:
            if elsewhere:
                raise NotFound(elsewhere)
            if holdings.error:
                raise holdings.error
            tag.local = registries.local.head(tag.target, tag.landing).digest
            tag.status = "current"
        except NotFound as failure:
            tag.fail("missing", failure)
            if not elsewhere:
                tag.error = f"{settings.local.name} has no {tag.name}, which {image.parameter} names"
        except RegistryError as failure:
            tag.fail("unreadable", failure)

    registries.ask_local(find, pairs)
    return report_on(settings, Comparison([tag for tag, _ in pairs], holdings), (), began)


def _tag(image: Wanted, settings: Settings) -> Tag:
    """The image as a tag; one of another registry keeps that registry's name, so that none hides another."""
    name = image.name
    elsewhere = named_elsewhere(image, settings.local)
    target = f"{name.registry}/{name.repository}" if elsewhere else name.repository
    return Tag(None, name.reference, target, name.reference)
