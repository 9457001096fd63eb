"""What upstream has attached to images travels with them: by tags, by lists and by the referrers API."""

from __future__ import annotations

import json

import pytest

import _registry_sync_commands as mirror
from support import attached
from support.attached import (
    CHILDREN,
    IMAGE,
    LIST,
    NAME,
    counts,
    digests_listed,
    entry_of,
    fallback_tag,
    refer,
    referrer,
    settings_for,
    sign,
    signature,
)
from support.faults import answer
from support.images import Layer, docker_list, oci_image, oci_index
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.referrers_api import ReferrersApi
from support.registry_content import digest_of, push, tags_of

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")


@pytest.fixture
def signed(upstream):
    """A registry with a list that is signed and referred to at every level."""
    push(upstream.url, NAME, "1", LIST)
    sbom = referrer(LIST, "sbom")
    attached.attach(upstream.url, NAME, LIST, sbom, referrer(LIST, "scan"))
    attached.attach(upstream.url, NAME, CHILDREN[1], referrer(CHILDREN[1], "child"))
    attached.attach(upstream.url, NAME, sbom, referrer(sbom, "signature of the sbom"))
    for subject in (LIST, CHILDREN[0], signature(LIST, "one")):
        sign(upstream.url, NAME, subject, "one")
    return upstream


def test_signatures_and_referrers_of_list_children_and_attachments_travel_byte_for_byte(signed, local):
    assert entry_of(mirror.check(settings_for(signed, local))) == ("missing", counts(lacking=7))
    assert entry_of(mirror.sync(settings_for(signed, local))) == ("copied", counts(here=7))
    for name in tags_of(signed.url, NAME):
        here, there = (attached.manifest(server.url, NAME, name) for server in (local, signed))
        if name == "1" or name.endswith(".sig"):
            assert here == there
        else:
            assert sorted(json.loads(here)["manifests"], key=str) == sorted(
                json.loads(there)["manifests"], key=str
            )
    assert tags_of(local.url, NAME) == tags_of(signed.url, NAME)
    report = mirror.check(settings_for(signed, local))
    assert entry_of(report) == ("current", counts(here=7))
    assert report["summary"]["attachments"] == counts(here=7)
    assert report["summary"]["extra"] == 0
    assert mirror.return_code(report) == 0


def test_a_tag_that_lacks_an_attachment_is_stale_until_it_has_it(upstream, local):
    push(upstream.url, NAME, "1", IMAGE)
    mirror.sync(settings_for(upstream, local))
    sign(upstream.url, NAME, IMAGE, "one")
    report = mirror.check(settings_for(upstream, local))
    assert entry_of(report) == ("stale", counts(lacking=1))
    assert mirror.return_code(report) == 2
    planned = mirror.plan(settings_for(upstream, local))
    assert planned["summary"]["blobs"] == 2
    assert 0 < planned["summary"]["bytes"] < 1000
    with FaultProxy(local.url) as near:
        assert entry_of(mirror.sync(settings_for(upstream, near))) == ("copied", counts(here=1))
        put = [request.path for request in near.requests("PUT manifests")]
    assert put == [f"/v2/{NAME}/manifests/{fallback_tag(IMAGE.digest)}.sig"]
    assert entry_of(mirror.check(settings_for(upstream, local))) == ("current", counts(here=1))


def test_a_second_signature_and_a_second_referrer_are_noticed(upstream, local, tmp_path):
    push(upstream.url, NAME, "1", IMAGE)
    sign(upstream.url, NAME, IMAGE, "one")
    attached.attach(upstream.url, NAME, IMAGE, referrer(IMAGE, "one"))
    mirror.sync(settings_for(upstream, local), directory=str(tmp_path))
    sign(upstream.url, NAME, IMAGE, "one", "two")
    attached.attach(upstream.url, NAME, IMAGE, referrer(IMAGE, "two"))
    for directory in ("", str(tmp_path)):
        assert entry_of(mirror.check(settings_for(upstream, local), directory=directory)) == (
            "stale",
            counts(here=1, lacking=2),
        )
    report = mirror.sync(settings_for(upstream, local), directory=str(tmp_path))
    assert entry_of(report) == ("copied", counts(here=3))
    tag = f"{fallback_tag(IMAGE.digest)}.sig"
    assert attached.manifest(local.url, NAME, tag) == signature(IMAGE, "one", "two").manifest


def test_nothing_attached_costs_one_list_a_repository_and_one_question_a_registry(upstream, local):
    names = ["a/b", "c/d"]
    for name in names:
        push(upstream.url, name, ["1", "2"], IMAGE)
    images = [{"name": name, "tags": ["1", "2"]} for name in names]
    with FaultProxy(upstream.url) as far, FaultProxy(local.url) as near:
        mirror.sync(settings_of(far, near, images))
        far.forget_seen()
        near.forget_seen()
        mirror.sync(settings_of(far, near, images))
        assert far.counts() == {"GET base": 1, "GET tags": 2, "GET other": 1, "HEAD manifests": 4}
        assert near.counts() == {"GET base": 1, "GET catalog": 1, "GET tags": 2, "HEAD manifests": 4}


def test_nothing_travels_where_the_pillar_says_so(signed, local):
    settings = settings_for(signed, local, attachments=False)
    with FaultProxy(signed.url) as far:
        assert entry_of(mirror.sync(settings_for(far, local, attachments=False))) == ("copied", counts())
        assert far.count("GET tags") == 0
    assert tags_of(local.url, NAME) == ["1"]
    assert entry_of(mirror.check(settings)) == ("current", counts())


def test_what_the_pillar_leaves_out_stays_behind_and_is_counted(upstream, local):
    push(upstream.url, NAME, "1", IMAGE)
    small, large = referrer(IMAGE, "small"), referrer(IMAGE, "large" * 1000)
    scan = referrer(IMAGE, "scan", "application/vnd.example.scan+json")
    attached.attach(upstream.url, NAME, IMAGE, small, large, scan)
    rule = {"exclude": ["application/vnd.example.scan*"], "largest": "1KB"}
    settings = settings_for(upstream, local, attachments=rule)
    assert entry_of(mirror.sync(settings)) == ("copied", counts(here=1, skipped=2))
    assert digests_listed(local, IMAGE.digest) == [small.digest]
    assert entry_of(mirror.check(settings)) == ("current", counts(here=1, skipped=2))
    assert entry_of(mirror.check(settings_for(upstream, local))) == ("stale", counts(here=1, lacking=2))


@pytest.mark.parametrize("filters", [True, False], ids=["filters", "ignores-filters"])
def test_a_registry_with_the_api_is_asked_page_by_page(upstream, local, filters):
    with FaultProxy(upstream.url) as far:
        ReferrersApi(far, page=2, filters=filters)
        push(far.url, NAME, "1", LIST)
        many = [referrer(LIST, str(number)) for number in range(5)]
        scan = referrer(LIST, "scan", "application/vnd.example.scan+json")
        refer(far.url, NAME, *many, scan, referrer(CHILDREN[0], "child"))
        rule = {"exclude": ["application/vnd.example.scan*"]}
        settings = settings_for(far, local, attachments=rule)
        assert entry_of(mirror.sync(settings)) == ("copied", counts(here=6, skipped=1))
        assert digests_listed(local, LIST.digest) == sorted(one.digest for one in many)
        assert entry_of(mirror.check(settings)) == ("current", counts(here=6, skipped=1))


def test_a_local_registry_with_the_api_gets_manifests_and_no_lists(signed, local):
    with FaultProxy(local.url) as near:
        api = ReferrersApi(near)
        assert entry_of(mirror.sync(settings_for(signed, near))) == ("copied", counts(here=7))
        assert [name for name in tags_of(local.url, NAME) if "." not in name] == ["1"]
        assert sorted(len(entries) for entries in api.known.values()) == [1, 1, 2]
        assert entry_of(mirror.check(settings_for(signed, near))) == ("current", counts(here=7))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 406, 501])
def test_a_registry_that_knows_no_api_is_read_by_tags_whatever_it_says(upstream, local, status):
    push(upstream.url, NAME, "1", IMAGE)
    attached.attach(upstream.url, NAME, IMAGE, referrer(IMAGE, "one"))
    with FaultProxy(upstream.url) as far:
        far.on("GET", "/referrers/", answer(status), times=None)
        report = mirror.sync(settings_for(far, local, transfer={"retries": 0}))
        assert entry_of(report) == ("copied", counts(here=1))
        assert len([one for one in far.requests() if "/referrers/" in one.path]) <= 2


def test_an_answer_that_is_no_list_of_referrers_means_that_there_is_no_api(upstream, local):
    push(upstream.url, NAME, "1", IMAGE)
    attached.attach(upstream.url, NAME, IMAGE, referrer(IMAGE, "one"))
    with FaultProxy(upstream.url) as far:
        far.on("GET", "/referrers/", answer(200, b"<html>", {"Content-Type": "text/html"}), times=None)
        assert entry_of(mirror.sync(settings_for(far, local))) == ("copied", counts(here=1))


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_where_tags_are_not_listed_they_are_asked_for_by_name(upstream, local, status, caplog):
    push(upstream.url, NAME, "1", IMAGE)
    push(upstream.url, "some/other", "1", CHILDREN[0])
    sign(upstream.url, NAME, IMAGE, "one")
    attached.attach(upstream.url, NAME, IMAGE, referrer(IMAGE, "one"))
    images = [{"name": name, "tags": ["1"]} for name in (NAME, "some/other")]
    with FaultProxy(upstream.url) as far:
        far.on("GET", "/tags/list", answer(status), times=None)
        report = mirror.sync(settings_of(far, local, images, transfer={"retries": 0}))
    assert entry_of(report) == ("copied", counts(here=2))
    assert entry_of(report, "some/other:1") == ("copied", counts())
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1


def test_names_are_asked_for_where_the_list_of_tags_is_long(upstream, local):
    push(upstream.url, NAME, "1", IMAGE)
    sign(upstream.url, NAME, IMAGE, "one")
    with FaultProxy(upstream.url) as far:
        body, headers = b'{"name": "x", "tags": ["a"]}', {"Content-Type": "application/json"}
        for page in range(20):
            following = f"/v2/{NAME}/tags/list?page={page + 1}"
            far.on(
                "GET",
                rf"/tags/list\?{'page=' + str(page) + '$' if page else 'n='}",
                answer(200, body, {**headers, "Link": f'<{following}>; rel="next"'}),
                times=None,
            )
        assert entry_of(mirror.sync(settings_for(far, local))) == ("copied", counts(here=1))
        assert far.count("GET tags") == 10


def test_the_sites_own_referrers_and_signatures_stay(upstream, local):
    push(upstream.url, NAME, "1", IMAGE)
    mirror.sync(settings_for(upstream, local))
    own, theirs = referrer(IMAGE, "own"), referrer(IMAGE, "theirs")
    attached.attach(local.url, NAME, IMAGE, own)
    tag = sign(local.url, NAME, IMAGE, "own")
    attached.attach(upstream.url, NAME, IMAGE, theirs)
    sign(upstream.url, NAME, IMAGE, "theirs")
    assert entry_of(mirror.sync(settings_for(upstream, local))) == ("copied", counts(here=2))
    assert digests_listed(local, IMAGE.digest) == sorted([own.digest, theirs.digest])
    assert signatures_under(local, tag) == ["theirs", "own"]
    report = mirror.check(settings_for(upstream, local))
    assert entry_of(report) == ("current", counts(here=2))
    assert report["summary"]["extra"] == 0


def signatures_under(server, tag):
    layers = json.loads(attached.manifest(server.url, NAME, tag))["layers"]
    return [layer["annotations"]["dev.cosignproject.cosign/signature"] for layer in layers]


def test_a_signature_that_upstream_replaces_is_replaced_here(upstream, local, tmp_path):
    push(upstream.url, NAME, "1", IMAGE)
    sign(upstream.url, NAME, IMAGE, "first")
    notes = {"ledger_directory": str(tmp_path)}
    mirror.sync(settings_for(upstream, local), **notes)
    tag = sign(upstream.url, NAME, IMAGE, "second")
    mirror.sync(settings_for(upstream, local), **notes)
    assert attached.manifest(local.url, NAME, tag) == signature(IMAGE, "second").manifest


def test_the_sites_own_signature_stays_however_often_upstreams_change(upstream, local, tmp_path):
    push(upstream.url, NAME, "1", IMAGE)
    notes = {"ledger_directory": str(tmp_path)}
    tag = sign(upstream.url, NAME, IMAGE, "1")
    mirror.sync(settings_for(upstream, local), **notes)
    sign(local.url, NAME, IMAGE, "1", "the site's")
    for words in (["1", "2"], ["1", "2", "3"], ["1", "2", "3", "4"]):
        sign(upstream.url, NAME, IMAGE, *words)
        assert entry_of(mirror.sync(settings_for(upstream, local), **notes)) == ("copied", counts(here=1))
        assert signatures_under(local, tag) == [*words, "the site's"]


def test_the_tag_is_the_last_thing_that_is_written(signed, local):
    with FaultProxy(local.url) as near:
        mirror.sync(settings_for(signed, near))
        put = [request.path.rpartition("/")[2] for request in near.requests("PUT manifests")]
    assert put[-1] == "1"
    assert put.index(LIST.digest) < min(
        position for position, name in enumerate(put) if name.endswith(".sig")
    )
    last_referrer = max(put.index(entry) for entry in digests_listed(local, LIST.digest))
    assert last_referrer < put.index(fallback_tag(LIST.digest))


def test_a_signature_that_cannot_be_brought_keeps_its_image_from_standing(upstream, local):
    push(upstream.url, NAME, "1", IMAGE)
    sign(upstream.url, NAME, IMAGE, "one")
    push(upstream.url, "some/other", "1", CHILDREN[0])
    images = [{"name": name, "tags": ["1"]} for name in (NAME, "some/other")]
    with FaultProxy(local.url) as near:
        near.on("PUT", r"/manifests/sha256-\w+\.sig", answer(500), times=None)
        report = mirror.sync(settings_of(upstream, near, images, transfer={"retries": 0}))
    assert report["images"][f"{NAME}:1"]["status"] == "failed"
    assert report["images"][f"{NAME}:1"]["attachments"] == counts(lacking=1)
    assert report["images"]["some/other:1"]["status"] == "copied"
    assert digest_of(local.url, NAME, "1") is None


def test_of_a_choice_of_platforms_the_childrens_signatures_travel(upstream, local):
    push(upstream.url, NAME, "1", LIST)
    for subject in (LIST, *CHILDREN):
        sign(upstream.url, NAME, subject, "one")
    settings = settings_of(upstream, local, [{"name": NAME, "tags": ["1"], "platforms": ["linux/arm64"]}])
    assert entry_of(mirror.sync(settings)) == ("copied", counts(here=1))
    assert tags_of(local.url, NAME) == ["1", f"{fallback_tag(CHILDREN[1].digest)}.sig"]
    assert entry_of(mirror.check(settings)) == ("current", counts(here=1))


def test_patterns_mean_images_and_not_what_is_attached_to_them(signed, local):
    settings = settings_of(signed, local, [{"name": NAME, "tags": ["*"]}])
    report = mirror.sync(settings)
    assert list(report["images"]) == [f"{NAME}:1"]
    assert entry_of(report) == ("copied", counts(here=7))


def test_what_is_attached_to_nothing_that_is_wanted_is_extra(upstream, local):
    push(upstream.url, NAME, "1", IMAGE)
    push(local.url, NAME, "1", IMAGE)
    orphan = sign(local.url, NAME, CHILDREN[0], "of nothing here")
    sign(local.url, NAME, IMAGE, "the site's own")
    report = mirror.check(settings_for(upstream, local))
    assert [name for name, entry in report["images"].items() if entry["status"] == "extra"] == [
        f"{NAME}:{orphan}"
    ]


def test_the_sites_own_signature_of_a_child_is_no_extra(upstream, local):
    push(upstream.url, NAME, "1", LIST)
    mirror.sync(settings_for(upstream, local))
    sign(local.url, NAME, CHILDREN[0], "the site's own")
    assert mirror.check(settings_for(upstream, local))["summary"]["extra"] == 0


def test_a_referrer_that_is_listed_and_gone_is_none(upstream, local):
    push(upstream.url, NAME, "1", IMAGE)
    gone, there = referrer(IMAGE, "gone"), referrer(IMAGE, "there")
    attached.attach(upstream.url, NAME, IMAGE, there, gone)
    with FaultProxy(upstream.url) as far:
        far.on(None, f"/manifests/{gone.digest}", answer(404), times=None)
        assert entry_of(mirror.sync(settings_for(far, local))) == ("copied", counts(here=1))


def test_tags_that_share_what_is_attached_get_it_once(upstream, local):
    push(upstream.url, NAME, ["1", "2"], LIST)
    push(upstream.url, NAME, "3", docker_list([CHILDREN[0], IMAGE]))
    attached.attach(upstream.url, NAME, CHILDREN[0], referrer(CHILDREN[0], "shared"))
    settings = settings_of(upstream, local, [{"name": NAME, "tags": ["1", "2", "3"]}])
    with FaultProxy(local.url) as near:
        report = mirror.sync(settings_of(upstream, near, [{"name": NAME, "tags": ["1", "2", "3"]}]))
        put = [request.path.rpartition("/")[2] for request in near.requests("PUT manifests")]
    assert [entry["attachments"] for entry in report["images"].values()] == [counts(here=1)] * 3
    assert put.count(fallback_tag(CHILDREN[0].digest)) == 1
    assert mirror.return_code(mirror.check(settings)) == 0


def test_an_index_of_files_that_refers_to_an_image_travels_with_its_children(upstream, local):
    push(upstream.url, NAME, "1", IMAGE)
    about = {"mediaType": IMAGE.media_type, "digest": IMAGE.digest, "size": len(IMAGE.manifest)}
    files = oci_index([oci_image([Layer("file")])])
    document = json.loads(files.manifest) | {
        "subject": about,
        "artifactType": "x/y",
        "annotations": {"a": "b"},
    }
    index = type(files)(files.media_type, json.dumps(document).encode(), (), files.children)
    attached.attach(upstream.url, NAME, IMAGE, index)
    assert entry_of(mirror.sync(settings_for(upstream, local))) == ("copied", counts(here=1))
    assert attached.listed(local.url, NAME, IMAGE.digest) == [attached.entry(index)]
