"""A prune or roll-back killed at any moment loses no kept image, and the next one ends what it began."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import _registry_sync_commands as mirror
import _registry_sync_prune_run as prune_run
from _registry_sync_history import history, rollback
from support.images import Image, Layer, docker_image, docker_list
from support.killing import KILLS
from support.pillar import pillar_of, settings_of
from support.registry_content import digest_of, push, tags_of

pytestmark = pytest.mark.needs("docker-distribution")

SECONDS_AT_MOST = 60.0
RULES = {"after": 0, "untagged": 0, "ceiling": "100%"}
KEPT = [f"kept-{number}" for number in range(6)]
TWINS = [f"twin-{number}" for number in range(20)]
WHOLE = [f"whole-{number}" for number in range(10)]
ACT = """
import json, sys
from _registry_config_read import read_settings
import _registry_sync_commands as mirror
import _registry_sync_prune_run as prune_run
from _registry_sync_history import rollback
pillar, places, name = json.loads(sys.argv[1])
settings = read_settings(pillar, host="unused.example.com")
print("begun", flush=True)
if name:
    rollback(settings, name, **places)
else:
    prune_run.prune(settings, automatic=True, **places)
"""


@pytest.fixture
def site(upstream, local, tmp_path):
    """A mirror with tags that are kept, tags that share their digests, and tags that go as a whole."""
    shared = docker_image([Layer("base"), Layer("shared")])
    kept: dict[str, Image] = {
        tag: docker_list([shared, docker_image([Layer("base"), Layer(tag)])]) for tag in KEPT
    }
    for tag, image in kept.items():
        push(upstream.url, "team/app", tag, image)
    for number, tag in enumerate(TWINS):
        push(upstream.url, "team/app", tag, kept[KEPT[number % len(KEPT)]])
    for tag in WHOLE:
        push(upstream.url, "team/app", tag, docker_list([shared, docker_image([Layer("base"), Layer(tag)])]))
    return Site(upstream, local, tmp_path, {tag: image.digest for tag, image in kept.items()})


class Site:
    """The mirror, what it must keep, and a way to fill it again."""

    def __init__(self, upstream, local, directory: Path, kept: dict[str, str]) -> None:
        self.sides = (upstream, local)
        self.local = local
        self.kept = kept
        self.places = {"directory": str(directory / "cache"), "ledger_directory": str(directory / "state")}

    def pillar(self, tags):
        return pillar_of(*self.sides, [{"name": "team/app", "tags": tags}], prune=RULES)

    def settings(self, tags):
        return settings_of(*self.sides, [{"name": "team/app", "tags": tags}], prune=RULES)

    def fill(self):
        for tags in ([*KEPT, *TWINS, *WHOLE], KEPT):
            report = mirror.sync(self.settings(tags), **self.places)
            assert report["summary"]["failed"] == 0, report["images"]

    def seconds_of(self, name: str = "") -> float:
        """Return how long a prune, or a roll-back, takes that nobody kills."""
        began = time.monotonic()
        assert not self.killed_after(SECONDS_AT_MOST, name)
        return time.monotonic() - began

    def killed_after(self, seconds: float, name: str = "") -> bool:
        """Prune, or roll back, in a process of its own, and kill it; return whether it was still at it."""
        words = json.dumps([self.pillar(KEPT), self.places, name])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(
            [sys.executable, "-c", ACT, words], stdout=subprocess.PIPE, env=environment
        ) as acting:
            assert acting.stdout is not None
            acting.stdout.readline()
            with contextlib.suppress(subprocess.TimeoutExpired):
                acting.wait(seconds)
            acting.kill()
        return acting.returncode == -signal.SIGKILL

    def assert_whole(self):
        check = mirror.check(self.settings(KEPT), **self.places)
        assert check["summary"]["current"] == len(KEPT), check["images"]
        for tag, digest in self.kept.items():
            assert digest_of(self.local.url, "team/app", tag) == digest
        told = history(
            self.settings(KEPT), "team/app:kept-0", ledger_directory=self.places["ledger_directory"]
        )
        assert told["history"][0]["pullable"], told


def test_a_prune(site):
    seed = random.randrange(10**6)
    moments = random.Random(seed)
    site.fill()
    span = site.seconds_of()
    kills = within = 0
    while kills < KILLS:
        before = tags_of(site.local.url, "team/app")
        if len(before) < 12:
            site.fill()
            before = tags_of(site.local.url, "team/app")
        if site.killed_after(moments.uniform(0, span)):
            kills += 1
            within += set(KEPT) < set(tags_of(site.local.url, "team/app")) < set(before)
        site.assert_whole()
    print(f"seed {seed}: {kills} kills, {within} of them between two deletions, of {span:.1f} s")
    report = prune_run.prune(site.settings(KEPT), automatic=True, **site.places)
    left = [image for image in report["images"].values() if image["status"] not in ("kept", "pruned")]
    why = {image["reason"] for image in report["images"].values() if image["status"] == "kept"}
    assert (report["refused"], left, why) == ("", [], {"it is on the image list"})
    assert tags_of(site.local.url, "team/app") == sorted(KEPT)
    site.assert_whole()


def test_a_roll_back(site, upstream):
    moments = random.Random()
    site.fill()
    first = site.kept["kept-0"]
    push(upstream.url, "team/app", "kept-0", docker_image([Layer("base"), Layer("moved")]))
    mirror.sync(site.settings(KEPT), **site.places)
    second = digest_of(site.local.url, "team/app", "kept-0")
    span = site.seconds_of("team/app:kept-0")
    for _ in range(KILLS):
        site.killed_after(moments.uniform(0, span), "team/app:kept-0")
        now = digest_of(site.local.url, "team/app", "kept-0")
        assert now in (first, second)
        # Whatever it has become, a sync leaves what is held and mends what is not.
        after = mirror.sync(site.settings(KEPT), **site.places)["images"]["team/app:kept-0"]
        assert after["status"] in ("held", "current", "copied")
    done = rollback(site.settings(KEPT), "team/app:kept-0", first, **site.places)
    assert done["now"] == first == digest_of(site.local.url, "team/app", "kept-0")
