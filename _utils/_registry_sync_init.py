"""A first pillar for the names of images that somebody types, with the tags that upstream has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from _registry_config_text import commented, pillar_text
from _registry_config_values import Settings
from _registry_http_endpoint import Endpoint
from _registry_http_environment import process_environment
from _registry_http_retry import Pace, Run
from _registry_oci_errors import NotFound, RegistryError, Untrusted
from _registry_oci_manifest import Manifest
from _registry_oci_names import is_tag, nearest
from _registry_oci_reference import HUB, Reference, ReferenceMistake, host_and_port, read_reference
from _registry_oci_referrers import is_attachment_tag
from _registry_oci_tags import TagRule, select_tags
from _registry_store_remote import RemoteStore

# Docker Hub's API is not at the name that its images have.
_API_HOSTS = {HUB: "registry-1.docker.io"}
# Who is asked now and again later; a mistake in a name is not worth more.
_RETRIES = 1
_EVERYTHING = TagRule(include=("*",))
# What is chosen of many platforms in the example.
_USUAL_PLATFORM = "linux/amd64"


class NothingFound(Exception):
    """None of the names could be asked for; the text says why."""


@dataclass(frozen=True)
class Upstream:
    """What a registry has of an image.

    Args:
        reference: as it was typed.
        endpoint: where that is.
        tags: that are chosen, the newest first.
        about_tags: a line on how many there are.
        comments: more lines about it.
    """

    reference: Reference
    endpoint: Endpoint
    tags: tuple[str, ...]
    about_tags: str
    comments: tuple[str, ...]

    @property
    def place(self) -> tuple[str, int, str]:
        """Where that is, however it was typed."""
        return self.endpoint.host, self.endpoint.port, self.reference.repository


def first_pillar(names: Sequence[str], settings: Settings, *, newest: int) -> tuple[str, bool]:
    """The text of a pillar for some images.

    Args:
        names: as docker takes them.
        settings: of this host; its upstreams are asked as they say.
        newest: tags of each at most.

    Returns:
        The text, and whether a name could not be asked for.

    Raises:
        ReferenceMistake: a name is none, or two of one tag have two digests.
        NothingFound: no name could be asked for.
    """
    found: list[Upstream] = []
    failures: list[str] = []
    for reference in _references(names):
        try:
            found.append(_ask(reference, settings, newest))
        except RegistryError as failure:
            failures.append(f"{reference}: {failure}")
    if not found:
        raise NothingFound("; ".join(failures))
    return commented(failures) + _text(_joined(found), settings), bool(failures)


def _references(names: Iterable[str]) -> list[Reference]:
    references = []
    for name in names:
        try:
            references.append(read_reference(name))
        except ReferenceMistake as mistake:
            raise ReferenceMistake(f"{_without_login(name)!r} {mistake}") from None
    _refuse_two_digests(references)
    return list(dict.fromkeys(references))


def _refuse_two_digests(references: Iterable[Reference]) -> None:
    pinned: dict[Reference, Reference] = {}
    for reference in references:
        if reference.tag and reference.digest:
            first = pinned.setdefault(replace(reference, digest=""), reference)
            if first != reference:
                raise ReferenceMistake(f"{reference} and {first} give one tag two digests")


def _without_login(name: str) -> str:
    _, at, rest = name.rpartition("@")
    return f"…@{rest}" if at else name


def _ask(reference: Reference, settings: Settings, newest: int) -> Upstream:
    store = _connected(_endpoint(reference, settings), settings)
    tags = [tag for tag in store.tags(reference.repository) if not is_attachment_tag(tag) and is_tag(tag)]
    chosen = _chosen(reference, store, tags, newest)
    manifest = store.manifest(reference.repository, reference.digest or chosen[0])
    entries = (reference.entry,) if reference.entry else tuple(chosen)
    comments = (*_about_platforms(manifest), *_about_tls(store.endpoint))
    return Upstream(reference, store.endpoint, entries, _about_tags(tags, chosen, reference), comments)


def _joined(found: Iterable[Upstream]) -> list[Upstream]:
    """What is of one repository as one: the pillar's check refuses two that land in one place."""
    together: dict[tuple[str, int, str], list[Upstream]] = {}
    for image in found:
        together.setdefault(image.place, []).append(image)
    return [_as_one(images) for images in together.values()]


def _as_one(images: Iterable[Upstream]) -> Upstream:
    # What is asked for without a tag says more of the tags than what is asked for with one.
    first, *others = sorted(images, key=lambda image: bool(image.reference.entry))
    tags = [tag for image in (first, *others) for tag in image.tags]
    pinned = {tag.partition("@")[0] for tag in tags if "@" in tag}
    comments = [line for image in (first, *others) for line in image.comments]
    return replace(
        first,
        tags=tuple(dict.fromkeys(tag for tag in tags if tag not in pinned)),
        comments=tuple(dict.fromkeys(comments)),
    )


def _endpoint(reference: Reference, settings: Settings) -> Endpoint:
    """The registry of a name: one of the pillar's upstreams, or one that nothing is known of but its name."""
    host, port = host_and_port(reference.registry)
    host, port = _API_HOSTS.get(host, host), port or 443
    for endpoint in (settings.upstream, *settings.upstreams):
        if (endpoint.host, endpoint.port) == (host, port):
            return endpoint
    return Endpoint("upstream", host, port, environment=process_environment())


def _connected(endpoint: Endpoint, settings: Settings) -> RemoteStore:
    """A registry that answers; one that nothing is known of may speak plain HTTP, and gets no login then."""
    store = _store(endpoint, settings)
    try:
        store.ping()
    except Untrusted:
        if endpoint in (settings.upstream, *settings.upstreams):
            raise
        nobody = replace(endpoint.environment, auth_files=())
        plain = _store(replace(endpoint, tls=False, environment=nobody), settings)
        try:
            plain.ping()
        except RegistryError:
            plain = store
        if plain is store:
            raise
        return plain
    return store


def _store(endpoint: Endpoint, settings: Settings) -> RemoteStore:
    transfer = replace(settings.transfer, retries=min(settings.transfer.retries, _RETRIES))
    return RemoteStore(endpoint, Pace(Run(transfer)))


def _chosen(reference: Reference, store: RemoteStore, tags: list[str], newest: int) -> list[str]:
    """The tags that are taken, the newest first."""
    if reference.tag and reference.tag not in tags:
        raise NotFound(
            f"{store} has no tag {reference.tag} of {reference.repository}{nearest(reference.tag, tags)}",
            side=store.side,
        )
    if reference.entry:
        return [reference.tag or reference.digest]
    if not tags:
        raise NotFound(f"{store} has no tag of {reference.repository}", side=store.side)
    return select_tags(replace(_EVERYTHING, newest=newest), tags)[::-1]


def _about_tags(tags: list[str], chosen: list[str], reference: Reference) -> str:
    count = f"{len(tags)} tag" + ("" if len(tags) == 1 else "s")
    if reference.entry or len(tags) == len(chosen):
        return f"{reference.registry} has {count} of it."
    # What is chosen follows upstream; a list stays.
    return (
        f"{reference.registry} has {count} of it; to follow the newest: "
        f"tags: {{include: ['*'], newest: {len(chosen)}}}"
    )


def _about_platforms(manifest: Manifest) -> list[str]:
    platforms = list(dict.fromkeys(child.platform for child in manifest.children if not child.attests))
    known = [platform for platform in platforms if platform and not platform.startswith("unknown")]
    if len(known) < 2:
        return []
    example = _USUAL_PLATFORM if _USUAL_PLATFORM in known else known[0]
    return [f"It is for {', '.join(known)}; for one alone: platforms: [{example}]"]


def _about_tls(endpoint: Endpoint) -> list[str]:
    return [] if endpoint.tls else ["It was asked by plain HTTP, so nothing proves whose registry it is."]


def _text(found: list[Upstream], settings: Settings) -> str:
    common = found[0].endpoint
    images: list[dict[str, Any]] = []
    for image in found:
        repository = image.reference.repository
        entry: dict[str, Any] = {"name": repository, "tags": list(image.tags)}
        if any(repository == other["name"] for other in images):
            entry["target"] = _own_place(image)
        if image.endpoint != common:
            entry["upstream"] = _keys(image, common)
        images.append(entry)
    pillar = {
        "upstream": _keys(found[0], None),
        "local": {"host": settings.local.host, "port": settings.local.port},
        # The default prefix is for names of one part.
        "image_defaults": {"namespace": "", "prefix": ""},
        "images": images,
    }
    return pillar_text(pillar, [(image.about_tags, *image.comments) for image in found])


def _own_place(image: Upstream) -> str:
    """Where an image lands whose name another registry's image has already."""
    registry = re.sub(r"[^a-z0-9.]+", "-", image.reference.registry.lower()).strip("-")
    return f"{registry}/{image.reference.repository}"


def _keys(image: Upstream, common: Endpoint | None) -> dict[str, Any]:
    """Keys of ``upstream``, without a login: that is the site's own, and may be a secret."""
    host, _ = host_and_port(image.reference.registry)
    endpoint = image.endpoint
    keys: dict[str, Any] = {"host": host}
    if endpoint.port != (common.port if common else 443):
        keys["port"] = endpoint.port
    if endpoint.tls != (common.tls if common else True):
        keys["tls"] = endpoint.tls
    if endpoint.verify != (common.verify if common else True):
        keys["verify"] = endpoint.verify
    return keys
