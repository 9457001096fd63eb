"""The images of a bundle, or of another layout, as entries of a list: their names, and who must sign them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from _registry_config_values import Image, Settings
from _registry_http_endpoint import Endpoint
from _registry_oci_errors import RegistryError
from _registry_oci_names import is_digest, is_repository, is_tag, printable
from _registry_oci_referrers import is_attachment_tag
from _registry_oci_tags import TagRule, select_tags
from _registry_store_bundle_format import BadBundle, Packed
from _registry_store_bundle_source import BundleStore


def packed_images(packed: Iterable[Packed], endpoint: Endpoint, settings: Settings) -> list[Image]:
    """What the table of contents of a bundle names."""
    places: dict[tuple[str, str], list[str]] = {}
    for one in packed:
        places.setdefault((split_name(one.name)[0], one.repository), []).append(one.reference)
    return [
        image
        for place, references in places.items()
        for image in _images(*place, references, endpoint, settings)
    ]


def foreign_images(store: BundleStore, endpoint: Endpoint, settings: Settings, into: str) -> list[Image]:
    """What another layout has: names give repository and tag, or the caller does.

    Raises:
        BadBundle: something has no name, and the caller gives none, or one that is not for it.
    """
    images = []
    for repository in filter(None, store.repositories()):
        tags = _tags(store.index().places[repository])
        target = _local_name(repository)
        if tags and not is_repository(target):
            raise BadBundle(f"{store}: {printable(repository)} is no repository")
        images += _images(repository, target, tags, endpoint, settings)
    names = store.index().places.get("", {})
    bare = _tags(names) or [name for name in names if is_digest(name) and not _is_referrer(store, name)]
    if bare:
        target, references = _into(store, into, bare)
        images += _images("", target, references, endpoint, settings)
    else:
        refuse_into(store, into)
    if not images:
        raise BadBundle(f"{store} names no image")
    return images


def refuse_into(store: BundleStore, into: str) -> None:
    """See that no name is given for what has one."""
    if into:
        raise BadBundle(f"{store}: into={printable(into)}: every image there has a name of its own")


def _tags(names: Iterable[str]) -> list[str]:
    return [name for name in names if is_tag(name) and not is_attachment_tag(name)]


def _into(store: BundleStore, into: str, bare: Sequence[str]) -> tuple[str, list[str]]:
    """Repository and references for what has only a tag, or only a digest."""
    target, colon, tag = into.partition(":")
    if not is_repository(target) or (colon and not is_tag(tag)):
        why = f"into={printable(into)} is none" if into else f"{printable(bare[0])} has no repository"
        raise BadBundle(f"{store}: {why}; give into=REPOSITORY or REPOSITORY:TAG")
    if len(bare) == 1 and (tag or is_digest(bare[0])):
        return target, [f"{tag or 'latest'}@{store.resolve('', bare[0]).digest}"]
    if is_digest(bare[0]):
        return target, []
    if tag:
        raise BadBundle(f"{store}: into={into} is one tag for {len(bare)} images; give into={target}")
    return target, list(bare)


def _is_referrer(store: BundleStore, digest: str) -> bool:
    try:
        return store.manifest("", digest).subject is not None
    except RegistryError:
        return False


def _images(
    repository: str, target: str, references: Iterable[str], endpoint: Endpoint, settings: Settings
) -> list[Image]:
    """Entries as the list would have them; who must have signed what is for this site to say."""
    here = [image for image in settings.images if image.target == target]
    groups: dict[tuple[Image, ...], list[str]] = {}
    for reference in dict.fromkeys(references):
        wanted = _wanting(here, repository, reference.partition("@")[0])
        groups.setdefault(wanted, []).append(reference)
    return [
        Image(
            key=f"bundle:{repository}",
            source=endpoint,
            repository=repository,
            target=target,
            tags=TagRule(include=tuple(them)),
            signed_by=tuple(dict.fromkeys(name for image in wanted for name in image.signed_by)),
            signed_as=wanted[0].signed_name if wanted else repository,
        )
        for wanted, them in groups.items()
    ]


def _wanting(here: Sequence[Image], repository: str, reference: str) -> tuple[Image, ...]:
    """Of the list's entries of one target that which wants a reference; else all, the upstream's first."""
    wanted = [image for image in here if _wants(image.tags, reference)]
    return tuple(wanted or sorted(here, key=lambda image: image.upstream_name != repository))


def _wants(rule: TagRule, reference: str) -> bool:
    names = {entry.partition("@")[0] for entry in rule.literals}
    return reference in names or bool(select_tags(replace(rule, newest=0, since=""), [reference]))


def split_name(name: str) -> tuple[str, str]:
    """Repository and reference of a full name."""
    head, at, pin = name.partition("@")
    if at:
        return head, pin
    repository, _, tag = name.rpartition(":")
    return repository, tag


def _local_name(repository: str) -> str:
    host, _, rest = repository.partition("/")
    return rest if rest and ("." in host or ":" in host or host == "localhost") else repository
