"""A long, thin line on loopback: what passes is late, and each connection has its top rate.

It is a process of its own (`python slow_line.py --help`), so that carrying hundreds of MB/s takes
no time from whatever is measured in the test's process. It passes bytes on without looking at
them. What it does not imitate: loss, jitter and TCP's slow start.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

LOOPBACK = "127.0.0.1"
# Of bytes that wait for their turn at the line's rate: what a sender may be ahead.
SECONDS_OF_QUEUE = 0.05
READ_SIZE = 128 * 1024


@dataclass
class Stats:
    """What has passed since the line was laid."""

    connections: int = 0
    bytes_up: int = 0
    bytes_down: int = 0


class _Direction:
    """One way of one connection: hands bytes on at the line's rate, half a round-trip later."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rate: float | None, delay: float) -> None:
        self._loop = loop
        self._rate = rate
        self._delay = delay
        self._line_is_busy_until = 0.0
        self._on_the_way: deque[tuple[float, bytes | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._source: asyncio.Transport | None = None
        self._target: asyncio.Transport | None = None
        self._target_is_full = False
        self._source_is_paused = False

    def comes_from(self, transport: asyncio.Transport) -> None:
        self._source = transport

    def goes_to(self, transport: asyncio.Transport) -> None:
        self._target = transport
        self._deliver()

    def wait(self, seconds: float) -> None:
        """Keep the line busy, as a TCP handshake does before the first byte."""
        self._line_is_busy_until = self._loop.time() + seconds

    def take(self, data: bytes) -> None:
        now = self._loop.time()
        seconds = len(data) / self._rate if self._rate else 0.0
        self._line_is_busy_until = max(now, self._line_is_busy_until) + seconds
        self._on_the_way.append((self._line_is_busy_until + self._delay, data))
        self._schedule()
        self._pause_or_resume_source()

    def take_end(self) -> None:
        arrival = max(self._loop.time(), self._line_is_busy_until) + self._delay
        self._on_the_way.append((arrival, None))
        self._schedule()

    def target_is_full(self, full: bool) -> None:
        self._target_is_full = full
        self._pause_or_resume_source()

    def _schedule(self) -> None:
        if self._timer is None and self._on_the_way and self._target is not None:
            self._timer = self._loop.call_at(self._on_the_way[0][0], self._deliver)

    def _deliver(self) -> None:
        self._timer = None
        if self._target is None:
            return
        now = self._loop.time()
        while self._on_the_way and self._on_the_way[0][0] <= now:
            data = self._on_the_way.popleft()[1]
            if self._target.is_closing():
                continue
            if data is None:
                _end_writing(self._target)
            else:
                self._target.write(data)
        self._schedule()
        self._pause_or_resume_source()

    def _pause_or_resume_source(self) -> None:
        source = self._source
        if source is None or source.is_closing():
            return
        ahead = self._line_is_busy_until - self._loop.time()
        pause = self._target_is_full or ahead > SECONDS_OF_QUEUE
        if pause and not self._source_is_paused:
            source.pause_reading()
        elif not pause and self._source_is_paused:
            source.resume_reading()
        self._source_is_paused = pause
        if pause and not self._target_is_full:
            self._loop.call_later(ahead - SECONDS_OF_QUEUE / 2, self._pause_or_resume_source)


def _end_writing(transport: asyncio.Transport) -> None:
    with contextlib.suppress(OSError):
        if transport.can_write_eof():
            transport.write_eof()


class _End(asyncio.Protocol):
    """One end of a connection."""

    def __init__(self, outgoing: _Direction, incoming: _Direction) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.max_size = READ_SIZE  # type: ignore[attr-defined]
        transport.set_write_buffer_limits(high=READ_SIZE * 4)
        self._outgoing.comes_from(transport)
        self._incoming.goes_to(transport)

    def data_received(self, data: bytes) -> None:
        self._outgoing.take(data)

    def eof_received(self) -> bool:
        self._outgoing.take_end()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._outgoing.take_end()
        if error and self.other and self.other.transport:
            self.other.transport.abort()

    def pause_writing(self) -> None:
        self._incoming.target_is_full(True)

    def resume_writing(self) -> None:
        self._incoming.target_is_full(False)


class _ClientEnd(_End):
    def __init__(self, line: _Line) -> None:
        loop = asyncio.get_running_loop()
        self._line = line
        self._up = _Counted(loop, line.rate, line.rtt / 2, line.stats, "bytes_up")
        self._down = _Counted(loop, line.rate, line.rtt / 2, line.stats, "bytes_down")
        super().__init__(outgoing=self._up, incoming=self._down)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._line.stats.connections += 1
        self._up.wait(self._line.rtt)
        self._line.keep(asyncio.ensure_future(self._reach_server()))

    async def _reach_server(self) -> None:
        loop = asyncio.get_running_loop()
        server = _End(outgoing=self._down, incoming=self._up)
        server.other, self.other = self, server
        try:
            await loop.create_connection(lambda: server, *self._line.target)
        except OSError:
            if self.transport:
                self.transport.abort()


class _Counted(_Direction):
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        rate: float | None,
        delay: float,
        stats: Stats,
        counter: str,
    ) -> None:
        super().__init__(loop, rate, delay)
        self._stats = stats
        self._counter = counter

    def take(self, data: bytes) -> None:
        setattr(self._stats, self._counter, getattr(self._stats, self._counter) + len(data))
        super().take(data)


class _Line:
    def __init__(self, target: tuple[str, int], rtt: float, rate: float | None) -> None:
        self.target = target
        self.rtt = rtt
        self.rate = rate
        self.stats = Stats()
        self._tasks: set[asyncio.Future[None]] = set()

    def keep(self, task: asyncio.Future[None]) -> None:
        """Hold a task until it is done; the loop alone holds it weakly."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def serve(self, port: int) -> None:
        """Print the port, then the statistics for each line of standard input, until it ends."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _ClientEnd(self), LOOPBACK, port, backlog=512)
        print(server.sockets[0].getsockname()[1], flush=True)
        while await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(asdict(self.stats)), flush=True)
        server.close()


class SlowLine:
    """A slow line to a server on loopback, while in `with`: connect to `.address` instead.

    `rtt` is in seconds and also delays the first byte of each connection, as a handshake would;
    `rate` is in bytes a second, for each connection and each way.
    """

    def __init__(self, address: str, *, rtt: float = 0.04, rate: float | None = 25e6, port: int = 0) -> None:
        self.target = address.rpartition("://")[2]
        self.rtt = rtt
        self.rate = rate
        self.host = LOOPBACK
        self.port = port
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The plain HTTP address."""
        return f"http://{self.address}"

    def stats(self) -> Stats:
        """Return what has passed so far."""
        return Stats(**json.loads(self._ask()))

    def __enter__(self) -> SlowLine:
        command = [sys.executable, __file__, self.target, "--rtt", str(self.rtt)]
        command += ["--port", str(self.port)]
        command += ["--rate", str(self.rate)] if self.rate else []
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self._read())
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._process = None

    def _ask(self) -> str:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A slow line to a server on loopback.")
    parser.add_argument("target", help="host:port to carry connections to")
    parser.add_argument("--rtt", type=float, default=0.04, help="seconds there and back")
    parser.add_argument("--rate", type=float, help="bytes a second for each connection")
    parser.add_argument("--port", type=int, default=0, help="where to listen (default: any)")
    return parser.parse_args()


def main() -> None:
    """Carry connections until standard input ends."""
    arguments = _arguments()
    host, _, port = arguments.target.rpartition(":")
    line = _Line((host.strip("[]"), int(port)), arguments.rtt, arguments.rate)
    asyncio.run(line.serve(arguments.port))


if __name__ == "__main__":
    main()
