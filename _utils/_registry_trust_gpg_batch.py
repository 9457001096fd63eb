"""Many OpenPGP messages by one process of gpg: to start it takes ten times as long as to check a signature.

What a batch cannot tell of a message, a process of its own has to: nothing here is ever a refusal by itself.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

# gpg counts the bytes of all payloads of a process against one limit.
MESSAGES = 128
# A signature has some 800 bytes; these wait on the disk.
LARGEST_MESSAGE = 64 * 1024
_SECONDS = 60
_STATUS = "[GNUPG:] "


@dataclass(frozen=True)
class Told:
    """What gpg says of one message of a batch.

    Args:
        status: its lines of status, with nothing of the other messages.
        payload: what the message holds, signed or not.
    """

    status: str
    payload: bytes = field(repr=False)


class Batches:
    """Has gpg look at many messages at once; safe for threads.

    Args:
        program: path of gpg.
        options: what it is told beside what to do, with its home.
        directory: of this process's own.
        payloads: bytes that all payloads of a batch may have.
    """

    def __init__(self, program: str, options: Sequence[str], directory: str, payloads: int) -> None:
        limit = ("--max-output", str(payloads))
        self._command = [program, *options, "--status-fd", "1", *limit, "--multifile", "--decrypt"]
        self._directory = directory

    def told(self, messages: Sequence[bytes]) -> list[Told | None]:
        """What gpg says of each message; None where it must be asked about that one alone."""
        parts = [messages[first : first + MESSAGES] for first in range(0, len(messages), MESSAGES)]
        return [told for part in parts for told in self._tell(part)]

    def _tell(self, messages: Sequence[bytes]) -> list[Told | None]:
        with tempfile.TemporaryDirectory(dir=self._directory) as directory:
            paths = [Path(directory, str(number)) for number in range(len(messages))]
            small = [
                path
                for path, message in zip(paths, messages, strict=True)
                if len(message) <= LARGEST_MESSAGE and _written(path, message)
            ]
            said = self._said(small) if small else {}
            return [_told(path, said.get(path)) for path in paths]

    def _said(self, paths: Sequence[Path]) -> dict[Path, str]:
        """The status of each file of which gpg came to the end."""
        files = [str(_message(path)) for path in paths]
        try:
            done = subprocess.run(
                [*self._command, "--", *files],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env={**os.environ, "LC_ALL": "C"},
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return {}
        if b"exceeded --max-output limit" in done.stderr:
            # Which is said of all messages that follow, too.
            return {}
        return _by_file(done.stdout.decode(errors="replace"), paths)


def _by_file(status: str, paths: Sequence[Path]) -> dict[Path, str]:
    """What stands between the start of each file and its end; files come in the order that they were named.

    https://github.com/gpg/gnupg/blob/master/doc/DETAILS
    """
    found: dict[Path, str] = {}
    coming = iter(paths)
    path: Path | None = None
    lines: list[str] = []
    for line in status.split("\n"):
        word = line.removeprefix(_STATUS).partition(" ")[0]
        if word == "FILE_START":
            path, lines = next(coming, None), []
            if path is None or line != f"{_STATUS}FILE_START 3 {_message(path)}":
                return {}
        elif word == "FILE_DONE" and path is not None:
            found[path], path = "\n".join(lines), None
        else:
            lines.append(line)
    return found


def _written(path: Path, message: bytes) -> bool:
    try:
        _message(path).write_bytes(message)
    except OSError:
        return False
    return True


def _told(path: Path, status: str | None) -> Told | None:
    if status is None:
        return None
    try:
        return Told(status, path.read_bytes())
    except OSError:
        return Told(status, b"")


def _message(path: Path) -> Path:
    """The file whose payload gpg writes to a path."""
    return path.with_name(f"{path.name}.gpg")
