"""Forgetting and going back as an operator types it, through real Salt."""

from __future__ import annotations

import json
import subprocess

import pytest

from support.images import Layer, docker_image
from support.pillar import pillar_of
from support.registry_content import digest_of, push, tags_of
from support.salt_minion import Minion

pytestmark = pytest.mark.needs("docker-distribution")

RULES = {"after": 0, "untagged": 0, "ceiling": "60%"}


def images(*tags):
    return [{"name": "team/app", "tags": list(tags)}]


@pytest.fixture
def minion(tmp_path, checkout, upstream, local):
    """A minion whose mirror has one tag that its list does not want any more."""
    for tag in ("old", "new"):
        push(upstream.url, "team/app", tag, docker_image([Layer("base"), Layer(tag)]))
    made = Minion(tmp_path, checkout)
    made.sync()
    metrics = str(tmp_path / "mirror.prom")
    for tags in (("old", "new"), ("new",)):
        made.set_pillar(
            {"docker_registry": pillar_of(upstream, local, images(*tags), prune=RULES, metrics=metrics)}
        )
        assert made.call("registry_sync.sync").retcode == 0
    return made


def test_a_look_then_its_plan(minion, local):
    looked = minion.call("registry_sync.prune")
    assert looked.retcode == 2
    assert looked.value["images"]["team/app:old"]["status"] == "doomed"
    assert tags_of(local.url, "team/app") == ["new", "old"]
    done = minion.call("registry_sync.prune", f"plan={looked.value['plan']}")
    assert done.retcode == 0
    assert done.value["summary"]["pruned"] == 1
    assert tags_of(local.url, "team/app") == ["new"]
    again = minion.call("registry_sync.prune", f"plan={looked.value['plan']}")
    assert again.retcode == 1
    assert "is not what would be done now" in again.value["refused"]
    metrics = (minion.root / "mirror.prom").read_text(encoding="utf-8")
    assert 'registry_sync_unwanted_tags{status="doomed"} 0' in metrics
    assert "registry_sync_moved_bytes_total" in metrics


def test_the_table_names_what_goes_and_the_plan(minion):
    words = [word for word in minion.words("registry_sync.prune") if word != "--out=json"]
    shown = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "team/app:old  doomed: no entry of the list wants it since" in shown.stdout
    assert "plan " in shown.stdout
    assert "1 kept, 1 doomed" in shown.stdout


def test_the_state_plans_and_then_prunes(minion, local):
    (plan,) = pruned(minion.apply("docker_registry.prune", test=True))
    assert plan["result"] is None
    assert plan["comment"].startswith("Would prune 1 of 2: team/app:old")
    assert tags_of(local.url, "team/app") == ["new", "old"]
    (done,) = pruned(minion.apply("docker_registry.prune"))
    assert done["result"] is True
    assert done["changes"]["team/app:old"]["new"] == ""
    assert tags_of(local.url, "team/app") == ["new"]
    (again,) = pruned(minion.apply("docker_registry.prune"))
    assert (again["result"], again["changes"]) == (True, {})


def test_without_a_pillar_of_its_own_the_state_prunes_nothing_and_says_why(minion, local):
    pillar = {"local": {"host": local.host, "port": local.port, "tls": False}, "prune": RULES}
    minion.set_pillar({"docker_registry": pillar})
    (state,) = pruned(minion.apply("docker_registry.prune"))
    assert state["result"] is False
    assert "the pillar names no images" in state["comment"]
    assert tags_of(local.url, "team/app") == ["new", "old"]


def test_a_pillar_that_did_not_render_or_names_nothing_prunes_nothing(minion, upstream, local):
    (file,) = minion.root.glob("var/lib/docker_registry/ledger-*.json")
    before = file.read_bytes()
    assert "would prune" in str(minion.apply("docker_registry.prune", test=True).value).lower()
    assert file.read_bytes() == before, "a plan of a state has written into the ledger"
    (minion.pillar_root / "data.sls").write_text("docker_registry: {images: [{{ nowhere.at_all }}]}\n")
    for call in (("registry_sync.prune",), ("registry_sync.prune", "automatic=True")):
        answer = minion.call(*call)
        assert answer.retcode != 0
        assert (
            "Error running 'registry_sync.prune': the pillar did not render" in answer.stdout + answer.stderr
        )
    (state,) = pruned(minion.apply("docker_registry.prune", force=True))
    assert state["result"] is False
    assert state["comment"].startswith("the pillar did not render")
    minion.set_pillar({"docker_registry": pillar_of(upstream, local, [], prune=RULES)})
    (state,) = pruned(minion.apply("docker_registry.prune"))
    assert (state["result"], state["comment"]) == (
        False,
        "Nothing was pruned: docker_registry:images is empty",
    )
    assert tags_of(local.url, "team/app") == ["new", "old"]


def test_what_an_environment_of_a_deployment_names_stays(minion, upstream, local, tmp_path):
    environment = tmp_path / "overcloud-container-images.yaml"
    named = f"parameter_defaults:\n  DockerAppImage: {local.address}/team/app:old\n"
    environment.write_text(named, encoding="utf-8")
    rules = {**RULES, "keep": {"environments": [str(environment)]}}
    minion.set_pillar({"docker_registry": pillar_of(upstream, local, images("new"), prune=rules)})
    looked = minion.call("registry_sync.prune")
    assert looked.retcode == 0
    assert looked.value["images"]["team/app:old"]["reason"] == "prune:keep:environments"
    environment.unlink()
    missing = minion.call("registry_sync.prune", "automatic=True")
    assert missing.retcode != 0
    assert f"{environment}: cannot be read" in missing.stdout + missing.stderr
    assert tags_of(local.url, "team/app") == ["new", "old"]


def test_a_schedule_prunes_by_itself_and_the_formula_does_not(make_minion):
    minion = make_minion(pillar={"docker_registry": {"schedule": {"function": "prune", "when": ["4:00am"]}}})
    (job,) = [
        state
        for state in minion.call("state.show_low_sls", "docker_registry.schedule").value
        if state["state"] == "schedule"
    ]
    assert job["function"] == "registry_sync.prune"
    assert job["job_kwargs"] == {"automatic": True}
    everything = minion.call("state.show_low_sls", "docker_registry").value
    assert not [state for state in everything if state["fun"] == "pruned"]


def pruned(answer):
    return [state for state in answer.value.values() if state["__id__"].startswith("Unwanted")]


def test_history_rollback_and_release(minion, upstream, local):
    before = digest_of(local.url, "team/app", "new")
    moved = docker_image([Layer("base"), Layer("moved")])
    push(upstream.url, "team/app", "new", moved)
    minion.call("registry_sync.sync")
    told = minion.call("registry_sync.history", "team/app:new").value
    assert [entry["digest"] for entry in told["history"]] == [moved.digest, before]
    assert minion.call("registry_sync.rollback", "team/app:new").value["now"] == before
    assert digest_of(local.url, "team/app", "new") == before
    synced = minion.call("registry_sync.sync")
    assert synced.value["images"]["team/app:new"]["status"] == "held"
    assert synced.retcode == 0
    assert minion.call("registry_sync.release", "team/app:new").retcode == 0
    minion.call("registry_sync.sync")
    assert digest_of(local.url, "team/app", "new") == moved.digest


def test_a_mistake_is_one_sentence(minion):
    answer = minion.call("registry_sync.rollback", "team/app")
    assert answer.retcode != 0
    assert "is no repository:tag" in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_ledger_is_roots_alone_and_has_no_login(minion):
    (file,) = minion.root.glob("var/lib/docker_registry/ledger-*.json")
    assert oct(file.parent.stat().st_mode)[-3:] == "700"
    assert set(json.loads(file.read_text(encoding="utf-8"))) == {
        "version",
        "registry",
        "written",
        "complete",
        "tags",
        "signatures",
    }
