"""Two weeks of a whole list across a gap: the other side is a network namespace that reaches nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from _registry_sync_export import export
from support.images import Layer, docker_image
from support.pillar import settings_of
from support.registries import Distribution
from support.registry_content import push

pytestmark = pytest.mark.needs("docker-distribution", "unshare", "ip")

TAGS = 132
CHANGED = 3
# What else than new blobs an increment may have.
OVERHEAD = 200_000
FAR = """
import json, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
from support.pillar import settings_of
from support.registries import Distribution
from _registry_store_bundle_base import write_stock
from _registry_sync_bundle import inspect
from _registry_sync_bundle_inventory import take_stock
from _registry_sync_import import import_bundle
directory, bundle = sys.argv[1:]
with Distribution(directory) as local:
    settings = settings_of(local, local, [], signatures={"directory": directory + "/sigstore"})
    report = import_bundle(settings, bundle)
    looked = inspect(settings, bundle)
    write_stock(take_stock(settings), directory + "/inventory.json.gz")
    print(json.dumps([report["summary"], looked["summary"]]))
"""


def far_side(directory: Path, bundle: Path):
    """Import a bundle where nothing is reached; return what the import and a look afterwards say."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    words = ["unshare", "--net", sys.executable, "-c", FAR, str(directory), str(bundle)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if "Operation not permitted" in done.stderr:
        pytest.skip("needs network namespaces")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def test_two_weeks_of_a_whole_list(upstream: Distribution, start_registry, tmp_path):
    base = [Layer(f"base-{number}", 20_000) for number in range(3)]
    for number in range(TAGS):
        push(upstream.url, f"team/app-{number}", "1.0", docker_image([*base, Layer(f"own-{number}", 20_000)]))
    names = [{"name": f"team/app-{number}", "tags": ["1.0"]} for number in range(TAGS)]
    settings = settings_of(
        upstream, start_registry(), names, signatures={"directory": str(tmp_path / "sigstore")}
    )
    first = export(settings, str(tmp_path / "week-1"), volume=1_000_000)
    assert first["summary"]["copied"] == TAGS
    assert len(first["bundle"]["volumes"]) > 2
    (brought, looked) = far_side(tmp_path / "far", tmp_path / "week-1")
    assert (brought["copied"], looked["current"], looked["missing"]) == (TAGS, TAGS, 0)
    new = 0
    for number in range(CHANGED):
        image = docker_image([*base, Layer(f"own-{number}", 20_000), Layer(f"new-{number}", 30_000)])
        push(upstream.url, f"team/app-{number}", "1.0", image)
        new += image.blobs[0].size + image.blobs[-1].size
    inventory = str(tmp_path / "far" / "inventory.json.gz")
    second = export(settings, str(tmp_path / "week-2"), since=inventory)
    assert (second["summary"]["copied"], second["summary"]["current"]) == (CHANGED, TAGS - CHANGED)
    assert new < size_of(tmp_path / "week-2") <= new + OVERHEAD
    (brought, looked) = far_side(tmp_path / "far", tmp_path / "week-2")
    assert (brought["copied"], looked["current"]) == (CHANGED, CHANGED)
