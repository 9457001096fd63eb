"""The checked settings of a run as frozen values; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from _registry_config_defaults import IMAGE_DEFAULTS, SIGNATURE_DIRECTORY, SIGNATURE_STORES
from _registry_http_endpoint import Endpoint, Transfer
from _registry_oci_tags import TagRule


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
        signed_by: names of keys, one of which must have signed it; empty = it is not verified.
        signed_as: its name in signatures, ``host/repository``; empty = upstream's host and its name there.
    """

    key: str
    source: Endpoint
    repository: str
    target: str
    tags: TagRule
    platforms: tuple[str, ...] = ()
    signed_by: tuple[str, ...] = ()
    signed_as: str = ""

    @property
    def signed_name(self) -> str:
        """``host/repository`` as signatures have it."""
        return self.signed_as or self.upstream_name

    @property
    def upstream_name(self) -> str:
        """``host/repository`` as an engine would ask upstream for it."""
        usual = 443 if self.source.tls else 80
        host = self.source.name.removesuffix(f":{usual}")
        return f"{host}/{self.repository}"


@dataclass(frozen=True)
class SigningKey:
    """An entry of ``signatures:keys``: what is known of one who signs.

    Args:
        key: the pillar key it stands at, for messages.
        gpg: OpenPGP keys, each a path or the text itself.
        cosign: public keys in PEM, likewise.
        issuer: of keyless signatures, the URL of who vouched for the signer; empty = none are taken.
        identity: who the signer is, as its certificate says.
        trusted_root: path of the keys of Fulcio and Rekor.
    """

    key: str
    gpg: tuple[str, ...] = field(default=(), repr=False)
    cosign: tuple[str, ...] = field(default=(), repr=False)
    issuer: str = ""
    identity: str = ""
    trusted_root: str = ""


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
class Service:
    """The registry that this host runs.

    Args:
        install: ``package``, ``container``, ``none``, or ``auto``: what this system has.
        push: who may: ``local``, this host alone, or ``everyone`` who reaches it.
        storage: directory of the images; empty = where the system's package keeps them.
        config: merged over docker-distribution's configuration.
        certificate: path or PEM.
        key: path or PEM.
        ca: path or PEM of the CA that clients need.
        htpasswd: user → password or bcrypt hash.
        token: settings of ``auth.token``.
        image: of the container.
        purge: whether ``clean`` removes the images.
    """

    install: str = "auto"
    push: str = "local"
    storage: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    certificate: str = ""
    key: str = field(default="", repr=False)
    ca: str = ""
    htpasswd: Mapping[str, str] = field(default_factory=dict, repr=False)
    token: Mapping[str, Any] = field(default_factory=dict, repr=False)
    image: str = "docker.io/library/registry:2"
    purge: bool = False


@dataclass(frozen=True)
class Engine:
    """The container engines of this host.

    Args:
        manage: ``docker``, ``podman``, ``none``, or ``auto``: those that are installed.
        install: whether docker is to be installed; ``auto``: on Enterprise Linux 7.
        policy: whether ``policy.json`` is to refuse images of the mirror that ``signed_by`` would refuse.
        stand_in_for_upstream: whether engines ask the mirror for images by upstream's names.
    """

    manage: str = "auto"
    install: str | bool = "auto"
    policy: bool = False
    stand_in_for_upstream: bool = False


@dataclass(frozen=True)
class Signatures:
    """Simple signatures, which lie beside registries.

    Args:
        stores: registry, with the path of repositories where that has a store of its own → address of its
            store; an empty one = it has none.
        directory: where they are kept on this host.
        serve: TCP port of the web server that gives them to engines; 0 = none.
    """

    stores: Mapping[str, str] = field(default_factory=lambda: dict(SIGNATURE_STORES))
    directory: str = SIGNATURE_DIRECTORY
    serve: int = 0


@dataclass(frozen=True)
class Prune:
    """What is forgotten, and what is kept though no entry of the list wants it.

    Args:
        after: seconds that a tag waits from our first sight of it unwanted; None = for ever.
        newest: of each repository the tags of the highest versions.
        since: what sync put there within so many seconds.
        tags: patterns.
        environments: files of deployments, whose images are kept.
        ceiling: of the tags here the percentage above which only a plan's id goes on.
        foreign: whether what sync never put there is forgotten, too.
        untagged: seconds that a digest stays after its tag has left it; None = for ever.
        repositories: whether repositories that hold nothing any more go when space is freed.
    """

    after: int | None = None
    newest: int = 0
    since: int = 0
    tags: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    ceiling: float = 10.0
    foreign: bool = False
    untagged: int | None = None
    repositories: bool = False


@dataclass(frozen=True)
class Collect:
    """How space is freed.

    Args:
        grace: seconds that a blob stays which nothing names yet: a push may be about to.
    """

    grace: int = 86_400


@dataclass(frozen=True)
class Bundle:
    """How images cross a gap that no network does.

    Args:
        path: of the bundle.
        volume: bytes that a volume may have; 0 = it is a directory.
        since: an inventory of the other side, or a former bundle, of which nothing is sent again.
        sign_with: fingerprint of a key of gpg's, by which it is signed; empty = it is not.
        accept: names of keys, one of which must have signed what is imported; empty = it is not asked for.
    """

    path: str = ""
    volume: int = 4 * 10**9
    since: str = ""
    sign_with: str = ""
    accept: tuple[str, ...] = ()


@dataclass(frozen=True)
class Backup:
    """What stays of a tag that a sync overwrites.

    Args:
        keep: how many of its earlier digests are never pruned.
        tags: template of the tags that they get, with ``{tag}`` and ``{n}``; empty = they stay without a tag.
    """

    keep: int = 0
    tags: str = ""


@dataclass(frozen=True)
class Verify:
    """How the registry's bytes are looked at.

    Args:
        every: seconds after which a file is hashed again; 0 = each time.
        bandwidth: bytes a second that are read; 0 = no cap.
        repair: whether the state and the schedule repair what is broken.
    """

    every: int = 30 * 24 * 3600
    bandwidth: int = 0
    repair: bool = False


@dataclass(frozen=True)
class Attachments:
    """What travels of that which upstream has attached to images: signatures, attestations, SBOMs.

    Args:
        travel: whether any does.
        exclude: patterns of artifact types, or of layers' media types, that stay behind.
        largest: bytes of blobs that one may have; 0 = any.
    """

    travel: bool = True
    exclude: tuple[str, ...] = ()
    largest: int = 0


@dataclass(frozen=True)
class Page:
    """The page that tells how the mirror stands.

    Args:
        path: absolute, of the file; empty = none is written.
        max_age: seconds after which it says itself that it is old; 0 = it never does.
    """

    path: str = ""
    max_age: int = 26 * 3600


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
    # Whether the pillar says anything at all; else all of this is defaults.
    given: bool = field(default=True, compare=False)
    # Whether the images are the pillar's own, or an undercloud's; else they are the defaults.
    listed: bool = field(default=True, compare=False)
    service: Service = field(default_factory=Service)
    engine: Engine = field(default_factory=Engine)
    # auto, firewalld, iptables, nftables or none.
    firewall: str = "auto"
    prune: Prune = field(default_factory=Prune)
    signatures: Signatures = field(default_factory=Signatures)
    backup: Backup = field(default_factory=Backup)
    verify: Verify = field(default_factory=Verify)
    collect: Collect = field(default_factory=Collect)
    attachments: Attachments = field(default_factory=Attachments)
    bundle: Bundle = field(default_factory=Bundle)
    # Of signatures:keys, by name.
    keys: Mapping[str, SigningKey] = field(default_factory=dict)
    # Absolute path of a file for Prometheus; empty = none is written.
    metrics: str = ""
    page: Page = field(default_factory=Page)
    # How many ends of runs are remembered; 0 = none.
    history: int = 500
    # Whether the mine gets what is known of the last run, where there is a master.
    mine: bool = True
    # Path of the certificate of the registry's own authority on this host; empty = it has none.
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
