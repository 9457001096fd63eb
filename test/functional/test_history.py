"""What a tag was, going back to it, and what is kept of it before it is overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

import _registry_sync_commands as mirror
import _registry_sync_prune_run as prune_run
from _registry_oci_errors import RegistryError
from _registry_sync_history import history, release, rollback
from support.damage import Damage
from support.images import Image, Layer, docker_image
from support.pillar import settings_of
from support.registries import Distribution
from support.registry_content import digest_of, push, tags_of

pytestmark = pytest.mark.needs("docker-distribution")

NAME = "team/app:latest"
IMAGES = [{"name": "team/app", "tags": ["latest"]}]


class Site:
    """A mirror of one tag that moves."""

    def __init__(self, upstream: Distribution, local: Distribution, directory: Path) -> None:
        self.upstream = upstream
        self.local = local
        self.places = {"directory": str(directory / "cache"), "ledger_directory": str(directory / "state")}
        self.ledger = {"ledger_directory": self.places["ledger_directory"]}

    def settings(self, **pillar: Any) -> Any:
        """Return the settings of a pillar."""
        return settings_of(self.upstream, self.local, IMAGES, **{"transfer": {"retries": 0}, **pillar})

    def release_upstream(self, number: int) -> Image:
        """Move the tag upstream."""
        image = docker_image([Layer("base"), Layer(f"build {number}")])
        push(self.upstream.url, "team/app", "latest", image)
        return image

    def sync(self, **pillar: Any) -> dict[str, Any]:
        """Sync, and return how the tag stands."""
        return mirror.sync(self.settings(**pillar), **self.places)["images"][NAME]

    @property
    def now(self) -> str | None:
        """What the tag is here."""
        return digest_of(self.local.url, "team/app", "latest")


@pytest.fixture
def site(upstream: Distribution, local: Distribution, tmp_path: Path) -> Site:
    return Site(upstream, local, tmp_path)


@pytest.fixture
def builds(site: Site) -> list[Image]:
    made = []
    for number in range(3):
        made.append(site.release_upstream(number))
        site.sync()
    return made


def test_the_history_tells_what_a_tag_was_by_whom_and_what_can_be_pulled(
    site: Site, builds: list[Image]
) -> None:
    told = history(site.settings(), NAME, **site.ledger)
    assert [entry["digest"] for entry in told["history"]] == [image.digest for image in builds[::-1]]
    assert [entry["here"] for entry in told["history"]] == [True, False, False]
    assert all(entry["pullable"] and entry["by"] == "sync" for entry in told["history"])
    assert told["history"][1]["until"] == told["history"][0]["from"]
    requests.delete(f"{site.local.url}/v2/team/app/manifests/{builds[0].digest}", timeout=10)
    assert history(site.settings(), NAME, **site.ledger)["history"][2]["pullable"] is False


def test_what_somebody_else_put_there_is_told_as_such(site: Site, builds: list[Image]) -> None:
    foreign = docker_image([Layer("foreign")])
    push(site.local.url, "team/app", "latest", foreign)
    first = history(site.settings(), NAME, **site.ledger)["history"][0]
    assert (first["digest"], first["by"], first["here"]) == (foreign.digest, "other", True)


def test_a_roll_back_moves_no_blob_and_holds(site: Site, builds: list[Image]) -> None:
    mark = site.local.log_position()
    report = rollback(site.settings(), NAME, **site.places)
    assert (report["was"], report["now"]) == (builds[2].digest, builds[1].digest)
    assert site.now == builds[1].digest
    asked = [line for line in site.local.access_log(mark) if "/blobs/" in line]
    assert asked, "whether all of it is still here was not asked"
    assert not any("POST" in line or "PATCH" in line for line in asked)
    after = site.sync()
    assert after["status"] == "held"
    assert f"latest@{builds[1].digest}" in after["error"]
    assert site.now == builds[1].digest
    checked = mirror.check(site.settings(), **site.places)
    assert checked["images"][NAME]["status"] == "held"
    assert mirror.return_code(checked) == 0


def test_a_roll_back_to_a_digest(site: Site, builds: list[Image]) -> None:
    rollback(site.settings(), NAME, builds[0].digest, **site.places)
    assert site.now == builds[0].digest
    assert history(site.settings(), NAME, **site.ledger)["history"][0]["by"] == "rollback"


def test_after_a_release_the_tag_follows_again(site: Site, builds: list[Image]) -> None:
    rollback(site.settings(), NAME, **site.places)
    assert release(site.settings(), NAME, **site.places)["now"] == builds[1].digest
    assert site.sync()["status"] == "copied"
    assert site.now == builds[2].digest


def test_a_held_tag_that_is_gone_does_not_become_what_was_rolled_back(
    site: Site, builds: list[Image]
) -> None:
    rollback(site.settings(), NAME, **site.places)
    Damage(site.local.data).link("team/app", "tags", "latest").unlink()
    checked = mirror.check(site.settings(), **site.places)["images"][NAME]
    assert (checked["status"], checked["cause"]) == ("unreadable", "absent")
    gone = site.sync()
    assert (gone["status"], gone["cause"], site.now) == ("failed", "absent", None)
    assert f"registry_sync.rollback {NAME} digest={builds[1].digest}" in gone["error"]
    rollback(site.settings(), NAME, builds[1].digest, **site.places)
    assert site.now == builds[1].digest
    assert site.sync()["status"] == "held"


def test_a_held_tag_that_is_gone_follows_again_after_a_release(site: Site, builds: list[Image]) -> None:
    rollback(site.settings(), NAME, **site.places)
    Damage(site.local.data).link("team/app", "tags", "latest").unlink()
    release(site.settings(), NAME, **site.places)
    assert site.sync()["status"] == "copied"
    assert site.now == builds[2].digest


def test_a_held_tag_is_not_pruned(site: Site, builds: list[Image]) -> None:
    rollback(site.settings(), NAME, **site.places)
    others = settings_of(
        site.upstream,
        site.local,
        [{"name": "team/other", "tags": ["1"]}],
        prune={"after": 0, "ceiling": "100%"},
    )
    push(site.upstream.url, "team/other", "1", docker_image([Layer("other")]))
    mirror.sync(others, **site.places)
    looked = prune_run.prune(others, **site.places)
    assert looked["images"][NAME]["reason"] == "a roll-back holds it"


@pytest.mark.parametrize(
    ("name", "digest", "said"),
    [
        ("team/app", "", "is no repository:tag"),
        ("team/app@sha256:" + "0" * 64, "", "is no repository:tag"),
        (NAME, "13.0", "is no digest"),
        (NAME, "sha256:" + "0" * 64, "has no team/app@sha256:0000"),
        ("team/nothing:1", "", "was nothing else before"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_changes_nothing(
    name: str, digest: str, said: str, site: Site, builds: list[Image]
) -> None:
    with pytest.raises(RegistryError, match=said):
        rollback(site.settings(), name, digest, **site.places)
    assert site.now == builds[2].digest
    assert site.sync()["status"] == "current"


def test_what_lost_a_layer_is_not_gone_back_to(site: Site, builds: list[Image]) -> None:
    layer = builds[1].blobs[-1].digest.partition(":")[2]
    site.local.stop()
    (site.local.data / f"docker/registry/v2/blobs/sha256/{layer[:2]}/{layer}/data").unlink()
    site.local.start()
    with pytest.raises(RegistryError, match="has no blob"):
        rollback(site.settings(), NAME, **site.places)
    assert site.now == builds[2].digest


def test_a_backup_keeps_what_is_overwritten_under_a_tag_of_its_own(site: Site) -> None:
    made = [site.release_upstream(0)]
    site.sync(backup={"tags": "was-{tag}-{n}"})
    for number in (1, 2):
        made.append(site.release_upstream(number))
        site.sync(backup={"tags": "was-{tag}-{n}"})
    assert tags_of(site.local.url, "team/app") == ["latest", "was-latest-1", "was-latest-2"]
    assert digest_of(site.local.url, "team/app", "was-latest-2") == made[1].digest


def test_a_backup_takes_no_name_that_is_there(site: Site) -> None:
    site.release_upstream(1)
    backup = {"backup": {"tags": "was-{tag}-{n}"}}
    site.sync(**backup)
    by_hand = docker_image([Layer("by hand")])
    push(site.local.url, "team/app", "was-latest-1", by_hand)
    site.release_upstream(2)
    second = site.sync(**backup)["local"]
    for ledger in Path(site.places["ledger_directory"]).iterdir():
        ledger.unlink()
    site.release_upstream(3)
    site.sync(**backup)
    names = tags_of(site.local.url, "team/app")
    assert names == ["latest", "was-latest-1", "was-latest-2", "was-latest-3"]
    assert digest_of(site.local.url, "team/app", "was-latest-1") == by_hand.digest
    assert digest_of(site.local.url, "team/app", "was-latest-3") == second


def test_a_tag_whose_backups_name_would_be_too_long_stays_and_says_so(site: Site) -> None:
    old = site.release_upstream(1)
    site.sync()
    site.release_upstream(2)
    after = site.sync(backup={"tags": "a" * 121 + "-{tag}-{n}"})
    assert (after["status"], after["cause"]) == ("failed", "unsupported")
    assert after["error"] == (
        "docker_registry:backup:tags: would keep team/app:latest under a tag of 130 characters, of which it "
        "may have 128; give a shorter template"
    )
    assert site.now == old.digest


def test_regsync_where_the_backup_fails_the_tag_is_not_overwritten(site: Site, builds: list[Image]) -> None:
    newest = site.release_upstream(9)
    revision = builds[2].digest.partition(":")[2]
    site.local.stop()
    # The manifest's bytes are gone, so there is nothing that could be put under another tag.
    (site.local.data / f"docker/registry/v2/blobs/sha256/{revision[:2]}/{revision}/data").write_bytes(b"{}")
    site.local.start()
    after = site.sync(backup={"tags": "was-{tag}-{n}"})
    assert after["status"] in ("failed", "unreadable")
    assert site.now != newest.digest
