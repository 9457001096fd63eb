"""The configuration of docker-distribution, made from plain values; no I/O, nothing of Salt."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from _registry_config_values import Service

# Without a list the server refuses every manifest with a layer that lies elsewhere, as those of Windows have;
# it never opens the address itself: https://github.com/distribution/distribution/issues/2795
_WEB_ADDRESSES = "^https?://"
LOOPBACKS = ("127.0.0.1", "::1")
PUSH_DIRECTORY = "/run/docker_registry"
# For so long a push that is under way goes on when the service is stopped: podman kills it after ten.
_DRAIN = "5s"
_READ_ONLY = {"readonly": {"enabled": True}, "uploadpurging": {"enabled": False}}
# Keys of `storage` that are no driver: https://distribution.github.io/distribution/about/configuration/#storage
_STORAGE_OPTIONS = ("cache", "delete", "maintenance", "redirect", "tag")
# Parameters of drivers that say which store it is; the others are logins and ways to it.
_STORE_NAMES = ("bucket", "container", "rootdirectory")


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Merge mappings recursively; anything else in ``override`` replaces what ``base`` has.

    A mapping is not replaced by None: that is a key below which a file has nothing, or comments alone.
    """
    merged = dict(base)
    for key, value in override.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(old, value)
        elif value is not None or not isinstance(old, Mapping):
            merged[key] = value
    return merged


def push_socket(port: int) -> str:
    """Where this host alone pushes to its registry, which clients reach on a port: a Unix socket's path."""
    return f"{PUSH_DIRECTORY}/{port}.sock"


def is_push_config(config: Mapping[str, Any]) -> bool:
    """Whether a whole configuration is one of ``push_config``."""
    http = config.get("http")
    return isinstance(http, Mapping) and str(http.get("addr", "")).startswith(f"{PUSH_DIRECTORY}/")


def has_push_instance(service: Service) -> bool:
    """Whether pushes go to a second server over the same storage, and the one of the network is read-only.

    A pull-through cache stores what it is asked for, and images in memory are one server's own.
    """
    if service.push != "local" or service.install == "none" or service.config.get("proxy"):
        return False
    return storage_driver(service.config) != "inmemory"


# The registry's own configuration


@dataclass(frozen=True)
class Site:
    """Settings of the registry service, from the pillar.

    Args:
        config: merged over the defaults; it has the last word.
        storage: directory of the images.
        port: TCP port, on all addresses.
        secret: signs the state of uploads in flight, so that they survive a restart and may go
            through any of several registries.
        certificate: path; with ``key`` the server speaks TLS.
        key: path.
        htpasswd: path of a file of users.
        token: settings of ``auth.token``.
        readonly: pushes go to another server, which ``push_config`` configures.
    """

    config: Mapping[str, Any]
    storage: str
    port: int
    secret: str
    certificate: str = ""
    key: str = ""
    htpasswd: str = ""
    token: Mapping[str, Any] | None = None
    readonly: bool = False


def service_config(site: Site) -> dict[str, Any]:
    """The configuration of the docker-distribution that clients reach."""
    config = merge(_defaults(site), site.config)
    if site.readonly:
        # It would go on serving what the other server has deleted, and purge what that one receives.
        storage = {name: value for name, value in config["storage"].items() if name != "cache"}
        config["storage"] = merge(storage, {"maintenance": _READ_ONLY})
    return config


def push_config(site: Site) -> dict[str, Any]:
    """The configuration of the docker-distribution that this host alone pushes to.

    Its socket lies in a directory that only root and the service's user may enter, so nobody logs in.
    https://distribution.github.io/distribution/about/configuration/#http
    """
    config = merge(_defaults(site), site.config)
    http = {name: config["http"][name] for name in ("secret", "headers")}
    unix = {"net": "unix", "addr": push_socket(site.port), "relativeurls": True}
    config["http"] = {**http, **unix, "draintimeout": _DRAIN}
    config["storage"] = merge(config["storage"], {"maintenance": {"readonly": {"enabled": False}}})
    return {name: value for name, value in config.items() if name != "auth"}


def _defaults(site: Site) -> dict[str, Any]:
    default: dict[str, Any] = {
        "version": 0.1,
        "log": {"fields": {"service": "registry"}},
        "storage": {
            "cache": {"blobdescriptor": "inmemory"},
            "delete": {"enabled": True},
        },
        "http": {
            "addr": f":{site.port}",
            "secret": site.secret,
            "headers": {"X-Content-Type-Options": ["nosniff"]},
        },
        "validation": {"manifests": {"urls": {"allow": [_WEB_ADDRESSES]}}},
        "health": {"storagedriver": {"enabled": True, "interval": "10s", "threshold": 3}},
    }
    # The server accepts one driver only.
    if storage_driver(site.config) == "filesystem":
        default["storage"]["filesystem"] = {"rootdirectory": site.storage}
    if site.certificate:
        default["http"]["tls"] = {"certificate": site.certificate, "key": site.key}
    if site.htpasswd:
        default["auth"] = {"htpasswd": {"realm": "registry", "path": site.htpasswd}}
    if site.token:
        default["auth"] = {"token": dict(site.token)}
    return default


def storage_driver(config: Mapping[str, Any]) -> str:
    """The storage driver that a configuration from the pillar asks for."""
    drivers = [name for name in config.get("storage", {}) if name not in _STORAGE_OPTIONS]
    return drivers[0] if drivers else "filesystem"


def storage_directory(config: Mapping[str, Any], default: str) -> str:
    """Where the images lie; empty where the pillar's configuration asks for another driver."""
    if storage_driver(config) != "filesystem":
        return ""
    filesystem = config.get("storage", {}).get("filesystem") or {}
    return str(filesystem.get("rootdirectory", default))


def storage_location(config: Mapping[str, Any]) -> str:
    """Where a whole configuration has the images: a directory, or a driver and what names its store.

    Args:
        config: of docker-distribution; empty where a file could not be read.

    Returns:
        A path or some words; empty where the configuration names no storage.
    """
    storage = config.get("storage")
    if not isinstance(storage, Mapping):
        return ""
    driver = storage_driver(config)
    parameters = storage.get(driver)
    if not isinstance(parameters, Mapping):
        parameters = {}
    if driver == "filesystem":
        return str(parameters.get("rootdirectory") or "").rstrip("/")
    named = [str(parameters[name]) for name in _STORE_NAMES if parameters.get(name)]
    return " ".join((driver, *named))


def read_config(text: str) -> Mapping[str, Any]:
    """A configuration file; empty where it is none."""
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return config if isinstance(config, Mapping) else {}


def listen_addresses(config: Mapping[str, Any], port: int) -> list[tuple[str, int]]:
    """Where a client on the same host reaches the registry: ``http.addr`` of the pillar, or any address.

    Both loopbacks are given as numbers: not every host can say what ``localhost`` is.
    """
    host, _, own_port = config.get("http", {}).get("addr", f":{port}").rpartition(":")
    host = host.strip("[]")
    hosts = LOOPBACKS if host in ("", "0.0.0.0", "::") else (host,)
    return [(host, int(own_port)) for host in hosts]


def secret_in(config_text: str) -> str:
    """``http.secret`` of a configuration file, empty where there is none or the file is broken."""
    http = read_config(config_text).get("http")
    secret = http.get("secret") if isinstance(http, Mapping) else None
    return secret if isinstance(secret, str) else ""


def config_lines_changed(old_text: str, new: Mapping[str, Any]) -> int:
    """How many lines of a configuration file would change, its layout left aside."""
    try:
        old = yaml.safe_load(old_text)
    except yaml.YAMLError:
        return old_text.count("\n")
    old_lines = yaml.safe_dump(old).splitlines() if old else []
    return _changed(old_lines, yaml.safe_dump(dict(new)).splitlines())


def _changed(old: Sequence[str], new: Sequence[str]) -> int:
    steps = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return sum(max(i2 - i1, j2 - j1) for tag, i1, i2, j1, j2 in steps if tag != "equal")


def is_pem(text: str) -> bool:
    """Whether a text is a certificate or key itself, not the path of one."""
    return "-----BEGIN " in text
