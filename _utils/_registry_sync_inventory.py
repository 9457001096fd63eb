"""What the target holds: the repositories of the image list tag by tag, the others by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from _registry_oci_errors import NotFound, RegistryError, Unauthorized
from _registry_sync_stores import Stores


@dataclass(slots=True)
class Inventory:
    """What the target holds by name, and whether it answers at all.

    Args:
        up: it answers.
        error: why it does not.
        tags: of each repository that was asked.
        unknown: repositories of the list that are said not to exist.
        unread: repositories whose tags would not be listed, and why.
        known: repositories of the list that the catalog names, too: they may hold blobs without a tag.
        others: repositories that the list does not name.
        catalog_error: why nothing is known of others, where that is a failure.
    """

    up: bool = False
    error: RegistryError | None = None
    tags: dict[str, set[str]] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    unread: dict[str, RegistryError] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    others: list[str] = field(default_factory=list)
    catalog_error: RegistryError | None = None

    @property
    def repositories(self) -> int:
        """How many repositories hold a tag, those that were not asked included."""
        return sum(1 for names in self.tags.values() if names) + len(set(self.others) - self.tags.keys())

    @property
    def failure(self) -> str:
        """Why the target does not answer, or what it would not say, if anything."""
        if self.catalog_error and not self.error:
            return f"{self.catalog_error}; without its catalog other repositories are not known"
        return str(self.error or next(iter(self.unread.values()), ""))


def take_inventory(
    stores: Stores, repositories: Iterable[str], *, catalog: bool = True, everything: bool = False
) -> Inventory:
    """List what the target holds.

    Args:
        stores: how it is reached.
        repositories: those of the image list.
        catalog: name the others; a registry walks all that it has for that.
        everything: list the tags of the others, too.
    """
    try:
        stores.connect_target()
    except RegistryError as failure:
        return Inventory(up=isinstance(failure, Unauthorized), error=failure)
    inventory = Inventory(up=True)
    wanted = list(dict.fromkeys(repositories))

    def list_tags(name: str) -> None:
        try:
            inventory.tags[name] = set(stores.target.tags(name))
        except NotFound:
            # A catalog also names repositories that have blobs but no tag.
            inventory.tags[name] = set()
            inventory.unknown.add(name)
        except RegistryError as failure:
            inventory.unread[name] = failure

    def list_others() -> None:
        try:
            names = set(stores.target.repositories())
        except RegistryError as failure:
            # It is an extension that registries may do without; how many others there are is then not known.
            inventory.catalog_error = failure
            return
        inventory.known = names.intersection(wanted)
        inventory.others = sorted(names.difference(wanted))

    looks: list[Callable[[], None]] = [partial(list_tags, name) for name in wanted]
    if catalog:
        looks.insert(0, list_others)
    stores.map_target(lambda look: look(), looks)
    if everything:
        stores.map_target(list_tags, inventory.others)
    return inventory
