"""The registry's htpasswd file, with bcrypt hashes, the only kind that docker-distribution accepts. No I/O.

https://distribution.github.io/distribution/about/configuration/#htpasswd
"""

from __future__ import annotations

import ctypes
import hmac
import secrets
import warnings
from collections.abc import Callable, Mapping

from _registry_config_validators import is_bcrypt_hash

# The registry hashes at every request: at this cost, which the tool htpasswd has too, it takes 2 ms, and at
# 10 it would take 80. A site that wants more gives hashes of its own.
COST = 5
# bcrypt's own base64, which every kind of bcrypt accepts as a salt; the last of 22 has two bits only.
_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
# A vector of OpenBSD's: what cannot hash this cannot hash with bcrypt.
_KNOWN = (
    "U*U",
    "$2b$05$CCCCCCCCCCCCCCCCCCCCC.",
    "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
)

# Takes a password and a setting, which may be a whole hash, and returns a hash or nothing.
Hasher = Callable[[str, str], "str | None"]


class NoBcryptError(Exception):
    """No implementation of bcrypt is available."""


def htpasswd(users: Mapping[str, str], old_text: str = "", hasher: Hasher | None = None) -> str:
    """The file's text.

    Args:
        users: name → bcrypt hash, which is taken as it is, or password.
        old_text: the file as it is. A hash in it that fits the password stays, so that the file does.
        hasher: what hashes; None = what is found here.

    Returns:
        A line a user, sorted.

    Raises:
        NoBcryptError: there is a password, and nothing to hash it with.
    """
    old = dict(line.partition(":")[::2] for line in old_text.splitlines() if ":" in line)
    if not all(map(is_bcrypt_hash, users.values())):
        hasher = hasher or find_hasher()
    return "".join(
        f"{user}:{_line(entry, old.get(user, ''), hasher)}\n" for user, entry in sorted(users.items())
    )


def _line(entry: str, old: str, hasher: Hasher | None) -> str:
    if is_bcrypt_hash(entry) or hasher is None:
        return entry
    return old if is_bcrypt_hash(old) and fits(entry, old, hasher) else _hash(entry, hasher)


def fits(password: str, hashed: str, hasher: Hasher) -> bool:
    """Whether a hash is that of a password."""
    return hmac.compare_digest(hasher(password, hashed) or "", hashed)


def _hash(password: str, hasher: Hasher) -> str:
    salt = "".join(secrets.choice(_ALPHABET) for _ in range(21)) + secrets.choice(".Oeu")
    hashed = hasher(password, f"$2b${COST:02}${salt}") or ""
    if not is_bcrypt_hash(hashed):
        raise NoBcryptError
    return hashed


def find_hasher() -> Hasher:
    """What hashes with bcrypt here.

    Salt's own Python brings the module ``crypt`` up to Python 3.12, over a libcrypt with bcrypt; so do
    all systems' libcrypt but Enterprise Linux 7's; and there is the package ``bcrypt``.

    Raises:
        NoBcryptError: none of these is here.
    """
    for find in (_python_crypt, _libcrypt, _package):
        hasher = find()
        if hasher and hasher(*_KNOWN[:2]) == _KNOWN[2]:
            return hasher
    raise NoBcryptError


def _python_crypt() -> Hasher | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            # Python 3.13 has none, but Salt's loader may lead to a module of its own of that name.
            from crypt import crypt
        except ImportError:
            return None

    def hasher(password: str, setting: str) -> str | None:
        try:
            return crypt(password, setting)
        except OSError:
            return None

    return hasher


def _libcrypt() -> Hasher | None:
    """The C library's ``crypt``; it answers in memory of its own, which the next call overwrites."""
    for name in ("libcrypt.so.1", "libcrypt.so.2"):
        try:
            function = ctypes.CDLL(name).crypt
        except (OSError, AttributeError):
            continue
        function.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
        function.restype = ctypes.c_char_p
        return lambda password, setting: (function(password.encode(), setting.encode()) or b"").decode()
    return None


def _package() -> Hasher | None:
    try:
        import bcrypt
    except ImportError:
        return None

    def hasher(password: str, setting: str) -> str | None:
        try:
            return bcrypt.hashpw(password.encode(), setting.encode()).decode()
        except ValueError:
            return None

    return hasher
