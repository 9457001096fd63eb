"""What gets attached to images, made without the programs that do so."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import requests

from support.hostile import artifact
from support.images import OCI_INDEX, Bytes, Image, Layer, docker_image, docker_list, oci_image
from support.pillar import settings_of
from support.registry_content import push, push_manifest

SIGNATURE = "application/vnd.dev.cosign.simplesigning.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
# What is attached to, and where.
NAME = "some/where"
IMAGE = oci_image([Layer("attached-to")])
CHILDREN = [docker_image([Layer(name)], architecture=name) for name in ("amd64", "arm64")]
LIST = docker_list(CHILDREN)


def settings_for(upstream: Any, local: Any, **others: Any) -> Any:
    """Return the settings that mirror tag 1 of `NAME`."""
    return settings_of(upstream, local, [{"name": NAME, "tags": ["1"]}], **others)


def entry_of(report: Any, name: str = f"{NAME}:1") -> tuple[str, dict[str, int]]:
    """Return how an image stands, and how many attachments it has; there must be no error."""
    entry = report["images"][name]
    assert entry["error"] == ""
    return entry["status"], entry["attachments"]


def counts(here: int = 0, lacking: int = 0, skipped: int = 0) -> dict[str, int]:
    """Return attachments as a report counts them."""
    return {"here": here, "lacking": lacking, "skipped": skipped}


def digests_listed(server: Any, digest: str) -> list[str]:
    """Return what a server lists as referring to a digest."""
    return [entry["digest"] for entry in listed(server.url, NAME, digest)]


def fallback_tag(digest: str) -> str:
    """Return the tag of the list of what refers to a digest."""
    return digest.replace(":", "-")


def referrer(subject: Image, word: str, kind: str = "application/vnd.example.sbom+json") -> Image:
    """Return an artifact that refers to an image."""
    about = {"mediaType": subject.media_type, "digest": subject.digest, "size": len(subject.manifest)}
    content = [(kind, Bytes(f"about {word}".encode()))]
    return artifact(
        Bytes(b"{}"), EMPTY, content, artifactType=kind, subject=about, annotations={"org.example.word": word}
    )


def signature(subject: Image, *words: str) -> Image:
    """Return what cosign 2 puts under the tag `….sig`: a layer a signature."""
    payload = Bytes(json.dumps({"critical": {"image": {"docker-manifest-digest": subject.digest}}}).encode())
    made = artifact(
        Bytes(b'{"rootfs":{}}'), "application/vnd.oci.image.config.v1+json", [(SIGNATURE, payload)]
    )
    document = json.loads(made.manifest)
    layer = document["layers"][0]
    document["layers"] = [
        {**layer, "annotations": {"dev.cosignproject.cosign/signature": word}} for word in words
    ]
    return Image(made.media_type, json.dumps(document).encode(), made.blobs)


def sign(url: str, repository: str, subject: Image, *words: str) -> str:
    """Push what cosign 2 would; return the tag."""
    tag = f"{fallback_tag(subject.digest)}.sig"
    push(url, repository, tag, signature(subject, *words))
    return tag


def refer(url: str, repository: str, *referrers: Image) -> None:
    """Push what refers to images, by digest alone: a registry with the API lists it."""
    for one in referrers:
        push(url, repository, one.digest, one)


def attach(url: str, repository: str, subject: Image, *referrers: Image) -> None:
    """Push what refers to an image, and the list of it as clients write it."""
    refer(url, repository, *referrers)
    entries = {one["digest"]: one for one in listed(url, repository, subject.digest)}
    entries.update((one.digest, entry(one)) for one in referrers)
    push_list(url, repository, subject.digest, entries.values())


def entry(one: Image) -> dict[str, Any]:
    """Return what a list should say of a referrer."""
    document = json.loads(one.manifest)
    return {
        "mediaType": one.media_type,
        "digest": one.digest,
        "size": len(one.manifest),
        "artifactType": document["artifactType"],
        "annotations": document["annotations"],
    }


def push_list(url: str, repository: str, digest: str, entries: Iterable[dict[str, Any]]) -> None:
    """Push a list of referrers under the tag of a digest."""
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}
    push_manifest(url, repository, fallback_tag(digest), Image(OCI_INDEX, json.dumps(document).encode()))


def listed(url: str, repository: str, digest: str) -> list[dict[str, Any]]:
    """Return what stands in the list of what refers to a digest."""
    answer = manifest(url, repository, fallback_tag(digest))
    return list(json.loads(answer)["manifests"]) if answer else []


def manifest(url: str, repository: str, reference: str) -> bytes:
    """Return a manifest's bytes, empty where it is not there; read without our code."""
    with requests.Session() as http:
        http.trust_env = False
        accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
        accept += "application/vnd.docker.distribution.manifest.v2+json, "
        accept += "application/vnd.docker.distribution.manifest.list.v2+json"
        answer = http.get(f"{url}/v2/{repository}/manifests/{reference}", headers={"Accept": accept})
        return answer.content if answer.status_code == 200 else b""
