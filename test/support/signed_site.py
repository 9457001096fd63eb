"""A mirror that wants signatures, between real registries, and what its reports say of one image."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import _registry_sync_commands as commands
from _registry_config_values import Settings
from support.images import Image, Layer, docker_image
from support.made_signatures import cosign_payload, make_key, public_pem, push_sig, signature
from support.pillar import settings_of
from support.registries import Distribution
from support.registry_content import push

OURS, THEIRS = make_key(), make_key()
KEYS: dict[str, Any] = {"ours": {"cosign": [public_pem(OURS)]}}
_numbers = itertools.count()

Entry = dict[str, Any]


class Site:
    """A mirror of one repository, which no other test knows, at the tag `1`."""

    def __init__(self, upstream: Distribution, local: Distribution, directory: Path) -> None:
        self.upstream = upstream
        self.local = local
        self.directory = directory
        self.name = f"signed/app{next(_numbers)}"

    def push(self, image: Image) -> Image:
        """Push an image upstream; return it."""
        push(self.upstream.url, self.name, "1", image)
        return image

    def cosign(self, image: Image, key: Any = OURS, digest: str = "", repository: str = "") -> None:
        """Sign as cosign 2 does, maybe for another digest or repository."""
        payload = cosign_payload(digest or image.digest, repository or f"{self.upstream.address}/{self.name}")
        push_sig(self.upstream.url, self.name, image.digest, (payload, signature(key, payload)))

    def settings(
        self,
        keys: dict[str, Any] = KEYS,
        signed_by: Iterable[str] = ("ours",),
        attachments: Any = True,
        stores: dict[str, str] | None = None,
        engine: dict[str, Any] | None = None,
        **image: Any,
    ) -> Settings:
        """Return settings that want signatures; `image` has further keys of the entry."""
        entry = {"name": self.name, "tags": ["1"], "signed_by": list(signed_by), **image}
        signatures = {"keys": keys, "directory": str(self.directory / "sigstore"), "stores": stores or {}}
        others = {"signatures": signatures, "attachments": attachments, "transfer": {"retries": 1}}
        others["engine"] = engine or {}
        return settings_of(self.upstream, self.local, [entry], **others)

    def run(self, command: Callable[..., dict[str, Any]], **options: Any) -> dict[str, Any]:
        """Return the report of a command."""
        return command(self.settings(**options), directory=str(self.directory / "cache"))

    def sync(self, **options: Any) -> Entry:
        """Sync, and return what the report says of the image."""
        return self._entry(commands.sync, options)

    def check(self, **options: Any) -> Entry:
        """Do the same with check."""
        return self._entry(commands.check, options)

    def plan(self, **options: Any) -> Entry:
        """Do the same with plan."""
        return self._entry(commands.plan, options)

    def _entry(self, command: Callable[..., dict[str, Any]], options: dict[str, Any]) -> Entry:
        entry: Entry = next(iter(self.run(command, **options)["images"].values()))
        return entry


def image_of(seed: str, size: int = 2000) -> Image:
    """Return an image of one layer."""
    return docker_image([Layer(seed, size)])


def accepted(entry: Entry, names: Iterable[str] = ("ours",)) -> bool:
    """Tell whether an image was copied, signed by just these."""
    assert (entry["status"], entry["cause"], entry["error"]) == ("copied", "", ""), entry
    return bool(entry["signed_by"] == list(names))


def refused(entry: Entry, status: str = "failed") -> str:
    """Demand that an image was refused for its signatures; return the sentence."""
    assert (entry["status"], entry["cause"], entry["signed_by"]) == (status, "signature", []), entry
    return str(entry["error"])
