"""Real images, made without a container engine.

Layers are genuine gzip tars, so every tool that unpacks can unpack them. The same arguments give
the same digests, on every machine with the same zlib.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

CREATED = "2019-01-01T00:00:00Z"
CHUNK = 1 << 20
PT_INTERP = 3


def sha256(data: bytes) -> str:
    """Return the digest as registries write it."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Blob(Protocol):
    """Anything a registry stores under its digest."""

    @property
    def digest(self) -> str:
        """`sha256:…`."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """Yield the content piece by piece."""
        ...


@dataclass(frozen=True)
class Bytes:
    """A blob held in memory."""

    data: bytes

    @cached_property
    def digest(self) -> str:
        """`sha256:…`."""
        return sha256(self.data)

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    def chunks(self) -> Iterator[bytes]:
        """Yield the content."""
        yield self.data


@dataclass(frozen=True)
class _Measures:
    digest: str
    size: int
    diff_id: str


class _GzipTar:
    """A layer made afresh each time it is read, so that a 500 MB one costs no memory."""

    # None: the image's own kind of layer.
    media_type: str | None = None
    urls: tuple[str, ...] = ()

    def tar(self) -> Iterator[bytes]:
        raise NotImplementedError

    def chunks(self) -> Iterator[bytes]:
        """Yield the gzip tar piece by piece."""
        return _gzip(self.tar())

    @property
    def digest(self) -> str:
        """`sha256:…` of the gzip."""
        return self._measures.digest

    @property
    def size(self) -> int:
        """Bytes of the gzip."""
        return self._measures.size

    @property
    def diff_id(self) -> str:
        """`sha256:…` of the tar."""
        return self._measures.diff_id

    @cached_property
    def _measures(self) -> _Measures:
        outer, inner, size = hashlib.sha256(), hashlib.sha256(), 0
        for chunk in _gzip(_hashed(self.tar(), inner)):
            outer.update(chunk)
            size += len(chunk)
        return _Measures(f"sha256:{outer.hexdigest()}", size, f"sha256:{inner.hexdigest()}")


@dataclass(frozen=True)
class Layer(_GzipTar):
    """A layer of one incompressible file of `length` bytes, the same for the same seed."""

    seed: str
    length: int = 1000
    media_type: str | None = None
    urls: tuple[str, ...] = ()

    def tar(self) -> Iterator[bytes]:
        """Yield the uncompressed tar."""
        yield _tar_header(f"srv/{self.seed}.bin", self.length)
        yield from incompressible(self.seed, self.length)
        yield _tar_end(self.length)


@dataclass(frozen=True)
class FileLayer(_GzipTar):
    """A layer of given files: path to content, each executable."""

    files: Mapping[str, bytes] = field(hash=False)
    links: Mapping[str, str] = field(default_factory=dict, hash=False)

    def tar(self) -> Iterator[bytes]:
        """Yield the uncompressed tar."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for path, content in sorted(self.files.items()):
                entry = tarfile.TarInfo(path)
                entry.size, entry.mode = len(content), 0o755
                tar.addfile(entry, io.BytesIO(content))
            for path, target in sorted(self.links.items()):
                entry = tarfile.TarInfo(path)
                entry.type, entry.linkname = tarfile.SYMTYPE, target
                tar.addfile(entry)
        yield buffer.getvalue()


def incompressible(seed: str, length: int) -> Iterator[bytes]:
    """Yield `length` bytes that look random and depend on the seed alone."""
    for number, start in enumerate(range(0, length, CHUNK)):
        yield hashlib.shake_128(f"{seed}/{number}".encode()).digest(min(CHUNK, length - start))


def _tar_header(path: str, length: int) -> bytes:
    entry = tarfile.TarInfo(path)
    entry.size = length
    return entry.tobuf(format=tarfile.USTAR_FORMAT)


def _tar_end(length: int) -> bytes:
    return bytes(-length % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


def _gzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    # Level 0 stores: incompressible content gains nothing from the time a real level takes.
    packer = zlib.compressobj(0, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    for chunk in chunks:
        yield packer.compress(chunk)
    yield packer.flush()


def _hashed(chunks: Iterable[bytes], digest: Any) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


@dataclass(frozen=True)
class Image:
    """A manifest with all it needs: its blobs, or for an index the images it names."""

    media_type: str
    manifest: bytes
    blobs: tuple[Blob, ...] = ()
    children: tuple[Image, ...] = ()
    platform: Mapping[str, str] = field(default_factory=dict, hash=False)

    @cached_property
    def digest(self) -> str:
        """`sha256:…` of the manifest."""
        return sha256(self.manifest)

    @property
    def total_size(self) -> int:
        """Bytes of all distinct blobs, children's included, without the manifests."""
        return sum({blob.digest: blob.size for blob in self.all_blobs()}.values())

    def all_blobs(self) -> Iterator[Blob]:
        """Yield the blobs of this image and of its children."""
        yield from self.blobs
        for child in self.children:
            yield from child.all_blobs()


def docker_image(
    layers: Sequence[Any],
    *,
    architecture: str = "amd64",
    operating_system: str = "linux",
    labels: Mapping[str, str] | None = None,
    command: Sequence[str] = ("/bin/sh",),
    entrypoint: Sequence[str] = (),
) -> Image:
    """Return a docker schema2 image."""
    config = _config(layers, architecture, operating_system, labels, command, entrypoint)
    body = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": _descriptor(config, DOCKER_CONFIG),
        "layers": [_layer_descriptor(layer, DOCKER_LAYER) for layer in layers],
    }
    return _image(DOCKER_MANIFEST, body, config, layers, architecture, operating_system)


def oci_image(
    layers: Sequence[Any],
    *,
    architecture: str = "amd64",
    operating_system: str = "linux",
    labels: Mapping[str, str] | None = None,
    command: Sequence[str] = ("/bin/sh",),
    annotations: Mapping[str, str] | None = None,
    subject: Image | None = None,
) -> Image:
    """Return an OCI image; with `subject` one that refers to another manifest."""
    config = _config(layers, architecture, operating_system, labels, command)
    body: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _descriptor(config, OCI_CONFIG),
        "layers": [_layer_descriptor(layer, OCI_LAYER) for layer in layers],
    }
    if annotations:
        body["annotations"] = dict(annotations)
    if subject:
        body["subject"] = _manifest_descriptor(subject)
    return _image(OCI_MANIFEST, body, config, layers, architecture, operating_system)


def docker_list(images: Sequence[Image]) -> Image:
    """Return a docker manifest list of images."""
    return _index(DOCKER_LIST, images)


def oci_index(images: Sequence[Image]) -> Image:
    """Return an OCI index of images."""
    return _index(OCI_INDEX, images)


def runnable_image(script: str = "echo hello", *, busybox: str | Path | None = None, seed: str = "") -> Image:
    """Return an image `FROM scratch` with a static busybox, which runs the script in its shell."""
    binary = busybox or static_busybox()
    assert binary is not None, "busybox-static is not installed"
    base = FileLayer({"bin/busybox": Path(binary).read_bytes()}, links={"bin/sh": "/bin/busybox"})
    layers = [base, FileLayer({"seed": seed.encode()})] if seed else [base]
    return docker_image(layers, command=["/bin/busybox", "sh", "-c", script])


def static_busybox() -> str | None:
    """Return the path of a busybox that needs no library, or None."""
    path = shutil.which("busybox")
    return path if path and not _asks_for_a_loader(Path(path).read_bytes()) else None


def _asks_for_a_loader(elf: bytes) -> bool:
    """Tell whether a 64-bit ELF program has a PT_INTERP header."""
    (headers_at,) = struct.unpack_from("<Q", elf, 0x20)
    size, count = struct.unpack_from("<HH", elf, 0x36)
    kinds = (struct.unpack_from("<I", elf, headers_at + n * size)[0] for n in range(count))
    return PT_INTERP in kinds


def _config(
    layers: Sequence[Any],
    architecture: str,
    operating_system: str,
    labels: Mapping[str, str] | None,
    command: Sequence[str],
    entrypoint: Sequence[str] = (),
) -> Bytes:
    body = {
        "architecture": architecture,
        "os": operating_system,
        "created": CREATED,
        "config": {"Cmd": list(command), "Labels": dict(labels or {})}
        | ({"Entrypoint": list(entrypoint)} if entrypoint else {}),
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": CREATED, "created_by": "test"} for _ in layers],
    }
    return Bytes(_json(body))


def _image(
    media_type: str,
    body: Mapping[str, Any],
    config: Blob,
    layers: Sequence[Any],
    architecture: str,
    operating_system: str,
) -> Image:
    # What has URLs lives elsewhere: a foreign layer is named in the manifest and never pushed.
    pushed = tuple(layer for layer in layers if not getattr(layer, "urls", ()))
    platform = {"architecture": architecture, "os": operating_system}
    return Image(media_type, _json(body), blobs=(config, *pushed), platform=platform)


def _index(media_type: str, images: Sequence[Image]) -> Image:
    body = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [_manifest_descriptor(image) | {"platform": dict(image.platform)} for image in images],
    }
    return Image(media_type, _json(body), children=tuple(images))


def _descriptor(blob: Blob, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "size": blob.size, "digest": blob.digest}


def _layer_descriptor(layer: Any, usual: str) -> dict[str, Any]:
    descriptor = _descriptor(layer, getattr(layer, "media_type", None) or usual)
    urls = getattr(layer, "urls", ())
    return descriptor | {"urls": list(urls)} if urls else descriptor


def _manifest_descriptor(image: Image) -> dict[str, Any]:
    return {
        "mediaType": image.media_type,
        "size": len(image.manifest),
        "digest": image.digest,
    }


def _json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, indent=3).encode()
