"""Files in which podman and docker keep logins, and the helper programs that such files name.

- https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
- https://docs.docker.com/reference/cli/docker/login/#credential-stores
- https://github.com/docker/docker-credential-helpers
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HELPER_SECONDS = 30.0
FILE_LIMIT = 1024 * 1024
# Docker Hub's API has one name, its images another, and docker keeps its login under a third.
HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")
HUB_KEY = "https://index.docker.io/v1/"
# In the place of a user's name: the secret is an identity token.
TOKEN_USER = "<token>"
NOT_FOUND = "credentials not found"

_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class AuthFileError(Exception):
    """A file or a helper that is no help; the text says which and why, never what is in it."""


@dataclass(frozen=True)
class Login:
    """What a file or a helper says.

    Args:
        username: with ``password``.
        password: of the user.
        identity_token: for OAuth2 in the place of a password.
        bearer: a token for the registry itself.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)


@dataclass(frozen=True)
class Helper:
    """A program to ask.

    Args:
        name: what follows ``docker-credential-`` in its name.
        server: what it is asked for.
    """

    name: str
    server: str

    @property
    def program(self) -> str:
        """Its file name, looked for on PATH."""
        return f"docker-credential-{self.name}"


class AuthFile:
    """One ``auth.json`` or ``config.json``.

    Args:
        path: of the file.

    Raises:
        FileNotFoundError: there is none.
        AuthFileError: it cannot be read, or is something else.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        document = _read(path)
        self._auths = _mapping(document, "auths")
        self._helpers = _mapping(document, "credHelpers")
        self._store = document.get("credsStore")

    def candidates(self, names: Sequence[str], repository: str) -> Iterator[Login | Helper]:
        """Logins and helpers that may know us at a registry, the best first.

        Args:
            names: under which the registry may be known.
            repository: the login for the longest part of its name wins.

        Raises:
            AuthFileError: an entry makes no sense.
        """
        for name in names:
            if name in self._helpers:
                yield self._helper(self._helpers[name], name)
        for key in self._keys(names, repository):
            login = self._login(key)
            if login:
                yield login
        if self._store:
            for name in _names_in_store(names):
                yield self._helper(self._store, name)

    def _keys(self, names: Sequence[str], repository: str) -> Iterator[str]:
        parts = repository.split("/") if repository else []
        for length in range(len(parts), -1, -1):
            for name in names:
                yield "/".join([name, *parts[:length]])
        # docker once kept whole URLs, and still does so for its own hub.
        for key in self._auths:
            scheme, separator, rest = key.partition("://")
            if separator and scheme in ("http", "https") and rest.split("/")[0] in names:
                yield key

    def _login(self, key: str) -> Login | None:
        entry = self._auths.get(key)
        if not isinstance(entry, dict):
            return None
        username, password = _text(entry, "username"), _text(entry, "password")
        if _text(entry, "auth"):
            try:
                # docker pads the password of old entries with NUL.
                pair = base64.b64decode(_text(entry, "auth"), validate=True).decode().rstrip("\0")
            except ValueError:
                raise AuthFileError(f"{self.path}: the login for {key} cannot be decoded") from None
            username, _, password = pair.partition(":")
        login = Login(username, password, _text(entry, "identitytoken"), _text(entry, "registrytoken"))
        return login if login != Login() else None

    def _helper(self, name: Any, server: str) -> Helper:
        if not isinstance(name, str) or not _HELPER_NAME.fullmatch(name):
            raise AuthFileError(f"{self.path}: what it names as helper for {server} is no program's name")
        return Helper(name, server)


def names_of(host: str, port: int, default_port: int) -> tuple[str, ...]:
    """The names under which files may know a registry."""
    bracketed = f"[{host}]" if ":" in host else host
    if host in HUB_NAMES:
        return HUB_NAMES
    full = f"{bracketed}:{port}"
    return (bracketed, full) if port == default_port else (full,)


def ask_helper(helper: Helper) -> Login | None:
    """Run a helper; the name of the server goes to its standard input, nothing to its arguments.

    Returns:
        The login; None where the helper knows none.

    Raises:
        AuthFileError: it is not installed, fails, or takes too long.
    """
    code, said = _run([helper.program, "get"], helper.server)
    if code:
        if NOT_FOUND in said:
            return None
        raise AuthFileError(f"{helper.program} failed for {helper.server} (exit code {code})")
    try:
        answer = json.loads(said)
        username, secret = _text(answer, "Username"), _text(answer, "Secret")
    except (ValueError, RecursionError, AttributeError):
        raise AuthFileError(f"{helper.program} gave something else than a login") from None
    if username == TOKEN_USER:
        return Login(identity_token=secret)
    return Login(username, secret) if username else None


def _run(command: list[str], given: str) -> tuple[int, str]:
    program = command[0]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Without a terminal it cannot stop to ask for a passphrase, and its children end with it.
            start_new_session=True,
        )
    except FileNotFoundError:
        raise AuthFileError(f"{program} is not installed") from None
    except OSError as failure:
        raise AuthFileError(f"{program}: {failure.strerror}") from None
    with process:
        try:
            said, _ = process.communicate(given.encode(), HELPER_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise AuthFileError(f"{program} gave no answer within {HELPER_SECONDS:.0f} s") from None
    return process.returncode, said.decode(errors="replace")


def _read(path: str) -> Mapping[str, Any]:
    try:
        with Path(path).open("rb") as file:
            document = json.loads(file.read(FILE_LIMIT))
    except FileNotFoundError:
        raise
    except OSError as failure:
        raise AuthFileError(f"{path}: {(failure.strerror or 'cannot be read').lower()}") from None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise AuthFileError(f"{path}: not a docker or podman auth file")
    return document


def _mapping(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""


def _names_in_store(names: Sequence[str]) -> Sequence[str]:
    return (HUB_KEY,) if tuple(names) == HUB_NAMES else names
