"""What the local registry has, for whoever makes a bundle for it."""

from __future__ import annotations

from pathlib import Path

from _registry_config_values import Settings
from _registry_http_retry import Run
from _registry_oci_errors import RegistryError
from _registry_oci_manifest import NESTING_LIMIT, Manifest
from _registry_oci_names import is_digest
from _registry_store_bundle_base import Stock, now
from _registry_sync_inventory import take_inventory
from _registry_sync_lookaside import read_kept
from _registry_sync_stores import Stores, open_stores


def take_stock(settings: Settings) -> Stock:
    """List tags, manifests, blobs and simple signatures of the local registry.

    Raises:
        RegistryError: it does not answer, or does not say what it has.
    """
    stores = open_stores(settings, Run(settings.transfer))
    try:
        return stock_of(stores, settings)
    finally:
        stores.close()


def stock_of(stores: Stores, settings: Settings) -> Stock:
    """The same, of the target of stores.

    Raises:
        RegistryError: it does not answer, or does not say what it has.
    """
    inventory = take_inventory(stores, [], everything=True)
    for failure in (inventory.error, inventory.catalog_error):
        if failure:
            raise failure
    stock = Stock(name=settings.local.name, created=now(), places={})
    level = [(repository, tag) for repository, tags in sorted(inventory.tags.items()) for tag in sorted(tags)]
    seen: set[tuple[str, str]] = set()
    for _ in range(NESTING_LIMIT + 1):
        level = [one for one in level if one not in seen]
        seen.update(level)
        below = []
        for (repository, reference), manifest in zip(level, _manifests(stores, level), strict=True):
            if manifest is None:
                continue
            if not is_digest(reference):
                stock.tags.setdefault(repository, {})[reference] = manifest.digest
            seen.add((repository, manifest.digest))
            _note(stock, repository, manifest)
            below += [(repository, child.digest) for child in manifest.children]
        level = list(dict.fromkeys(below))
    _count_signatures(stock, settings)
    return stock


def _manifests(stores: Stores, names: list[tuple[str, str]]) -> list[Manifest | None]:
    def read(name: tuple[str, str]) -> Manifest | None:
        try:
            return stores.target.manifest(*name)
        except RegistryError:
            # It is not whole here, and so is not counted on.
            return None

    return stores.map_target(read, names)


def _note(stock: Stock, repository: str, manifest: Manifest) -> None:
    stock.put(repository, manifest.digest)
    about = manifest.subject.digest if manifest.subject else ""
    stock.manifests[manifest.digest] = (manifest.size, manifest.media_type, about)
    stock.blobs.update(blob.digest for blob in manifest.blobs)


def _count_signatures(stock: Stock, settings: Settings) -> None:
    root = Path(settings.signatures.directory)
    for directory in root.glob("**/*@*=*") if root.is_dir() else ():
        repository, _, name = directory.relative_to(root).as_posix().rpartition("@")
        digest = name.replace("=", ":", 1)
        if is_digest(digest) and (kept := read_kept(directory)):
            stock.signatures[digest] = max(len(kept), stock.signatures.get(digest, 0))
            if stock.has(repository, digest):
                stock.put(repository, digest, kept)
