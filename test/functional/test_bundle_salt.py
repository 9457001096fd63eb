"""Bundles as an operator types it, through real Salt."""

from __future__ import annotations

import pytest

from support.images import Layer, docker_image
from support.pillar import pillar_of
from support.registry_content import digest_of, push
from support.salt_minion import Minion

pytestmark = pytest.mark.needs("docker-distribution")


@pytest.fixture
def minion(tmp_path, checkout, upstream, local):
    for tag in ("1.0", "2.0"):
        push(upstream.url, "team/app", tag, docker_image([Layer("base"), Layer(tag)]))
    made = Minion(tmp_path, checkout)
    made.sync()
    made.set_pillar(
        {
            "docker_registry": pillar_of(
                upstream,
                local,
                [{"name": "team/app", "tags": ["1.0", "2.0"]}],
                bundle={"path": str(tmp_path / "week-1"), "volume": "1MB"},
                signatures={"directory": str(tmp_path / "sigstore")},
                metrics=str(tmp_path / "mirror.prom"),
            )
        }
    )
    return made


def test_exported_looked_at_and_imported_by_hand(minion, local, tmp_path):
    exported = minion.call("registry_sync.export")
    assert exported.retcode == 0, exported
    assert exported.value["bundle"]["new"] is True
    looked = minion.call("registry_sync.bundle")
    assert (looked.retcode, looked.value["summary"]["missing"]) == (0, 2)
    brought = minion.call("registry_sync.import")
    assert (brought.retcode, brought.value["summary"]["copied"]) == (0, 2), brought
    assert digest_of(local.url, "team/app", "1.0") == exported.value["images"]["team/app:1.0"]["upstream"]
    told = minion.call("registry_sync.inventory", str(tmp_path / "far.json.gz"))
    assert (told.value["tags"], told.value["manifests"]) == (2, 2)
    refused = minion.call("registry_sync.inventory", "far.json.gz")
    assert refused.retcode != 0
    assert "file: 'far.json.gz' is no absolute path" in refused.stdout + refused.stderr
    second = minion.call(
        "registry_sync.export", str(tmp_path / "week-2"), f"since={tmp_path / 'far.json.gz'}"
    )
    assert (second.value["summary"]["current"], second.value["bundle"]["images"]) == (2, 0)
    metrics = (tmp_path / "mirror.prom").read_text(encoding="utf-8")
    assert 'registry_sync_bundle_timestamp_seconds{function="import"}' in metrics


def test_the_states_plan_write_bring_and_then_change_nothing(minion, local):
    for sls, state in (("export", "exported"), ("import", "imported")):
        (plan,) = told(minion.apply(f"docker_registry.{sls}", test=True), state)
        assert (plan["result"], len(plan["changes"])) == (None, 2), plan
        (done,) = told(minion.apply(f"docker_registry.{sls}"), state)
        assert (done["result"], len(done["changes"])) == (True, 2), done
        (again,) = told(minion.apply(f"docker_registry.{sls}"), state)
        assert (again["result"], again["changes"]) == (True, {}), again


def test_the_table_of_an_export_names_its_images(minion):
    shown = minion.call("registry_sync.export", "volume=0")
    assert shown.value["bundle"]["volumes"] == {}
    assert minion.call("registry_sync.export", "relative/path").retcode != 0


def test_a_schedule_exports_and_imports_the_bundle_of_the_pillar(minion):
    schedule = [{"function": "export", "cron": "0 6 * * 0"}, {"function": "import", "minutes": 30}]
    minion.set_pillar({"docker_registry": {"schedule": schedule}})
    low = minion.call("state.show_low_sls", "docker_registry.schedule").value
    jobs = [state["function"] for state in low if state["state"] == "schedule"]
    assert jobs == ["registry_sync.export", "registry_sync.import"]
    for job in jobs:
        assert minion.call("sys.argspec", job).value


def told(answer, function):
    return [state for key, state in answer.value.items() if key.endswith(f"_|-{function}")]
