"""What manifests need: children that go with an index and those that stay, and the bytes that come free."""

from __future__ import annotations

from collections.abc import Iterable

from _registry_oci_errors import NotFound, RegistryError
from _registry_oci_manifest import NESTING_LIMIT
from _registry_oci_referrers import is_attachment_tag, stem_of, stems_of
from _registry_sync_edges import NOTHING, Edges
from _registry_sync_memory import Memory
from _registry_sync_prune import DOOMED, KEPT, Item
from _registry_sync_stores import Stores


class Graph:
    """What manifests need: which children go with an index, and which bytes with all of it."""

    def __init__(self, stores: Stores, memory: Memory) -> None:
        self._stores = stores
        self._memory = memory
        self._edges: dict[str, Edges] = {}
        # In one repository may be what another lacks.
        self._absent: set[tuple[str, str]] = set()

    def complete(self, items: list[Item]) -> list[Item]:
        """Add the children that nothing kept needs, and count the bytes.

        An index that cannot be read keeps what is in its repository: what it needs is not known.
        """
        by_repository: dict[str, list[Item]] = {}
        for item in items:
            by_repository.setdefault(item.repository, []).append(item)
        self._read([(item.repository, item.digest) for item in items if item.digest])
        completed = [item for group in by_repository.values() for item in self._with_children(group)]
        self._count_bytes(completed)
        return completed

    def _with_children(self, items: list[Item]) -> list[Item]:
        needed: set[str] = set()
        for item in items:
            if item.status == DOOMED:
                continue
            if not self._add_needs(item, needed):
                _keep_all(items, f"what {item.name} needs cannot be read")
                return items
        if not self._keep_attachments(items, needed):
            return items
        for item in items:
            if item.status == DOOMED and item.digest in needed:
                if ":" in item.reference:
                    item.status, item.reason = KEPT, "a kept index needs it"
                item.needed = True
        return [*items, *self._children(items, needed)]

    def _children(self, items: list[Item], needed: set[str]) -> list[Item]:
        """What is below doomed indexes and not needed; every doomed item is told what has it below it."""
        own: dict[str, list[Item]] = {}
        for item in items:
            own.setdefault(item.digest, []).append(item)
        children: dict[str, Item] = {}
        going = [item for item in items if item.status == DOOMED and item.digest and not item.needed]
        for item in going:
            for child in self.below(item.repository, item.digest) or ():
                if child in needed:
                    continue
                if child not in own:
                    reason = f"it is part of {item.reference}"
                    children[child] = Item(item.repository, child, child, DOOMED, reason, item.since)
                    own[child] = [children[child]]
                    going.append(children[child])
                for below in own[child]:
                    below.parents.append(item)
        # An index that is part of another comes before what is part of it.
        return sorted(children.values(), key=lambda child: len(child.parents))

    def _keep_attachments(self, items: list[Item], needed: set[str]) -> bool:
        """Keep what is attached to a child of a kept index, and what that needs; False: that is not known."""
        following = [item for item in items if item.status == DOOMED and is_attachment_tag(item.reference)]
        grows = True
        while grows:
            grows, stems = False, stems_of(needed)
            for item in following:
                if item.status == DOOMED and stem_of(item.reference) in stems:
                    item.status, item.reason, grows = KEPT, "its subject is kept", True
                    if not self._add_needs(item, needed):
                        _keep_all(items, f"what {item.name} needs cannot be read")
                        return False
        return True

    def _add_needs(self, item: Item, needed: set[str]) -> bool:
        """Add a manifest and what is below it; False where that cannot be told."""
        if not item.digest:
            return not item.unreadable
        below = self.below(item.repository, item.digest)
        needed.update((item.digest, *(below or ())))
        return below is not None

    def below(self, repository: str, digest: str) -> list[str] | None:
        """Everything below an index, the nearest first; None where that cannot be told."""
        level, found = [digest], dict[str, None]()
        for _ in range(NESTING_LIMIT + 1):
            self._read([(repository, name) for name in level])
            edges = [self._edges_in(repository, name) for name in level]
            if any(each.unreadable for each in edges):
                return None
            level = [child for each in edges for child in each.children if child not in found]
            found.update(dict.fromkeys(level))
        return None if level else list(found)

    def sizes(self, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], dict[str, int] | None]:
        """What manifests take with all that is below them.

        Args:
            pairs: a repository and a digest in it, of each manifest.

        Returns:
            Of each pair digest → bytes, itself among them; None where that cannot be told.
        """
        wanted = list(pairs)
        self._read(wanted)
        return {pair: self._sizes_below(*pair) for pair in wanted}

    def _sizes_below(self, repository: str, digest: str) -> dict[str, int] | None:
        below = self.below(repository, digest)
        if below is None:
            return None
        found: dict[str, int] = {}
        for name in (digest, *below):
            found.update(self._edges_in(repository, name).sizes)
        return found or None

    def _edges_in(self, repository: str, digest: str) -> Edges:
        return NOTHING if (repository, digest) in self._absent else self._edges[digest]

    def _read(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Read manifests, each once; one that a repository lacks is asked of the next that should have it."""
        left = list(dict.fromkeys(pairs))
        while left:
            left = [pair for pair in left if pair[1] not in self._edges and pair not in self._absent]
            turn = {digest: repository for repository, digest in left}
            read = self._stores.map_target(lambda pair: self._edges_of(*pair), list(turn.items()))
            for (digest, repository), edges in zip(turn.items(), read, strict=True):
                if edges is None:
                    self._absent.add((repository, digest))
                else:
                    self._edges[digest] = edges

    def _edges_of(self, digest: str, repository: str) -> Edges | None:
        """What a manifest names; None where the repository has it not."""
        told = self._memory.get("edges", digest)
        if told is not None:
            return Edges.from_words(told)
        try:
            edges = Edges.of(self._stores.target.manifest(repository, digest))
        except NotFound:
            return None
        except RegistryError:
            return Edges(unreadable=True)
        self._memory.put(edges.in_words(), "edges", digest)
        return edges

    def _count_bytes(self, items: Iterable[Item]) -> None:
        """Count for each doomed digest the bytes that nothing kept, and no earlier item, needs."""
        everything = list(items)
        counted: set[str] = set()
        for item in everything:
            if item.status != DOOMED and item.digest:
                for digest in (item.digest, *(self.below(item.repository, item.digest) or ())):
                    counted.update(self._edges_in(item.repository, digest).sizes)
        for item in everything:
            if item.status == DOOMED and not item.stays and item.digest:
                self._read([(item.repository, item.digest)])
                own = self._edges_in(item.repository, item.digest).sizes
                item.size = sum(size for digest, size in own.items() if digest not in counted)
                counted.update(own)


def _keep_all(items: Iterable[Item], reason: str) -> None:
    for item in items:
        if item.status == DOOMED:
            item.status, item.reason = KEPT, reason
