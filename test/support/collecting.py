"""The registry as the formula runs it, whose push instance is stopped and started as a service is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import requests

from _registry_sync_collect_apply import Collector, Site
from _registry_sync_collect_window import Pushes
from support.formula_registry import FormulaRegistry
from support.push_process import PushProcess
from support.registries import registry_binary
from support.unix_socket import session_to

# What a push through a socket has for a server.
SOCKET_URL = "http://push"


class CollectedRegistry:
    """Both servers, and all that a collection of their storage takes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.public = FormulaRegistry(directory / "registry")
        self.push = PushProcess(directory / "push", self.public.push.config())
        self.lock = str(directory / "lock" / "collect")
        # Stopped and started by us alone.
        self.public.push.start = lambda: self.public.push  # type: ignore[method-assign]

    def __enter__(self) -> CollectedRegistry:
        self.push.start()
        self.public.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.push.stop()
        self.public.stop()

    @property
    def url(self) -> str:
        """Where clients pull."""
        return self.public.url

    @property
    def data(self) -> Path:
        """The storage directory."""
        return self.public.data

    @property
    def top(self) -> Path:
        """The directory that the server makes in it."""
        return self.data / "docker/registry/v2"

    def session(self) -> requests.Session:
        """Return a client of the push instance; its server is `SOCKET_URL`."""
        return session_to(self.push.socket)

    def pushes(self) -> Pushes:
        """Return the service, as the modules describe it."""
        return Pushes("push", self.push.stop, self.push.start, self.push.runs, self.push.guard)

    def collector(self, *before: str) -> Collector:
        """Return the registry's own program, or words to be run before it."""
        binary = registry_binary()
        assert binary is not None
        return Collector((*before, binary, "garbage-collect"), str(self.push.config_file))

    def site(self, **others: Any) -> Site:
        """Return what a collection takes; by default nothing is too young."""
        return Site(
            **{
                "storage": str(self.data),
                "pushes": self.pushes(),
                "collector": self.collector(),
                "lock": self.lock,
                "grace": 0.0,
                **others,
            }
        )

    def data_of(self, digest: str) -> Path:
        """Return the file of a blob or manifest."""
        algorithm, _, name = digest.partition(":")
        return self.top / "blobs" / algorithm / name[:2] / name / "data"

    def repository(self, name: str) -> Path:
        """Return a repository's directory."""
        return self.top / "repositories" / name

    def revision(self, repository: str, digest: str) -> Path:
        """Return the link of a manifest."""
        below = digest.replace(":", "/")
        return self.repository(repository) / "_manifests/revisions" / below / "link"

    def delete(self, repository: str, digest: str) -> None:
        """Delete a manifest and its tags, as a prune does."""
        with self.session() as http:
            answer = http.delete(f"{SOCKET_URL}/v2/{repository}/manifests/{digest}", timeout=30)
        assert answer.status_code == 202, answer.text

    def catalog(self) -> list[str]:
        """Return what clients are told of repositories."""
        answer = requests.get(f"{self.url}/v2/_catalog?n=1000", timeout=30)
        names: list[str] = answer.json()["repositories"]
        return names


def pull(url: str, repository: str, reference: str, session: requests.Session | None = None) -> None:
    """Fetch a tag, every platform and blob of it, by plain requests; raise if anything is not whole."""
    http = session or requests.Session()
    answer = http.get(f"{url}/v2/{repository}/manifests/{reference}", headers=_ACCEPT, timeout=60)
    answer.raise_for_status()
    if ":" in reference:
        _demand(answer.content, reference)
    document = json.loads(answer.content)
    for child in document.get("manifests", ()):
        pull(url, repository, child["digest"], http)
    for blob in _blobs(document):
        got = http.get(f"{url}/v2/{repository}/blobs/{blob['digest']}", timeout=60)
        got.raise_for_status()
        _demand(got.content, blob["digest"])


_ACCEPT = {
    "Accept": ", ".join(
        f"application/vnd.{kind}+json"
        for kind in (
            "docker.distribution.manifest.v2",
            "docker.distribution.manifest.list.v2",
            "oci.image.manifest.v1",
            "oci.image.index.v1",
        )
    )
}


def _blobs(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "config" in document:
        yield document["config"]
        yield from document["layers"]


def _demand(content: bytes, digest: str) -> None:
    found = "sha256:" + hashlib.sha256(content).hexdigest()
    if found != digest:
        raise AssertionError(f"{digest} is {len(content)} bytes of {found}")


def bytes_below(directory: Path) -> int:
    """Return the bytes of all files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
