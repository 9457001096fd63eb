"""What sync has put into a registry, and since when nothing wants it: what prune and roll-back go by.

It lies beside the formula's other notes and not in Salt's cache, which gets cleared. What it does not
name is somebody else's: a ledger that is lost or damaged makes every image that, and nothing is pruned.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from _registry_oci_errors import RegistryError
from _registry_sync_signature_notes import SignatureNotes

DIRECTORY = "/var/lib/docker_registry"
VERSION = 1
# Who made a tag what it was.
SYNC, ROLLBACK, OTHER, PRUNE = "sync", "rollback", "other", "prune"
# Of one tag; older ones are forgotten first.
HISTORY = 50
# A clock may be set by so much without anybody noticing.
CLOCK_SECONDS = 60.0


def directory_below(root: str) -> str:
    """Where ledgers lie on a host.

    Args:
        root: Salt's ``root_dir``.
    """
    return str(Path(root or "/", DIRECTORY.lstrip("/")))


class LedgerError(RegistryError):
    """The ledger cannot be read or written."""


@dataclass(slots=True)
class Was:
    """What a tag was from some time on.

    Args:
        digest: of its manifest; empty = it was pruned.
        at: when it became that, in seconds since 1970.
        by: ``sync``, ``rollback``, ``prune``, or ``other``: it was found like that.
        gone: that manifest was deleted.
    """

    digest: str
    at: float
    by: str = SYNC
    gone: bool = False


@dataclass(slots=True)
class Entry:
    """One tag, or one digest that is kept without a tag.

    Args:
        history: what it was, the oldest first.
        unwanted: since when no list wants it, in seconds since 1970; 0 = it is wanted, or was not looked at.
        held: the digest that a roll-back holds it at; empty = none.
        pending: the digest that a sync is going to give it: it becomes that, or the sync was interrupted.
    """

    history: list[Was] = field(default_factory=list)
    unwanted: float = 0.0
    held: str = ""
    pending: str = ""

    @property
    def digest(self) -> str:
        """What sync, or a roll-back, made it last; empty = nothing yet."""
        return next((was.digest for was in reversed(self.history) if was.by != OTHER), "")


class Ledger:
    """The ledger of one registry.

    Args:
        directory: where it lies; empty = it lasts as long as this object, and knows nothing before.
        registry: the registry's URL.
        clock: seconds since 1970.
    """

    def __init__(self, directory: str, registry: str, *, clock: Callable[[], float] = time.time) -> None:
        self._path = Path(directory, f"ledger-{file_name(registry)}.json") if directory else None
        self._registry = registry
        self._clock = clock
        self._entries: dict[str, dict[str, Entry]] = {}
        # Manifests that were deleted, of each repository.
        self._gone: dict[str, set[str]] = {}
        self._written_at = 0.0
        self.signatures = SignatureNotes()
        self.complete = ""
        self.trouble = ""
        self._read()

    def __str__(self) -> str:
        return str(self._path or "the ledger")

    @property
    def now(self) -> float:
        """The time, in seconds since 1970; never before the ledger was last written.

        What a clock that went back notes would else have waited for years once it is right again.
        """
        return max(self._clock(), self._written_at)

    @property
    def clock_went_back(self) -> bool:
        """Whether it is earlier now than when the ledger was last written."""
        return self._clock() < self._written_at - CLOCK_SECONDS

    @property
    def written_at(self) -> float:
        """When it was last written as it was read, in seconds since 1970; 0 = never."""
        return self._written_at

    def repositories(self) -> list[str]:
        """Repositories in which sync has put something."""
        return sorted(self._entries)

    def references(self, repository: str) -> dict[str, Entry]:
        """Tags, and digests without one, that are known of a repository."""
        return self._entries.get(repository, {})

    def entry(self, repository: str, reference: str) -> Entry | None:
        """What is known of a tag."""
        return self._entries.get(repository, {}).get(reference)

    def last(self, repository: str, reference: str) -> str:
        """What a tag was last known to be, whoever made it that; empty = nothing is known."""
        return _last(self.entry(repository, reference) or Entry())

    def digest(self, repository: str, reference: str) -> str:
        """What sync, or a roll-back, made a tag last; empty = nothing yet."""
        entry = self.entry(repository, reference)
        return entry.digest if entry else ""

    def begin(self, plans: Iterable[tuple[str, str, str, str]]) -> None:
        """Note what a sync is going to do.

        Args:
            plans: of each tag the repository, the tag, the digest that it has, and the one it is to get.

        Raises:
            LedgerError: it cannot be written.
        """
        for repository, reference, before, after in plans:
            if before:
                self.found(repository, reference, before)
            self._entry(repository, reference).pending = after
        self.save()

    def found(self, repository: str, reference: str, digest: str) -> None:
        """Note what a tag was found to be, before it becomes something else."""
        entry = self._entry(repository, reference)
        if digest != _last(entry):
            entry.history.append(Was(digest, self.now, OTHER))

    def became(self, repository: str, reference: str, digest: str, by: str = SYNC) -> None:
        """Note what a tag has become."""
        entry = self._entry(repository, reference)
        entry.pending = ""
        entry.unwanted = 0.0
        if _last(entry) != digest or entry.history[-1].by == OTHER:
            entry.history.append(Was(digest, self.now, by))
        del entry.history[:-HISTORY]
        self._is_back(repository, digest)

    def settle(self, found: Mapping[tuple[str, str], str]) -> None:
        """Take for done what an interrupted or failed sync was going to do, and for not done what it has not.

        Args:
            found: of repository and tag the digest that is there; empty = none.
        """
        for (repository, reference), digest in found.items():
            entry = self.entry(repository, reference)
            if entry and entry.pending and entry.pending == digest:
                self.became(repository, reference, digest)
            elif entry:
                entry.pending = ""

    def pruned(self, repository: str, reference: str) -> None:
        """Note that a tag was pruned."""
        entry = self.entry(repository, reference)
        if entry:
            entry.unwanted = 0.0
            entry.history.append(Was("", self.now, PRUNE))

    def gone(self, repository: str, digest: str) -> None:
        """Note that a manifest was deleted, whatever tags it had."""
        self._gone.setdefault(repository, set()).add(digest)

    def _is_back(self, repository: str, digest: str) -> None:
        gone = self._gone.get(repository, set())
        if digest in gone:
            gone.remove(digest)
            for entry in self._entries[repository].values():
                for was in entry.history:
                    was.gone = was.gone and was.digest != digest

    def _mark_gone(self) -> None:
        """Once for all that are gone: a repository may have lost thousands."""
        for repository, gone in self._gone.items():
            for entry in self._entries.get(repository, {}).values():
                for was in entry.history:
                    was.gone = was.gone or was.digest in gone

    def note_unwanted(self, repository: str, reference: str, since: float) -> None:
        """Note since when nothing wants a tag.

        Args:
            repository: where.
            reference: a tag, or a digest without one; it need not be ours.
            since: seconds since 1970; 0 = it is wanted.
        """
        self._entry(repository, reference).unwanted = since

    def note_wanted(self, wanted: Mapping[str, Collection[str]]) -> None:
        """Note since when nothing wants what sync has put here.

        Args:
            wanted: of each repository the tags and digests that the list wants.
        """
        for repository, entries in self._entries.items():
            for reference, entry in entries.items():
                if reference in wanted.get(repository, ()):
                    entry.unwanted = 0.0
                elif entry.digest and not entry.unwanted:
                    entry.unwanted = self.now

    def hold(self, repository: str, reference: str, digest: str) -> None:
        """Hold a tag at a digest; empty = hold it no longer."""
        self._entry(repository, reference).held = digest

    def held(self) -> Iterator[tuple[str, str, str]]:
        """Repository, tag and digest of what roll-backs hold."""
        for repository, entries in self._entries.items():
            for reference, entry in entries.items():
                if entry.held:
                    yield repository, reference, entry.held

    def save(self) -> None:
        """Write it, whole or not at all.

        Raises:
            LedgerError: why it cannot be written.
        """
        if self._path is None or self.trouble:
            return
        self._mark_gone()
        draft = self._path.with_suffix(f".{os.getpid()}")
        content = {
            "version": VERSION,
            "registry": self._registry,
            "written": self.now,
            "complete": self.complete,
            "tags": {
                repository: {reference: asdict(entry) for reference, entry in entries.items()}
                for repository, entries in self._entries.items()
            },
            "signatures": self.signatures.content(),
        }
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with draft.open("w", encoding="utf-8") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as failure:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise LedgerError(f"{self._path}: cannot be written: {failure.strerror}") from None

    def _entry(self, repository: str, reference: str) -> Entry:
        return self._entries.setdefault(repository, {}).setdefault(reference, Entry())

    def _read(self) -> None:
        if self._path is None:
            return
        try:
            text = self._path.read_text("utf-8")
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as failure:
            self.trouble = f"{self._path}: cannot be read: {getattr(failure, 'strerror', 'it is no text')}"
            return
        try:
            self._take(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self._entries = {}
            self.trouble = f"{self._path}: is damaged"

    def _take(self, content: Any) -> None:
        # The same registry may speak TLS from one day on.
        if content["version"] != VERSION or _address(content["registry"]) != _address(self._registry):
            raise ValueError("another ledger")
        self._written_at = float(content["written"])
        self.complete = str(content["complete"])
        # Ledgers of before know nothing of signatures, which then stay.
        self.signatures.take(content.get("signatures", ()))
        for repository, entries in content["tags"].items():
            for reference, told in entries.items():
                entry = _entry_of(told)
                self._entries.setdefault(str(repository), {})[str(reference)] = entry
                gone = (was.digest for was in entry.history if was.gone)
                self._gone.setdefault(str(repository), set()).update(gone)


def _entry_of(told: Any) -> Entry:
    history = [
        Was(str(was["digest"]), float(was["at"]), str(was["by"]), bool(was["gone"]))
        for was in told["history"]
    ]
    return Entry(history, float(told["unwanted"]), str(told["held"]), str(told["pending"]))


def _last(entry: Entry) -> str:
    return entry.history[-1].digest if entry.history else ""


def file_name(registry: str) -> str:
    """A registry's URL as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", _address(registry))


def _address(registry: str) -> str:
    """A registry's URL without the scheme."""
    return registry.partition("://")[2]
