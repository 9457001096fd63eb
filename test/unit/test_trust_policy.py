"""Whether an image is accepted, by signatures made with real keys."""

from __future__ import annotations

import pytest

from _registry_trust_evidence import BUNDLE, COSIGN, NOTATION, SIMPLE, Evidence
from _registry_trust_keys import Key, Material
from _registry_trust_payload import split_reference
from _registry_trust_policy import Node, Signers, Wanted, accept, judge, refusal
from support.made_signatures import (
    Gpg,
    bundle,
    cosign_payload,
    make_key,
    public_pem,
    signature,
    simple_payload,
    statement,
)

DIGEST, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
NAME = "registry.access.redhat.com/rhosp13/openstack-cron"
WANTED = Wanted(NAME, "13.0")


@pytest.fixture(scope="module")
def gpg(tmp_path_factory):
    pytest.importorskip("gnupg")
    home = Gpg(tmp_path_factory.mktemp("gpg") / "home")
    home.make_key("redhat")
    yield home
    home.close()


OURS = make_key()


def cosign_key(name, private):
    return Key(name, cosign=(Material(f"k:{name}", "the text", public_pem(private).encode()),))


@pytest.fixture
def signers():
    made = Signers({"ours": cosign_key("ours", OURS)})
    yield made
    made.close()


@pytest.fixture
def gpg_signers(gpg):
    key = Key("redhat", gpg=(Material("k:redhat:gpg", "the text", gpg.public("redhat").encode()),))
    made = Signers({"redhat": key})
    yield made
    made.close()


def simple(gpg, digest=DIGEST, reference=f"{NAME}:13.0", subject=DIGEST):
    return Evidence(SIMPLE, subject, gpg.sign(simple_payload(digest, reference), "redhat"))


def cosign(digest=DIGEST, repository=NAME, subject=DIGEST, key=OURS):
    payload = cosign_payload(digest, repository)
    return Evidence(COSIGN, subject, payload, signature(key, payload))


def bundled(digest=DIGEST, subject=DIGEST, key=OURS):
    return Evidence(BUNDLE, subject, bundle(key, statement(digest)))


def why(evidence, signers, wanted=WANTED, signed_by=("ours",)):
    findings = {evidence.subject: [judge(evidence, wanted, signers)]}
    assert not accept(Node(DIGEST), findings, signed_by).names
    return refusal(Node(DIGEST), findings, signed_by)


@pytest.mark.parametrize("evidence", [cosign(), bundled()])
def test_a_signature_for_this_image_by_a_wanted_key_is_accepted(evidence, signers):
    finding = judge(evidence, WANTED, signers)
    assert (finding.verdict, finding.fits, finding.names) == ("valid", True, ("ours",))
    assert accept(Node(DIGEST), {DIGEST: [finding]}, ["ours"]).names == ("ours",)
    assert accept(Node(DIGEST), {DIGEST: [finding]}, ["theirs"]).names == ()
    assert accept(Node(DIGEST), {DIGEST: [finding]}, []).names == ()


@pytest.mark.needs("gpg")
def test_a_simple_signature_for_this_tag_is_accepted(gpg, gpg_signers):
    finding = judge(simple(gpg), WANTED, gpg_signers)
    assert (finding.fits, finding.names, finding.identity) == (True, ("redhat",), f"{NAME}:13.0")


@pytest.mark.needs("gpg")
def test_a_simple_signature_for_another_tag_is_not(gpg, gpg_signers):
    evidence = simple(gpg, reference=f"{NAME}:13.0-38")
    assert why(evidence, gpg_signers, signed_by=("redhat",)) == (
        f"the signature of redhat is for {NAME}:13.0-38, not for this tag"
    )


@pytest.mark.needs("gpg")
def test_a_simple_signature_for_another_tag_is_accepted_where_the_list_names_the_digest(gpg, gpg_signers):
    evidence = simple(gpg, reference=f"{NAME}:13.0-38")
    assert judge(evidence, Wanted(NAME), gpg_signers).fits


@pytest.mark.needs("gpg")
def test_a_simple_signature_without_a_tag_is_not_for_this_tag(gpg, gpg_signers):
    assert "not for this tag" in why(simple(gpg, reference=NAME), gpg_signers, signed_by=("redhat",))


@pytest.mark.needs("gpg")
def test_a_simple_signature_of_another_image_is_not_accepted(gpg, gpg_signers):
    sentence = why(simple(gpg, digest=OTHER), gpg_signers, signed_by=("redhat",))
    assert sentence == f"the signature of redhat is for {OTHER}, not for this one"


@pytest.mark.parametrize("evidence", [cosign(digest=OTHER), bundled(digest=OTHER)])
def test_a_signature_that_was_put_beside_another_image_is_not_accepted(evidence, signers):
    assert why(evidence, signers) == f"the signature of ours is for {OTHER}, not for this one"


def test_cosigns_signature_of_another_repository_is_not_accepted(signers):
    evidence = cosign(repository="registry.access.redhat.com/rhosp13/other")
    assert why(evidence, signers) == (
        f"the signature of ours is for registry.access.redhat.com/rhosp13/other, not for {NAME}"
    )


def test_cosigns_signature_may_name_a_tag_which_then_counts(signers):
    assert judge(cosign(repository=f"{NAME}:13.0"), WANTED, signers).fits
    assert "not for this tag" in why(cosign(repository=f"{NAME}:12.0"), signers)


def test_an_image_without_a_signature_is_told_so():
    assert refusal(Node(DIGEST), {}, ["redhat"]) == (
        f"nobody of signed_by (redhat) has signed {DIGEST}; it has no signature"
    )


@pytest.mark.needs("gpg")
def test_signatures_of_other_keys_are_counted_and_named(gpg):
    gpg.make_key("another")
    key = Key("another", gpg=(Material("k:another:gpg", "the text", gpg.public("another").encode()),))
    stranger = Signers({"another": key})
    try:
        finding = judge(simple(gpg), WANTED, stranger)
    finally:
        stranger.close()
    sentence = refusal(Node(DIGEST), {DIGEST: [finding, finding]}, ["redhat"])
    assert sentence == (
        f"nobody of signed_by (redhat) has signed {DIGEST}; "
        f"2 signatures, by keys that are not among them ({finding.key})"
    )


def test_a_simple_signature_is_of_no_key_where_none_is_known_and_gpg_is_not_asked(monkeypatch, signers):
    monkeypatch.setenv("PATH", "/nowhere")
    assert judge(Evidence(SIMPLE, DIGEST, b"\x90"), WANTED, signers).verdict == "unknown key"


def test_a_broken_bundle_of_a_wanted_key_is_told(signers):
    body = bundled().body.replace(b'"sig": "M', b'"sig": "N').replace(b'"sig":"M', b'"sig":"N')
    hint_and_reason = why(Evidence(BUNDLE, DIGEST, body), signers)
    assert hint_and_reason.startswith("its signature of ours (")
    assert hint_and_reason.endswith(") is not what the key signed")


def test_a_kind_that_is_not_verified_here_is_unreadable(signers):
    assert why(Evidence(NOTATION, DIGEST, b"{}"), signers) == (
        f"nobody of signed_by (ours) has signed {DIGEST}; "
        "1 signature, unreadable here: it is of a kind that is not verified here"
    )


def test_a_keyless_bundle_is_of_no_key(signers):
    body = bundle(OURS, statement(DIGEST), verificationMaterial={"certificate": {"rawBytes": "AAAA"}})
    assert judge(Evidence(BUNDLE, DIGEST, body), WANTED, signers).verdict == "unknown key"


# Indexes: INDEX has two children that can be run.
ONE, TWO = "sha256:" + "a" * 64, "sha256:" + "b" * 64
INDEX = Node(DIGEST, (Node(ONE), Node(TWO)))


def findings_of(signers, *digests):
    return {digest: [judge(bundled(digest, digest), WANTED, signers)] for digest in digests}


def test_an_index_that_is_signed_is_accepted_and_a_child_that_is_not_is_noted(signers):
    assert accept(INDEX, findings_of(signers, DIGEST), ["ours"]).index_only
    whole = accept(INDEX, findings_of(signers, DIGEST, ONE, TWO), ["ours"])
    assert (whole.names, whole.index_only) == (("ours",), False)


def test_an_index_all_of_whose_children_are_signed_is_accepted(signers):
    assert accept(INDEX, findings_of(signers, ONE, TWO), ["ours"]).names == ("ours",)


def test_an_index_one_of_whose_children_is_not_signed_is_refused_and_the_child_named(signers):
    findings = findings_of(signers, ONE)
    assert not accept(INDEX, findings, ["ours"]).names
    assert refusal(INDEX, findings, ["ours"]).startswith(f"nobody of signed_by (ours) has signed {TWO};")


def test_an_index_without_children_is_not_accepted_for_that():
    assert not accept(Node(DIGEST, ()), {}, ["ours"]).names


def test_a_signature_of_a_child_is_none_of_another_one(signers):
    findings = {digest: [judge(bundled(ONE, digest), WANTED, signers)] for digest in (ONE, TWO)}
    assert not accept(INDEX, findings, ["ours"]).names


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("r.example.com/a/b:1.0", ("r.example.com/a/b", "1.0")),
        ("r.example.com:5000/a", ("r.example.com:5000/a", "")),
        ("r.example.com:5000/a:1@sha256:00", ("r.example.com:5000/a", "1")),
        ("index.docker.io/library/busybox", ("docker.io/library/busybox", "")),
        ("registry-1.docker.io/library/busybox:1", ("docker.io/library/busybox", "1")),
    ],
)
def test_a_name_in_a_signature_has_a_repository_and_maybe_a_tag(reference, parts):
    assert split_reference(reference) == parts
