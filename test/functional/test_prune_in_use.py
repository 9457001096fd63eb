"""What deployments run, roll-backs hold and people tag meanwhile is never forgotten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import _registry_sync_prune_run as prune_run
from _registry_sync_history import rollback
from support.images import docker_list
from support.pillar import pillar_of
from support.pruning import AT_ONCE, REPOSITORY, Mirror, fill, images, simple
from support.registries import Distribution
from support.registry_content import digest_of, push, tags_of
from support.salt_minion import Minion

pytestmark = pytest.mark.needs("docker-distribution")

OLD = f"{REPOSITORY}:old"


@pytest.fixture
def site(upstream: Distribution, local: Distribution, tmp_path: Path) -> Mirror:
    return Mirror(upstream, local, tmp_path)


def prune(site: Mirror, tag: str, **arguments: object) -> dict[str, object]:
    places = {"directory": str(site.cache), "ledger_directory": str(site.state)}
    return prune_run.prune(site.settings([images(tag)]), automatic=True, **places, **arguments)


@pytest.mark.parametrize("named", [OLD, f"{REPOSITORY}@OLD"])
def test_a_tag_that_a_deployment_names_stays(site: Mirror, named: str) -> None:
    old = simple("old")
    fill(site, old=old, older=simple("older"), new=simple("new"))
    site.sync(images("old", "older", "new"))
    site.sync(images("new"))
    report = prune(site, "new", in_use=[named.replace("OLD", old.digest)])
    assert report["images"][OLD]["reason"] == "prune:keep:environments"
    assert tags_of(site.local.url, REPOSITORY) == ["new", "old"]


def test_an_earlier_digest_of_a_tag_that_a_deployment_names_stays(site: Mirror) -> None:
    first, second, third = (simple(name) for name in ("first", "second", "third"))
    for image in (first, second, third):
        fill(site, app=image)
        site.sync(images("app"))
    report = prune(site, "app", in_use=[f"{REPOSITORY}@{first.digest}"])
    assert report["images"][f"{REPOSITORY}@{first.digest}"]["reason"] == "prune:keep:environments"
    assert site.status(first.digest) == 200
    assert site.status(second.digest) == 404


def test_a_part_of_an_index_that_a_deployment_names_stays_when_the_index_goes(site: Mirror) -> None:
    amd64, arm64 = simple("amd64"), simple("arm64")
    fill(site, old=docker_list([amd64, arm64]), new=simple("new"))
    site.sync(images("old", "new"))
    site.sync(images("new"))
    absent = f"{REPOSITORY}@sha256:{'1' * 64}"
    report = prune(site, "new", in_use=[f"{REPOSITORY}@{amd64.digest}", absent])
    assert absent not in report["images"]
    assert tags_of(site.local.url, REPOSITORY) == ["new"]
    assert (site.status(amd64.digest), site.status(arm64.digest)) == (200, 404)


@pytest.mark.parametrize(
    "name",
    ["{address}/team/app@{digest}", "{address}/team/app:1@{digest}", "Mirror.Example.com/team/app:old"],
)
def test_however_an_environment_names_it(
    name: str, upstream: Distribution, local: Distribution, tmp_path: Path, checkout: Path
) -> None:
    push(upstream.url, REPOSITORY, "old", simple("old"))
    push(upstream.url, REPOSITORY, "new", simple("new"))
    minion = Minion(
        tmp_path / "minion",
        checkout,
        pillar={"docker_registry": pillar_of(upstream, local, [images("old", "new")])},
    )
    minion.sync()
    assert minion.call("registry_sync.sync").retcode == 0
    environment = tmp_path / "environment.yaml"
    name = name.format(address=local.address, digest=digest_of(local.url, REPOSITORY, "old"))
    environment.write_text(f"parameter_defaults:\n  ContainerAppImage: {name}\n", encoding="utf-8")
    rules = {**AT_ONCE, "keep": {"environments": [str(environment)]}}
    minion.set_pillar({"docker_registry": pillar_of(upstream, local, [images("new")], prune=rules)})
    assert minion.call("registry_sync.sync").retcode == 0
    report = minion.call("registry_sync.prune", "automatic=True").value
    assert report["images"][OLD]["reason"] == "prune:keep:environments"
    assert tags_of(local.url, REPOSITORY) == ["new", "old"]


def test_what_a_roll_back_holds_stays_also_where_its_tag_is_something_else(site: Mirror) -> None:
    first, second, by_hand = (simple(name) for name in ("first", "second", "by hand"))
    for image in (first, second):
        fill(site, app=image)
        site.sync(images("app"))
    places = {"directory": str(site.cache), "ledger_directory": str(site.state)}
    rollback(site.settings([images("app")]), f"{REPOSITORY}:app", **places)
    push(site.local.url, REPOSITORY, "app", by_hand)
    for _ in range(2):
        site.sync(images("app"), must_end_well=False)
    report = prune(site, "app")
    assert report["refused"] == ""
    assert report["images"][f"{REPOSITORY}@{first.digest}"]["reason"] == "a roll-back holds it"
    assert site.status(first.digest) == 200


def test_an_image_that_another_tag_gets_meanwhile_stays(
    site: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = simple("old")
    fill(site, old=old, older=simple("older"), new=simple("new"))
    site.sync(images("old", "older", "new"))
    push(site.local.url, REPOSITORY, "promoted", simple("by hand"))
    site.sync(images("new"))
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(prune_run, "look", _then(lambda: push(site.local.url, REPOSITORY, "promoted", old)))
        report = prune(site, "new")
    assert report["images"][OLD]["reason"] == "tag promoted was changed since the plan was made"
    assert tags_of(site.local.url, REPOSITORY) == ["new", "old", "older", "promoted"]
    assert prune(site, "new")["images"][OLD]["status"] == "pruned"
    assert digest_of(site.local.url, REPOSITORY, "promoted") == old.digest


def _then(deed: Callable[[], object]) -> Callable[..., object]:
    """Look, and have somebody do something before it is acted on."""
    look = prune_run.look

    def looked(*arguments: object) -> object:
        plan = look(*arguments)
        deed()
        return plan

    return looked
