"""Lists of referrers under the fallback tag: they are not believed, and nothing in them is lost."""

from __future__ import annotations

import threading

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
)
from support.faults import answer
from support.images import Layer, oci_image, oci_index
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registry_content import digest_of, push, tags_of

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")


@pytest.mark.parametrize(
    "stands_there", [LIST, oci_index([CHILDREN[0]]), IMAGE], ids=["gitlab", "other-index", "cosign-copy"]
)
def test_what_stands_under_the_tag_of_a_list_and_is_none_is_ignored(upstream, local, stands_there):
    subject = IMAGE if stands_there is IMAGE else LIST
    push(upstream.url, NAME, "1", subject)
    push(upstream.url, NAME, fallback_tag(subject.digest), stands_there)
    report = mirror.sync(settings_for(upstream, local))
    assert entry_of(report) == ("copied", counts())
    assert tags_of(local.url, NAME) == ["1"]
    assert mirror.return_code(mirror.check(settings_for(upstream, local))) == 0


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>"),
        (200, b'{"schemaVersion": 2, "manifests": [{"digest": "x"}]}'),
        (200, b'{"schemaVersion": 1}'),
    ],
    ids=["html", "bad-digest", "schema1"],
)
def test_a_list_that_cannot_be_read_is_ignored(upstream, local, status, body):
    push(upstream.url, NAME, "1", IMAGE)
    attached.attach(upstream.url, NAME, IMAGE, referrer(IMAGE, "one"))
    with FaultProxy(upstream.url) as far:
        kind = {"Content-Type": "application/vnd.oci.image.index.v1+json"}
        far.on(None, f"/manifests/{fallback_tag(IMAGE.digest)}", answer(200, body, kind), times=None)
        assert entry_of(mirror.sync(settings_for(far, local))) == ("copied", counts())


def test_a_list_is_hearsay_and_each_manifest_says_what_it_is_about(upstream, local):
    push(upstream.url, NAME, "1", IMAGE)
    mine, other = referrer(IMAGE, "mine"), referrer(LIST, "of another")
    push(upstream.url, NAME, "other", LIST)
    refer(upstream.url, NAME, mine, other)
    # As Debian's cosign 3.1.1 writes it.
    lies = {"artifactType": attached.EMPTY}
    entries = [{**attached.entry(one), **lies} for one in (mine, other)]
    for entry in entries:
        del entry["annotations"]
    attached.push_list(upstream.url, NAME, IMAGE.digest, entries)
    assert entry_of(mirror.sync(settings_for(upstream, local))) == ("copied", counts(here=1))
    assert attached.listed(local.url, NAME, IMAGE.digest) == [attached.entry(mine)]


def test_something_else_under_the_tag_of_the_local_list_is_left_alone(upstream, local):
    push(upstream.url, NAME, "1", IMAGE)
    push(local.url, NAME, fallback_tag(IMAGE.digest), IMAGE)
    attached.attach(upstream.url, NAME, IMAGE, referrer(IMAGE, "one"))
    entry = mirror.sync(settings_for(upstream, local))["images"][f"{NAME}:1"]
    assert (entry["status"], entry["cause"]) == ("failed", "unsupported")
    assert "is no list of referrers" in entry["error"]
    assert digest_of(local.url, NAME, fallback_tag(IMAGE.digest)) == IMAGE.digest
    assert digest_of(local.url, NAME, "1") is None


def test_fifty_referrers_and_a_foreign_one_in_the_middle_are_all_listed(upstream, local):
    push(upstream.url, NAME, "1", IMAGE)
    many = [referrer(IMAGE, str(number)) for number in range(50)]
    attached.attach(upstream.url, NAME, IMAGE, *many)
    push(local.url, NAME, "own", IMAGE)
    foreign = referrer(IMAGE, "foreign")
    refer(local.url, NAME, foreign)
    tag = fallback_tag(IMAGE.digest)
    intrusions = iter([True, True])

    def overwrite(request, pass_on):
        """Another client has read the list before us, and writes it after us."""
        response = pass_on(request)
        if next(intrusions, False):
            attached.push_list(local.url, NAME, IMAGE.digest, [attached.entry(foreign)])
        return response

    with FaultProxy(local.url) as near:
        near.on("PUT", f"/manifests/{tag}$", overwrite, times=None)
        settings = settings_for(upstream, near, transfer={"parallel": 16})
        assert entry_of(mirror.sync(settings)) == ("copied", counts(here=50))
    assert digests_listed(local, IMAGE.digest) == sorted(one.digest for one in (*many, foreign))


def test_who_goes_on_overwriting_the_list_is_told_and_the_tag_does_not_stand(upstream, local):
    push(upstream.url, NAME, "1", IMAGE)
    attached.attach(upstream.url, NAME, IMAGE, referrer(IMAGE, "one"))

    def forget(request, pass_on):
        response = pass_on(request)
        attached.push_list(local.url, NAME, IMAGE.digest, [])
        return response

    with FaultProxy(local.url) as near:
        near.on("PUT", f"/manifests/{fallback_tag(IMAGE.digest)}$", forget, times=None)
        entry = mirror.sync(settings_for(upstream, near))["images"][f"{NAME}:1"]
    assert entry["status"] == "failed"
    assert "others go on writing" in entry["error"]
    assert digest_of(local.url, NAME, "1") is None


def test_many_at_once_lose_nothing(upstream, local):
    """Two mirrors with lists of their own fill one registry at the same time."""
    push(upstream.url, NAME, ["1", "2"], IMAGE)
    attached.attach(upstream.url, NAME, IMAGE, *(referrer(IMAGE, str(number)) for number in range(20)))
    tags = ["1", "2"]
    reports = {}

    def run(tag):
        reports[tag] = mirror.sync(settings_of(upstream, local, [{"name": NAME, "tags": [tag]}]))

    threads = [threading.Thread(target=run, args=(tag,)) for tag in tags]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry_of(reports[tag], f"{NAME}:{tag}") for tag in tags] == [("copied", counts(here=20))] * 2
    assert len(digests_listed(local, IMAGE.digest)) == 20


def test_a_list_that_names_what_cannot_be_derived_keeps_it_as_it_is(upstream, local):
    push(upstream.url, NAME, "1", IMAGE)
    mirror.sync(settings_for(upstream, local))
    odd = oci_image([Layer("odd")])
    push(local.url, NAME, odd.digest, odd)
    told = {"mediaType": odd.media_type, "digest": odd.digest, "size": len(odd.manifest), "x": "y"}
    attached.push_list(local.url, NAME, IMAGE.digest, [told])
    attached.attach(upstream.url, NAME, IMAGE, one := referrer(IMAGE, "one"))
    assert entry_of(mirror.sync(settings_for(upstream, local))) == ("copied", counts(here=1))
    expected = sorted([told, attached.entry(one)], key=lambda entry: entry["digest"])
    assert attached.listed(local.url, NAME, IMAGE.digest) == expected


def test_the_list_has_the_same_bytes_each_run(upstream, local, start_registry):
    push(upstream.url, NAME, "1", IMAGE)
    many = [referrer(IMAGE, str(number)) for number in range(4)]
    attached.attach(upstream.url, NAME, IMAGE, *many)
    other = start_registry()
    mirror.sync(settings_for(upstream, local))
    attached.push_list(upstream.url, NAME, IMAGE.digest, [attached.entry(one) for one in reversed(many)])
    mirror.sync(settings_for(upstream, other))
    tag = fallback_tag(IMAGE.digest)
    assert attached.manifest(local.url, NAME, tag) == attached.manifest(other.url, NAME, tag) != b""
