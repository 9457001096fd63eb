"""Programs of Salt in processes of their own which need not import Salt first: forks of one that has.

To start Python and to import Salt is half of what a `salt-call` costs, and the same each time. All that a
program does from then on is its own: arguments, environment, directory, the modules it loads, and its end.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

# The functions of `salt.scripts` that pip's scripts call.
ENTRY_POINTS = {"salt": "salt_main", "salt-call": "salt_call", "salt-run": "salt_run"}
WAITING_FOR_A_FORK = 128


class SaltForks:
    """A process that has imported Salt, from the first `run` on, and forks for each program."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._address = ""

    def run(self, words: Sequence[str], *, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run one of `ENTRY_POINTS`, by the path of its script and its arguments, within `timeout` seconds.

        Raises:
            subprocess.TimeoutExpired: it did not end in time, and has been killed.
        """
        if self._server is None:
            self._start(Path(words[0]).with_name("python"))
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            code = self._ask(words, timeout, out, err)
            return subprocess.CompletedProcess(list(words), code, _text(out), _text(err))

    def _stop(self) -> None:
        if self._server is not None:
            self._server.communicate()
            shutil.rmtree(Path(self._address).parent)

    def _start(self, beside: Path) -> None:
        python = str(beside) if beside.exists() else sys.executable
        self._address = tempfile.mkdtemp(prefix="salt-forks-") + "/socket"
        atexit.register(self._stop)
        # The server reads its end of a pipe, which closes with this process, whatever ends that.
        self._server = subprocess.Popen(
            [python, __file__, self._address], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == b"ready\n", "Salt cannot be imported"

    def _ask(self, words: Sequence[str], timeout: float, out: IO[bytes], err: IO[bytes]) -> int:
        request = {"words": list(words), "environment": dict(os.environ), "directory": str(Path.cwd())}
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self._address)
            socket.send_fds(connection, [b"\n"], [out.fileno(), err.fileno()])
            connection.sendall(json.dumps(request).encode() + b"\n")
            connection.settimeout(timeout)
            with connection.makefile() as answers:
                process = int(answers.readline())
                try:
                    return int(answers.readline())
                except BaseException as reason:
                    os.kill(process, signal.SIGKILL)
                    if isinstance(reason, TimeoutError):
                        raise subprocess.TimeoutExpired(list(words), timeout) from None
                    raise


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def main(address: str) -> None:
    """Import Salt, and be each program that is asked for in a fork."""
    # A script has its own directory there; in this one are modules whose names others use, too.
    sys.path[0] = str(Path(sys.executable).parent)
    # Salt's commands begin with this, and import the next when they know which they are.
    import salt.cli.call
    import salt.cli.run
    import salt.cli.salt
    import salt.scripts

    request = _serve(address)
    sys.argv = request["words"]
    sys.exit(getattr(salt.scripts, ENTRY_POINTS[Path(sys.argv[0]).name])())


def _serve(address: str) -> dict[str, Any]:
    """Fork for each request, and return the request in the fork that is to become the program."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(WAITING_FOR_A_FORK)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            readable, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in readable:
                os._exit(0)
            connection, _ = listener.accept()
            if os.fork() == 0:
                return _keep(connection)
            connection.close()
            _reap()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _keep(connection: socket.socket) -> dict[str, Any]:
    """Tell how the program ends, which is a fork of its own; return the request in that one."""
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 2)
    with connection.makefile() as lines:
        request: dict[str, Any] = json.loads(lines.readline())
    process = os.fork()
    if process == 0:
        connection.close()
        _become(request, descriptors)
        return request
    connection.sendall(f"{process}\n".encode())
    _, status = os.waitpid(process, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(request: dict[str, Any], descriptors: list[int]) -> None:
    """Take over what a process gets from who starts it."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((nothing, *descriptors)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])


if __name__ == "__main__":
    main(sys.argv[1])
