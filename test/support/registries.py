"""Real docker-distribution servers on loopback, as many as a test wants."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
import urllib3
import yaml

LOOPBACK = "127.0.0.1"
# Debian's and Ubuntu's name, then everybody else's.
BINARY_NAMES = ("docker-registry", "registry")
# Under the kernel's ephemeral range, so that no outgoing connection takes a port between our look
# and the server's bind.
PORTS_TO_LISTEN_ON = range(20000, 32000)
SECONDS_TO_START = 20.0
SECONDS_TO_STOP = 10.0

_handed_out: set[int] = set()


class RegistryError(Exception):
    """A registry did not start."""


class _AddressInUseError(RegistryError):
    pass


def registry_binary() -> str | None:
    """Return the path of the docker-distribution server on this machine, or None."""
    return next(filter(None, map(shutil.which, BINARY_NAMES)), None)


def free_port(host: str = LOOPBACK) -> int:
    """Return a port nobody listens on, never the same twice in one process."""
    for _ in range(1000):
        port = random.choice(PORTS_TO_LISTEN_ON)
        if port not in _handed_out and _can_bind(host, port):
            _handed_out.add(port)
            return port
    raise RegistryError(f"no free port on {host}")


def _can_bind(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """Merge mappings recursively; anything else of `override` replaces what `base` has."""
    merged = dict(base)
    for key, value in override.items():
        old = merged.get(key)
        both_are_mappings = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both_are_mappings else value  # type: ignore[arg-type]
    return merged


def host_and_port(host: str, port: int) -> str:
    """Join an address and a port, with brackets around an IPv6 literal."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Distribution:
    """One docker-distribution server, which starts on `with` or `start()`.

    `config` is merged over a default that allows deletes and survives a restart in mid-upload
    (`http.secret`). An `http.tls` in it makes `.url` an https one.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        host: str = LOOPBACK,
        port: int | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.directory = Path(directory)
        self.host = host
        self.port = port or free_port(host)
        self.log = self.directory / "registry.log"
        self.data = self.directory / "data"
        self.process: subprocess.Popen[bytes] | None = None
        self._port_is_ours_to_choose = port is None
        self._extra_config = config or {}

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.address}"

    @property
    def address(self) -> str:
        """`host:port`, as in an image reference."""
        return host_and_port(self.host, self.port)

    @property
    def scheme(self) -> str:
        """`https` when the configuration has a certificate."""
        return "https" if self.config()["http"].get("tls") else "http"

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self.process is not None, "not started"
        return self.process.pid

    def config(self) -> dict[str, Any]:
        """Return the configuration the server is started with."""
        default = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {
                "filesystem": {"rootdirectory": str(self.data)},
                "cache": {"blobdescriptor": "inmemory"},
                "delete": {"enabled": True},
            },
            "http": {"addr": self.address, "secret": "not-a-secret-in-a-test"},
        }
        return merge(default, self._extra_config)

    def start(self) -> Distribution:
        """Start the server and wait until it answers."""
        for attempt in range(5):
            try:
                self._spawn()
                return self
            except _AddressInUseError:
                if attempt == 4 or not self._port_is_ours_to_choose:
                    raise
                self.port = free_port(self.host)
        return self

    def stop(self) -> None:
        """Ask the server to end, and wait until it has."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process = None

    def kill(self) -> None:
        """End the server as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        """Stop and start again with the same address and storage."""
        self.stop()
        self._spawn()

    def reconfigure(self, config: Mapping[str, Any]) -> None:
        """Restart with other extra configuration."""
        self._extra_config = config
        self.restart()

    def access_log(self, since: int = 0) -> Iterator[str]:
        """Yield the lines of the log that stand for a request, from a `log_position` on."""
        with self.log.open(encoding="utf-8", errors="replace") as lines:
            lines.seek(since)
            yield from (line for line in lines if '"' in line and " HTTP/1." in line)

    def log_position(self) -> int:
        """Return where the log ends now."""
        return self.log.stat().st_size if self.log.exists() else 0

    def disk_usage(self) -> int:
        """Return the bytes the storage holds."""
        return sum(path.stat().st_size for path in self.data.rglob("*") if path.is_file())

    def __enter__(self) -> Distribution:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _spawn(self) -> None:
        binary = registry_binary()
        if binary is None:
            raise RegistryError(f"none of {', '.join(BINARY_NAMES)} is installed")
        self.directory.mkdir(parents=True, exist_ok=True)
        config_file = self.directory / "config.yml"
        config_file.write_text(yaml.safe_dump(self.config()), encoding="utf-8")
        log_offset = self.log_position()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [binary, "serve", str(config_file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment_without_registry_settings(),
            )
        self._wait_until_it_answers(log_offset)

    def _wait_until_it_answers(self, log_offset: int) -> None:
        deadline = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < deadline:
            self._raise_if_ended(log_offset)
            if _answers(f"{self.url}/v2/"):
                # Somebody else's server on our port answers as well, while ours is about to fail.
                self._raise_if_ended(log_offset)
                return
            time.sleep(0.01)
        self.kill()
        raise RegistryError(f"{self.url} does not answer after {SECONDS_TO_START:.0f} s")

    def _raise_if_ended(self, log_offset: int) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            return
        self.process = None
        said = self.log.read_bytes()[log_offset:].decode(errors="replace")
        kind = _AddressInUseError if "address already in use" in said else RegistryError
        raise kind(f"the registry for {self.address} ended at once: {said[-2000:]}")


def _environment_without_registry_settings() -> dict[str, str]:
    """REGISTRY_STORAGE_… in the environment would override the configuration file."""
    return {key: value for key, value in os.environ.items() if not key.startswith("REGISTRY_")}


def _answers(url: str) -> bool:
    with requests.Session() as session:
        session.trust_env = False
        session.verify = False
        try:
            with urllib3_quiet():
                session.get(url, timeout=2)
        except requests.RequestException:
            return False
    return True


class urllib3_quiet:  # noqa: N801 - reads as a statement
    """Silence the warning that we, on purpose, do not verify a test's own certificate."""

    def __enter__(self) -> None:
        import warnings

        self._catch = warnings.catch_warnings()
        self._catch.__enter__()
        warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)

    def __exit__(self, *exception: Any) -> None:
        self._catch.__exit__(*exception)
