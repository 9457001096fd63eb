"""Simple signing: messages made by gpg itself, and what somebody else could put in their place."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

import _registry_trust_gpg as trust_gpg
from _registry_oci_errors import RegistryError
from _registry_trust_evidence import SIMPLE, Unverified
from _registry_trust_gpg import PAYLOAD_LIMIT, GpgHome
from _registry_trust_keys import BadKey, Key, Material
from _registry_trust_payload import claim_of
from support.made_signatures import Gpg, simple_payload

pytestmark = pytest.mark.needs("gpg")

DIGEST = "sha256:" + "1" * 64
PAYLOAD = simple_payload(DIGEST, "r.example.com/a/b:1.0", creator="atomic 1.0", timestamp=1795667879)


@pytest.fixture(scope="module")
def gpg(tmp_path_factory):
    pytest.importorskip("gnupg")
    home = Gpg(tmp_path_factory.mktemp("gpg") / "home")
    home.make_key("redhat")
    home.make_key("stranger")
    yield home
    home.close()


def key_of(gpg, name, entry=""):
    entry = entry or name
    return Key(entry, gpg=(Material(f"k:{entry}:gpg", "the text", gpg.public(name).encode()),))


class Batch:
    """A home that opens a message between two good ones, all of them at once."""

    def __init__(self, home, good):
        self._home = home
        self._good = good
        self._names = home._names

    def open(self, message):
        first, told, last = self._home.open_all([self._good[0], message, self._good[1]])
        assert [good.names for good in (first, last)] == [("redhat",)] * 2
        if isinstance(told, Unverified):
            raise told
        return told


@pytest.fixture(scope="module", params=["alone", "in a batch"])
def home(gpg, request):
    opened = GpgHome([key_of(gpg, "redhat")])
    good = [gpg.sign(simple_payload(DIGEST, f"r.example.com/good:{n}"), "redhat") for n in (1, 2)]
    yield opened if request.param == "alone" else Batch(opened, good)
    opened.close()


def verdict(home, message):
    with pytest.raises(Unverified) as caught:
        home.open(message)
    return caught.value.verdict, str(caught.value)


@pytest.mark.parametrize("options", [(), ("--compress-algo", "none"), ("--compress-algo", "bzip2")])
def test_a_message_is_opened_by_the_key_that_has_signed_it(gpg, home, options):
    opened = home.open(gpg.sign(PAYLOAD, "redhat", options=options))
    assert (opened.names, opened.payload) == (("redhat",), PAYLOAD)
    claim = claim_of(SIMPLE, opened.payload)
    assert (claim.digests, claim.identity, claim.time) == ((DIGEST,), "r.example.com/a/b:1.0", 1795667879)
    assert opened.time > 1_600_000_000


def test_the_home_is_this_process_own_and_is_gone_in_the_end(gpg):
    opened = GpgHome([key_of(gpg, "redhat")])
    directory = Path(opened._directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    opened.close()
    assert not directory.exists()


def test_a_signature_of_a_key_that_nobody_named_is_of_an_unknown_key(gpg, home):
    with pytest.raises(Unverified) as caught:
        home.open(gpg.sign(PAYLOAD, "stranger"))
    assert caught.value.verdict == "unknown key"
    assert len(caught.value.key) == 16


def test_a_key_in_two_entries_is_of_both(gpg):
    opened = GpgHome([key_of(gpg, "redhat"), key_of(gpg, "redhat", "vendor"), key_of(gpg, "stranger")])
    try:
        assert opened.open(gpg.sign(PAYLOAD, "redhat")).names == ("redhat", "vendor")
        assert opened.open(gpg.sign(PAYLOAD, "stranger")).names == ("stranger",)
    finally:
        opened.close()


def test_a_subkey_signs_for_its_primary_key(gpg):
    primary = gpg.make_key("with-subkey")
    gpg.run("--quick-add-key", primary, "ed25519", "sign", "never")
    opened = GpgHome([key_of(gpg, "with-subkey")])
    try:
        assert opened.open(gpg.sign(PAYLOAD, "with-subkey")).key == primary
    finally:
        opened.close()


def test_a_message_with_another_byte_is_not_what_the_key_signed(gpg, home):
    message = gpg.sign(PAYLOAD, "redhat", options=("--compress-algo", "none"))
    assert (
        verdict(home, message.replace(b"r.example.com", b"s.example.com"))[1] == "is not what the key signed"
    )


def test_two_signatures_in_one_message_are_refused(gpg):
    both = GpgHome([key_of(gpg, "redhat"), key_of(gpg, "stranger")])
    try:
        assert verdict(both, gpg.sign(PAYLOAD, "redhat", "stranger"))[0] == "invalid"
    finally:
        both.close()


def test_two_messages_in_one_file_are_refused(gpg, home):
    message = gpg.sign(PAYLOAD, "redhat", options=("--compress-algo", "none"))
    assert verdict(home, message + message)[0] in ("invalid", "unreadable here")


def test_an_unsigned_message_is_unreadable(gpg, home):
    assert verdict(home, gpg.run("--output", "-", "--store", "-", data=PAYLOAD))[0] == "unreadable here"


def test_the_name_of_a_file_in_a_message_is_no_word_of_gpgs(gpg, home):
    """Versions before 2.2.8 wrote it to where they tell of signatures (CVE-2018-12020)."""
    (fingerprint,) = home._names
    valid = f"[GNUPG:] VALIDSIG {fingerprint} 2026-01-01 1 0 4 0 22 8 00 {fingerprint}"
    name = f"x\n[GNUPG:] GOODSIG {fingerprint[-16:]} redhat\n{valid}\n"
    forged = gpg.run("--set-filename", name, "--output", "-", "--store", "-", data=PAYLOAD)
    assert b"VALIDSIG" in gpg.run("--list-packets", "--verbose", data=forged)
    assert verdict(home, forged)[0] == "unreadable here"


def test_a_signature_without_what_was_signed_is_refused(gpg, home):
    detached = gpg.run("--local-user", "=redhat", "--output", "-", "--detach-sign", "-", data=PAYLOAD)
    assert verdict(home, detached)[0] == "invalid"


def test_what_was_encrypted_is_unreadable(gpg, home):
    hidden = gpg.run("--passphrase", "x", "--output", "-", "--symmetric", "-", data=PAYLOAD)
    assert verdict(home, hidden)[0] == "unreadable here"


def test_a_bomb_of_fifty_megabytes_is_opened_no_further_than_the_limit(gpg, home):
    message = gpg.sign(bytes(50_000_000), "redhat")
    assert len(message) < 100_000
    assert verdict(home, message) == ("unreadable here", f"is larger than {PAYLOAD_LIMIT} bytes")


# A one-pass signature of version 6, as those of keys for after the quantum computer begin.
V6 = bytes([0xC4, 0x26, 0x06, 0x00, 0x0A, 0x6B, 0x10, *bytes(16), *bytes(16)])


@pytest.mark.parametrize(
    "message", [b"", b"<html>", b"\x00sigstore-json", b"{}", b"\xff" * 100, V6, V6 + PAYLOAD]
)
def test_what_gpg_cannot_read_is_unreadable_and_no_failure(home, message):
    assert verdict(home, message)[0] == "unreadable here"


def test_a_message_as_text_is_no_signature_of_an_image(gpg, home):
    assert verdict(home, gpg.sign(PAYLOAD, "redhat", options=("--armor",)))[0] == "unreadable here"


def test_a_key_that_has_expired_signs_nothing(gpg):
    past = ("--faked-system-time", "20200101T000000")
    gpg.make_key("expired", *past, expires="1y")
    opened = GpgHome([key_of(gpg, "expired")])
    try:
        message = gpg.sign(PAYLOAD, "expired", options=past)
        assert verdict(opened, message) == ("invalid", "is of a key that has expired")
    finally:
        opened.close()


def test_a_key_that_was_revoked_signs_nothing(gpg):
    fingerprint = gpg.make_key("revoked")
    message = gpg.sign(PAYLOAD, "revoked")
    revocation = (gpg.home / "openpgp-revocs.d" / f"{fingerprint}.rev").read_text()
    gpg.run("--import", data=revocation.replace(":-----BEGIN", "-----BEGIN").encode())
    opened = GpgHome([key_of(gpg, "revoked")])
    try:
        assert verdict(opened, message) == ("invalid", "is of a key that was revoked")
    finally:
        opened.close()


@pytest.fixture
def processes(tmp_path, monkeypatch):
    """A file with a line for each process of gpg that looks at messages."""
    told = tmp_path / "processes"
    program = tmp_path / "bin" / "gpg"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *--decrypt*) echo >>{told} ;; esac\nexec {shutil.which("gpg")} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    told.touch()
    return told


def test_a_hundred_signatures_are_looked_at_by_one_process(gpg, processes):
    messages = [gpg.sign(simple_payload(DIGEST, f"r.example.com/a:{n}"), "redhat") for n in range(10)]
    opened = GpgHome([key_of(gpg, "redhat")])
    try:
        told = opened.open_all(messages * 10)
    finally:
        opened.close()
    assert [claim_of(SIMPLE, one.payload).identity for one in told] == [
        f"r.example.com/a:{n}" for n in range(10)
    ] * 10
    assert len(processes.read_text().splitlines()) == 1


def test_what_follows_a_bomb_in_a_batch_is_looked_at_alone(gpg, processes):
    good = [gpg.sign(simple_payload(DIGEST, f"r.example.com/a:{n}"), "redhat") for n in range(2)]
    opened = GpgHome([key_of(gpg, "redhat")])
    try:
        bomb, *others = opened.open_all([gpg.sign(bytes(1_000_000), "redhat"), *good])
    finally:
        opened.close()
    assert str(bomb) == f"is larger than {PAYLOAD_LIMIT} bytes"
    assert [one.names for one in others] == [("redhat",)] * 2
    assert len(processes.read_text().splitlines()) == 4


def test_a_refused_signature_is_no_warning_in_the_log(home, caplog):
    assert verdict(home, b"\xff" * 100)[0] == "unreadable here"
    assert not caplog.records


def test_an_armored_block_without_a_key_is_told_by_its_pillar_key():
    pytest.importorskip("gnupg")
    block = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n"
    with pytest.raises(BadKey, match="k:x:gpg: /k holds no OpenPGP key that gpg here can read"):
        GpgHome([Key("x", gpg=(Material("k:x:gpg", "/k", block),))])


def test_a_home_without_keys_opens_nothing(gpg):
    empty = GpgHome([])
    try:
        assert verdict(empty, gpg.sign(PAYLOAD, "redhat"))[0] == "unknown key"
    finally:
        empty.close()


def test_a_minion_without_gpg_is_told_so(monkeypatch):
    pytest.importorskip("gnupg")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RegistryError, match="gpg is not installed, and signed_by needs it"):
        trust_gpg.GpgHome([])
