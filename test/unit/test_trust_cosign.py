"""cosign's signatures by a key, as payloads of ``.sig`` tags and as bundles."""

from __future__ import annotations

import base64
import json

import pytest

from _registry_trust_cosign import open_bundle, open_payload, public_keys, read_bundle
from _registry_trust_evidence import BUNDLE, COSIGN, Unverified
from _registry_trust_keys import Key, Material
from _registry_trust_payload import claim_of
from support.made_signatures import (
    bundle,
    cosign_payload,
    make_key,
    public_pem,
    signature,
    simple_payload,
    statement,
)

DIGEST = "sha256:" + "1" * 64
KINDS = ("P-256", "P-384", "RSA", "Ed25519")


def keys_of(**private):
    return public_keys(
        Key(name, cosign=(Material(f"k:{name}", "the text", public_pem(key).encode()),))
        for name, key in private.items()
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_payload_is_opened_by_the_key_that_has_signed_it(kind):
    key, payload = make_key(kind), cosign_payload(DIGEST, "r.example.com/a/b")
    opened = open_payload(payload, signature(key, payload), keys_of(other=make_key(), ours=key))
    assert opened.names == ("ours",)
    assert claim_of(COSIGN, opened.payload).digests == (DIGEST,)
    assert claim_of(COSIGN, opened.payload).identity == "r.example.com/a/b"


@pytest.mark.parametrize("kind", KINDS)
def test_a_payload_with_another_byte_is_opened_by_no_key(kind):
    key, payload = make_key(kind), cosign_payload(DIGEST, "r.example.com/a/b")
    with pytest.raises(Unverified) as caught:
        open_payload(payload.replace(b"1", b"2"), signature(key, payload), keys_of(ours=key))
    assert caught.value.verdict == "unknown key"


def test_a_payload_is_opened_by_no_key_where_none_is_known():
    key, payload = make_key(), cosign_payload(DIGEST, "r.example.com/a/b")
    with pytest.raises(Unverified):
        open_payload(payload, signature(key, payload), [])


@pytest.mark.parametrize("text", ["", "no base64!", "AAAA", "A" * 100_000])
def test_an_annotation_that_is_no_signature_is_refused(text):
    key = make_key()
    with pytest.raises(Unverified):
        open_payload(cosign_payload(DIGEST, "r/a"), text, keys_of(ours=key))


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_is_opened_by_the_key_that_has_signed_it(kind):
    key = make_key(kind)
    opened = open_bundle(read_bundle(bundle(key, statement(DIGEST))), keys_of(ours=key, other=make_key()))
    assert opened.names == ("ours",)
    assert claim_of(BUNDLE, opened.payload).digests == (DIGEST,)


def test_a_bundle_of_another_key_says_whose_it_is():
    key = make_key()
    with pytest.raises(Unverified) as caught:
        open_bundle(read_bundle(bundle(key, statement(DIGEST))), keys_of(ours=make_key()))
    assert caught.value.verdict == "unknown key"
    assert len(base64.b64decode(caught.value.key)) == 32


def test_a_bundle_whose_statement_was_exchanged_is_broken():
    key = make_key()
    document = json.loads(bundle(key, statement(DIGEST)))
    document["dsseEnvelope"]["payload"] = base64.b64encode(statement("sha256:" + "2" * 64)).decode()
    with pytest.raises(Unverified) as caught:
        open_bundle(read_bundle(json.dumps(document).encode()), keys_of(ours=key))
    assert (caught.value.verdict, str(caught.value)) == ("invalid", "is not what the key signed")
    assert caught.value.names == ("ours",)


def test_a_signature_over_the_statement_alone_is_not_one_over_the_envelope():
    key, payload = make_key(), statement(DIGEST)
    document = json.loads(bundle(key, payload))
    document["dsseEnvelope"]["signatures"] = [{"sig": signature(key, payload)}]
    with pytest.raises(Unverified):
        open_bundle(read_bundle(json.dumps(document).encode()), keys_of(ours=key))


def without(part):
    def change(document):
        document.pop(part)

    return change


def set_in_envelope(name, value):
    def change(document):
        document["dsseEnvelope"][name] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        without("mediaType"),
        without("verificationMaterial"),
        without("dsseEnvelope"),
        set_in_envelope("payload", "?"),
        set_in_envelope("payload", 1),
        set_in_envelope("payloadType", "text/plain"),
        set_in_envelope("signatures", []),
        set_in_envelope("signatures", [{"sig": ""}, {"sig": ""}]),
        set_in_envelope("signatures", [1]),
    ],
)
def test_a_bundle_of_another_shape_is_unreadable(change):
    document = json.loads(bundle(make_key(), statement(DIGEST)))
    change(document)
    with pytest.raises(Unverified) as caught:
        read_bundle(json.dumps(document).encode())
    assert caught.value.verdict == "unreadable here"


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"a":1,"a":2}', b"<html>", b"NaN"])
def test_what_is_no_json_object_is_no_bundle(body):
    with pytest.raises(Unverified):
        read_bundle(body)


def test_an_attestation_is_no_signature_of_the_image():
    with pytest.raises(Unverified, match=r"attests https://slsa\.dev/provenance/v1 and signs no image"):
        claim_of(BUNDLE, statement(DIGEST, "https://slsa.dev/provenance/v1"))


PAYLOAD = simple_payload(DIGEST, "r.example.com/a", "cosign container image signature")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (PAYLOAD.replace(b'"type"', b'"type":"x","type"'), "is no JSON"),
        (PAYLOAD.replace(b'"optional"', b'"critical":{},"optional"'), "is no JSON"),
        (PAYLOAD.replace(b'"type"', b'"more":1,"type"'), "has a member 'more' that is not known"),
        (PAYLOAD.replace(b'"optional":null', b'"optional":null,"x":1'), "has a member 'x' that is not known"),
        (PAYLOAD.replace(b'"type"', b'"Type"'), "has no type"),
        (PAYLOAD.replace(b"cosign container", b"atomic container"), "is no cosign container image signature"),
        (PAYLOAD.replace(b"sha256:", b"sha1:"), "names no image"),
        (PAYLOAD.replace(b'"r.example.com/a"', b"7"), "names no image"),
        (PAYLOAD + b"{}", "is no JSON"),
        (b"[]", "is not what a signature's payload looks like"),
        (b"", "is no JSON"),
    ],
)
def test_a_payload_that_two_readers_could_take_for_two_things_is_refused(body, sentence):
    with pytest.raises(Unverified) as caught:
        claim_of(COSIGN, body)
    assert str(caught.value) == f"what the key signed {sentence}"
    assert caught.value.verdict == "invalid"
