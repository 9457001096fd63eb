"""Tell how far a run has come: to a terminal, to Salt's event bus, to a log.

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
from typing import Any, NamedTuple, Protocol, TextIO

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
# What was not told so long after the run has ended is not told at all.
LAST_WORD_SECONDS = 3.0
EVENT_SECONDS = 2.0
LINE_SECONDS = 5.0
LOG_SECONDS = 30.0
FAILED = "failed"


class Landing(NamedTuple):
    """A tag that is done with: ``repository:tag``, and how it stands in the report."""

    name: str
    status: str
    cause: str = ""
    error: str = ""


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
    """

    tags: int
    blobs: int
    size: int
    moved: int = 0
    landed: int = 0
    failed: int = 0
    seconds: float = 0.0
    ended: bool = False

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

    def __call__(self, state: State, landings: Sequence[Landing]) -> None:
        """Tell the state, and the tags that landed since the last call.

        The last call has ``state.ended``. A sink that raises is not called again.
        """
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
        self._untold: list[Landing] = []

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

    def moved(self, size: int) -> None:
        """Count bytes that came from upstream; called for every piece, by every worker."""
        with self._lock:
            self._moved += size

    def landed(self, name: str, status: str, cause: str = "", error: str = "") -> None:
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
            self._untold.append(Landing(name, status, cause, error))

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
            )
        for sink in list(self._sinks):
            try:
                sink(state, landings)
            except Exception as failure:  # noqa: BLE001 - whatever a listener suffers from, the run goes on
                log.debug("no more progress to %s: %s", type(sink).__name__, failure)
                self._sinks.remove(sink)


class Events:
    """Sends events: ``TAG/image`` for each tag that lands, ``TAG/progress``, and ``TAG/done`` at the end.

    Args:
        send: takes the event's tag and data.
        tag: what all tags begin with.
    """

    def __init__(self, send: Callable[[str, dict[str, Any]], Any], tag: str) -> None:
        self._send = send
        self._tag = tag
        self._pace = _Pace(EVENT_SECONDS)

    def __call__(self, state: State, landings: Sequence[Landing]) -> None:
        """Send what there is to tell; progress at most every two seconds."""
        for landing in landings:
            self._send(f"{self._tag}/image", landing._asdict())
        if state.ended:
            self._send(f"{self._tag}/done", _as_data(state))
        elif self._pace.is_due(state):
            self._send(f"{self._tag}/progress", _as_data(state))


class Lines:
    """Writes a line every few seconds.

    Args:
        write: takes a line without its end.
        seconds: between two lines about progress.
        landings: whether each tag that lands is a line too.
    """

    def __init__(self, write: Callable[[str], Any], seconds: float, *, landings: bool = False) -> None:
        self._write = write
        self._pace = _Pace(seconds)
        self._landings = landings

    def __call__(self, state: State, landings: Sequence[Landing]) -> None:
        """Write what there is to tell."""
        for landing in landings if self._landings else ():
            reason = f" ({landing.cause}: {landing.error})" if landing.error else ""
            self._write(f"{landing.status} {landing.name}{reason}")
        if not state.ended and self._pace.is_due(state):
            self._write(in_words(state))


class Bar:
    """A live line on a terminal, by rich; it vanishes at the end, when the report follows.

    Args:
        stream: the terminal.

    Raises:
        ImportError: rich is not there.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich import console, progress, theme

        # rich's own colours make a rate look like a failure.
        calm = {"bar.complete": "green", "progress.download": "default", "progress.data.speed": "default"}
        self._bar = progress.Progress(
            progress.TextColumn("{task.fields[done]}"),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=console.Console(file=stream, theme=theme.Theme(calm)),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: Any = None

    def __call__(self, state: State, landings: Sequence[Landing]) -> None:
        """Draw the line anew."""
        if not state.tags:
            return
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task("", total=state.size, done="")
        self._bar.update(self._task, completed=state.moved, done=_tags_done(state), refresh=True)
        if state.ended:
            self._bar.stop()


def on_terminal(stream: TextIO) -> Sink:
    """What tells progress on a terminal: a bar where rich is installed, else a line now and then."""
    try:
        return Bar(stream)
    except ImportError:

        def write(line: str) -> None:
            stream.write(f"{line}\n")
            stream.flush()

        return Lines(write, LINE_SECONDS)


def in_log(write: Callable[[str], Any]) -> Sink:
    """What tells progress in a log: each tag that lands, and the whole every half a minute."""
    return Lines(write, LOG_SECONDS, landings=True)


def in_words(state: State) -> str:
    """One line that says how far a run has come."""
    return ", ".join(_phrases(state))


def _phrases(state: State) -> Iterator[str]:
    yield _tags_done(state)
    yield f"{_megabytes(state.moved)} of {_megabytes(state.size)} MB"
    yield f"{state.rate / 1e6:.1f} MB/s"
    if state.seconds_left is not None:
        yield f"{state.seconds_left:.0f} s left"


def _tags_done(state: State) -> str:
    failed = f" ({state.failed} failed)" if state.failed else ""
    return f"{state.landed} of {state.tags} tags{failed}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f}" if size >= 10e6 else f"{size / 1e6:.1f}"


def _as_data(state: State) -> dict[str, Any]:
    left = state.seconds_left
    return {
        "tags": state.tags,
        "landed": state.landed,
        "failed": state.failed,
        "blobs": state.blobs,
        "bytes": state.size,
        "moved": state.moved,
        "rate": round(state.rate),
        "seconds": round(state.seconds, 1),
        "seconds_left": None if left is None else round(left, 1),
    }


class _Pace:
    """Says when so many seconds have gone again."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due = seconds

    def is_due(self, state: State) -> bool:
        if state.seconds < self._due:
            return False
        self._due = state.seconds + self._seconds
        return True
