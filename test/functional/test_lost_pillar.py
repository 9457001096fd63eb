"""A minion whose pillar did not render, or has nothing for this formula."""

from __future__ import annotations

import pytest

from support.registries import free_port
from support.salt_minion import Minion

BROKEN = "docker_registry:\n  images: [{{ no_such_variable.of_it }}]\n"
STATES = {
    "mirror.sls": "Images are mirrored:\n  registry_sync.synced: []\n",
    "guard.sls": (
        "Registry is left alone unless forced:\n  registry_host.configuration_guard:\n"
        "    - config: /nowhere/config.yml\n    - storage: /nowhere\n"
    ),
}
SENTENCE = (
    "the pillar did not render, so what this minion is to mirror is not known: Rendering SLS 'data' failed"
)
DEFAULTS = (
    "the pillar has no docker_registry, so the defaults hold: 44 images of registry.access.redhat.com:443"
)


@pytest.fixture(scope="module")
def broken(tmp_path_factory, checkout):
    """Return a minion one file of whose pillar is no good."""
    minion = Minion(tmp_path_factory.mktemp("minion"), checkout, states=STATES)
    (minion.pillar_root / "data.sls").write_text(BROKEN, encoding="utf-8")
    assert minion.sync().retcode == 0
    return minion


@pytest.mark.parametrize(
    "call",
    [
        ("registry_sync.sync",),
        ("registry_sync.plan",),
        ("registry_sync.check",),
        ("registry_sync.warnings",),
        ("registry_undercloud.prepare",),
        ("registry_host.service_config", "/nowhere/config.yml", "/nowhere"),
        ("registry_host.purges",),
        ("registry_engine.text", "podman"),
    ],
    ids=lambda call: call[0],
)
def test_functions_stop_and_say_that_it_did_not_render(broken, call):
    answer = broken.call(*call)
    assert answer.retcode != 0
    assert f"Error running '{call[0]}': {SENTENCE}" in answer.stdout + answer.stderr


@pytest.mark.parametrize("sls", ["mirror", "guard"])
@pytest.mark.parametrize("test", [True, False], ids=["plan", "apply"])
def test_states_stop_also_where_salt_is_forced_to_go_on(broken, sls, test):
    refused = broken.apply(sls, test=test)
    assert refused.retcode != 0
    assert "Pillar failed to render" in refused.stdout
    forced = broken.apply(sls, test=test, force=True)
    assert forced.retcode != 0
    (state,) = forced.value.values()
    assert state["result"] is False
    assert state["comment"].startswith(SENTENCE)


@pytest.fixture
def without(make_minion):
    """Return a minion whose pillar is about other things, and a proxy that leads nowhere."""
    minion = make_minion(pillar={"motd": "hello"}, states=STATES)
    assert minion.sync().retcode == 0
    return minion


def test_without_the_key_the_defaults_hold_and_each_run_says_so(without, monkeypatch):
    nowhere = f"http://127.0.0.1:{free_port()}"
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, nowhere)
    assert without.call("registry_sync.warnings").value == [DEFAULTS]
    for test in (True, False):
        (state,) = without.apply("mirror", test=test).value.values()
        assert state["comment"].endswith(f"Warning: {DEFAULTS}")
    assert without.call("registry_host.purges").value is False


def test_an_empty_key_is_a_choice_of_the_defaults(make_minion):
    minion = make_minion(pillar={"docker_registry": {}})
    minion.sync()
    assert minion.call("registry_sync.warnings").value == []
