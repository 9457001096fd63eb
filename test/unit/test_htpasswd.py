"""The registry's file of users, and what stands on certificates."""

from __future__ import annotations

import builtins
import ctypes
import sys
import types

import bcrypt
import pytest

import _registry_host_htpasswd as htpasswd_file
from _registry_config_minion import resolved
from _registry_config_validators import SettingsError, is_bcrypt_hash, password_mistake
from _registry_host_certificates import leaf, names_missing
from _registry_host_htpasswd import NoBcryptError, find_hasher, htpasswd

HASH = "$2y$05$jO8qOoNUWCdlhbD4cC2XM.dG2LGXYdWRpyIR7fdGI5R6O65PsQAgq"


@pytest.mark.parametrize(
    "find", [htpasswd_file._python_crypt, htpasswd_file._libcrypt, htpasswd_file._package]
)
@pytest.mark.parametrize("password", ["plain", "é ü: x", "x" * 72])
def test_each_way_to_hash_makes_what_bcrypt_knows(find, password):
    hasher = find()
    if hasher is None:
        pytest.skip(f"{find.__name__} is not here")
    line = htpasswd({"user": password}, hasher=hasher)
    hashed = line.strip().partition(":")[2]
    assert bcrypt.checkpw(password.encode(), hashed.encode())
    assert not bcrypt.checkpw(password[1:].encode(), hashed.encode())
    assert htpasswd({"user": password}, line, hasher) == line
    assert htpasswd({"user": password[1:]}, line, hasher) != line


def test_a_hash_is_taken_as_it_is_even_where_nothing_can_hash(monkeypatch):
    monkeypatch.setattr(htpasswd_file, "find_hasher", lambda: pytest.fail("nothing to hash"))
    assert htpasswd({"b": HASH, "a": HASH}) == f"a:{HASH}\nb:{HASH}\n"


def test_a_hash_that_fits_stays_whatever_made_it():
    old = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")
    assert htpasswd({"user": "secret"}, f"# by hand\nuser:{old}\ngone:{HASH}\n") == f"user:{old}\n"


def test_another_module_of_that_name_is_not_pythons_crypt(monkeypatch):
    """Salt's loader has the directory of Salt's own crypt.py on its path."""
    monkeypatch.setitem(sys.modules, "crypt", types.ModuleType("crypt"))
    assert htpasswd_file._python_crypt() is None
    assert find_hasher()(*htpasswd_file._KNOWN[:2]) == htpasswd_file._KNOWN[2]


def test_without_a_way_to_hash_it_says_so(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name in ("crypt", "bcrypt"):
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    def no_library(name):
        raise OSError(name)

    monkeypatch.setattr(builtins, "__import__", without)
    # The C library's is the way that is left from Python 3.13 on.
    assert find_hasher()(*htpasswd_file._KNOWN[:2]) == htpasswd_file._KNOWN[2]
    monkeypatch.setattr(ctypes, "CDLL", no_library)
    with pytest.raises(NoBcryptError):
        htpasswd({"user": "secret"})


def test_a_libcrypt_without_bcrypt_is_not_taken(monkeypatch):
    monkeypatch.setattr(htpasswd_file, "_python_crypt", lambda: lambda password, setting: "*0")
    monkeypatch.setattr(htpasswd_file, "_libcrypt", lambda: None)
    assert is_bcrypt_hash(find_hasher()("secret", HASH[:29]))


@pytest.mark.parametrize(
    ("entry", "mistake"),
    [
        (HASH, ""),
        ("plain", ""),
        ("$ecret$word", ""),
        ("x" * 72, ""),
        ("", "is empty"),
        ("$apr1$zJ1Q$abc", "looks like a hash"),
        ("$2y$05$short", "looks like a hash"),
        ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "looks like a hash"),
        ("é" * 37, "is longer than the 72 bytes"),
        ("a\nroot:x", "has a character in it"),
    ],
)
def test_what_is_wrong_with_a_password_is_said_without_it(entry, mistake):
    said = password_mistake(entry)
    assert said.startswith(mistake)
    assert bool(said) == bool(mistake)
    assert not entry or entry not in said


def test_names_on_a_certificate():
    wanted = leaf(["mirror", "2001:db8::1"], ["10.0.0.1", "fe80::1", "::1"])
    assert wanted["subjectAltName"] == [
        "DNS:mirror",
        "IP:2001:db8::1",
        "DNS:localhost",
        "IP:10.0.0.1",
        "IP:::1",
    ]
    assert len(leaf(["a" * 100], [])["CN"]) == 64


def test_a_name_is_missing_however_it_is_written():
    shown = ["DNS:Mirror", "IP:2001:0db8:0000:0000:0000:0000:0000:0001"]
    certificate = {"extensions": {"subjectAltName": {"value": shown}}}
    assert names_missing(certificate, ["mirror", "2001:db8::1", "10.0.0.1"]) == ["10.0.0.1"]
    assert names_missing({"extensions": {}}, ["mirror"]) == ["mirror"]


def test_sdb_is_asked_once_for_each_value_wherever_it_stands():
    asked = []

    def get(uri, strict):
        asked.append((uri, strict))
        return "value"

    pillar = {"local": {"password": "sdb://a/b"}, "list": ["sdb://a/b", "x sdb://a/b", 5, None]}
    assert resolved(pillar, {"sdb.get": get}, {}) == {
        "local": {"password": "value"},
        "list": ["value", "x sdb://a/b", 5, None],
    }
    assert asked == [("sdb://a/b", True)]


def test_a_database_that_fails_is_named_by_key_without_its_words():
    def get(uri, strict):
        raise RuntimeError("http://user:secret@vault refused")

    with pytest.raises(
        SettingsError, match=r"^docker_registry:list:0: cannot be read \(RuntimeError\)"
    ) as error:
        resolved({"list": ["sdb://a/b"]}, {"sdb.get": get}, {})
    assert "secret" not in str(error.value)
