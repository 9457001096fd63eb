"""What may stand in the pillar ``docker_registry``: every key, and what its value is checked to be.

No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

import _registry_config_signatures as signing
import _registry_config_validators as check
from _registry_config_lookaside import STORES_AND_SERVICE
from _registry_config_schedule import schedule
from _registry_config_service import LOOKUP, service_config
from _registry_config_validators import Checker, SettingsError
from _registry_oci_names import is_digest, is_pattern, is_platform, is_repository, is_tag, printable
from _registry_oci_tags import is_comparison, parse_date

ROOT = "docker_registry"
# Value of registry:tls.
SELF_SIGNED = "self_signed"
# What people call a registry whose API has another name.
_API_HOSTS = dict.fromkeys(("docker.io", "index.docker.io"), "registry-1.docker.io")


def _username(value: Any, key: str) -> str:
    text = check.string(value, key)
    if ":" in text:
        raise SettingsError(f"{key}: has a colon in it; give the name alone, and the password as password")
    return check.sendable(text, key)


def _password(value: Any, key: str) -> str:
    return check.sendable(check.secret(value, key), key)


_PROXY = re.compile(r"(?:https?://)?(?:[^@/\s]*@)?(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?/?")


def _proxy(value: Any, key: str) -> str:
    text = check.secret(value, key)
    if text and not _PROXY.fullmatch(text):
        # It may hold a password and is not shown.
        raise SettingsError(f"{key}: is no URL of a proxy; give e.g. http://proxy.example.com:3128")
    return text


_WITH_PORT = re.compile(r"(?:[^\s:]+|\[[^\s\]]+\]):\d+")


def _host(value: Any, key: str) -> str:
    text = check.string(value, key)
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if "@" in text:
        raise SettingsError(
            f"{key}: has a login in it; give the host alone, username and password are own keys"
        )
    if "/" in text:
        raise SettingsError(f"{key}: {text!r} is a URL; give the host alone, tls and port are own keys")
    if _WITH_PORT.fullmatch(text):
        raise SettingsError(f"{key}: {text!r} has a port in it; give it as port")
    if not check.is_host(bare):
        # What has a colon may be a login.
        named = "" if ":" in text else check.quoted(text)
        raise SettingsError(f"{key}: {named}is no host name or address")
    return _API_HOSTS.get(bare, bare)


def _verify(value: Any, key: str) -> bool | str:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.startswith("/"):
        return check.path(value, key)
    raise SettingsError(f"{key}: {check.shown(value)}; give true, false or the path of a CA bundle")


def _prefix_path(value: Any, key: str) -> str:
    text = check.string(value, key).strip("/")
    if text and not re.fullmatch(r"[A-Za-z0-9._~/-]+", text):
        raise SettingsError(f"{key}: {check.quoted(text)}is no path of a URL")
    return text


def bad_repository(name: str, key: str) -> str:
    """Why a repository's name is none, in a sentence."""
    named = check.quoted(name)
    if re.search(r"[:@].*/", name):
        return (
            f"{key}: {named}begins with a registry, which upstream and local name; give the repository alone"
        )
    if ":" in name or "@" in name:
        return f"{key}: {named}names a tag or a digest; give the repository alone and put it under tags"
    return (
        f"{key}: {named}is no repository name; it has lower-case letters and digits, "
        "separated by one of . _ - / and is at most 255 characters long"
    )


def _name(value: Any, key: str) -> str:
    text = check.string(value, key)
    if not text:
        raise SettingsError(f"{key}: an image needs a name")
    return text


def _repository(value: Any, key: str) -> str:
    text = check.string(value, key)
    if not is_repository(text):
        raise SettingsError(bad_repository(text, key))
    return text


def _namespace(value: Any, key: str) -> str:
    return "" if value in (None, "") else _repository(value, key)


def _tag(value: Any, key: str) -> str:
    text = check.string(value, key)
    name, _, pin = text.partition("@")
    if is_digest(text) or (is_pattern(text) and is_tag(re.sub(r"[*?\[\]!]", "_", text))):
        return text
    if is_tag(name) and (text == name or is_digest(pin)):
        return text
    raise SettingsError(
        f"{key}: {text!r} is no tag, pattern or digest; a tag has letters, digits and . _ -, "
        "begins with none of . - and is at most 128 characters long"
    )


def _semver(value: Any, key: str) -> str:
    text = re.sub(r"([<>=!~^])\s+", r"\1", check.string(value, key).replace(",", " "))
    for word in text.split():
        if not is_comparison(word):
            raise SettingsError(f"{key}: {word!r} is no comparison; give e.g. '>=3 <4'")
    return text


def _since(value: Any, key: str) -> str:
    # YAML makes a date of what looks like one; Salt's own reader leaves it a string.
    text = value.isoformat() if isinstance(value, date) else "" if value is None else value
    if not isinstance(text, str) or (text and parse_date(text) is None):
        raise SettingsError(f"{key}: {printable(text)!r} is no date; give e.g. 2025-01-01")
    return text


def _platform(value: Any, key: str) -> str:
    text = check.string(value, key)
    if not is_platform(text):
        raise SettingsError(f"{key}: {text!r} is no platform; give e.g. linux/amd64")
    return text


def _plain_tag(value: Any, key: str) -> str:
    text = check.string(value, key)
    if text and not is_tag(text):
        raise SettingsError(f"{key}: {text!r} is no tag; the command line takes one, without patterns")
    return text


def _variables(value: Any, key: str) -> dict[str, str]:
    entries = check.free_mapping(value, key)
    for name in entries:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(name)):
            raise SettingsError(f"{key}: {name!r} is no name of a variable")
    return {name: check.string(text, f"{key}:{name}") for name, text in entries.items()}


_TAGS_EXAMPLE = "['13.0']"
_tag_list = check.list_of(_tag, _TAGS_EXAMPLE)


def landing(tag: str) -> str:
    """The tag that an entry of a list fills here: without the digest that it is pinned to."""
    return tag.partition("@")[0]


def _wanted_tags(value: Any, key: str) -> list[str]:
    tags: list[str] = check.filled(_tag_list, _TAGS_EXAMPLE)(value, key)
    seen: dict[str, str] = {}
    for position, tag in enumerate(tags):
        if seen.setdefault(landing(tag), tag) != tag:
            raise SettingsError(
                f"{key}:{position}: {landing(tag)} is in this list already, with another digest or none; "
                "give it once"
            )
    return tags


_platforms = check.list_of(_platform, "[linux/amd64]")
_tags = check.either(
    check.mapping(
        {
            "include": _wanted_tags,
            "exclude": _tag_list,
            "semver": _semver,
            "newest": check.number(0, 10_000),
            "since": _since,
        }
    ),
    _wanted_tags,
)
_ENDPOINT: dict[str, Checker] = {
    "host": _host,
    "port": check.number(1, 65535),
    "tls": check.boolean,
    "verify": _verify,
    "username": _username,
    "password": _password,
    "auth_file": check.path,
    "cert": check.path,
    "key": check.path,
    "path": _prefix_path,
    "proxy": _proxy,
}


def _endpoint(value: Any, key: str) -> dict[str, Any]:
    return _registry_at(value, key, _ENDPOINT)


def _upstream(value: Any, key: str) -> dict[str, Any]:
    return _registry_at(value, key, {**_ENDPOINT, "signed_as": signing.signed_as})


def _registry_at(value: Any, key: str, table: Mapping[str, Checker]) -> dict[str, Any]:
    checked: dict[str, Any] = check.mapping(table)(value, key)
    for name, other in (("password", "username"), ("key", "cert")):
        if checked.get(name) and not checked.get(other):
            raise SettingsError(f"{key}:{name}: there is no {other} to it")
    return checked


def _pem_or_path(value: Any, key: str) -> str:
    text = check.secret(value, key)
    if text and not text.startswith("/") and "-----BEGIN " not in text:
        # It may be a key and is not shown.
        raise SettingsError(f"{key}: is neither an absolute path nor PEM text")
    return text


_OWN_TLS: dict[str, Checker] = dict.fromkeys(("certificate", "key", "ca"), _pem_or_path)


def _own_tls(value: Any, key: str) -> str | dict[str, str]:
    """The registry's own certificate: given, or made by an authority of this host's."""
    if not isinstance(value, Mapping):
        if value != SELF_SIGNED:
            raise SettingsError(
                f"{key}: {check.shown(value)}; give self_signed, or a mapping of {', '.join(_OWN_TLS)}"
            )
        return SELF_SIGNED
    checked: dict[str, str] = check.mapping(_OWN_TLS)(value, key)
    for name, other in (("certificate", "key"), ("key", "certificate")):
        if checked.get(name) and not checked.get(other):
            raise SettingsError(f"{key}:{name}: there is no {other} to it")
    return checked


def _users(value: Any, key: str) -> dict[str, str]:
    """Users of the registry; each has a bcrypt hash, or a password to be hashed."""
    users = {}
    for user, entry in ((str(name), entry) for name, entry in check.free_mapping(value, key).items()):
        if not user or user.startswith("#") or ":" in user or not user.isprintable():
            name, colon, _ = user.partition(":")
            shown = f"{name}:…" if colon else name
            raise SettingsError(
                f"{key}:{shown!r}: is no name of a user; it has no colon and begins with no #"
            )
        users[user] = check.secret(entry, f"{key}:{user}")
        if mistake := check.password_mistake(users[user]):
            raise SettingsError(f"{key}:{user}: {mistake}")
    return users


IMAGE: dict[str, Checker] = {
    "name": _name,
    "tags": _tags,
    "platforms": _platforms,
    "upstream": _upstream,
    "target": _repository,
    "signed_by": signing.signed_by,
}
_RECOGNISE = check.one_of("auto", True, False)
_strings = check.list_of(check.filled_string, "[openstack-*]")
_paths = check.list_of(check.filled_path, "[/home/stack/stackrc]")
_UNDERCLOUD: dict[str, Checker] = {
    "recognise": _RECOGNISE,
    "profile": check.mapping(
        {"packages": _strings, "services": _strings, "files": _paths, "directories": _paths}
    ),
    "prepare": check.boolean,
    "upload_with": check.one_of("registry_sync", "openstack"),
    "command": check.filled_string,
    "user": check.filled_string,
    "stackrc": check.path,
    "directory": check.path,
    "environment_files": check.list_of(check.filled_string, "[templates/environment.yaml]"),
    "roles_file": check.string,
    "tag": _plain_tag,
    "exclude": check.list_of(check.filled_string, "[ceph]"),
    "set": _variables,
    "env_file": check.file_name,
    "images_file": check.file_name,
    "parameter_file": check.file_name,
}
_REGISTRY: dict[str, Checker] = {
    "install": check.one_of("auto", "package", "container", "none"),
    "push": check.one_of("local", "everyone"),
    "storage": check.path,
    "config": service_config,
    "tls": _own_tls,
    "htpasswd": _users,
    "token": check.free_mapping,
    "image": check.string,
    "purge": check.boolean,
}


def _registry(value: Any, key: str) -> dict[str, Any]:
    checked: dict[str, Any] = check.mapping(_REGISTRY)(value, key)
    if checked.get("htpasswd") and checked.get("token"):
        raise SettingsError(
            f"{key}:token: the registry asks for one kind of login, and htpasswd is given too"
        )
    return checked


def _percentage(value: Any, key: str) -> float:
    match = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)\s*%", str(value).strip())
    if match is None or float(match[1]) > 100:
        raise SettingsError(f"{key}: {check.shown(value)}; give a percentage, e.g. 10%")
    return float(match[1])


def _backup_tags(value: Any, key: str) -> str:
    text = check.string(value, key)
    named = text.replace("{tag}", "t").replace("{n}", "1")
    if text and ("{n}" not in text or "{tag}" not in text or not is_tag(named)):
        raise SettingsError(
            f"{key}: {text!r} is no template of a tag with {{tag}} and {{n}}, e.g. was-{{tag}}-{{n}}"
        )
    return text


_PRUNE: dict[str, Checker] = {
    "after": check.span_or_never,
    "keep": check.mapping(
        {
            "newest": check.number(0, 10_000),
            "since": check.span,
            "tags": check.list_of(_tag, "['*-golden']"),
            "environments": check.list_of(check.filled_path, "[/home/stack/overcloud-container-images.yaml]"),
        }
    ),
    "ceiling": _percentage,
    "foreign": check.one_of("keep", "prune"),
    "untagged": check.span_or_never,
    "repositories": check.boolean,
}


def _page(value: Any, key: str) -> dict[str, Any]:
    checked: dict[str, Any] = check.mapping({"path": check.path, "max_age": check.span})(value, key)
    if "max_age" in checked and "path" not in checked:
        raise SettingsError(f"{key}: has no path, so no page is written")
    return checked


_ATTACHMENTS = check.mapping(
    {
        "exclude": check.list_of(check.filled_string, "['application/vnd.example.*']"),
        "largest": check.size,
    }
)
_BUNDLE: dict[str, Checker] = {
    "path": check.path,
    "volume": check.size,
    "since": check.path,
    "sign_with": check.string,
    "accept": check.list_of(check.filled_string, "[ours]"),
}
PILLAR: dict[str, Checker] = {
    "force": check.boolean,
    "sync": check.boolean,
    "attachments": check.either(_ATTACHMENTS, check.boolean),
    "upstream": _upstream,
    "local": _endpoint,
    "image_defaults": check.mapping(
        {
            "namespace": _namespace,
            "prefix": check.string,
            "tags": _tags,
            "platforms": _platforms,
            "signed_by": signing.signed_by,
        }
    ),
    "images": check.list_of(check.either(check.mapping(IMAGE), _name), "[aodh-api, cron]"),
    "transfer": check.mapping(
        {
            "parallel": check.number(1, 64),
            "retries": check.number(0, 100),
            "bandwidth": check.bandwidth,
            "deadline": check.span,
            "patience": check.span,
            "spool": check.size,
        }
    ),
    "registry": _registry,
    "lookup": check.mapping(LOOKUP),
    "engine": check.mapping(
        {
            "manage": check.one_of("auto", "docker", "podman", "none"),
            "install": check.one_of("auto", True, False),
            "policy": check.boolean,
            "stand_in_for_upstream": check.boolean,
        }
    ),
    "prune": check.mapping(_PRUNE),
    "collect": check.mapping({"grace": check.filled_span}),
    "signatures": check.mapping({"keys": signing.keys, **STORES_AND_SERVICE}),
    "backup": check.mapping({"keep": check.number(0, 50), "tags": _backup_tags}),
    "bundle": check.mapping(_BUNDLE),
    "verify": check.mapping({"every": check.span, "bandwidth": check.bandwidth, "repair": check.boolean}),
    "firewall": check.one_of("auto", "firewalld", "iptables", "nftables", "none"),
    "undercloud": check.either(check.mapping(_UNDERCLOUD), _RECOGNISE),
    "metrics": check.path,
    "page": check.either(_page, check.path),
    "history": check.number(0, 100_000),
    "mine": check.boolean,
    "schedule": schedule,
}
