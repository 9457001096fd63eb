"""The configuration of docker-distribution, made from plain values; no I/O, nothing of Salt."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

# Without a list the server refuses every manifest with a layer that lies elsewhere, as those of Windows have;
# it never opens the address itself: https://github.com/distribution/distribution/issues/2795
_WEB_ADDRESSES = "^https?://"
LOOPBACKS = ("127.0.0.1", "::1")
# Keys of `storage` that are no driver: https://distribution.github.io/distribution/about/configuration/#storage
_STORAGE_OPTIONS = ("cache", "delete", "maintenance", "redirect", "tag")


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Merge mappings recursively; anything else in ``override`` replaces what ``base`` has."""
    merged = dict(base)
    for key, value in override.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def plain(value: Any) -> Any:
    """The same in dicts and lists of Python's own, where Salt has kinds that hide what they hold."""
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list) else value


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
    """

    config: Mapping[str, Any]
    storage: str
    port: int
    secret: str
    certificate: str = ""
    key: str = ""
    htpasswd: str = ""
    token: Mapping[str, Any] | None = None


def service_config(site: Site) -> dict[str, Any]:
    """The configuration of docker-distribution."""
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
    return merge(default, site.config)


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
    try:
        config = yaml.safe_load(config_text)
    except yaml.YAMLError:
        return ""
    http = config.get("http") if isinstance(config, Mapping) else None
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


def diff_lines_changed(diff: str) -> int:
    """How many lines a unified diff changes; a line that is replaced counts once."""
    lines = diff.splitlines()
    old = [line[1:] for line in lines if line[:1] in "- " and line[:4] != "--- "]
    new = [line[1:] for line in lines if line[:1] in "+ " and line[:4] != "+++ "]
    return _changed(old, new)


def _changed(old: Sequence[str], new: Sequence[str]) -> int:
    steps = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return sum(max(i2 - i1, j2 - j1) for tag, i1, i2, j1, j2 in steps if tag != "equal")


def planned_change(tag: str, ret: Mapping[str, Any], lines: Mapping[str, int]) -> str:
    """What a state would do, as a phrase.

    Args:
        tag: its key in the return of a state run.
        ret: its return in test mode, with changes.
        lines: how many lines change in files whose difference is not shown.
    """
    module, name = tag.split("_|-")[0], str(ret["name"])
    if ret["result"] is False:
        return f"fail: {ret['comment']}"
    if module == "pkg":
        return f"install {name}"
    if module == "file":
        count = lines.get(name) or diff_lines_changed(str(ret["changes"].get("diff", "")))
        return f"change {name}" + (f" ({count} line{'s' if count > 1 else ''})" if count else "")
    plan, _, _ = str(ret["comment"]).partition(". Warning: ")
    return plan.removeprefix("Would ") if plan.startswith("Would ") else f"change {', '.join(ret['changes'])}"


def is_pem(text: str) -> bool:
    """Whether a text is a certificate or key itself, not the path of one."""
    return "-----BEGIN " in text
