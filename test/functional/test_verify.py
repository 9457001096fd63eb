"""Whatever is broken in a registry is found, by its file and the images that it breaks; nothing else is."""

from __future__ import annotations

import os
import threading

import pytest
import requests

from _registry_oci_errors import RegistryError
from _registry_sync_verify_disk import DiskReader
from _registry_sync_verify_hash import NICENESS
from support.damage import TO_BYTES, TO_LINKS, Damage, paths, states
from support.images import Layer, docker_image
from support.mirrored import BASE, BOTH, LAYER, ONE, OTHER, Mirrored
from support.registry_content import push

pytestmark = pytest.mark.needs("docker-distribution")

CONFIG = ONE.blobs[0]
BYTES = {"a shared layer": BASE, "a layer": LAYER, "a config": CONFIG, "a child": ONE, "an index": BOTH}
LINKS = {
    "a layer's link": ("team/app", "_layers", LAYER.digest),
    "a child's revision": ("team/app", "revisions", ONE.digest),
    "an index's revision": ("team/app", "revisions", BOTH.digest),
    "a tag": ("team/app", "tags", "1"),
}
# The digests that a tree of files and a walk through the API show alike.
WHOLE = {"team/app:1": "whole", "team/other:latest": "whole"}


@pytest.fixture
def site(module_upstream, local, tmp_path):
    return Mirrored(module_upstream, local, tmp_path)


def broken(images):
    return {name: "broken" if name in images else "whole" for name in WHOLE}


@pytest.mark.parametrize("here", [True, False], ids=["by its files", "through its API"])
def test_a_healthy_registry_is_whole_and_every_byte_was_hashed(site, here):
    report = site.verify(here=here)
    assert (states(report), paths(report), report["unread"]) == (WHOLE, [], {})
    summary = report["summary"]
    assert (summary["whole"], summary["bad"], summary["left"]) == (2, 0, 0)
    if here:
        assert report["registry"]["storage"] == str(site.local.data)
        assert summary["bytes"] == sum(file.stat().st_size for file in site.local.data.rglob("data"))
        assert all(found["count"] == 0 for found in report["loose"].values()), report["loose"]
    else:
        assert report["registry"]["reason"] == "it is another host's"


@pytest.mark.parametrize("what", BYTES.values(), ids=BYTES)
@pytest.mark.parametrize(("harm", "kind"), TO_BYTES.values(), ids=TO_BYTES)
def test_bytes_are_named_by_file_and_by_every_image_and_twice_the_same(site, harm, kind, what):
    path = harm(site.damage, site.damage.data(what.digest))
    report = site.verify()
    assert paths(report) == [str(path)]
    assert states(report) == broken(site.images_with(what))
    found = report["blobs"][what.digest]
    # Of a manifest nobody says how long it should be, unless an index names it.
    kinds = {kind, "corrupt"} if what is BOTH else {kind}
    assert found["status"] in kinds
    assert sorted(found["images"]) == sorted(site.images_with(what))
    again = site.verify()
    assert [again[key] for key in ("images", "blobs", "links")] == [
        report[key] for key in ("images", "blobs", "links")
    ]


@pytest.mark.parametrize("where", LINKS.values(), ids=LINKS)
@pytest.mark.parametrize(("harm", "kind"), TO_LINKS.values(), ids=TO_LINKS)
def test_a_link_is_named_by_its_file_and_its_image(site, harm, kind, where):
    path = harm(site.damage, site.damage.link(*where))
    report = site.verify(fast=True)
    assert paths(report) == [str(path)]
    assert report["links"][str(path)]["status"] == kind
    assert states(report) == broken(["team/app:1"])


def test_fast_sees_sizes_and_pointers_but_no_flipped_bit_of_a_layer(site):
    site.damage.flip_a_bit(site.damage.data(LAYER.digest))
    assert states(site.verify(fast=True)) == WHOLE
    site.damage.truncate(site.damage.data(LAYER.digest))
    assert states(site.verify(fast=True)) == broken(["team/app:1"])


@pytest.mark.parametrize("where", ["bytes", "link"])
def test_a_file_that_the_servers_user_may_not_read_is_named(site, where):
    """Root reads all, so the files are given to another user, as those of a registry's package are."""
    for file in [site.local.data, *site.local.data.rglob("*")]:
        Damage.give(file, 65534)
    file = site.damage.data(LAYER.digest) if where == "bytes" else site.damage.link(*LINKS["a tag"])
    path = site.damage.lock_out(file)
    report = site.verify(fast=True)
    assert paths(report) == [str(path)]
    assert states(report) == broken(["team/app:1"])


@pytest.mark.parametrize("what", [LAYER, CONFIG, ONE], ids=["a layer", "a config", "a manifest"])
@pytest.mark.parametrize(("harm", "kind"), TO_BYTES.values(), ids=TO_BYTES)
def test_through_the_api_the_same_images_are_broken(site, harm, kind, what):
    harm(site.damage, site.damage.data(what.digest))
    site.local.restart()
    assert states(site.verify(here=False)) == broken(["team/app:1"])


def test_what_a_server_believes_to_have_is_found_missing(site):
    """It answers HEAD from its cache; nothing of it counts."""
    site.damage.remove(site.damage.data(LAYER.digest))
    url = f"{site.local.url}/v2/team/app/blobs/{LAYER.digest}"
    assert requests.head(url, timeout=10).status_code == 200
    for here in (True, False):
        assert states(site.verify(here=here)) == broken(["team/app:1"])


def test_a_file_that_somebody_is_writing_is_not_called_broken(site):
    file = site.damage.data(LAYER.digest)
    file.write_bytes(file.read_bytes()[:100])
    report = site.verify()
    assert (states(report), paths(report)) == (WHOLE, [])
    assert report["loose"]["young"]["count"] == 1


def test_a_corrupt_file_that_no_image_needs_is_named_since_a_push_would_take_it(site):
    push(site.local.url, "team/gone", "1", docker_image([Layer("gone")]))
    digest = Layer("gone").digest
    requests.delete(
        f"{site.local.url}/v2/team/gone/manifests/{docker_image([Layer('gone')]).digest}", timeout=10
    )
    path = site.damage.flip_a_bit(site.damage.data(digest))
    site.damage.age()
    report = site.verify()
    assert paths(report) == [str(path)]
    assert report["blobs"][digest]["images"] == []
    assert report["loose"]["unreferenced"]["count"] >= 2
    assert report["loose"]["empty_repositories"]["count"] == 1


def test_what_was_hashed_is_not_hashed_again_unless_it_has_changed(site):
    assert site.verify(every=1000)["summary"]["hashed"] > 0
    assert site.verify(every=1000)["summary"]["hashed"] == 0
    site.damage.age()
    assert site.verify(every=1000)["summary"]["hashed"] > 0
    file = site.damage.data(LAYER.digest)
    file.write_bytes(file.read_bytes())
    assert site.verify(every=1000)["summary"]["hashed"] == 1
    assert site.verify(every=0)["summary"]["hashed"] > 1


def test_a_run_that_its_deadline_ends_says_what_is_left_and_the_next_goes_on(site):
    slow = {"every": 1000, "bandwidth": 400_000}
    first = site.verify_with(verify=slow, transfer={"retries": 1, "deadline": 1})
    assert first["summary"]["left"] > 0
    second = site.verify_with(verify={"every": 1000})
    assert second["summary"]["left"] == 0
    total = site.verify()["summary"]["hashed"]
    assert first["summary"]["hashed"] + second["summary"]["hashed"] == total


def test_what_seemed_broken_when_the_deadline_came_is_not_called_so(site):
    site.damage.truncate(site.damage.data(LAYER.digest))
    slow = {"every": 1000, "bandwidth": 400_000}
    report = site.verify_with(verify=slow, transfer={"retries": 1, "deadline": 1})
    assert (paths(report), list(report["unread"])) == ([], [str(site.damage.data(LAYER.digest))])


def test_a_registry_that_is_down_cannot_be_read_through_its_api(site):
    site.local.stop()
    with pytest.raises(RegistryError, match="local"):
        site.verify(here=False)
    assert states(site.verify()) == WHOLE


def test_threads_are_nice_and_the_process_is_not_afterwards(site, monkeypatch):
    paces = set()
    whole = DiskReader.wrong

    def noting(reader, file, hashing):
        paces.add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return whole(reader, file, hashing)

    monkeypatch.setattr(DiskReader, "wrong", noting)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    site.verify()
    assert paces == {NICENESS}
    assert os.getpriority(os.PRIO_PROCESS, 0) == before < NICENESS


def test_the_files_of_another_registry_are_left_alone(site, start_registry):
    other = start_registry()
    push(other.url, "somebody/else", "1", docker_image([Layer("else")]))
    site.local = other
    report = site.verify_with(storage=site.damage.top.parents[2])
    assert "it is another registry's" in report["registry"]["reason"]
    assert states(report) == {"somebody/else:1": "whole"}


def test_a_registry_under_constant_pushes_is_whole_twenty_times(site):
    ends = threading.Event()

    def push_on() -> None:
        number = 0
        while not ends.is_set():
            number += 1
            image = docker_image([BASE, Layer(f"push-{number % 7}", 100_000)])
            push(site.local.url, "team/pushed", f"t{number % 5}", image)
            push(site.local.url, f"team/new{number % 50}", "latest", image)

    pushing = [threading.Thread(target=push_on) for _ in range(3)]
    for thread in pushing:
        thread.start()
    try:
        reports = [site.verify() for _ in range(20)]
    finally:
        ends.set()
        for thread in pushing:
            thread.join()
    for report in reports:
        assert (paths(report), report["unread"], report["summary"]["broken"]) == ([], {}, 0)
    assert reports[-1]["summary"]["whole"] > reports[0]["summary"]["whole"]
    assert OTHER.digest in {image["local"] for image in reports[-1]["images"].values()}
