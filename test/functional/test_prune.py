"""What is forgotten, and that nothing else is: a real registry, filled by syncs and by other hands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from support import faults
from support.images import Layer, docker_list, oci_index
from support.proxy import FaultProxy
from support.pruning import AT_ONCE, Mirror, fill, images, simple, statuses
from support.registries import Distribution
from support.registry_content import digest_of, pull_whole, push, tags_of

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")


@pytest.fixture
def site(upstream: Distribution, local: Distribution, tmp_path: Path) -> Mirror:
    return Mirror(upstream, local, tmp_path)


def test_by_default_nothing_is_pruned(site: Mirror) -> None:
    fill(site, old=simple("old"), new=simple("new"))
    site.sync(images("old", "new"))
    site.sync(images("new"))
    report = site.prune(images("new"), prune={})
    assert statuses(report) == {"app:new": "kept", "app:old": "waiting"}
    assert report["plan"] == ""


def test_a_look_changes_nothing_and_its_plan_does_exactly_that(site: Mirror, tmp_path: Path) -> None:
    made = fill(site, old=simple("old"), new=simple("new"))
    site.sync(images("old", "new"))
    site.sync(images("new"))
    looked = site.prune(images("new"))
    assert statuses(looked) == {"app:new": "kept", "app:old": "doomed"}
    assert len(looked["plan"]) == 8
    assert tags_of(site.local.url, "team/app") == ["new", "old"]
    done = site.prune(images("new"), plan=looked["plan"])
    assert statuses(done) == {"app:new": "kept", "app:old": "pruned"}
    assert site.status("old") == site.status(made["old"].digest) == 404
    pull_whole(site.local.url, "team/app", "new", tmp_path / "pulled")
    assert site.prune(images("new"))["plan"] == ""


def test_the_bytes_are_those_that_nothing_kept_needs(site: Mirror) -> None:
    old = simple("old")
    fill(site, old=old, new=simple("new"))
    site.sync(images("old", "new"))
    site.sync(images("new"))
    own = sum(blob.size for blob in old.blobs if blob.digest != Layer("base").digest) + len(old.manifest)
    looked = site.prune(images("new"))
    assert looked["summary"]["bytes"] == looked["images"]["team/app:old"]["bytes"] == own


def test_skopeo_1432_a_twin_that_is_wanted_stays(site: Mirror, tmp_path: Path) -> None:
    twin = simple("twin")
    fill(site, old=twin, new=twin)
    site.sync(images("old", "new"))
    site.sync(images("new"))
    looked = site.prune(images("new"))
    assert looked["images"]["team/app:old"]["twins"] == ["new"]
    assert looked["images"]["team/app:old"]["bytes"] == 0
    site.forget(images("new"))
    assert site.status("old") == 404
    assert digest_of(site.local.url, "team/app", "new") == twin.digest
    pull_whole(site.local.url, "team/app", "new", tmp_path / "pulled")


def test_distribution_3178_children_of_a_kept_index_stay_and_those_of_a_pruned_one_go(
    site: Mirror, tmp_path: Path
) -> None:
    shared, own_of_old, own_of_new = simple("shared"), simple("old"), simple("new")
    fill(site, old=docker_list([shared, own_of_old]), new=docker_list([shared, own_of_new]))
    site.sync(images("old", "new"))
    site.sync(images("new"))
    done = site.forget(images("new"))
    assert site.status(own_of_old.digest) == 404
    assert site.status(shared.digest) == site.status(own_of_new.digest) == 200
    assert f"app@{own_of_old.digest}" in statuses(done)
    pull_whole(site.local.url, "team/app", "new", tmp_path / "pulled")


def test_an_index_in_an_index_goes_with_all_below_it_and_no_more(site: Mirror, tmp_path: Path) -> None:
    leaf, kept_leaf = simple("leaf"), simple("kept")
    inner = oci_index([leaf, kept_leaf])
    fill(site, old=oci_index([inner]), new=oci_index([kept_leaf]))
    site.sync(images("old", "new"))
    site.sync(images("new"))
    site.forget(images("new"))
    assert site.status(inner.digest) == site.status(leaf.digest) == 404
    pull_whole(site.local.url, "team/app", "new", tmp_path / "pulled")


def test_a_digest_that_is_pinned_without_a_tag_stays_until_the_list_drops_it(site: Mirror) -> None:
    pinned = simple("pinned")
    fill(site, v1=pinned, new=simple("new"))
    site.sync(images("v1", "new", pinned.digest))
    site.sync(images("new", pinned.digest))
    site.forget(images("new", pinned.digest))
    assert site.status("v1") == 404
    assert site.status(pinned.digest) == 200
    site.sync(images("new"))
    site.forget(images("new"))
    assert site.status(pinned.digest) == 404


def test_what_a_tag_was_before_it_moved_goes_and_backups_stay(site: Mirror) -> None:
    made = [simple(f"build {number}") for number in range(4)]
    for image in made:
        push(site.upstream.url, "team/app", "latest", image)
        site.sync(images("latest"))
    looked = site.prune(images("latest"), backup={"keep": 2})
    assert looked["images"][f"team/app@{made[2].digest}"]["reason"] == "backup:keep"
    site.forget(images("latest"), backup={"keep": 2})
    assert [site.status(image.digest) for image in made] == [404, 200, 200, 200]
    assert site.prune(images("latest"), backup={"keep": 2})["plan"] == ""


def test_backups_under_tags_of_their_own_stay_as_many_as_are_to_be_kept(site: Mirror) -> None:
    backup = {"keep": 1, "tags": "was-{tag}-{n}"}
    for number in range(3):
        push(site.upstream.url, "team/app", "latest", simple(f"build {number}"))
        site.sync(images("latest"), backup=backup)
    site.forget(images("latest"), backup=backup)
    assert tags_of(site.local.url, "team/app") == ["latest", "was-latest-2"]


def test_quay_what_people_pushed_by_hand_stays(site: Mirror) -> None:
    fill(site, old=simple("old"), new=simple("new"))
    site.sync(images("old", "new"))
    push(site.local.url, "team/app", "by-hand", simple("hand"))
    push(site.local.url, "team/else", "1", simple("else"))
    replaced = simple("replaced")
    push(site.local.url, "team/app", "old", replaced)
    site.sync(images("new"))
    looked = site.prune(images("new"))
    assert statuses(looked)["app:by-hand"] == statuses(looked)["app:old"] == "kept"
    assert looked["images"]["team/app:old"]["reason"] == "it was changed since sync put it here"
    site.forget(images("new"))
    assert digest_of(site.local.url, "team/app", "old") == replaced.digest
    assert site.status("by-hand") == 200
    assert tags_of(site.local.url, "team/else") == ["1"]


def test_cosigns_tags_follow_their_subject(site: Mirror) -> None:
    made = fill(site, old=simple("old"), new=simple("new"))
    signatures = {
        f"sha256-{image.digest.partition(':')[2]}.sig": simple(f"signature of {tag}")
        for tag, image in made.items()
    }
    for tag, signature in signatures.items():
        push(site.upstream.url, "team/app", tag, signature)
    site.sync(images("old", "new", *signatures))
    site.sync(images("new"))
    site.forget(images("new"))
    of_old, of_new = signatures
    assert site.status(of_old) == 404
    assert site.status(of_new) == 200


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ({"newest": 2}, {"1.9", "1.10"}),
        ({"tags": ["1.0*"]}, {"1.0", "1.10"}),
        ({"since": "1d"}, {"1.0", "1.9", "1.10"}),
        ({}, {"1.10"}),
    ],
    ids=["newest", "tags", "since", "none"],
)
def test_rules_keep_what_they_name(keep: dict[str, Any], kept: set[str], site: Mirror) -> None:
    fill(site, **{tag: simple(tag) for tag in ("1.0", "1.9", "1.10")})
    site.sync(images("1.0", "1.9", "1.10"))
    site.sync(images("1.10"))
    looked = site.prune(images("1.10"), prune={**AT_ONCE, "keep": keep})
    assert {name.rpartition(":")[2] for name, status in statuses(looked).items() if status == "kept"} == kept


def test_gl_325429_the_last_tag_of_a_repository_on_the_list_stays(site: Mirror) -> None:
    fill(site, **{"1.0": simple("1.0"), "2.0": simple("2.0")})
    site.sync(images("1.0", "2.0"))
    only_digest = digest_of(site.upstream.url, "team/app", "2.0")
    assert only_digest is not None
    site.sync(images(only_digest))
    looked = site.prune(images(only_digest))
    assert looked["images"]["team/app:2.0"]["status"] == "kept"
    assert looked["images"]["team/app:1.0"]["status"] == "doomed"


def test_a_tag_that_is_wanted_again_waits_anew(site: Mirror) -> None:
    fill(site, old=simple("old"), new=simple("new"))
    site.sync(images("old", "new"))
    site.sync(images("new"))
    rules = {"after": "1d", "ceiling": "100%"}
    first = site.prune(images("new"), prune=rules)["images"]["team/app:old"]
    assert first["status"] == "waiting"
    site.sync(images("old", "new"))
    assert site.prune(images("old", "new"), prune=rules)["images"]["team/app:old"]["since"] == 0
    site.sync(images("new"))
    again = site.prune(images("new"), prune=rules)["images"]["team/app:old"]
    assert again["since"] > first["since"]


def test_oc_mirror_what_changed_since_the_plan_is_refused(site: Mirror) -> None:
    fill(site, old=simple("old"), new=simple("new"))
    site.sync(images("old", "new"))
    site.sync(images("new"))
    plan = site.prune(images("new"))["plan"]
    moved = simple("moved")
    push(site.local.url, "team/app", "old", moved)
    report = site.prune(images("new"), plan=plan)
    assert report["refused"].startswith(f"plan {plan} is not what would be done now")
    assert digest_of(site.local.url, "team/app", "old") == moved.digest


def test_what_a_sync_that_was_killed_has_put_here_is_ours(site: Mirror) -> None:
    made = fill(site, old=simple("old"), new=simple("new"))
    site.sync(images("new"))
    from _registry_sync_ledger import Ledger

    ledger = Ledger(str(site.state), site.local.url)
    ledger.begin([("team/app", "old", "", made["old"].digest)])
    push(site.local.url, "team/app", "old", made["old"])
    site.sync(images("old", "new"))
    site.sync(images("new"))
    assert statuses(site.prune(images("new")))["app:old"] == "doomed"


def test_a_prune_that_was_killed_between_two_requests_is_ended_by_a_later_one(site: Mirror) -> None:
    from _registry_oci_manifest import OCI_INDEX
    from _registry_sync_prune_delete import _empty_index

    twin = simple("twin")
    fill(site, old=twin, new=twin)
    site.sync(images("old", "new"))
    site.sync(images("new"))
    requests.put(
        f"{site.local.url}/v2/team/app/manifests/old",
        data=_empty_index().body,
        headers={"Content-Type": OCI_INDEX},
        timeout=10,
    ).raise_for_status()
    real = site.local
    with FaultProxy(real.url) as line:
        site.move_ledger_to(line)
        site.local = line
        # So are the next two, once they have noted what goes.
        for _ in range(2):
            line.on("DELETE", "/manifests/", faults.reset())
            assert site.prune(images("new"), automatic=True)["refused"] != ""
            assert site.status("old") == 200
        site.forget(images("new"))
    site.local = real
    assert site.status("old") == 404
    assert digest_of(site.local.url, "team/app", "new") == twin.digest
