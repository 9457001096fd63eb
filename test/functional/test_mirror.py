"""The library between two real registries; digests are read by skopeo, not by our code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import _registry_sync_commands as mirror
from support.images import Layer, docker_image, docker_list, oci_image, oci_index
from support.pillar import pillar_of, settings_of
from support.proxy import FaultProxy
from support.registry_content import digest_of, pull_whole, push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

BASE = Layer("base", 300_000)


def image(seed, size=50_000):
    return docker_image([BASE, Layer(seed, size)])


def statuses(report):
    return {name: entry["status"] for name, entry in report["images"].items()}


def two_platforms():
    return [docker_image([BASE], architecture="amd64"), docker_image([Layer("arm")], architecture="arm64")]


@pytest.mark.parametrize(
    "built",
    [
        image("docker"),
        docker_list(two_platforms()),
        oci_image([BASE, Layer("oci")]),
        oci_index(two_platforms()),
        docker_image([BASE, BASE]),
        oci_image([], annotations={"org.example": "nothing in it"}),
    ],
    ids=["schema2", "list", "oci", "oci-index", "same-layer-twice", "no-layer"],
)
def test_every_kind_of_image_arrives_byte_for_byte(upstream, local, tmp_path, built):
    push(upstream.url, "some/where", "1.0", built)
    settings = settings_of(upstream, local, [{"name": "some/where", "tags": ["1.0"]}])
    assert statuses(mirror.check(settings)) == {"some/where:1.0": "missing"}
    report = mirror.sync(settings)
    assert statuses(report) == {"some/where:1.0": "copied"}
    assert mirror.return_code(report) == 0
    assert digest_of(local.url, "some/where", "1.0") == built.digest
    pull_whole(local.url, "some/where", "1.0", tmp_path / "pulled")
    again = mirror.sync(settings)
    assert statuses(again) == {"some/where:1.0": "current"}
    assert again["summary"]["bytes"] == again["summary"]["blobs_copied"] == 0


def test_an_index_of_indexes_arrives_too(upstream, local):
    nested = oci_index([oci_index(two_platforms()), image("beside")])
    push(upstream.url, "some/where", "1.0", nested)
    report = mirror.sync(settings_of(upstream, local, [{"name": "some/where", "tags": ["1.0"]}]))
    assert statuses(report) == {"some/where:1.0": "copied"}
    assert digest_of(local.url, "some/where", "1.0") == nested.digest


def test_a_blob_crosses_the_line_once_and_is_mounted_elsewhere(upstream, local):
    names = [f"team/image{number}" for number in range(5)]
    for name in names:
        push(upstream.url, name, ["1", "2"], image(name))
    with FaultProxy(upstream.url) as line:
        settings = settings_of(line, local, [{"name": name, "tags": ["1", "2"]} for name in names])
        planned = mirror.plan(settings)
        report = mirror.sync(settings)
        assert line.count("GET blobs") == 11  # the base, five layers, five configs
    assert planned["summary"]["bytes"] == report["summary"]["bytes"] > 0
    assert planned["summary"]["blobs"] == report["summary"]["blobs_copied"] == 11
    assert report["summary"]["blobs_mounted"] == 4
    assert sum(entry["bytes"] for entry in report["images"].values()) == report["summary"]["bytes"]


def test_with_nothing_to_do_each_side_gets_one_head_a_tag(upstream, local):
    push(upstream.url, "a/b", ["1", "2", "3"], image("x"))
    with FaultProxy(upstream.url) as far, FaultProxy(local.url) as near:
        settings = settings_of(far, near, [{"name": "a/b", "tags": ["1", "2", "3"]}])
        mirror.sync(settings)
        far.forget_seen()
        near.forget_seen()
        mirror.sync(settings)
        # Whether anything is attached is told by one list a repository, and by one question a registry.
        assert far.counts() == {"GET base": 1, "GET tags": 1, "GET other": 1, "HEAD manifests": 3}
        assert near.counts() == {"GET base": 1, "GET catalog": 1, "GET tags": 1, "HEAD manifests": 3}


def test_a_new_layer_costs_that_layer(upstream, local):
    for name in ("team/one", "team/two"):
        push(upstream.url, name, "1", image(name))
    settings = settings_of(
        upstream, local, [{"name": name, "tags": ["1"]} for name in ("team/one", "team/two")]
    )
    mirror.sync(settings)
    newer = docker_image([BASE, Layer("team/one"), Layer("new", 7_000)])
    push(upstream.url, "team/one", "1", newer)
    assert statuses(mirror.check(settings)) == {"team/one:1": "stale", "team/two:1": "current"}
    report = mirror.sync(settings)
    assert statuses(report) == {"team/one:1": "copied", "team/two:1": "current"}
    assert report["summary"]["bytes"] < 20_000
    assert digest_of(local.url, "team/one", "1") == newer.digest


def test_a_new_repository_borrows_the_layers_that_others_have(upstream, local):
    push(upstream.url, "team/old", "1", image("old"))
    mirror.sync(settings_of(upstream, local, [{"name": "team/old", "tags": ["1"]}]))
    push(upstream.url, "team/new", "1", image("new"))
    both = [{"name": name, "tags": ["1"]} for name in ("team/old", "team/new")]
    report = mirror.sync(settings_of(upstream, local, both))
    assert report["summary"]["blobs_mounted"] == 1
    assert report["summary"]["bytes"] < BASE.size


def test_patterns_targets_platforms_and_pins(upstream, local):
    first, second = image("first"), image("second")
    both = docker_list(two_platforms())
    push(upstream.url, "a/b", ["13.0-1", "13.0-2", "12.0"], first)
    push(upstream.url, "a/b", "latest", second)
    push(upstream.url, "multi/arch", "1", both)
    settings = settings_of(
        upstream,
        local,
        [
            {"name": "a/b", "tags": ["13.0*"]},
            {"name": "a/b", "target": "pinned/here", "tags": [f"stable@{first.digest}", second.digest]},
            {"name": "multi/arch", "tags": ["1"], "platforms": ["linux/arm64"]},
        ],
    )
    report = mirror.sync(settings)
    assert statuses(report) == {
        "a/b:13.0-1": "copied",
        "a/b:13.0-2": "copied",
        "pinned/here:stable": "copied",
        f"pinned/here@{second.digest}": "copied",
        "multi/arch:1": "copied",
    }
    assert digest_of(local.url, "pinned/here", "stable") == first.digest
    listing = mirror.listing(settings)
    assert listing["a/b"] == {"13.0-1": first.digest, "13.0-2": first.digest}
    chosen = report["images"]["multi/arch:1"]
    assert chosen["local"] == chosen["upstream"] == digest_of(local.url, "multi/arch", "1") != both.digest
    again = mirror.check(settings)
    assert set(statuses(again).values()) == {"current"}
    assert mirror.return_code(again) == 0


def test_what_the_list_does_not_want_is_extra_and_stays(upstream, local):
    push(upstream.url, "a/b", "1", image("x"))
    push(local.url, "a/b", "old", image("old"))
    push(local.url, "other/repo", "1", image("other"))
    settings = settings_of(upstream, local, [{"name": "a/b", "tags": ["1"]}])
    mirror.sync(settings)
    report = mirror.check(settings)
    assert statuses(report) == {"a/b:1": "current", "a/b:old": "extra"}
    assert report["registry"]["others"] == ["other/repo"]
    report = mirror.check(settings, everything=True)
    assert statuses(report) == {"a/b:1": "current", "a/b:old": "extra", "other/repo:1": "extra"}
    assert report["images"]["a/b:old"]["local"] == image("old").digest
    assert mirror.return_code(report) == 0
    assert report["registry"]["tags"] == 3


def test_one_bad_item_never_ends_the_run(upstream, local):
    push(upstream.url, "good/one", "1", image("good"))
    push(upstream.url, "has/others", ["7", "8"], image("others"))
    settings = settings_of(
        upstream,
        local,
        [
            {"name": "not/there", "tags": ["1"]},
            {"name": "has/others", "tags": ["1"]},
            {"name": "has/others", "target": "by/pattern", "tags": ["6*"]},
            {"name": "has/others", "target": "mistyped/tag", "tags": ["77"]},
            {"name": "good/one", "tags": ["1"]},
        ],
    )
    report = mirror.sync(settings)
    assert statuses(report) == {
        "not/there:1": "failed",
        "has/others:1": "failed",
        "mistyped/tag:77": "failed",
        "by/pattern:6*": "failed",
        "good/one:1": "copied",
    }
    side = f"upstream {upstream.address}"
    entry = report["images"]["has/others:1"]
    assert entry["cause"] == "absent"
    assert entry["error"].startswith(f"{side} has no has/others:1")
    assert entry["error"].endswith("(there: 7, 8)")
    assert report["images"]["mistyped/tag:77"]["error"].endswith("(there: 7, 8); did you mean 7?")
    assert "no tag of has/others that matches 6*" in report["images"]["by/pattern:6*"]["error"]
    assert report["images"]["not/there:1"]["cause"] == "absent"
    assert mirror.return_code(report) == 1


def test_an_upstream_that_is_down_fails_its_images_alone(upstream, local, start_registry):
    other = start_registry()
    push(upstream.url, "up/here", "1", image("x"))
    other.stop()
    gone = {"name": "gone/there", "tags": ["1"], "upstream": {"host": other.host, "port": other.port}}
    began = time.monotonic()
    report = mirror.sync(settings_of(upstream, local, [gone, {"name": "up/here", "tags": ["1"]}]))
    assert time.monotonic() - began < 10
    assert statuses(report) == {"gone/there:1": "failed", "up/here:1": "copied"}
    assert report["images"]["gone/there:1"]["cause"] == "network"
    assert report["images"]["gone/there:1"]["error"] == f"upstream {other.address}: connection refused"


def test_a_local_registry_that_is_down_is_named(upstream, local):
    push(upstream.url, "a/b", "1", image("x"))
    local.stop()
    settings = settings_of(upstream, local, [{"name": "a/b", "tags": ["1"]}])
    report = mirror.check(settings)
    assert report["registry"]["up"] is False
    assert report["images"]["a/b:1"]["status"] == "unreadable"
    assert report["images"]["a/b:1"]["error"] == f"local {local.address}: connection refused"
    assert mirror.return_code(report) == 1
    fresh = mirror.plan(settings, fresh=True)
    assert statuses(fresh) == {"a/b:1": "missing"}
    assert fresh["summary"]["bytes"] > 0
    assert not mirror.populated(settings)


KILLED = """
import sys, json
import _registry_sync_commands as mirror
from _registry_config_read import read_settings
mirror.sync(read_settings(json.loads(sys.argv[1]), host="unused"))
"""


@pytest.mark.parametrize("after", [0.05, 0.2, 0.4, 0.7])
def test_a_kill_leaves_whole_images_and_the_next_run_ends_in_step(upstream, local, tmp_path, checkout, after):
    names = [f"team/image{number}" for number in range(12)]
    built = {name: docker_image([BASE, Layer(name, 3_000_000)]) for name in names}
    for name in names:
        push(upstream.url, name, "1", built[name])
    images = [{"name": name, "tags": ["1"]} for name in names]
    pillar = pillar_of(upstream, local, images)
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, json.dumps(pillar)],
        env={**os.environ, "PYTHONPATH": str(checkout / "_utils")},
    )
    time.sleep(0.25 + after)
    child.send_signal(signal.SIGKILL)
    child.wait()
    settings = settings_of(upstream, local, images)
    for number, (name, tags) in enumerate(mirror.listing(settings).items()):
        assert tags in ({}, {"1": built[name].digest})
        if tags:
            pull_whole(local.url, name, "1", tmp_path / str(number))
    report = mirror.sync(settings)
    assert set(statuses(report).values()) <= {"copied", "current"}
    assert all(digest_of(local.url, name, "1") == built[name].digest for name in names)
