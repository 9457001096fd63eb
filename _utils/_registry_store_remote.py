"""A registry over HTTP, as the distribution-spec has it.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from _registry_http_client import Client, delete_scope, pull_scope, push_scope
from _registry_http_endpoint import Endpoint, push_endpoint
from _registry_http_retry import Pace
from _registry_http_transport import Answer
from _registry_oci_errors import (
    BlobUnknown,
    DigestMismatch,
    NotFound,
    Retryable,
    ServerFailed,
    Unreachable,
    Unsupported,
)
from _registry_oci_manifest import (
    ACCEPTED,
    MANIFEST_LIMIT,
    Descriptor,
    Manifest,
    ManifestError,
    read_manifest,
)
from _registry_oci_names import algorithm_of, digest_of, is_digest, is_repository, is_tag, matches
from _registry_oci_referrers import fallback_tag, listed_referrers
from _registry_store_protocol import Files, Written
from _registry_store_read_ahead import RangesAhead
from _registry_store_remote_links import next_link
from _registry_store_remote_read import BlobReader
from _registry_store_remote_referrers import ReferrersApi
from _registry_store_remote_write import BlobWriter

ACCEPT = {"Accept": ", ".join(ACCEPTED)}
# docker-distribution refuses more than 1000 from 2.8.2 on, and gives 100 where nothing is said.
PAGE = 1000
PAGES = 10_000
LIST_LIMIT = 16 * 1024 * 1024
# Said where a file was replaced; what a server has in its cache outlives that.
REMEMBERS = "has a right file now and goes on by what it remembers, until it is restarted,"
# Seconds after which a manifest is asked for again that was put and is not given.
MOMENTS = (0.1, 0.3, 1.0, 3.0)
# Ten times what the largest public repositories have.
NAMES_LIMIT = 1_000_000


class RemoteStore:
    """One registry: read as its clients see it, written to where it takes that.

    Args:
        endpoint: where it is and who we are there.
        pace: how fast it may be asked.
        connections: how many are kept open.
    """

    def __init__(self, endpoint: Endpoint, pace: Pace, *, connections: int = 8) -> None:
        self.endpoint = endpoint
        self.pace = pace
        self._client = Client(endpoint, pace, connections=connections)
        self._push_client = self._client
        if endpoint.push_socket:
            self._push_client = Client(push_endpoint(endpoint), pace, connections=connections)
        self._writer = BlobWriter(self._push_client)
        self._referrers = ReferrersApi(self._client)
        self._ahead: RangesAhead | None = None
        self._split_from = 0
        # Blobs that the registry names and has no bytes of.
        self._hollow: set[str] = set()
        # Where they are this host's: a registry never replaces a file, and trusts its cache.
        self.files: Files | None = None

    def __str__(self) -> str:
        return str(self.endpoint)

    @property
    def side(self) -> str:
        """``upstream`` or ``local``."""
        return self.endpoint.side

    @property
    def distance(self) -> float:
        """Seconds that its fastest answer took."""
        return self._client.distance

    def read_ahead(self, ahead: RangesAhead, larger_than: int) -> None:
        """Read large blobs over several connections at a time.

        Args:
            ahead: the threads for it, shared with other stores.
            larger_than: bytes that a blob must have.
        """
        self._ahead = ahead
        self._split_from = larger_than

    def ping(self) -> None:
        """Ask whether this is a registry at all, and log in where we can.

        Raises:
            Unauthorized: our login is refused there.
            RegistryError: it is not reachable, or is something else.
        """
        self._client.ping()

    def repositories(self) -> Iterator[str]:
        """Every repository, page by page (an extension of docker-distribution that many registries lack).

        https://distribution.github.io/distribution/spec/api/#listing-repositories

        Raises:
            RegistryError: also where the registry keeps no catalog.
        """
        return self._pages(f"_catalog?n={PAGE}", ("registry:catalog:*",), "repositories", "its catalog")

    def first_repository(self) -> str:
        """One repository's name, or an empty string where there is none."""
        url = self._client.url("_catalog?n=1")
        answer = self._client.ask("GET", url, ("registry:catalog:*",), "its catalog")
        names = self._names(answer, "repositories")
        return names[0] if names else ""

    def tags(self, repository: str, *, pages: int = 0) -> list[str]:
        """Every tag of a repository, sorted (end-8b).

        Args:
            repository: its name.
            pages: of which the list may consist; 0 = any number.

        Raises:
            NotFound: there is no such repository.
            Unsupported: the list has more pages.
            RegistryError: anything else.
        """
        path = f"{repository}/tags/list?n={PAGE}"
        return sorted(set(self._pages(path, pull_scope(repository), "tags", repository, pages or PAGES)))

    def resolve(self, repository: str, reference: str) -> Descriptor:
        """The digest of a tag by HEAD, which does not count as a pull (end-3).

        Args:
            repository: its name.
            reference: a tag or digest.

        Raises:
            NotFound: it is not there.
            RegistryError: anything else.
        """
        url = self._client.url(f"{repository}/manifests/{reference}")
        what = _named(repository, reference)
        try:
            answer = self._client.ask("HEAD", url, pull_scope(repository), what, ACCEPT)
        except ServerFailed as failure:
            # Where a full disk or a crash has left an empty file, docker-distribution answers 500.
            if self.files and self.files.lacks_manifest(repository, reference):
                raise self._client.error(NotFound, f"has an empty file for {what}") from failure
            raise
        except Unsupported:
            return self._described(repository, reference)
        digest = answer.headers.get("Docker-Content-Digest", "")
        if not is_digest(digest):
            # The header is optional in the spec; the body is what it would name.
            return self._described(repository, reference)
        length = answer.headers.get("Content-Length", "")
        kind = answer.headers.get("Content-Type", "").split(";")[0].strip()
        return Descriptor(digest, int(length) if length.isdigit() else 0, kind)

    def _described(self, repository: str, reference: str) -> Descriptor:
        """The same by GET."""
        manifest = self.manifest(repository, reference)
        return Descriptor(manifest.digest, len(manifest.body), manifest.media_type)

    def resolve_many(self, names: Sequence[tuple[str, str]]) -> list[Descriptor | None]:
        """What tags stand for by a first look: an answer that surprises is to be asked for again.

        Args:
            names: repository and tag or digest of each.

        Returns:
            A descriptor for each, None where it is not told.
        """
        if not self.files or not names:
            return self._head_many(names)
        here = [self.files.resolve(*name) for name in names]
        # One is asked for: a registry that was not restarted may have its files elsewhere, and a copy of
        # them differs in what came last.
        _, latest = max(((one[1], at) for at, one in enumerate(here) if one), default=(0.0, 0))
        found, told = here[latest], self._head_many([names[latest]])[0]
        if told and found and told.digest == found[0].digest:
            return [one and one[0] for one in here]
        return self._head_many(names)

    def _head_many(self, names: Sequence[tuple[str, str]]) -> list[Descriptor | None]:
        asked = [
            (self._client.url(f"{repository}/manifests/{tag}"), pull_scope(repository))
            for repository, tag in names
        ]
        return self._client.head_many(asked, ACCEPT)

    def manifest(self, repository: str, reference: str) -> Manifest:
        """A manifest, byte for byte, hashed before it is parsed (end-3).

        One that does not hash to its digest is read once more: a line can garble bytes.

        Raises:
            NotFound: it is not there.
            DigestMismatch: the bytes are others than named.
            Unsupported: it is of a kind that cannot be mirrored.
            RegistryError: anything else.
        """
        what = _named(repository, reference)
        answer, digest = self._manifest_bytes(repository, reference)
        if digest and not matches(answer.body, digest):
            answer, digest = self._manifest_bytes(repository, reference)
            if digest and not matches(answer.body, digest):
                said = f"the manifest of {what} is not what its digest {digest} says"
                raise self._client.error(DigestMismatch, said, ":")
        try:
            kind = answer.headers.get("Content-Type", "")
            return read_manifest(answer.body, kind, algorithm_of(digest) if digest else "sha256")
        except ManifestError as failure:
            raise self._client.error(Unsupported, f"{what}: {failure}", ":") from None

    def _manifest_bytes(self, repository: str, reference: str) -> tuple[Answer, str]:
        """A manifest as it came, and the digest it must have, if any was told."""
        answer = self._client.ask(
            "GET",
            self._client.url(f"{repository}/manifests/{reference}"),
            pull_scope(repository),
            _named(repository, reference),
            ACCEPT,
            limit=MANIFEST_LIMIT,
            is_pull=True,
        )
        told = answer.headers.get("Docker-Content-Digest", "")
        digest = reference if is_digest(reference) else told if is_digest(told) else ""
        return answer, digest

    def has(self, repository: str, digest: str) -> bool:
        """Whether a blob is in a repository, with bytes behind its name (end-2).

        Its last byte is read: from its cache a registry answers HEAD also for what its disk has lost.

        Raises:
            RegistryError: it could not be told.
        """
        try:
            found = self._has_byte(repository, digest)
        except NotFound:
            return False
        if not found:
            self._hollow.add(digest)
        return found

    def _has_byte(self, repository: str, digest: str) -> bool:
        # crane's registry understands no range that is counted from the end.
        for byte in ("-1", "0-0"):
            with contextlib.suppress(DigestMismatch):
                return self._client.pace.attempt(
                    partial(self._gives_byte, repository, digest, byte), is_pull=False
                )
        # Of nothing no byte can be given: https://www.rfc-editor.org/rfc/rfc9110#section-15.5.17
        return digest == digest_of(b"", algorithm_of(digest))

    def _gives_byte(self, repository: str, digest: str, byte: str) -> bool:
        url = self._client.url(f"{repository}/blobs/{digest}")
        stream = self._client.open("GET", url, pull_scope(repository), digest, {"Range": f"bytes={byte}"})
        try:
            return bool(next(stream.chunks(), b"")) or digest == digest_of(b"", algorithm_of(digest))
        except Unreachable:
            return False
        finally:
            stream.close()

    def read(self, repository: str, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """A blob's bytes from an offset on, in one attempt (end-2).

        Raises:
            NotFound: there is no such blob.
            Unreachable: the line broke; what had come was handed out.
            DigestMismatch: it is longer or shorter than its descriptor says.
        """
        ahead = self._ahead if blob.size > self._split_from else None
        return BlobReader(self._client, repository, blob, ahead).chunks(offset)

    def write(
        self, repository: str, blob: Descriptor, chunks: Iterable[bytes], *, mount_from: str = ""
    ) -> Written:
        """Put a blob into a repository: mounted where that can be, else sent (end-4, end-5, end-6, end-11).

        Raises:
            RegistryError: it is not there now; see the protocol.
        """
        if self.files and self.files.make_room(blob):
            mount_from = ""
        written = self._writer.write(repository, blob, chunks, mount_from)
        if blob.digest in self._hollow and not self.has(repository, blob.digest):
            # docker-distribution never replaces a file that is there.
            said = f"names blob {blob.digest} of {repository}, has not its bytes, and does not take them"
            if self.files and self.files.holds(blob.digest):
                said = f"{REMEMBERS} of blob {blob.digest} of {repository}"
            raise self._client.error(DigestMismatch, said)
        return written

    def put(self, repository: str, reference: str, manifest: Manifest) -> None:
        """Store a manifest; what it needs must be there (end-7).

        Raises:
            BlobUnknown: something that it needs is not there.
            Unsupported: the registry knows no such kind of manifest.
            DigestMismatch: it stored something else.
            RegistryError: anything else.
        """
        what = _named(repository, reference)
        headers = {"Content-Type": manifest.media_type, "Content-Length": str(len(manifest.body))}
        url = self._push_client.url(f"{repository}/manifests/{reference}")
        try:
            answer = self._push_client.ask("PUT", url, push_scope(repository), what, headers, manifest.body)
        except BlobUnknown as failure:
            if not manifest.foreign:
                raise
            # Nothing that could be brought is lacking: docker-distribution allows no URLs unless told to.
            said = f"refuses the foreign layers of {what}; validation.manifests.urls allows them ({failure})"
            raise self._push_client.error(Unsupported, said) from None
        stored = answer.headers.get("Docker-Content-Digest", manifest.digest)
        if not is_digest(stored) or not matches(manifest.body, stored):
            other = stored if is_digest(stored) else "something else"
            said = f"stored {what} as {other} instead of {manifest.digest}"
            raise self._push_client.error(DigestMismatch, said)
        self._demand_bytes(repository, stored, manifest)

    def _demand_bytes(self, repository: str, digest: str, manifest: Manifest) -> None:
        """See that a stored manifest has bytes: docker-distribution says 201 also where its file is empty.

        A full disk leaves such files. They are written anew where they are this host's, and told elsewhere.
        """
        if self.files:
            blob = Descriptor(manifest.digest, manifest.size)
            if self.files.make_room(blob) or not self.files.holds(digest):
                # It believes to have it, and has written a link alone; as a blob it takes it.
                self._writer.write(repository, blob, [manifest.body])
            return
        try:
            if not self._gives_soon(repository, digest):
                self.resolve(repository, digest)
        except (NotFound, ServerFailed) as failure:
            said = f"took manifest {digest} of {repository} and does not give it"
            how = "registry_sync.verify repair=True on its host mends that"
            raise self._client.error(DigestMismatch, f"{said} ({failure}); {how}") from failure

    def _gives_soon(self, repository: str, digest: str) -> bool:
        """Whether a manifest is given within moments: another who has just put it may be at its bytes yet."""
        url = self._client.url(f"{repository}/manifests/{digest}")
        for moment in (0.0, *MOMENTS):
            self.pace.run.sleep(moment)
            with contextlib.suppress(NotFound, Retryable):
                self._client.ask_once("HEAD", url, pull_scope(repository), _named(repository, digest), ACCEPT)
                return True
        return False

    def delete(self, repository: str, reference: str) -> None:
        """Forget a tag, or a manifest by its digest (end-9).

        Raises:
            NotFound: it is not there.
            Unsupported: the registry does not let it be deleted.
        """
        url = self._push_client.url(f"{repository}/manifests/{reference}")
        self._push_client.ask("DELETE", url, delete_scope(repository), _named(repository, reference))

    def lists_referrers(self, repository: str, digest: str) -> bool:
        """Whether the registry has the API for it, asked once (end-12a)."""
        return self._referrers.known(repository, digest)

    def referrers(self, repository: str, digest: str) -> list[Descriptor]:
        """Manifests whose ``subject`` is a manifest (end-12a), also where the registry only keeps the tag.

        https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema

        Raises:
            RegistryError: it could not be told.
        """
        if self.lists_referrers(repository, digest):
            return self._referrers.of(repository, digest)
        try:
            listed = listed_referrers(self.manifest(repository, fallback_tag(digest)), digest)
        except NotFound:
            return []
        if listed is None:
            what = f"{repository}:{fallback_tag(digest)}"
            raise self._client.error(Unsupported, f"has no list of referrers under {what}")
        return listed

    def close(self) -> None:
        """Cancel what a lost answer has left open."""
        self._writer.close()

    def _pages(
        self, path: str, scopes: tuple[str, ...], key: str, what: str, pages: int = PAGES
    ) -> Iterator[str]:
        """All entries of a list that comes in pages, each linking to the next (RFC 8288)."""
        url, count = self._client.url(path), 0
        for page in range(pages):
            try:
                answer = self._client.ask("GET", url, scopes, what, limit=LIST_LIMIT)
            except NotFound:
                if not page:
                    raise
                said = f"links to a next page of the list of {what} that is not there"
                raise self._client.error(Unsupported, said) from None
            names = self._names(answer, key)
            yield from names
            following = next_link(answer.headers)
            if following is None:
                return
            before, url = url, self._client.follow(url, following, f"continues the list of {what}")
            count += len(names)
            if url == before or count > NAMES_LIMIT:
                break
        raise self._client.error(Unsupported, f"gives an endless list of {what}")

    def _names(self, answer: Answer, key: str) -> list[str]:
        """The names in a list; what is none by the spec's grammar never gets into a URL of ours."""
        try:
            # A repository without tags has null for them.
            entries = json.loads(answer.body)[key] or []
        except (ValueError, TypeError, KeyError, RecursionError):
            entries = None
        if not isinstance(entries, list):
            raise self._client.error(Unsupported, f"answered no list of {key}; is it a registry?")
        is_name = is_repository if key == "repositories" else is_tag
        return [entry for entry in entries if isinstance(entry, str) and is_name(entry)]


def _named(repository: str, reference: str) -> str:
    return f"{repository}{'@' if is_digest(reference) else ':'}{reference}"
