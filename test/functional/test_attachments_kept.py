"""What is attached stays with its image: whenever a sync is killed, and whatever a prune forgets."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading

import pytest

import _registry_sync_commands as mirror
import _registry_sync_prune_run as prune_run
from support import attached
from support.attached import fallback_tag, referrer, sign, signature
from support.images import Layer, docker_image, docker_list, oci_image
from support.killing import KILLS
from support.pillar import pillar_of, settings_of
from support.proxy import FaultProxy
from support.registry_content import push, tags_of

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

NAME = "team/app"
SYNC = """
import json, sys
from _registry_config_read import read_settings
import _registry_sync_commands as mirror
import _registry_sync_prune_run as prune_run
settings = read_settings(json.loads(sys.argv[1]), host="unused.example.com")
mirror.sync(settings, directory=sys.argv[2])
"""
CHILD = docker_image([Layer("kept-child")])
KEPT = docker_list([CHILD, docker_image([Layer("kept-other")], architecture="arm64")])
OLD = oci_image([Layer("goes")])
RULES = {"after": 0, "untagged": 0, "ceiling": "100%"}


def test_whenever_a_sync_is_killed_no_image_stands_without_what_is_attached(
    upstream, start_registry, tmp_path, checkout
):
    images = {f"{number}": oci_image([Layer(f"killed-{number}", 2000)]) for number in range(12)}
    for tag, image in images.items():
        push(upstream.url, NAME, tag, image)
        sign(upstream.url, NAME, image, "one")
        attached.attach(
            upstream.url, NAME, image, *(referrer(image, f"{tag}-{number}") for number in range(3))
        )
    for attempt in range(KILLS):
        local = start_registry()
        kill_in_the_middle(upstream, local, list(images), tmp_path / f"cache{attempt}", checkout)
        standing = [tag for tag in tags_of(local.url, NAME) if tag in images]
        for tag in standing:
            digest = images[tag].digest
            assert attached.manifest(local.url, NAME, f"{fallback_tag(digest)}.sig")
            assert len(attached.listed(local.url, NAME, digest)) == 3
        assert len(standing) < len(images)
        settings = settings_of(upstream, local, [{"name": NAME, "tags": list(images)}])
        report = mirror.sync(settings, directory=str(tmp_path / f"cache{attempt}"))
        assert {entry["status"] for entry in report["images"].values()} <= {"current", "copied"}
        assert mirror.return_code(mirror.check(settings)) == 0


def kill_in_the_middle(upstream, local, tags, directory, checkout):
    """Kill a sync when so many of its 84 manifests were put, before or after the last of them was."""
    killed = threading.Event()

    def kill(request, pass_on):
        response = pass_on(request) if random.random() < 0.5 else None
        process.kill()
        killed.set()
        return response or pass_on(request)

    with FaultProxy(local.url) as near:
        near.on("PUT", "/manifests/", kill, skip=random.randrange(10, 80))
        pillar = pillar_of(upstream, near, [{"name": NAME, "tags": tags}])
        command = [sys.executable, "-c", SYNC, json.dumps(pillar), str(directory)]
        environment = {**os.environ, "PYTHONPATH": str(checkout / "_utils")}
        process = subprocess.Popen(command, env=environment)
        assert killed.wait(60)
        process.wait()


@pytest.fixture
def site(upstream, local, tmp_path):
    """A mirror of two signed images, of which one is no longer wanted."""
    push(upstream.url, NAME, "new", KEPT)
    push(upstream.url, NAME, "old", OLD)
    for subject in (KEPT, CHILD, OLD):
        sbom = referrer(subject, f"sbom of {subject.digest}")
        attached.attach(upstream.url, NAME, subject, sbom)
        attached.attach(upstream.url, NAME, sbom, referrer(sbom, f"signature of {sbom.digest}"))
        sign(upstream.url, NAME, subject, "one")
        sign(upstream.url, NAME, signature(subject, "one"), "of the signature")
    return Site(upstream, local, tmp_path)


class Site:
    """Two registries, and the notes of one mirror."""

    def __init__(self, upstream, local, directory):
        self.upstream = upstream
        self.local = local
        self.places = {"directory": str(directory / "cache"), "ledger_directory": str(directory / "state")}

    def settings(self, *tags, **rules):
        images = [{"name": NAME, "tags": list(tags)}]
        return settings_of(self.upstream, self.local, images, prune={**RULES, **rules})

    def sync(self, *tags):
        report = mirror.sync(self.settings(*tags), **self.places)
        assert report["summary"]["failed"] == report["summary"]["unreadable"] == 0, report["images"]
        return report

    def forget(self, *tags, **rules):
        looked = prune_run.prune(self.settings(*tags, **rules), **self.places)
        assert looked["refused"] == ""
        done = prune_run.prune(self.settings(*tags, **rules), plan=looked["plan"], **self.places)
        assert done["summary"]["failed"] == 0, done["images"]
        return done


def tags_about(*subjects):
    """The tags that exist because of subjects, as `site` has attached something to them."""
    names = set()
    for subject in subjects:
        sbom = referrer(subject, f"sbom of {subject.digest}")
        made = signature(subject, "one")
        names |= {f"{fallback_tag(subject.digest)}.sig", fallback_tag(subject.digest)}
        names |= {fallback_tag(sbom.digest), f"{fallback_tag(made.digest)}.sig"}
    return names


def test_what_is_attached_goes_with_its_image_and_not_before(site):
    site.sync("new", "old")
    assert set(tags_of(site.local.url, NAME)) == {"new", "old"} | tags_about(KEPT, CHILD, OLD)
    report = site.sync("new")
    assert report["summary"]["attachments"] == {"here": 8, "lacking": 0, "skipped": 0}
    site.forget("new")
    assert set(tags_of(site.local.url, NAME)) == {"new"} | tags_about(KEPT, CHILD)
    sbom = referrer(OLD, f"sbom of {OLD.digest}")
    assert attached.manifest(site.local.url, NAME, sbom.digest) == b""
    assert mirror.return_code(mirror.check(site.settings("new"))) == 0


def test_as_long_as_its_image_waits_what_is_attached_stays(site):
    site.sync("new", "old")
    site.sync("new")
    report = prune_run.prune(site.settings("new", after="7d"), **site.places)
    assert report["summary"]["doomed"] == 0
    assert {name.partition(":")[2] for name in report["images"]} == {"new", "old"} | tags_about(
        KEPT, CHILD, OLD
    )
    assert report["images"][f"{NAME}:{fallback_tag(OLD.digest)}.sig"]["status"] == "kept"


def test_the_sites_own_signature_of_what_goes_is_left_alone(site):
    site.sync("new", "old")
    own = sign(site.local.url, NAME, referrer(OLD, f"sbom of {OLD.digest}"), "the site's own")
    site.sync("new")
    site.forget("new")
    assert own in tags_of(site.local.url, NAME)


def test_newest_counts_images_and_not_what_is_attached_to_them(site):
    site.sync("new", "old")
    site.sync("new")
    report = prune_run.prune(site.settings("new", keep={"newest": 1}), **site.places)
    assert report["images"][f"{NAME}:old"]["status"] == "kept"


def test_what_was_attached_later_to_an_image_of_ours_goes_with_it(site):
    site.sync("new", "old")
    later = referrer(OLD, "later")
    attached.attach(site.upstream.url, NAME, OLD, later)
    assert site.sync("new", "old")["images"][f"{NAME}:old"]["status"] == "copied"
    site.sync("new")
    site.forget("new")
    assert fallback_tag(OLD.digest) not in tags_of(site.local.url, NAME)
    assert attached.manifest(site.local.url, NAME, later.digest) == b""


def test_an_image_that_only_got_something_attached_stays_whose_it_was(upstream, local, tmp_path):
    site = Site(upstream, local, tmp_path)
    for server in (upstream, local):
        push(server.url, NAME, "foreign", OLD)
    push(upstream.url, NAME, "new", KEPT)
    sign(upstream.url, NAME, OLD, "one")
    assert site.sync("new", "foreign")["images"][f"{NAME}:foreign"]["status"] == "copied"
    site.sync("new")
    report = prune_run.prune(site.settings("new"), **site.places)
    assert report["images"][f"{NAME}:foreign"]["status"] == "kept"
    assert report["images"][f"{NAME}:foreign"]["reason"] == "sync never put it here"
