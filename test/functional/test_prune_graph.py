"""What a kept image needs stays, however it is named, and what was left keeps its parts."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from support import faults
from support.images import docker_list, oci_index
from support.made_signatures import push_bundle
from support.proxy import FaultProxy
from support.pruning import REPOSITORY, Mirror, fill, images, simple, statuses
from support.registries import Distribution
from support.registry_content import digest_of, pull_whole, push, tags_of

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")


@pytest.fixture
def site(upstream: Distribution, local: Distribution, tmp_path: Path) -> Mirror:
    return Mirror(upstream, local, tmp_path)


def test_a_child_of_a_kept_index_that_has_a_tag_of_its_own_loses_the_tag_alone(
    site: Mirror, tmp_path: Path
) -> None:
    amd64, arm64 = simple("amd64"), simple("arm64")
    fill(site, **{"1-amd64": amd64, "1-arm64": arm64, "1": docker_list([amd64, arm64])})
    site.sync(images("1", "1-amd64", "1-arm64"))
    site.sync(images("1"))
    looked = site.prune(images("1"))
    assert looked["images"][f"{REPOSITORY}:1-amd64"]["bytes"] == 0
    site.forget(images("1"))
    assert tags_of(site.local.url, REPOSITORY) == ["1"]
    assert site.status(amd64.digest) == site.status(arm64.digest) == 200
    pull_whole(site.local.url, REPOSITORY, "1", tmp_path / "pulled")
    assert site.prune(images("1"))["plan"] == ""


def test_quay_6650_what_is_attached_to_a_child_of_a_kept_index_stays(site: Mirror) -> None:
    child = simple("child")
    signature = f"sha256-{child.digest.partition(':')[2]}.sig"
    fill(site, **{"1": docker_list([child]), "old": simple("old"), signature: simple("signature")})
    site.sync(images("1", "old", signature))
    site.sync(images("1"))
    site.forget(images("1"))
    assert tags_of(site.local.url, REPOSITORY) == ["1", signature]


def test_what_is_attached_to_a_child_is_kept_also_where_nothing_goes(site: Mirror) -> None:
    child = simple("child")
    referrers = f"sha256-{child.digest.partition(':')[2]}"
    fill(site, **{"1": docker_list([child]), "2": simple("another")})
    push(site.upstream.url, REPOSITORY, f"{referrers}.sig", simple("signature"))
    push_bundle(site.upstream.url, REPOSITORY, child, b"{}")
    site.sync(images("1", "2"))
    later = {"after": 3600, "untagged": 3600, "ceiling": "100%"}
    for wanted, why in ((("1", "2"), "its subject is kept"), (("2",), "its subject waits")):
        told = site.prune(images(*wanted), prune=later)["images"]
        for tag in (f"{REPOSITORY}:{referrers}", f"{REPOSITORY}:{referrers}.sig"):
            assert (told[tag]["status"], told[tag]["reason"]) == ("kept", why)


def test_quay_6650_attachments_are_counted_by_no_rule(site: Mirror) -> None:
    made = {version: simple(version) for version in ("1.0", "1.1", "1.2")}
    signatures = {
        f"sha256-{image.digest.partition(':')[2]}.sig": simple(f"signature of {version}")
        for version, image in made.items()
    }
    fill(site, **made, **signatures)
    site.sync(images(*made, *signatures))
    # A digest is on the list, so no tag is: the last of them stays, and its signature with it.
    only_digest = made["1.0"].digest
    site.sync(images(only_digest))
    site.forget(images(only_digest))
    assert tags_of(site.local.url, REPOSITORY) == sorted(
        ["1.2", *(f"sha256-{made[version].digest.partition(':')[2]}.sig" for version in ("1.0", "1.2"))]
    )


def test_an_index_that_one_repository_lacks_is_read_from_the_one_that_keeps_it(
    site: Mirror, tmp_path: Path
) -> None:
    shared = simple("shared")
    kept, old = docker_list([shared, simple("new")]), docker_list([shared, simple("old")])
    for repository in ("team/app", "team/lost"):
        push(site.upstream.url, repository, "1", kept)
    push(site.upstream.url, "team/app", "old", old)
    other = {"name": "team/lost", "tags": ["1"]}
    site.sync(images("1", "old"), other)
    push(site.upstream.url, "team/lost", "1", simple("moved"))
    site.sync(images("1"), other)
    # Its tag has left it, and somebody has deleted it.
    requests.delete(f"{site.local.url}/v2/team/lost/manifests/{kept.digest}", timeout=10).raise_for_status()
    (site.cache / "digests.json").unlink()
    site.forget(images("1"), other)
    assert site.status(old.digest) == 404
    pull_whole(site.local.url, REPOSITORY, "1", tmp_path / "pulled")


def test_an_index_that_nests_too_deep_to_be_followed_keeps_its_repository(site: Mirror) -> None:
    fill(site, old=simple("old"), new=simple("new"))
    site.sync(images("old", "new"))
    site.sync(images("new"))
    deep = docker_list([simple("leaf")])
    for _ in range(6):
        deep = oci_index([deep])
    push(site.local.url, REPOSITORY, "deep", deep)
    looked = site.prune(images("new"))
    assert looked["images"][f"{REPOSITORY}:old"]["reason"] == f"what {REPOSITORY}:deep needs cannot be read"


def test_a_tag_whose_manifest_is_lost_keeps_nothing_else_and_goes(site: Mirror) -> None:
    lost = simple("lost")
    fill(site, lost=lost, old=simple("old"), new=simple("new"))
    site.sync(images("lost", "old", "new"))
    site.sync(images("new"))
    # As a server leaves it that is stopped within a deletion: https://github.com/distribution/distribution/issues/1755
    hexadecimal = lost.digest.partition(":")[2]
    revisions = "docker/registry/v2/repositories/team/app/_manifests/revisions"
    (site.local.data / revisions / "sha256" / hexadecimal / "link").unlink()
    site.local.restart()
    looked = site.prune(images("new"))
    assert statuses(looked) == {"app:lost": "doomed", "app:new": "kept", "app:old": "doomed"}
    assert "lost" in tags_of(site.local.url, REPOSITORY)
    site.forget(images("new"))
    assert tags_of(site.local.url, REPOSITORY) == ["new"]
    assert site.prune(images("new"))["plan"] == ""


def test_oc_mirror_what_comes_between_the_look_and_the_deed_is_left(site: Mirror, tmp_path: Path) -> None:
    shared = simple("shared")
    old = docker_list([shared, simple("old")])
    fill(site, old=old, new=simple("new"))
    site.sync(images("old", "new"))
    site.sync(images("new"))
    real = site.local

    def push_another(request: faults.Request, pass_on: faults.PassOn) -> faults.Response:
        push(real.url, REPOSITORY, "by-hand", docker_list([shared, simple("hand")]))
        return pass_on(request)

    plan = site.prune(images("new"))["plan"]
    with FaultProxy(real.url) as line:
        line.on("DELETE", "/manifests/sha256:0{64}", push_another)
        site.move_ledger_to(line)
        site.local = line
        plan = site.prune(images("new"))["plan"]
        done = site.prune(images("new"), plan=plan)
    site.local = real
    reasons = {image["reason"] for image in done["images"].values() if image["status"] == "kept"}
    assert "tag by-hand has come since the plan was made" in reasons
    assert done["summary"]["pruned"] == 0
    assert digest_of(real.url, REPOSITORY, "old") == old.digest
    pull_whole(real.url, REPOSITORY, "by-hand", tmp_path / "pulled")


def test_parts_of_what_was_left_stay(site: Mirror) -> None:
    child = simple("child")
    old = docker_list([child])
    fill(site, old=old, new=simple("new"))
    site.sync(images("old", "new"))
    site.sync(images("new"))
    real = site.local
    with FaultProxy(real.url) as line:
        line.on("DELETE", f"/manifests/{old.digest}", faults.answer(500), times=None)
        site.move_ledger_to(line)
        site.local = line
        done = site.prune(images("new"), plan=site.prune(images("new"))["plan"])
    site.local = real
    assert statuses(done)["app:old"] == "failed"
    part = done["images"][f"{REPOSITORY}@{child.digest}"]
    assert (part["status"], part["reason"]) == ("kept", f"{REPOSITORY}:old, which needs it, was left")
    assert site.status(child.digest) == 200


def test_harbor_8717_a_registry_that_takes_twins_gets_them_back_and_the_prune_stops(
    site: Mirror, tmp_path: Path
) -> None:
    twin = simple("twin")
    tags = [f"old-{number}" for number in range(3)]
    fill(site, new=twin, **dict.fromkeys(tags, twin))
    site.sync(images("new", *tags))
    site.sync(images("new"))
    real = site.local

    def take_twins(request: faults.Request, pass_on: faults.PassOn) -> faults.Response:
        url = f"{real.url}/v2/{REPOSITORY}/manifests/{twin.digest}"
        requests.delete(url, timeout=10).raise_for_status()
        return pass_on(request)

    with FaultProxy(real.url) as line:
        line.on("DELETE", "/manifests/sha256:(?!0{64})", take_twins, times=None)
        site.move_ledger_to(line)
        site.local = line
        done = site.prune(images("new"), plan=site.prune(images("new"))["plan"])
    site.local = real
    errors = {image["error"] for image in done["images"].values() if image["status"] == "failed"}
    assert errors == {f"local {line.address} took new with {REPOSITORY}:old-0; new was put back"}
    assert done["summary"]["failed"] == 3
    pull_whole(real.url, REPOSITORY, "new", tmp_path / "pulled")


def test_regclient_258_a_tag_whose_substitute_cannot_be_deleted_is_put_back(site: Mirror) -> None:
    twin = simple("twin")
    fill(site, new=twin, old=twin)
    site.sync(images("new", "old"))
    site.sync(images("new"))
    real = site.local
    with FaultProxy(real.url) as line:
        line.on("DELETE", "/manifests/sha256:(?!0{64})", faults.answer(405), times=None)
        site.move_ledger_to(line)
        site.local = line
        done = site.prune(images("new"), plan=site.prune(images("new"))["plan"])
    site.local = real
    assert statuses(done)["app:old"] == "failed"
    assert digest_of(real.url, REPOSITORY, "old") == twin.digest
