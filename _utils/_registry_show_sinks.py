"""Tell how far a run has come: to a terminal, to Salt's event bus, to a log."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TextIO

from _registry_show_progress import Sink, State, TagResult

EVENT_SECONDS = 2.0
LINE_SECONDS = 5.0
# Of what ends within seconds more often than not.
SHORT_LINE_SECONDS = 2.0
LOG_SECONDS = 30.0
DIGITS_OF_A_DIGEST = 12
# Of one that does not say how wide it is.
COLUMNS_OF_A_TERMINAL = 80


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

    def __call__(self, state: State, landings: Sequence[TagResult]) -> None:
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
        width: tells how long a line may be; 0 = as long as it wants.
    """

    def __init__(
        self,
        write: Callable[[str], Any],
        seconds: float,
        *,
        landings: bool = False,
        width: Callable[[], int] = lambda: 0,
    ) -> None:
        self._write = write
        self._pace = _Pace(seconds)
        self._landings = landings
        self._width = width

    def __call__(self, state: State, landings: Sequence[TagResult]) -> None:
        """Write what there is to tell."""
        for landing in landings if self._landings else ():
            reason = f" ({landing.cause}: {landing.error})" if landing.error else ""
            self._write(f"{landing.status} {landing.name}{reason}")
        if not state.ended and self._pace.is_due(state):
            self._write(in_words(state, self._width()))


class Bar:
    """Two live lines on a terminal, by rich: the whole, and below it what is under way.

    They vanish at the end, when the report follows.

    Args:
        stream: the terminal.

    Raises:
        ImportError: rich is not there.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich import console, live, progress, table, theme

        def unbroken() -> Any:
            return table.Column(no_wrap=True)

        # rich's own colours make a rate look like a failure.
        calm = {"bar.complete": "green", "progress.download": "default", "progress.data.speed": "default"}
        terminal = console.Console(file=stream, theme=theme.Theme(calm), highlight=False)
        self._whole = progress.Progress(
            progress.TextColumn("{task.fields[done]}", table_column=unbroken()),
            progress.BarColumn(),
            progress.DownloadColumn(table_column=unbroken()),
            progress.TransferSpeedColumn(table_column=unbroken()),
            progress.TimeRemainingColumn(table_column=unbroken()),
            console=terminal,
        )
        self._terminal = terminal
        self._live = live.Live(
            console=terminal, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._task: Any = None

    def __call__(self, state: State, landings: Sequence[TagResult]) -> None:
        """Draw the lines anew."""
        if not (state.tags or state.blobs):
            return
        if self._task is None:
            self._task = self._whole.add_task("", total=state.size, done="")
            self._live.start()
        self._whole.update(self._task, completed=state.moved, done=_tags_done(state))
        self._live.update(self._drawn(state), refresh=True)
        if state.ended:
            self._live.stop()

    def _drawn(self, state: State) -> Any:
        from rich import console, text

        below = text.Text(
            under_way(state, self._terminal.width), style="dim", no_wrap=True, overflow="ellipsis"
        )
        return console.Group(self._whole, below)


def on_terminal(stream: TextIO) -> Sink:
    """What tells progress on a terminal: a bar where rich is installed, else a line now and then."""
    try:
        return Bar(stream)
    except ImportError:
        return lines_on(stream, LINE_SECONDS)


def lines_on(stream: TextIO, seconds: float = SHORT_LINE_SECONDS) -> Sink:
    """What tells progress on a terminal by a line now and then.

    Args:
        stream: the terminal.
        seconds: between two lines.
    """

    def write(line: str) -> None:
        stream.write(f"{line}\n")
        stream.flush()

    return Lines(write, seconds, width=partial(_columns, stream))


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return COLUMNS_OF_A_TERMINAL


def in_log(write: Callable[[str], Any]) -> Sink:
    """What tells progress in a log: each tag that lands, and the whole every half a minute."""
    return Lines(write, LOG_SECONDS, landings=True)


def in_words(state: State, width: int = 0) -> str:
    """How far a run has come and with what: in one line, or in two where one would be too long.

    Args:
        state: how far.
        width: characters that there are; 0 = no limit.
    """
    whole = ", ".join(_phrases(state))
    parts = under_way(state)
    if not parts:
        return whole
    if not width or len(whole) + len("; ") + len(parts) <= width:
        return f"{whole}; {parts}"
    return f"{whole}\n  {under_way(state, max(1, width - len('  ')))}".rstrip()


def under_way(state: State, width: int = 0) -> str:
    """What is under way: the largest blob with its share, and how many more; empty where it has no room.

    Args:
        state: what of.
        width: characters that there are; 0 = no limit.
    """
    if not state.flying:
        return ""
    blob, others = state.flying[0], len(state.flying) - 1
    share = f"{blob.percent} % of {_megabytes(blob.size)} MB"
    more = f"; {others} more" if others else ""
    short = blob.digest.partition(":")[2][:DIGITS_OF_A_DIGEST]
    # A namespace says least, then a digest.
    candidates = (
        f"{blob.repository} {short} {share}{more}",
        f"{blob.repository.rpartition('/')[2]} {short} {share}{more}",
        f"{blob.repository.rpartition('/')[2]} {share}{more}",
        f"{share}{more}",
    )
    return next((words for words in candidates if not width or len(words) <= width), "")


def _phrases(state: State) -> Iterator[str]:
    yield _tags_done(state)
    if not state.size:
        # Nothing moves where something is forgotten.
        return
    yield f"{_megabytes(state.moved)} of {_megabytes(state.size)} MB"
    yield f"{state.rate / 1e6:.1f} MB/s"
    if state.seconds_left is not None:
        yield f"{state.seconds_left:.0f} s left"


def _tags_done(state: State) -> str:
    if not state.tags:
        # Of a run that is about blobs alone.
        return f"{state.blobs} blobs"
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
