"""The docker that runs here: its process, what it says on its socket, what its reload gets wrong."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

SOCKET = "/run/docker.sock"
PID_FILE = "/run/docker.pid"
_SECONDS_TO_ANSWER = 10


def running_process(pid_file: str = PID_FILE) -> tuple[int, list[str]]:
    """The process of dockerd.

    Args:
        pid_file: path of the file in which it has noted itself.

    Returns:
        Its number and the words of its command line; 0 and none where that is no dockerd, or has ended.
    """
    try:
        pid = int(Path(pid_file).read_text(encoding="ascii"))
        words = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
    except (OSError, ValueError):
        return 0, []
    return (pid, words[:-1]) if "dockerd" in Path(words[0]).name else (0, [])


def ask_info(path: str = SOCKET) -> Mapping[str, Any]:
    """What ``docker info`` shows.

    Args:
        path: of the Unix socket. Where systemd listens on it, asking starts docker.

    Returns:
        The answer; empty where nobody gives one.
    """
    connection = _Connection(path)
    try:
        connection.request("GET", "/info")
        answer = connection.getresponse()
        info = json.load(answer) if answer.status == 200 else {}
    except (OSError, HTTPException, ValueError):
        return {}
    finally:
        connection.close()
    return info if isinstance(info, Mapping) else {}


def trusted_registries(info: Mapping[str, Any]) -> set[str]:
    """The registries that docker takes for insecure by name; networks of them are elsewhere in its answer."""
    registries = (info.get("RegistryConfig") or {}).get("IndexConfigs") or {}
    return {name for name, registry in registries.items() if not registry.get("Secure", True)}


def loses_registries(version: str) -> bool:
    """Whether this docker forgets all insecure registries when it reloads a file that names mirrors, too.

    Mirrors came to be reloaded in 17.05: https://github.com/moby/moby/pull/45552
    """
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    return (17, 5) <= numbers < (23, 0, 7) or (24,) <= numbers < (24, 0, 2)


class _Connection(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("docker", timeout=_SECONDS_TO_ANSWER)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_SECONDS_TO_ANSWER)
        self.sock.connect(self._path)
