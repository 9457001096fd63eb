"""Write the list's images into a bundle, straight from upstream or from the mirror."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from _registry_config_values import Image, Settings
from _registry_http_retry import Run
from _registry_oci_errors import LOCAL, UPSTREAM, RegistryError
from _registry_oci_manifest import OCI_INDEX, Manifest
from _registry_oci_names import is_digest
from _registry_oci_referrers import referrer
from _registry_oci_tags import TagRule
from _registry_show_progress import Progress
from _registry_show_report import Report
from _registry_store_bundle_base import Stock, StockStore, now, read_stock, with_more
from _registry_store_bundle_format import (
    CONTENTS,
    INDEX,
    INVENTORY,
    SIGNATURE,
    SUMS,
    Contents,
    Member,
    Packed,
    blob_name,
    pack,
    read_contents,
    signature_name,
)
from _registry_store_bundle_read import BundleFiles
from _registry_store_bundle_target import BundleTarget
from _registry_store_bundle_write import BundleWriter
from _registry_store_layout_index import CONTAINERD_NAME, REFERENCE_NAME
from _registry_sync_bundle_signed import sign
from _registry_sync_compare import compare
from _registry_sync_copy import TransferStats, execute
from _registry_sync_jobs import in_parallel
from _registry_sync_lock import stopping_on_signals
from _registry_sync_lookaside import Found, Lookaside
from _registry_sync_memory import Memory
from _registry_sync_plan import Plan, make_plan, source_of
from _registry_sync_publish import Publisher
from _registry_sync_report import report_on
from _registry_sync_signed import verify_signatures
from _registry_sync_stores import Stores, open_stores
from _registry_sync_tag import Tag, chosen

SUBJECT = "io.containerd.manifest.subject"
SOURCES = (UPSTREAM, LOCAL)
# What an earlier run has left is hashed by so many at a time.
HASHERS = 2


class Kept(Lookaside):
    """The stores of simple signatures, which are gathered instead of kept on this host.

    ``digests`` has by the ``id`` of each tag the manifests whose signatures were asked for.
    """

    def __init__(self, settings: Settings, run: Run, stock: Stock) -> None:
        super().__init__(settings.signatures, run)
        self.gathered: dict[str, tuple[bytes, ...]] = {}
        self.digests: Mapping[int, Sequence[str]] = {}
        self._stock = stock
        self._local = settings.local

    def covers(self, image: Image) -> bool:
        """Whether signatures may be had: of the mirror's images those that it has kept."""
        return image.source == self._local or super().covers(image)

    def publish(self, image: Image, digest: str) -> RegistryError | None:
        """Gather what is beyond what the other side has."""
        found: Found = self.find(image, digest)
        there = dict.fromkeys((*self.gathered.get(digest, ()), *found.signatures))
        if not self._stock.has_signatures(image.target, digest, found.signatures):
            self.gathered[digest] = tuple(there)
        return found.error

    def gathered_for(self, tag: Tag) -> list[str]:
        """The manifests of a tag of which signatures were gathered."""
        return [digest for digest in self.digests.get(id(tag), ()) if digest in self.gathered]


@dataclass
class _Packing:
    """What goes into a bundle, in the order in which it is to lie there."""

    names: Mapping[str, str]
    images: list[Packed] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, Member] = field(default_factory=dict)
    small: dict[str, bytes] = field(default_factory=dict)
    stock: Stock = field(default_factory=Stock)
    named: dict[str, str] = field(default_factory=dict)

    def repository_of(self, tag: Tag, root: Manifest) -> str:
        """``host/repository``; the target where that has another image of this reference already."""
        upstream = self.names[tag.wanted_by.key]
        name = _full_name(upstream, tag.target_reference)
        return upstream if self.named.setdefault(name, root.digest) == root.digest else tag.target

    def add_blob(self, digest: str, size: int) -> None:
        name = blob_name(digest)
        self.files.setdefault(name, Member(name, size))
        self.stock.blobs.add(digest)

    def add_manifest(self, repository: str, manifest: Manifest) -> None:
        name = blob_name(manifest.digest)
        self.files[name] = Member(name, manifest.size)
        self.small[name] = manifest.body
        about = manifest.subject.digest if manifest.subject else ""
        self.stock.manifests[manifest.digest] = (manifest.size, manifest.media_type, about)
        self.stock.put(repository, manifest.digest)

    def add_small(self, name: str, body: bytes) -> None:
        self.files[name] = Member(name, len(body))
        self.small[name] = body


def export(
    settings: Settings,
    path: str,
    *,
    since: str = "",
    volume: int = 0,
    source: str = UPSTREAM,
    sign_with: str = "",
    test: bool = False,
    directory: str = "",
    progress: Progress | None = None,
) -> Report:
    """Write a bundle, or say what would be in it.

    Args:
        settings: the list, and where it comes from.
        path: of the bundle; it has another name until it is whole.
        since: an inventory of the other side, or a former bundle: what that has is left out.
        volume: bytes that a volume may have; 0 = a directory.
        source: ``upstream``, or ``local`` for the mirror.
        sign_with: fingerprint of a key of gpg's; empty = it is not signed.
        test: write nothing.
        directory: where is kept what need not be read again; empty = nowhere.
        progress: is told what moves and what is done.

    Returns:
        A report with ``bundle``.

    Raises:
        RegistryError: it cannot be written, or something else is there.
    """
    began = time.monotonic()
    stock = read_stock(since)
    names = _names(settings.images)
    settings = from_mirror(settings) if source == LOCAL else settings
    run = Run(settings.transfer)
    stores = open_stores(settings, run)
    stores.target = StockStore(stock)
    memory = Memory(directory)
    with stopping_on_signals(run):
        planned, kept = _plan(settings, stores, memory, stock)
        packing = _pack(planned, stores, kept, _already(planned, kept), names)
        contents = pack(
            packing.images,
            list(packing.files.values()),
            stock.base,
            created=now(),
            volume=volume,
            path=path,
            small=packing.small,
        )
        known = _known(path, contents)
        stats: TransferStats | None = None
        sums: Mapping[str, str] = {}
        if known is None and not test:
            stats, contents, sums = _write(
                path, contents, packing, stock, planned, stores, progress or Progress(), sign_with
            )
        elif known is not None:
            contents = known
            _as_copied(planned)
    report = report_on(
        settings, planned.comparison, (), began, planned=None if stats else planned, stats=stats
    )
    report["registry"]["url"] = path
    report["bundle"] = describe(contents, path, new=bool(sums), sums=sums)
    return report


def from_mirror(settings: Settings) -> Settings:
    """The list with the mirror in the place of every upstream: what it has, as it has it."""
    images = tuple(
        replace(
            image,
            source=settings.local,
            repository=image.target,
            tags=_tags_here(image),
            platforms=(),
            signed_as=image.signed_name,
        )
        for image in settings.images
    )
    return replace(settings, images=images)


def _tags_here(image: Image) -> TagRule:
    """The tags of an entry in the mirror: what is left of a pinned index has a digest of its own there."""
    if not image.platforms:
        return image.tags
    return replace(image.tags, include=tuple(entry.partition("@")[0] for entry in image.tags.include))


def describe(contents: Contents, path: str, *, new: bool, sums: Mapping[str, str]) -> dict[str, Any]:
    """What a report says of a bundle."""
    return {
        "path": path,
        "id": contents.id,
        "created": contents.created,
        "base": dict(vars(contents.base)) if contents.base.id else {},
        "new": new,
        "images": len(contents.images),
        "blobs": len(contents.volumes_of),
        "bytes": contents.size,
        "volumes": {
            name: {"bytes": _size(path, name), "sha256": sums.get(name, "")}
            for name in contents.volumes
            if name
        },
        "cut": sorted(contents.pieces),
    }


def _size(path: str, name: str) -> int:
    try:
        return (Path(path) / name).stat().st_size
    except OSError:
        return 0


def _plan(settings: Settings, stores: Stores, memory: Memory, stock: Stock) -> tuple[Plan, Kept]:
    comparison = compare(settings.images, stores, memory, attachments=settings.attachments)
    kept = Kept(settings, stores.run, stock)
    looked = settings.attachments.travel
    verify_signatures(comparison.tags, settings.keys, stores, memory, kept.find, looked=looked)
    # What the other side has anywhere it can mount: every repository may have something.
    planned = make_plan(comparison, stores, (image.target for image in settings.images))
    publisher = Publisher(kept, planned, stores, memory)
    publisher.prepare()
    for tag, _ in planned.roots:
        publisher.publish(tag)
    memory.save()
    kept.digests = publisher.digests
    return planned, kept


def _already(plan: Plan, kept: Kept) -> list[Tag]:
    """Tags whose image the other side has, and that get something beside it."""
    moving = {id(tag) for tag, _ in plan.roots}
    attached = {id(tag) for tag in plan.attaching}
    return [
        tag
        for tag in plan.comparison.tags
        if id(tag) not in moving
        and tag.status in ("current", "stale")
        and (id(tag) in attached or kept.gathered_for(tag))
    ]


def _pack(
    plan: Plan, stores: Stores, kept: Kept, already: Sequence[Tag], names: Mapping[str, str]
) -> _Packing:
    """Say what goes into the bundle: images one after the other, as they are complete soonest."""
    packing = _Packing(names)
    _add_blobs_and_manifests(packing, plan)
    for tag in already:
        store, repository = source_of(tag, stores)
        plan.manifests[tag.upstream] = tag.root or chosen(tag, store.manifest(repository, tag.source))
        packing.add_manifest(tag.target, plan.manifests[tag.upstream])
    for digest, signatures in kept.gathered.items():
        for number, body in enumerate(signatures, 1):
            packing.add_small(signature_name(digest, number), body)
        packing.stock.signatures[digest] = len(signatures)
    roots = {id(tag): root for tag, root in plan.roots}
    roots |= {id(tag): plan.manifests[tag.upstream] for tag in already}
    for tag in plan.comparison.tags:
        if root := roots.get(id(tag)):
            _add_image(packing, tag, root)
            for digest in kept.gathered_for(tag):
                packing.stock.put(tag.target, digest, kept.gathered[digest])
    packing.add_small(INDEX, _index(packing.entries))
    return packing


def _add_blobs_and_manifests(packing: _Packing, plan: Plan) -> None:
    turn = {missing.blob.digest: number for number, missing in enumerate(plan.to_copy)}
    sizes = {missing.blob.digest: missing.blob.size for missing in plan.to_copy}

    def below(manifest: Manifest) -> list[Manifest]:
        children = [plan.manifests[child.digest] for child in manifest.children]
        return [*(one for child in children for one in below(child)), manifest]

    content = [
        (tag.target, [one for root in manifests for one in below(root)]) for tag, manifests in plan.content
    ]

    def last(manifests: Iterable[Manifest]) -> int:
        return max((turn.get(blob.digest, -1) for one in manifests for blob in one.blobs), default=-1)

    for target, manifests in sorted(content, key=lambda pair: last(pair[1])):
        blobs = {blob.digest for one in manifests for blob in one.blobs}
        for digest in sorted(blobs & turn.keys(), key=lambda one: turn[one]):
            packing.add_blob(digest, sizes[digest])
        for one in manifests:
            packing.add_manifest(target, one)


def _add_image(packing: _Packing, tag: Tag, root: Manifest) -> None:
    repository = packing.repository_of(tag, root)
    name = _full_name(repository, tag.target_reference)
    packing.images.append(Packed(name, tag.target, tag.target_reference, root.digest, tag.local))
    if not is_digest(tag.target_reference):
        packing.stock.tags.setdefault(tag.target, {})[tag.target_reference] = root.digest
    packing.entries.append(_entry(root, name))
    for one in tag.lacking:
        if one.manifest is None:
            continue
        if one.tag:
            packing.entries.append(_entry(one.manifest, _full_name(repository, one.tag)))
            packing.stock.tags.setdefault(tag.target, {})[one.tag] = one.manifest.digest
        else:
            described = referrer(one.manifest)
            notes = {**described.get("annotations", {}), SUBJECT: one.subject}
            packing.entries.append({**described, "annotations": notes})


def _names(images: Iterable[Image]) -> dict[str, str]:
    """Of each entry of the list ``host/repository`` as an engine would ask for it."""
    return {image.key: image.upstream_name for image in images}


def _full_name(name: str, reference: str) -> str:
    return f"{name}{'@' if is_digest(reference) else ':'}{reference}"


def _entry(manifest: Manifest, name: str) -> dict[str, Any]:
    return {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": manifest.size,
        "annotations": {REFERENCE_NAME: name, CONTAINERD_NAME: name},
    }


def _index(entries: Iterable[dict[str, Any]]) -> bytes:
    lines = list(dict.fromkeys(json.dumps(entry) for entry in entries))
    listed = ",\n".join(lines)
    return f'{{"schemaVersion": 2, "mediaType": "{OCI_INDEX}", "manifests": [\n{listed}\n]}}\n'.encode()


def _known(path: str, contents: Contents) -> Contents | None:
    """The bundle that is there already, if it is this very one.

    Raises:
        RegistryError: it is another one, not whole, or something else.
    """
    there = Path(path)
    if not there.exists() and not there.is_symlink():
        return None
    if not (there / SUMS).exists() or not (there / CONTENTS).exists():
        raise RegistryError(f"{path} is something else than a bundle; nothing was written", side=LOCAL)
    known = read_contents((there / CONTENTS).read_bytes(), path)
    if known.id != contents.id:
        raise RegistryError(
            f"{path} is another bundle, of {known.created}; take it away or name another path", side=LOCAL
        )
    files = BundleFiles(path)
    files.close()
    for why in files.amiss.values():
        raise RegistryError(f"{path}: {why}; take it away or name another path", side=LOCAL)
    return known


def _as_copied(plan: Plan) -> None:
    moving = {id(tag) for tag, _ in plan.roots} | {id(tag) for tag in plan.attaching}
    for tag in plan.comparison.tags:
        if id(tag) in moving:
            tag.status, tag.size = "copied", 0
    plan.missing.clear()


def _write(
    path: str,
    contents: Contents,
    packing: _Packing,
    stock: Stock,
    plan: Plan,
    stores: Stores,
    progress: Progress,
    sign_with: str,
) -> tuple[TransferStats, Contents, Mapping[str, str]]:
    after = with_more(stock, replace(packing.stock, name=f"bundle {contents.id}", created=contents.created))
    beside = {INVENTORY: after.serialized()}
    writer = BundleWriter(path, contents, packing.small, beside)
    try:
        in_parallel(writer.verify, writer.unverified(), HASHERS, stores.run.stopping)
        stores.target = BundleTarget(writer)
        stats = execute(plan, stores, progress)
        if any(tag.status == "failed" for tag, _ in plan.content):
            return stats, writer.contents, {}
        sums = writer.finish()
        body = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())).encode()
        if sign_with:
            writer.put(SIGNATURE, sign(body, sign_with))
        writer.put(SUMS, body)
        writer.publish()
    finally:
        writer.close()
    return stats, writer.contents, sums
