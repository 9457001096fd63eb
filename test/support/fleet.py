"""A real master with many real minions on loopback, each of them a site with a registry of its own."""

from __future__ import annotations

import getpass
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from support.salt_master import SECONDS_FOR_A_COMMAND, SOCKETS, Master


class Run:
    """What `salt-run` said and how it ended."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.stdout, self.stderr = done.returncode, done.stdout, done.stderr

    @property
    def value(self) -> Any:
        """What the runner returned."""
        try:
            return json.loads(self.stdout)
        except ValueError:
            raise AssertionError(f"no JSON: {self.stdout} {self.stderr}") from None


class Fleet(Master):
    """The master, and a minion per site from `start` on; the first one is the master's own.

    Minions have the formula without a sync, but for `strangers`. What needs no shell runs in this process: an
    import of Salt costs more than all that is asked of it here.
    """

    def __init__(
        self,
        directory: Path,
        checkout: Path,
        sites: Iterable[str],
        *,
        strangers: Iterable[str] = (),
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.sites = list(sites)
        self._strangers = set(strangers)
        super().__init__(directory, checkout, minion_id=self.sites[0], config=config)
        self._minions: dict[str, subprocess.Popen[bytes]] = {}
        for site in self.sites:
            self._configure_minion(site)

    def configure_fleet(self, tree: Any) -> None:
        """Say what stands under `registry_fleet` in the master's configuration; a runner reads it anew."""
        directory = self.root / "master" / "master.d"
        directory.mkdir(exist_ok=True)
        text = yaml.safe_dump({"registry_fleet": tree})
        (directory / "registry_fleet.conf").write_text(text, encoding="utf-8")

    def set_pillars(self, pillars: Mapping[str, Mapping[str, Any]]) -> None:
        """Give each site its own pillar; its minion need not run yet."""
        directory = self.root / "pillar"
        top = {site: [f"of_{number}"] for number, site in enumerate(pillars)}
        for number, pillar in enumerate(pillars.values()):
            text = "#!json\n" + json.dumps({"docker_registry": pillar})
            (directory / f"of_{number}.sls").write_text(text, encoding="utf-8")
        (directory / "top.sls").write_text("#!json\n" + json.dumps({"base": top}), encoding="utf-8")

    def start(self, *sites: str) -> None:
        """Start minions, and wait until each answers; the first site's runs from the beginning."""
        for site in sites:
            if site != self.minion_id:
                self._minions[site] = self._spawn(site)
        self._wait(lambda: set(sites) <= self._answering(), f"not all of {', '.join(sites)} answer")

    def stop(self, site: str) -> None:
        """End a minion as a power cut would."""
        process = self._minions.pop(site)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def on(self, target: str, function: str, *arguments: Any, timeout: int = 60, **named: Any) -> Any:
        """What minions return of a function: id → value."""
        import salt.client

        with salt.client.LocalClient(self._config_file()) as client:
            return client.cmd(target, function, arguments, timeout=timeout, kwarg=named)

    def run(self, function: str, **named: Any) -> Any:
        """What a runner returns; it runs in this process, with the configuration as it is now."""
        import salt.runner

        runner = salt.runner.RunnerClient(self.options())
        return runner.cmd(function, [], kwarg=named, print_event=False)

    def options(self) -> dict[str, Any]:
        """The master's configuration as it is now."""
        import salt.config

        options: dict[str, Any] = salt.config.master_config(self._config_file())
        return options

    def typed_run(self, *arguments: str) -> Run:
        """Run `salt-run …` as an operator would."""
        return Run(
            subprocess.run(
                self._command("salt-run", *arguments),
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=SECONDS_FOR_A_COMMAND,
                check=False,
            )
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `salt-run …`, and do not wait for it."""
        return subprocess.Popen(
            self._command("salt-run", "--out=json", *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def fleet_events(self, since: int) -> list[tuple[str, dict[str, Any]]]:
        """Kind and data of the fleet's events after the first `since` of the bus."""
        ours = [(tag, data) for tag, data in self.events()[since:] if "salt/registry_fleet/" in tag]
        return [(tag.rpartition("/")[2], data) for tag, data in ours]

    def __exit__(self, *of_an_error: object) -> None:
        for site in list(self._minions):
            self.stop(site)
        super().__exit__(*of_an_error)

    def _answering(self) -> set[str]:
        from salt.exceptions import SaltException

        try:
            return set(self.on("*", "test.ping", timeout=10))
        except SaltException:
            # It has many to let in.
            return set()

    def _config_file(self) -> str:
        return str(self.root / "master" / "master")

    def _configure_minion(self, site: str) -> None:
        root = self.root / ("minion" if site == self.minion_id else site)
        root.mkdir(exist_ok=True)
        own = {
            "root_dir": str(root),
            "sock_dir": SOCKETS,
            "user": getpass.getuser(),
            "id": site,
        }
        if site not in self._strangers:
            own["extension_modules"] = str(self._formula_below(root))
        (root / "minion").write_text(yaml.safe_dump(self._minion_settings() | own), encoding="utf-8")

    def _formula_below(self, root: Path) -> Path:
        # Salt puts root_dir before each path that does not lie below it.
        directory = root / "extmods"
        directory.mkdir()
        for kind in ("modules", "states", "utils", "output"):
            (directory / kind).symlink_to(self.root / "states" / f"_{kind}")
        return directory

    def _spawn(self, site: str) -> subprocess.Popen[bytes]:
        [program, *_] = self._command("salt-minion")
        with (self.root / f"{site}.log").open("wb") as written:
            return subprocess.Popen(
                [program, f"--config-dir={self.root / site}"],
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def wait_for(condition: Any, otherwise: str, seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)
