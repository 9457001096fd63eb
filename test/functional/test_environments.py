"""The formula in another environment of Salt's than base, as the first thing that a minion ever runs."""

from __future__ import annotations

import pytest

from support.images import Layer, docker_image
from support.pillar import pillar_of
from support.registry_content import digest_of, push
from support.salt_master import Master
from support.salt_minion import Minion

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

IMAGE = docker_image([Layer("app")])
OTHERS = "def of():\n    return 'another formula'\n"


@pytest.fixture
def pillar(upstream, local):
    """Two registries, of which one holds what the other lacks."""
    push(upstream.url, "site/app", "1.0", IMAGE)
    return {"docker_registry": pillar_of(upstream, local, [{"name": "site/app", "tags": ["1.0"]}])}


@pytest.fixture
def minion(tmp_path, checkout, pillar):
    """A minion whose base has another formula's module, and whose prod has this one."""
    base = tmp_path / "base"
    (base / "_modules").mkdir(parents=True)
    (base / "_modules" / "others.py").write_text(OTHERS, encoding="utf-8")
    roots = {"base": [str(base)], "prod": [str(tmp_path / "minion" / "states")]}
    return Minion(tmp_path / "minion", checkout, pillar=pillar, config={"file_roots": roots})


def comments(answer):
    assert isinstance(answer.value, dict), answer.stdout + answer.stderr
    return {ran["__id__"]: (ran["result"], ran["comment"]) for ran in answer.value.values()}


def test_a_virgin_minion_plans_and_applies(minion, local):
    planned = comments(minion.apply("docker_registry.sync", test=True, saltenv="prod"))
    result, comment = planned["Images are mirrored"]
    assert (result, comment.startswith("Would copy 1 of 1 tag")) == (None, True), comment
    applied = comments(minion.apply("docker_registry.sync", saltenv="prod"))
    assert applied["Images are mirrored"][0] is True
    assert digest_of(local.url, "site/app", "1.0") == IMAGE.digest
    assert minion.call("registry_sync.check").retcode == 0


def test_modules_of_another_environment_stay(minion):
    assert minion.sync().retcode == 0
    assert comments(minion.apply("docker_registry.check", test=True, saltenv="prod"))
    assert minion.call("others.of").value == "another formula"


def test_what_prod_has_replaces_what_was_synced_before(minion):
    minion.apply("docker_registry.check", test=True, saltenv="prod")
    state = minion.file_root / "_states" / "registry_sync.py"
    state.write_text(
        state.read_text(encoding="utf-8").replace("Would ask", "Would newly ask"), encoding="utf-8"
    )
    answer = comments(minion.apply("docker_registry.check", test=True, saltenv="prod"))
    assert answer["Registry serves the images"][1].startswith("Would newly ask")


def test_a_minion_of_a_master_goes_on_with_what_came(tmp_path_factory, checkout, pillar):
    # A socket's path must be a short one.
    root = tmp_path_factory.mktemp("prod")
    (root / "base").mkdir()
    roots = {"base": [str(root / "base")], "prod": [str(root / "states")]}
    with Master(root, checkout, minion_id="edge", config={"file_roots": roots}) as master:
        master.set_pillar(pillar)
        ran = master.salt("state.apply", "docker_registry.sync", "saltenv=prod")
        assert [state["comment"] for state in ran.values() if state["result"] is not True] == []
        assert master.salt("registry_sync.list") == {"site/app": {"1.0": IMAGE.digest}}
