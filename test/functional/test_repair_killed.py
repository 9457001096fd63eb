"""A repair killed at any moment makes nothing worse, and the next one ends what it began."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from support.damage import paths, states
from support.hostile import is_whole
from support.images import Layer
from support.killing import KILLS
from support.mirrored import BASE, BOTH, LAYER, ONE, OTHER, Mirrored

pytestmark = pytest.mark.needs("docker-distribution")

WHOLE = {"team/app:1": "whole", "team/other:latest": "whole"}
ACT = """
import json, sys
from _registry_config_read import read_settings
from _registry_sync_verify_run import Storage, verify
pillar, places, storage = json.loads(sys.argv[1])
settings = read_settings(pillar, host="unused.example.com")
print("begun", flush=True)
verify(settings, Storage(storage), repair=True, **places)
"""


@pytest.fixture
def site(upstream, local, tmp_path):
    return Mirrored(upstream, local, tmp_path)


def harm(site, moments):
    """Break some of the bytes and links of one image; the other one shares a layer with it."""
    damage = site.damage
    files = [damage.data(what.digest) for what in (BASE, LAYER, ONE, BOTH)]
    links = [
        damage.link("team/app", "_layers", LAYER.digest),
        damage.link("team/app", "revisions", ONE.digest),
        damage.link("team/app", "tags", "1"),
    ]
    for file in moments.sample(files, 3):
        moments.choice([damage.flip_a_bit, damage.truncate, damage.empty, damage.remove])(file)
    damage.empty(moments.choice(links))


def killed_after(site, seconds):
    """Repair in a process of its own, and kill it; return whether it was still at it, and how long it ran."""
    words = json.dumps([site.pillar(verify={"every": 0}), site.places, str(site.local.data)])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", ACT, words], stdout=subprocess.PIPE, env=environment
    ) as acting:
        assert acting.stdout is not None
        acting.stdout.readline()
        began = time.monotonic()
        try:
            acting.wait(seconds)
        except subprocess.TimeoutExpired:
            acting.kill()
        acting.wait()
    return acting.returncode == -signal.SIGKILL, time.monotonic() - began


def test_a_repair(site):
    seed = random.randrange(10**6)
    moments = random.Random(seed)
    print(f"seed {seed}")
    harm(site, moments)
    _, took = killed_after(site, 60)
    rounds = were_killed = 0
    while rounds < KILLS or (not were_killed and rounds < KILLS + 8):
        rounds += 1
        site.damage.age()
        harm(site, moments)
        was_killed, ran = killed_after(site, moments.uniform(0, took))
        were_killed += was_killed
        # The first one may have been slower than any after it.
        took = took if was_killed else min(took, ran)
        # What nobody has harmed is as it was.
        config = OTHER.blobs[0]
        for blob in (config, Layer("other", 5000)):
            assert site.damage.data(blob.digest).read_bytes() == b"".join(blob.chunks())
        site.damage.age()
        report = site.verify(repair=True)
        bad = [report["blobs"], report["links"]]
        assert report["summary"]["bad"] == 0, json.dumps(bad, indent=1)
        site.local.restart()
        assert is_whole(site.local, "team/app", BOTH)
        assert is_whole(site.local, "team/other", OTHER)
        assert (states(site.verify()), paths(site.verify())) == (WHOLE, [])
    print(f"{were_killed} of {rounds} were killed")
    assert were_killed
