"""Only what is signed by a wanted key is mirrored; all else is refused before anything of it is fetched."""

from __future__ import annotations

import itertools

import pytest

import _registry_sync_commands as commands
from support.hostile import standing
from support.images import Layer, docker_image, docker_list, oci_image, oci_index
from support.lookaside import put_signature, serve
from support.made_signatures import (
    Gpg,
    bundle,
    cosign_payload,
    make_key,
    public_pem,
    push_bundle,
    push_sig,
    signature,
    simple_payload,
    statement,
)
from support.pillar import settings_of
from support.registry_content import push
from support.signing import programs
from support.traffic import read_access_log

pytestmark = pytest.mark.needs("docker-distribution")

OURS, THEIRS = make_key(), make_key()
KEYS = {"ours": {"cosign": [public_pem(OURS)]}}
numbers = itertools.count()


@pytest.fixture(scope="module")
def upstream(start_module_registry):
    return start_module_registry()


@pytest.fixture(scope="module")
def local(start_module_registry):
    return start_module_registry()


class Site:
    """A mirror that wants signatures."""

    def __init__(self, upstream, local, directory):
        self.upstream = upstream
        self.local = local
        self.directory = directory
        self.name = f"signed/app{next(numbers)}"

    def push(self, image, *tags):
        push(self.upstream.url, self.name, tags or ["1"], image)
        return image

    def cosign(self, image, key=OURS, digest="", repository=""):
        """Sign as cosign 2 does."""
        payload = cosign_payload(digest or image.digest, repository or f"{self.upstream.address}/{self.name}")
        return push_sig(self.upstream.url, self.name, image.digest, (payload, signature(key, payload)))

    def settings(self, keys=KEYS, signed_by=("ours",), attachments=True, **image):
        entry = {"name": self.name, "tags": ["1"], "signed_by": list(signed_by), **image}
        signatures = {"keys": keys, "directory": str(self.directory / "sigstore")}
        stores = image.pop("stores", None)
        entry.pop("stores", None)
        if stores:
            signatures["stores"] = stores
        others = {"signatures": signatures, "attachments": attachments, "transfer": {"retries": 1}}
        return settings_of(self.upstream, self.local, [entry], **others)

    def run(self, command, **options):
        report = command(self.settings(**options), directory=str(self.directory / "cache"))
        assert len(report["images"]) == 1 or command is commands.check
        return report

    def sync(self, **options):
        return next(iter(self.run(commands.sync, **options)["images"].values()))

    def check(self, **options):
        return next(iter(self.run(commands.check, **options)["images"].values()))

    def plan(self, **options):
        return next(iter(self.run(commands.plan, **options)["images"].values()))


@pytest.fixture
def site(upstream, local, tmp_path):
    return Site(upstream, local, tmp_path)


def image_of(seed, size=2000):
    return docker_image([Layer(seed, size)])


def accepted(entry, names=("ours",)):
    assert (entry["status"], entry["cause"], entry["error"]) == ("copied", "", "")
    return entry["signed_by"] == list(names)


def refused(entry, status="failed"):
    assert (entry["status"], entry["cause"], entry["signed_by"]) == (status, "signature", [])
    return entry["error"]


def test_an_image_that_cosign_2_has_signed_is_mirrored_and_the_report_says_by_whom(site):
    site.cosign(site.push(image_of("two")))
    report = site.run(commands.sync)
    assert accepted(report["images"][f"{site.name}:1"])
    assert report["summary"]["signed"] == 1


def test_an_image_that_cosign_3_has_signed_is_mirrored(site):
    image = site.push(oci_image([Layer("three", 2000)]))
    push_bundle(site.upstream.url, site.name, image, bundle(OURS, statement(image.digest)))
    assert accepted(site.sync())


@pytest.fixture(scope="module")
def run(checkout, tmp_path_factory):
    return programs(checkout / ".cache", tmp_path_factory.mktemp("home"))


def keys_of(run):
    return {"ours": {"cosign": [(run.cosign_key().with_suffix(".pub")).read_text()]}}


def sign_with(run, program, name):
    run.sign_as_cosign_2(name) if program == "2.5" else run.sign_as_cosign_3(name)


@pytest.mark.parametrize("program", ["2.5", "3.1"])
def test_what_the_real_cosign_has_signed_is_accepted_and_what_it_has_not_is_refused(site, run, program):
    image = site.push(oci_image([Layer(f"real-{program}", 2000)]))
    assert "it has no signature" in refused(site.sync(keys=keys_of(run)))
    sign_with(run, program, f"{site.upstream.address}/{site.name}@{image.digest}")
    assert "1 signature, by keys that are not among them" in refused(site.sync())
    assert accepted(site.sync(keys=keys_of(run)))


@pytest.mark.parametrize("program", ["2.5", "3.1"])
def test_a_list_that_the_real_cosign_has_signed_with_its_children_is_accepted_for_one_platform(
    site, run, program
):
    children = [
        oci_image([Layer(f"{program}-{arch}", 900)], architecture=arch) for arch in ("amd64", "arm64")
    ]
    index = site.push(oci_index(children))
    name = f"{site.upstream.address}/{site.name}@"
    sign_with(run, program, name + index.digest)
    assert "has signed" in refused(site.sync(keys=keys_of(run), platforms=["linux/amd64"]))
    sign_with(run, program, name + children[0].digest)
    assert accepted(site.sync(keys=keys_of(run), platforms=["linux/amd64"]))
    assert accepted(site.sync(keys=keys_of(run)))


@pytest.mark.parametrize("attachments", [False, {"largest": 1}, {"exclude": ["application/vnd.dev.*"]}])
def test_signatures_count_also_where_they_do_not_travel(site, attachments):
    image = site.push(oci_image([Layer(f"stays{attachments}", 900)]))
    assert refused(site.sync(attachments=attachments))
    site.cosign(image)
    entry = site.sync(attachments=attachments)
    assert accepted(entry)
    assert entry["attachments"]["here"] == 0


def test_nothing_of_a_refused_image_is_fetched(site):
    image = site.push(image_of("refused"))
    site.cosign(image, THEIRS)
    began = site.upstream.log_position()
    assert "nobody of signed_by (ours) has signed" in refused(site.sync())
    asked = [request.path for request in read_access_log(site.upstream.access_log(began))]
    assert not [path for path in asked for blob in image.blobs if blob.digest in path]
    assert standing(site.local, site.name, "1") is None


def test_the_tag_of_a_refused_image_stays_as_it_was(site):
    first = site.push(image_of("first"))
    site.cosign(first)
    assert accepted(site.sync())
    site.push(image_of("second"))
    assert refused(site.check(), "unreadable").endswith("; it has no signature")
    assert refused(site.plan(), "unreadable")
    assert refused(site.sync())
    assert standing(site.local, site.name, "1") == first.digest


def test_an_image_that_is_here_and_is_not_signed_is_told(site):
    image = site.push(image_of("here"))
    push(site.local.url, site.name, "1", image)
    assert refused(site.check(), "unreadable")
    site.cosign(image)
    assert (site.check()["status"], site.check()["signed_by"]) in (("current", ["ours"]), ("stale", ["ours"]))


def test_what_was_accepted_costs_the_next_run_no_signature(site):
    site.cosign(site.push(image_of("again")))
    assert accepted(site.sync())
    began = site.upstream.log_position()
    entry = site.check()
    assert (entry["status"], entry["signed_by"]) == ("current", ["ours"])
    asked = read_access_log(site.upstream.access_log(began))
    assert not [request.path for request in asked if request.kind in ("GET blobs", "GET manifests")]


def test_what_was_accepted_by_one_key_is_not_accepted_by_another_of_the_same_name(site):
    site.cosign(site.push(image_of("exchanged")))
    assert accepted(site.sync())
    assert refused(site.check(keys={"ours": {"cosign": [public_pem(THEIRS)]}}), "unreadable")


def test_an_image_without_signed_by_is_not_verified(site):
    site.push(image_of("free"))
    assert accepted(site.sync(signed_by=()), names=())


def test_a_signature_of_another_image_is_refused(site):
    image, other = site.push(image_of("this")), image_of("that")
    site.cosign(image, digest=other.digest)
    assert refused(site.sync()).endswith(f"the signature of ours is for {other.digest}, not for this one")


def test_a_signature_of_another_repository_is_refused(site):
    site.cosign(site.push(image_of("elsewhere")), repository="evil.example.com/signed/app")
    assert "the signature of ours is for evil.example.com/signed/app, not for" in refused(site.sync())


def test_one_good_signature_among_others_is_enough(site):
    image = site.push(image_of("many"))
    payload = cosign_payload(image.digest, f"{site.upstream.address}/{site.name}")
    signatures = [
        (payload + b" ", signature(THEIRS, payload)),
        (b"{}", "?"),
        (payload, signature(OURS, payload)),
    ]
    push_sig(site.upstream.url, site.name, image.digest, *signatures)
    assert accepted(site.sync())


def test_a_payload_with_a_member_twice_is_refused(site):
    image = site.push(image_of("twice"))
    payload = cosign_payload(image.digest, f"{site.upstream.address}/{site.name}")
    payload = payload.replace(b'"optional"', b'"critical":{},"optional"')
    push_sig(site.upstream.url, site.name, image.digest, (payload, signature(OURS, payload)))
    assert "what the key signed is no JSON" in refused(site.sync())


def test_a_signature_larger_than_any_is_not_fetched(site):
    image = site.push(image_of("bomb"))
    payload = bytes(5 * 1024 * 1024)
    push_sig(site.upstream.url, site.name, image.digest, (payload, signature(OURS, payload)))
    began = site.upstream.log_position()
    assert "it has no signature" in refused(site.sync())
    sizes = [request.size for request in read_access_log(site.upstream.access_log(began))]
    assert max(sizes) < 1_000_000


def test_a_bundle_that_is_about_another_image_itself_is_not_looked_at(site):
    image, other = site.push(oci_image([Layer("subject", 900)])), oci_image([Layer("other", 900)])
    push_bundle(site.upstream.url, site.name, image, bundle(OURS, statement(image.digest)), about=other)
    assert "it has no signature" in refused(site.sync())


def test_an_attestation_by_the_wanted_key_is_no_signature(site):
    image = site.push(oci_image([Layer("attested", 900)]))
    body = bundle(OURS, statement(image.digest, "https://slsa.dev/provenance/v1"))
    push_bundle(site.upstream.url, site.name, image, body)
    assert "attests https://slsa.dev/provenance/v1 and signs no image" in refused(site.sync())


def test_an_image_that_stands_under_the_tag_of_signatures_is_no_signature(site):
    image = site.push(image_of("under"))
    push(site.upstream.url, site.name, image.digest.replace(":", "-") + ".sig", image)
    assert "it has no signature" in refused(site.sync())


def test_a_list_needs_a_signature_of_its_own_or_of_each_child(site):
    children = [image_of("amd64"), docker_image([Layer("arm64", 900)], architecture="arm64")]
    site.push(docker_list(children))
    site.cosign(children[0])
    assert f"nobody of signed_by (ours) has signed {children[1].digest}" in refused(site.sync())
    site.cosign(children[1])
    assert accepted(site.sync())


def test_the_signature_of_a_list_is_enough_and_a_warning_tells_of_its_children(site, caplog):
    children = [image_of("one"), docker_image([Layer("other", 900)], architecture="arm64")]
    site.cosign(site.push(docker_list(children)))
    assert accepted(site.sync())
    assert "the index is signed and not each image in it" in caplog.text


def test_of_chosen_platforms_the_children_must_be_signed(site):
    children = [image_of("chosen"), docker_image([Layer("left", 900)], architecture="arm64")]
    site.cosign(site.push(docker_list(children)))
    assert refused(site.sync(platforms=["linux/amd64"]))
    site.cosign(children[0])
    assert accepted(site.sync(platforms=["linux/amd64"]))


def test_a_chain_is_signed_as_the_vendor_calls_it(site):
    image = site.push(image_of("chain"))
    site.cosign(image, repository="vendor.example.com/team/app")
    assert "not for" in refused(site.sync())
    assert accepted(site.sync(upstream={"signed_as": "vendor.example.com/team/app"}))


def test_a_target_of_another_name_changes_nothing(site):
    site.cosign(site.push(image_of("renamed")))
    assert accepted(site.sync(target=f"{site.name}/here"))


def test_a_keyless_signer_needs_its_package_and_other_images_go_on(site):
    image = site.push(oci_image([Layer("keyless", 900)]))
    body = bundle(OURS, statement(image.digest), verificationMaterial={"certificate": {"rawBytes": "AAAA"}})
    push_bundle(site.upstream.url, site.name, image, body)
    keyless = {"issuer": "https://i", "identity": "x@example.com", "trusted_root": "/nowhere.json"}
    entry = site.sync(keys={"ours": {"keyless": keyless}})
    assert (entry["status"], entry["cause"]) == ("failed", "internal")
    missing = "the Python package sigstore is not installed, and signatures:keys:ours is keyless"
    assert entry["error"] == missing or entry["error"].endswith("is no trusted root of Sigstore")


# Simple signing, by gpg and a store beside the registry.


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


@pytest.mark.needs("gpg")
def test_a_simple_signature_for_the_tag_is_accepted_beside_one_that_nobody_can_read(vendor):
    image = vendor.site.push(image_of("simple"))
    v6 = bytes([0xC4, 0x26, 0x06, 0x00, 0x0A, 0x6B, 0x10, *bytes(32)])
    vendor.put(image, v6, 1)
    vendor.sign(image, number=2)
    assert accepted(vendor.sync(), ["redhat"])


@pytest.mark.needs("gpg")
def test_a_simple_signature_for_another_tag_is_refused_but_for_a_pinned_digest(vendor):
    image = vendor.site.push(image_of("other-tag"))
    vendor.sign(image, tag="1-38")
    assert refused(vendor.sync()).endswith(f"{vendor.site.name}:1-38, not for this tag")
    assert accepted(vendor.sync(tags=[f"1@{image.digest}"]), ["redhat"])


@pytest.mark.needs("gpg")
def test_a_simple_signature_by_a_stranger_is_refused_with_its_key(vendor):
    vendor.sign(vendor.site.push(image_of("stranger")), key="stranger")
    sentence = refused(vendor.sync())
    assert "1 signature, by keys that are not among them (" in sentence


@pytest.mark.needs("gpg")
def test_a_tampered_simple_signature_is_told(vendor, gpg):
    image = vendor.site.push(image_of("tampered"))
    payload = simple_payload(image.digest, f"{vendor.site.upstream.address}/{vendor.site.name}:1")
    body = gpg.sign(payload, "redhat", options=("--compress-algo", "none"))
    vendor.put(image, body.replace(b"atomic", b"nuclea"))
    assert refused(vendor.sync()).endswith("is not what the key signed")


@pytest.mark.needs("gpg")
def test_a_store_that_answers_with_a_page_is_a_failure_of_the_line(vendor):
    image = vendor.site.push(image_of("page"))
    vendor.put(image, b"<html>Sign in</html>")
    entry = vendor.sync()
    assert (entry["status"], entry["cause"]) == ("failed", "network")
    assert "has something else than a signature" in entry["error"]


@pytest.mark.needs("gpg")
def test_a_store_is_not_asked_for_those_who_do_not_sign_so(vendor):
    image = vendor.site.push(image_of("not-asked"))
    vendor.put(image, b"<html>Sign in</html>")
    assert "it has no signature" in refused(vendor.sync(keys=KEYS, signed_by=("ours",)))


def test_of_an_image_that_is_here_upstream_is_not_asked_for_manifests(site):
    image = site.push(
        docker_list([image_of("no-pull"), docker_image([Layer("b", 900)], architecture="arm64")])
    )
    site.cosign(image)
    assert accepted(site.sync(signed_by=()), names=())
    began = site.upstream.log_position()
    assert site.check()["signed_by"] == ["ours"]
    asked = list(read_access_log(site.upstream.access_log(began)))
    assert asked
    assert not [one for one in asked if one.kind == "GET manifests" and image.digest in one.path]


@pytest.mark.needs("gpg")
def test_a_bomb_in_a_store_is_refused(vendor, gpg):
    image = vendor.site.push(image_of("simple-bomb"))
    vendor.put(image, gpg.sign(bytes(50_000_000), "redhat"))
    assert "unreadable here" in refused(vendor.sync())


@pytest.mark.needs("gpg")
def test_each_child_of_a_list_may_be_signed_simply(vendor):
    children = [image_of("s-amd64"), docker_image([Layer("s-arm64", 900)], architecture="arm64")]
    vendor.site.push(docker_list(children))
    vendor.sign(children[0])
    assert refused(vendor.sync())
    vendor.sign(children[1])
    assert accepted(vendor.sync(), ["redhat"])


@pytest.mark.needs("gpg")
def test_a_signature_that_cannot_be_verified_here_does_not_spoil_another_one(vendor):
    """Of two wanted keys one needs a package that is not here."""
    image = vendor.site.push(oci_image([Layer("one-of-two", 900)]))
    body = bundle(OURS, statement(image.digest), verificationMaterial={"certificate": {"rawBytes": "AAAA"}})
    push_bundle(vendor.site.upstream.url, vendor.site.name, image, body)
    vendor.sign(image)
    keyless = {"issuer": "https://i", "identity": "x@example.com", "trusted_root": "/nowhere.json"}
    keys = {**vendor.options["keys"], "ci": {"keyless": keyless}}
    assert accepted(vendor.sync(keys=keys, signed_by=("ci", "redhat")), ["redhat"])
