"""The service through which this host pushes, for modules that stop and start it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

import _registry_host_service as host
import _registry_host_units as units
import _registry_sync_ledger as ledger
from _registry_host_collector import PushService, read_unit
from _registry_sync_collect_window import CollectError, Pushes

Functions = Mapping[str, Callable[..., Any]]

# Of systemd, where it runs: https://www.freedesktop.org/software/systemd/man/latest/sd_booted.html
_SYSTEMD = "/run/systemd/system"
_SECONDS_TO_STOP = 30.0
_SECONDS_TO_ANSWER = 60.0


def lock_file(opts: Mapping[str, Any], port: int) -> str:
    """Where is noted that pushes to the registry on a port were stopped."""
    return f"{ledger.directory_below(opts['root_dir'])}/collect-{port}.lock"


def find(port: int) -> PushService | None:
    """The service that this formula has set up for pushes to the registry on a port; None without one."""
    for pattern in units.files("*-push"):
        for file in sorted(Path("/").glob(pattern.lstrip("/"))):
            text = _text(str(file))
            service = read_unit(str(file), text) if units.is_ours(text) else None
            if service and _listens(service.config, port):
                return service
    return None


def config_of(file: str) -> Mapping[str, Any]:
    """A configuration file; empty where it cannot be read."""
    return host.read_config(_text(file))


def _listens(config: str, port: int) -> bool:
    http = config_of(config).get("http")
    return isinstance(http, Mapping) and http.get("addr") == host.push_socket(port)


def _text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def pushes_of(name: str, functions: Functions) -> Pushes:
    """How the service is stopped and started.

    Args:
        name: of it.
        functions: ``__salt__``.
    """
    control = functions["registry_service.control"]

    def runs() -> bool:
        return bool(control(name, "status"))

    def stop() -> None:
        _told(control, name, "stop")
        deadline = time.monotonic() + _SECONDS_TO_STOP
        while runs():
            if time.monotonic() > deadline:
                raise CollectError(f"{name} still runs {_SECONDS_TO_STOP:.0f} s after it was stopped")
            time.sleep(0.05)

    def start() -> None:
        _told(control, name, "start")
        if not functions["registry_service.answers"](_SECONDS_TO_ANSWER, "push"):
            raise CollectError(f"{name} does not answer; its log says why")

    return Pushes(name, stop, start, runs, lambda lock: _guard(name, lock, functions))


def _told(control: Callable[..., Any], name: str, action: str) -> None:
    try:
        control(name, action)
    except CommandExecutionError as failure:
        raise CollectError(f"{name} does not {action}: {failure}") from None


def _guard(name: str, lock: str, functions: Functions) -> Callable[[], None]:
    """Have the service started once nobody locks the file, in a process that does not end with ours."""
    # A server that is started would hold the lock for ever, did it inherit it.
    waiting = ["flock", "--close", lock]
    if not Path(_SYSTEMD).is_dir():
        return _guard_process([*waiting, f"/etc/init.d/{name}", "start"])
    unit = f"{name}-guard-{os.getpid()}-{time.time_ns()}.service"
    run = ["systemd-run", f"--unit={unit}", *waiting, "systemctl", "start", name]
    if functions["cmd.retcode"](run, python_shell=False, ignore_retcode=True):
        raise CollectError(f"{name} was not stopped: systemd-run would not watch over it")

    def call_off() -> None:
        functions["cmd.retcode"](["systemctl", "stop", unit], python_shell=False, ignore_retcode=True)

    return call_off


def _guard_process(command: list[str]) -> Callable[[], None]:
    try:
        waiting = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
    except OSError as failure:
        raise CollectError(f"nothing was stopped: {command[0]} cannot be run: {failure.strerror}") from None

    def call_off() -> None:
        waiting.kill()
        waiting.wait()

    return call_off
