"""What an OpenStack undercloud is, asks for and says; no I/O, nothing of Salt.

Three kinds of files and one command line pass through here. The list of images
(``container_images: - imagename, push_destination``) is what ``openstack overcloud container image
prepare`` writes and ``upload`` reads:
https://docs.openstack.org/tripleo-docs/queens/install/containers_deployment/overcloud.html
The environment (``parameter_defaults: DockerXImage``) is what ``openstack overcloud deploy`` reads. From
Rocky on both come from a third, ``ContainerImagePrepare``:
https://docs.openstack.org/project-deploy-guide/tripleo-docs/latest/deployment/container_image_prepare.html
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from _registry_config_values import Listing, Settings, Undercloud
from _registry_http_endpoint import Endpoint
from _registry_oci_names import is_digest, is_repository, is_tag

KINDS = ("directories", "files", "packages", "services")
_KIND_NAMES = {
    "directories": "directory",
    "files": "file",
    "packages": "package",
    "services": "service",
}
DOCKER_HUB = "docker.io"
# Docker Hub's registry is not at the name that its images have.
_DOCKER_HUB_HOST = "registry-1.docker.io"
_IMAGE_PARAMETER = re.compile(r"(Docker|Container)\w*Image")

# The user's stackrc is sourced by a shell whose text never changes: what varies comes as its arguments.
SOURCED = '[ -r "$0" ] || { echo "$0 cannot be read" >&2; exit 1; }; set -a; . "$0"; exec "$@"'
PREPARE = ("overcloud", "container", "image", "prepare")
PREPARE_NEWER = ("tripleo", "container", "image", "prepare")
UPLOAD = ("overcloud", "container", "image", "upload")
# Options that a command line's help must name for us to use it; the return code of help does not tell.
PREPARE_OPTION = "--output-images-file"
PREPARE_NEWER_OPTION = "--dry-run"
STDERR_SHOWN = 3
# What Python and its libraries say about themselves, each with the line of code that is to blame.
_NOISE = re.compile(r"Warning: |^\s|^Could not load ")
# PyYAML lets through what Python says of a date, number or truth value that is none, and of too many levels.
_NO_YAML = (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, RecursionError, ValueError)


class ListError(ValueError):
    """A file that is not what it should be; the text is one sentence that begins with its path."""


# Recognition


def profile_of(undercloud: Undercloud) -> list[tuple[str, str]]:
    """What must be found, as pairs of kind and name, in the order of what it costs to look."""
    return [(kind, name) for kind in KINDS for name in getattr(undercloud, kind)]


def is_among(pattern: str, names: Iterable[str]) -> bool:
    """Whether one of the names is, or matches, a pattern of the profile."""
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


def recognised(undercloud: Undercloud, missing: Sequence[tuple[str, str]]) -> bool:
    """Whether a host where these things of the profile are missing is an undercloud."""
    if isinstance(undercloud.recognise, bool):
        return undercloud.recognise
    # A profile that asks for nothing would find underclouds everywhere.
    return bool(profile_of(undercloud)) and not missing


def recognition(
    undercloud: Undercloud, found: Sequence[tuple[str, str]], missing: Sequence[tuple[str, str]]
) -> str:
    """One sentence on what a host was taken for, and why."""
    is_one = recognised(undercloud, missing)
    what = "This is an undercloud" if is_one else "This is no undercloud"
    if isinstance(undercloud.recognise, bool):
        return f"{what}: docker_registry:undercloud is {str(undercloud.recognise).lower()}"
    told = [
        f"{verb} {_things(things)}" for verb, things in (("missing", missing), ("found", found)) if things
    ]
    return f"{what}: {'; '.join(told) or 'its profile is empty'}"


def _things(things: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{_KIND_NAMES[kind]} {name}" for kind, name in things)


# Names of images


@dataclass(frozen=True)
class Name:
    """The whole name of an image, taken apart.

    Args:
        registry: ``host`` or ``host:port`` as it stands in the name; ``docker.io`` where none does.
        repository: without the registry.
        reference: tag or digest; ``latest`` where there is none.
    """

    registry: str
    repository: str
    reference: str


def parse_name(text: str) -> Name | None:
    """Take an image's name apart as docker does; None where it is none."""
    first, slash, rest = text.partition("/")
    is_registry = bool(slash) and (any(mark in first for mark in ".:[") or first == "localhost")
    registry, path = (first, rest) if is_registry else (DOCKER_HUB, text)
    repository, pinned, digest = path.partition("@")
    # A tag beside a digest says nothing more.
    repository, _, tag = repository.partition(":")
    reference = digest if pinned else tag or "latest"
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    if not is_repository(repository) or not (is_tag(reference) or is_digest(reference)):
        return None
    return Name(registry, repository, reference)


def host_and_port(registry: str, usual_port: int = 443) -> tuple[str, int] | None:
    """Take ``host:port`` apart, an IPv6 address out of its brackets; None where it is no such thing."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?", registry)
    if match is None:
        return None
    return match[1].strip("[]"), int(match[2] or usual_port)


# The list of images


def listing_of(text: str, file: str, settings: Settings, *, alone: bool) -> Listing:
    """What a file of ``container_images`` lists, as entries of our own list.

    An image whose registry is the pillar's upstream, or that of one of its images, is reached as the
    pillar says; any other by HTTPS, and verified. All land in the pillar's local registry, below the
    path that ``push_destination`` may have.

    Args:
        text: the file's content.
        file: its path, for messages.
        settings: the pillar.
        alone: the file is the whole list.

    Raises:
        ListError: it is no such file.
    """
    entries = _mapping_in(text, file).get("container_images")
    if not isinstance(entries, list):
        raise ListError(f"{file}: has no list container_images; is it what image prepare wrote?")
    key = f"{file}:container_images"
    listed = [_entry(entry, f"{key}:{at}", settings) for at, entry in enumerate(entries)]
    once = {(entry["target"], *entry["tags"], *entry["upstream"].values()): entry for entry in listed}
    return Listing(key, tuple(once.values()), alone)


def _entry(entry: Any, key: str, settings: Settings) -> dict[str, Any]:
    text = entry.get("imagename") if isinstance(entry, Mapping) else None
    if not isinstance(text, str) or not text:
        raise ListError(f"{key}: has no imagename")
    source = entry.get("pull_source")
    name = parse_name(f"{source}/{text}" if source else text)
    address = host_and_port(name.registry) if name else None
    if name is None or address is None:
        raise ListError(f"{key}:imagename: {text!r} is no name of an image")
    _, _, below = str(entry.get("push_destination") or "").strip("/").partition("/")
    return {
        "name": name.repository,
        "target": f"{below}/{name.repository}" if below else name.repository,
        "tags": [name.reference],
        "upstream": _upstream(name.registry, address, settings),
    }


def _upstream(registry: str, address: tuple[str, int], settings: Settings) -> dict[str, Any]:
    known = {(each.host, each.port): each for each in (*settings.upstreams, settings.upstream)}
    endpoint = known.get(address)
    if endpoint == settings.upstream:
        return {}
    if endpoint is not None:
        return {key: value for key, value in vars(endpoint).items() if key in _ENDPOINT_KEYS}
    host = _DOCKER_HUB_HOST if registry == DOCKER_HUB else address[0]
    return {"host": host, "port": address[1], "tls": True, "verify": True, "path": "", "proxy": ""}


_ENDPOINT_KEYS = (
    "host",
    "port",
    "tls",
    "verify",
    "username",
    "password",
    "auth_file",
    "cert",
    "key",
    "path",
    "proxy",
)


def list_text(names: Sequence[str], push_destination: str) -> str:
    """The list of images, as ``image prepare`` of Queens writes it."""
    entries = [{"imagename": name, "push_destination": push_destination} for name in names]
    return yaml.safe_dump({"container_images": entries}, default_flow_style=False)


# The environment


@dataclass(frozen=True)
class Wanted:
    """An image that a deployment will pull.

    Args:
        parameter: the first of the environment that names it.
        text: its name as it stands there.
        name: the same, taken apart.
    """

    parameter: str
    text: str
    name: Name


def wanted_images(text: str, file: str) -> list[Wanted]:
    """The images that an environment names, each once.

    Raises:
        ListError: it is no environment, or names no image.
    """
    parameters = _mapping_in(text, file).get("parameter_defaults")
    if not isinstance(parameters, Mapping):
        raise ListError(f"{file}: has no parameter_defaults; is it what image prepare wrote?")
    wanted: dict[str, Wanted] = {}
    for parameter, value in sorted(parameters.items(), key=lambda pair: str(pair[0])):
        if not _IMAGE_PARAMETER.fullmatch(str(parameter)):
            continue
        name = parse_name(value) if isinstance(value, str) else None
        if name is None:
            raise ListError(f"{file}:parameter_defaults:{parameter}: {value!r} is no name of an image")
        wanted.setdefault(str(value), Wanted(parameter, value, name))
    if not wanted:
        raise ListError(f"{file}: names no image; its parameters would be DockerXImage or ContainerXImage")
    return list(wanted.values())


def named_elsewhere(image: Wanted, local: Endpoint) -> str:
    """Why an image of an environment is not looked for in the local registry; empty if it is."""
    if host_and_port(image.name.registry) == (local.host, local.port):
        return ""
    return f"{image.parameter} pulls it from {image.name.registry}, not from {local.name}"


def changes(old: str, new: str) -> dict[str, list[str]]:
    """What a file of either kind names that it did not, and the other way round.

    What stands in comments, such as the time, is no change.
    """
    before, after = _told(old), _told(new)
    difference = {
        "added": [line for line in after if line not in before],
        "removed": [line for line in before if line not in after],
    }
    return difference if any(difference.values()) else {}


def _told(text: str) -> list[str]:
    try:
        tree = yaml.safe_load(text)
    except _NO_YAML:
        return []
    if not isinstance(tree, Mapping):
        return []
    parameters = tree.get("parameter_defaults")
    if isinstance(parameters, Mapping):
        return [f"{name}: {value}" for name, value in parameters.items()]
    entries = tree.get("container_images")
    images = [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
    return [f"{entry.get('imagename')} → {entry.get('push_destination')}" for entry in images]


def _mapping_in(text: str, file: str) -> Mapping[str, Any]:
    try:
        tree = yaml.safe_load(text)
    except _NO_YAML as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise ListError(f"{file}: is no YAML{where}") from error
    if not isinstance(tree, Mapping):
        raise ListError(f"{file}: is no mapping; is it what image prepare wrote?")
    return tree


# The command line


def sourced(undercloud: Undercloud, words: Sequence[str]) -> list[str]:
    """A command of the undercloud's user, with stackrc sourced."""
    return ["/bin/bash", "-c", SOURCED, undercloud.stackrc, undercloud.command, *words]


def tag_of(settings: Settings) -> str:
    """The one tag that the command line is asked for; empty where the pillar has only patterns."""
    return settings.undercloud.tag or next(filter(is_tag, settings.tags.literals), "")


def namespace_of(settings: Settings) -> str:
    """Upstream's address and the namespace, as one."""
    return "/".join(filter(None, (settings.upstream.name, settings.namespace)))


def prepare_words(settings: Settings) -> list[str]:
    """Words of ``openstack overcloud container image prepare``.

    Each value is joined to its option, so that none is taken for an option itself. The two files are
    written to the working directory.
    """
    undercloud = settings.undercloud
    return [
        *PREPARE,
        f"--namespace={namespace_of(settings)}",
        f"--push-destination={settings.local.name}",
        f"--prefix={settings.prefix}",
        f"--tag={tag_of(settings)}",
        *(f"--set={name}={value}" for name, value in sorted(undercloud.set.items())),
        *(f"--exclude={pattern}" for pattern in undercloud.exclude),
        *_overcloud_words(undercloud),
        f"--output-env-file={undercloud.env_file}",
        f"--output-images-file={undercloud.images_file}",
    ]


def prepare_newer_words(undercloud: Undercloud, parameter_file: str, env_file: str) -> list[str]:
    """Words of ``openstack tripleo container image prepare`` that neither pull nor push."""
    return [
        *PREPARE_NEWER,
        f"--environment-file={parameter_file}",
        *_overcloud_words(undercloud),
        f"--output-env-file={env_file}",
        PREPARE_NEWER_OPTION,
    ]


def _overcloud_words(undercloud: Undercloud) -> list[str]:
    words = [f"--environment-file={undercloud.path(name)}" for name in undercloud.environment_files]
    return words + [f"--roles-file={undercloud.path(undercloud.roles_file)}"] * bool(undercloud.roles_file)


def parameter_text(settings: Settings, push_destination: str) -> str:
    """``ContainerImagePrepare`` of newer directors; without a destination it names upstream's images."""
    undercloud = settings.undercloud
    entry: dict[str, Any] = {
        "set": {
            "namespace": namespace_of(settings),
            "name_prefix": settings.prefix,
            "name_suffix": "",
            "tag": tag_of(settings),
            **undercloud.set,
        }
    }
    if push_destination:
        entry["push_destination"] = push_destination
    if undercloud.exclude:
        entry["excludes"] = list(undercloud.exclude)
    return yaml.safe_dump(
        {"parameter_defaults": {"ContainerImagePrepare": [entry]}}, default_flow_style=False
    )


def upload_words(undercloud: Undercloud) -> list[str]:
    """Words of ``openstack overcloud container image upload``."""
    return [*UPLOAD, f"--config-file={undercloud.path(undercloud.images_file)}"]


def complaint(stderr: str) -> str:
    """The last lines that a command wrote to stderr, without Python's warnings about itself."""
    lines = [line for line in stderr.splitlines() if line.strip() and not _NOISE.search(line)]
    return " / ".join(line.strip() for line in lines[-STDERR_SHOWN:]) or "it said nothing"
