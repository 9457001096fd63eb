"""A mirror whose files lie on this host: an image of two platforms, one of its own, and what they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import _registry_sync_commands as commands
from _registry_sync_verify_run import Storage, verify
from support.damage import Damage
from support.images import Image, Layer, docker_image, docker_list
from support.pillar import pillar_of, settings_of
from support.registry_content import push

BASE = Layer("base", 300_000)
LAYER = Layer("layer", 200_000)
ONE = docker_image([BASE, LAYER])
TWO = docker_image([BASE, Layer("two", 5000)], architecture="arm64")
BOTH = docker_list([ONE, TWO])
OTHER = docker_image([BASE, Layer("other", 5000)])
LIST = [{"name": "team/app", "tags": ["1"]}, {"name": "team/other", "tags": ["latest"]}]


class Mirrored:
    """Both registries, filled by a sync, and ways to verify the local one."""

    def __init__(self, upstream: Any, local: Any, directory: Path, platforms: Any = ()) -> None:
        self.upstream, self.local = upstream, local
        self.list = [{**image, "platforms": list(platforms)} for image in LIST]
        self.places: dict[str, Any] = {
            "directory": str(directory / "cache"),
            "ledger_directory": str(directory / "state"),
        }
        self.damage = Damage(local.data)
        push(upstream.url, "team/app", "1", BOTH)
        push(upstream.url, "team/other", "latest", OTHER)
        report = commands.sync(self.settings(), **self.places)
        assert report["summary"]["copied"] == 2, report["images"]
        self.damage.age()

    def pillar(self, **others: Any) -> dict[str, Any]:
        """The pillar `docker_registry`."""
        return pillar_of(self.upstream, self.local, self.list, transfer={"retries": 1}, **others)

    def settings(self, **others: Any) -> Any:
        """The same, checked."""
        given = {"transfer": {"retries": 1}, **others}
        settings = settings_of(self.upstream, self.local, self.list, **given)
        # A registry as the formula runs it is written to through another server.
        through = getattr(self.local, "written_through_the_socket", None)
        return through(settings) if through else settings

    def verify(self, *, here: bool = True, every: int = 0, **options: Any) -> dict[str, Any]:
        """Verify by the registry's own files, or through its API; hash everything each time."""
        storage = Storage(str(self.local.data)) if here else Storage("", "it is another host's")
        return verify(self.settings(verify={"every": every}), storage, **self.places, **options)

    def verify_with(self, *, storage: Any = "", **others: Any) -> dict[str, Any]:
        """Verify with other settings, or by the files in another directory."""
        return verify(self.settings(**others), Storage(str(storage or self.local.data)), **self.places)

    def images_with(self, image: Image | Layer) -> list[str]:
        """Which tags need a blob or manifest."""
        found = {"team/app:1": BOTH, "team/other:latest": OTHER}
        return [name for name, root in found.items() if image.digest in _digests(root)]


def _digests(image: Image) -> set[str]:
    own = {image.digest, *(blob.digest for blob in image.blobs)}
    return own.union(*(_digests(child) for child in image.children))
