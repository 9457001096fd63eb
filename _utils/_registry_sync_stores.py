"""The two sides of one run: the store that is kept, and those it is filled from."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from _registry_config_values import Settings
from _registry_http_endpoint import Endpoint
from _registry_http_retry import Health, Pace, Run
from _registry_oci_errors import RegistryError
from _registry_oci_manifest import Descriptor
from _registry_store_protocol import Store
from _registry_store_read_ahead import RangesAhead
from _registry_store_remote import RemoteStore
from _registry_sync_jobs import in_parallel
from _registry_sync_listings import Listings
from _registry_sync_own_files import own_files

Item = TypeVar("Item")
Result = TypeVar("Result")

# Lookups are small: on a far line they only wait, on a near one more threads only cost.
FAR_SECONDS = 0.01
LOOKUPS_NEAR = 4
LOOKUPS_FAR = 32
# Of a first look, whose questions do not wait for one another's answers; those for a token do.
CONNECTIONS_NEAR = 2
CONNECTIONS_FAR = 16
# Threads that fetch parts of large blobs on a far line; a run that is killed loses what each has.
READERS_AHEAD = 12


class Stores:
    """The target and every source of one run.

    Args:
        run: what their workers share.
        target: is filled.
        sources: are read, by what the image list names them with.
    """

    def __init__(self, run: Run, target: Store, sources: Mapping[Hashable, Store]) -> None:
        self.run = run
        self.target = target
        self.listings = Listings(self.source)
        self._sources = dict(sources)
        self._failures: dict[Hashable, RegistryError] = {}
        self._connected: set[Hashable] = set()
        self._healths: dict[int, Health] = {}
        self._ahead: RangesAhead | None = None

    @property
    def far(self) -> bool:
        """Whether the round-trips to a source are what takes the time, as far as it has answered yet."""
        return any(_distance(source) > FAR_SECONDS for source in self._reachable())

    def source(self, key: Hashable) -> Store:
        """A source that answered when it was connected to.

        Raises:
            RegistryError: why it did not.
        """
        if key in self._failures:
            raise self._failures[key]
        return self._sources[key]

    def connect(self, keys: Iterable[Hashable]) -> None:
        """Ask every source once whether it is there, and log in."""
        new = [key for key in dict.fromkeys(keys) if key not in self._connected]
        for key, failure in zip(new, self.map_target(self._why_not, new), strict=True):
            self._connected.add(key)
            if failure:
                self._failures[key] = failure

    def connect_target(self) -> None:
        """Ask the target whether it is there, and log in.

        Raises:
            RegistryError: why it is not.
        """
        if isinstance(self.target, RemoteStore):
            self.target.ping()

    def map_sources(self, lookup: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Look up every item in sources, so many at a time as their distance asks for."""
        workers = LOOKUPS_FAR if self.far else LOOKUPS_NEAR
        return in_parallel(lookup, items, workers, self.run.stopping)

    def map_target(self, lookup: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Look up every item in the target, so many at a time as a store near by answers best."""
        return in_parallel(lookup, items, LOOKUPS_NEAR, self.run.stopping)

    def resolve_target(self, names: Sequence[tuple[str, str]]) -> list[Descriptor | None]:
        """What tags of the target stand for, by a first look.

        Args:
            names: repository and tag of each.

        Returns:
            A descriptor for each, None where it is not told.
        """
        return self._resolve_many(self.target, names)

    def resolve_sources(self, names: Sequence[tuple[Hashable, str, str]]) -> list[Descriptor | None]:
        """What tags of sources stand for, by a first look.

        Args:
            names: of each the key of its source, repository and tag.

        Returns:
            A descriptor for each, None where it is not told.
        """
        by_source: dict[Hashable, list[int]] = {}
        for position, (key, *_) in enumerate(names):
            by_source.setdefault(key, []).append(position)
        told: list[Descriptor | None] = [None] * len(names)
        for key, positions in by_source.items():
            if key not in self._failures:
                asked = [names[position][1:] for position in positions]
                found = self._resolve_many(self._sources[key], asked)
                for position, descriptor in zip(positions, found, strict=True):
                    told[position] = descriptor
        return told

    def _resolve_many(self, store: Store, names: Sequence[tuple[str, str]]) -> list[Descriptor | None]:
        """Over as many connections as the distance asks for."""
        workers = CONNECTIONS_FAR if _distance(store) > FAR_SECONDS else CONNECTIONS_NEAR
        share = max(1, -(-len(names) // workers))
        shares = [names[start : start + share] for start in range(0, len(names), share)]
        told = in_parallel(store.resolve_many, shares, workers, self.run.stopping)
        return [descriptor for part in told for descriptor in part]

    def run_both(self, one: Callable[[], Result], other: Callable[[], Item]) -> tuple[Result, Item]:
        """Read two sides at the same time: one is busy while the other waits for round-trips."""
        sides: list[Callable[[], Any]] = [one, other]
        first, second = in_parallel(lambda read: read(), sides, 2, self.run.stopping)
        return first, second

    def health_of(self, store: Store) -> Health:
        """Whether a store answers, as all workers have seen it."""
        if isinstance(store, RemoteStore):
            return store.pace.health
        return self._healths.setdefault(id(store), Health(self.run.transfer.retries))

    def read_ahead(self, workers: int, larger_than: int, directory: str) -> None:
        """Have far sources read large blobs over several connections at a time.

        Args:
            workers: how many, up to a bound.
            larger_than: bytes that a blob must have.
            directory: where what came ahead waits; empty = where temporary files are.
        """
        self._ahead = RangesAhead(min(workers, READERS_AHEAD), directory)
        for source in self._reachable():
            if isinstance(source, RemoteStore) and source.distance > FAR_SECONDS:
                source.read_ahead(self._ahead, larger_than)

    def close(self) -> None:
        """End threads, and cancel what a lost answer has left open."""
        if self._ahead:
            self._ahead.close()
        if isinstance(self.target, RemoteStore):
            self.target.close()

    def _reachable(self) -> list[Store]:
        return [self._sources[key] for key in self._connected - self._failures.keys()]

    def _why_not(self, key: Hashable) -> RegistryError | None:
        source = self._sources[key]
        try:
            if isinstance(source, RemoteStore):
                source.ping()
        except RegistryError as failure:
            return failure
        except Exception as failure:  # noqa: BLE001 - whatever it is, the images of other sources go on
            return RegistryError(f"{source}: {failure or type(failure).__name__}", side=source.side)
        return None


def open_stores(settings: Settings, run: Run, storage: str = "") -> Stores:
    """The registries of a pillar; none is asked yet.

    Args:
        settings: which.
        run: what their workers share.
        storage: the directory in which the local registry keeps its images; empty = it is not of this host.
    """
    connections = max(LOOKUPS_FAR, settings.transfer.parallel)

    def registry(endpoint: Endpoint) -> RemoteStore:
        return RemoteStore(endpoint, Pace(run), connections=connections)

    sources: dict[Hashable, Store] = {endpoint: registry(endpoint) for endpoint in settings.upstreams}
    target = registry(settings.local)
    target.files = own_files(storage)
    return Stores(run, target, sources)


def _distance(store: Store) -> float:
    return store.distance if isinstance(store, RemoteStore) else 0.0
