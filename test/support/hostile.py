"""What a hostile registry says beyond spoilt bytes: answers made up whole, and framings that are none."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import requests

from support.faults import Action, PassOn, Request, Response
from support.images import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Bytes, Image, sha256
from support.proxy import FaultProxy
from support.registries import LOOPBACK, host_and_port

MANIFEST_TYPES = (DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX)
MIB = 1024 * 1024
# So much is sent in vain before a server gives up: enough to show that nobody stops reading.
FLOOD = 200 * MIB

_numbers = itertools.count(1)


def fresh_name(stem: str = "image") -> str:
    """Return a repository's name, or a layer's seed, that no other test has."""
    # A name without a slash would get the default namespace of the pillar.
    return f"case/{stem}{next(_numbers)}"


def say(status: int, body: bytes = b"", *headers: tuple[str, str]) -> Action:
    """Answer at once; unlike `proxy.answer` with as many headers of one name as given."""

    def act(request: Request, pass_on: PassOn) -> Response:
        for _ in request.body:
            pass
        return Response(status, headers, [body], len(body))

    return act


def serve_manifest(line: FaultProxy, repository: str, body: bytes, content_type: str) -> None:
    """Let every tag and digest of a repository be this manifest, with the digest that it has."""
    headers = (("Content-Type", content_type), ("Docker-Content-Digest", sha256(body)))
    line.on(None, f"/v2/{repository}/manifests/", say(200, body, *headers), times=None)


def with_manifest(image: Image, **changes: Any) -> Image:
    """Return an image with other members in its manifest; one that is None is left out."""
    document = json.loads(image.manifest) | changes
    kept = {key: value for key, value in document.items() if value is not None}
    return dataclasses.replace(image, manifest=json.dumps(kept).encode())


def with_first_layer(image: Image, **changes: Any) -> Image:
    """Return an image whose first layer's descriptor says something else."""
    first, *others = json.loads(image.manifest)["layers"]
    return with_manifest(image, layers=[{**first, **changes}, *others])


def created_at(image: Image, date: str) -> Image:
    """Return an image whose config gives another date of creation."""
    old = b"".join(image.blobs[0].chunks())
    config = Bytes(json.dumps(json.loads(old) | {"created": date}).encode())
    descriptor = json.loads(image.manifest)["config"] | {"size": config.size, "digest": config.digest}
    return dataclasses.replace(with_manifest(image, config=descriptor), blobs=(config, *image.blobs[1:]))


def artifact(config: Bytes, config_type: str, layers: Iterable[tuple[str, Any]], **members: Any) -> Image:
    """Return an OCI manifest of any config and layers (media type and blob each)."""
    layers = list(layers)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": config_type, "size": config.size, "digest": config.digest},
        "layers": [
            {"mediaType": media_type, "size": blob.size, "digest": blob.digest} for media_type, blob in layers
        ],
        **members,
    }
    return Image(OCI_MANIFEST, json.dumps(document).encode(), (config, *(blob for _, blob in layers)))


def standing(registry: Any, repository: str, reference: str) -> str | None:
    """Return the digest a registry gives for a tag, None without it; much quicker than skopeo."""
    with requests.Session() as session:
        session.trust_env = False
        url = f"{registry.url}/v2/{repository}/manifests/{reference}"
        found = session.head(url, headers={"Accept": ", ".join(MANIFEST_TYPES)})
    return found.headers["Docker-Content-Digest"] if found.ok else None


def is_whole(registry: Any, repository: str, image: Image) -> bool:
    """Tell whether a repository gives every manifest and blob of an image, each with its digest.

    skopeo pulls no index of indexes, and nothing that is no image.
    """
    with requests.Session() as session:
        session.trust_env = False
        base = f"{registry.url}/v2/{repository}"
        manifest = session.get(f"{base}/manifests/{image.digest}", headers={"Accept": image.media_type})
        blobs_are_right = all(_gives(session, f"{base}/blobs/{blob.digest}") for blob in image.blobs)
    right = manifest.content == image.manifest and blobs_are_right
    return right and all(is_whole(registry, repository, child) for child in image.children)


def _gives(session: requests.Session, url: str) -> bool:
    """Tell whether a blob's URL ends in the digest of what it gives."""
    algorithm, _, expected = url.rpartition("/")[2].partition(":")
    try:
        answer = session.get(url)
    except requests.RequestException:
        return False
    return answer.ok and hashlib.new(algorithm, answer.content).hexdigest() == expected


Respond = Callable[[str, str], Iterable[bytes]]


class RawServer:
    """A server that sends what `respond(method, path)` yields, byte for byte, and hangs up."""

    def __init__(self, respond: Respond) -> None:
        self.respond = respond
        self.sent = 0
        self._server = _RawListener((LOOPBACK, 0), self)
        self.host, self.port = self._server.server_address[:2]

    @property
    def address(self) -> str:
        """`host:port`."""
        return host_and_port(str(self.host), int(self.port))

    def __enter__(self) -> RawServer:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._server.shutdown()
        self._server.server_close()


class _RawListener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], raw: RawServer) -> None:
        self.raw = raw
        super().__init__(address, _RawConnection)


class _RawConnection(socketserver.StreamRequestHandler):
    server: _RawListener

    def handle(self) -> None:
        words = self.rfile.readline(65537).decode("latin-1").split()
        while self.rfile.readline(65537).strip():
            pass
        # A client may hang up whenever it likes.
        with contextlib.suppress(OSError):
            for piece in self.server.raw.respond(*words[:2]) if len(words) == 3 else ():
                self.wfile.write(piece)
                self.server.raw.sent += len(piece)


def head(status: str, *headers: str) -> bytes:
    """Return a status line and headers, after which the connection ends."""
    return "\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *headers, "", ""]).encode("latin-1")


def flood(piece: bytes = b" " * MIB, size: int = FLOOD) -> Iterator[bytes]:
    """Yield the same piece until so many bytes are sent."""
    return itertools.repeat(piece, size // len(piece))


def negative_chunk() -> Iterator[bytes]:
    """Yield a body whose first chunk says that it has less than no bytes."""
    yield b"-1\r\n"
    yield from flood()


def endless_chunks() -> Iterator[bytes]:
    """Yield chunk after chunk, all well framed."""
    return flood(b"100000\r\n" + b" " * MIB + b"\r\n")


def one_huge_chunk() -> Iterator[bytes]:
    """Yield a single chunk of many bytes."""
    yield b"%x\r\n" % FLOOD
    yield from flood()
