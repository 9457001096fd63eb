"""How to free the space of this host's registry: its own program as its service runs it, and what forbids it.

No I/O: texts of units and configurations go in.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import _registry_host_service as host
from _registry_config_values import Service

# Other hosts may write to these, too.
_SHARED = re.compile(
    r"nfs\d?|cifs|smb\d?|ceph|fuse\.(?!bindfs)\S+|gfs2?|ocfs2|lustre|9p|afs|beegfs|gpfs|virtiofs"
)


@dataclass(frozen=True)
class PushService:
    """The service through which this host pushes.

    Args:
        name: of it.
        command: what collects: words before the options and the configuration.
        config: path of its configuration file.
        user: whom the program runs as; empty = as root.
        group: and its group.
    """

    name: str
    command: tuple[str, ...]
    config: str
    user: str = ""
    group: str = ""


def read_unit(file: str, text: str) -> PushService | None:
    """Read what this formula has written to run the service.

    Args:
        file: path of a unit, a quadlet or an init script.
        text: of it.

    Returns:
        None where the text says nothing of a registry.
    """
    name = file.rpartition("/")[2].partition(".")[0]
    values = _values(text)
    if file.endswith(".container"):
        serve, images = values.get("Exec", [""])[0], values.get("Image", [""])
        return _in_container(name, ["", *shlex.split(serve)], images[0], values.get("Volume", []))
    if file.endswith(".service"):
        words = shlex.split(values.get("ExecStart", [""])[0])
        if words[1:2] == ["run"]:
            volumes = [value for option, value in pairwise(words) if option == "--volume"]
            return _in_container(name, words, words[-3], volumes)
        return _program(name, words, values.get("User", [""])[0], values.get("Group", [""])[0])
    return _script(name, text)


def _values(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            found.setdefault(key, []).append(value.replace("%%", "%"))
    return found


def _in_container(name: str, words: Sequence[str], image: str, volumes: Sequence[str]) -> PushService | None:
    if words[-2:-1] != ["serve"] or not image:
        return None
    run = ["/usr/bin/podman", "run", "--rm", "--name", f"{name}-collect", "--network", "none"]
    run += ["--log-driver", "none"]
    # The directory of its socket is there only while it runs.
    for volume in volumes:
        if not volume.startswith(f"{host.PUSH_DIRECTORY}:"):
            run += ["--volume", volume]
    return PushService(name, (*run, image, "garbage-collect"), words[-1])


def _program(name: str, words: Sequence[str], user: str, group: str) -> PushService | None:
    if words[1:2] != ["serve"] or len(words) != 3:
        return None
    return PushService(name, (words[0], "garbage-collect"), words[2], user, group)


_SCRIPT = re.compile(r'--chuid (\S+):(\S+) --exec "\$program" -- serve (.+?) >>')


def _script(name: str, text: str) -> PushService | None:
    match = _SCRIPT.search(text)
    programs = _values(text).get("program")
    if not match or not programs:
        return None
    program, user, group, config = (
        "".join(shlex.split(word)) for word in (programs[0], match[1], match[2], match[3])
    )
    return PushService(name, (program, "garbage-collect"), config, user, group)


# What forbids it


def against_pillar(service: Service) -> str:
    """Why the space of a registry must not be freed here, as the pillar has it; empty where nothing is."""
    key = "docker_registry:registry"
    if service.install == "none":
        return f"{key}:install is none: free the space where, and with what, the registry is run"
    if service.push != "local":
        return (
            f"{key}:push is {service.push}: what others push while space is freed would be broken; with "
            "push: local there are two services, of which the one that pushes waits"
        )
    if service.config.get("proxy"):
        return f"{key}:config has proxy: a pull-through cache cleans up by itself"
    driver = host.storage_driver(service.config)
    if driver != "filesystem":
        return f"{key}:config has the storage {driver}, which is not files of this host"
    return ""


def against_configs(public: Mapping[str, Any], pushes: Mapping[str, Any]) -> str:
    """Why the services as they are configured do not let space be freed.

    Args:
        public: configuration of what clients reach; empty where it cannot be read.
        pushes: of the service through which this host pushes.
    """
    location = host.storage_location(pushes)
    if not location.startswith("/") or location != host.storage_location(public):
        return "both services must have their images in one directory; apply docker_registry first"
    storage = public["storage"]
    readonly = (storage.get("maintenance") or {}).get("readonly") or {}
    if readonly.get("enabled") is not True or storage.get("cache"):
        return "what clients reach is not read-only or has a cache; apply docker_registry first"
    cache = pushes["storage"].get("cache") or {}
    if cache.get("blobdescriptor", "inmemory") != "inmemory":
        return f"the cache {cache['blobdescriptor']} would go on naming what is gone"
    return ""


def shared_file_system(mounts: str, directory: str) -> str:
    """The kind of a file system that other hosts may write to as well; empty where it is this host's alone.

    Args:
        mounts: text of ``/proc/self/mountinfo``.
        directory: absolute, without links.
    """
    kind, longest = "", -1
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = _unescaped(before.split(" ")[4]).rstrip("/")
        if len(point) >= longest and (directory == point or directory.startswith(f"{point}/")):
            kind, longest = after.split(" ")[0], len(point)
    return kind if _SHARED.fullmatch(kind) else ""


def _unescaped(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)
