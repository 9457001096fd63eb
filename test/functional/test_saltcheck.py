"""The saltcheck tests that a user runs after an apply: green on a mirror in step, red where it is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.mirrored import LAYER, OTHER, Mirrored
from support.registries import Distribution, free_port
from support.registry_content import push
from support.salt_minion import Minion

pytestmark = pytest.mark.needs("docker-distribution")

OF_STATES = sorted(
    path.stem for path in (Path(__file__).parents[2] / "docker_registry" / "saltcheck-tests").glob("*.tst")
)


@pytest.fixture
def mirrored(upstream: Distribution, local: Distribution, tmp_path: Path) -> Mirrored:
    return Mirrored(upstream, local, tmp_path / "mirror")


@pytest.fixture
def minion(make_minion: Callable[..., Minion], mirrored: Mirrored) -> Minion:
    made = make_minion()
    made.set_pillar({"docker_registry": pillar(mirrored)})
    made.sync()
    return made


def pillar(mirrored: Mirrored) -> dict[str, Any]:
    registry = {"storage": str(mirrored.local.data)}
    return mirrored.pillar(registry=registry, verify={"every": 0}, prune={"after": 0, "ceiling": "100%"})


def check_of(minion: Minion, state: str, **options: Any) -> tuple[int, dict[str, int]]:
    """Run the tests of a state; return the code and how many passed, failed, and are not there."""
    answer = minion.call("saltcheck.run_state_tests", state, **options)
    assert answer.value, answer.stdout + answer.stderr
    counted = answer.value[-1]["TEST RESULTS"]
    return answer.retcode, {key: counted[key] for key in ("Passed", "Failed", "Missing Tests")}


def passes(count: int) -> tuple[int, dict[str, int]]:
    return 0, {"Passed": count, "Failed": 0, "Missing Tests": 0}


def fails(failed: int, passed: int = 0) -> tuple[int, dict[str, int]]:
    return 1, {"Passed": passed, "Failed": failed, "Missing Tests": 0}


def test_a_mirror_in_step_passes_all_of_them_and_the_formula_has_those_of_its_parts(minion: Minion) -> None:
    assert check_of(minion, "docker_registry") == passes(2)
    # Prune does nothing for a list that no sync of this minion has brought here.
    assert minion.call("registry_sync.sync").retcode == 0
    assert check_of(minion, "docker_registry.check", check_all=True) == passes(len(OF_STATES))


def test_a_registry_that_is_down_fails_that_of_check(minion: Minion, mirrored: Mirrored) -> None:
    down = pillar(mirrored)
    down["local"] = {**down["local"], "port": free_port()}
    minion.set_pillar({"docker_registry": down})
    assert check_of(minion, "docker_registry.check") == fails(1)


def test_a_missing_tag_fails_that_of_sync(minion: Minion, mirrored: Mirrored) -> None:
    push(mirrored.upstream.url, "team/new", "1", OTHER)
    lacking = pillar(mirrored)
    lacking["images"] = [*lacking["images"], {"name": "team/new", "tags": ["1"]}]
    minion.set_pillar({"docker_registry": lacking})
    assert check_of(minion, "docker_registry.sync") == fails(1)


def test_a_cut_layer_fails_that_of_verify(minion: Minion, mirrored: Mirrored) -> None:
    mirrored.damage.truncate(mirrored.damage.data(LAYER.digest))
    assert check_of(minion, "docker_registry.verify") == fails(1)


def test_a_tag_that_no_list_wants_fails_that_of_prune(minion: Minion, mirrored: Mirrored) -> None:
    push(mirrored.upstream.url, "team/app", "2", OTHER)
    app, other = pillar(mirrored)["images"]
    for tags in (["1", "2"], ["1"]):
        minion.set_pillar({"docker_registry": {**pillar(mirrored), "images": [{**app, "tags": tags}, other]}})
        assert minion.call("registry_sync.sync").retcode == 0
    assert check_of(minion, "docker_registry.prune") == fails(1)
