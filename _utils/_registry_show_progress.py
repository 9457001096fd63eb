"""Count how far a run has come, and tell whoever listens.

Workers only count; a thread of its own tells, so that a slow listener slows nothing down. Nothing
that goes wrong in telling reaches the run.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from _registry_oci_manifest import Descriptor

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
# What was not told so long after the run has ended is not told at all.
LAST_WORD_SECONDS = 3.0
FAILED = "failed"


class TagResult(NamedTuple):
    """A tag that is done with: ``repository:tag``, and how it stands in the report."""

    name: str
    status: str
    cause: str = ""
    error: str = ""


class BlobStatus(NamedTuple):
    """A blob that is under way: whose it is, its digest and bytes, and how many of them have come."""

    repository: str
    digest: str
    size: int
    come: int = 0

    @property
    def percent(self) -> int:
        """How much of it has come; below 100 while the registry has not confirmed it."""
        return min(99, 100 * self.come // self.size) if self.size else 0


@dataclass(frozen=True)
class State:
    """How far a run has come.

    Args:
        tags: tags to move.
        blobs: blobs to copy.
        size: their bytes.
        moved: bytes that came so far; what is sent again after a broken line counts again.
        landed: tags that are done with, failed ones included.
        failed: tags that failed.
        seconds: since the copying began.
        ended: nothing will follow.
        flying: blobs under way, the largest first.
    """

    tags: int
    blobs: int
    size: int
    moved: int = 0
    landed: int = 0
    failed: int = 0
    seconds: float = 0.0
    ended: bool = False
    flying: tuple[BlobStatus, ...] = ()

    @property
    def rate(self) -> float:
        """Bytes a second since the beginning."""
        return self.moved / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at this rate; None where that cannot be told yet."""
        return max(0.0, self.size - self.moved) / self.rate if self.rate else None


class Sink(Protocol):
    """Where progress is told; every call comes from the same thread."""

    def __call__(self, state: State, landings: Sequence[TagResult]) -> None:
        """Tell the state, and the tags that landed since the last call.

        The last call has ``state.ended``. A sink that raises is not called again.
        """
        ...


class BlobProgress:
    """Counts the bytes of one blob that is under way, from any thread.

    Args:
        blob: what it is, with nothing of it here yet.
        count: is told the bytes too, for the whole run.
        lock: of the run.
    """

    def __init__(self, blob: BlobStatus, count: Callable[[int], None], lock: threading.Lock) -> None:
        self._blob = blob
        self._come = blob.come
        self._count = count
        self._lock = lock

    def restart(self, offset: int = 0) -> None:
        """Begin, or begin again, with so many bytes there already."""
        with self._lock:
            self._come = offset

    def received(self, size: int) -> None:
        """Count bytes that came from upstream; called for every chunk."""
        with self._lock:
            self._come += size
            self._count(size)

    @property
    def now(self) -> BlobStatus:
        """How far it has come."""
        return self._blob._replace(come=self._come)


class BlobTracker(Protocol):
    """Whoever is told what is under way."""

    def __call__(self, repository: str, blob: Descriptor) -> contextlib.AbstractContextManager[BlobProgress]:
        """A blob is under way into a repository for as long as the context lasts."""
        ...


class Progress:
    """Counts what the workers of one run do, and tells it.

    Args:
        sinks: where to.
        tick: seconds between two tellings.
    """

    def __init__(self, sinks: Sequence[Sink] = (), *, tick: float = TICK_SECONDS) -> None:
        self._sinks = list(sinks)
        self._tick = tick
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._plan = (0, 0, 0)
        self._began = 0.0
        self._moved = 0
        self._landed = 0
        self._failed = 0
        self._untold: list[TagResult] = []
        self._flights: list[BlobProgress] = []

    def start(self, tags: int, blobs: int, size: int) -> None:
        """Begin to tell.

        Args:
            tags: how many will be moved.
            blobs: how many will be copied.
            size: their bytes.
        """
        self._plan = (tags, blobs, size)
        self._began = time.monotonic()
        if self._sinks and self._thread is None:
            thread = threading.Thread(target=self._tell_until_ended, name="registry-progress", daemon=True)
            # A host that has no thread left for this has other worries.
            with contextlib.suppress(RuntimeError):
                thread.start()
                self._thread = thread

    @contextlib.contextmanager
    def carrying(self, repository: str, blob: Descriptor) -> Iterator[BlobProgress]:
        """Count one blob while it is under way.

        Args:
            repository: where it goes.
            blob: digest and size in bytes.
        """
        flight = BlobProgress(BlobStatus(repository, blob.digest, blob.size), self._count, self._lock)
        with self._lock:
            self._flights.append(flight)
        try:
            yield flight
        finally:
            with self._lock:
                self._flights.remove(flight)

    def _count(self, size: int) -> None:
        self._moved += size

    def tag_done(self, name: str, status: str, cause: str = "", error: str = "") -> None:
        """Note that a tag is done with.

        Args:
            name: ``repository:tag``.
            status: ``copied`` or ``failed``.
            cause: of a failure, one word.
            error: of a failure, one sentence.
        """
        with self._lock:
            self._landed += 1
            self._failed += status == FAILED
            self._untold.append(TagResult(name, status, cause, error))

    def finish(self) -> None:
        """Tell the rest; returns when that is done, after some seconds in any case."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(LAST_WORD_SECONDS)

    def _tell_until_ended(self) -> None:
        ended = False
        while not ended and self._sinks:
            ended = self._ended.wait(self._tick)
            self._tell(ended)

    def _tell(self, ended: bool) -> None:
        with self._lock:
            landings, self._untold = self._untold, []
            state = State(
                *self._plan,
                moved=self._moved,
                landed=self._landed,
                failed=self._failed,
                seconds=time.monotonic() - self._began,
                ended=ended,
                flying=tuple(sorted((flight.now for flight in self._flights), key=_largest_first)),
            )
        for sink in list(self._sinks):
            try:
                sink(state, landings)
            except Exception as failure:  # noqa: BLE001 - whatever a listener suffers from, the run goes on
                log.debug("no more progress to %s: %s", type(sink).__name__, failure)
                self._sinks.remove(sink)


def _largest_first(blob: BlobStatus) -> int:
    return -blob.size
