"""Names of images as people write them for docker, podman and skopeo; no I/O.

What is not written is filled in as these do: ``nginx`` is ``docker.io/library/nginx``.
https://pkg.go.dev/github.com/distribution/reference#ParseNormalizedNamed
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from _registry_oci_names import is_digest, is_repository, is_tag

HUB = "docker.io"
_HUB_NAMES = (HUB, "index.docker.io", "registry-1.docker.io")
# Images of Docker's own, which are called by one word.
_HUB_LIBRARY = "library"
_SCHEMES = ("docker://", "https://")
_REGISTRY = re.compile(
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?"
)


class ReferenceMistake(ValueError):
    """A text that is no name of an image; the sentence does not have the text, which may hold a login."""


@dataclass(frozen=True)
class Reference:
    """A name of an image.

    Args:
        registry: ``host`` or ``host:port``.
        repository: at that registry.
        tag: empty = none is given.
        digest: empty = none is given.
    """

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.registry}/{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")

    @property
    def entry(self) -> str:
        """What stands under ``tags`` of an image: a tag, a digest, a tag with its digest, or nothing."""
        return "@".join(part for part in (self.tag, self.digest) if part)


def read_reference(text: str) -> Reference:
    """Take a name of an image apart.

    Args:
        text: ``[registry/]repository[:tag][@digest]``.

    Raises:
        ReferenceMistake: it is none.
    """
    for scheme in _SCHEMES:
        text = text.removeprefix(scheme)
    text, at, digest = text.partition("@")
    first, slash, rest = text.partition("/")
    registry, path = (first, rest) if slash and _is_registry(first) else (HUB, text)
    path, colon, tag = path.partition(":")
    registry = HUB if registry in _HUB_NAMES else registry
    if registry == HUB and path and "/" not in path:
        path = f"{_HUB_LIBRARY}/{path}"
    host_and_port(registry)
    if not is_repository(path):
        raise ReferenceMistake("is no name of an image, such as quay.io/prometheus/node-exporter:v1.8.2")
    if colon and not is_tag(tag):
        raise ReferenceMistake("has no tag behind the colon")
    if at and not is_digest(digest):
        raise ReferenceMistake("has no sha256 or sha512 digest behind the @")
    return Reference(registry, path, tag, digest)


def _is_registry(text: str) -> bool:
    return text == "localhost" or "." in text or ":" in text or text.startswith("[")


def host_and_port(registry: str) -> tuple[str, int]:
    """Host and port of a registry; a port of 0 = none is given.

    Raises:
        ReferenceMistake: it is neither ``host`` nor ``host:port``.
    """
    match = _REGISTRY.fullmatch(registry)
    port = int(match["port"] or 0) if match else 0
    if match is None or port > 65535 or match["port"] == "0":
        raise ReferenceMistake("begins with no host of a registry")
    return match["host"].strip("[]"), port
