"""One registry and how it is reached, and how hard the line to it may be used: values, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from _registry_http_environment import Environment


@dataclass(frozen=True)
class Endpoint:
    """One registry and how it is reached.

    Args:
        side: ``upstream`` or ``local``, for messages.
        host: name or address; an IPv6 address without brackets.
        port: TCP port.
        tls: HTTPS rather than plain HTTP.
        verify: True, False or the path of a CA bundle.
        username: with ``password``; empty = what ``auth_file`` says.
        password: never shown.
        auth_file: path of a docker ``config.json`` or podman ``auth.json``; empty = what the files that
            the environment names say, else anonymous.
        cert: path of a client certificate (PEM).
        key: path of its key (PEM).
        path: prefix of the registry's API below the host, without slashes at the ends.
        proxy: URL of a proxy; empty = what the environment says.
        socket: path of a Unix socket on which its server listens; empty = it listens on host and port.
        push_socket: the same of a second server over the same storage, which takes what is written;
            empty = the first one does.
        environment: proxies and auth files where the pillar names none.
    """

    side: str
    host: str
    port: int
    tls: bool = True
    verify: bool | str = True
    username: str = ""
    password: str = field(default="", repr=False)
    auth_file: str = ""
    cert: str = ""
    key: str = ""
    path: str = ""
    proxy: str = field(default="", repr=False)
    socket: str = ""
    push_socket: str = ""
    environment: Environment = field(default=Environment(), repr=False)

    def __str__(self) -> str:
        return f"{self.side} {self.name}" + (f" ({self.socket})" if self.socket else "")

    @property
    def name(self) -> str:
        """``host:port`` as it stands in image names, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address without the path ``/v2/``."""
        prefix = f"/{self.path}" if self.path else ""
        return f"{'https' if self.tls else 'http'}://{self.name}{prefix}"


def push_endpoint(endpoint: Endpoint) -> Endpoint:
    """Where a registry is written to: itself, or the server at its socket, to which nobody has to log in."""
    if not endpoint.push_socket:
        return endpoint
    return replace(
        endpoint,
        socket=endpoint.push_socket,
        push_socket="",
        tls=False,
        path="",
        username="",
        password="",
        auth_file="",
        cert="",
        key="",
        environment=Environment(),
    )


@dataclass(frozen=True)
class Transfer:
    """How hard the line may be used.

    Args:
        parallel: blobs in flight at most.
        retries: tries after the first that a request gets.
        bandwidth: bytes a second for all workers together; 0 = no cap.
        deadline: seconds that a whole run may take; 0 = no limit.
        patience: seconds that one thing may be waited for because a registry asks for it (Retry-After).
        spool: bytes on this host's disk for large blobs under way; 0 = none, None = a share of what is free.
    """

    parallel: int = 16
    retries: int = 10
    bandwidth: int = 0
    deadline: int = 0
    patience: int = 900
    spool: int | None = None
