"""What stands in the ``index.json`` of an OCI image layout, as values.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md#indexjson-file
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from _registry_oci_manifest import BLOB_LIMIT, Descriptor
from _registry_oci_names import is_digest

REFERENCE_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"


def reference_name(repository: str, reference: str) -> str:
    """A tag or digest of a repository as one name; that of a bare tag has no repository."""
    if is_digest(reference):
        return f"{repository}@{reference}"
    return f"{repository}:{reference}" if repository else reference


@dataclass(frozen=True)
class Entry:
    """One entry, kept as it came with all that others have noted in it."""

    content: Mapping[str, Any]

    @classmethod
    def named(cls, repository: str, reference: str, descriptor: Descriptor) -> Entry:
        """An entry of ours; what has neither repository nor tag needs no name."""
        content: dict[str, Any] = {
            "mediaType": descriptor.media_type,
            "digest": descriptor.digest,
            "size": descriptor.size,
        }
        if repository or not is_digest(reference):
            content["annotations"] = {REFERENCE_NAME: reference_name(repository, reference)}
        return cls(content)

    @cached_property
    def descriptor(self) -> Descriptor | None:
        """What it points to; None where that makes no sense."""
        return _descriptor(self.content)

    @cached_property
    def text(self) -> str:
        """Its JSON."""
        return json.dumps(self.content)

    def place(self, default: str) -> tuple[str, str]:
        """Repository and tag or digest that its name means.

        Args:
            default: repository of bare tags and of what has no name.
        """
        name, _, pin = self._name.partition("@")
        head, _, tag = name.rpartition(":")
        if tag and "/" not in tag and (head or not pin):
            return head or default, tag
        if name and not pin:
            return name, "latest"
        return name or default, pin or str(self.content.get("digest"))

    @property
    def _name(self) -> str:
        """The reference name; beside a bare tag containerd and docker note the whole name."""
        notes = self.content.get("annotations")
        if not isinstance(notes, dict):
            return ""
        name, whole = (notes.get(key) for key in (REFERENCE_NAME, CONTAINERD_NAME))
        if isinstance(whole, str) and not (isinstance(name, str) and ":" in name):
            return whole
        return name if isinstance(name, str) else ""


# By repository, then by tag or digest. Of several entries with one name the first counts, as it does for
# containers/image.
Places = Mapping[str, Mapping[str, tuple[Entry, ...]]]


@dataclass(frozen=True)
class LayoutIndex:
    """A whole index; never changed, only replaced.

    Args:
        places: its entries.
        rest: what else the document says.
    """

    places: Places = field(default_factory=dict)
    rest: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Mapping[str, Any], default: str) -> LayoutIndex:
        """Sort a document's entries.

        Args:
            document: what ``index.json`` holds.
            default: repository of bare tags and of what has no name.

        Raises:
            ValueError: it has no list of entries.
        """
        contents = document.get("manifests")
        if not isinstance(contents, list) or not all(isinstance(content, dict) for content in contents):
            raise ValueError("it has no list of manifests")
        places: dict[str, dict[str, tuple[Entry, ...]]] = {}
        for entry in map(Entry, contents):
            repository, reference = entry.place(default)
            there = places.setdefault(repository, {})
            there[reference] = (*there.get(reference, ()), entry)
        return cls(places, {key: value for key, value in document.items() if key != "manifests"})

    @property
    def entries(self) -> Iterator[Entry]:
        """All entries."""
        return (entry for there in self.places.values() for same in there.values() for entry in same)

    def entry(self, repository: str, reference: str) -> Entry | None:
        """The entry of a tag or digest."""
        return next(iter(self.places.get(repository, {}).get(reference, ())), None)

    def roots(self, repository: str) -> list[Descriptor]:
        """What a repository's entries point to."""
        entries = (same[0] for same in self.places.get(repository, {}).values())
        return [entry.descriptor for entry in entries if entry.descriptor]

    def with_entry(self, repository: str, reference: str, entry: Entry) -> LayoutIndex:
        """The index with an entry in place of those of the same name."""
        return self._with(repository, {**self.places.get(repository, {}), reference: (entry,)})

    def without(self, repository: str, reference: str) -> LayoutIndex:
        """The index without a tag, or without all entries of a repository for a digest."""
        there = self.places.get(repository, {})
        return self._with(
            repository,
            {
                name: same
                for name, same in there.items()
                if reference not in (name, is_digest(reference) and same[0].content.get("digest"))
            },
        )

    def serialized(self) -> bytes:
        """The document, one line an entry: a new one costs no work for the others."""
        rest = {"schemaVersion": 2, **self.rest}
        lines = ",\n".join(entry.text for entry in self.entries)
        return f'{json.dumps(rest)[:-1]}, "manifests": [\n{lines}\n]}}\n'.encode()

    def _with(self, repository: str, there: Mapping[str, tuple[Entry, ...]]) -> LayoutIndex:
        places = {**self.places, repository: there}
        if not there:
            del places[repository]
        return LayoutIndex(places, self.rest)


@dataclass(frozen=True)
class Edges:
    """What a manifest points to: the manifests of an index, and the one that it is attached to."""

    children: tuple[Descriptor, ...] = ()
    subject: str = ""


def edges_of(body: bytes) -> Edges:
    """The edges of a manifest; none where it is not one."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return Edges()
    if not isinstance(document, dict):
        return Edges()
    listed, subject = document.get("manifests"), _descriptor(document.get("subject"))
    children = map(_descriptor, listed if isinstance(listed, list) else [])
    return Edges(tuple(child for child in children if child), subject.digest if subject else "")


def _descriptor(content: object) -> Descriptor | None:
    if not isinstance(content, Mapping):
        return None
    digest, size, kind = (content.get(key) for key in ("digest", "size", "mediaType"))
    if not isinstance(digest, str) or not is_digest(digest):
        return None
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= BLOB_LIMIT:
        return None
    return Descriptor(digest, size, kind if isinstance(kind, str) else "")
