"""Forgetting in registries that are no docker-distribution: one deletes by tag, one deletes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from _registry_config_read import read_settings
from _registry_sync_history import history, rollback
from support.images import Layer, docker_image, docker_list
from support.other_registries import Server, crane, crane_serves, zuul_registry, zuul_serves
from support.pillar import pillar_of
from support.pruning import AT_ONCE, REPOSITORY, Mirror, fill, images, simple
from support.registries import Distribution
from support.registry_content import digest_of, pull_whole, push, tags_of

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")


@pytest.fixture
def site(upstream: Distribution, tmp_path: Path) -> Iterator[Mirror]:
    program = crane()
    if program is None:
        pytest.skip("needs crane")
    with crane_serves(program, tmp_path) as server:
        yield Mirror(upstream, server, tmp_path)


def test_where_a_tag_can_be_deleted_it_is_and_its_twin_stays(site: Mirror, tmp_path: Path) -> None:
    twin = simple("twin")
    fill(site, new=twin, old=twin, older=twin)
    site.sync(images("old", "older", "new"))
    site.sync(images("new"))
    done = site.forget(images("new"))
    assert done["summary"]["pruned"] == 2
    assert tags_of(site.local.url, REPOSITORY) == ["new"]
    pull_whole(site.local.url, REPOSITORY, "new", tmp_path / "pulled")


def test_where_a_deleted_digest_leaves_its_tags_these_go_too(site: Mirror, tmp_path: Path) -> None:
    shared, own = simple("shared"), simple("own")
    fill(site, old=docker_list([shared, own]), new=docker_list([shared, simple("new")]))
    push(site.upstream.url, REPOSITORY, "older", docker_list([shared, own]))
    site.sync(images("old", "older", "new"))
    site.sync(images("new"))
    site.forget(images("new"))
    assert tags_of(site.local.url, REPOSITORY) == ["new"]
    assert [site.status(reference) for reference in ("old", "older", own.digest)] == [404] * 3
    assert site.status(shared.digest) == 200
    pull_whole(site.local.url, REPOSITORY, "new", tmp_path / "pulled")
    assert site.prune(images("new"))["plan"] == ""


def test_a_roll_back_there_and_its_history(site: Mirror) -> None:
    made = [docker_image([Layer(f"build {number}")]) for number in range(2)]
    for image in made:
        push(site.upstream.url, REPOSITORY, "latest", image)
        site.sync(images("latest"))
    settings = site.settings([images("latest")])
    ledger = {"ledger_directory": str(site.state)}
    rollback(settings, f"{REPOSITORY}:latest", directory=str(site.cache), **ledger)
    assert digest_of(site.local.url, REPOSITORY, "latest") == made[0].digest
    told = history(settings, f"{REPOSITORY}:latest", **ledger)["history"]
    assert [entry["digest"] for entry in told] == [made[number].digest for number in (0, 1, 0)]


@pytest.fixture
def keeper(checkout: Path, upstream: Distribution, tmp_path: Path) -> Iterator[Mirror]:
    program = zuul_registry(checkout)
    if program is None:
        pytest.skip("needs zuul-registry")
    with zuul_serves(program, tmp_path) as server:
        yield LoggedIn(upstream, server, tmp_path)


class LoggedIn(Mirror):
    """A mirror into a registry that asks who writes."""

    local: Server

    def settings(self, images: list[Any], **pillar: Any) -> Any:
        """Return the settings of a pillar with the login."""
        assert self.local.login is not None
        rules = {"transfer": {"retries": 0}, "prune": AT_ONCE, **pillar}
        told = pillar_of(self.upstream, self.local, images, **rules)
        told["local"] |= {"username": self.local.login.username, "password": self.local.login.password}
        return read_settings(told, host="unused.example.com")


@pytest.mark.parametrize("twins", [True, False], ids=["twins", "whole digests"])
def test_regclient_96_where_nothing_can_be_deleted_nothing_is_overwritten(
    keeper: Mirror, twins: bool
) -> None:
    made = fill(keeper, old=simple("old"), new=simple("old" if twins else "new"), more=simple("more"))
    keeper.sync(images("old", "new", "more"))
    keeper.sync(images("new"))
    plan = keeper.prune(images("new"))["plan"]
    done = keeper.prune(images("new"), plan=plan)
    assert done["refused"].endswith("and still has it, so nothing was deleted")
    assert done["summary"]["pruned"] == 0
    synced = keeper.sync(images(*made))
    assert {image["status"] for image in synced["images"].values()} == {"current"}
