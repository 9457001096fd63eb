"""Tags that repositories of upstream have, each list read once a run, whoever wants it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable

from _registry_oci_errors import RegistryError, Stopped, Unsupported
from _registry_store_protocol import Store

log = logging.getLogger(__name__)

# Of a longer list, names are asked for one by one instead.
PAGES = 10


class Listings:
    """The lists of one run.

    Args:
        source: gives the store that a key of the image list means.
    """

    def __init__(self, source: Callable[[Hashable], Store]) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._whole: dict[tuple[Hashable, str], list[str]] = {}
        self._failed: set[tuple[Hashable, str]] = set()
        self._warned: set[Hashable] = set()

    def tags(self, key: Hashable, repository: str) -> list[str]:
        """Every tag of a repository, sorted.

        Raises:
            RegistryError: it has none, or they are not told.
        """
        known = self._whole.get((key, repository))
        if known is None:
            known = self._whole[key, repository] = self._source(key).tags(repository)
        return known

    def few(self, key: Hashable, repository: str) -> list[str] | None:
        """Every tag of a repository, or None where the list is long or the registry does not give it."""
        place = key, repository
        if place not in self._whole and place not in self._failed:
            try:
                store = self._source(key)
            except RegistryError:
                return None
            try:
                self._whole[place] = store.tags(repository, pages=PAGES)
            except Stopped:
                raise
            except RegistryError as failure:
                self._failed.add(place)
                self._warn(key, failure)
        return self._whole.get(place)

    def _warn(self, key: Hashable, failure: RegistryError) -> None:
        """Say once a registry that it gives no lists; that one is too long is nothing to worry about."""
        if isinstance(failure, Unsupported):
            return
        with self._lock:
            first = key not in self._warned
            self._warned.add(key)
        if first:
            log.warning("%s; what is attached to its images is asked for name by name", failure)
