"""What a manifest names, in the short form in which it is remembered from one run to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from _registry_oci_manifest import Manifest
from _registry_sync_memory import Memory


@dataclass(frozen=True)
class Edges:
    """What a manifest names: children, and blobs with their bytes, itself among them."""

    children: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    unreadable: bool = False

    @classmethod
    def of(cls, manifest: Manifest) -> Edges:
        """Of a manifest that was read."""
        return cls(
            tuple(child.digest for child in manifest.children),
            {blob.digest: blob.size for blob in manifest.blobs} | {manifest.digest: len(manifest.body)},
        )

    def in_words(self) -> str:
        """For the memory of what was read."""
        return " ".join((*self.children, *(f"{digest}={size}" for digest, size in self.sizes.items())))

    @classmethod
    def from_words(cls, words: str) -> Edges:
        """The same back."""
        parts = [word.partition("=") for word in words.split()]
        return cls(
            tuple(digest for digest, sign, _ in parts if not sign),
            {digest: int(size) for digest, sign, size in parts if sign},
        )


NOTHING = Edges()


def remember(manifests: Iterable[Manifest], memory: Memory) -> None:
    """Note what manifests need that have been read anyway, so that a prune need not read them again."""
    for manifest in manifests:
        memory.put(Edges.of(manifest).in_words(), "edges", manifest.digest)
