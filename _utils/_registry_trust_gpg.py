"""Simple signing: OpenPGP messages, opened by gpg in a home that has the wanted keys and nothing else.

https://github.com/containers/image/blob/main/docs/containers-signature.5.md
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from _registry_oci_errors import RegistryError
from _registry_trust_evidence import INVALID, UNKNOWN_KEY, UNREADABLE, Opened, Unverified
from _registry_trust_gpg_batch import Batches, Told
from _registry_trust_keys import BadKey, Key

# A message may be compressed 1000 to 1; a payload has some 300 bytes.
PAYLOAD_LIMIT = 256 * 1024
_OPTIONS = ["--no-options", "--no-verbose", "--keyserver-options", "no-auto-key-retrieve"]
# Enterprise Linux 7 has GnuPG 2.0, which starts nothing for this and knows no word for it.
_OPTIONS_SINCE_2_1 = ["--no-autostart", "--disable-dirmngr"]
# More at a time than there are processors only wait.
_PROCESSES = 4
_MISSING_KEY = "9"
# GnuPG says VALIDSIG of these, too.
_REFUSALS = {
    "BADSIG": "is not what the key signed",
    "EXPKEYSIG": "is of a key that has expired",
    "REVKEYSIG": "is of a key that was revoked",
    "EXPSIG": "has expired",
}


class GpgHome:
    """A directory of this process's own with public keys; threads may use it at the same time.

    Args:
        keys: those with OpenPGP keys; others are passed over.

    Raises:
        BadKey: gpg finds no key in what one holds.
        RegistryError: gpg, or its Python package, is not installed.
    """

    def __init__(self, keys: Iterable[Key]) -> None:
        # 0700, as gpg wants it.
        self._directory = tempfile.mkdtemp(prefix="registry-gpg-")
        self._places = threading.BoundedSemaphore(_PROCESSES)
        self._names: dict[str, set[str]] = {}
        try:
            self._gpg = _gnupg(self._directory)
            for key in keys:
                self._add(key)
            self._batches = Batches(
                self._gpg.gpgbinary,
                _batch_options(self._gpg, self._directory),
                self._directory,
                PAYLOAD_LIMIT,
            )
        except BaseException:
            self.close()
            raise

    def open(self, message: bytes) -> Opened:
        """What a message says that exactly one known key has signed.

        Args:
            message: the bytes of a signature.

        Raises:
            Unverified: by none of the keys, more than one signature, or not an OpenPGP message.
        """
        _refuse_what_is_no_message(message)
        limit = ["--max-output", str(PAYLOAD_LIMIT)]
        with self._places, _silenced():
            result = self._gpg.decrypt(message, always_trust=True, extra_args=limit)
        return self._opened(str(result.stderr), bytes(result.data))

    def open_all(self, messages: Sequence[bytes]) -> list[Opened | Unverified]:
        """Do the same with many at once; what would be raised of one stands in its place."""
        plausible = [message for message in messages if _is_plausible(message)]
        told = dict(zip(plausible, self._batches.told(plausible) if plausible else (), strict=True))
        return [self._outcome(message, told.get(message)) for message in messages]

    def signer_of(self, signature: bytes, body: bytes) -> Opened:
        """Who has signed a file whose signature lies beside it.

        Args:
            signature: that one.
            body: of the file.

        Raises:
            Unverified: none of the keys, or more than one has.
        """
        file = Path(self._directory, f"detached-{threading.get_ident()}")
        file.write_bytes(signature)
        with self._places, _silenced():
            result = self._gpg.verify_data(str(file), body)
        return self._opened(str(result.stderr), body, inline=False)

    def close(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def _outcome(self, message: bytes, told: Told | None) -> Opened | Unverified:
        try:
            return self._opened(told.status, told.payload) if told else self.open(message)
        except Unverified as refused:
            return refused

    def _opened(self, output: str, payload: bytes, *, inline: bool = True) -> Opened:
        fingerprint, time = _only_signature(output, inline=inline)
        names = tuple(sorted(self._names.get(fingerprint, ())))
        if not names:
            raise Unverified(UNKNOWN_KEY, "is by a key that is not known", key=fingerprint)
        return Opened(names, fingerprint, payload, time)

    def _add(self, key: Key) -> None:
        for material in key.gpg:
            with _silenced():
                found = self._gpg.import_keys(material.body).fingerprints
            if not found:
                raise BadKey(f"{material.key}: {material.told} holds no OpenPGP key that gpg here can read")
            for fingerprint in found:
                self._names.setdefault(fingerprint, set()).add(key.name)


def _gnupg(directory: str) -> Any:
    try:
        # A minion without signed_by needs neither it nor gpg.
        import gnupg
    except ImportError:
        raise RegistryError("the Python package gnupg is not installed, and signed_by needs it") from None
    try:
        with _silenced():
            gpg = gnupg.GPG(gnupghome=directory)
    except (OSError, ValueError):
        raise RegistryError("gpg is not installed, and signed_by needs it") from None

    class Unread(gnupg.Crypt):  # type: ignore[misc]
        def handle_status(self, key: str, value: str) -> None:
            """Leave it to us: the package would log in its own threads what it makes of it."""

    gpg.options = [*_OPTIONS, *(_OPTIONS_SINCE_2_1 if gpg.version >= (2, 1) else ())]
    gpg.result_map = {**gpg.result_map, "crypt": Unread}
    return gpg


def _batch_options(gpg: Any, directory: str) -> list[str]:
    return ["--homedir", directory, "--batch", "--no-tty", "--always-trust", *gpg.options]


def _is_plausible(message: bytes) -> bool:
    return bool(message) and bool(message[0] & 0x80)


def _refuse_what_is_no_message(message: bytes) -> None:
    if not _is_plausible(message):
        raise Unverified(UNREADABLE, "is no OpenPGP message")


# A signature that is refused is no warning of the package's, which our own sentences tell better. Salt's
# renderer uses it in the same process, and keeps its lines.
_under_way = threading.local()


class _NotOurs(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(_under_way, "ours", False)


_not_ours = _NotOurs()


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    # Adding the same filter again does nothing.
    logging.getLogger("gnupg").addFilter(_not_ours)
    _under_way.ours = True
    try:
        yield
    finally:
        _under_way.ours = False


def _only_signature(output: str, *, inline: bool = True) -> tuple[str, int]:
    """Fingerprint of the primary key, and time, of the one signature that gpg tells of.

    https://github.com/gpg/gnupg/blob/master/doc/DETAILS
    """
    said = [line.split()[1:] for line in output.splitlines() if line.startswith("[GNUPG:] ")]
    words = [line[0] for line in said if line]
    for line in said:
        if line and line[0] in _REFUSALS:
            raise Unverified(INVALID, _REFUSALS[line[0]], key=_hex(line[1:2]))
    for line in said:
        if line and line[0] == "ERRSIG":
            _refuse_unchecked(line)
    if words.count("NEWSIG") > 1 or words.count("VALIDSIG") > 1 or words.count("PLAINTEXT") > 1:
        raise Unverified(INVALID, "is more than one signature in a message")
    if "exceeded --max-output limit" in output:
        raise Unverified(UNREADABLE, f"is larger than {PAYLOAD_LIMIT} bytes")
    valid = next((line for line in said if line and line[0] == "VALIDSIG"), [])
    if "GOODSIG" not in words or (inline and "PLAINTEXT" not in words) or len(valid) < 11:
        raise Unverified(UNREADABLE, "is no message that gpg here can read")
    return valid[10], int(valid[3]) if valid[3].isdecimal() else 0


def _refuse_unchecked(line: list[str]) -> None:
    """ERRSIG: key, two algorithms, class, time, code, fingerprint."""
    key = _hex(line[1:2])
    if line[6:7] == [_MISSING_KEY]:
        raise Unverified(UNKNOWN_KEY, "is by a key that is not known", key=key)
    raise Unverified(UNREADABLE, "is of a kind that gpg here cannot check", key=key)


def _hex(words: list[str]) -> str:
    return words[0] if words and re.fullmatch(r"[0-9A-F]{8,64}", words[0]) else ""
