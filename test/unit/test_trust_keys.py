"""Keys of ``signatures:keys``: read from files or the pillar's own text, and refused in a sentence."""

from __future__ import annotations

import base64

import pytest

from _registry_config_read import read_settings
from _registry_config_validators import SettingsError
from _registry_config_values import SigningKey
from _registry_oci_errors import RegistryError
from _registry_trust_cosign import open_payload, public_keys
from _registry_trust_keyless import Keyless
from _registry_trust_keys import KEY_LIMIT, Key, openpgp_packets, read_keys
from support.made_signatures import make_key, public_pem, signature

PUBLIC_BLOCK = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n…"


def read(**entry):
    return read_keys({"k": SigningKey("docker_registry:signatures:keys:k", **entry)}, ["k"])["k"]


def refused(**entry):
    with pytest.raises(SettingsError) as caught:
        read(**entry)
    return str(caught.value)


def test_a_key_is_read_from_a_file_or_is_the_text_itself(tmp_path):
    pem = public_pem(make_key())
    (tmp_path / "ours.pub").write_text(pem)
    key = read(cosign=(str(tmp_path / "ours.pub"), pem), gpg=(PUBLIC_BLOCK,))
    assert [material.body for material in key.cosign] == [pem.encode()] * 2
    assert key.gpg[0].body == PUBLIC_BLOCK.encode()


@pytest.mark.parametrize("between", ["", "# the new one\n"])
def test_each_public_key_of_a_file_is_one(tmp_path, between):
    keys = [make_key(kind) for kind in ("P-256", "RSA", "Ed25519")]
    (tmp_path / "ours.pub").write_text(between.join(public_pem(key) for key in keys))
    read_ones = public_keys([read(cosign=(f"{tmp_path}/ours.pub",))])
    payload = b"payload"
    for key in keys:
        assert open_payload(payload, signature(key, payload), read_ones).names == ("k",)
    assert len(read_ones) == len(keys)


def test_a_file_of_several_keys_with_a_bad_one_is_told(tmp_path):
    bad = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
    (tmp_path / "ours.pub").write_text(public_pem(make_key()) + bad)
    said = refused(cosign=(f"{tmp_path}/ours.pub",))
    assert said == f"{AT}:cosign: key 2 of {tmp_path}/ours.pub holds no public key in PEM"


PACKETS = b"\x98\x01\x04" + bytes(range(40))
HEADED = "Version: 1\nComment: a key\n\n"


def armored(body, headers="\n", end="-----END PGP PUBLIC KEY BLOCK-----\n", newline="\n"):
    text = base64.encodebytes(body).decode()
    whole = f"pub  4096R\n-----BEGIN PGP PUBLIC KEY BLOCK-----\n{headers}{text}=abcd\n{end}"
    return whole.replace("\n", newline).encode()


@pytest.mark.parametrize(
    ("body", "packets"),
    [
        (PACKETS, PACKETS),
        (armored(PACKETS), PACKETS),
        (armored(PACKETS, HEADED, newline="\r\n"), PACKETS),
        (armored(PACKETS, end=""), PACKETS),
        (armored(PACKETS) + armored(PACKETS[::-1]), PACKETS + PACKETS[::-1]),
        (armored(PACKETS) + armored(PACKETS).replace(b"mAEE", b"m!EE"), b""),
        (b"<html>", b""),
        (b"", b""),
    ],
)
def test_openpgp_keys_of_a_file_are_one_keyring(body, packets):
    assert openpgp_packets(body) == packets


def test_only_keys_that_are_needed_are_read():
    entries = {"a": SigningKey("k:a", gpg=("/nowhere",)), "b": SigningKey("k:b", gpg=(PUBLIC_BLOCK,))}
    assert set(read_keys(entries, ["b"])) == {"b"}


def test_a_key_is_not_shown():
    assert "BEGIN" not in repr(read(gpg=(PUBLIC_BLOCK,)))


AT = "docker_registry:signatures:keys:k"


def test_a_file_that_is_not_there_is_told(tmp_path):
    assert (
        refused(gpg=(f"{tmp_path}/x",)) == f"{AT}:gpg: {tmp_path}/x cannot be read: No such file or directory"
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"\x00", b"mQINBE"])
def test_a_file_without_an_openpgp_key_is_told(tmp_path, body):
    (tmp_path / "key").write_bytes(body)
    assert refused(gpg=(f"{tmp_path}/key",)) == f"{AT}:gpg: {tmp_path}/key holds no OpenPGP key"


@pytest.mark.parametrize(
    "body",
    [b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n", b"\x95\x01", b"\xc5\x01", b"-----BEGIN PRIVATE KEY-----\n"],
)
@pytest.mark.parametrize("kind", ["gpg", "cosign"])
def test_a_private_key_is_refused(tmp_path, body, kind):
    (tmp_path / "key").write_bytes(body)
    assert refused(**{kind: (f"{tmp_path}/key",)}) == (
        f"{AT}:{kind}: {tmp_path}/key is a private key; give the public one"
    )


def test_cosigns_own_private_key_is_refused():
    text = (
        "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"
    )
    assert refused(cosign=(text,)) == f"{AT}:cosign: the text is a private key; give the public one"


@pytest.mark.parametrize(
    "body", [b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"\x99\x01"]
)
def test_a_file_without_a_public_key_is_told(tmp_path, body):
    (tmp_path / "key").write_bytes(body)
    assert refused(cosign=(f"{tmp_path}/key",)) == f"{AT}:cosign: {tmp_path}/key holds no public key in PEM"


def test_a_key_that_cosign_does_not_sign_with_is_told():
    from cryptography.hazmat.primitives.asymmetric import x25519

    text = public_pem(x25519.X25519PrivateKey.generate())
    assert (
        refused(cosign=(text,))
        == f"{AT}:cosign: the text holds a key of a kind that cosign does not sign with"
    )


def test_a_file_that_is_no_key_is_not_read_whole(tmp_path):
    with (tmp_path / "key").open("wb") as file:
        file.truncate(KEY_LIMIT * 1000)
    assert refused(gpg=(f"{tmp_path}/key",)) == f"{AT}:gpg: {tmp_path}/key is larger than any key"


def test_a_keyless_key_says_which_package_it_needs():
    pytest.importorskip("cryptography")
    try:
        import sigstore  # noqa: F401
    except ImportError:
        with pytest.raises(RegistryError) as caught:
            Keyless(Key("ci", issuer="https://i", identity="x@example.com", trusted_root="/r.json"))
        assert str(caught.value) == (
            "the Python package sigstore is not installed, and signatures:keys:ci is keyless"
        )
    else:
        with pytest.raises(SettingsError, match=r"trusted_root: /r\.json is no trusted root of Sigstore"):
            Keyless(Key("ci", issuer="https://i", identity="x@example.com", trusted_root="/r.json"))


# What the pillar may say.
KEYS = {"redhat": {"gpg": ["/etc/pki/rpm-gpg/KEY"]}, "ours": {"cosign": ["/etc/pki/ours.pub"]}}


def settings_of(pillar):
    return read_settings({"images": ["a/b"], **pillar}, host="mirror")


def image_of(pillar):
    return settings_of(pillar).images[0]


def test_images_are_signed_by_what_their_defaults_say_or_by_what_they_say_themselves():
    settings = settings_of(
        {
            "signatures": {"keys": KEYS},
            "image_defaults": {"signed_by": ["redhat"]},
            "images": ["a/b", {"name": "a/c", "signed_by": ["ours"]}, {"name": "a/d", "signed_by": []}],
        }
    )
    assert [image.signed_by for image in settings.images] == [("redhat",), ("ours",), ()]
    assert settings.keys["redhat"].gpg == ("/etc/pki/rpm-gpg/KEY",)


@pytest.mark.parametrize(
    ("pillar", "name"),
    [
        ({}, "registry.access.redhat.com/a/b"),
        ({"upstream": {"host": "m.example.com", "port": 5000}}, "m.example.com:5000/a/b"),
        ({"upstream": {"host": "m.example.com", "port": 80, "tls": False}}, "m.example.com/a/b"),
        ({"upstream": {"host": "m.example.com", "signed_as": "vendor.com"}}, "vendor.com/a/b"),
        (
            {
                "upstream": {"signed_as": "vendor.com"},
                "images": [{"name": "a/b", "upstream": {"host": "o.com"}}],
            },
            "o.com/a/b",
        ),
        (
            {"upstream": {"signed_as": "vendor.com"}, "images": [{"name": "a/b", "upstream": {"proxy": ""}}]},
            "vendor.com/a/b",
        ),
        (
            {"images": [{"name": "site/b", "upstream": {"signed_as": "vendor.com/a/b"}}]},
            "vendor.com/a/b",
        ),
        ({"images": [{"name": "a/b", "target": "site/b"}]}, "registry.access.redhat.com/a/b"),
    ],
)
def test_an_image_has_a_name_in_signatures(pillar, name):
    assert image_of(pillar).signed_name == name


@pytest.mark.parametrize(
    ("pillar", "sentence"),
    [
        (
            {"signatures": {"keys": KEYS}, "image_defaults": {"signed_by": ["redhta"]}},
            "docker_registry:image_defaults:signed_by: names no key of signatures:keys (redhta); "
            "did you mean redhat?",
        ),
        (
            {"images": [{"name": "a/b", "signed_by": ["ours"]}]},
            "docker_registry:images:0:signed_by: names no key of signatures:keys (ours)",
        ),
        (
            {"signatures": {"keys": {"k": {"pgp": ["/k"]}}}},
            "docker_registry:signatures:keys:k:pgp: unknown key; did you mean gpg?",
        ),
        (
            {"signatures": {"keys": {"k": {}}}},
            "docker_registry:signatures:keys:k: is empty; give one of gpg,",
        ),
        (
            {"signatures": {"keys": {"k": {"gpg": []}}}},
            "docker_registry:signatures:keys:k:gpg: is empty; give a",
        ),
        (
            {"signatures": {"keys": {"k": {"gpg": ["KEY"]}}}},
            "docker_registry:signatures:keys:k:gpg:0: is neither an absolute path nor the text of a key",
        ),
        (
            {"signatures": {"keys": {"k": {"keyless": {"issuer": "https://i"}}}}},
            "docker_registry:signatures:keys:k:keyless: has no identity",
        ),
        (
            {"signatures": {"keys": {"a b": KEYS["ours"]}}},
            "docker_registry:signatures:keys: 'a b' is no name of",
        ),
        (
            {"upstream": {"signed_as": "https://v"}},
            "docker_registry:upstream:signed_as: 'https://v' is neither",
        ),
        (
            {"upstream": {"signed_as": "v.com/a"}},
            "docker_registry:upstream:signed_as: 'v.com/a' is the name of",
        ),
        ({"local": {"signed_as": "v.com"}}, "docker_registry:local:signed_as: unknown key"),
        (
            {"image_defaults": {"signed_by": "redhat"}},
            "docker_registry:image_defaults:signed_by: 'redhat' is a string; give a list, e.g. [redhat]",
        ),
    ],
)
def test_what_is_wrong_with_keys_is_one_sentence(pillar, sentence):
    with pytest.raises(SettingsError) as caught:
        settings_of(pillar)
    assert str(caught.value).startswith(sentence)
