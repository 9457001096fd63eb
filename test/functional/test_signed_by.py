"""Only what is signed by a wanted key is mirrored; all else is refused before anything of it is fetched."""

from __future__ import annotations

import pytest

import _registry_sync_commands as commands
from support.hostile import standing
from support.images import Layer, docker_image, docker_list, oci_image, oci_index
from support.made_signatures import (
    bundle,
    cosign_payload,
    public_pem,
    push_bundle,
    push_sig,
    signature,
    statement,
)
from support.registry_content import push
from support.signed_site import OURS, THEIRS, Site, accepted, image_of, refused
from support.signing import programs
from support.traffic import read_access_log

pytestmark = pytest.mark.needs("docker-distribution")


@pytest.fixture
def site(module_upstream, module_local, tmp_path):
    return Site(module_upstream, module_local, tmp_path)


def test_an_image_that_cosign_2_has_signed_is_mirrored_and_the_report_says_by_whom(site):
    site.cosign(site.push(image_of("two")))
    report = site.run(commands.sync)
    assert accepted(report["images"][f"{site.name}:1"])
    assert report["summary"]["signed"] == 1


def test_an_image_that_cosign_3_has_signed_is_mirrored(site):
    image = site.push(oci_image([Layer("three", 2000)]))
    push_bundle(site.upstream.url, site.name, image, bundle(OURS, statement(image.digest)))
    assert accepted(site.sync())


def test_that_engines_will_refuse_what_only_a_bundle_signs_is_told_each_time(site):
    image = site.push(oci_image([Layer("engines refuse", 2000)]))
    push_bundle(site.upstream.url, site.name, image, bundle(OURS, statement(image.digest)))
    assert accepted(site.sync())
    asked = {"policy": True}
    for _ in range(2):
        entry = site.check(engine=asked)
        assert (entry["status"], entry["signed_by"]) == ("current", ["ours"])
        assert entry["error"].startswith("cosign 3 bundles travel, but no podman verifies them; sign with")
    assert site.check()["error"] == ""


def test_of_what_cosign_2_has_signed_too_nothing_is_told(site):
    image = site.push(oci_image([Layer("both ways", 2000)]))
    push_bundle(site.upstream.url, site.name, image, bundle(OURS, statement(image.digest)))
    site.cosign(image)
    assert accepted(site.sync(engine={"policy": True}))


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
