"""A prune removes the simple signatures of what it forgets: those that sync wrote, and no other file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import _registry_sync_prune_run as prune_run
from _registry_http_retry import Run
from _registry_sync_ledger import Ledger
from _registry_sync_prune_signatures import forget_signatures
from _registry_sync_stores import open_stores
from support.images import Image, docker_list
from support.lookaside import put_signature, serve
from support.pruning import REPOSITORY, Mirror, fill, images, simple, statuses
from support.registries import Distribution

pytestmark = pytest.mark.needs("docker-distribution")

SIGNATURE = b"\x90\x0dthe first of "
OTHER = b"\xa3\x01the second of "


class SignedMirror(Mirror):
    """A mirror whose vendor signs, in a store of his."""

    def __init__(self, upstream: Distribution, local: Distribution, directory: Path, address: str) -> None:
        super().__init__(upstream, local, directory)
        self.store = directory / "store"
        self.kept = directory / "kept"
        self._signatures = {"stores": {upstream.address: address}, "directory": str(self.kept)}

    def settings(self, images: list[Any], **pillar: Any) -> Any:
        """Return the settings of a pillar."""
        return super().settings(images, signatures=self._signatures, **pillar)

    def fill(self, **tags: Image) -> None:
        """Push images at the vendor's, who signs each and each of their children, twice."""
        fill(self, **tags)
        for image in tags.values():
            for digest in (image.digest, *(child.digest for child in image.children)):
                put_signature(self.store, REPOSITORY, digest, SIGNATURE + digest.encode())
                put_signature(self.store, REPOSITORY, digest, OTHER + digest.encode(), 2)

    def directory(self, image: Image, repository: str = REPOSITORY) -> Path:
        """Return where the signatures of an image are kept."""
        return self.kept / f"{repository}@{image.digest.replace(':', '=')}"

    def is_signed(self, image: Image, repository: str = REPOSITORY) -> bool:
        """Tell whether both signatures of an image are kept, or nothing of them is."""
        directory = self.directory(image, repository)
        names = sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
        assert names in ([], ["signature-1", "signature-2"])
        assert bool(names) == directory.exists()
        return bool(names)


@pytest.fixture
def site(upstream: Distribution, local: Distribution, tmp_path: Path) -> Iterator[SignedMirror]:
    (tmp_path / "store").mkdir()
    with serve(tmp_path / "store") as address:
        yield SignedMirror(upstream, local, tmp_path, address)


def dropped(site: SignedMirror) -> Image:
    """Mirror two images, and have the list want one of them; return the other."""
    old, new = simple("old"), simple("new")
    site.fill(old=old, new=new)
    site.sync(images("old", "new"))
    assert site.is_signed(old)
    site.sync(images("new"))
    return old


def test_the_signatures_of_a_pruned_image_go_and_those_of_others_stay(site: SignedMirror) -> None:
    old = dropped(site)
    site.prune(images("new"))
    assert site.is_signed(old)
    site.forget(images("new"))
    assert not site.is_signed(old)
    assert site.is_signed(simple("new"))


def test_they_come_again_with_the_image(site: SignedMirror) -> None:
    old = dropped(site)
    site.forget(images("new"))
    site.sync(images("old", "new"))
    assert site.is_signed(old)
    site.sync(images("new"))
    site.forget(images("new"))
    assert not site.is_signed(old)


def test_those_of_children_go_with_an_index_unless_another_one_needs_the_child(site: SignedMirror) -> None:
    both, one, other = (simple(name) for name in ("both", "one", "other"))
    first, second = docker_list([both, one]), docker_list([both, other])
    site.fill(first=first, second=second)
    site.sync(images("first", "second"))
    site.sync(images("second"))
    site.forget(images("second"))
    assert [site.is_signed(image) for image in (first, one)] == [False, False]
    assert all(site.is_signed(image) for image in (second, both, other))


def test_those_of_a_digest_that_another_tag_has_stay(site: SignedMirror) -> None:
    image = simple("twins")
    site.fill(old=image, new=image)
    site.sync(images("old", "new"))
    site.sync(images("new"))
    assert statuses(site.forget(images("new")))["app:old"] == "pruned"
    assert site.is_signed(image)


def test_those_of_the_same_digest_in_another_repository_stay(site: SignedMirror) -> None:
    old = dropped(site)
    twin = {**images("old"), "target": "team/twin"}
    site.sync(images("new"), twin)
    site.forget(images("new"), twin)
    assert not site.is_signed(old)
    assert site.is_signed(old, "team/twin")


def another_file(directory: Path) -> None:
    (directory / "signature-3").write_bytes(SIGNATURE)


def another_directory(directory: Path) -> None:
    (directory / "notes").mkdir()


def another_content(directory: Path) -> None:
    (directory / "signature-2").write_bytes(SIGNATURE)


def a_link_to_the_same(directory: Path) -> None:
    elsewhere = directory.parent.parent.parent / "elsewhere"
    (directory / "signature-2").rename(elsewhere)
    (directory / "signature-2").symlink_to(elsewhere)


@pytest.mark.parametrize("change", [another_file, another_directory, another_content, a_link_to_the_same])
def test_a_directory_in_which_somebody_has_been_stays_as_it_is(
    site: SignedMirror, change: Callable[[Path], None]
) -> None:
    directory = site.directory(dropped(site))
    change(directory)
    before = {path.name: path.is_dir() or path.read_bytes() for path in directory.iterdir()}
    site.forget(images("new"))
    assert {path.name: path.is_dir() or path.read_bytes() for path in directory.iterdir()} == before


@pytest.mark.parametrize("level", ["the directory", "the one above it"])
def test_nothing_is_removed_behind_a_link(site: SignedMirror, tmp_path: Path, level: str) -> None:
    directory = site.directory(dropped(site))
    moved = directory if level == "the directory" else directory.parent
    elsewhere = tmp_path / "elsewhere"
    shutil.move(moved, elsewhere)
    moved.symlink_to(elsewhere)
    site.forget(images("new"))
    assert sorted(path.name for path in directory.iterdir()) == ["signature-1", "signature-2"]


def test_the_directory_of_the_pillar_may_itself_be_a_link(site: SignedMirror, tmp_path: Path) -> None:
    old = dropped(site)
    shutil.move(site.kept, tmp_path / "large disk")
    site.kept.symlink_to(tmp_path / "large disk")
    site.forget(images("new"))
    assert not site.is_signed(old)
    assert site.is_signed(simple("new"))


def test_what_was_here_before_sync_noted_it_stays(site: SignedMirror) -> None:
    """As after an upgrade: a ledger of before knows of no signature."""
    old = dropped(site)
    (path,) = site.state.glob("ledger-*.json")
    ledger = json.loads(path.read_text())
    del ledger["signatures"]
    path.write_text(json.dumps(ledger))
    site.forget(images("new"))
    assert site.is_signed(old)


def test_what_a_killed_prune_has_left_the_next_one_removes(
    site: SignedMirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = dropped(site)
    with monkeypatch.context() as patch:
        patch.setattr(prune_run, "forget_signatures", _killed)
        with pytest.raises(KeyboardInterrupt):
            site.prune(images("new"), automatic=True)
    assert site.status(old.digest) == 404
    assert site.is_signed(old)
    site.prune(images("new"), automatic=True)
    assert not site.is_signed(old)


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt


def test_signatures_of_what_the_registry_still_has_or_cannot_tell_of_stay(site: SignedMirror) -> None:
    old = dropped(site)
    settings = site.settings([images("new")])
    ledger = Ledger(str(site.state), settings.local.url)
    target = open_stores(settings, Run(settings.transfer)).target
    ledger.signatures.begin([(REPOSITORY, old.digest)])
    site.local.stop()
    forget_signatures(str(site.kept), ledger.signatures, target)
    assert ledger.signatures.going
    site.local.start()
    forget_signatures(str(site.kept), ledger.signatures, target)
    assert not ledger.signatures.going
    assert site.is_signed(old)
