"""The pillar ``docker_registry`` as checked values.

Nothing here does any I/O: a dict goes in, frozen values come out, or one sentence that names the
pillar key which is wrong. Keys that only states read are checked here all the same, so that a misspelt
one is told before anything is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import _registry_config_signatures as signing
import _registry_config_validators as check
from _registry_config_defaults import (
    AUTHORITY_DIRECTORY,
    IMAGE_DEFAULTS,
    LOCAL_PORT,
    OVERCLOUD_IMAGES,
    SIGNATURE_STORES,
    UNDERCLOUD_PORT,
    UPSTREAM_DEFAULTS,
)
from _registry_config_schema import IMAGE, PILLAR, ROOT, SELF_SIGNED, bad_repository, landing
from _registry_config_validators import SettingsError
from _registry_config_values import (
    Attachments,
    Backup,
    Bundle,
    Collect,
    Engine,
    Image,
    Listing,
    Page,
    Prune,
    Service,
    Settings,
    Signatures,
    Undercloud,
    Verify,
)
from _registry_http_endpoint import Endpoint, Transfer
from _registry_http_environment import Environment, process_environment
from _registry_oci_names import is_digest, is_repository
from _registry_oci_tags import TagRule

__all__ = ["SettingsError", "known_keys", "read_settings", "read_undercloud"]

# Keys that people look for at the top, and what they stand below.
_BELOW = {
    "image_defaults": ("namespace", "prefix", "tags", "platforms", "signed_by"),
    "upstream": ("host", "tls", "verify", "username", "password", "auth_file", "proxy"),
    "local": ("port",),
    "registry": ("install", "push", "storage", "config", "htpasswd", "purge"),
    "transfer": ("parallel", "retries", "bandwidth", "deadline", "spool"),
}
_ELSEWHERE = {name: below for below, names in _BELOW.items() for name in names}
# Meant for one host and never sent to another; an auth file says itself which host a login is for.
_CREDENTIALS = ("username", "password", "cert", "key")


def read_undercloud(pillar: Any) -> Undercloud:
    """What the pillar says of underclouds, or the defaults.

    It is read before all else: whether this host is one decides on other defaults.

    Raises:
        SettingsError: one sentence naming the first wrong key below ``undercloud``.
    """
    choice = pillar.get("undercloud", {}) if isinstance(pillar, Mapping) else {}
    checked = PILLAR["undercloud"](choice, f"{ROOT}:undercloud")
    own = dict(checked) if isinstance(checked, Mapping) else {"recognise": checked}
    own.update(own.pop("profile", {}))
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in own.items()
    }
    return Undercloud(**values)


def read_settings(
    pillar: Any,
    *,
    host: str,
    undercloud: bool = False,
    listing: Listing | None = None,
    environment: Environment | None = None,
) -> Settings:
    """Check the pillar and fill in the defaults.

    Args:
        pillar: the value of the pillar key ``docker_registry``; None = all defaults.
        host: what ``local.host`` is where the pillar does not say (the fqdn grain).
        undercloud: whether this host is an undercloud, whose registry listens on 8787.
        listing: images that a file lists, instead of the default ones.
        environment: proxies and auth files where the pillar names none; None = this process's own.

    Returns:
        The settings.

    Raises:
        SettingsError: one sentence naming the first wrong key.
    """
    tree = check.mapping(PILLAR, _ELSEWHERE)({} if pillar is None else pillar, ROOT)
    around = {"environment": process_environment() if environment is None else environment}
    upstream, signed_as = _common_upstream(tree, around)
    authority = _authority(tree)
    port = UNDERCLOUD_PORT if undercloud else LOCAL_PORT
    local = _local(tree, authority, around, host=host, port=port)
    keys = signing.signing_keys(tree.get("signatures", {}).get("keys", {}), f"{ROOT}:signatures:keys")
    defaults = {**IMAGE_DEFAULTS, "signed_as": signed_as, **tree.get("image_defaults", {})}
    signing.refuse_unknown(defaults["signed_by"], keys, f"{ROOT}:image_defaults:signed_by")
    images = _images(tree, defaults, upstream, listing)
    _refuse_bad_lists(images, local, keys)
    director = read_undercloud(tree)
    return Settings(
        given=pillar is not None,
        listed="images" in tree or listing is not None,
        service=_service(tree.get("registry", {}), director, undercloud=undercloud),
        engine=Engine(**tree.get("engine", {})),
        firewall=tree.get("firewall", "auto"),
        prune=_prune(tree.get("prune", {})),
        signatures=_signatures(tree.get("signatures", {})),
        backup=Backup(**tree.get("backup", {})),
        bundle=_bundle(tree.get("bundle", {}), keys),
        verify=Verify(**tree.get("verify", {})),
        collect=Collect(**tree.get("collect", {})),
        attachments=_attachments(tree.get("attachments", True)),
        keys=keys,
        force=tree.get("force", False),
        sync=tree.get("sync", True),
        local=local,
        upstream=upstream,
        images=images,
        transfer=Transfer(**tree.get("transfer", {})),
        metrics=tree.get("metrics", ""),
        page=_page(tree.get("page", "")),
        history=tree.get("history", 500),
        mine=tree.get("mine", True),
        authority=authority,
        undercloud=director,
        namespace=defaults["namespace"],
        prefix=defaults["prefix"],
        tags=_tag_rule(defaults["tags"]),
    )


def _local(
    tree: Mapping[str, Any], authority: str, around: Mapping[str, Any], *, host: str, port: int
) -> Endpoint:
    """The registry that is filled; one of this host's with a certificate has TLS."""
    usual = {"host": host, "port": port, "tls": _has_certificate(tree)}
    trust = {"verify": authority} if authority else {}
    return Endpoint("local", **{**around, **usual, **trust, **tree.get("local", {})})


def _common_upstream(tree: Mapping[str, Any], around: Mapping[str, Any]) -> tuple[Endpoint, str]:
    """The upstream of images that name none of their own, and what signatures call it."""
    common = {**UPSTREAM_DEFAULTS, **tree.get("upstream", {})}
    signed_as = common.pop("signed_as", "")
    _refuse_one_name_for_all(signed_as)
    return Endpoint("upstream", **{**around, **common}), signed_as


def _refuse_bad_lists(images: tuple[Image, ...], local: Endpoint, keys: Mapping[str, Any]) -> None:
    for image in images:
        signing.refuse_unknown(image.signed_by, keys, f"{image.key}:signed_by")
    _refuse_shared_targets(images)
    _refuse_mirroring_oneself(images, local)


def _prune(own: Mapping[str, Any]) -> Prune:
    given: dict[str, Any] = {name: value for name, value in own.items() if name not in ("keep", "foreign")}
    for name, value in own.get("keep", {}).items():
        given[name] = tuple(value) if isinstance(value, list) else value
    return Prune(**given, foreign=own.get("foreign") == "prune")


def _bundle(own: Mapping[str, Any], keys: Mapping[str, Any]) -> Bundle:
    accept = tuple(own.get("accept", ()))
    signing.refuse_unknown(accept, keys, f"{ROOT}:bundle:accept")
    return Bundle(**{**own, "accept": accept})


def _attachments(own: bool | Mapping[str, Any]) -> Attachments:
    if isinstance(own, bool):
        return Attachments(travel=own)
    return Attachments(exclude=tuple(own.get("exclude", ())), largest=own.get("largest", 0))


def _page(own: str | Mapping[str, Any]) -> Page:
    return Page(path=own) if isinstance(own, str) else Page(**own)


def _signatures(own: Mapping[str, Any]) -> Signatures:
    given = {name: value for name, value in own.items() if name != "keys"}
    return Signatures(**{**given, "stores": {**SIGNATURE_STORES, **own.get("stores", {})}})


def _service(own: Mapping[str, Any], director: Undercloud, *, undercloud: bool) -> Service:
    tls = own.get("tls", {})
    # The director's command line uploads as any client of the network does.
    push = "everyone" if undercloud and director.upload_with == "openstack" else "local"
    given = {name: value for name, value in own.items() if name != "tls" and value != ""}
    return Service(**{"push": push, **given, **(tls if isinstance(tls, Mapping) else {})})


def _images(
    tree: Mapping[str, Any], defaults: Mapping[str, Any], upstream: Endpoint, listing: Listing | None
) -> tuple[Image, ...]:
    """The images of the pillar and of a list, or the default ones."""
    entries = tree.get("images", () if listing else OVERCLOUD_IMAGES)
    images = tuple(
        _image(entry, f"{ROOT}:images:{position}", defaults, upstream)
        for position, entry in enumerate(entries)
    )
    if not listing:
        return images
    listed = _listed(listing, defaults, upstream)
    return listed if listing.alone else images + _not_covered(listed, images)


def _authority(tree: Mapping[str, Any]) -> str:
    """Where the registry's own authority is kept, if it has one."""
    if tree.get("registry", {}).get("tls") != SELF_SIGNED:
        return ""
    directory = tree.get("lookup", {}).get("authority") or AUTHORITY_DIRECTORY
    return f"{directory}/ca.pem"


def _has_certificate(tree: Mapping[str, Any]) -> bool:
    """Whether the registry that this host runs has TLS, which its clients cannot do without then."""
    registry = tree.get("registry", {})
    tls = registry.get("tls", {})
    given = tls != SELF_SIGNED and tls.get("certificate") and registry.get("install") != "none"
    if tree.get("local", {}).get("tls") is False and (tls == SELF_SIGNED or given):
        what = "has a certificate" if given else f"is {SELF_SIGNED}"
        raise SettingsError(f"{ROOT}:local:tls: is false, but {ROOT}:registry:tls {what}")
    return tls == SELF_SIGNED or bool(given)


def _listed(listing: Listing, defaults: Mapping[str, Any], upstream: Endpoint) -> tuple[Image, ...]:
    entries = [
        check.mapping(IMAGE)(entry, f"{listing.key}:{position}")
        for position, entry in enumerate(listing.entries)
    ]
    whole_names = {**defaults, "namespace": "", "prefix": ""}
    return tuple(
        _image(entry, f"{listing.key}:{position}", whole_names, upstream)
        for position, entry in enumerate(entries)
    )


def _not_covered(listed: tuple[Image, ...], images: tuple[Image, ...]) -> tuple[Image, ...]:
    """Of what a file lists, what no entry of the pillar brings already."""
    return tuple(
        entry
        for entry in listed
        if not any(image.target == entry.target and _may_meet(image.tags, entry.tags) for image in images)
    )


def _image(
    entry: str | Mapping[str, Any], key: str, defaults: Mapping[str, Any], upstream: Endpoint
) -> Image:
    own: Mapping[str, Any] = {"name": entry} if isinstance(entry, str) else entry
    if "name" not in own:
        raise SettingsError(f"{key}: an image needs a name")
    name_key = key if isinstance(entry, str) else f"{key}:name"
    repository = _full_name(own["name"], name_key, defaults)
    tags = _tag_rule(own.get("tags", defaults["tags"]))
    platforms = tuple(own.get("platforms", defaults["platforms"]))
    _refuse_a_choice_from_a_digest(tags, platforms, f"{key}:tags" if "tags" in own else f"{key}:platforms")
    source = _source(own.get("upstream", {}), upstream)
    return Image(
        key=key,
        source=source,
        repository=repository,
        target=own.get("target", repository),
        tags=tags,
        platforms=platforms,
        signed_by=tuple(own.get("signed_by", defaults["signed_by"])),
        signed_as=_signed_as(
            own.get("upstream", {}), source.name == upstream.name, defaults["signed_as"], repository
        ),
    )


def _signed_as(own: Mapping[str, Any], is_common: bool, common: str, repository: str) -> str:
    """An image's name in signatures; what the common upstream is called in them is not another one's name."""
    name: str = own.get("signed_as", common if is_common else "")
    return name if "/" in name or not name else f"{name}/{repository}"


def _refuse_one_name_for_all(signed_as: str) -> None:
    if "/" in signed_as:
        raise SettingsError(
            f"{ROOT}:upstream:signed_as: {signed_as!r} is the name of one image; give the host alone, "
            "or the whole name as signed_as of that image's own upstream"
        )


def _refuse_a_choice_from_a_digest(tags: TagRule, platforms: tuple[str, ...], key: str) -> None:
    """A choice of platforms has another digest than the index it is from, and so cannot be kept under it."""
    digest = next(filter(is_digest, tags.include), "")
    if digest and platforms:
        raise SettingsError(
            f"{key}: {digest[:19]}… is a digest without a tag, and what {', '.join(platforms)} leaves of it "
            f"has another; give a tag, e.g. '13.0@{digest[:19]}…', or platforms: [] for this image"
        )


def _full_name(name: str, key: str, defaults: Mapping[str, Any]) -> str:
    if "/" in name:
        full = name
    else:
        full = "/".join(part for part in (defaults["namespace"], defaults["prefix"] + name) if part)
    if not is_repository(full):
        raise SettingsError(bad_repository(full, key))
    return full


def _source(own: Mapping[str, Any], upstream: Endpoint) -> Endpoint:
    """An image's own upstream: the common one but for what differs; credentials stay at their host."""
    if not own:
        return upstream
    own = {name: value for name, value in own.items() if name != "signed_as"}
    common = dict(vars(upstream))
    moved = own.get("host", upstream.host), own.get("port", upstream.port)
    if moved != (upstream.host, upstream.port):
        for name in _CREDENTIALS:
            common.pop(name)
    return Endpoint(**{**common, **own})


def _tag_rule(tags: list[str] | Mapping[str, Any]) -> TagRule:
    if isinstance(tags, list):
        return TagRule(include=tuple(dict.fromkeys(tags)))
    return TagRule(
        include=tuple(dict.fromkeys(tags.get("include", ["*"]))),
        exclude=tuple(tags.get("exclude", ())),
        semver=tags.get("semver", ""),
        newest=tags.get("newest", 0),
        since=tags.get("since", ""),
    )


def _refuse_shared_targets(images: tuple[Image, ...]) -> None:
    """Two entries may fill one repository only with tags that cannot meet."""
    seen: dict[str, list[Image]] = {}
    for image in images:
        for other in seen.setdefault(image.target, []):
            if _may_meet(image.tags, other.tags):
                raise SettingsError(
                    f"{image.key}: lands on {image.target}, as {other.key} does; "
                    "give one of them another target or tags of its own"
                )
        seen[image.target].append(image)


def _may_meet(one: TagRule, other: TagRule) -> bool:
    if one.needs_list or other.needs_list:
        return True
    return not set(map(landing, one.include)).isdisjoint(map(landing, other.include))


def _refuse_mirroring_oneself(images: tuple[Image, ...], local: Endpoint) -> None:
    for image in images:
        same = (image.source.host, image.source.port, image.source.path)
        if same == (local.host, local.port, local.path) and image.repository == image.target:
            raise SettingsError(f"{image.key}: {local.name}/{image.target} would mirror itself")


def known_keys() -> Iterator[str]:
    """Every top-level key of the pillar, for documents and tests."""
    return iter(PILLAR)
