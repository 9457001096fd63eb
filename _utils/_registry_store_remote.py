"""One registry over HTTP, as the distribution-spec has it.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from _registry_config_values import Endpoint
from _registry_http_auth import Authorizer
from _registry_http_credentials import Keyring
from _registry_http_errors import refusal
from _registry_http_retry import Pace
from _registry_http_transport import ANSWER_LIMIT, Answer, Http, Stream, allowance, retry_after
from _registry_oci_errors import (
    DigestMismatch,
    NotFound,
    RegistryError,
    Unreachable,
    Unsupported,
    Untrusted,
)
from _registry_oci_manifest import (
    ACCEPTED,
    MANIFEST_LIMIT,
    Descriptor,
    Manifest,
    ModelError,
    digest_of,
    is_digest,
    is_repository,
    is_tag,
    read_manifest,
)

ACCEPT = {"Accept": ", ".join(ACCEPTED)}
# docker-distribution refuses more than 1000 from 2.8.2 on, and gives 100 where nothing is said.
PAGE = 1000
PAGES = 10_000
LIST_LIMIT = 16 * 1024 * 1024
# Ten times what the largest public repositories have.
NAMES_LIMIT = 1_000_000
# A commit to an object store copies the blob once more before it answers.
COMMIT_SECONDS = 600.0


@dataclass(frozen=True)
class Head:
    """What a registry says of a manifest without sending it."""

    digest: str
    media_type: str


class Registry:
    """One registry.

    Args:
        endpoint: where it is and who we are there.
        pace: how fast it may be asked.
        connections: how many are kept open.
    """

    def __init__(self, endpoint: Endpoint, pace: Pace, *, connections: int = 8) -> None:
        self.endpoint = endpoint
        self.pace = pace
        self.sends_ranges = True
        self._logged_in = False
        self._http = Http(endpoint, connections=connections)
        self._authorizer = Authorizer(endpoint, Keyring(endpoint), self._http)

    def __str__(self) -> str:
        return str(self.endpoint)

    @property
    def distance(self) -> float:
        """Seconds that its fastest answer took: a busy machine is slow now and then, a far one always."""
        return self._http.fastest

    def ping(self) -> None:
        """Ask whether this is a registry at all, how it wants to be asked, and log in where we can.

        Raises:
            Unauthorized: our login is no good there.
            RegistryError: it is not reachable, or is something else.
        """
        self.pace.attempt(self._ping)

    def _ping(self) -> None:
        answer = self._http.ask("GET", self._url(""), {})
        if answer.status == 401:
            self._log_in(answer)
        elif answer.status >= 500 or answer.status == 429:
            raise Unreachable(f"{self} answered {answer.status}", retry_after(answer.headers))
        elif answer.status != 200:
            raise Unsupported(f"{self} is no registry: {answer.status} at {self._url('')}")

    def _log_in(self, answer: Answer) -> None:
        """Show our login once, as ``docker login`` does.

        A wrong password is so refused once and not for each image: too many tries lock an account.
        """
        if self._logged_in or not self._challenged(answer, (), {}):
            return
        if self._authorizer.credentials(()):
            self._open("GET", self._url(""), (), "our login", {}).whole(ANSWER_LIMIT)
        self._logged_in = True

    def catalog(self) -> list[str]:
        """Every repository, sorted.

        Raises:
            RegistryError: also where the registry keeps no catalog, as many upstreams do.
        """
        return sorted(
            self._pages(f"_catalog?n={PAGE}", ("registry:catalog:*",), "repositories", "its catalog")
        )

    def first_repository(self) -> str:
        """One repository's name, or an empty string where there is none."""
        answer = self._ask("GET", self._url("_catalog?n=1"), ("registry:catalog:*",), "its catalog")
        names = self._names(answer, "repositories")
        return names[0] if names else ""

    def tags(self, repository: str) -> list[str]:
        """Every tag of a repository, sorted.

        Raises:
            NotFound: there is no such repository.
            RegistryError: anything else.
        """
        path = f"{repository}/tags/list?n={PAGE}"
        return sorted(set(self._pages(path, _pull(repository), "tags", repository)))

    def head(self, repository: str, reference: str) -> Head:
        """The digest of a tag, without counting as a pull.

        Args:
            repository: its name.
            reference: a tag or digest.

        Raises:
            NotFound: it is not there.
            RegistryError: anything else.
        """
        path, what = f"{repository}/manifests/{reference}", _named(repository, reference)
        answer = self._ask("HEAD", self._url(path), _pull(repository), what, ACCEPT)
        digest = answer.headers.get("Docker-Content-Digest", "")
        if not is_digest(digest):
            # The header is optional in the spec; the body is what it would name.
            manifest = self.manifest(repository, reference)
            return Head(manifest.digest, manifest.media_type)
        return Head(digest, answer.headers.get("Content-Type", ""))

    def manifest(self, repository: str, reference: str) -> Manifest:
        """A manifest, byte for byte, its digest checked where the reference or the registry gives one.

        Raises:
            NotFound: it is not there.
            DigestMismatch: the bytes are others than named.
            Unsupported: it is of a kind that cannot be mirrored.
            RegistryError: anything else.
        """
        path, what = f"{repository}/manifests/{reference}", _named(repository, reference)
        try:
            answer = self._ask("GET", self._url(path), _pull(repository), what, ACCEPT, limit=MANIFEST_LIMIT)
            manifest = read_manifest(answer.body, answer.headers.get("Content-Type", ""))
        except ModelError as failure:
            raise Unsupported(f"{self}: {what}: {failure}") from None
        named = reference if is_digest(reference) else answer.headers.get("Docker-Content-Digest", "")
        if is_digest(named) and digest_of(answer.body) != named:
            raise DigestMismatch(f"{self}: the manifest of {what} is not what its digest {named} says")
        return manifest

    def put_manifest(self, repository: str, reference: str, manifest: Manifest) -> None:
        """Store a manifest; what it needs must be there.

        Raises:
            Unsupported: the registry knows no such kind of manifest.
            DigestMismatch: it stored something else.
            RegistryError: anything else.
        """
        what = _named(repository, reference)
        answer = self._ask(
            "PUT",
            self._url(f"{repository}/manifests/{reference}"),
            _push(repository),
            what,
            {"Content-Type": manifest.media_type, "Content-Length": str(len(manifest.body))},
            manifest.body,
        )
        stored = answer.headers.get("Docker-Content-Digest", manifest.digest)
        if stored != manifest.digest:
            other = stored if is_digest(stored) else "something else"
            raise DigestMismatch(f"{self} stored {what} as {other} instead of {manifest.digest}")

    def has_blob(self, repository: str, digest: str) -> bool:
        """Whether a blob is in a repository.

        Raises:
            RegistryError: it could not be told.
        """
        try:
            self._ask("HEAD", self._url(f"{repository}/blobs/{digest}"), _pull(repository), digest)
        except NotFound:
            return False
        return True

    def open_blob(
        self, repository: str, digest: str, first: int = 0, last: int | None = None, *, shortcut: str = ""
    ) -> Stream:
        """A blob's bytes, or those from one offset to another.

        Args:
            repository: where it is.
            digest: of the whole blob.
            first: offset of the first byte.
            last: offset of the last byte; None = to the end.
            shortcut: where an earlier request for this blob was redirected to.

        Returns:
            A stream with status 206, or 200 where the registry sends everything whatever was asked.

        Raises:
            NotFound: there is no such blob.
            RegistryError: anything else.
        """
        asks_for_part = bool(first) or last is not None
        headers = {"Range": f"bytes={first}-{'' if last is None else last}"} if asks_for_part else {}
        url, what = self._url(f"{repository}/blobs/{digest}"), f"blob {digest} of {repository}"
        stream = self._by_shortcut(shortcut, headers) or self.pace.attempt(
            lambda: self._open("GET", url, _pull(repository), what, headers)
        )
        if asks_for_part:
            self.sends_ranges = stream.status == 206
        return stream

    def leads_away(self, stream: Stream) -> str:
        """Where a stream came from if that is a store of blobs elsewhere; empty = the registry itself."""
        return "" if self._http.is_same_origin(stream.url) else stream.url

    def _by_shortcut(self, url: str, headers: Mapping[str, str]) -> Stream | None:
        """What a store of blobs gives without the registry being asked; its signatures end one day."""
        if not url:
            return None
        try:
            stream = self._http.open("GET", url, headers)
        except RegistryError:
            return None
        if stream.status in (200, 206):
            return stream
        stream.close()
        return None

    def mount_blob(self, repository: str, digest: str, origin: str) -> str:
        """Make a blob of one repository known in another, without sending it.

        Returns:
            An empty string where it is done, else the URL of an upload that the registry began
            instead, as the spec allows.

        Raises:
            RegistryError: neither happened.
        """
        path = f"{repository}/blobs/uploads/?mount={quote(digest)}&from={quote(origin, safe='')}"
        scopes = (*_push(repository), *_pull(origin))
        what = f"blob {digest} of {repository}"
        try:
            answer = self._ask("POST", self._url(path), scopes, what, {"Content-Length": "0"})
        except (NotFound, Unsupported):
            # zuul-registry knows no mounts and has 404 for the parameters.
            return self.start_upload(repository)
        return "" if answer.status == 201 else self._upload_url(answer)

    def start_upload(self, repository: str) -> str:
        """Begin an upload.

        Returns:
            The URL to send to.
        """
        path = f"{repository}/blobs/uploads/"
        headers = {"Content-Length": "0"}
        return self._upload_url(self._ask("POST", self._url(path), _push(repository), repository, headers))

    def append_to_upload(self, repository: str, url: str, piece: list[bytes], offset: int) -> str:
        """Send the next bytes of an upload; what comes later goes into another request.

        Args:
            repository: where the upload was begun.
            url: of the upload, as the last answer gave it.
            piece: the bytes, in chunks.
            offset: how many the registry has already.

        Returns:
            The URL to go on with.
        """
        size = sum(map(len, piece))
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size),
            "Content-Range": f"{offset}-{offset + size - 1}",
        }
        what = f"a blob of {repository}"
        stream = self._open("PATCH", url, _push(repository), what, headers, piece)
        return self._upload_url(stream.whole(ANSWER_LIMIT))

    def stream_to_upload(self, repository: str, url: str, chunks: Iterable[bytes]) -> str:
        """Send so many of an upload's next bytes as come; what comes later goes into another request.

        Args:
            repository: where the upload was begun.
            url: of the upload, as the last answer gave it.
            chunks: the bytes; their number need not be known.

        Returns:
            The URL to go on with.
        """
        headers = {"Content-Type": "application/octet-stream"}
        stream = self._open("PATCH", url, _push(repository), f"a blob of {repository}", headers, chunks)
        return self._upload_url(stream.whole(ANSWER_LIMIT))

    def upload_offset(self, repository: str, url: str) -> int:
        """How many bytes the registry has of an upload; -1 where it knows no such upload any more."""
        try:
            answer = self._open("GET", url, _push(repository), "upload", {}).whole(ANSWER_LIMIT)
            return int(answer.headers.get("Range", "").rpartition("-")[2]) + 1
        except (RegistryError, ValueError):
            return -1

    def finish_upload(
        self, repository: str, url: str, blob: Descriptor, chunks: Iterable[bytes] | None = None
    ) -> None:
        """Have an upload verified by the registry and kept.

        Args:
            repository: where the upload was begun.
            url: of the upload.
            blob: digest and size in bytes.
            chunks: all bytes of the blob; None where they have been sent before.

        Raises:
            DigestMismatch: the registry found another digest.
            NoSpace: its disk is full.
            RegistryError: anything else.
        """
        joint = "&" if urlsplit(url).query else "?"
        size = 0 if chunks is None else blob.size
        self._open(
            "PUT",
            f"{url}{joint}digest={quote(blob.digest)}",
            _push(repository),
            f"blob {blob.digest} of {repository}",
            {"Content-Type": "application/octet-stream", "Content-Length": str(size)},
            chunks if size else b"",
            patience=COMMIT_SECONDS,
        ).whole(ANSWER_LIMIT)

    def cancel_upload(self, repository: str, url: str) -> None:
        """Tell the registry to forget an upload; it is no harm where it cannot."""
        # The registry purges forgotten uploads by itself, docker-distribution after a week.
        with contextlib.suppress(RegistryError):
            self._open("DELETE", url, _push(repository), "upload", {}).whole(ANSWER_LIMIT)

    def _url(self, path: str) -> str:
        return f"{self.endpoint.url}/v2/{path}"

    def _upload_url(self, answer: Answer) -> str:
        """The Location of an upload; it may be relative and has a query string of its own."""
        location = answer.headers.get("Location", "")
        if not location:
            raise Unsupported(f"{self} began an upload but did not say where")
        return self._followed(answer.url, location, "wants uploads sent")

    def _followed(self, url: str, target: str, what: str) -> str:
        """Where a header of the registry leads, if that is the registry itself."""
        try:
            followed = urljoin(url, target)
        except ValueError:
            followed = ""
        if not self._http.is_same_origin(followed):
            raise Untrusted(f"{self} {what} to another scheme or host than its own; refused")
        return followed

    def _ask(
        self,
        method: str,
        url: str,
        scopes: tuple[str, ...],
        what: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        limit: int = ANSWER_LIMIT,
    ) -> Answer:
        """A request that is tried again where that may help, and its whole answer."""
        return self.pace.attempt(
            lambda: self._open(method, url, scopes, what, headers or {}, body).whole(limit)
        )

    def _open(
        self,
        method: str,
        url: str,
        scopes: tuple[str, ...],
        what: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None = None,
        **options: float,
    ) -> Stream:
        """One request, after authorization, with every status that is no success raised."""
        if not self._http.is_same_origin(url):
            raise Untrusted(f"{self}: {what} lies at another host than its own; refused")
        for last in (False, True):
            known = self._authorizer.header(scopes)
            stream = self._http.open(method, url, {**headers, **known}, body, **options)
            self._heed(stream)
            again = stream.status == 401 and self._challenged(stream, scopes, known)
            if last or not again:
                break
            stream.close()
            if not (body is None or isinstance(body, (bytes, list))):
                # What a generator has given cannot be sent again: its caller begins anew.
                raise Unreachable(f"{self} asks again who we are before it takes {what}")
        if stream.status < 300:
            return stream
        shown = str(self._authorizer.credentials(scopes)) if stream.status in (401, 403) else ""
        raise refusal(stream, str(self), method, what, shown=shown, by_name=bool(scopes))

    def _heed(self, stream: Stream) -> None:
        left = allowance(stream.headers)
        if left is not None:
            self.pace.spread(*left)

    def _challenged(self, answer: Answer | Stream, scopes: tuple[str, ...], sent: Mapping[str, str]) -> bool:
        """Whether a 401 is worth another try; one of a host that we were redirected to is not."""
        challenge = answer.headers.get("WWW-Authenticate", "")
        return self._http.is_same_origin(answer.url) and self._authorizer.challenged(challenge, scopes, sent)

    def _pages(self, path: str, scopes: tuple[str, ...], key: str, what: str) -> Iterator[str]:
        """All entries of a list that comes in pages, each linking to the next (RFC 5988)."""
        url, count = self._url(path), 0
        for _ in range(PAGES):
            answer = self._ask("GET", url, scopes, what, limit=LIST_LIMIT)
            names = self._names(answer, key)
            yield from names
            following = _next_link(answer.headers.get("Link", ""))
            if not following:
                return
            before, url = url, self._followed(url, following, f"continues the list of {what}")
            count += len(names)
            if url == before or count > NAMES_LIMIT:
                break
        raise Unsupported(f"{self} gives an endless list of {what}")

    def _names(self, answer: Answer, key: str) -> list[str]:
        """The names in a list; what is none by the spec's grammar never gets into a URL of ours."""
        try:
            entries = json.loads(answer.body).get(key) or []
        except (ValueError, AttributeError, RecursionError):
            entries = None
        if not isinstance(entries, list):
            raise Unsupported(f"{self} answered no list of {key}; is it a registry?")
        is_name = is_repository if key == "repositories" else is_tag
        return [entry for entry in entries if isinstance(entry, str) and is_name(entry)]


def _pull(repository: str) -> tuple[str, ...]:
    return (f"repository:{repository}:pull",)


def _push(repository: str) -> tuple[str, ...]:
    return (f"repository:{repository}:pull,push",)


def _named(repository: str, reference: str) -> str:
    return f"{repository}{'@' if is_digest(reference) else ':'}{reference}"


def _next_link(header: str) -> str:
    """The target of ``<…>; rel="next"``."""
    target, _, parameters = header.partition(">")
    return target.strip().lstrip("<") if "next" in parameters else ""
