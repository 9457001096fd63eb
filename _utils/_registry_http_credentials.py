"""Who we are at a registry: what the pillar says, else what root's own files and helpers say."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from _registry_http_authfile import AuthFile, AuthFileError, Helper, Login, ask_helper, names_of
from _registry_http_endpoint import Endpoint
from _registry_oci_errors import Unauthorized

# Helpers of clouds give passwords that end within the hour; asking again costs a process.
HELPER_ANSWER_SECONDS = 300.0
FOREVER = float("inf")
NOBODY = Login()


@dataclass(frozen=True)
class Credentials:
    """A login at one registry, or nobody.

    Args:
        login: what proves who we are.
        origin: the file it stands in; empty = the pillar.
        helper: the program it came from.
        note: of nobody: why nothing was found where something might have been.
    """

    login: Login = NOBODY
    origin: str = ""
    helper: str = ""
    note: str = ""

    def __bool__(self) -> bool:
        return self.login != NOBODY

    def __str__(self) -> str:
        if not self:
            return "anonymous access" + (f" ({self.note})" if self.note else "")
        named = f"user {self.login.username}" if self.login.username else "the token"
        if self.helper:
            return f"helper {self.helper} ({named})"
        return f"{named} from {self.origin}" if self.origin else named

    @property
    def basic(self) -> str:
        """The value of an Authorization header; empty without a user and a password."""
        if not self.login.username or not self.login.password:
            return ""
        pair = f"{self.login.username}:{self.login.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()


class Keyring:
    """Our logins at one registry, looked up when they are first asked for.

    Args:
        endpoint: its ``username`` comes first, then its ``auth_file``, then the files of podman and
            docker that its environment names.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._names = names_of(endpoint.host, endpoint.port, 443 if endpoint.tls else 80)
        self._lock = threading.Lock()
        self._files: list[AuthFile] | None = None
        self._notes: list[str] = []
        self._known: dict[str, tuple[Credentials, float]] = {}
        self._answers: dict[Helper, tuple[Login | AuthFileError | None, float]] = {}

    def credentials(self, repository: str = "") -> Credentials:
        """Who we are for a repository.

        Args:
            repository: its name; files may have logins for parts of a registry. Empty = the whole.

        Raises:
            Unauthorized: the ``auth_file`` of the pillar, or a helper that it names, is no help.
        """
        if self._endpoint.username:
            return Credentials(Login(self._endpoint.username, self._endpoint.password))
        # One at a time: a helper may have to unlock something.
        with self._lock:
            found, ends = self._known.get(repository, (None, 0.0))
            if found is None or time.monotonic() >= ends:
                found = self._look_up(repository)
                ends = time.monotonic() + HELPER_ANSWER_SECONDS if found.helper else FOREVER
                self._known[repository] = found, ends
            return found

    def _look_up(self, repository: str) -> Credentials:
        if self._files is None:
            self._files = list(self._read_files())
        notes = list(self._notes)
        for file in self._files:
            try:
                found = self._in_file(file, repository)
            except AuthFileError as failure:
                notes.append(self._excuse(failure))
                continue
            if found:
                return found
        if self._endpoint.auth_file:
            notes.append(f"{self._endpoint.auth_file} has no login for {self._names[0]}")
        return Credentials(note="; ".join(notes))

    def _read_files(self) -> Iterator[AuthFile]:
        named = self._endpoint.auth_file
        for path in [named] if named else self._endpoint.environment.auth_files:
            try:
                yield AuthFile(path)
            except FileNotFoundError:
                if named:
                    raise Unauthorized(
                        f"{self._endpoint}: {path}: no such file", side=self._endpoint.side
                    ) from None
            except AuthFileError as failure:
                self._notes.append(self._excuse(failure))

    def _in_file(self, file: AuthFile, repository: str) -> Credentials | None:
        for candidate in file.candidates(self._names, repository):
            if isinstance(candidate, Login):
                return Credentials(candidate, file.path)
            login = self._ask(candidate)
            if login:
                return Credentials(login, file.path, candidate.program)
        return None

    def _ask(self, helper: Helper) -> Login | None:
        answer, ends = self._answers.get(helper, (None, 0.0))
        if time.monotonic() >= ends:
            answer = _outcome(helper)
            self._answers[helper] = answer, time.monotonic() + HELPER_ANSWER_SECONDS
        if isinstance(answer, AuthFileError):
            raise answer
        return answer

    def _excuse(self, failure: AuthFileError) -> str:
        """The note on a file that nobody named: anonymous access may do without it."""
        if self._endpoint.auth_file:
            raise Unauthorized(f"{self._endpoint}: {failure}", side=self._endpoint.side) from None
        return str(failure)


def _outcome(helper: Helper) -> Login | AuthFileError | None:
    """What a helper says, a failure included: a slow one is not to be slow for every repository."""
    try:
        return ask_helper(helper)
    except AuthFileError as failure:
        return failure
