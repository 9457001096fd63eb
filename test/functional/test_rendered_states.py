"""What must hold of the states on each family of systems, whatever else they say."""

from __future__ import annotations

import json
import re

import pytest

from support.salt_minion import Minion

SYSTEMS = {
    "debian": {"os_family": "Debian", "os": "Debian", "osmajorrelease": 12},
    "el7": {"os_family": "RedHat", "os": "CentOS", "osmajorrelease": 7},
    "el9": {"os_family": "RedHat", "os": "RedHat", "osmajorrelease": 9},
    "fedora": {"os_family": "RedHat", "os": "Fedora", "osmajorrelease": 41},
    "suse": {"os_family": "Suse", "os": "SUSE", "osmajorrelease": 15},
}
MORE_THAT_IS_BROKEN = [
    [1],
    {"registry": [1]},
    *({"lookup": lookup} for lookup in (None, "x", ["x"], {"config": 5})),
]
LOADED = "Modules of the formula are loaded"
GUARD = "Registry is left alone unless forced"
# They change nothing that a populated registry has: the modules, the guard, the mirror itself.
UNGUARDED = {"modules", "guard", "sync", "check"}
REQUISITES = ("require", "watch", "onchanges", "onfail", "listen")


@pytest.fixture(scope="module", params=SYSTEMS)
def rendered(request, tmp_path_factory, checkout):
    """Return the states of each target on one system."""
    minion = Minion(tmp_path_factory.mktemp("minion"), checkout, grains=SYSTEMS[request.param])
    return {target: low_states(minion, target) for target in ("docker_registry", "docker_registry.clean")}


def test_every_id_is_a_sentence(rendered):
    for states in rendered.values():
        bad = [
            state["__id__"]
            for state in states
            if not re.fullmatch(r"[A-Z][^_{}]*( [^_{}]+){2,}", state["__id__"])
        ]
        assert bad == []


def test_every_requisite_names_a_state_that_is_there(rendered):
    for states in rendered.values():
        assert {need for state in states for need in needs(state)} <= {state["__id__"] for state in states}


def test_nothing_but_the_mirror_runs_where_the_guard_says_no(rendered):
    states = rendered["docker_registry"]
    free = [
        state["__id__"]
        for state in states
        if sls_of(state) not in UNGUARDED and GUARD not in all_needs(state["__id__"], states)
    ]
    assert free == []


def test_no_state_of_ours_runs_before_its_module_is_loaded(rendered):
    for target, states in rendered.items():
        early = [
            state["__id__"]
            for state in states
            if state["state"].startswith("registry_") and LOADED not in all_needs(state["__id__"], states)
        ]
        assert early == [], target


def test_images_come_once_the_registry_runs_is_trusted_and_reached_and_are_asked_for_last(rendered):
    states = rendered["docker_registry"]
    assert all_needs("Images are mirrored", states) >= {
        "Registry is configured",
        "Registry is running",
        "Docker is running",
        "Docker is reloaded",
        "Undercloud images are uploaded",
    }
    order = [state["__id__"] for state in sorted(states, key=lambda state: state["order"])]
    assert order.index("Registry port is open") < order.index("Images are mirrored")
    assert order[-1] == "Registry serves the images"


def test_a_changed_file_restarts_what_has_read_it(rendered):
    watched = {
        state["__id__"]: {name for one in state.get("watch", []) for name in one.values()}
        for state in rendered["docker_registry"]
    }
    assert watched["Registry is running"] >= {
        "Registry is configured",
        "Registry has a certificate",
        "Registry has a key",
        "Registry htpasswd file is managed",
    }
    # Its containers stop with docker.
    assert watched["Docker is restarted"] == {"Docker trusts the registries through its sysconfig"}
    assert watched["Docker is reloaded"] == {"Docker trusts the registries through its daemon.json"}
    assert watched["Docker is running"] == set()


def test_secrets_are_readable_by_their_owner_alone_and_not_shown(rendered):
    of = {state["__id__"]: state for state in rendered["docker_registry"]}
    for name in ("Registry has a key", "Registry is configured"):
        assert (of[name]["mode"], of[name]["show_changes"]) == ("0600", False)


def test_clean_stops_the_registry_before_it_takes_anything_away(rendered):
    states = rendered["docker_registry.clean"]
    for name in (
        "Registry unit is absent",
        "Registry package is removed unless it was installed before",
        "Previous service state is restored",
        "Images are purged if the pillar says so",
    ):
        assert "Registry is stopped" in all_needs(name, states)
    # The package would else keep what we wrote as its own.
    removed = "Registry package is removed unless it was installed before"
    assert "Previous configuration is restored" in all_needs(removed, states)
    # What was saved tells whose the images are.
    order = [state["__id__"] for state in sorted(states, key=lambda state: state["order"])]
    purged = order.index("Images are purged if the pillar says so")
    assert purged < order.index("Previous configuration is restored")


def test_clean_undoes_nothing_where_the_pillar_has_a_mistake(rendered):
    states = rendered["docker_registry.clean"]
    checked, free = "Pillar has no mistake", {"Pillar has no mistake", LOADED}
    hasty = [state["__id__"] for state in states if checked not in all_needs(state["__id__"], states)]
    assert set(hasty) == free


def test_lookup_renames_what_is_called_otherwise(tmp_path, checkout):
    names = {"package": "registry-x", "service": "svc-x", "config": "/x/config.yml", "docker_service": "d-x"}
    minion = Minion(tmp_path, checkout, pillar={"docker_registry": {"lookup": names}})
    name_of = {state["__id__"]: state["name"] for state in low_states(minion, "docker_registry")}
    assert name_of["Registry package is installed"] == "registry-x"
    assert name_of["Registry is running"] == "svc-x"
    assert name_of["Registry is configured"] == "/x/config.yml"
    assert name_of["Registry has a key"] == "/x/tls-key.pem"
    for done in ("restarted", "running", "reloaded"):
        assert name_of[f"Docker is {done}"] == "d-x"


@pytest.mark.parametrize(
    "broken",
    [
        "text",
        {"registry": 5},
        {"lookup": {"config": None}},
        *(pytest.param(one, marks=pytest.mark.thorough) for one in MORE_THAT_IS_BROKEN),
    ],
)
def test_a_broken_pillar_still_renders_as_the_sentence_about_it_comes_from_a_state(
    broken, tmp_path, checkout
):
    minion = Minion(tmp_path, checkout, pillar={"docker_registry": broken})
    for target in ("docker_registry.service", "docker_registry.engine", "docker_registry.clean"):
        assert low_states(minion, target)


def low_states(minion, target):
    """Return each state as Salt would run it, or fail with what it says instead."""
    # Not state.show_low_sls, which leaves out what `extend` adds.
    (minion.file_root / "top.sls").write_text(json.dumps({"base": {"*": [target]}}), encoding="utf-8")
    low = minion.caller().cmd("state.show_lowstate")
    assert all(isinstance(state, dict) for state in low), low
    return low


def sls_of(state):
    return state["__sls__"].rpartition(".")[2]


def needs(state):
    """Return the IDs that a state names in its requisites."""
    named = (one for kind in REQUISITES for one in state.get(kind, []))
    return {name for one in named for name in one.values()}


def all_needs(name, states):
    """Return the IDs that must have run before a state, however far back."""
    found, ahead = set(), {name}
    while ahead:
        ahead = {need for state in states if state["__id__"] in ahead for need in needs(state)} - found
        found |= ahead
    return found
