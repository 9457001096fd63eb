"""The registry as the formula runs it: a read-only server for clients, and one that its host pushes to."""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from _registry_config_values import Settings
from _registry_host_service import Site, push_config, service_config
from support.registries import SECONDS_TO_START, Distribution, RegistryError


class _PushInstance(Distribution):
    """A server on a Unix socket, configured as a whole."""

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        super().__init__(directory)
        self._whole = config

    def config(self) -> dict[str, Any]:
        return dict(self._whole)

    def _wait_until_it_answers(self, log_offset: int) -> None:
        deadline = time.monotonic() + SECONDS_TO_START
        while not Path(self._whole["http"]["addr"]).is_socket():
            self._raise_if_ended(log_offset)
            if time.monotonic() > deadline:
                raise RegistryError(f"there is no {self._whole['http']['addr']}")
            time.sleep(0.01)


class FormulaRegistry(Distribution):
    """Both servers over one storage; this is the one that clients reach."""

    def __init__(self, directory: Path, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(directory)
        # The path of a socket has 108 bytes at most: https://man7.org/linux/man-pages/man7/unix.7.html
        self._sockets = Path(tempfile.mkdtemp())
        self.socket = self._sockets / "push.sock"
        self._site = Site(
            config={"log": {"level": "error"}, **(config or {})},
            storage=str(self.data),
            port=self.port,
            secret="not-a-secret-in-a-test",
            readonly=True,
        )
        own = push_config(self._site)
        own["http"]["addr"] = str(self.socket)
        self.push = _PushInstance(directory / "push", own)

    def config(self) -> dict[str, Any]:
        """Return what the formula configures for clients."""
        config = service_config(self._site)
        config["http"]["addr"] = self.address
        return config

    def access_log(self, since: int = 0) -> Iterator[str]:
        """Yield the lines of both logs; that of pushes from its start, since a position is of one log."""
        return itertools.chain(super().access_log(since), self.push.access_log())

    def written_through_the_socket(self, settings: Settings) -> Settings:
        """Return settings as the modules make them on the registry's own host."""
        return replace(settings, local=replace(settings.local, push_socket=str(self.socket)))

    def start(self) -> FormulaRegistry:
        """Start both servers."""
        self.push.start()
        super().start()
        return self

    def stop(self) -> None:
        """End both."""
        super().stop()
        self.push.stop()
        shutil.rmtree(self._sockets, ignore_errors=True)
