"""A push instance that outlives the process which has started it, as a service does; also a program.

`python push_process.py start DIRECTORY` starts it, and `stop` ends it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

SECONDS = 20.0
BINARY_NAMES = ("docker-registry", "registry")


class PushProcess:
    """The second server over a storage, known by a directory alone.

    `config` is written once; any process may start, stop and ask for it.
    """

    def __init__(self, directory: Path | str, config: Mapping[str, Any] | None = None) -> None:
        self.directory = Path(directory)
        self.config_file = self.directory / "push.yml"
        self._pid_file = self.directory / "push.pid"
        if config is not None:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.config_file.write_text(yaml.safe_dump(dict(config)), encoding="utf-8")

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return Path(yaml.safe_load(self.config_file.read_text(encoding="utf-8"))["http"]["addr"])

    def runs(self) -> bool:
        """Tell whether it runs."""
        pid = self.pid
        with contextlib.suppress(OSError):
            return pid > 0 and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        return False

    def start(self) -> None:
        """Start it unless it runs, and wait until it listens."""
        with (self.directory / "starting").open("w") as alone:
            fcntl.flock(alone, fcntl.LOCK_EX)
            if not self.runs():
                self._spawn()

    def _spawn(self) -> None:
        self.socket.unlink(missing_ok=True)
        binary = next(filter(None, map(shutil.which, BINARY_NAMES)))
        with (self.directory / "push.log").open("ab") as log:
            process = subprocess.Popen(
                [binary, "serve", str(self.config_file)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        draft = self._pid_file.with_suffix(f".{os.getpid()}")
        draft.write_text(str(process.pid))
        draft.replace(self._pid_file)
        _wait(self.socket.is_socket)
        # Nobody waits for it here: that is what a service manager would do.
        process.returncode = 0

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def guard(self, lock: str) -> Callable[[], None]:
        """Have it started once nobody locks a file; return a function that calls this off."""
        program = [sys.executable, __file__, "start", str(self.directory)]
        waiting = subprocess.Popen(
            ["flock", lock, *program], stdout=subprocess.DEVNULL, start_new_session=True
        )

        def call_off() -> None:
            waiting.kill()
            waiting.wait()

        return call_off

    def _end(self, number: int) -> None:
        pid = self.pid
        with contextlib.suppress(ProcessLookupError):
            if pid > 0 and self.runs():
                os.kill(pid, number)
        _wait(lambda: not self.runs())
        # Ours to reap only where this very process has started it.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)

    @property
    def pid(self) -> int:
        """Its process id; 0 before it was ever started."""
        try:
            return int(self._pid_file.read_text())
        except (OSError, ValueError):
            return 0


def _wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.005)


if __name__ == "__main__":
    getattr(PushProcess(sys.argv[2]), sys.argv[1])()
