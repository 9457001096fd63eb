"""Put one blob into a registry, in one attempt, and leave nothing behind where that fails.

docker-distribution cancels an upload only at the offset that its last answer has signed: of a request
that is cut in the middle nothing is left but bytes on its disk, until it purges them. So whatever
fails on our side, a request is brought to its end; what is small is whole and verified before it begins.
https://github.com/distribution/distribution/blob/v2.8.2/registry/handlers/blobupload.go
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterable, Iterator
from urllib.parse import quote, urlsplit

from _registry_http_client import Client, pull_scope, push_scope
from _registry_http_transport import CHUNK, Answer
from _registry_oci_errors import NotFound, RateLimited, RegistryError, Unreachable, Unsupported
from _registry_oci_manifest import Descriptor
from _registry_store_protocol import Written

# What is sent in one request: held in memory, by each worker.
SMALL_SIZE = 1024 * 1024
# Up to here a request says how long its body is, which costs both ends less than framing each chunk does.
KNOWN_SIZE = 32 * 1024 * 1024
# A commit to an object store copies the blob once more before it answers.
COMMIT_SECONDS = 600.0
NOTHING = {"Content-Length": "0"}
BYTES = {"Content-Type": "application/octet-stream"}


class BlobWriter:
    """Writes blobs to one registry.

    Args:
        client: the registry.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        # Uploads whose last answer was lost: they may be committed by now, or lie there.
        self._doubtful: dict[tuple[str, str], str] = {}
        self._mounts = True
        self._streams = True

    def write(
        self, repository: str, blob: Descriptor, chunks: Iterable[bytes], mount_from: str = ""
    ) -> Written:
        """Mount a blob where that can be, else send it.

        Args:
            repository: where to.
            blob: digest and size in bytes.
            chunks: its bytes, iterated only where they must be sent.
            mount_from: a repository of this registry that has it.

        Raises:
            RegistryError: as ``chunks`` raised, or as the registry answered.
        """
        self._forget_doubtful(repository, blob)
        mounted, upload = self._mount(repository, blob, mount_from) if mount_from else (False, "")
        if mounted:
            return Written.MOUNTED
        if blob.size <= SMALL_SIZE or not self._streams:
            self._send_whole(repository, blob, chunks, upload)
        else:
            self._send_streamed(repository, blob, chunks, upload)
        return Written.COPIED

    def close(self) -> None:
        """Cancel what lost answers have left open."""
        while self._doubtful:
            (repository, _), url = self._doubtful.popitem()
            self._cancel(repository, url)

    def _mount(self, repository: str, blob: Descriptor, origin: str) -> tuple[bool, str]:
        """Ask for a mount (end-11).

        Returns:
            Whether it is done, and the upload that the registry may have begun instead.
        """
        if not self._mounts:
            return False, ""
        path = f"{repository}/blobs/uploads/?mount={quote(blob.digest)}&from={quote(origin, safe='')}"
        scopes = (*push_scope(repository), *pull_scope(origin))
        what = f"blob {blob.digest} of {repository}"
        try:
            answer = self._client.ask_once("POST", self._client.url(path), scopes, what, NOTHING)
            return (True, "") if answer.status == 201 else (False, self._upload_url(answer))
        except RateLimited:
            raise
        except (NotFound, Unsupported):
            # zuul-registry knows no mounts and has 404 for the parameters.
            self._mounts = False
        except RegistryError:
            # Whatever it suffers from, the blob can be sent.
            pass
        return False, ""

    def _send_whole(self, repository: str, blob: Descriptor, chunks: Iterable[bytes], upload: str) -> None:
        """Send a blob in one request (end-4a, end-6)."""
        try:
            body = list(chunks) if blob.size <= SMALL_SIZE else chunks
            upload = upload or self._begin(repository)
            self._commit(repository, upload, blob, body)
        except RegistryError as failure:
            self._clean_up(repository, blob, upload, failure)
            raise

    def _send_streamed(self, repository: str, blob: Descriptor, chunks: Iterable[bytes], upload: str) -> None:
        """Send a blob in one request, which ends well whatever fails, and commit it."""
        known = blob.size if blob.size <= KNOWN_SIZE else 0
        body = _UntilFailure(chunks, fill_up_to=known)
        try:
            # Nothing is begun before there is something to send.
            body.wait_for_the_first()
            upload = upload or self._begin(repository)
            upload = self._append(repository, upload, blob, body, known)
            if body.failure:
                raise body.failure
        except RegistryError as failure:
            if upload:
                self._cancel(repository, upload)
            raise body.failure or failure from None
        try:
            self._commit(repository, upload, blob)
        except RegistryError as failure:
            self._clean_up(repository, blob, upload, failure)
            raise

    def _begin(self, repository: str) -> str:
        url = self._client.url(f"{repository}/blobs/uploads/")
        return self._upload_url(
            self._client.ask_once("POST", url, push_scope(repository), f"an upload to {repository}", NOTHING)
        )

    def _append(
        self, repository: str, upload: str, blob: Descriptor, body: Iterable[bytes], size: int
    ) -> str:
        """Send bytes, whose number need not be known (end-5); the URL to go on with."""
        what = f"blob {blob.digest} of {repository}"
        headers = {**BYTES, "Content-Length": str(size)} if size else BYTES
        try:
            return self._upload_url(
                self._client.ask_once("PATCH", upload, push_scope(repository), what, headers, body)
            )
        except (NotFound, Unsupported) as failure:
            self._streams = False
            said = f"takes no streamed uploads ({failure}); blobs go in one request from now on"
            raise self._client.error(Unreachable, said) from None

    def _commit(
        self, repository: str, upload: str, blob: Descriptor, body: Iterable[bytes] | None = None
    ) -> None:
        joint = "&" if urlsplit(upload).query else "?"
        size = 0 if body is None else blob.size
        self._client.ask_once(
            "PUT",
            f"{upload}{joint}digest={quote(blob.digest)}",
            push_scope(repository),
            f"blob {blob.digest} of {repository}",
            {**BYTES, "Content-Length": str(size)},
            body if body is not None and size else b"",
            read_timeout=COMMIT_SECONDS,
        )

    def _upload_url(self, answer: Answer) -> str:
        """The Location of an upload; it may be relative and has a query string of its own."""
        location = answer.headers.get("Location", "")
        if not location:
            raise self._client.error(Unsupported, "began an upload but did not say where")
        return self._client.follow(answer.url, location, "wants uploads sent")

    def _clean_up(self, repository: str, blob: Descriptor, upload: str, failure: RegistryError) -> None:
        """Cancel an upload, unless it may have been committed: whoever copies looks for the blob first."""
        if not upload:
            return
        if isinstance(failure, Unreachable) and failure.side == self._client.endpoint.side:
            with self._lock:
                self._doubtful[repository, blob.digest] = upload
        else:
            self._cancel(repository, upload)

    def _forget_doubtful(self, repository: str, blob: Descriptor) -> None:
        with self._lock:
            url = self._doubtful.pop((repository, blob.digest), "")
        if url:
            self._cancel(repository, url)

    def _cancel(self, repository: str, url: str) -> None:
        """Have the registry forget an upload, also when the run is to stop; it is no harm where it cannot."""
        with contextlib.suppress(RegistryError):
            self._client.open("DELETE", url, push_scope(repository), "an upload").close()


class _UntilFailure:
    """Chunks that end where they fail; the failure is kept.

    Args:
        chunks: of a body.
        fill_up_to: bytes that the body was said to have: zeros take the place of what does not come.
    """

    def __init__(self, chunks: Iterable[bytes], *, fill_up_to: int = 0) -> None:
        self.failure: RegistryError | None = None
        self._left = fill_up_to
        self._chunks = iter(chunks)
        self._first: list[bytes] = []

    def wait_for_the_first(self) -> None:
        """Wait until there is a chunk.

        Raises:
            RegistryError: there will be none.
        """
        self._first = list(itertools.islice(self._chunks, 1))

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in itertools.chain(self._first, self._chunks):
                self._left -= len(chunk)
                yield chunk
        except RegistryError as failure:
            self.failure = failure
        while self._left > 0:
            filler = bytes(min(self._left, CHUNK))
            self._left -= len(filler)
            yield filler
