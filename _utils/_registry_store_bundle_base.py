"""What a registry says that it has, as a store: what a bundle builds on, and its inventory as a file.

An inventory is JSON, gzipped: tags, manifests with what they refer to, blobs, and how many simple signatures
there are. The other side makes it, or a bundle carries the one that is right once it has been imported.
"""

from __future__ import annotations

import datetime
import gzip
import hashlib
import json
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from _registry_oci_errors import LOCAL, NotFound, Unsupported
from _registry_oci_manifest import Descriptor, Manifest
from _registry_oci_names import is_digest, printable
from _registry_store_bundle_format import CONTENTS, INVENTORY, VERSION, BadBundle, Base
from _registry_store_bundle_places import put_file
from _registry_store_layout_index import reference_name
from _registry_store_protocol import Written

INVENTORY_LIMIT = 256 * 1024 * 1024
Places = dict[str, dict[str, list[str]]]
# Digests are packed to no less than half; what gets much larger was made to fill the memory.
UNPACKED_ANYWAY = 8 * 1024 * 1024
UNPACKED_RATIO = 40


def now() -> str:
    """The time of day in UTC."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Stock:
    """What is somewhere.

    Args:
        name: of the registry or bundle that says so.
        created: when it said so.
        tags: repository → tag → digest.
        manifests: digest → size, media type, and the digest of what it refers to.
        blobs: digests.
        signatures: digest of a manifest → how many simple signatures of it there are.
        places: repository → digest of each manifest in it → hashes of its simple signatures there; None where
            that is not told, as by inventories of earlier versions.
    """

    name: str = ""
    created: str = ""
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    manifests: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    blobs: set[str] = field(default_factory=set)
    signatures: dict[str, int] = field(default_factory=dict)
    places: Places | None = None

    def put(self, repository: str, digest: str, signatures: Iterable[bytes] = ()) -> None:
        """Note that a manifest is in a repository, and simple signatures of it there."""
        places = self.places = self.places or {}
        kept = places.setdefault(repository, {})
        more = (hashlib.sha256(one).hexdigest() for one in signatures)
        kept[digest] = sorted({*kept.get(digest, ()), *more})

    def has(self, repository: str, digest: str) -> bool:
        """Whether a manifest is in a repository, as far as that is told: where no tag is, nothing is."""
        if self.places is None:
            return repository in self.tags and digest in self.manifests
        return digest in self.places.get(repository, ())

    def has_signatures(self, repository: str, digest: str, signatures: Collection[bytes]) -> bool:
        """Whether simple signatures of a manifest are kept for a repository."""
        if self.places is None:
            count = self.signatures.get(digest, 0) if repository in self.tags else 0
            return len(signatures) <= count
        kept = self.places.get(repository, {}).get(digest, ())
        return all(hashlib.sha256(one).hexdigest() in kept for one in signatures)

    @property
    def base(self) -> Base:
        """How a bundle names it."""
        if not self.name:
            return Base()
        text = json.dumps(self._content, sort_keys=True)
        return Base(hashlib.sha256(text.encode()).hexdigest()[:16], self.created, self.name)

    @property
    def _content(self) -> list[Any]:
        told = [] if self.places is None else [self.places]
        return [self.tags, sorted(self.manifests), sorted(self.blobs), self.signatures, *told]

    def serialized(self) -> bytes:
        """The bytes of the file."""
        document = {
            "version": VERSION,
            "name": self.name,
            "created": self.created,
            "tags": self.tags,
            "manifests": self.manifests,
            "blobs": sorted(self.blobs),
            "signatures": self.signatures,
            **({} if self.places is None else {"places": self.places}),
        }
        return gzip.compress(json.dumps(document, sort_keys=True).encode(), mtime=0)


def read_stock(path: str) -> Stock:
    """Read an inventory, or that of a former bundle.

    Args:
        path: of the file, or of the bundle; empty = nothing is anywhere.

    Raises:
        BadBundle: it is none.
        NotFound: there is no such file.
    """
    if not path:
        return Stock(places={})
    file = Path(path)
    if file.name == Path(CONTENTS).name:
        file = file.with_name(Path(INVENTORY).name)
    if file.is_dir():
        file = file / INVENTORY
    try:
        with file.open("rb") as stream:
            body = stream.read(INVENTORY_LIMIT)
    except OSError as failure:
        raise NotFound(f"since: {file}: {failure.strerror}", side=LOCAL) from None
    return _stock(_unzipped(body, str(file)), str(file))


def _unzipped(body: bytes, where: str) -> Any:
    stream = zlib.decompressobj(wbits=31)
    limit = min(INVENTORY_LIMIT, UNPACKED_ANYWAY + UNPACKED_RATIO * len(body))
    try:
        text = stream.decompress(body, limit)
        if stream.unconsumed_tail:
            raise BadBundle(f"{where} unpacks to more than {limit} bytes")
        return json.loads(text)
    except (zlib.error, ValueError, RecursionError):
        raise BadBundle(f"{where} is no inventory") from None


def _stock(document: Any, where: str) -> Stock:
    if isinstance(document, dict) and document.get("version") != VERSION:
        version = printable(document.get("version"))
        raise BadBundle(f"{where} was made by another version ({version}); known is {VERSION}")
    try:
        stock = Stock(
            name=printable(document["name"], 200),
            created=printable(document["created"], 40),
            tags={repository: dict(tags) for repository, tags in document["tags"].items()},
            manifests={
                digest: (int(size), str(kind), str(about))
                for digest, (size, kind, about) in document["manifests"].items()
            },
            blobs=set(document["blobs"]),
            signatures={digest: int(count) for digest, count in document["signatures"].items()},
            places=_places(document.get("places")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise BadBundle(f"{where} is no inventory") from None
    digests = [
        *stock.manifests,
        *stock.blobs,
        *(one for tags in stock.tags.values() for one in tags.values()),
        *(one for manifests in (stock.places or {}).values() for one in manifests),
    ]
    if not all(isinstance(one, str) and is_digest(one) for one in digests):
        raise BadBundle(f"{where} is no inventory")
    return stock


def _places(told: Any) -> Places | None:
    if told is None:
        return None
    return {
        repository: {digest: [str(one) for one in hashes] for digest, hashes in manifests.items()}
        for repository, manifests in told.items()
    }


def write_stock(stock: Stock, path: str) -> None:
    """Write an inventory whole or not at all.

    Raises:
        RegistryError: it cannot be written.
    """
    put_file(Path(path), [stock.serialized()])


class StockStore:
    """What is somewhere, as a store that is only asked whether it has something.

    Args:
        stock: what is there.
    """

    side = LOCAL

    def __init__(self, stock: Stock) -> None:
        self._stock = stock
        self._about: dict[str, list[Descriptor]] = {}
        for digest, (size, kind, about) in stock.manifests.items():
            if about:
                self._about.setdefault(about, []).append(Descriptor(digest, size, kind))

    def __str__(self) -> str:
        return f"inventory {self._stock.name or 'of nothing'}"

    def repositories(self) -> Iterator[str]:
        """Every repository with a tag."""
        yield from sorted(self._stock.tags)

    def tags(self, repository: str, *, pages: int = 0) -> list[str]:
        """Every tag of a repository."""
        if repository not in self._stock.tags:
            raise NotFound(f"{self} has no repository {repository!r}", side=self.side)
        return sorted(self._stock.tags[repository])

    def resolve(self, repository: str, reference: str) -> Descriptor:
        """What a tag or digest points to."""
        is_there = is_digest(reference) and self._stock.has(repository, reference)
        digest = reference if is_there else self._stock.tags.get(repository, {}).get(reference)
        if digest is None or digest not in self._stock.manifests:
            raise NotFound(f"{self} has no {reference_name(repository, reference)}", side=self.side)
        size, kind, _ = self._stock.manifests[digest]
        return Descriptor(digest, size, kind)

    def resolve_many(self, names: Sequence[tuple[str, str]]) -> list[Descriptor | None]:
        """What tags stand for; None where there is none."""
        digests = [self._stock.tags.get(repository, {}).get(tag, "") for repository, tag in names]
        return [Descriptor(digest, 0) if digest else None for digest in digests]

    def manifest(self, repository: str, reference: str) -> Manifest:
        """Nothing: an inventory has only names."""
        raise NotFound(f"{self} has no content", side=self.side)

    def has(self, repository: str, digest: str) -> bool:
        """Whether a blob is there, in whatever repository: it can be mounted from there."""
        return digest in self._stock.blobs or digest in self._stock.manifests

    def read(self, repository: str, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """Nothing: an inventory has only names."""
        raise NotFound(f"{self} has no content", side=self.side)

    def write(
        self, repository: str, blob: Descriptor, chunks: Iterable[bytes], *, mount_from: str = ""
    ) -> Written:
        """Refuse it."""
        self._refuse()

    def put(self, repository: str, reference: str, manifest: Manifest) -> None:
        """Refuse it."""
        self._refuse()

    def delete(self, repository: str, reference: str) -> None:
        """Refuse it."""
        self._refuse()

    def lists_referrers(self, repository: str, digest: str) -> bool:
        """An inventory says of each manifest what it refers to."""
        return True

    def referrers(self, repository: str, digest: str) -> list[Descriptor]:
        """Manifests of a repository that refer to one."""
        return [one for one in self._about.get(digest, ()) if self._stock.has(repository, one.digest)]

    def _refuse(self) -> NoReturn:
        raise Unsupported(f"{self} is not written to", side=self.side)


def with_more(stock: Stock, more: Stock) -> Stock:
    """What there is once more has come."""
    tags: dict[str, dict[str, str]] = {name: dict(them) for name, them in stock.tags.items()}
    for repository, them in more.tags.items():
        tags.setdefault(repository, {}).update(them)
    counts: Mapping[str, int] = {**stock.signatures, **more.signatures}
    places = None if stock.places is None else _joined(stock.places, more.places or {})
    return Stock(
        name=more.name,
        created=more.created,
        tags=tags,
        manifests={**stock.manifests, **more.manifests},
        blobs=stock.blobs | more.blobs,
        signatures=dict(counts),
        places=places,
    )


def _joined(places: Places, more: Places) -> Places:
    joined = {repository: dict(manifests) for repository, manifests in places.items()}
    for repository, manifests in more.items():
        there = joined.setdefault(repository, {})
        for digest, hashes in manifests.items():
            there[digest] = sorted({*there.get(digest, ()), *hashes})
    return joined
