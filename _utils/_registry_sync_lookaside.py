"""Simple signatures: files beside a registry, fetched from its store and kept under our own names.

A store has them as ``<address>/<repository>@sha256=<hex>/signature-<N>``, from 1 to the first that is not
there. They are kept byte for byte and under the same numbers, whoever signed and whether or not anybody here
can read it.

https://github.com/containers/image/blob/main/docs/signature-protocols.md
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from _registry_config_values import Image, Signatures
from _registry_http_client import Client
from _registry_http_endpoint import Endpoint
from _registry_http_errors import FULL_DISK_NUMBERS
from _registry_http_pools import origin_of
from _registry_http_retry import Pace, Run
from _registry_oci_errors import NoSpace, NotFound, RegistryError, Retryable, Stopped
from _registry_sync_stores import FAR_SECONDS

# What engines read of one image at most.
# https://github.com/containers/image/blob/main/docker/docker_image_src.go
SIGNATURES_OF_A_DIGEST = 128
LARGEST_SIGNATURE = 4 * 1024 * 1024
CONNECTIONS = 32
# OpenPGP: compressed data, a one-pass signature or a signature, in the old and in the new format; 0 begins
# what names its format. Engines refuse an image for one file that begins with anything else.
# https://github.com/containers/image/blob/main/internal/signature/signature.go
FIRST_BYTES = frozenset([0x00, *range(0x88, 0x8C), 0x90, 0x91, 0x92, *range(0xA0, 0xA4), 0xC2, 0xC4, 0xC8])


class BadStore(RegistryError):
    """A store answers with something else than signatures."""

    cause = "network"


@dataclass(frozen=True)
class Found:
    """The simple signatures of one digest.

    Args:
        signatures: as their store has them, in its order; without those that could not be read.
        kept: how many of them were here before.
        error: why there may be more.
    """

    signatures: tuple[bytes, ...] = ()
    kept: int = 0
    error: RegistryError | None = None

    @property
    def new(self) -> list[tuple[str, bytes]]:
        """Those that are not here yet: the name of the file and what is to be in it."""
        numbered = enumerate(self.signatures[self.kept :], self.kept + 1)
        return [(f"signature-{number}", signature) for number, signature in numbered]


class Lookaside:
    """The stores of one run, each asked once for each digest, and the directory that is filled from them.

    Safe for threads. Nothing here ever fails an image by itself: why signatures could not be read or kept is
    told in what it returns.

    Args:
        signatures: where stores are, and the directory.
        run: what is shared with the registries.
    """

    def __init__(self, signatures: Signatures, run: Run) -> None:
        self._signatures = signatures
        self._run = run
        self._lock = threading.Lock()
        self._stores: dict[Endpoint, _Store] = {}
        self._found: dict[tuple[Endpoint, str, Path], _Once] = {}

    @property
    def far(self) -> bool:
        """Whether the round-trips to a store are what takes the time, as far as it has answered yet."""
        return any(store.distance > FAR_SECONDS for store in self._stores.values())

    def covers(self, image: Image) -> bool:
        """Whether a store is known for what an image of the list comes from."""
        return bool(self._address(image))

    def find(self, image: Image, digest: str) -> Found:
        """The signatures of a manifest: those that are here, and what the store has beyond them.

        Args:
            image: the entry of the list that the manifest belongs to.
            digest: of the manifest as upstream has it, an index or a child.

        Raises:
            Stopped: the run was asked to stop.
        """
        return self._once(image, digest).found

    def publish(self, image: Image, digest: str) -> RegistryError | None:
        """Keep what ``find`` gives, so that the directory, served as it is, is a store of our own.

        Args:
            image: the entry of the list that the manifest belongs to.
            digest: of the manifest.

        Returns:
            Why not all of it is kept, if so.
        """
        return self._once(image, digest).published

    def directory_of(self, target: str, digest: str) -> Path:
        """Where the signatures of a manifest in a local repository are kept."""
        return Path(self._signatures.directory, directory_name(target, digest))

    def _once(self, image: Image, digest: str) -> _Once:
        directory = self.directory_of(image.target, digest)
        with self._lock:
            key = (image.source, image.repository, directory)
            return self._found.setdefault(key, _Once(lambda: self._find(image, digest), directory))

    def _address(self, image: Image) -> str:
        return store_of(self._signatures.stores, image.source, image.repository)

    def _find(self, image: Image, digest: str) -> Found:
        kept = read_kept(self.directory_of(image.target, digest))
        try:
            store = self._store(image)
            new = store.signatures(image.repository, digest, len(kept)) if store else ()
        except Stopped:
            raise
        except RegistryError as failure:
            return Found(kept, len(kept), failure)
        return Found(kept + new, len(kept))

    def _store(self, image: Image) -> _Store | None:
        address = self._address(image)
        if not address:
            return None
        endpoint = _endpoint(address, image.source)
        with self._lock:
            if endpoint not in self._stores:
                self._stores[endpoint] = _Store(endpoint, self._run)
            return self._stores[endpoint]


class _Once:
    """What is looked up, and written, by the first who asks for it, and awaited by the others."""

    def __init__(self, look_up: Callable[[], Found], directory: Path) -> None:
        self._look_up = look_up
        self._directory = directory
        self._lock = threading.RLock()
        self._found: Found | None = None
        self._published = False
        self._failure: RegistryError | None = None

    @property
    def found(self) -> Found:
        with self._lock:
            if self._found is None:
                self._found = self._look_up()
            return self._found

    @property
    def published(self) -> RegistryError | None:
        """Why not all is kept, if so."""
        with self._lock:
            if not self._published:
                self._failure = _keep(self._directory, self.found) or self.found.error
                self._published = True
            return self._failure


class _Store:
    """One vendor's store."""

    def __init__(self, endpoint: Endpoint, run: Run) -> None:
        self._client = Client(endpoint, Pace(run), connections=CONNECTIONS)
        self._failure: RegistryError | None = None

    @property
    def distance(self) -> float:
        """Seconds that its fastest answer took."""
        return self._client.distance

    def signatures(self, repository: str, digest: str, known: int) -> tuple[bytes, ...]:
        """The signatures behind those that are known.

        Raises:
            RegistryError: they cannot be read, be it one of them.
        """
        found: list[bytes] = []
        for number in range(known + 1, SIGNATURES_OF_A_DIGEST + 1):
            try:
                found.append(self._signature(repository, digest, number))
            except NotFound:
                break
        return tuple(found)

    def _signature(self, repository: str, digest: str, number: int) -> bytes:
        if self._failure:
            raise self._failure
        what = f"signature-{number} of {repository}@{digest}"
        url = f"{self._client.endpoint.url}/{directory_name(repository, digest)}/signature-{number}"
        try:
            answer = self._client.ask("GET", url, (), what, limit=LARGEST_SIGNATURE)
        except (NotFound, Stopped):
            raise
        except Retryable as failure:
            # It was tried often enough: every other image would wait as long in vain.
            self._failure = failure
            raise
        except RegistryError as failure:
            raise BadStore(str(failure), side=failure.side) from None
        if not is_signature(answer.body):
            raise self._client.error(BadStore, f"has something else than a signature as {what}")
        return answer.body


def store_of(stores: Mapping[str, str], source: Endpoint, repository: str) -> str:
    """The address of the store of a repository; the name that says most counts, and empty is none.

    A host without a port means any port of it.
    """
    path = repository.split("/")
    scopes = ["/".join(path[:parts]) for parts in range(len(path), -1, -1)]
    bare = source.name.rpartition(":")[0]
    for scope in scopes:
        for registry in (source.name, bare):
            address = stores.get(f"{registry}/{scope}" if scope else registry)
            if address is not None:
                return address
    return ""


def is_signature(body: bytes) -> bool:
    """Whether bytes begin as a signature does."""
    return bool(body) and body[0] in FIRST_BYTES


def read_kept(directory: Path) -> tuple[bytes, ...]:
    """The signatures of one manifest that are kept here, from the first to a gap."""
    kept: list[bytes] = []
    for number in range(1, SIGNATURES_OF_A_DIGEST + 1):
        try:
            kept.append((directory / f"signature-{number}").read_bytes())
        except OSError:
            break
    return tuple(kept)


def directory_name(repository: str, digest: str) -> str:
    """How a store calls the directory of a manifest's signatures."""
    return f"{repository}@{digest.replace(':', '=', 1)}"


def _endpoint(address: str, source: Endpoint) -> Endpoint:
    """A store is reached as its registry is, but never told who we are: it is open to all."""
    origin = origin_of(address)
    return Endpoint(
        "signature store",
        host=origin.host,
        port=origin.port,
        tls=origin.scheme == "https",
        verify=source.verify,
        path=address.partition("://")[2].partition("/")[2],
        proxy=source.proxy,
        environment=replace(source.environment, auth_files=()),
    )


def _keep(directory: Path, found: Found) -> RegistryError | None:
    """Write what is not here yet, in ascending order: a reader may come at any moment, and stops at a gap."""
    try:
        for name, signature in found.new:
            _make_readable(directory)
            _write(directory, name, signature)
    except OSError as failure:
        kind = NoSpace if failure.errno in FULL_DISK_NUMBERS else RegistryError
        return kind(f"{failure.filename or directory}: cannot be written: {failure.strerror}")
    return None


def _write(directory: Path, name: str, content: bytes) -> None:
    draft = directory / f".{name}"
    with draft.open("wb") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(directory / name)


def _make_readable(directory: Path) -> None:
    """Make a directory that a web server can read, whatever this process' umask."""
    if directory.is_dir():
        return
    _make_readable(directory.parent)
    directory.mkdir(exist_ok=True)
    directory.chmod(0o755)
