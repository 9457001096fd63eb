"""What is broken is mended from upstream, only what is bad crosses the line, and nothing is made worse."""

from __future__ import annotations

import pytest
import requests

from support.damage import TO_BYTES, TO_LINKS, Damage, paths, states
from support.formula_registry import FormulaRegistry
from support.hostile import is_whole
from support.images import Image, Layer, docker_image
from support.mirrored import BASE, BOTH, LAYER, ONE, OTHER, Mirrored
from support.proxy import FaultProxy
from support.registry_content import digest_of, pull_whole, push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

CONFIG = ONE.blobs[0]
BYTES = {"a shared layer": BASE, "a layer": LAYER, "a config": CONFIG, "a child": ONE, "an index": BOTH}
LINKS = {
    "a layer's link": ("team/app", "_layers", LAYER.digest),
    "a child's revision": ("team/app", "revisions", ONE.digest),
    "an index's revision": ("team/app", "revisions", BOTH.digest),
    "a tag": ("team/app", "tags", "1"),
}
WHOLE = {"team/app:1": "whole", "team/other:latest": "whole"}


@pytest.fixture
def site(upstream, local, tmp_path):
    return Mirrored(upstream, local, tmp_path)


def size_of(what):
    return len(what.manifest) if isinstance(what, Image) else what.size


def assert_whole(site, tmp_path):
    for image, name in ((BOTH, "team/app"), (OTHER, "team/other")):
        assert is_whole(site.local, name, image)
    pull_whole(site.local.url, "team/app", "1", tmp_path / "app")
    report = site.verify()
    assert (states(report), paths(report)) == (WHOLE, [])


@pytest.mark.parametrize("restarted", [False, True], ids=["remembered", "restarted"])
@pytest.mark.parametrize("what", BYTES.values(), ids=BYTES)
@pytest.mark.parametrize(("harm", "kind"), TO_BYTES.values(), ids=TO_BYTES)
def test_bytes_are_brought_again_and_read_back(site, tmp_path, harm, kind, what, restarted):
    path = harm(site.damage, site.damage.data(what.digest))
    if restarted:
        site.local.restart()
    report = site.verify(repair=True)
    found = report["blobs"][what.digest]
    assert (found["status"], found["error"], found["path"]) == ("repaired", "", str(path))
    assert report["summary"]["bytes_moved"] == size_of(what)
    assert states(report) == WHOLE | dict.fromkeys(site.images_with(what), "repaired")
    aside = list(site.local.data.glob(".registry_sync/quarantine/*"))
    assert len(aside) == (0 if harm is Damage.remove else 1)
    assert_whole(site, tmp_path)


@pytest.mark.parametrize("where", LINKS.values(), ids=LINKS)
@pytest.mark.parametrize(("harm", "kind"), TO_LINKS.values(), ids=TO_LINKS)
def test_a_link_is_made_anew_and_nothing_crosses_the_line(site, tmp_path, harm, kind, where):
    path = harm(site.damage, site.damage.link(*where))
    report = site.verify(repair=True)
    found = report["links"][str(path)]
    assert (found["status"], found["was"], found["error"]) == ("repaired", kind, "")
    assert report["summary"]["bytes_moved"] == 0
    assert_whole(site, tmp_path)


def test_everything_at_once(site, tmp_path):
    for what in (BASE, LAYER, ONE, BOTH):
        site.damage.flip_a_bit(site.damage.data(what.digest))
    for where in LINKS.values():
        site.damage.empty(site.damage.link(*where))
    report = site.verify(repair=True)
    assert {image["status"] for image in report["images"].values()} == {"repaired"}, report
    assert report["summary"]["bytes_moved"] == sum(map(size_of, (BASE, LAYER, ONE, BOTH)))
    assert_whole(site, tmp_path)


def test_a_layer_that_is_cut_below_a_manifest_that_cannot_be_read(site, tmp_path):
    """How long it should be shows when the manifest is right again."""
    site.damage.truncate(site.damage.data(LAYER.digest))
    site.damage.empty(site.damage.data(ONE.digest))
    report = site.verify(repair=True)
    assert report["summary"]["bad"] == 0, report["blobs"]
    assert report["summary"]["bytes_moved"] == LAYER.size + size_of(ONE)
    assert_whole(site, tmp_path)


def test_through_the_socket_of_the_formulas_own_registry_no_restart_is_needed(upstream, tmp_path):
    """The server that takes what is pushed has a cache, the one that is read has none."""
    with FormulaRegistry(tmp_path / "local") as registry:
        site = Mirrored(upstream, registry, tmp_path / "mirror")
        for what in (BASE, LAYER, ONE, BOTH):
            site.damage.empty(site.damage.data(what.digest))
        for where in LINKS.values():
            site.damage.empty(site.damage.link(*where))
        report = site.verify(repair=True)
        assert report["summary"]["bad"] == 0, (report["blobs"], report["links"])
        assert report["summary"]["bytes_moved"] == sum(map(size_of, (BASE, LAYER, ONE, BOTH)))
        assert_whole(site, tmp_path)


@pytest.mark.parametrize("what", [BASE, ONE, BOTH], ids=["a layer", "a child", "an index"])
def test_what_upstream_has_no_more_is_lost_and_stays_as_it_was(site, what):
    path = site.damage.flip_a_bit(site.damage.data(what.digest))
    before = path.read_bytes()
    Damage(site.upstream.data).remove(Damage(site.upstream.data).data(what.digest))
    site.upstream.restart()
    report = site.verify(repair=True)
    assert report["blobs"][what.digest]["status"] == "lost"
    assert report["blobs"][what.digest]["cause"] == "absent"
    lost = site.images_with(what)
    assert states(report) == WHOLE | dict.fromkeys(lost, "lost")
    assert path.read_bytes() == before
    assert states(site.verify()) == WHOLE | dict.fromkeys(lost, "broken")


def test_other_bytes_of_upstream_are_not_taken(site):
    path = site.damage.truncate(site.damage.data(LAYER.digest))
    before = path.read_bytes()
    Damage(site.upstream.data).flip_a_bit(Damage(site.upstream.data).data(LAYER.digest))
    report = site.verify(repair=True)
    found = report["blobs"][LAYER.digest]
    assert (found["status"], found["cause"]) == ("lost", "digest")
    assert path.read_bytes() == before


def test_an_upstream_that_does_not_answer_loses_nothing_and_the_next_run_repairs(site, tmp_path):
    path = site.damage.flip_a_bit(site.damage.data(LAYER.digest))
    before = path.read_bytes()
    site.upstream.stop()
    report = site.verify(repair=True)
    assert (report["blobs"][LAYER.digest]["status"], report["blobs"][LAYER.digest]["cause"]) == (
        "corrupt",
        "network",
    )
    assert path.read_bytes() == before
    site.upstream.start()
    assert site.verify(repair=True)["summary"]["repaired"] == 1
    assert_whole(site, tmp_path)


def test_a_registry_that_refuses_the_right_bytes_gets_its_file_back(site):
    path = site.damage.flip_a_bit(site.damage.data(LAYER.digest))
    before = path.read_bytes()
    site.local.reconfigure({"storage": {"maintenance": {"readonly": {"enabled": True}}}})
    report = site.verify(repair=True)
    assert report["blobs"][LAYER.digest]["status"] == "corrupt"
    assert report["blobs"][LAYER.digest]["error"] != ""
    assert path.read_bytes() == before


def test_a_file_that_the_servers_user_may_not_read_is_given_back_without_moving_a_byte(site):
    for file in [site.local.data, *site.local.data.rglob("*")]:
        Damage.give(file, 65534)
    paths_ = [
        site.damage.lock_out(site.damage.data(LAYER.digest)),
        site.damage.lock_out(site.damage.link(*LINKS["a tag"])),
    ]
    report = site.verify(repair=True)
    assert states(report)["team/app:1"] == "repaired"
    assert report["summary"]["bytes_moved"] == 0
    assert [path.stat().st_uid for path in paths_] == [65534, 65534]
    assert states(site.verify()) == WHOLE


def test_a_corrupt_file_that_no_image_needs_is_set_aside_alone(site):
    image = docker_image([Layer("gone")])
    push(site.local.url, "team/gone", "1", image)
    requests.delete(f"{site.local.url}/v2/team/gone/manifests/{image.digest}", timeout=10)
    site.damage.flip_a_bit(site.damage.data(Layer("gone").digest))
    site.damage.age()
    assert site.verify(repair=True)["summary"]["bytes_moved"] == 0
    assert paths(site.verify()) == []
    # A push that asks by HEAD is told what the server has in its cache.
    site.local.restart()
    push(site.local.url, "team/gone", "1", image)
    assert is_whole(site.local, "team/gone", image)


def test_an_index_that_was_made_for_a_choice_of_platforms_is_made_anew(upstream, local, tmp_path):
    site = Mirrored(upstream, local, tmp_path, platforms=["linux/amd64"])
    digest = digest_of(local.url, "team/app", "1")
    assert digest not in (BOTH.digest, None)
    site.damage.empty(site.damage.data(digest))
    report = site.verify(repair=True)
    assert report["blobs"][digest]["status"] == "repaired", report["blobs"]
    assert digest_of(local.url, "team/app", "1") == digest


@pytest.mark.parametrize("what", [LAYER, ONE], ids=["a layer", "a manifest"])
def test_through_the_api_what_is_missing_is_brought_again(site, tmp_path, what):
    site.damage.remove(site.damage.data(what.digest))
    site.local.restart()
    report = site.verify(here=False, repair=True)
    assert states(report)["team/app:1"] == "repaired", report
    assert_whole(site, tmp_path)


def test_through_the_api_a_corrupt_file_stays_and_that_is_said(site):
    site.damage.flip_a_bit(site.damage.data(LAYER.digest))
    report = site.verify(here=False, repair=True)
    found = report["blobs"][LAYER.digest]
    assert found["status"] == "corrupt"
    assert "its own host can replace them" in found["error"]


def test_what_was_set_aside_goes_after_a_week(site):
    site.damage.flip_a_bit(site.damage.data(LAYER.digest))
    site.verify(repair=True)
    (aside,) = site.local.data.glob(".registry_sync/quarantine/*")
    old = aside.with_name(f"{aside.name.partition('.')[0]}.{float(aside.name.partition('.')[2]) - 8 * 86400}")
    aside.rename(old)
    site.damage.flip_a_bit(site.damage.data(CONFIG.digest))
    site.verify(repair=True)
    (left,) = site.local.data.glob(".registry_sync/quarantine/*")
    assert left.name.startswith(CONFIG.digest.replace(":", "-"))


def test_a_server_that_goes_on_by_its_cache_is_said_to_need_a_restart(site, tmp_path):
    """Its cache has learnt that the blob has no bytes, from the empty file."""
    path = site.damage.empty(site.damage.data(LAYER.digest))
    site.local.restart()
    requests.get(f"{site.local.url}/v2/team/app/blobs/{LAYER.digest}", timeout=10)
    found = site.verify(repair=True)["blobs"][LAYER.digest]
    assert (found["status"], found["cause"]) == ("short", "digest")
    assert "until it is restarted" in found["error"]
    assert path.read_bytes() == b"".join(LAYER.chunks())
    site.local.restart()
    assert_whole(site, tmp_path)


def test_bytes_moved_are_what_has_crossed_the_line(site):
    for what in (BASE, ONE):
        site.damage.flip_a_bit(site.damage.data(what.digest))
    with FaultProxy(site.upstream.url) as line:
        site.upstream = line
        report = site.verify(repair=True)
        crossed = sum(seen.bytes_down for seen in line.seen if "/v2/team/" in seen.request.path)
        assert report["summary"]["bytes_moved"] == crossed == BASE.size + size_of(ONE)
    assert is_whole(site.local, "team/app", BOTH)
