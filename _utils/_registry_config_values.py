"""The checked settings of a run as frozen values; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from _registry_config_defaults import IMAGE_DEFAULTS
from _registry_http_environment import Environment
from _registry_oci_manifest import TagRule


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
    # Path of the certificate by which this host knows the registry's own authority; empty = it has none.
    authority: str = ""
    undercloud: Undercloud = field(default_factory=Undercloud)
    # Of image_defaults, for the undercloud's command line.
    namespace: str = ""
    prefix: str = ""
    tags: TagRule = field(default_factory=lambda: TagRule(tuple(IMAGE_DEFAULTS["tags"])))

    @property
    def upstreams(self) -> tuple[Endpoint, ...]:
        """Every upstream that an image of the list comes from, each once."""
        return tuple(dict.fromkeys(image.source for image in self.images))
