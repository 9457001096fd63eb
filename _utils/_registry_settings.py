"""The pillar ``docker_registry`` as checked values.

Nothing here does any I/O: a dict goes in, frozen values come out, or one sentence that names the
pillar key which is wrong. Defaults of all that the sync needs stand here; what only states need
(package names, paths) stands in ``docker_registry/defaults.yaml`` and is checked here all the same,
so that a misspelt key is told before anything is touched.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from _registry_environment import Environment, process_environment
from _registry_model import (
    TagRule,
    is_comparison,
    is_digest,
    is_pattern,
    is_platform,
    is_repository,
    is_tag,
)

ROOT = "docker_registry"

OVERCLOUD_IMAGES = tuple(
    f"{service}-{part}" if part else service
    for service, parts in {
        "aodh": ("api", "evaluator", "listener", "notifier"),
        "ceilometer": ("central", "compute", "notification"),
        "cinder": ("api", "scheduler", "volume"),
        "cron": ("",),
        "glance": ("api",),
        "gnocchi": ("api", "metricd", "statsd"),
        "haproxy": ("",),
        "heat": ("api-cfn", "api", "engine"),
        "horizon": ("",),
        "iscsid": ("",),
        "keystone": ("",),
        "mariadb": ("",),
        "memcached": ("",),
        "neutron": ("dhcp-agent", "l3-agent", "metadata-agent", "openvswitch-agent", "server"),
        "nova": (
            "api",
            "compute",
            "conductor",
            "consoleauth",
            "libvirt",
            "novncproxy",
            "placement-api",
            "scheduler",
        ),
        "panko": ("api",),
        "rabbitmq": ("",),
        "redis": ("",),
        "swift": ("account", "container", "object", "proxy-server"),
    }.items()
    for part in parts
)

UPSTREAM_DEFAULTS: dict[str, Any] = {
    "host": "registry.access.redhat.com",
    "port": 443,
    "tls": True,
    "verify": True,
}
IMAGE_DEFAULTS: dict[str, Any] = {
    "namespace": "rhosp13",
    "prefix": "openstack-",
    "tags": ["13.0"],
    "platforms": [],
}
LOCAL_PORT = 5000
UNDERCLOUD_PORT = 8787
# Meant for one host and never sent to another; an auth file says itself which host a login is for.
_CREDENTIALS = ("username", "password", "cert", "key")
# What people call a registry whose API has another name.
_API_HOSTS = dict.fromkeys(("docker.io", "index.docker.io"), "registry-1.docker.io")


class SettingsError(ValueError):
    """A mistake in the pillar; the text is one sentence that begins with the key."""


@dataclass(frozen=True)
class Endpoint:
    """One registry and how it is reached.

    Args:
        side: ``upstream`` or ``local``, for messages.
        host: name or address; an IPv6 address without brackets.
        port: TCP port.
        tls: HTTPS rather than plain HTTP.
        verify: True, False or the path of a CA bundle.
        username: with ``password``; empty = what ``auth_file`` says.
        password: never shown.
        auth_file: path of a docker ``config.json`` or podman ``auth.json``; empty = what the files that
            the environment names say, else anonymous.
        cert: path of a client certificate (PEM).
        key: path of its key (PEM).
        path: prefix of the registry's API below the host, without slashes at the ends.
        proxy: URL of a proxy; empty = what the environment says.
        environment: proxies and auth files where the pillar names none.
    """

    side: str
    host: str
    port: int
    tls: bool = True
    verify: bool | str = True
    username: str = ""
    password: str = field(default="", repr=False)
    auth_file: str = ""
    cert: str = ""
    key: str = ""
    path: str = ""
    proxy: str = field(default="", repr=False)
    environment: Environment = field(default=Environment(), repr=False)

    def __str__(self) -> str:
        return f"{self.side} {self.name}"

    @property
    def name(self) -> str:
        """``host:port`` as it stands in image names, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address without the path ``/v2/``."""
        prefix = f"/{self.path}" if self.path else ""
        return f"{'https' if self.tls else 'http'}://{self.name}{prefix}"


@dataclass(frozen=True)
class Image:
    """One entry of the image list.

    Args:
        key: the pillar key it stands at, for messages.
        source: the upstream it comes from.
        repository: its name there.
        target: its name in the local registry.
        tags: which tags.
        platforms: which platforms of a multi-platform image; empty = all.
    """

    key: str
    source: Endpoint
    repository: str
    target: str
    tags: TagRule
    platforms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Transfer:
    """How hard the line may be used.

    Args:
        parallel: blobs in flight at most.
        retries: tries after the first that a request gets.
        bandwidth: bytes a second for all workers together; 0 = no cap.
        deadline: seconds that a whole run may take; 0 = no limit.
    """

    parallel: int = 16
    retries: int = 10
    bandwidth: int = 0
    deadline: int = 0


@dataclass(frozen=True)
class Undercloud:
    """How an OpenStack undercloud is known, and how its own command line is used there.

    Args:
        recognise: ``auto``, by the profile; or whether this host is one.
        packages: names or patterns of packages; each of the profile must be found.
        services: the same of services.
        files: paths.
        directories: paths.
        prepare: have the command line write the list of images.
        upload_with: who copies: our own engine, ``registry_sync``, or ``openstack``.
        command: the command line's name or path.
        user: whom it runs as.
        stackrc: the file that this user sources first.
        directory: where its files lie.
        environment_files: of the overcloud; the list then has only what these need.
        roles_file: of the overcloud.
        tag: of the images; empty = the first of ``image_defaults:tags``.
        exclude: patterns of images that are not wanted.
        set: further variables of the list's template.
        env_file: name of the environment that ``openstack overcloud deploy`` reads.
        images_file: name of the list.
        parameter_file: name of what newer directors prepare from.
    """

    recognise: str | bool = "auto"
    packages: tuple[str, ...] = ("instack-undercloud", "python2-openstackclient")
    services: tuple[str, ...] = ("openstack-*",)
    files: tuple[str, ...] = ("/home/stack/stackrc", "/home/stack/undercloud.conf")
    directories: tuple[str, ...] = ("/home/stack",)
    prepare: bool = True
    upload_with: str = "registry_sync"
    command: str = "openstack"
    user: str = "stack"
    stackrc: str = "/home/stack/stackrc"
    directory: str = "/home/stack"
    environment_files: tuple[str, ...] = ()
    roles_file: str = ""
    tag: str = ""
    exclude: tuple[str, ...] = ()
    set: Mapping[str, str] = field(default_factory=dict)
    env_file: str = "overcloud-container-images.yaml"
    images_file: str = "upstream-container-images.yaml"
    parameter_file: str = "containers-prepare-parameter.yaml"

    def path(self, name: str) -> str:
        """A file of the user's directory; an absolute path stays one."""
        return name if name.startswith("/") else f"{self.directory.rstrip('/')}/{name}"


@dataclass(frozen=True)
class Listing:
    """Images that another file than the pillar lists.

    Args:
        key: the file, and the key in it, for messages.
        entries: as they would stand in the pillar.
        alone: they are the whole list, whatever the pillar says of images.
    """

    key: str
    entries: tuple[Mapping[str, Any], ...]
    alone: bool = True


@dataclass(frozen=True)
class Settings:
    """The whole pillar, checked."""

    force: bool
    sync: bool
    local: Endpoint
    upstream: Endpoint
    images: tuple[Image, ...]
    transfer: Transfer
    # Absolute path of a file for Prometheus; empty = none is written.
    metrics: str = ""
    undercloud: Undercloud = field(default_factory=Undercloud)
    # Of image_defaults, for the undercloud's command line.
    namespace: str = ""
    prefix: str = ""
    tags: TagRule = field(default_factory=lambda: TagRule(tuple(IMAGE_DEFAULTS["tags"])))

    @property
    def upstreams(self) -> tuple[Endpoint, ...]:
        """Every upstream that an image of the list comes from, each once."""
        return tuple(dict.fromkeys(image.source for image in self.images))


def read_undercloud(pillar: Any) -> Undercloud:
    """What the pillar says of underclouds, or the defaults.

    It is read before all else: whether this host is one decides on other defaults.

    Raises:
        SettingsError: one sentence naming the first wrong key below ``undercloud``.
    """
    choice = pillar.get("undercloud", {}) if isinstance(pillar, Mapping) else {}
    checked = _PILLAR["undercloud"](choice, f"{ROOT}:undercloud")
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
    tree = _mapping(_PILLAR)({} if pillar is None else pillar, ROOT)
    around = {"environment": process_environment() if environment is None else environment}
    upstream = Endpoint("upstream", **{**around, **UPSTREAM_DEFAULTS, **tree.get("upstream", {})})
    port = UNDERCLOUD_PORT if undercloud else LOCAL_PORT
    usual = {"host": host, "port": port, "tls": False}
    local = Endpoint("local", **{**around, **usual, **tree.get("local", {})})
    defaults = {**IMAGE_DEFAULTS, **tree.get("image_defaults", {})}
    entries = tree.get("images", () if listing else OVERCLOUD_IMAGES)
    images = tuple(
        _image(entry, f"{ROOT}:images:{position}", defaults, upstream)
        for position, entry in enumerate(entries)
    )
    if listing:
        listed = _listed(listing, defaults, upstream)
        images = listed if listing.alone else images + _not_covered(listed, images)
    _refuse_shared_targets(images)
    _refuse_mirroring_oneself(images, local)
    return Settings(
        force=tree.get("force", False),
        sync=tree.get("sync", True),
        local=local,
        upstream=upstream,
        images=images,
        transfer=Transfer(**tree.get("transfer", {})),
        metrics=tree.get("metrics", ""),
        undercloud=read_undercloud(tree),
        namespace=defaults["namespace"],
        prefix=defaults["prefix"],
        tags=_tag_rule(defaults["tags"]),
    )


def _listed(listing: Listing, defaults: Mapping[str, Any], upstream: Endpoint) -> tuple[Image, ...]:
    entries = [
        _mapping(_IMAGE)(entry, f"{listing.key}:{position}") for position, entry in enumerate(listing.entries)
    ]
    return tuple(
        _image(entry, f"{listing.key}:{position}", defaults, upstream)
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
    return Image(
        key=key,
        source=_source(own.get("upstream", {}), upstream),
        repository=repository,
        target=own.get("target", repository),
        tags=_tag_rule(own.get("tags", defaults["tags"])),
        platforms=tuple(own.get("platforms", defaults["platforms"])),
    )


def _full_name(name: str, key: str, defaults: Mapping[str, Any]) -> str:
    if "/" in name:
        full = name
    else:
        full = "/".join(part for part in (defaults["namespace"], defaults["prefix"] + name) if part)
    if not is_repository(full):
        raise SettingsError(_bad_repository(full, key))
    return full


def _source(own: Mapping[str, Any], upstream: Endpoint) -> Endpoint:
    """An image's own upstream: the common one but for what differs; credentials stay at their host."""
    if not own:
        return upstream
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
    return not {_landing(tag) for tag in one.include}.isdisjoint(map(_landing, other.include))


def _landing(tag: str) -> str:
    return tag.split("@")[0]


def _refuse_mirroring_oneself(images: tuple[Image, ...], local: Endpoint) -> None:
    for image in images:
        same = (image.source.host, image.source.port, image.source.path)
        if same == (local.host, local.port, local.path) and image.repository == image.target:
            raise SettingsError(f"{image.key}: {local.name}/{image.target} would mirror itself")


# Checkers: each takes a value and its key and returns the value in its final form.

Checker = Callable[[Any, str], Any]


def _mapping(table: Mapping[str, Checker]) -> Checker:
    def check(value: Any, key: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise SettingsError(f"{key}: {_shown(value)}; give a mapping of {', '.join(table)}")
        for name in value:
            if name not in table:
                raise SettingsError(f"{key}:{name}: unknown key; {_suggestion(str(name), table)}")
        return {name: table[name](entry, f"{key}:{name}") for name, entry in value.items()}

    return check


def _suggestion(name: str, table: Mapping[str, Checker]) -> str:
    near = difflib.get_close_matches(name, table, n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(table)}"


def _list_of(item: Checker, example: str) -> Checker:
    def check(value: Any, key: str) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise SettingsError(f"{key}: {_shown(value)}; give a list, e.g. {example}")
        return [item(entry, f"{key}:{position}") for position, entry in enumerate(value)]

    return check


def _filled(items: Checker, example: str) -> Checker:
    def check(value: Any, key: str) -> Any:
        if not value:
            raise SettingsError(f"{key}: is empty; give a list, e.g. {example}")
        return items(value, key)

    return check


def _one_of(*choices: Any) -> Checker:
    def check(value: Any, key: str) -> Any:
        # 1 == True in Python, but a pillar that says 1 for auto|true|false is a mistake.
        if not any(value is choice or (value == choice and isinstance(value, str)) for choice in choices):
            names = ", ".join(str(choice).lower() for choice in choices)
            raise SettingsError(f"{key}: {_shown(value)}; give one of {names}")
        return value

    return check


def _either(mapping: Checker, other: Checker) -> Checker:
    def check(value: Any, key: str) -> Any:
        return mapping(value, key) if isinstance(value, Mapping) else other(value, key)

    return check


def _boolean(value: Any, key: str) -> bool:
    if not isinstance(value, bool):
        raise SettingsError(f"{key}: {_shown(value)}; give true or false")
    return value


def _string(value: Any, key: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise SettingsError(f"{key}: {_shown(value)}; give a string{_quoted(value)}")
    return value


def _secret(value: Any, key: str) -> str:
    if value is not None and not isinstance(value, str):
        raise SettingsError(f"{key}: is no string; put it in quotes")
    return value or ""


def _username(value: Any, key: str) -> str:
    text = _string(value, key)
    if ":" in text:
        raise SettingsError(f"{key}: has a colon in it; give the name alone, and the password as password")
    return text


_PROXY = re.compile(r"(?:https?://)?(?:[^@/\s]*@)?(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?/?")


def _proxy(value: Any, key: str) -> str:
    text = _secret(value, key)
    if text and not _PROXY.fullmatch(text):
        # It may hold a password and is not shown.
        raise SettingsError(f"{key}: is no URL of a proxy; give e.g. http://proxy.example.com:3128")
    return text


def _free_mapping(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SettingsError(f"{key}: {_shown(value)}; give a mapping")
    return value


def _mapping_of_strings(value: Any, key: str) -> dict[str, str]:
    return {name: _string(entry, f"{key}:{name}") for name, entry in _free_mapping(value, key).items()}


def _number(low: int, high: int) -> Checker:
    def check(value: Any, key: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise SettingsError(f"{key}: {_shown(value)}; give a whole number")
        if not low <= value <= high:
            raise SettingsError(f"{key}: {value} is not between {low} and {high}")
        return value

    return check


_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def _is_ipv6(text: str) -> bool:
    try:
        return bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False


def _host(value: Any, key: str) -> str:
    text = _string(value, key)
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if "://" in text or "/" in text:
        raise SettingsError(f"{key}: {text!r} is a URL; give the host alone, tls and port are own keys")
    if bare.count(":") == 1:
        raise SettingsError(f"{key}: {text!r} has a port in it; give it as port")
    if not _HOST.fullmatch(bare) and not _is_ipv6(bare):
        raise SettingsError(f"{key}: {text!r} is no host name or address")
    return _API_HOSTS.get(bare, bare)


def _verify(value: Any, key: str) -> bool | str:
    if isinstance(value, bool) or (isinstance(value, str) and value.startswith("/")):
        return value
    raise SettingsError(f"{key}: {_shown(value)}; give true, false or the path of a CA bundle")


def _path(value: Any, key: str) -> str:
    text = _string(value, key)
    if text and not text.startswith("/"):
        raise SettingsError(f"{key}: {text!r} is no absolute path")
    return text


def _prefix_path(value: Any, key: str) -> str:
    text = _string(value, key).strip("/")
    if text and not re.fullmatch(r"[A-Za-z0-9._~/-]+", text):
        raise SettingsError(f"{key}: {text!r} is no path of a URL")
    return text


def _bad_repository(name: str, key: str) -> str:
    if ":" in name or "@" in name:
        return f"{key}: {name!r} names a tag or a digest; give the repository alone and put it under tags"
    return (
        f"{key}: {name!r} is no repository name; it has lower-case letters and digits, "
        "separated by one of . _ - / and is at most 255 characters long"
    )


def _name(value: Any, key: str) -> str:
    text = _string(value, key)
    if not text:
        raise SettingsError(f"{key}: an image needs a name")
    return text


def _repository(value: Any, key: str) -> str:
    text = _string(value, key)
    if not is_repository(text):
        raise SettingsError(_bad_repository(text, key))
    return text


def _namespace(value: Any, key: str) -> str:
    return _repository(value, key) if value else ""


def _tag(value: Any, key: str) -> str:
    text = _string(value, key)
    name, _, pin = text.partition("@")
    if is_digest(text) or (is_pattern(text) and is_tag(re.sub(r"[*?\[\]!]", "_", text))):
        return text
    if is_tag(name) and (text == name or is_digest(pin)):
        return text
    raise SettingsError(
        f"{key}: {text!r} is no tag, pattern or sha256 digest; a tag has letters, digits and . _ -, "
        "begins with none of . - and is at most 128 characters long"
    )


def _semver(value: Any, key: str) -> str:
    text = re.sub(r"([<>=!~^])\s+", r"\1", _string(value, key).replace(",", " "))
    for word in text.split():
        if not is_comparison(word):
            raise SettingsError(f"{key}: {word!r} is no comparison; give e.g. '>=3 <4'")
    return text


def _platform(value: Any, key: str) -> str:
    text = _string(value, key)
    if not is_platform(text):
        raise SettingsError(f"{key}: {text!r} is no platform; give e.g. linux/amd64")
    return text


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def _bandwidth(value: Any, key: str) -> int:
    if value in (None, "", 0):
        return 0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]i?)?b?(?:/s)?", str(value).lower())
    if match is None or isinstance(value, bool):
        raise SettingsError(f"{key}: {_shown(value)}; give bytes a second, e.g. 20MB")
    return max(1, int(float(match.group(1)) * _UNITS[match.group(2) or ""]))


_SPANS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def _span(value: Any, key: str) -> int:
    if value in (None, "", 0):
        return 0
    match = re.fullmatch(r"(\d+)\s*([smhd])?", str(value).lower())
    if match is None or isinstance(value, bool):
        raise SettingsError(f"{key}: {_shown(value)}; give seconds or e.g. 2h")
    return int(match.group(1)) * _SPANS[match.group(2) or ""]


_TIMES = ("minutes", "hours", "days", "cron", "when")


def _schedule(value: Any, key: str) -> dict[str, Any]:
    """When a minion checks or syncs by itself; Salt knows the rest of what may stand in its schedule."""
    tree: dict[str, Any] = _mapping(_SCHEDULE)(value, key)
    times = [name for name in _TIMES if name in tree]
    if tree and len(times) != 1:
        given = " and ".join(times) or "none of them"
        raise SettingsError(f"{key}: give one of {', '.join(_TIMES)}; here is {given}")
    return tree


def _cron(value: Any, key: str) -> str:
    text = _string(value, key)
    if len(text.split()) != 5:
        raise SettingsError(f"{key}: {text!r} has not five fields; give e.g. '30 2 * * *'")
    return text


def _time_of_day(value: Any, key: str) -> str:
    # YAML reads 2:30 as 150, a number in base 60.
    if not isinstance(value, str) or not value:
        raise SettingsError(f"{key}: {_shown(value)}; give a time in quotes, e.g. '2:30am'")
    return value


def _times_of_day(value: Any, key: str) -> Any:
    times = _list_of(_time_of_day, "['2:30am', '2:30pm']")
    return times(value, key) if isinstance(value, (list, tuple)) else _time_of_day(value, key)


def _shown(value: Any) -> str:
    """A value and its kind for a sentence; mappings may hold secrets and are not shown."""
    if value is None:
        return "is empty"
    if isinstance(value, bool):
        return f"{str(value).lower()} is a boolean"
    if isinstance(value, (int, float)):
        return f"{value} is a number"
    if isinstance(value, str):
        return f"{value[:80]!r} is a string"
    return "is a list" if isinstance(value, (list, tuple)) else "is a mapping"


def _quoted(value: Any) -> str:
    return f", e.g. '{value}'" if isinstance(value, (int, float)) and not isinstance(value, bool) else ""


def _filled_string(value: Any, key: str) -> str:
    text = _string(value, key)
    if not text:
        raise SettingsError(f"{key}: is empty")
    return text


def _plain_tag(value: Any, key: str) -> str:
    text = _string(value, key)
    if text and not is_tag(text):
        raise SettingsError(f"{key}: {text!r} is no tag; the command line takes one, without patterns")
    return text


def _file_name(value: Any, key: str) -> str:
    text = _string(value, key)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", text):
        raise SettingsError(f"{key}: {text!r} is no file name; directory says where it lies")
    return text


def _variables(value: Any, key: str) -> dict[str, str]:
    entries = _free_mapping(value, key)
    for name in entries:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(name)):
            raise SettingsError(f"{key}: {name!r} is no name of a variable")
    return {name: _string(text, f"{key}:{name}") for name, text in entries.items()}


_TAGS_EXAMPLE = "['13.0']"
_tag_list = _list_of(_tag, _TAGS_EXAMPLE)
_wanted_tags = _filled(_tag_list, _TAGS_EXAMPLE)
_platforms = _list_of(_platform, "[linux/amd64]")
_tags = _either(
    _mapping(
        {
            "include": _wanted_tags,
            "exclude": _tag_list,
            "semver": _semver,
            "newest": _number(0, 10_000),
        }
    ),
    _wanted_tags,
)
_ENDPOINT: dict[str, Checker] = {
    "host": _host,
    "port": _number(1, 65535),
    "tls": _boolean,
    "verify": _verify,
    "username": _username,
    "password": _secret,
    "auth_file": _path,
    "cert": _path,
    "key": _path,
    "path": _prefix_path,
    "proxy": _proxy,
}


def _endpoint(value: Any, key: str) -> dict[str, Any]:
    checked: dict[str, Any] = _mapping(_ENDPOINT)(value, key)
    for name, other in (("password", "username"), ("key", "cert")):
        if checked.get(name) and not checked.get(other):
            raise SettingsError(f"{key}:{name}: there is no {other} to it")
    return checked


_IMAGE: dict[str, Checker] = {
    "name": _name,
    "tags": _tags,
    "platforms": _platforms,
    "upstream": _endpoint,
    "target": _repository,
}
_SECONDS_OF_A_DAY = _number(0, 86_400)
_SCHEDULE: dict[str, Checker] = {
    "function": _one_of("check", "sync"),
    "minutes": _number(1, 100_000),
    "hours": _number(1, 10_000),
    "days": _number(1, 1000),
    "cron": _cron,
    "when": _times_of_day,
    "range": _mapping({"start": _time_of_day, "end": _time_of_day, "invert": _boolean}),
    "splay": _either(_mapping({"start": _SECONDS_OF_A_DAY, "end": _SECONDS_OF_A_DAY}), _SECONDS_OF_A_DAY),
}
_RECOGNISE = _one_of("auto", True, False)
_strings = _list_of(_filled_string, "[openstack-*]")
_paths = _list_of(_path, "[/home/stack/stackrc]")
_UNDERCLOUD: dict[str, Checker] = {
    "recognise": _RECOGNISE,
    "profile": _mapping({"packages": _strings, "services": _strings, "files": _paths, "directories": _paths}),
    "prepare": _boolean,
    "upload_with": _one_of("registry_sync", "openstack"),
    "command": _filled_string,
    "user": _filled_string,
    "stackrc": _path,
    "directory": _path,
    "environment_files": _list_of(_filled_string, "[templates/environment.yaml]"),
    "roles_file": _string,
    "tag": _plain_tag,
    "exclude": _list_of(_filled_string, "[ceph]"),
    "set": _variables,
    "env_file": _file_name,
    "images_file": _file_name,
    "parameter_file": _file_name,
}
_PILLAR: dict[str, Checker] = {
    "force": _boolean,
    "sync": _boolean,
    "upstream": _endpoint,
    "local": _endpoint,
    "image_defaults": _mapping(
        {
            "namespace": _namespace,
            "prefix": _string,
            "tags": _tags,
            "platforms": _platforms,
        }
    ),
    "images": _list_of(_either(_mapping(_IMAGE), _name), "[aodh-api, cron]"),
    "transfer": _mapping(
        {
            "parallel": _number(1, 64),
            "retries": _number(0, 100),
            "bandwidth": _bandwidth,
            "deadline": _span,
        }
    ),
    "registry": _mapping(
        {
            "install": _one_of("auto", "package", "container", "none"),
            "storage": _path,
            "config": _free_mapping,
            "tls": _mapping({"certificate": _string, "key": _string, "ca": _string}),
            "htpasswd": _mapping_of_strings,
            "token": _free_mapping,
            "image": _string,
            "purge": _boolean,
        }
    ),
    "lookup": _mapping_of_strings,
    "engine": _mapping(
        {
            "manage": _one_of("auto", "docker", "podman", "none"),
            "install": _boolean,
        }
    ),
    "firewall": _one_of("auto", "firewalld", "iptables", "none"),
    "undercloud": _either(_mapping(_UNDERCLOUD), _RECOGNISE),
    "metrics": _path,
    "schedule": _schedule,
}


def known_keys() -> Iterator[str]:
    """Every top-level key of the pillar, for documents and tests."""
    return iter(_PILLAR)
