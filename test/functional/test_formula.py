"""The state files through real Salt, each time as the first command that a minion ever runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from _registry_host_service import config_lines_changed
from support.images import Layer, docker_image
from support.pillar import pillar_of
from support.registries import free_port
from support.registry_content import digest_of, push
from support.salt_minion import Minion

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: Salt's states ask the package manager")

TARGETS = ("service", "engine", "sync")
MORE_TARGETS = ("package", "config", "firewall", "check")
IMAGES = [{"name": "site/app", "tags": ["1.0"]}]
GUARD = "Registry is left alone unless forced"
# What a bug would write to, however the test is run.
SYSTEM_FILES = (
    "/etc/docker/registry/config.yml",
    "/etc/docker/daemon.json",
    "/etc/sysconfig/docker",
    "/etc/containers/registries.conf.d/docker_registry.conf",
)


@pytest.fixture(autouse=True)
def _system_files_stay():
    before = contents()
    yield
    assert contents() == before


def contents():
    return {path: Path(path).read_bytes() for path in SYSTEM_FILES if Path(path).exists()}


def states(answer):
    """Return each state's result, comment and changes by its ID."""
    assert isinstance(answer.value, dict), answer.stdout + answer.stderr
    return {state["__id__"]: state for state in answer.value.values()}


@pytest.fixture
def filled(upstream, local):
    """Two registries that hold the same image."""
    for server in (upstream, local):
        push(server.url, "site/app", "1.0", docker_image([Layer("app")]))
    return pillar_of(upstream, local, IMAGES)


def test_the_first_command_ever_may_be_a_plan(tmp_path, checkout, upstream):
    push(upstream.url, "site/app", "1.0", docker_image([Layer("app")]))
    pillar = {
        "upstream": {"host": upstream.host, "port": upstream.port, "tls": False},
        "local": {"host": "127.0.0.1", "port": free_port()},
        "images": IMAGES,
    }
    answer = Minion(tmp_path, checkout, pillar={"docker_registry": pillar}).start(
        "state.apply", "docker_registry", test=True
    )
    ran = states(answer)
    assert answer.retcode == 0
    assert [name for name, state in ran.items() if state["result"] is False] == []
    assert ran["Registry is configured"]["result"] is None
    assert ran["Registry is running"]["comment"].startswith("Would start ")
    assert "Would copy 1 of 1 tag" in ran["Images are mirrored"]["comment"]
    assert "DeprecationWarning" not in answer.stdout


@pytest.mark.parametrize(
    "target", [*TARGETS, *(pytest.param(one, marks=pytest.mark.thorough) for one in MORE_TARGETS)]
)
def test_each_state_file_alone_may_be_the_first_command_ever(target, tmp_path, checkout, filled):
    answer = Minion(tmp_path, checkout, pillar={"docker_registry": filled}).apply(
        f"docker_registry.{target}", test=True
    )
    assert [state["comment"] for state in states(answer).values() if state["result"] is False] == []


@pytest.mark.parametrize("test", [True, False], ids=["plan", "apply"])
def test_a_populated_registry_is_left_alone(test, tmp_path, checkout, filled):
    answer = Minion(tmp_path, checkout, pillar={"docker_registry": filled}).apply(
        "docker_registry", test=test
    )
    ran = states(answer)
    assert answer.retcode == 0
    assert {state["result"] for state in ran.values()} == {True}
    assert not any(state["changes"] for state in ran.values())
    comment = ran[GUARD]["comment"]
    assert comment.startswith(
        f"127.0.0.1:{filled['local']['port']} already serves 1 repository; nothing was configured. "
        "docker_registry:force: true would "
    )
    assert "/registry/config.yml (" in comment
    assert "serves 1 repository, 1 tag" in ran["Registry serves the images"]["comment"]


def test_what_follows_a_registry_that_is_left_alone_is_applied_and_not_planned(tmp_path, checkout, filled):
    # The look at what force would do is a run in test mode inside this one.
    written = tmp_path / "written"
    sls = f"""
include: [docker_registry]
{written}:
  file.managed:
    - contents: x
    - require: [{{sls: docker_registry}}]
"""
    minion = Minion(
        tmp_path / "minion", checkout, pillar={"docker_registry": filled}, states={"after.sls": sls}
    )
    assert minion.apply("after").retcode == 0
    assert written.read_text(encoding="utf-8") == "x\n"


def test_force_configures_what_is_populated(tmp_path, checkout, filled):
    minion = Minion(tmp_path, checkout, pillar={"docker_registry": {**filled, "force": True}})
    ran = states(minion.apply("docker_registry.config", test=True))
    assert ran["Registry is configured"]["result"] is None
    assert "already serves" not in ran[GUARD]["comment"]


def test_an_empty_registry_is_configured(tmp_path, checkout, upstream, local):
    minion = Minion(tmp_path, checkout, pillar={"docker_registry": pillar_of(upstream, local, IMAGES)})
    assert (
        states(minion.apply("docker_registry.config", test=True))["Registry is configured"]["result"] is None
    )


def test_an_engine_is_configured_where_the_populated_registry_is_another_host(tmp_path, checkout, filled):
    # 192.0.2.0/24 is nobody's: https://www.rfc-editor.org/rfc/rfc5737
    elsewhere = {**filled, "local": {"host": "192.0.2.1", "port": 5000}, "engine": {"manage": "docker"}}
    ran = states(
        Minion(tmp_path, checkout, pillar={"docker_registry": elsewhere}).apply(
            "docker_registry.engine", test=True
        )
    )
    changed = [name for name, state in ran.items() if state["result"] is None]
    assert any(name.startswith("Docker trusts the registries through its ") for name in changed)


@pytest.mark.parametrize("engine", ["none", "podman", "docker"])
def test_only_the_engine_of_the_pillar_is_configured(engine, tmp_path, checkout):
    pillar = {"local": {"host": "192.0.2.1"}, "engine": {"manage": engine}}
    ran = states(
        Minion(tmp_path, checkout, pillar={"docker_registry": pillar}).apply(
            "docker_registry.engine", test=True
        )
    )
    planned = {name.split()[0].lower() for name, state in ran.items() if state["result"] is None}
    assert planned == {engine} - {"none"}


def test_a_registry_that_is_left_alone_still_gets_the_images_that_it_lacks(tmp_path, checkout, filled, local):
    image = docker_image([Layer("newer")])
    push(f"http://127.0.0.1:{filled['upstream']['port']}", "site/app", "2.0", image)
    pillar = {**filled, "images": [{"name": "site/app", "tags": ["1.0", "2.0"]}]}
    ran = states(
        Minion(tmp_path, checkout, pillar={"docker_registry": pillar}).apply("docker_registry", test=False)
    )
    assert "nothing was configured" in ran[GUARD]["comment"]
    assert "Mirrored 1 of 2 tags" in ran["Images are mirrored"]["comment"]
    assert digest_of(local.url, "site/app", "2.0") == image.digest


def test_without_a_registry_here_nothing_of_it_is_configured(tmp_path, checkout):
    pillar = {"registry": {"install": "none"}, "local": {"host": "192.0.2.1"}}
    minion = Minion(tmp_path, checkout, pillar={"docker_registry": pillar})
    for target in ("docker_registry.service", "docker_registry.firewall"):
        assert {state["result"] for state in states(minion.apply(target, test=True)).values()} == {True}


def test_a_mistake_is_one_sentence_and_nothing_else_runs(tmp_path, checkout):
    pillar = {"images": [{"name": "site/app", "tags": "1.0"}]}
    answer = Minion(tmp_path, checkout, pillar={"docker_registry": pillar}).apply("docker_registry")
    ran = states(answer)
    assert answer.retcode == 2
    assert ran.pop(GUARD)["comment"].startswith(
        "docker_registry:images:0:tags: '1.0' is a string; give a list"
    )
    del ran["Modules of the formula are loaded"]
    assert all(state["comment"].startswith("One or more requisite failed") for state in ran.values())


def test_two_minions_with_force_get_a_configuration_that_differs_in_nothing_but_the_secret(
    tmp_path, checkout
):
    made = [Minion(tmp_path / name, checkout) for name in "ab"]
    for minion in made:
        minion.sync()
    first, second = (minion.call("registry_host.service_config", "/nowhere", "/srv").value for minion in made)
    assert first["http"]["secret"] != second["http"]["secret"]
    assert len(first["http"]["secret"]) == 64
    assert config_lines_changed(yaml.safe_dump(first), second) == 1


def test_the_secret_of_the_file_is_kept_and_the_pillars_wins(tmp_path, checkout):
    file = tmp_path / "config.yml"
    file.write_text("http: {secret: kept}\n", encoding="utf-8")
    minion = Minion(tmp_path / "minion", checkout)
    minion.sync()
    arguments = ("registry_host.service_config", str(file), "/srv")
    assert minion.call(*arguments).value["http"]["secret"] == "kept"
    minion.set_pillar({"docker_registry": {"registry": {"config": {"http": {"secret": "shared"}}}}})
    assert minion.call(*arguments).value["http"]["secret"] == "shared"
