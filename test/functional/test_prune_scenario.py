"""All that a registry may hold at once: what is kept pulls byte by byte, and what was doomed is gone."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support.images import Image, docker_list, oci_index
from support.pruning import REPOSITORY, Mirror, images, simple
from support.registries import Distribution, registry_binary
from support.registry_content import digest_of, pull_whole, push, tags_of

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

LEFT = "team/left"
BACKUP = {"keep": 1}


def signature_of(image: Image) -> str:
    """Return the tag that cosign gives a signature."""
    return f"sha256-{image.digest.partition(':')[2]}.sig"


def referrers_of(image: Image) -> str:
    """Return the tag of the referrers tag schema."""
    return f"sha256-{image.digest.partition(':')[2]}"


class Scene:
    """A mirror with everything in it, whose list gets shorter.

    `kept` are references that must stay, `gone` those that must go, each in `REPOSITORY`.
    """

    def __init__(self, site: Mirror) -> None:
        self.site = site
        self.kept: dict[str, Image] = {}
        self.gone: dict[str, Image] = {}
        self._fill()

    def _fill(self) -> None:
        shared, leaf, kept_leaf, tagged = (simple(seed) for seed in ("shared", "leaf", "kept leaf", "tagged"))
        twin, moved = simple("twin"), [simple(f"build {number}") for number in range(3)]
        pins = {seed: simple(seed) for seed in ("pinned", "pinned once")}
        lists = {seed: docker_list([shared, tagged, simple(seed)]) for seed in ("list", "old list")}
        inner, kept_inner = oci_index([leaf, kept_leaf]), oci_index([kept_leaf])
        nested = {"nested": oci_index([kept_inner]), "old-nested": oci_index([inner, shared])}
        wanted = {"1.0": twin, "list": lists["list"], "nested": nested["nested"]}
        dropped = {"1.0-twin": twin, "old-list": lists["old list"], "old-nested": nested["old-nested"]}
        dropped |= {"tagged": tagged, "alone": simple("alone")}
        attached = {
            kind(image): made(f"{kind.__name__} {image.digest}")
            for kind, made in ((signature_of, simple), (referrers_of, lambda seed: oci_index([simple(seed)])))
            for image in (twin, lists["list"], lists["old list"], shared)
        }
        for tag, image in {**wanted, **dropped, **attached}.items():
            push(self.site.upstream.url, REPOSITORY, tag, image)
        for image in pins.values():
            push(self.site.upstream.url, REPOSITORY, image.digest, image)
        push(self.site.upstream.url, LEFT, "1", simple("left"))
        digests = {image.digest: image for image in pins.values()}
        for image in moved:
            push(self.site.upstream.url, REPOSITORY, "latest", image)
            everything = images(*wanted, *dropped, *attached, *digests, "latest")
            self.site.sync(everything, {"name": LEFT, "tags": ["1"]})
        self._push_by_hand(leaf)
        self.shorter = images(*wanted, pins["pinned"].digest, "latest")
        self.site.sync(self.shorter)
        self.kept |= wanted | {pins["pinned"].digest: pins["pinned"], "latest": moved[2]}
        # The latest that the tag was before is its backup; children of what is kept have no tag.
        self.kept |= {image.digest: image for image in (moved[1], shared, kept_inner, tagged, leaf)}
        self.kept |= attached
        for tag in (signature_of(lists["old list"]), referrers_of(lists["old list"])):
            self.gone[tag] = self.kept.pop(tag)
        self.gone |= dropped | {image.digest: image for image in (moved[0], pins["pinned once"], inner)}
        whole = (lists["old list"], nested["old-nested"], lists["old list"].children[2], dropped["alone"])
        self.gone |= {image.digest: image for image in whole}

    def _push_by_hand(self, leaf: Image) -> None:
        by_hand = {"by-hand": simple("hand"), "by-hand-list": docker_list([leaf, simple("hand too")])}
        for tag, image in by_hand.items():
            push(self.site.local.url, REPOSITORY, tag, image)
        push(self.site.local.url, LEFT, "by-hand", simple("hand"))
        self.kept |= by_hand

    def pull_all(self, into: Path) -> dict[str, dict[str, bytes]]:
        """Return every file that skopeo gets of each kept reference; it gets none of an index in an index."""
        pulled = {}
        into.mkdir()
        for number, (reference, image) in enumerate(self.kept.items()):
            if any(child.children for child in image.children):
                continue
            pull_whole(self.site.local.url, REPOSITORY, reference, into / str(number))
            pulled[reference] = {file.name: file.read_bytes() for file in (into / str(number)).iterdir()}
        return pulled


def bytes_of_blobs(registry: Distribution) -> int:
    """Return what the blobs of a registry take."""
    blobs = registry.data / "docker" / "registry" / "v2" / "blobs"
    return sum(file.stat().st_size for file in blobs.rglob("data"))


def collect(registry: Distribution) -> None:
    """Have distribution free the space of what no manifest needs, while nobody is served."""
    registry.stop()
    binary = registry_binary()
    assert binary is not None
    words = [binary, "garbage-collect", str(registry.directory / "config.yml")]
    subprocess.run(words, check=True, capture_output=True)
    registry.start()


def assert_as_before(scene: Scene, before: Mapping[str, Any], into: Path) -> None:
    """See that what is kept pulls as before, and that what had to go is not there."""
    assert scene.pull_all(into) == before
    for reference, image in scene.kept.items():
        assert digest_of(scene.site.local.url, REPOSITORY, reference) == image.digest
    assert {reference: scene.site.status(reference) for reference in scene.gone} == dict.fromkeys(
        scene.gone, 404
    )
    assert tags_of(scene.site.local.url, REPOSITORY) == sorted(tag for tag in scene.kept if ":" not in tag)
    assert tags_of(scene.site.local.url, LEFT) == ["by-hand"]


def test_what_is_kept_pulls_byte_by_byte_and_what_was_doomed_is_gone(
    upstream: Distribution, local: Distribution, tmp_path: Path
) -> None:
    scene = Scene(Mirror(upstream, local, tmp_path))
    before = scene.pull_all(tmp_path / "before")
    size = bytes_of_blobs(local)
    done = scene.site.forget(scene.shorter, backup=BACKUP)
    assert done["repositories"] == []
    assert_as_before(scene, before, tmp_path / "pruned")
    # The registry had nothing else to collect, so that it frees exactly what the plan said.
    collect(local)
    assert_as_before(scene, before, tmp_path / "collected")
    assert size - bytes_of_blobs(local) == done["summary"]["bytes"]
    assert scene.site.prune(scene.shorter, backup=BACKUP)["plan"] == ""
    synced = scene.site.sync(scene.shorter)
    assert synced["summary"]["current"] == len(scene.shorter["tags"])
