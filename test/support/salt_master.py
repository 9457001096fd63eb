"""A master with the formula and its one minion, each a daemon on loopback; what its event bus carries."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from support.registries import LOOPBACK, free_port
from support.registries import _can_bind as can_bind
from support.salt_minion import FORMULA_PARTS, salt_call

ROOTS = {"file": "states", "pillar": "pillar"}
SECONDS_TO_MEET = 180.0
# Below root_dir. The kernel takes paths of 107 bytes, and Salt's own are long.
SOCKETS = "/s"
SECONDS_FOR_A_COMMAND = 180.0


class SaltError(Exception):
    """A daemon or a command of Salt did not do what every test takes for granted."""


class Master:
    """A salt-master and a salt-minion below `directory`, from `with` on.

    The master serves a copy of the formula from `checkout`; `config` is merged into its configuration.
    """

    def __init__(
        self, directory: Path, checkout: Path, *, minion_id: str, config: Mapping[str, Any] | None = None
    ) -> None:
        self.root = directory.resolve()
        self.minion_id = minion_id
        self._events = self.root / "events.log"
        self._running = ExitStack()
        for part in FORMULA_PARTS:
            no_bytecode = shutil.ignore_patterns("__pycache__")
            shutil.copytree(checkout / part, self.root / "states" / part, ignore=no_bytecode)
        (self.root / "pillar").mkdir()
        self._configure("master", self._master_settings() | dict(config or {}))
        self._configure("minion", self._minion_settings())

    def set_pillar(self, pillar: Mapping[str, Any]) -> None:
        """Replace the minion's pillar, and wait until it has it."""
        pillars = self.root / "pillar"
        (pillars / "top.sls").write_text("#!json\n" + json.dumps({"base": {"*": ["data"]}}))
        (pillars / "data.sls").write_text("#!json\n" + json.dumps(pillar))
        assert self.salt("saltutil.refresh_pillar", "wait=True") is True

    def salt(self, *arguments: str) -> Any:
        """Return what the minion answers to `salt minion …`."""
        return json.loads(self.typed("--out=json", "--static", *arguments))[self.minion_id]

    def typed(self, *arguments: str) -> str:
        """Run `salt minion …` as an operator would, and return what is seen."""
        options = [word for word in arguments if word.startswith("--")]
        return self._run("salt", *options, self.minion_id, *arguments[len(options) :])

    def salt_run(self, *arguments: str) -> Any:
        """Return what `salt-run …` answers."""
        return json.loads(self._run("salt-run", "--out=json", *arguments))

    def salt_call(self, *arguments: str) -> str:
        """Run `salt-call …` on the minion, as its operator would."""
        return self._run("salt-call", *arguments)

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Return tag and data of each event that the master's bus has carried, oldest first."""
        whole_lines = self._events.read_text(encoding="utf-8").splitlines(keepends=True)
        pairs = (line.split("\t", 1) for line in whole_lines if line.endswith("\n") and "\t" in line)
        return [(tag, json.loads(data)) for tag, data in pairs]

    def __enter__(self) -> Master:
        with ExitStack() as running:
            running.enter_context(self._started("salt-master"))
            # Who comes before the bus is there hears nothing of it, and a command before the key is refused.
            self._wait(self._listens, "the master does not listen")
            listener = ("salt-run", "state.event", "pretty=False")
            running.enter_context(self._started(*listener, output=self._events))
            running.enter_context(self._started("salt-minion"))
            self._wait(self._meet, "master and minion do not meet")
            self._running = running.pop_all()
        return self

    def __exit__(self, *of_an_error: object) -> None:
        self._running.close()

    def _master_settings(self) -> dict[str, Any]:
        roots = {f"{kind}_roots": {"base": [str(self.root / name)]} for kind, name in ROOTS.items()}
        ports = {"publish_port": free_port(), "ret_port": free_port()}
        self._ports = ports
        # Five seconds by default, in which a minion on a busy machine does not answer.
        patience = {"timeout": 60, "gather_job_timeout": 60}
        return {"interface": LOOPBACK, "auto_accept": True, **patience, **ports, **roots}

    def _minion_settings(self) -> dict[str, Any]:
        ports = {"master_port": self._ports["ret_port"], "publish_port": self._ports["publish_port"]}
        soon = {"acceptance_wait_time": 1, "auth_timeout": 5, "enable_fqdns_grains": False}
        return {"id": self.minion_id, "master": LOOPBACK, **ports, **soon}

    def _configure(self, daemon: str, settings: Mapping[str, Any]) -> None:
        root = self.root / daemon
        root.mkdir()
        common = {"root_dir": str(root), "sock_dir": SOCKETS, "user": getpass.getuser()}
        (self.root / daemon / daemon).write_text(yaml.safe_dump(common | dict(settings)))

    def _command(self, program: str, *arguments: str) -> list[str]:
        of_minion = program in ("salt-minion", "salt-call")
        config = self.root / ("minion" if of_minion else "master")
        return [str(Path(salt_call()).with_name(program)), f"--config-dir={config}", *arguments]

    def _run(self, program: str, *arguments: str) -> str:
        return subprocess.run(
            self._command(program, *arguments),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=SECONDS_FOR_A_COMMAND,
            check=False,
        ).stdout

    @contextmanager
    def _started(self, program: str, *arguments: str, output: Path | None = None) -> Iterator[None]:
        with (output or self.root / f"{program}.log").open("wb") as written:
            process = subprocess.Popen(
                self._command(program, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield
        finally:
            _stop(process)

    def _listens(self) -> bool:
        bus, key = "master_event_pub.ipc", f".{getpass.getuser()}_key"
        there = all(any((self.root / "master").rglob(name)) for name in (bus, key))
        return there and not can_bind(LOOPBACK, self._ports["ret_port"])

    def _meet(self) -> bool:
        answered = self.typed("--out=json", "--static", "--timeout=5", "test.ping")
        # The events of this very command tell whether the listener hears.
        return f'"{self.minion_id}": true' in answered and bool(self.events())

    def _wait(self, condition: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + SECONDS_TO_MEET
        while not condition():
            if time.monotonic() > deadline:
                logs = (path.read_text(errors="replace")[-1000:] for path in self.root.glob("*.log"))
                raise SaltError(f"{otherwise}: " + "\n".join(logs))
            time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    # Not asked first: a minion takes half a minute to leave, and nothing of it is kept.
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
