"""A mirror whose image list changes, so that there is something to prune."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import requests

import _registry_sync_commands as mirror
import _registry_sync_prune_run as prune_run
from _registry_oci_manifest import ACCEPTED
from _registry_sync_ledger import Ledger
from support.images import Image, Layer, docker_image
from support.pillar import settings_of
from support.registry_content import push

REPOSITORY = "team/app"
AT_ONCE = {"after": 0, "untagged": 0, "ceiling": "100%"}


class Mirror:
    """A mirror with its directories, whose image list changes."""

    def __init__(self, upstream: Any, local: Any, directory: Path) -> None:
        self.upstream = upstream
        self.local = local
        self.cache = directory / "cache"
        self.state = directory / "state"

    def settings(self, images: list[Any], **pillar: Any) -> Any:
        """Return the settings of a pillar."""
        return settings_of(
            self.upstream, self.local, images, **{"transfer": {"retries": 0}, "prune": AT_ONCE, **pillar}
        )

    def sync(self, *images: Any, must_end_well: bool = True, **pillar: Any) -> dict[str, Any]:
        """Sync, and demand that it ends well."""
        report = mirror.sync(
            self.settings(list(images), **pillar), directory=str(self.cache), ledger_directory=str(self.state)
        )
        failed = report["summary"]["failed"] + report["summary"]["unreadable"]
        assert not (must_end_well and failed), report["images"]
        return report

    def prune(self, *images: Any, plan: str = "", automatic: bool = False, **pillar: Any) -> dict[str, Any]:
        """Say what would be pruned, or prune."""
        return prune_run.prune(
            self.settings(list(images), **pillar),
            directory=str(self.cache),
            ledger_directory=str(self.state),
            plan=plan,
            automatic=automatic,
        )

    def forget(self, *images: Any, **pillar: Any) -> dict[str, Any]:
        """Look, and do exactly that."""
        looked = self.prune(*images, **pillar)
        assert looked["refused"] == ""
        done = self.prune(*images, plan=looked["plan"], **pillar)
        assert done["refused"] == ""
        assert done["summary"]["failed"] == 0, done["images"]
        return done

    def move_ledger_to(self, line: Any) -> None:
        """Have the registry behind a line be the one that the ledger tells of."""
        (file,) = self.state.iterdir()
        content = json.loads(file.read_text("utf-8"))
        content["registry"] = line.url
        Path(str(Ledger(str(self.state), line.url))).write_text(json.dumps(content), "utf-8")

    def status(self, reference: str, repository: str = REPOSITORY) -> int:
        """Return how the registry answers for a tag or digest."""
        url = f"{self.local.url}/v2/{repository}/manifests/{reference}"
        return requests.get(url, headers={"Accept": ", ".join(ACCEPTED)}, timeout=10).status_code


def images(*tags: str) -> dict[str, Any]:
    """Return an entry of the image list."""
    return {"name": REPOSITORY, "tags": list(tags)}


def statuses(report: dict[str, Any]) -> dict[str, str]:
    """Return the status of each image, by its name without the namespace."""
    return {name.partition("/")[2]: image["status"] for name, image in report["images"].items()}


def fill(site: Mirror, **tagged: Image) -> dict[str, Image]:
    """Push images upstream."""
    for tag, image in tagged.items():
        push(site.upstream.url, REPOSITORY, tag, image)
    return tagged


def simple(seed: str) -> Image:
    """Return an image that shares its first layer with all others."""
    return docker_image([Layer("base"), Layer(seed)])
