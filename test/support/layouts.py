"""OCI image layouts: filled through a store, or written as another tool would."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from _registry_oci_manifest import Descriptor, Manifest, read_manifest
from _registry_oci_names import digest_of
from _registry_store_layout import LayoutStore
from support.images import Image


def fill(store: LayoutStore, repository: str, reference: str, image: Image) -> None:
    """Write an image, or an index with its children, with all blobs."""
    for blob in image.blobs:
        store.write(repository, Descriptor(blob.digest, blob.size), blob.chunks())
    for child in image.children:
        fill(store, repository, child.digest, child)
    store.put(repository, reference, manifest_of(image))


def manifest_of(image: Image) -> Manifest:
    """Return an image's manifest as the engine reads it."""
    return read_manifest(image.manifest, image.media_type)


def entries(directory: Path) -> list[dict[str, Any]]:
    """Return the descriptors in a layout's index.json."""
    manifests: list[dict[str, Any]] = json.loads((directory / "index.json").read_text())["manifests"]
    return manifests


def make_layout(
    directory: Path,
    *manifests: dict[str, Any],
    blobs: Iterable[bytes] = (),
    version: str = "1.0.0",
    **rest: Any,
) -> None:
    """Write a layout without our code: descriptors in its index.json, blobs, further keys of the index."""
    (directory / "blobs" / "sha256").mkdir(parents=True)
    (directory / "oci-layout").write_text(json.dumps({"imageLayoutVersion": version}))
    document = {"schemaVersion": 2, "manifests": list(manifests), **rest}
    (directory / "index.json").write_text(json.dumps(document))
    for body in blobs:
        path_of(directory, digest_of(body)).write_bytes(body)


def entry_of(image: Image, **annotations: Any) -> dict[str, Any]:
    """Return the descriptor of an image in an index.json, named by `ref` or `containerd`."""
    names = {"ref": "org.opencontainers.image.ref.name", "containerd": "io.containerd.image.name"}
    notes = {names[key]: value for key, value in annotations.items()}
    content = {"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest)}
    return content | ({"annotations": notes} if notes else {})


def path_of(directory: Path, digest: str) -> Path:
    """Return where a layout keeps a blob."""
    return directory / "blobs" / "sha256" / digest.removeprefix("sha256:")
