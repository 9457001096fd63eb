"""Proving a mirror whole as an operator types it, through real Salt."""

from __future__ import annotations

import subprocess

import pytest

from support.mirrored import BASE, LAYER, Mirrored
from support.salt_minion import Minion

pytestmark = pytest.mark.needs("docker-distribution")


@pytest.fixture
def mirrored(upstream, local, tmp_path):
    return Mirrored(upstream, local, tmp_path / "mirror")


@pytest.fixture
def minion(tmp_path, checkout, mirrored):
    """A minion of whose mirror one layer has a flipped bit, and another is cut."""
    made = Minion(tmp_path, checkout)
    made.sync()
    metrics = str(tmp_path / "mirror.prom")
    storage = {"storage": str(mirrored.local.data)}
    made.set_pillar({"docker_registry": mirrored.pillar(metrics=metrics, registry=storage)})
    mirrored.damage.truncate(mirrored.damage.data(LAYER.digest))
    mirrored.damage.flip_a_bit(mirrored.damage.data(BASE.digest))
    return made


def state_of(minion, **options):
    (state,) = [
        state
        for state in minion.apply("docker_registry.verify", **options).value.values()
        if state["__id__"] == "Mirror is whole"
    ]
    return state


def metrics_of(minion):
    return (minion.root / "mirror.prom").read_text(encoding="utf-8")


def test_a_look_a_repair_and_another_look(minion, mirrored):
    fast = minion.call("registry_sync.verify", "fast=True")
    assert fast.retcode == 2
    assert list(fast.value["blobs"]) == [LAYER.digest]
    assert "registry_sync_verified_timestamp_seconds" not in metrics_of(minion)
    looked = minion.call("registry_sync.verify")
    assert looked.retcode == 2
    assert looked.value["registry"]["storage"] == str(mirrored.local.data)
    assert set(looked.value["blobs"]) == {LAYER.digest, BASE.digest}
    assert 'registry_sync_broken_images{status="broken"} 2' in metrics_of(minion)
    repaired = minion.call("registry_sync.verify", "repair=True")
    assert repaired.retcode == 0
    assert repaired.value["summary"]["bytes_moved"] == LAYER.size + BASE.size
    whole = minion.call("registry_sync.verify")
    assert (whole.retcode, whole.value["blobs"]) == (0, {})
    assert 'registry_sync_broken_images{status="broken"} 0' in metrics_of(minion)
    assert "registry_sync_verified_timestamp_seconds" in metrics_of(minion)
    # What the last run has hashed was hashed not long ago.
    assert whole.value["summary"]["hashed"] < looked.value["summary"]["hashed"]


def test_the_table_names_files_and_images(minion, mirrored):
    words = [word for word in minion.words("registry_sync.verify") if word != "--out=json"]
    shown = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    # Wherever it was wrapped.
    shown = " ".join(shown.split())
    path = mirrored.damage.data(BASE.digest)
    assert f"{path} blob corrupt in team/app:1, team/other:latest" in shown
    assert "broken team/other:latest" in shown
    assert "2 broken; " in shown


def test_the_state_only_looks_unless_it_is_to_repair(minion, mirrored):
    plan = state_of(minion, test=True)
    assert (plan["result"], plan["changes"]) == (False, {})
    assert f"team/app:1 is broken: {mirrored.damage.data(LAYER.digest)}" in plan["comment"]
    assert state_of(minion)["result"] is False
    settings = {"repair": True}
    storage = {"storage": str(mirrored.local.data)}
    minion.set_pillar({"docker_registry": mirrored.pillar(verify=settings, registry=storage)})
    plan = state_of(minion, test=True)
    # Without a hash only what is cut is seen.
    assert (plan["result"], list(plan["changes"])) == (None, ["team/app:1"])
    assert plan["comment"] == "Would repair 1 of 2: team/app:1"
    done = state_of(minion)
    assert done["result"] is True
    assert set(done["changes"]) == {"team/app:1", "team/other:latest"}
    again = state_of(minion)
    assert (again["result"], again["changes"]) == (True, {})
    assert again["comment"].startswith("2 of 2 images are whole")
