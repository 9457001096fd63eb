"""Simple signing: only what a wanted OpenPGP key has signed, in the vendor's store, is mirrored."""

from __future__ import annotations

import pytest

from support.images import Layer, docker_image, docker_list, oci_image
from support.lookaside import put_signature, serve
from support.made_signatures import Gpg, bundle, push_bundle, simple_payload, statement
from support.signed_site import KEYS, OURS, Site, accepted, image_of, refused

pytestmark = pytest.mark.needs("docker-distribution", "gpg")


@pytest.fixture
def site(module_upstream, module_local, tmp_path):
    return Site(module_upstream, module_local, tmp_path)


@pytest.fixture(scope="module")
def gpg(tmp_path_factory):
    pytest.importorskip("gnupg")
    home = Gpg(tmp_path_factory.mktemp("gpg") / "home")
    home.make_key("redhat")
    home.make_key("stranger")
    yield home
    home.close()


@pytest.fixture
def vendor(site, gpg, tmp_path):
    with serve(tmp_path / "store") as url:
        yield Vendor(site, gpg, tmp_path / "store", url)


class Vendor:
    """A vendor whose signatures lie in a store."""

    def __init__(self, site, gpg, store, url):
        self.site, self.gpg, self.store = site, gpg, store
        store.mkdir()
        self.options = {
            "keys": {"redhat": {"gpg": [gpg.public("redhat")]}},
            "signed_by": ("redhat",),
            "stores": {site.upstream.address: url},
        }

    def sign(self, image, tag="1", key="redhat", number=1, digest="", name=""):
        name = name or f"{self.site.upstream.address}/{self.site.name}"
        payload = simple_payload(digest or image.digest, f"{name}:{tag}")
        self.put(image, self.gpg.sign(payload, key), number)

    def put(self, image, body, number=1):
        put_signature(self.store, self.site.name, image.digest, body, number)

    def sync(self, **options):
        return self.site.sync(**{**self.options, **options})


def test_a_simple_signature_for_the_tag_is_accepted_beside_one_that_nobody_can_read(vendor):
    image = vendor.site.push(image_of("simple"))
    v6 = bytes([0xC4, 0x26, 0x06, 0x00, 0x0A, 0x6B, 0x10, *bytes(32)])
    vendor.put(image, v6, 1)
    vendor.sign(image, number=2)
    assert accepted(vendor.sync(), ["redhat"])


def test_a_simple_signature_for_another_tag_is_refused_but_for_a_pinned_digest(vendor):
    image = vendor.site.push(image_of("other-tag"))
    vendor.sign(image, tag="1-38")
    assert refused(vendor.sync()).endswith(f"{vendor.site.name}:1-38, not for this tag")
    assert accepted(vendor.sync(tags=[f"1@{image.digest}"]), ["redhat"])


def test_a_simple_signature_by_a_stranger_is_refused_with_its_key(vendor):
    vendor.sign(vendor.site.push(image_of("stranger")), key="stranger")
    sentence = refused(vendor.sync())
    assert "1 signature, by keys that are not among them (" in sentence


def test_a_tampered_simple_signature_is_told(vendor, gpg):
    image = vendor.site.push(image_of("tampered"))
    payload = simple_payload(image.digest, f"{vendor.site.upstream.address}/{vendor.site.name}:1")
    body = gpg.sign(payload, "redhat", options=("--compress-algo", "none"))
    vendor.put(image, body.replace(b"atomic", b"nuclea"))
    assert refused(vendor.sync()).endswith("is not what the key signed")


def test_a_store_that_answers_with_a_page_is_a_failure_of_the_line(vendor):
    image = vendor.site.push(image_of("page"))
    vendor.put(image, b"<html>Sign in</html>")
    entry = vendor.sync()
    assert (entry["status"], entry["cause"]) == ("failed", "network")
    assert "has something else than a signature" in entry["error"]


def test_a_store_is_not_asked_for_those_who_do_not_sign_so(vendor):
    image = vendor.site.push(image_of("not-asked"))
    vendor.put(image, b"<html>Sign in</html>")
    assert "it has no signature" in refused(vendor.sync(keys=KEYS, signed_by=("ours",)))


def test_a_bomb_in_a_store_is_refused(vendor, gpg):
    image = vendor.site.push(image_of("simple-bomb"))
    vendor.put(image, gpg.sign(bytes(50_000_000), "redhat"))
    assert "unreadable here" in refused(vendor.sync())


def test_each_child_of_a_list_may_be_signed_simply(vendor):
    children = [image_of("s-amd64"), docker_image([Layer("s-arm64", 900)], architecture="arm64")]
    vendor.site.push(docker_list(children))
    vendor.sign(children[0])
    assert refused(vendor.sync())
    vendor.sign(children[1])
    assert accepted(vendor.sync(), ["redhat"])


def test_a_signature_that_cannot_be_verified_here_does_not_spoil_another_one(vendor):
    """Of two wanted keys one needs a package that is not here."""
    image = vendor.site.push(oci_image([Layer("one-of-two", 900)]))
    body = bundle(OURS, statement(image.digest), verificationMaterial={"certificate": {"rawBytes": "AAAA"}})
    push_bundle(vendor.site.upstream.url, vendor.site.name, image, body)
    vendor.sign(image)
    keyless = {"issuer": "https://i", "identity": "x@example.com", "trusted_root": "/nowhere.json"}
    keys = {**vendor.options["keys"], "ci": {"keyless": keyless}}
    assert accepted(vendor.sync(keys=keys, signed_by=("ci", "redhat")), ["redhat"])
