"""Registries that are no docker-distribution, each for as long as a `with` lasts."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests
import yaml

from support.registries import LOOPBACK, RegistryError, free_port, host_and_port

SECONDS_TO_START = 30.0
SECONDS_TO_STOP = 10.0


@dataclass(frozen=True)
class Login:
    """A user that may write."""

    username: str
    password: str


@dataclass(frozen=True)
class Server:
    """A registry on loopback."""

    port: int
    host: str = LOOPBACK
    login: Login | None = None

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"http://{host_and_port(self.host, self.port)}"


def crane() -> str | None:
    """Return the path of crane, whose registry deletes a digest and leaves its tags; None without it."""
    return shutil.which("crane")


def zuul_registry(checkout: Path) -> str | None:
    """Return the path of zuul-registry, which lets nothing be deleted; None without it."""
    own = checkout / ".venv" / "zuul-registry" / "bin"
    return shutil.which("zuul-registry", path=str(own)) or shutil.which("zuul-registry")


@contextlib.contextmanager
def crane_serves(program: str, directory: Path) -> Iterator[Server]:
    """Run crane's registry."""
    server = Server(free_port())
    (directory / "disk").mkdir()
    words = [program, "registry", "serve", "--address", f"{server.host}:{server.port}"]
    with _running([*words, "--disk", str(directory / "disk")], directory, server):
        yield server


@contextlib.contextmanager
def zuul_serves(program: str, directory: Path) -> Iterator[Server]:
    """Run zuul-registry, where one user may write."""
    server = Server(free_port(), login=Login("mirror", "secret"))
    assert server.login is not None
    config = {
        "address": server.host,
        "port": server.port,
        "public-url": server.url,
        "secret": "x" * 40,
        "users": [{"name": server.login.username, "pass": server.login.password, "access": "write"}],
        "storage": {"driver": "filesystem", "root": str(directory / "data")},
    }
    file = directory / "registry.yaml"
    file.write_text(yaml.safe_dump({"registry": config}), encoding="utf-8")
    with _running([program, "-c", str(file), "serve"], directory, server):
        yield server


@contextlib.contextmanager
def _running(words: Sequence[str], directory: Path, server: Server) -> Iterator[None]:
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait_for(server, process)
        yield
    finally:
        process.terminate()
        process.wait(SECONDS_TO_STOP)


def _wait_for(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(requests.ConnectionError):
            requests.get(f"{server.url}/v2/", timeout=2)
            return
        time.sleep(0.05)
    raise RegistryError(f"{process.args!r} did not start")
