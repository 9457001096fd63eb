"""Who has signed what, on either side, as the library tells it and as an operator types it."""

from __future__ import annotations

import json

import pytest

import _registry_sync_commands as commands
from _registry_config_read import read_settings
from _registry_sync_signatures import signatures, signatures_code
from support.hostile import artifact
from support.images import Bytes, Layer, docker_image, docker_list, oci_image, oci_index
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
from support.pillar import pillar_of
from support.registry_content import push
from support.salt_minion import Minion

pytestmark = pytest.mark.needs("docker-distribution")

OURS, THEIRS = make_key(), make_key()
NAME = "team/app"


@pytest.fixture
def signed(upstream, local, tmp_path):
    return Signed(upstream, local, tmp_path)


class Signed:
    """Images upstream, some of them signed, and a mirror."""

    def __init__(self, upstream, local, directory):
        self.upstream = upstream
        self.local = local
        self.directory = directory

    def push(self, tag, image):
        push(self.upstream.url, NAME, tag, image)
        return image

    def cosign(self, image, key=OURS):
        payload = cosign_payload(image.digest, f"{self.upstream.address}/{NAME}")
        push_sig(self.upstream.url, NAME, image.digest, (payload, signature(key, payload)))

    def pillar(self, *tags, signed_by=("ours",), keys=None, **signatures):
        keys = keys or {"ours": {"cosign": [public_pem(OURS)]}, "theirs": {"cosign": [public_pem(THEIRS)]}}
        return pillar_of(
            self.upstream,
            self.local,
            [{"name": NAME, "tags": list(tags), "signed_by": list(signed_by)}],
            signatures={"keys": keys, "directory": str(self.directory / "sigstore"), **signatures},
            transfer={"retries": 0},
        )

    def settings(self, *tags, **options):
        return read_settings(self.pillar(*tags, **options), host="unused.example.com")

    def sync(self, *tags, **options):
        return commands.sync(self.settings(*tags, **options), directory=str(self.directory / "cache"))

    def told(self, *tags, side="local", name="", **options):
        report = signatures(self.settings(*tags, **options), side=side, name=name)
        json.dumps(report)
        return report


def image_of(seed, **more):
    return docker_image([Layer(seed, 500)], **more)


@pytest.mark.parametrize("side", ["local", "upstream"])
def test_each_signature_is_told_with_its_key_and_what_it_is_worth(signed, side):
    both = signed.push("1", oci_image([Layer("both", 500)]))
    signed.cosign(both)
    push_bundle(signed.upstream.url, NAME, both, bundle(THEIRS, statement(both.digest)))
    signed.sync("1")
    report = signed.told("1", side=side)
    entry = report["images"][f"{NAME}:1"]
    assert (entry["accepted"], entry["signed_by"], entry["digest"]) == (True, ["ours"], both.digest)
    found = [(one["kind"], one["verdict"], one["keys"], one["fits"]) for one in entry["signatures"]]
    assert found == [("cosign", "valid", ["ours"], True), ("bundle", "valid", ["theirs"], True)]
    assert entry["signatures"][0]["identity"] == f"{signed.upstream.address}/{NAME}"
    assert signatures_code(report) == 0


def test_an_image_that_is_not_signed_as_it_must_be_is_refused_with_code_2(signed):
    signed.cosign(signed.push("1", image_of("one")))
    signed.cosign(signed.push("2", image_of("two")), THEIRS)
    report = signed.told("1", "2", side="upstream")
    assert report["images"][f"{NAME}:2"]["cause"] == "signature"
    assert "by keys that are not among them" in report["images"][f"{NAME}:2"]["error"]
    counts = {name: report["summary"][name] for name in ("images", "accepted", "refused", "unreadable")}
    assert counts == {"images": 2, "accepted": 1, "refused": 1, "unreadable": 0}
    assert signatures_code(report) == 2


def test_an_image_that_is_not_here_cannot_be_read_with_code_1(signed):
    signed.push("1", image_of("one"))
    report = signed.told("1", "*")
    assert report["images"][f"{NAME}:1"]["cause"] == "absent"
    assert signatures_code(report) == 1


def test_an_image_of_which_nothing_is_asked_is_told_all_the_same(signed):
    signed.cosign(signed.push("1", image_of("one")))
    signed.sync("1", signed_by=())
    entry = signed.told("1", signed_by=())["images"][f"{NAME}:1"]
    assert (entry["accepted"], entry["wanted"], len(entry["signatures"])) == (None, [], 1)


def test_patterns_mean_what_is_here_but_not_the_signatures_themselves(signed):
    signed.cosign(signed.push("1", image_of("one")))
    signed.cosign(signed.push("2", image_of("two")))
    signed.sync("*")
    assert set(signed.told("*")["images"]) == {f"{NAME}:1", f"{NAME}:2"}


def test_a_name_narrows_it(signed):
    signed.cosign(signed.push("1", image_of("one")))
    signed.cosign(signed.push("2", image_of("two")))
    signed.sync("1", "2")
    assert set(signed.told("1", "2", name=f"{NAME}:2")["images"]) == {f"{NAME}:2"}
    assert len(signed.told("1", "2", name=NAME)["images"]) == 2
    assert not signed.told("1", "2", name="team/other")["images"]


def test_signatures_of_children_are_told_and_a_list_without_them_is_noted(signed):
    children = [oci_image([Layer(arch, 500)], architecture=arch) for arch in ("amd64", "arm64")]
    index = signed.push("1", oci_index(children))
    signed.cosign(index)
    signed.sync("1")
    entry = signed.told("1")["images"][f"{NAME}:1"]
    assert entry["notes"] == [
        "the index is signed and not each image in it, for whose own signature engines ask"
    ]
    for child in children:
        signed.cosign(child)
    signed.sync("1")
    entry = signed.told("1")["images"][f"{NAME}:1"]
    assert {one["subject"] for one in entry["signatures"]} == {index.digest, *(c.digest for c in children)}
    assert entry["notes"] == []


def test_notations_signatures_are_told_and_not_verified(signed):
    image = signed.push("1", oci_image([Layer("notation", 500)]))
    kind = "application/vnd.cncf.notary.signature"
    subject = {"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest)}
    attached = artifact(
        Bytes(b"{}"),
        "application/vnd.oci.empty.v1+json",
        [("application/jose+json", Bytes(b"{}"))],
        artifactType=kind,
        subject=subject,
    )
    push(signed.upstream.url, NAME, image.digest.replace(":", "-"), oci_index([attached]))
    (told,) = signed.told("1", side="upstream")["images"][f"{NAME}:1"]["signatures"]
    assert (told["kind"], told["verdict"]) == ("notation", "unreadable here")


@pytest.mark.needs("gpg")
def test_simple_signatures_are_told_from_the_store_and_from_where_they_are_kept(signed, tmp_path):
    pytest.importorskip("gnupg")
    gpg = Gpg(tmp_path / "gpg")
    fingerprint = gpg.make_key("vendor")
    image = signed.push("1", image_of("simple"))
    body = gpg.sign(simple_payload(image.digest, f"{signed.upstream.address}/{NAME}:1"), "vendor")
    put_signature(tmp_path / "store", NAME, image.digest, body)
    keys = {"vendor": {"gpg": [gpg.public("vendor")]}}
    with serve(tmp_path / "store") as url:
        options = {"keys": keys, "signed_by": ("vendor",), "stores": {signed.upstream.address: url}}
        far = signed.told("1", side="upstream", **options)["images"][f"{NAME}:1"]
        assert signed.sync("1", **options)["images"][f"{NAME}:1"]["signed_by"] == ["vendor"]
    near = signed.told("1", **options)["images"][f"{NAME}:1"]
    gpg.close()
    assert near == far
    (told,) = near["signatures"]
    assert (told["key"], told["identity"]) == (fingerprint, f"{signed.upstream.address}/{NAME}:1")
    assert told["time"] > 1_600_000_000


def test_an_operator_types_it(signed, tmp_path, checkout):
    signed.cosign(signed.push("1", docker_list([image_of("one")])))
    minion = Minion(tmp_path / "minion", checkout)
    minion.sync()
    minion.set_pillar({"docker_registry": signed.pillar("1")})
    assert minion.call("registry_sync.sync").value["images"][f"{NAME}:1"]["signed_by"] == ["ours"]
    told = minion.call("registry_sync.signatures")
    assert told.retcode == 0
    assert told.value["summary"]["accepted"] == 1
    wrong = minion.call("registry_sync.signatures", "side=elsewhere")
    assert "give one of local, upstream" in str(wrong.value or wrong.stderr)
    signed.push("2", image_of("unsigned"))
    minion.set_pillar({"docker_registry": signed.pillar("1", "2")})
    state = minion.call("state.single", "registry_sync.synced", "name=mirror")
    (told,) = state.value.values()
    assert told["result"] is False
    assert f"failed: {NAME}:2 (signature: upstream" in told["comment"]
    key = tmp_path / "private.pem"
    key.write_text("-----BEGIN PRIVATE KEY-----\n")
    minion.set_pillar({"docker_registry": signed.pillar("1", keys={"ours": {"cosign": [str(key)]}})})
    for function in ("check", "plan", "sync", "signatures"):
        refused = minion.call(f"registry_sync.{function}")
        sentence = f"docker_registry:signatures:keys:ours:cosign: {key} is a private key; give the public one"
        assert sentence in str(refused.value or refused.stderr), function
        assert "Traceback" not in refused.stderr
