"""What may happen to a request on a hostile line: answers, resets, cuts, changed bytes, delays.

An action gets the request, and what passes it on to the registry. `proxy.FaultProxy` applies it:

    proxy.on("GET", r"/blobs/", cut_after(1000), times=2)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from support.traffic import kind_of

Headers = tuple[tuple[str, str], ...]


class CutError(Exception):
    """The connection is to be reset here."""


@dataclass(frozen=True)
class Request:
    """What a client asked."""

    method: str
    path: str
    headers: Headers
    body: Iterable[bytes] = field(repr=False)
    length: int | None = 0
    client: str = ""
    arrived: float = 0.0

    @property
    def kind(self) -> str:
        """For example `HEAD manifests`."""
        return kind_of(self.method, self.path)

    def header(self, name: str) -> str | None:
        """Return a header by its name in any case; None without one."""
        return header_of(self.headers, name)


@dataclass(frozen=True)
class Response:
    """What a client gets. `length` is what Content-Length claims; None: chunks, without it."""

    status: int
    headers: Headers
    body: Iterable[bytes] = field(repr=False)
    length: int | None

    def header(self, name: str) -> str | None:
        """Return a header by its name in any case; None without one."""
        return header_of(self.headers, name)


PassOn = Callable[[Request], Response]
Action = Callable[[Request, PassOn], Response]


def answer(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Action:
    """Answer at once; the registry does not see the request."""

    def act(request: Request, pass_on: PassOn) -> Response:
        swallow(request.body)
        return Response(status, tuple((headers or {}).items()), [body], len(body))

    return act


def redirect(to: str | Callable[[Request], str], status: int = 307) -> Action:
    """Send the client to another URL; the registry does not see the request."""

    def act(request: Request, pass_on: PassOn) -> Response:
        url = to if isinstance(to, str) else to(request)
        return answer(status, headers={"Location": url})(request, pass_on)

    return act


def reset() -> Action:
    """Reset the connection instead of an answer."""

    def act(request: Request, pass_on: PassOn) -> Response:
        raise CutError

    return act


def reset_from(offset: int) -> Action:
    """Reset the connection of a request for a range that begins at `offset` bytes or later; others pass."""

    def act(request: Request, pass_on: PassOn) -> Response:
        begin = (request.header("Range") or "bytes=0-").partition("=")[2].partition("-")[0]
        if int(begin) >= offset:
            raise CutError
        return pass_on(request)

    return act


def cut_after(size: int) -> Action:
    """Reset the connection after `size` bytes of the response's body."""
    return _on_response(lambda response: replace(response, body=_cut(response.body, size)))


def cut_upload_after(size: int) -> Action:
    """Reset both connections after `size` bytes of the request's body."""

    def act(request: Request, pass_on: PassOn) -> Response:
        return pass_on(replace(request, body=_cut(request.body, size)))

    return act


def lose_response() -> Action:
    """Let the registry carry the request out, and reset the connection instead of its answer."""

    def act(request: Request, pass_on: PassOn) -> Response:
        swallow(pass_on(request).body)
        raise CutError

    return act


def truncate(size: int) -> Action:
    """End the body after `size` bytes, with a Content-Length that agrees."""

    def shorten(response: Response) -> Response:
        return replace(response, body=_first(response.body, size), length=size)

    return _on_response(shorten)


def claim_length(length: int | None) -> Action:
    """Lie in Content-Length and send the body as it is; None: no length, chunked."""
    return _on_response(lambda response: replace(response, length=length))


def change_byte(position: int = 0) -> Action:
    """Flip one byte of the response's body."""
    return _on_response(lambda response: replace(response, body=_flip(response.body, position)))


def set_headers(headers: Mapping[str, str | None]) -> Action:
    """Replace headers of the response; None removes one."""
    names = {name.lower() for name in headers}

    def change(response: Response) -> Response:
        kept = [pair for pair in response.headers if pair[0].lower() not in names]
        new = [(name, value) for name, value in headers.items() if value is not None]
        return replace(response, headers=tuple(kept + new))

    return _on_response(change)


def delay(seconds: float) -> Action:
    """Wait before the registry sees the request."""

    def act(request: Request, pass_on: PassOn) -> Response:
        time.sleep(seconds)
        return pass_on(request)

    return act


def stall_after(size: int, seconds: float) -> Action:
    """Send `size` bytes of the body, then nothing for some time, then the rest."""
    return _on_response(lambda response: replace(response, body=_stall(response.body, size, seconds)))


def limit_rate(bytes_per_second: float) -> Action:
    """Send the body no faster than this."""
    return _on_response(lambda response: replace(response, body=_paced(response.body, bytes_per_second)))


def both(first: Action, second: Action) -> Action:
    """Do `first` around `second`."""

    def act(request: Request, pass_on: PassOn) -> Response:
        return first(request, lambda changed: second(changed, pass_on))

    return act


def _on_response(change: Callable[[Response], Response]) -> Action:
    return lambda request, pass_on: change(pass_on(request))


def header_of(headers: Headers, name: str) -> str | None:
    """Return a header by its name in any case; None without one."""
    return next((value for key, value in headers if key.lower() == name.lower()), None)


def swallow(body: Iterable[bytes]) -> bool:
    """Read the rest, so that the connection can carry the next request."""
    for _ in body:
        pass
    return True


def _first(body: Iterable[bytes], size: int) -> Iterator[bytes]:
    for chunk in body:
        part = chunk[:size]
        size -= len(part)
        if part:
            yield part


def _cut(body: Iterable[bytes], size: int) -> Iterator[bytes]:
    for chunk in body:
        part = chunk[:size]
        size -= len(part)
        if part:
            yield part
        if not size:
            raise CutError


def _flip(body: Iterable[bytes], position: int) -> Iterator[bytes]:
    for chunk in body:
        if 0 <= position < len(chunk):
            changed = bytes([chunk[position] ^ 0xFF])
            yield chunk[:position] + changed + chunk[position + 1 :]
        else:
            yield chunk
        position -= len(chunk)


def _stall(body: Iterable[bytes], size: int, seconds: float) -> Iterator[bytes]:
    for chunk in body:
        if 0 <= size < len(chunk):
            if size:
                yield chunk[:size]
            time.sleep(seconds)
            yield chunk[size:]
        else:
            yield chunk
        size -= len(chunk)


def _paced(body: Iterable[bytes], bytes_per_second: float) -> Iterator[bytes]:
    for chunk in body:
        time.sleep(len(chunk) / bytes_per_second)
        yield chunk
