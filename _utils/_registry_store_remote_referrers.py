"""The API by which a registry tells what refers to a manifest, where it has one.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
"""

from __future__ import annotations

import logging
import threading

from _registry_http_client import Client, pull_scope
from _registry_http_transport import Answer
from _registry_oci_errors import NotFound, RegistryError, Retryable, Stopped, Unauthorized, Unsupported
from _registry_oci_manifest import MANIFEST_LIMIT, OCI_INDEX, Descriptor, ManifestError
from _registry_oci_referrers import read_list
from _registry_store_remote_links import next_link

log = logging.getLogger(__name__)

# Of the descriptors of one subject; nothing real has so many.
PAGES = 1000


class ReferrersApi:
    """What one registry's API says of referrers.

    Args:
        client: to ask it with.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._is_there: bool | None = None

    def known(self, repository: str, digest: str) -> bool:
        """Whether there is such an API: asked once, by what is surely there.

        Whatever else a registry answers means that it has none: 404 by the spec, 400 or 406 by some, and by
        those that hide what they do not know 401 or 403.
        """
        with self._lock:
            if self._is_there is None:
                self._is_there = self._probe(repository, digest)
            return self._is_there

    def of(self, repository: str, digest: str) -> list[Descriptor]:
        """All that refers to a manifest, page by page.

        Raises:
            RegistryError: it could not be told.
        """
        what = f"referrers of {repository}@{digest}"
        url = self._client.url(f"{repository}/referrers/{digest}")
        found: list[Descriptor] = []
        for page in range(PAGES):
            try:
                answer = self._ask(url, repository, what)
            except NotFound:
                if page:
                    raise
                # Against the spec, for a manifest that nothing refers to.
                return []
            try:
                found += read_list(answer.body)
            except ManifestError as failure:
                raise self._client.error(Unsupported, f"{what}: {failure}", ":") from None
            following = next_link(answer.headers)
            if following is None:
                return found
            before, url = url, self._client.follow(url, following, f"continues the list of {what}")
            if url == before:
                break
        raise self._client.error(Unsupported, f"gives an endless list of {what}")

    def _ask(self, url: str, repository: str, what: str) -> Answer:
        return self._client.ask(
            "GET", url, pull_scope(repository), what, {"Accept": OCI_INDEX}, limit=MANIFEST_LIMIT
        )

    def _probe(self, repository: str, digest: str) -> bool:
        url = self._client.url(f"{repository}/referrers/{digest}")
        try:
            answer = self._ask(url, repository, "referrers")
        except Stopped:
            raise
        except (NotFound, Unauthorized, Unsupported):
            return False
        except RegistryError as failure:
            if isinstance(failure, Retryable):
                log.warning("%s; it is taken for one without an API for referrers", failure)
            return False
        kind = answer.headers.get("Content-Type", "").split(";")[0].strip().lower()
        return bool(kind == OCI_INDEX)
