"""Images cross a gap: a bundle is written here, read by others, and imported there."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from _registry_oci_errors import RegistryError
from _registry_store_bundle_base import write_stock
from _registry_sync_bundle import bundle_code, inspect
from _registry_sync_bundle_inventory import take_stock
from _registry_sync_commands import sync
from _registry_sync_export import export
from _registry_sync_import import import_bundle
from _registry_table import report_lines
from support.attached import attach, listed, referrer, sign
from support.hostile import created_at
from support.images import Layer, docker_image, docker_list, oci_image
from support.lookaside import put_signature, serve
from support.made_signatures import Gpg, bundle, make_key, public_pem, push_bundle, statement
from support.pillar import settings_of
from support.registry_content import digest_of, push, tags_of

pytestmark = pytest.mark.needs("docker-distribution")

# OpenPGP messages begin so; what is in them nobody looks at here.
FIRST, SECOND = b"\x90first", b"\x90second"


def layer(word, size=1000):
    return Layer(word, size)


@pytest.fixture
def images(upstream):
    """Ten images of Docker's kind and of OCI's that share a base; one is of several platforms."""
    made = {}
    for number in range(8):
        kind = docker_image if number % 2 else oci_image
        made[f"{number}.0"] = kind([layer("base", 200_000), layer(f"own-{number}", 100_000)])
    made["several"] = docker_list([made["1.0"], made["3.0"]])
    for tag, image in made.items():
        push(upstream.url, "team/app", tag, image)
    made["signed"] = oci_image([layer("base", 200_000), layer("signed", 5000)])
    push(upstream.url, "team/app", "signed", made["signed"])
    sign(upstream.url, "team/app", made["signed"], "ours")
    attach(upstream.url, "team/app", made["signed"], referrer(made["signed"], "sbom"))
    return made


class Sites:
    """Two sites with nothing between them but a disk."""

    def __init__(self, upstream, local, directory: Path) -> None:
        self.upstream, self.local, self.directory = upstream, local, directory
        self.list = [{"name": "team/app", "tags": ["*"]}]
        self.signatures = {"directory": str(directory / "sigstore")}

    @property
    def settings(self):
        return settings_of(self.upstream, self.local, self.list, signatures=self.signatures)

    def path(self, name="week-1"):
        return str(self.directory / name)

    def export(self, name="week-1", **how):
        report = export(self.settings, self.path(name), **how)
        assert report["summary"]["failed"] == report["summary"]["unreadable"] == 0, report["images"]
        return report

    def bring(self, name="week-1", **how):
        return import_bundle(self.settings, self.path(name), **how)

    def inventory(self):
        file = str(self.directory / "inventory.json.gz")
        write_stock(take_stock(self.settings), file)
        return file


@pytest.fixture
def sites(upstream, local, tmp_path, images):
    return Sites(upstream, local, tmp_path)


def everything_is_there(sites, images):
    for tag, image in images.items():
        assert digest_of(sites.local.url, "team/app", tag) == image.digest
    signed = images["signed"]
    assert signed.digest.replace(":", "-") + ".sig" in tags_of(sites.local.url, "team/app")
    assert len(listed(sites.local.url, "team/app", signed.digest)) == 1


@pytest.mark.parametrize("volume", [0, 400_000, 10**9])
def test_all_that_is_exported_is_imported(sites, images, volume):
    report = sites.export(volume=volume)
    assert report["summary"]["copied"] == len(images)
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=sites.path(), check=True
    )
    sites.upstream.stop()
    looked = inspect(sites.settings, sites.path())
    assert (bundle_code(looked), looked["summary"]["missing"]) == (0, len(images))
    brought = sites.bring()
    assert brought["summary"]["copied"] == len(images), brought["images"]
    everything_is_there(sites, images)
    again = sites.bring()
    assert (again["summary"]["current"], again["summary"]["bytes"]) == (len(images), 0)
    assert inspect(sites.settings, sites.path())["summary"]["current"] == len(images)


def test_an_increment_has_what_is_new_and_nothing_else(sites, images, upstream):
    sites.export()
    sites.bring()
    new = oci_image([layer("base", 200_000), layer("fresh", 50_000)])
    push(upstream.url, "team/app", "0.0", new)
    report = sites.export("week-2", since=sites.inventory(), volume=10**9)
    assert (report["summary"]["copied"], report["summary"]["current"]) == (1, len(images) - 1)
    assert report["bundle"]["images"] == 1
    own = sum(blob.size for blob in new.blobs[:1]) + new.blobs[2].size
    on_disk = sum(path.stat().st_size for path in Path(sites.path("week-2")).rglob("*") if path.is_file())
    assert own < on_disk <= own + 200_000
    assert sites.bring("week-2")["summary"]["copied"] == 1
    assert digest_of(sites.local.url, "team/app", "0.0") == new.digest


def test_a_repository_that_an_increment_adds_gets_the_layers_of_the_others(sites, images, upstream):
    sites.export()
    sites.bring()
    inventory = sites.inventory()
    new = oci_image([layer("base", 200_000), layer("own-4", 100_000), layer("fresh", 50_000)])
    push(upstream.url, "team/new", "1.0", new)
    sites.list = [*sites.list, {"name": "team/new", "tags": ["1.0"]}]
    report = sites.export("week-2", since=inventory)
    looked = inspect(sites.settings, sites.path("week-2"))
    assert (bundle_code(looked), looked["images"]["team/new:1.0"]["status"]) == (0, "missing")
    assert looked["summary"]["bytes"] == report["summary"]["bytes"] < 100_000
    brought = sites.bring("week-2")
    assert brought["images"]["team/new:1.0"]["error"] == ""
    assert brought["summary"]["blobs_mounted"] == 2
    assert digest_of(sites.local.url, "team/new", "1.0") == new.digest


def test_a_former_bundle_is_a_base_as_good_as_an_inventory(sites, images):
    sites.export()
    report = sites.export("week-2", since=sites.path())
    assert (report["summary"]["current"], report["bundle"]["images"]) == (len(images), 0)
    third = sites.export("week-3", since=sites.path("week-2"))
    assert third["bundle"]["images"] == 0


@pytest.mark.parametrize("remembered", [False, True])
def test_an_index_that_is_there_stays_out_of_an_increment_also_where_its_children_have_attachments(
    sites, upstream, remembered
):
    children = [oci_image([layer(name)], architecture=name) for name in ("amd64", "arm64")]
    push(upstream.url, "team/app", ["index", "chosen"], docker_list(children))
    attach(upstream.url, "team/app", children[0], referrer(children[0], "sbom"))
    chosen = {"name": "team/app", "tags": ["chosen"], "platforms": ["linux/amd64"]}
    sites.list = [{"name": "team/app", "tags": ["index"]}, chosen]
    memory = {"directory": sites.path("cache")} if remembered else {}
    sites.export(**memory)
    sites.bring()
    if remembered:
        forget(sites.path("cache"), "below")
    report = sites.export("week-2", since=sites.inventory(), **memory)
    assert (report["summary"]["current"], report["bundle"]["images"]) == (2, 0), report["images"]


def forget(directory, kind):
    """Take one kind of facts out of a memory, as another host has not got them."""
    file = Path(directory, "digests.json")
    facts = json.loads(file.read_text())
    kept = {key: value for key, value in facts.items() if not key.startswith(kind)}
    assert len(kept) < len(facts)
    file.write_text(json.dumps(kept))


def test_what_is_attached_later_goes_in_an_increment(sites, images, upstream):
    sites.export()
    sites.bring()
    inventory = sites.inventory()
    sign(upstream.url, "team/app", images["0.0"], "later")
    attach(upstream.url, "team/app", images["2.0"], referrer(images["2.0"], "later"))
    report = sites.export("week-2", since=inventory)
    assert report["bundle"]["images"] == 2
    brought = sites.bring("week-2")
    assert brought["summary"]["copied"] == 2, brought["images"]
    assert images["0.0"].digest.replace(":", "-") + ".sig" in tags_of(sites.local.url, "team/app")
    assert len(listed(sites.local.url, "team/app", images["2.0"].digest)) == 1


def test_without_its_base_an_increment_says_what_it_builds_on(sites, images, upstream):
    sites.export()
    push(upstream.url, "team/app", "0.0", oci_image([layer("base", 200_000), layer("fresh", 50_000)]))
    sites.export("week-2", since=sites.path())
    looked = inspect(sites.settings, sites.path("week-2"))
    assert bundle_code(looked) == 2
    brought = sites.bring("week-2")
    assert brought["summary"]["failed"] == 1
    assert "the bundle builds on bundle " in brought["images"]["team/app:0.0"]["error"]
    assert "this registry's inventory" in brought["images"]["team/app:0.0"]["error"]
    assert brought["bundle"]["amiss"]["base"].endswith("which is not all here; 1 of 1 tags wait for it")


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x" * 10**5)])
def test_a_lost_volume_costs_its_own_images_alone(sites, images, harm):
    sites.export(volume=400_000)
    volumes = sorted(Path(sites.path()).glob("*.tar"))
    saved = volumes[-1].read_bytes()
    harm(volumes[-1])
    looked = inspect(sites.settings, sites.path())
    assert bundle_code(looked) == (1 if volumes[-1].exists() else 2)
    brought = sites.bring()
    failed = {key: image for key, image in brought["images"].items() if image["status"] == "failed"}
    unread = {key: image for key, image in brought["images"].items() if image["status"] == "unreadable"}
    assert 0 < len(failed) + len(unread) < len(images)
    assert all(volumes[-1].name in image["error"] for image in (failed | unread).values())
    assert brought["summary"]["copied"] == len(images) - len(failed) - len(unread)
    waiting = f"; {len(failed) + len(unread)} of {len(images)} tags wait for it"
    assert brought["bundle"]["amiss"][volumes[-1].name].endswith(waiting)
    assert waiting in " ".join(" ".join(report_lines(brought)).split())
    volumes[-1].write_bytes(saved)
    assert sites.bring()["summary"]["failed"] == 0
    everything_is_there(sites, images)


def test_all_tags_wait_for_the_only_volume(sites, images):
    sites.export(volume=10**9)
    (Path(sites.path()) / "week-1.001.tar").unlink()
    looked = inspect(sites.settings, sites.path())
    count = len(images)
    amiss = {"week-1.001.tar": f"week-1.001.tar is missing; {count} of {count} tags wait for it"}
    assert (bundle_code(looked), looked["bundle"]["amiss"]) == (2, amiss)
    brought = sites.bring()
    assert all(
        image["error"].startswith("week-1.001.tar is missing; sha256:")
        and image["error"].endswith(" is in it")
        for image in brought["images"].values()
    )


def test_unpacked_volumes_are_the_bundle_too(sites, images):
    sites.export(volume=10**6)
    for volume in sorted(Path(sites.path()).glob("*.tar")):
        subprocess.run(["tar", "xf", volume.name], cwd=sites.path(), check=True)
        volume.unlink()
    looked = inspect(sites.settings, sites.path())
    assert (bundle_code(looked), looked["bundle"]["amiss"]) == (0, {})
    sites.bring()
    everything_is_there(sites, images)


def test_the_same_again_writes_nothing_and_another_does_not_overwrite(sites, images, upstream):
    first = sites.export()
    again = sites.export()
    assert (first["bundle"]["new"], again["bundle"]["new"]) == (True, False)
    assert first["bundle"]["id"] == again["bundle"]["id"]
    push(upstream.url, "team/app", "9.0", images["0.0"])
    with pytest.raises(RegistryError, match="is another bundle"):
        sites.export()


@pytest.mark.parametrize(
    ("harm", "said"),
    [(Path.unlink, "is missing"), (lambda path: path.write_bytes(b"x" * 10**5), "where one should be")],
)
def test_a_bundle_of_which_a_volume_was_lost_is_not_said_to_be_there(sites, images, harm, said):
    sites.export(volume=400_000)
    harm(sorted(Path(sites.path()).glob("*.tar"))[-1])
    with pytest.raises(RegistryError, match=rf"\.tar .*{said}; take it away or name another path"):
        sites.export(volume=400_000)


def test_from_the_mirror_it_is_the_same_bundle_but_for_who_was_asked(sites, images, upstream):
    sites.export()
    sites.bring()
    upstream.stop()
    report = sites.export("from-mirror", source="local")
    assert report["summary"]["copied"] == len(images)
    names = [json.loads(line.rstrip(",")) for line in index_lines(sites.path("from-mirror"))]
    named = {entry["annotations"].get("org.opencontainers.image.ref.name", "") for entry in names}
    assert f"{upstream.address}/team/app:0.0" in named


def test_from_the_mirror_comes_what_a_choice_of_platforms_has_left_of_a_pinned_index(sites, images, upstream):
    index = docker_list([docker_image([layer(name)], architecture=name) for name in ("amd64", "arm64")])
    push(upstream.url, "team/index", "1.0", index)
    pinned, chosen = f"1.0@{index.digest}", ["linux/arm64"]
    sites.list = [
        {"name": "team/index", "tags": [pinned], "platforms": chosen},
        {"name": "team/app", "tags": [f"2.0@{images['2.0'].digest}"]},
    ]
    assert sync(sites.settings)["summary"]["copied"] == 2
    upstream.stop()
    report = sites.export(source="local")
    assert report["images"]["team/index:1.0"]["upstream"] == digest_of(sites.local.url, "team/index", "1.0")
    push(sites.local.url, "team/app", "2.0", images["0.0"])
    again = sites.export("again", source="local")
    assert again["images"]["team/app:2.0"]["upstream"] == images["2.0"].digest


def index_lines(path):
    return (Path(path) / "index.json").read_text().splitlines()[1:-1]


def test_what_is_newer_here_is_held_unless_forced(sites, upstream):
    old = created_at(oci_image([layer("old")]), "2026-01-01T00:00:00Z")
    new = created_at(oci_image([layer("new")]), "2026-03-01T00:00:00Z")
    sites.list = [{"name": "team/dated", "tags": ["1.0"]}]
    push(upstream.url, "team/dated", "1.0", old)
    sites.export()
    push(sites.local.url, "team/dated", "1.0", new)
    held = sites.bring()["images"]["team/dated:1.0"]
    assert (held["status"], held["error"]) == (
        "held",
        "what is here was made 2026-03-01T00:00:00Z, and the bundle has what was made before, "
        "2026-01-01T00:00:00Z",
    )
    assert digest_of(sites.local.url, "team/dated", "1.0") == new.digest
    assert sites.bring(force=True)["images"]["team/dated:1.0"]["status"] == "copied"
    assert digest_of(sites.local.url, "team/dated", "1.0") == old.digest


@pytest.mark.needs("skopeo")
def test_skopeo_copies_images_out_of_it_by_their_names(sites, images, upstream, tmp_path):
    sites.export(volume=0)
    for tag in ("0.0", "2.0", "signed"):
        name = f"{upstream.address}/team/app:{tag}"
        skopeo("copy", f"oci:{sites.path()}:{name}", f"dir:{tmp_path / tag}")
        body = (tmp_path / tag / "manifest.json").read_bytes()
        assert f"sha256:{hashlib.sha256(body).hexdigest()}" == images[tag].digest


@pytest.mark.needs("skopeo")
def test_what_skopeo_has_copied_to_a_layout_is_imported(sites, images, upstream, tmp_path):
    name = f"{upstream.address}/team/app:0.0"
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path / 'layout'}:{name}")
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path / 'plain'}:1.0")
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"oci-archive:{tmp_path / 'one.tar'}")
    for path, into, target in (
        ("layout", "", ("team/app", "0.0")),
        ("plain", "plain/app", ("plain/app", "1.0")),
        ("one.tar", "one/app:2.0", ("one/app", "2.0")),
    ):
        brought = sites.bring(path, into=into)
        assert brought["summary"]["copied"] == 1, (path, brought["images"])
        assert digest_of(sites.local.url, *target) == images["0.0"].digest
    with pytest.raises(RegistryError, match="give into="):
        sites.bring("plain")


@pytest.mark.needs("skopeo")
def test_a_name_that_is_given_is_taken_or_refused(sites, images, upstream, tmp_path):
    name = f"{upstream.address}/team/app"
    for layout, tag, called in (
        ("plain", "0.0", "1.0"),
        ("two", "0.0", "1.0"),
        ("two", "2.0", "2.0"),
        ("whole", "0.0", f"{name}:0.0"),
    ):
        skopeo(
            "copy", "--src-tls-verify=false", f"docker://{name}:{tag}", f"oci:{tmp_path / layout}:{called}"
        )
    sites.export()
    assert sites.bring("plain", into="in/app:9.9")["summary"]["copied"] == 1
    assert tags_of(sites.local.url, "in/app") == ["9.9"]
    assert sites.bring("two", into="in/two")["summary"]["copied"] == 2
    for path, into, said in (
        ("two", "in/two:9.9", "into=in/two:9.9 is one tag for 2 images; give into=in/two"),
        ("plain", "a:b:c", "into=a:b:c is none; give into=REPOSITORY or REPOSITORY:TAG"),
        ("plain", "in/app:", "into=in/app: is none"),
        ("whole", "in/app", "into=in/app: every image there has a name of its own"),
        ("week-1", "in/app", "into=in/app: every image there has a name of its own"),
    ):
        with pytest.raises(RegistryError, match=re.escape(said)):
            sites.bring(path, into=into)


def skopeo(*words):
    subprocess.run(["skopeo", "--insecure-policy", *words], check=True, capture_output=True, timeout=60)


@pytest.mark.needs("gpg")
def test_a_bundle_is_signed_and_refused_without_one_of_the_accepted(sites, tmp_path, monkeypatch):
    homes = {name: Gpg(tmp_path / name) for name in ("ours", "others")}
    fingerprints = {name: home.make_key(name) for name, home in homes.items()}
    keys = {name: {"gpg": [home.public(name)]} for name, home in homes.items()}
    sites.signatures = {**sites.signatures, "keys": keys}
    monkeypatch.setenv("GNUPGHOME", str(tmp_path / "ours"))
    sites.export(sign_with=fingerprints["ours"])
    with pytest.raises(RegistryError, match=r"nobody of accept \(others\) has signed"):
        sites.bring(accept=["others"])
    assert sites.bring(accept=["others", "ours"])["bundle"]["signed_by"] == "ours"
    (Path(sites.path()) / "SHA256SUMS.asc").unlink()
    with pytest.raises(RegistryError, match=r"there is no SHA256SUMS\.asc"):
        sites.bring(accept=["ours"])
    for home in homes.values():
        home.close()


def test_simple_signatures_travel_and_are_kept_on_the_other_side(sites, images, upstream, tmp_path):
    store = tmp_path / "vendor"
    digest = images["2.0"].digest
    put_signature(store, "team/app", digest, FIRST)
    with serve(store) as url:
        near = {**sites.signatures, "directory": str(tmp_path / "near"), "stores": {upstream.address: url}}
        sites.signatures, far = near, sites.signatures
        sites.export()
        sites.signatures = far
        sites.bring()
        kept = Path(far["directory"]) / f"team/app@{digest.replace(':', '=')}"
        assert (kept / "signature-1").read_bytes() == FIRST
        inventory = sites.inventory()
        put_signature(store, "team/app", digest, SECOND, 2)
        sites.signatures = near
        report = sites.export("week-2", since=inventory)
        assert report["bundle"]["images"] == 1
        sites.signatures = far
        sites.bring("week-2")
        assert [(kept / f"signature-{number}").read_bytes() for number in (1, 2)] == [FIRST, SECOND]


def kept_of(signatures, repository, image):
    directory = Path(signatures["directory"]) / f"{repository}@{image.digest.replace(':', '=')}"
    return [path.read_bytes() for path in sorted(directory.glob("*"))]


def test_one_digest_in_two_repositories_has_the_signatures_of_both(sites, images, upstream, tmp_path):
    store, far = tmp_path / "vendor", sites.signatures
    push(upstream.url, "team/other", "2.0", images["2.0"])
    put_signature(store, "team/app", images["2.0"].digest, FIRST)
    put_signature(store, "team/other", images["2.0"].digest, SECOND)
    sites.list = [{"name": "team/app", "tags": ["2.0"]}, {"name": "team/other", "tags": ["2.0"]}]
    with serve(store) as url:
        near = {**far, "directory": str(tmp_path / "near"), "stores": {f"{upstream.address}/team/app": url}}
        for week, stores in (("1", near), ("2", {**near, "stores": {upstream.address: url}})):
            sites.signatures = far
            inventory = sites.inventory()
            sites.signatures = stores
            sites.export(f"week-{week}", since=inventory)
            sites.signatures = far
            sites.bring(f"week-{week}")
    assert SECOND in kept_of(far, "team/other", images["2.0"])


def test_a_signature_of_the_sites_own_keeps_no_later_one_of_the_vendors_away(
    sites, images, upstream, tmp_path
):
    store, far = tmp_path / "vendor", sites.signatures
    put_signature(store, "team/app", images["2.0"].digest, FIRST)
    with serve(store) as url:
        near = {**far, "directory": str(tmp_path / "near"), "stores": {upstream.address: url}}
        sites.signatures = near
        sites.export()
        sites.signatures = far
        sites.bring()
        put_signature(Path(far["directory"]), "team/app", images["2.0"].digest, b"\x90of the site", 2)
        inventory = sites.inventory()
        sites.signatures = near
        assert sites.export("nothing-new", since=inventory)["bundle"]["images"] == 0
        put_signature(store, "team/app", images["2.0"].digest, SECOND, 2)
        sites.export("week-2", since=inventory)
        third = sites.export("week-3", since=sites.path("week-2"))
        assert third["bundle"]["images"] == 0
    sites.signatures = far
    sites.bring("week-2")
    assert kept_of(far, "team/app", images["2.0"]) == [FIRST, b"\x90of the site", SECOND]


def test_an_image_that_is_wanted_under_another_name_too_has_its_referrers_there(sites, images):
    sites.list = [{"name": "team/app", "tags": ["signed"]}]
    sites.export()
    sites.bring()
    sites.list = [*sites.list, {"name": "team/app", "target": "other/app", "tags": ["signed"]}]
    report = sites.export("week-2", since=sites.inventory())
    assert (report["bundle"]["images"], report["bundle"]["blobs"]) == (1, 3)
    assert sites.bring("week-2")["images"]["other/app:signed"]["status"] == "copied"
    digest = images["signed"].digest
    assert len(listed(sites.local.url, "other/app", digest)) == 1
    assert digest.replace(":", "-") + ".sig" in tags_of(sites.local.url, "other/app")
    assert sites.export("week-3", since=sites.path("week-2"))["bundle"]["images"] == 0


def test_the_simple_signature_of_a_platform_that_comes_later_goes_in_an_increment(sites, upstream, tmp_path):
    children = [docker_image([layer(name)], architecture=name) for name in ("amd64", "arm64")]
    push(upstream.url, "team/index", "1.0", docker_list(children))
    sites.list = [{"name": "team/index", "tags": ["1.0"]}]
    far = sites.signatures
    with serve(tmp_path / "vendor") as url:
        near = {"directory": str(tmp_path / "near"), "stores": {upstream.address: url}}
        sites.export()
        sites.bring()
        inventory = sites.inventory()
        put_signature(tmp_path / "vendor", "team/index", children[1].digest, FIRST)
        sites.signatures = near
        report = sites.export("week-2", since=inventory)
        assert (report["summary"]["current"], report["bundle"]["images"]) == (1, 1)
    sites.signatures = far
    assert sites.bring("week-2")["summary"]["current"] == 1
    kept = Path(far["directory"]) / f"team/index@{children[1].digest.replace(':', '=')}"
    assert (kept / "signature-1").read_bytes() == FIRST


def test_what_cannot_be_read_upstream_is_left_out_and_told(sites, images, upstream):
    sites.list = [{"name": "team/app", "tags": ["0.0", "nowhere"]}]
    report = export(sites.settings, sites.path())
    assert (report["summary"]["copied"], report["summary"]["failed"]) == (1, 1)
    assert sites.bring()["summary"]["copied"] == 1


def test_a_blob_that_is_lost_upstream_keeps_the_bundle_from_being_whole(sites, images, upstream):
    lost = images["0.0"].blobs[-1].digest
    value = lost.partition(":")[2]
    (upstream.data / "docker/registry/v2/blobs/sha256" / value[:2] / value / "data").unlink()
    impatient = replace(sites.settings, transfer=replace(sites.settings.transfer, retries=1))
    report = export(impatient, sites.path(), volume=10**9)
    assert report["images"]["team/app:0.0"]["status"] == "failed"
    assert report["bundle"]["new"] is False
    assert not Path(sites.path()).exists()
    with pytest.raises(RegistryError, match="No such file"):
        sites.bring()


def test_an_import_says_that_engines_will_refuse_what_only_a_bundle_of_cosign_signs(sites, images):
    key, image = make_key(), images["2.0"]
    push_bundle(sites.upstream.url, "team/app", image, bundle(key, statement(image.digest)))
    sites.list = [{"name": "team/app", "tags": ["2.0"], "signed_by": ["ours"]}]
    sites.signatures = {**sites.signatures, "keys": {"ours": {"cosign": [public_pem(key)]}}}
    sites.export()
    asked = replace(sites.settings, engine=replace(sites.settings.engine, policy=True))
    (brought,) = import_bundle(asked, sites.path())["images"].values()
    assert (brought["status"], brought["signed_by"]) == ("copied", ["ours"])
    assert brought["error"].startswith("cosign 3 bundles travel, but no podman verifies them")


def test_a_list_of_signers_holds_for_what_is_imported(sites, images):
    sites.export()
    sites.list = [{"name": "team/app", "tags": ["*"], "signed_by": ["ours"]}]
    sites.signatures = {**sites.signatures, "keys": {"ours": {"cosign": [public_pem(make_key())]}}}
    brought = sites.bring()
    assert brought["summary"]["copied"] == 0
    assert {image["cause"] for image in brought["images"].values()} == {"signature"}
