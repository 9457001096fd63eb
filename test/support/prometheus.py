"""Real Prometheus and node_exporter on loopback: what a file of metrics looks like to a monitor."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
import yaml

from support.registries import LOOPBACK, free_port

# Debian's name, then everybody else's.
EXPORTERS = ("prometheus-node-exporter", "node_exporter")
SECONDS_TO_START = 30.0


def exporter_binary() -> str | None:
    """Return the path of node_exporter on this machine, or None."""
    return next(filter(None, map(shutil.which, EXPORTERS)), None)


class _Server:
    """A program that listens on a port of loopback and ends with the block."""

    ready = "/"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.address = f"{LOOPBACK}:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Any:
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log)
        try:
            wait_until(self._is_ready)
        except TimeoutError:
            self.__exit__(None, None, None)
            log_text = (self.directory / "log").read_text(errors="replace")
            raise RuntimeError(f"{self._command()[0]} did not start: {log_text[-2000:]}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()

    def get(self, path: str, **parameters: Any) -> requests.Response:
        """Ask the server; proxies of the environment are not for loopback."""
        with requests.Session() as session:
            session.trust_env = False
            return session.get(f"http://{self.address}{path}", params=parameters, timeout=10)

    def _is_ready(self) -> bool:
        try:
            return self.get(self.ready).ok
        except requests.ConnectionError:
            return False

    def _command(self) -> list[str]:
        raise NotImplementedError


class Exporter(_Server):
    """A node_exporter that reads the files ``*.prom`` of ``textfiles`` and nothing else."""

    @property
    def textfiles(self) -> Path:
        """The directory of the textfile collector."""
        return self.directory / "textfile"

    def _command(self) -> list[str]:
        self.textfiles.mkdir(exist_ok=True)
        return [
            str(exporter_binary()),
            f"--web.listen-address={self.address}",
            "--collector.disable-defaults",
            "--collector.textfile",
            f"--collector.textfile.directory={self.textfiles}",
        ]


class Prometheus(_Server):
    """A Prometheus that asks exporters five times a second.

    Args:
        directory: of its own.
        targets: ``instance`` → exporter; all are of the job ``node``.
        rules: a file of rules, evaluated once a second.
    """

    ready = "/-/ready"

    def __init__(self, directory: Path, targets: Mapping[str, Exporter], rules: Path) -> None:
        super().__init__(directory)
        scraped = [
            {"targets": [exporter.address], "labels": {"instance": name}}
            for name, exporter in targets.items()
        ]
        configuration = {
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": "node", "static_configs": scraped}],
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration), encoding="utf-8")

    def _command(self) -> list[str]:
        return [
            str(shutil.which("prometheus")),
            f"--config.file={self.directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address={self.address}",
        ]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression is now: samples, each with ``metric`` and ``value``."""
        answer = self.get("/api/v1/query", query=expression).json()
        assert answer["status"] == "success", (expression, answer)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def rules(self) -> dict[str, dict[str, Any]]:
        """Return the alerts by name, with how Prometheus fares with each of them."""
        groups = self.get("/api/v1/rules").json()["data"]["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}


def wait_until(condition: Any, seconds: float = SECONDS_TO_START) -> None:
    """Return as soon as a condition is so.

    Raises:
        TimeoutError: it was not within so many seconds.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.1)
