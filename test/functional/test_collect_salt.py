"""Freeing space as an operator types it, through real Salt: where it may not be done, it says why."""

from __future__ import annotations

import subprocess

import pytest

from support.images import Layer, docker_image
from support.pillar import pillar_of
from support.registry_content import push
from support.salt_minion import Minion

pytestmark = pytest.mark.needs("docker-distribution")

KEYS = {
    "registry",
    "seconds",
    "read_only_seconds",
    "manifests",
    "blobs",
    "bytes",
    "leased",
    "repositories",
    "refused",
    "error",
}


@pytest.fixture(scope="module")
def minion(tmp_path_factory, checkout, module_upstream, module_local):
    """A minion beside a registry that this formula has not set up."""
    push(module_local.url, "team/app", "1", docker_image([Layer("base")]))
    made = Minion(tmp_path_factory.mktemp("minion"), checkout)
    made.sync()
    made.sides = (module_upstream, module_local)
    return made


def give(minion, **pillar):
    metrics = str(minion.root / "mirror.prom")
    images = [{"name": "team/app", "tags": ["1"]}]
    minion.set_pillar({"docker_registry": pillar_of(*minion.sides, images, metrics=metrics, **pillar)})


@pytest.mark.parametrize(
    ("registry", "said"),
    [
        ({"push": "everyone"}, "docker_registry:registry:push is everyone: "),
        ({"install": "none"}, "docker_registry:registry:install is none: "),
        ({"config": {"storage": {"s3": {"bucket": "b"}}}}, "has the storage s3"),
        ({}, "this formula has not set up "),
    ],
)
def test_where_it_must_not_be_done_it_says_why(minion, registry, said):
    give(minion, registry=registry)
    answer = minion.call("registry_sync.collect")
    assert answer.retcode == 1
    assert set(answer.value) == KEYS
    assert said in answer.value["refused"]
    assert (answer.value["bytes"], answer.value["read_only_seconds"], answer.value["error"]) == (0, 0, "")
    assert answer.value["registry"]["up"] is True


def test_the_table_and_the_metrics_say_so_too(minion):
    give(minion, registry={"push": "everyone"})
    words = [word for word in minion.words("registry_sync.collect") if word != "--out=json"]
    shown = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    assert "up\n  refused: docker_registry:registry:push is everyone: " in shown
    assert shown.endswith("nothing was freed\n")
    metrics = (minion.root / "mirror.prom").read_text(encoding="utf-8")
    assert "registry_sync_freed_bytes_total 0\n" in metrics


@pytest.mark.parametrize("test", [True, False])
def test_the_state_fails_with_that_sentence(minion, test):
    give(minion, registry={"push": "everyone"})
    (state,) = [
        state
        for state in minion.apply("docker_registry.collect", test=test).value.values()
        if state["__id__"].startswith("Space")
    ]
    assert (state["result"], state["changes"]) == (False, {})
    assert state["comment"].startswith("Nothing was freed: docker_registry:registry:push is everyone")


def test_a_sync_where_nothing_was_interrupted_recovers_nothing(minion):
    give(minion)
    assert minion.call("registry_push.recover").value is False
