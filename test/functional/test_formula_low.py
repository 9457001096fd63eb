"""What Salt makes of the state files on each family of systems, compared with kept files.

`UPDATE_KEPT=1 pytest test/functional/test_formula_low.py` writes them anew; read what differs.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from support.salt_minion import Minion

KEPT = Path(__file__).with_name("formula_low")
SYSTEMS = {
    "debian": {"os_family": "Debian", "os": "Debian", "osmajorrelease": 12},
    "el7": {"os_family": "RedHat", "os": "CentOS", "osmajorrelease": 7},
    "el9": {"os_family": "RedHat", "os": "RedHat", "osmajorrelease": 9},
    "fedora": {"os_family": "RedHat", "os": "Fedora", "osmajorrelease": 41},
    "suse": {"os_family": "Suse", "os": "SUSE", "osmajorrelease": 15},
}
TARGETS = ("docker_registry", "docker_registry.clean")
# Where a state stands is no part of what it does, and differs between versions of Salt.
PLACE = ("__env__", "__sls_included_from__", "order", "__id__")


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_low_states_are_the_kept_ones(system, tmp_path, checkout):
    minion = Minion(tmp_path, checkout, grains=SYSTEMS[system])
    low = {target: low_states(minion, target) for target in TARGETS}
    kept = KEPT / f"{system}.yaml"
    if os.environ.get("UPDATE_KEPT"):
        kept.write_text(yaml.safe_dump(low, sort_keys=False, width=110), encoding="utf-8")
    assert low == yaml.safe_load(kept.read_text(encoding="utf-8"))


def test_lookup_renames_what_is_called_otherwise(tmp_path, checkout):
    names = {"package": "registry-x", "service": "svc-x", "config": "/x/config.yml", "docker_service": "d-x"}
    minion = Minion(tmp_path, checkout, pillar={"docker_registry": {"lookup": names}})
    low = low_states(minion, "docker_registry")
    assert low["Registry package is installed"]["name"] == "registry-x"
    assert low["Registry is running"]["name"] == "svc-x"
    assert low["Registry is configured"]["name"] == "/x/config.yml"
    assert low["Registry has a key"]["name"] == "/x/tls-key.pem"
    assert low["Docker has read its settings"]["name"] == "d-x"


@pytest.mark.parametrize("broken", ["text", [1], {"registry": 5}, {"registry": [1]}, {"lookup": None}])
def test_a_broken_pillar_still_renders_as_the_sentence_about_it_comes_from_a_state(
    broken, tmp_path, checkout
):
    minion = Minion(tmp_path, checkout, pillar={"docker_registry": broken})
    for target in ("docker_registry.service", "docker_registry.engine", "docker_registry.clean"):
        assert low_states(minion, target)


def low_states(minion, target):
    low = minion.caller().cmd("state.show_low_sls", target)
    assert all(isinstance(state, dict) for state in low), low
    states = {}
    for state in low:
        key = state["__id__"] if state["__id__"] not in states else f"{state['__id__']} ({state['name']})"
        states[key] = {name: value for name, value in state.items() if name not in PLACE}
    # Salt has mappings of its own kind.
    return json.loads(json.dumps(states))
