"""What a registry holds: images pushed to it, and what skopeo reads there; none of it by our code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from support.images import Blob, Image, sha256


def push(
    url: str,
    repository: str,
    tag: str | Iterable[str],
    image: Image,
    *,
    session: requests.Session | None = None,
) -> str:
    """Push an image, or an index with its children, under one tag or several; return its digest."""
    with _session_or_new(session) as http:
        _push_content(http, url, repository, image)
        for name in [tag] if isinstance(tag, str) else tag:
            _put_manifest(http, url, repository, name, image)
    return image.digest


def push_blob(url: str, repository: str, blob: Blob, *, session: requests.Session | None = None) -> str:
    """Push one blob unless the repository has it; return its digest."""
    with _session_or_new(session) as http:
        here = http.head(f"{url}/v2/{repository}/blobs/{blob.digest}")
        if here.status_code != 200:
            _upload(http, url, repository, blob)
    return blob.digest


class _session_or_new:  # noqa: N801 - reads as a statement
    """Lend the caller's session, or open one that knows no proxy and close it after use."""

    def __init__(self, session: requests.Session | None) -> None:
        self.given = session
        self.session = session or requests.Session()
        if session is None:
            self.session.trust_env = False

    def __enter__(self) -> requests.Session:
        return self.session

    def __exit__(self, *exception: Any) -> None:
        if self.given is None:
            self.session.close()


class _Streamed:
    """A body requests sends with a Content-Length and without holding it in memory."""

    def __init__(self, blob: Blob) -> None:
        self.blob = blob

    def __len__(self) -> int:
        return self.blob.size

    def __iter__(self) -> Iterator[bytes]:
        return (chunk for chunk in self.blob.chunks() if chunk)


def _push_content(http: requests.Session, url: str, repository: str, image: Image) -> None:
    for blob in image.blobs:
        push_blob(url, repository, blob, session=http)
    for child in image.children:
        _push_content(http, url, repository, child)
        _put_manifest(http, url, repository, child.digest, child)


def push_manifest(url: str, repository: str, reference: str, image: Image) -> None:
    """Push a manifest alone, whatever it names."""
    with _session_or_new(None) as http:
        _put_manifest(http, url, repository, reference, image)


def _upload(http: requests.Session, url: str, repository: str, blob: Blob) -> None:
    started = http.post(f"{url}/v2/{repository}/blobs/uploads/")
    started.raise_for_status()
    location = requests.compat.urljoin(started.url, started.headers["Location"])
    joint = "&" if "?" in location else "?"
    finished = http.put(
        f"{location}{joint}digest={blob.digest}",
        data=_Streamed(blob),
        headers={"Content-Type": "application/octet-stream"},
    )
    finished.raise_for_status()


def _put_manifest(http: requests.Session, url: str, repository: str, reference: str, image: Image) -> None:
    answer = http.put(
        f"{url}/v2/{repository}/manifests/{reference}",
        data=image.manifest,
        headers={"Content-Type": image.media_type},
    )
    if not answer.ok:
        raise AssertionError(f"{answer.status_code} for {repository}:{reference}: {answer.text}")


def digest_of(url: str, repository: str, tag: str) -> str | None:
    """Return the digest a tag has, None if there is no such tag; read by skopeo, not our code."""
    answer = _skopeo("inspect", "--tls-verify=false", "--raw", _reference(url, repository, tag))
    return sha256(answer.stdout) if answer.returncode == 0 else None


def tags_of(url: str, repository: str) -> list[str]:
    """Return a repository's tags, sorted, empty without the repository; read by skopeo."""
    answer = _skopeo("list-tags", "--tls-verify=false", _reference(url, repository))
    return sorted(json.loads(answer.stdout)["Tags"] or []) if answer.returncode == 0 else []


def pull_whole(url: str, repository: str, tag: str, directory: Path | str) -> None:
    """Let skopeo fetch a tag, every platform and blob of it; raise if anything is missing."""
    answer = _skopeo(
        "copy",
        "--all",
        "--preserve-digests",
        "--src-tls-verify=false",
        _reference(url, repository, tag),
        f"dir:{directory}",
    )
    if answer.returncode:
        raise AssertionError(answer.stderr.decode(errors="replace"))


def _reference(url: str, repository: str, tag: str | None = None) -> str:
    joint = "@" if tag and ":" in tag else ":"
    return f"docker://{urlsplit(url).netloc}/{repository}" + (f"{joint}{tag}" if tag else "")


def _skopeo(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = ["skopeo", "--insecure-policy", *arguments]
    return subprocess.run(command, capture_output=True, timeout=600, check=False)
