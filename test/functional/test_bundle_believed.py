"""What of a bundle is believed: its index, its simple signatures, and who must have signed its images."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from pathlib import Path

import pytest

import _registry_sync_export as exporting
from _registry_oci_errors import RegistryError
from _registry_store_bundle_format import CONTENTS, INDEX, SUMS, signature_name
from _registry_sync_bundle import bundle_code, inspect
from _registry_sync_export import export
from _registry_sync_import import import_bundle
from support.attached import listed, referrer, sign
from support.images import Layer, docker_image, docker_list, oci_image
from support.lookaside import Signer, put_signature, serve
from support.made_signatures import Gpg, cosign_payload, make_key, public_pem, push_sig, signature
from support.pillar import settings_of
from support.registry_content import digest_of, push, tags_of

pytestmark = pytest.mark.needs("docker-distribution")

IMAGE = oci_image([Layer("one", 1000)])
OTHER = oci_image([Layer("two", 1000)])
NAMES = [{"name": "team/app", "tags": ["1.0"]}]
# OpenPGP messages begin so; what is in them nobody looks at here.
FIRST = b"\x90first"


@pytest.fixture
def settings(upstream, local, tmp_path):
    def settings(names=NAMES, source=upstream, **signatures):
        signatures = {"directory": str(tmp_path / "sigstore"), **signatures}
        return settings_of(source, local, names, signatures=signatures)

    return settings


def statuses(report):
    return {name: image["status"] for name, image in report["images"].items()}


def without_hashes(monkeypatch):
    """Have bundles made as they were before the table of contents had hashes."""
    pack = exporting.pack
    monkeypatch.setattr(exporting, "pack", lambda *a, small, **how: pack(*a, **how))


def test_one_image_of_upstream_for_two_targets_of_which_one_has_chosen_platforms(settings, upstream, local):
    many = docker_list([docker_image([Layer(word)], architecture=word) for word in ("amd64", "arm64")])
    push(upstream.url, "team/app", "1.0", many)
    chosen = {"name": "team/app", "target": "team/one", "tags": ["1.0"], "platforms": ["linux/arm64"]}
    both = settings([*NAMES, chosen])
    path = str(Path(both.signatures.directory).parent / "week-1")
    assert set(statuses(export(both, path)).values()) == {"copied"}
    assert bundle_code(inspect(both, path)) == 0
    assert statuses(import_bundle(both, path)) == {"team/app:1.0": "copied", "team/one:1.0": "copied"}
    assert digest_of(local.url, "team/app", "1.0") == many.digest
    assert digest_of(local.url, "team/one", "1.0") not in (many.digest, "")


def test_what_is_attached_to_the_second_of_one_name_comes_with_it(settings, upstream, local, tmp_path):
    children = [docker_image([Layer(word)], architecture=word) for word in ("amd64", "arm64")]
    push(upstream.url, "team/app", "1.0", docker_list(children))
    sign(upstream.url, "team/app", children[1], "ours")
    chosen = {"name": "team/app", "target": "team/one", "tags": ["1.0"], "platforms": ["linux/arm64"]}
    amd64 = {**NAMES[0], "platforms": ["linux/amd64"]}
    export(settings([amd64, chosen]), str(tmp_path / "week-1"))
    import_bundle(settings([]), str(tmp_path / "week-1"))
    name = children[1].digest.replace(":", "-") + ".sig"
    assert name in tags_of(local.url, "team/one")
    assert name not in tags_of(local.url, "team/app")


@contextmanager
def bundle_with_signature(settings, upstream, tmp_path, body, volume):
    push(upstream.url, "team/app", "1.0", IMAGE)
    put_signature(tmp_path / "vendor", "team/app", IMAGE.digest, body)
    with serve(tmp_path / "vendor") as url:
        near = settings(directory=str(tmp_path / "near"), stores={upstream.address: url})
        export(near, str(tmp_path / "week-1"), volume=volume)
    yield tmp_path / "week-1"


def kept(tmp_path):
    return [path.read_bytes() for path in (tmp_path / "sigstore").rglob("signature-*")]


@pytest.mark.parametrize("volume", [0, 10**6])
def test_a_signature_that_was_damaged_on_the_way_is_not_kept_and_told(settings, upstream, tmp_path, volume):
    with bundle_with_signature(settings, upstream, tmp_path, FIRST, volume) as path:
        (file,) = [one for one in path.rglob("*") if one.is_file() and FIRST in one.read_bytes()]
        good = file.read_bytes()
        file.write_bytes(good.replace(FIRST, b"\x90fXrst"))
        (image,) = import_bundle(settings(), str(path))["images"].values()
        assert image["status"] == "copied"
        assert image["error"].startswith("its signatures are not all here: bundle ")
        assert f"{signature_name(IMAGE.digest, 1)} is not what " in image["error"]
        assert kept(tmp_path) == []
        file.write_bytes(good)
        assert statuses(import_bundle(settings(), str(path))) == {"team/app:1.0": "current"}
        assert kept(tmp_path) == [FIRST]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>", "has something else than a signature"),
        (b"\x90" + bytes(4 * 1024 * 1024), "signature-1 has 4194305 bytes"),
    ],
)
def test_what_is_no_signature_is_not_kept(settings, upstream, tmp_path, monkeypatch, body, said):
    without_hashes(monkeypatch)
    with bundle_with_signature(settings, upstream, tmp_path, FIRST, 0) as path:
        (file,) = path.rglob("signature-1")
        file.write_bytes(body)
        contents = path / CONTENTS
        document = json.loads(contents.read_bytes())
        (entry,) = [one for one in document["volumes"][""] if one[0].endswith("signature-1")]
        entry[1] = len(body)
        contents.write_text(json.dumps(document))
        (path / SUMS).write_text(f"{hashlib.sha256(contents.read_bytes()).hexdigest()}  {CONTENTS}\n")
        (image,) = import_bundle(settings(), str(path))["images"].values()
        assert image["status"] == "copied"
        assert said in image["error"]
        assert kept(tmp_path) == []


@pytest.fixture
def ours(tmp_path, monkeypatch):
    home = Gpg(tmp_path / "ours")
    monkeypatch.setenv("GNUPGHOME", str(tmp_path / "ours"))
    yield home.make_key("ours"), {"ours": {"gpg": [home.public("ours")]}}
    home.close()


def add_to_index(path: Path, image) -> None:
    """Add an image to a bundle in a directory, as somebody who has it in his hands might."""
    parts = {blob.digest: b"".join(blob.chunks()) for blob in image.blobs}
    for digest, body in {**parts, image.digest: image.manifest}.items():
        (path / "blobs/sha256" / digest.partition(":")[2]).write_bytes(body)
    index = json.loads((path / INDEX).read_bytes())
    entry = {"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest)}
    index["manifests"].append(entry)
    (path / INDEX).write_text(json.dumps(index))


@pytest.mark.needs("gpg")
@pytest.mark.parametrize("is_old", [False, True])
def test_a_signature_of_a_directory_covers_its_index(
    settings, upstream, local, tmp_path, ours, monkeypatch, is_old
):
    push(upstream.url, "team/app", "1.0", IMAGE)
    fingerprint, keys = ours
    if is_old:
        without_hashes(monkeypatch)
    path = tmp_path / "week-1"
    export(settings(), str(path), sign_with=fingerprint)
    good = (path / INDEX).read_bytes()
    add_to_index(path, referrer(IMAGE, "somebody-elses"))
    with pytest.raises(RegistryError, match=r"index\.json is not what SHA256SUMS says"):
        import_bundle(settings(keys=keys), str(path), accept=["ours"])
    assert listed(local.url, "team/app", IMAGE.digest) == []
    (path / INDEX).write_bytes(good)
    assert statuses(import_bundle(settings(keys=keys), str(path), accept=["ours"])) == {
        "team/app:1.0": "copied"
    }


@pytest.mark.needs("gpg")
@pytest.mark.parametrize(
    ("is_old", "said"),
    [
        (False, r"index\.json is not what docker_registry/bundle\.json says"),
        (True, r"nobody of accept \(ours\) has signed .*: it does not cover index\.json"),
    ],
)
def test_a_signature_of_volumes_covers_their_index(
    settings, upstream, tmp_path, ours, monkeypatch, is_old, said
):
    push(upstream.url, "team/app", "1.0", IMAGE)
    fingerprint, keys = ours
    if is_old:
        without_hashes(monkeypatch)
    export(settings(), str(tmp_path / "week-1"), sign_with=fingerprint, volume=10**6)
    (volume,) = (tmp_path / "week-1").glob("*.tar")
    good = volume.read_bytes()
    volume.write_bytes(good.replace(b"io.containerd.image.name", b"io.containerd.image.game"))
    asked = settings(keys=keys)
    with pytest.raises(RegistryError, match=said):
        import_bundle(asked, str(tmp_path / "week-1"), accept=["ours"])
    volume.write_bytes(good)
    brought = import_bundle(asked, str(tmp_path / "week-1"), accept=["ours"])
    assert statuses(brought) == {"team/app:1.0": "copied"}


def signed_by(name, source, repository, image, key):
    payload = cosign_payload(image.digest, f"{source.address}/{repository}")
    push_sig(source.url, repository, image.digest, (payload, signature(key, payload)))
    return {name: {"cosign": [public_pem(key)]}}


def test_each_tag_must_be_signed_by_those_of_its_own_entry(settings, upstream, tmp_path):
    one, two = make_key(), make_key()
    keys = {"one": {"cosign": [public_pem(one)]}}
    for tag, image in (("1.0", IMAGE), ("2.0", OTHER)):
        push(upstream.url, "team/app", tag, image)
        keys |= signed_by("two", upstream, "team/app", image, two)
    export(settings([{"name": "team/app", "tags": ["*"]}]), str(tmp_path / "week-1"))
    names = [
        {"name": "team/app", "tags": ["1.0"], "signed_by": ["one"]},
        {"name": "team/app", "tags": ["2.0"], "signed_by": ["two"]},
    ]
    brought = import_bundle(settings(names, keys=keys), str(tmp_path / "week-1"))
    assert statuses(brought) == {"team/app:1.0": "failed", "team/app:2.0": "copied"}
    assert brought["images"]["team/app:1.0"]["cause"] == "signature"


def two_vendors(upstream, other, key):
    """Push 1.0 to one and 2.0 to the other, each signed as its own; the list of both, and the keys."""
    keys = {}
    for source, tag, image in ((upstream, "1.0", IMAGE), (other, "2.0", OTHER)):
        push(source.url, "team/app", tag, image)
        keys |= signed_by("ours", source, "team/app", image, key)
    there = {"host": other.host, "port": other.port, "tls": False}
    names = [
        {"name": "team/app", "tags": ["1.0"], "signed_by": ["ours"]},
        {"name": "team/app", "tags": ["2.0"], "signed_by": ["ours"], "upstream": there},
    ]
    return names, keys


def test_a_target_of_two_vendors_has_each_vendors_names_in_signatures(
    settings, upstream, start_registry, tmp_path
):
    names, keys = two_vendors(upstream, start_registry(), make_key())
    export(settings(names, keys=keys), str(tmp_path / "week-1"))
    brought = import_bundle(settings(names, keys=keys), str(tmp_path / "week-1"))
    assert statuses(brought) == {"team/app:1.0": "copied", "team/app:2.0": "copied"}, brought["images"]


def test_a_tag_that_no_entry_wants_is_asked_for_as_its_vendor_signs(
    settings, upstream, start_registry, tmp_path
):
    names, keys = two_vendors(upstream, start_registry(), make_key())
    export(settings(names, keys=keys), str(tmp_path / "week-1"))
    names[1]["tags"] = ["3.0"]
    brought = import_bundle(settings(names, keys=keys), str(tmp_path / "week-1"))
    assert statuses(brought) == {"team/app:1.0": "copied", "team/app:2.0": "copied"}, brought["images"]


def test_a_name_in_a_bundle_spares_no_image_a_signature(settings, upstream, start_registry, tmp_path):
    other = start_registry()
    for tag in ("1.0", "3.0"):
        push(other.url, "team/app", tag, IMAGE)
    export(settings([{"name": "team/app", "tags": ["*"]}], other), str(tmp_path / "week-1"))
    there = {"host": other.host, "port": other.port, "tls": False}
    keys = {"ours": {"cosign": [public_pem(make_key())]}}
    names = [
        {"name": "team/app", "tags": ["1.0"], "signed_by": ["ours"]},
        {"name": "team/app", "tags": ["2.0"], "upstream": there},
    ]
    brought = import_bundle(settings(names, keys=keys), str(tmp_path / "week-1"))
    assert {image["cause"] for image in brought["images"].values()} == {"signature"}


@pytest.mark.needs("gpg")
def test_a_simple_signature_in_a_bundle_proves_who_has_signed(settings, upstream, tmp_path):
    with Signer() as vendor:
        body = vendor.sign(f"{upstream.address}/team/app:1.0", IMAGE.digest)
        with bundle_with_signature(settings, upstream, tmp_path, body, 10**6) as path:
            key = vendor.public_key.decode()
            asked = settings([{**NAMES[0], "signed_by": ["vendor"]}], keys={"vendor": {"gpg": [key]}})
            assert statuses(import_bundle(asked, str(path))) == {"team/app:1.0": "copied"}
