"""Files of the host with the very bytes that they have, and notes of what was done to them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from _registry_state_returns import Ret, joined, ret
from _registry_sync_ledger import directory_below

ENGINES = "engines.json"
POLICIES = "policies.json"


def read(path: str, functions: Mapping[str, Callable[..., Any]], errors: str = "surrogateescape") -> str:
    """A file's text as it is: ends of lines stay, and bytes that are no UTF-8 come back from ``to_bytes``.

    Args:
        path: of the file.
        functions: Salt's; of them two of ``file`` are called.
        errors: what becomes of such bytes, as in ``bytes.decode``.

    Returns:
        The text; empty where there is no such file.
    """
    if not functions["file.file_exists"](path):
        return ""
    content: bytes = functions["file.read"](path, binary=True)
    return content.decode("utf-8", errors)


def to_text(content: bytes) -> str:
    """Bytes as a text from which ``to_bytes`` makes them again."""
    return content.decode("utf-8", "surrogateescape")


def to_bytes(text: str) -> bytes:
    """The bytes of a text of ``to_text``."""
    return text.encode("utf-8", "surrogateescape")


def managed(
    states: Mapping[str, Callable[..., Ret]], path: str, text: str, *, test: bool, **keywords: Any
) -> Ret:
    """``file.managed`` that also writes what Salt would change: an empty text, CRLF, bytes that are no UTF-8.

    Args:
        states: ``__states__``.
        path: of the file; where it is a link, its target is written.
        text: the whole of it, as ``to_text`` gives it.
        test: whether this is a plan.
        keywords: of ``file.managed``.
    """
    if _salt_keeps(text):
        whole = {"contents": text, "contents_newline": text.endswith("\n")}
        return states["file.managed"](path, **whole, **keywords)
    wanted, file = to_bytes(text), Path(path)
    if file.exists() and file.read_bytes() == wanted:
        written = ret(path, True, f"File {path} is in the correct state")
    elif test:
        written = ret(path, None, f"The file {path} is set to be changed", {"diff": "Other bytes"})
    else:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            _write(path, wanted)
        except OSError as failure:
            return ret(path, False, f"{path}: cannot be written: {failure.strerror}")
        written = ret(path, True, f"File {path} updated", {"diff": "Other bytes"})
    # Owner and mode alone; in a plan there may be no file yet.
    if not (keywords and file.exists()):
        return written
    owned = states["file.managed"](path, replace=False, create=False, **keywords)
    return {**joined(path, [written, owned]), "changes": {**written["changes"], **owned["changes"]}}


class Notes:
    """What was done to files of the host: a note of each.

    Args:
        root: Salt's ``root_dir``.
        name: ``ENGINES`` or ``POLICIES``.
    """

    def __init__(self, root: str, name: str) -> None:
        self._file = Path(directory_below(root), name)

    def all(self) -> dict[str, Any]:
        """Path → note."""
        return json.loads(self._file.read_text(encoding="utf-8")) if self._file.exists() else {}

    def of(self, path: str) -> Any:
        """The note of a file; None where there is none."""
        return self.all().get(path)

    def write(self, path: str, note: Any) -> None:
        """Note something of a file."""
        notes = self.all()
        if notes.get(path) != note:
            self._write({**notes, path: note})

    def forget(self, path: str) -> None:
        """Take back what was noted of a file."""
        notes = self.all()
        if notes.pop(path, None) is not None:
            self._write(notes)

    def _write(self, notes: Mapping[str, Any]) -> None:
        """Write all, whole or not at all; the file goes with the last of them."""
        if not notes:
            self._file.unlink(missing_ok=True)
            return
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._file.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        # What a file said before may be a secret.
        _write(str(draft), json.dumps(notes, indent=1).encode())
        draft.replace(self._file)


def _salt_keeps(text: str) -> bool:
    """Whether ``file.managed`` writes a text as it is, and not its lines with other ends."""
    whole = "".join(f"{line}\n" for line in text.splitlines())
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return bool(text) and "\0" not in text and whole in (text, f"{text}\n")


def _write(path: str, content: bytes) -> None:
    """In place, so that links, owner and mode stay; a new one is readable by its owner alone."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
