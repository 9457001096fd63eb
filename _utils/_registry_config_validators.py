"""Checkers of values from a pillar: each takes a value and its key, and returns the value in its final form.

What is wrong is one sentence that begins with the key. The kinds of values that any pillar could have
stand here; what our pillar has is said in ``_registry_config_schema``. No I/O.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any


class SettingsError(ValueError):
    """A mistake in the pillar; the text is one sentence that begins with the key."""


Checker = Callable[[Any, str], Any]


def mapping(table: Mapping[str, Checker], elsewhere: Mapping[str, str] | None = None) -> Checker:
    """A mapping with no other keys than those of a table, each checked by what stands there.

    Args:
        table: key → checker.
        elsewhere: key that people look for here → the key below which it stands, for suggestions.
    """

    def check(value: Any, key: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise SettingsError(f"{key}: {_kind(value)}; give a mapping of {', '.join(table)}")
        for name in value:
            if name not in table:
                what = f"{key}:{name}: unknown key" if quoted(str(name)) else f"{key}: has an unknown key"
                raise SettingsError(f"{what}; {_suggestion(str(name), table, elsewhere or {})}")
        return {name: table[name](entry, f"{key}:{name}") for name, entry in value.items()}

    return check


def _suggestion(name: str, table: Mapping[str, Checker], elsewhere: Mapping[str, str]) -> str:
    if name in elsewhere:
        return f"did you mean {elsewhere[name]}:{name}?"
    near = difflib.get_close_matches(name, table, n=1)
    return f"did you mean {near[0]}?" if near else f"known here: {', '.join(table)}"


def list_of(item: Checker, example: str) -> Checker:
    """A list whose entries pass a checker."""

    def check(value: Any, key: str) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise SettingsError(f"{key}: {shown(value)}; give a list, e.g. {example}")
        return [item(entry, f"{key}:{position}") for position, entry in enumerate(value)]

    return check


def filled(items: Checker, example: str) -> Checker:
    """A list that is not empty."""

    def check(value: Any, key: str) -> Any:
        if not value:
            raise SettingsError(f"{key}: is empty; give a list, e.g. {example}")
        return items(value, key)

    return check


def one_of(*choices: Any) -> Checker:
    """One of some words, or true or false."""

    def check(value: Any, key: str) -> Any:
        # 1 == True in Python, but a pillar that says 1 for auto|true|false is a mistake.
        if not any(value is choice or (value == choice and isinstance(value, str)) for choice in choices):
            names = ", ".join(str(choice).lower() for choice in choices)
            raise SettingsError(f"{key}: {shown(value)}; give one of {names}")
        return value

    return check


def either(of_mapping: Checker, other: Checker) -> Checker:
    """A mapping, or what a second checker takes."""

    def check(value: Any, key: str) -> Any:
        return of_mapping(value, key) if isinstance(value, Mapping) else other(value, key)

    return check


def boolean(value: Any, key: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise SettingsError(f"{key}: {shown(value)}; give true or false")
    return value


def string(value: Any, key: str) -> str:
    """A string; what is empty in YAML is an empty one."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise SettingsError(f"{key}: {shown(value)}{_in_quotes(value)}")
    return _encodable(value, key)


def filled_string(value: Any, key: str) -> str:
    """A string with something in it."""
    text = string(value, key)
    if not text:
        raise SettingsError(f"{key}: is empty")
    return text


def secret(value: Any, key: str) -> str:
    """A string that is never shown."""
    if value is not None and not isinstance(value, str):
        raise SettingsError(f"{key}: is no string; put it in quotes")
    return _encodable(value or "", key)


_HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")


def _encodable(text: str, key: str) -> str:
    # YAML takes the half of a character that stands as \ud800; no file and no request does.
    if _HALF_CHARACTER.search(text):
        raise SettingsError(f"{key}: has a character in it that is none")
    return text


# Neither a header nor a file of users takes them.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def sendable(text: str, key: str) -> str:
    """A part of a login, as a request can have it."""
    if _CONTROL.search(text):
        raise SettingsError(
            f"{key}: has a line break or another control character in it; a text behind | ends in one, "
            "behind |- it does not"
        )
    return text


def free_mapping(value: Any, key: str) -> Mapping[str, Any]:
    """A mapping whose keys are somebody else's."""
    if not isinstance(value, Mapping):
        raise SettingsError(f"{key}: {_kind(value)}; give a mapping")
    return value


def mapping_of_strings(value: Any, key: str) -> dict[str, str]:
    """A mapping of any keys to strings."""
    return {name: string(entry, f"{key}:{name}") for name, entry in free_mapping(value, key).items()}


def number(low: int, high: int) -> Checker:
    """A whole number within limits."""

    def check(value: Any, key: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise SettingsError(f"{key}: {shown(value)}; give a whole number")
        if not low <= value <= high:
            raise SettingsError(f"{key}: {_digits(value)}is not between {low} and {high}")
        return value

    return check


# What a relative path looks like, and a key or a file with logins does not.
_RELATIVE_PATH = re.compile(r"[\w./~ -]{1,40}")


def path(value: Any, key: str) -> str:
    """An absolute path, or nothing."""
    text = string(value, key)
    if not text or (text.startswith("/") and text.isprintable()):
        return text
    if _RELATIVE_PATH.fullmatch(text):
        raise SettingsError(f"{key}: {text!r} is no absolute path")
    raise SettingsError(f"{key}: is no path; put it into a file of the minion, and give the path of that")


def filled_path(value: Any, key: str) -> str:
    """An absolute path."""
    return path(filled_string(value, key), key)


def file_name(value: Any, key: str) -> str:
    """A name without a directory."""
    text = string(value, key)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", text):
        raise SettingsError(f"{key}: {text!r} is no file name; directory says where it lies")
    return text


_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_HIGHEST_PORT = 65535


def is_host(text: str) -> bool:
    """Whether a text is a host's name or address that a resolver takes; IPv6 without brackets or zone.

    https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4
    """
    if ":" in text:
        return _is_ipv6(text)
    labels = text.split(".")
    return (
        len(text) <= 253
        and all(0 < len(label) <= 63 for label in labels)
        and bool(_HOST_NAME.fullmatch(text))
    )


def _is_ipv6(text: str) -> bool:
    try:
        return not ipaddress.IPv6Address(text).scope_id
    except ValueError:
        return False


def is_host_and_port(text: str) -> bool:
    """Whether a text is ``host`` or ``host:port``, an IPv6 address in brackets."""
    match = re.fullmatch(r"(?:\[(?P<ipv6>[^\]]*:[^\]]*)\]|(?P<name>[^:]*))(?::(?P<port>\d{1,5}))?", text)
    if match is None or not is_host(match["ipv6"] or match["name"]):
        return False
    return match["port"] is None or 1 <= int(match["port"]) <= _HIGHEST_PORT


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def bandwidth(value: Any, key: str) -> int:
    """Bytes a second, written as a number or as ``20MB``."""
    return _bytes(value, key, "bytes a second, e.g. 20MB", "(?:/s)?")


def size(value: Any, key: str) -> int:
    """Bytes, written as a number or as ``20GB``."""
    return _bytes(value, key, "bytes, e.g. 20GB")


def _bytes(value: Any, key: str, wanted: str, end: str = "") -> int:
    if _is_nothing(value):
        return 0
    match = re.fullmatch(rf"(\d{{1,18}}(?:\.\d{{1,18}})?)\s*([kmg]i?)?b?{end}", _written(value))
    if match is None:
        raise SettingsError(f"{key}: {shown(value)}; give {wanted}")
    amount = float(match.group(1)) * _UNITS[match.group(2) or ""]
    if 0 < amount < 1:
        raise SettingsError(f"{key}: {shown(value)}; give {wanted}")
    return int(amount)


# What a wait takes, and a date.
_LONGEST_SPAN = 100_000 * 86_400
_SPANS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def span(value: Any, key: str) -> int:
    """Seconds, written as a number or as ``2h``."""
    if _is_nothing(value):
        return 0
    match = re.fullmatch(r"(\d{1,18})\s*([smhd])?", _written(value))
    if match is None:
        raise SettingsError(f"{key}: {shown(value)}; give seconds or e.g. 2h")
    seconds = int(match.group(1)) * _SPANS[match.group(2) or ""]
    if seconds > _LONGEST_SPAN:
        raise SettingsError(f"{key}: is longer than 100000 days")
    return seconds


def filled_span(value: Any, key: str, wanted: str = "e.g. 24h, or 0") -> int:
    """Seconds after which something is deleted, so that an empty value must not stand for none."""
    if value in (None, "") or isinstance(value, bool):
        raise SettingsError(f"{key}: {shown(value if value != '' else None)}; give {wanted}")
    return span(value, key)


def span_or_never(value: Any, key: str) -> int | None:
    """The same; None = never."""
    return None if value == "never" else filled_span(value, key, "never, 0 or e.g. 14d")


def _written(value: Any) -> str:
    return _digits(value).strip() if isinstance(value, int) else str(value).lower()


def _digits(value: float) -> str:
    """A number and a blank; nothing for one that Python does not write, or nobody reads."""
    return "" if isinstance(value, int) and value.bit_length() > 100 else f"{value} "


def _is_nothing(value: Any) -> bool:
    # False == 0 in Python, but a pillar that says false, off or no for an amount is a mistake.
    return not isinstance(value, bool) and value in (None, "", 0)


_LONGEST_SHOWN = 80


def quoted(text: str) -> str:
    """A text and a blank for a sentence; nothing where it may be a key, or hold a login."""
    return f"{text!r} " if len(text) <= _LONGEST_SHOWN and text.isprintable() and "@" not in text else ""


def shown(value: Any) -> str:
    """A value and its kind for a sentence; mappings may hold secrets and are not shown."""
    if value is None:
        return "is empty"
    if isinstance(value, bool):
        return f"{str(value).lower()} is a boolean"
    if isinstance(value, (int, float)):
        return f"{_digits(value)}is a number"
    if isinstance(value, str):
        return f"{quoted(value)}is a string"
    kinds = {"list": (list, tuple), "mapping": (Mapping,), "date": (date,)}
    kind = next((name for name, types in kinds.items() if isinstance(value, types)), "")
    return f"is a {kind}" if kind else f"is of type {type(value).__name__}"


def _kind(value: Any) -> str:
    """The kind of what stands in the place of a mapping, which may be a login in a single string."""
    return "is a string" if isinstance(value, str) else shown(value)


def _in_quotes(value: Any) -> str:
    # 1.10 and 1.1 are the same number, so what was written is not known any more.
    if isinstance(value, (float, date)):
        return ", as YAML reads it; put it in quotes"
    digits = _digits(value).strip() if isinstance(value, int) and not isinstance(value, bool) else ""
    return f"; give a string, e.g. '{digits}'" if digits else "; give a string"


# bcrypt ignores what is longer.
_LONGEST_PASSWORD = 72
_BCRYPT = re.compile(r"\$2[abxy]?\$(?:0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{53}")
# Of what other programs take: crypt(3), apr1, LDAP's schemes.
_OTHER_HASH = re.compile(
    r"\$(?:1|2[a-z]?|5|6|7|g?y|md5|sha1|apr1|argon2[a-z]*|scrypt|pbkdf2[a-z0-9-]*)\$.+|\{[A-Z0-9]+\}.+",
    re.DOTALL,
)


def password_mistake(entry: str) -> str:
    """What is wrong with a hash or password, for a sentence that names its key; never with the text of it."""
    if not entry:
        return "is empty; give a bcrypt hash or a password"
    if is_bcrypt_hash(entry):
        return ""
    if _OTHER_HASH.fullmatch(entry):
        return "looks like a hash, but is none of bcrypt, which is all that the registry takes"
    if _CONTROL.search(entry):
        return "has a character in it that no password may have"
    return (
        ""
        if len(entry.encode()) <= _LONGEST_PASSWORD
        else f"is longer than the {_LONGEST_PASSWORD} bytes that bcrypt looks at"
    )


def is_bcrypt_hash(entry: str) -> bool:
    """Whether a text is a bcrypt hash."""
    return bool(_BCRYPT.fullmatch(entry))
