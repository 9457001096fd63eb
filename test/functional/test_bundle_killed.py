"""An export or import killed at any moment is gone on with, and at most one blob a worker comes again."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from _registry_store_bundle_format import SUMS
from _registry_store_bundle_write import partial_of
from _registry_sync_copy import WORKERS_NEAR
from support.images import Layer, docker_image, oci_image
from support.killing import KILLS
from support.pillar import pillar_of
from support.registry_content import digest_of, push

pytestmark = pytest.mark.needs("docker-distribution")

SECONDS_AT_MOST = 120.0
IMAGES = 12
ACT = """
import json, sys
from _registry_config_read import read_settings
from _registry_sync_export import export
from _registry_sync_import import import_bundle
what, pillar, path, how = json.loads(sys.argv[1])
settings = read_settings(pillar, host="unused.example.com")
print("begun", flush=True)
report = {"export": export, "import": import_bundle}[what](settings, path, **how)
print(json.dumps(report["summary"]), flush=True)
"""


@pytest.fixture(scope="module")
def images(module_upstream):
    made = {}
    for number in range(IMAGES):
        kind = docker_image if number % 2 else oci_image
        made[f"{number}.0"] = kind([Layer("base", 3_000_000), Layer(f"own-{number}", 3_000_000)])
        push(module_upstream.url, "team/app", f"{number}.0", made[f"{number}.0"])
    return made


class Acting:
    """Export and import in processes of their own, which may be killed."""

    def __init__(self, upstream, local, directory: Path) -> None:
        pillar = {"signatures": {"directory": str(directory / "sigstore")}}
        self.pillar = pillar_of(upstream, local, [{"name": "team/app", "tags": ["*"]}], **pillar)
        self.cache = str(directory / "cache")

    def killed_after(self, what: str, path: str, seconds: float, **how) -> bool:
        """Act, and kill it; return whether it was still at it."""
        words = json.dumps([what, self.pillar, path, {"directory": self.cache, **how}])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(
            [sys.executable, "-c", ACT, words], stdout=subprocess.PIPE, env=environment
        ) as acting:
            assert acting.stdout is not None
            acting.stdout.readline()
            with contextlib.suppress(subprocess.TimeoutExpired):
                acting.wait(seconds)
            was_at_it = acting.poll() is None
            acting.kill()
            acting.wait()
            if not was_at_it:
                assert json.loads(acting.stdout.readline())["failed"] == 0
            return was_at_it

    def seconds_of(self, what: str, path: str, **how) -> float:
        """Return how long it takes that nobody kills."""
        began = time.monotonic()
        assert not self.killed_after(what, path, SECONDS_AT_MOST, **how)
        return time.monotonic() - began


def asked(registry, since, method, what):
    return sum(f'"{method} /v2/' in line and what in line for line in registry.access_log(since))


@pytest.mark.parametrize("volume", [0, 10_000_000])
def test_an_export_that_is_killed_is_gone_on_with(module_upstream, start_registry, tmp_path, images, volume):
    acting = Acting(module_upstream, start_registry(), tmp_path)
    seconds = acting.seconds_of("export", str(tmp_path / "whole"), volume=volume)
    sums = (tmp_path / "whole" / SUMS).read_text()
    unique = 1 + 2 * IMAGES
    for number in range(KILLS):
        path = str(tmp_path / f"killed-{number}")
        since = module_upstream.log_position()
        killed = acting.killed_after("export", path, random.uniform(0, seconds), volume=volume)
        # One that is killed while the process ends has its bundle already, whole.
        if killed and not Path(path).exists():
            assert not acting.killed_after("export", path, SECONDS_AT_MOST, volume=volume)
        assert not partial_of(path).exists()
        assert asked(module_upstream, since, "GET", "/blobs/") <= unique + WORKERS_NEAR
        subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=path, check=True)
        if not volume:
            assert blobs_of((Path(path) / SUMS).read_text()) == blobs_of(sums)


def blobs_of(sums):
    return {line for line in sums.splitlines() if "blobs/" in line}


def test_an_import_that_is_killed_is_gone_on_with(module_upstream, start_registry, tmp_path, images):
    path = str(tmp_path / "bundle")
    first = Acting(module_upstream, start_registry(), tmp_path / "first")
    first.seconds_of("export", path, volume=10_000_000)
    seconds = first.seconds_of("import", path)
    for number in range(KILLS):
        local = start_registry()
        acting = Acting(module_upstream, local, tmp_path / str(number))
        if acting.killed_after("import", path, random.uniform(0, seconds)):
            assert not acting.killed_after("import", path, SECONDS_AT_MOST)
        for tag, image in images.items():
            assert digest_of(local.url, "team/app", tag) == image.digest
        assert asked(local, 0, "PUT", "/blobs/uploads/") <= 1 + 2 * IMAGES + WORKERS_NEAR
