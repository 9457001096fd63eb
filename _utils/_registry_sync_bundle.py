"""A bundle beside the local registry: what it would bring, and whether it is whole."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from _registry_config_values import Image, Settings
from _registry_http_endpoint import Endpoint
from _registry_http_retry import Run
from _registry_oci_errors import NotFound, RegistryError, Stopped
from _registry_oci_names import is_digest, printable
from _registry_oci_tags import parse_date
from _registry_show_report import FAILED, OUT_OF_DATE, UP_TO_DATE, Report
from _registry_store_bundle_format import BadBundle, Packed
from _registry_store_bundle_read import BundleFiles
from _registry_store_bundle_source import BundleStore
from _registry_store_protocol import Store
from _registry_sync_blobs import Source, read_whole
from _registry_sync_bundle_images import foreign_images, packed_images, refuse_into, split_name
from _registry_sync_bundle_signed import demand_signature
from _registry_sync_compare import Comparison, compare
from _registry_sync_export import describe
from _registry_sync_jobs import in_parallel
from _registry_sync_lookaside import LARGEST_SIGNATURE, Found, Lookaside, is_signature
from _registry_sync_memory import Memory
from _registry_sync_plan import Plan, blobs_below, make_plan
from _registry_sync_report import report_on
from _registry_sync_signed import verify_signatures
from _registry_sync_stores import Stores, open_stores
from _registry_sync_tag import Tag

HASHERS = 2
CONFIG_LIMIT = 4 * 1024 * 1024


class BundleEndpoint(Endpoint):
    """A bundle in the place of an upstream."""

    def __str__(self) -> str:
        return f"bundle {self.host}"

    @property
    def name(self) -> str:
        """Its path."""
        return self.host


class BundleSignatures(Lookaside):
    """The simple signatures that a bundle brings, which are kept beside those that are here."""

    def __init__(self, settings: Settings, run: Run, files: BundleFiles) -> None:
        super().__init__(settings.signatures, run)
        self._files = files

    def covers(self, image: Image) -> bool:
        """A bundle tells of every image what it has."""
        return True

    def _find(self, image: Image, digest: str) -> Found:
        kept = super()._find(image, digest).signatures
        found = [*kept]
        try:
            for one in self._files.signatures(digest, LARGEST_SIGNATURE):
                if not is_signature(one):
                    raise BadBundle(f"{self._files} has something else than a signature of {digest}")
                found += [one] if one not in kept else []
        except RegistryError as failure:
            return Found(tuple(found), len(kept), failure)
        return Found(tuple(found), len(kept))

    def _store(self, image: Image) -> None:
        return None


@dataclass
class Opened:
    """A bundle, and the local registry, compared.

    Args:
        files: of the bundle.
        settings: with the bundle's images in the place of the list.
        stores: from the one to the other.
        signed_by: who has signed the bundle, if that is asked for.
        packed: ``repository:tag`` → what the bundle says of it; empty for somebody else's layout.
    """

    files: BundleFiles
    settings: Settings
    stores: Stores
    signed_by: str
    packed: Mapping[str, Packed]

    def leaves_out(self, digest: str) -> bool:
        """Whether the bundle has no such blob, and builds on a registry that may have it anywhere."""
        contents = self.files.contents
        return contents is not None and bool(contents.base.id) and self.files.blob_size(digest) is None


def open_bundle(
    settings: Settings,
    path: str,
    run: Run,
    *,
    into: str = "",
    accept: Sequence[str] = (),
    storage: str = "",
) -> Opened:
    """Read what a bundle has.

    Args:
        settings: of the local registry, and who must have signed which image.
        path: of the bundle, or of another OCI layout.
        run: what workers share.
        into: ``repository`` or ``repository:tag`` for what has no name of its own.
        accept: names of keys, one of which must have signed it.
        storage: the directory in which the local registry keeps its images; empty = it is not of this host.

    Raises:
        BadBundle: it is none, or ``into`` is not for what it has.
        NotSigned: nobody of ``accept`` has signed it.
    """
    files = BundleFiles(path)
    signed_by = demand_signature(files, accept, settings.keys)
    store = BundleStore(files)
    endpoint = BundleEndpoint("upstream", host=path, port=0)
    if files.contents:
        agree(files, store)
        refuse_into(store, into)
        images = packed_images(files.contents.images, endpoint, settings)
        packed = {_name(one): one for one in files.contents.images}
    else:
        images, packed = foreign_images(store, endpoint, settings, into), {}
    stores = open_stores(settings, run, storage)
    stores = Stores(run, stores.target, {endpoint: store})
    return Opened(files, _with_images(settings, images), stores, signed_by, packed)


def agree(files: BundleFiles, store: BundleStore) -> None:
    """See that the index names what the table of contents does.

    Raises:
        BadBundle: it names another manifest.
    """
    if not files.has_file("index.json"):
        return
    index = store.index()
    for one in files.contents.images if files.contents else ():
        repository, _ = split_name(one.name)
        entry = index.entry(repository, one.reference)
        if entry is None or entry.descriptor is None or entry.descriptor.digest != one.digest:
            raise BadBundle(f"{files.path}: index.json has another image as {printable(one.name, 200)}")


def compare_with(
    opened: Opened, memory: Memory, *, assume_empty: bool = False, force: bool = False
) -> Comparison:
    """Say how the local registry stands to a bundle; tags that are newer here are ``held`` unless forced."""
    settings, stores = opened.settings, opened.stores
    comparison = compare(
        settings.images, stores, memory, assume_empty=assume_empty, attachments=settings.attachments
    )
    if not force:
        stores.map_target(
            lambda tag: _hold(tag, opened), [tag for tag in comparison.tags if _goes_back(tag, opened)]
        )
    lookaside = BundleSignatures(settings, stores.run, opened.files)
    looked = settings.attachments.travel
    asked = settings.engine.policy
    verify_signatures(
        comparison.tags, settings.keys, stores, memory, lookaside.find, looked=looked, engines_ask=asked
    )
    return comparison


def inspect(settings: Settings, path: str, *, into: str = "", accept: Sequence[str] = ()) -> Report:
    """Say whether a bundle is whole, what it would bring, and whether what it builds on is here.

    Args:
        settings: of the local registry.
        path: of the bundle.
        into: ``repository`` or ``repository:tag`` for what has no name of its own.
        accept: names of keys, one of which must have signed it.

    Returns:
        A report with ``bundle``; nothing is changed.
    """
    began = time.monotonic()
    run = Run(settings.transfer)
    opened = open_bundle(settings, path, run, into=into, accept=accept)
    damaged = check_sums(opened)
    report, _ = look(opened, Memory(""), began)
    report["bundle"]["damaged"] = damaged
    opened.files.close()
    return report


def look(opened: Opened, memory: Memory, began: float, *, force: bool = False) -> tuple[Report, Plan]:
    """What an import would do."""
    comparison = compare_with(opened, memory, assume_empty=True, force=force)
    planned = make_plan(comparison, opened.stores, leaves_out=opened.leaves_out)
    tell_what_waits(planned, opened)
    report = report_on(opened.settings, comparison, (), began, planned=planned)
    report["bundle"] = told(opened, comparison.tags)
    return report, planned


def bundle_code(report: Report) -> int:
    """What a script is told: 0 all of it can be imported, 2 volumes or the base are lacking, 1 damaged."""
    if report["bundle"]["damaged"] or not report["registry"]["up"]:
        return FAILED
    return OUT_OF_DATE if report["summary"]["unreadable"] else UP_TO_DATE


def told(opened: Opened, tags: Sequence[Tag]) -> dict[str, Any]:
    """What a report says of a bundle, and of how many tags wait for what is not at hand."""
    files = opened.files
    if files.contents is None:
        return {"path": str(files.path), "id": "", "volumes": {}, "amiss": {}, "damaged": {}, "signed_by": ""}
    about = describe(files.contents, str(files.path), new=False, sums=files.sums)
    amiss = {name or "directory": _with_those_who_wait(why, tags) for name, why in files.amiss.items()}
    if any(str(files.contents.base) in tag.error for tag in tags if files.contents.base.id):
        why = NotFound(f"the bundle builds on {files.contents.base}, which is not all here")
        amiss["base"] = _with_those_who_wait(why, tags, str(files.contents.base))
    damaged = {name or "directory": str(why) for name, why in files.amiss.items() if _is_damage(why)}
    return {**about, "amiss": amiss, "damaged": damaged, "signed_by": opened.signed_by}


def _with_those_who_wait(why: RegistryError, tags: Sequence[Tag], sign: str = "") -> str:
    waiting = sum((sign or str(why)) in tag.error for tag in tags)
    return f"{why}; {waiting} of {len(tags)} tags wait for it"


def check_sums(opened: Opened) -> dict[str, str]:
    """Hash all that ``SHA256SUMS`` names: name → what is wrong with it, missing files left out."""
    files = opened.files
    names = list(files.sums)
    found = in_parallel(files.check_sums, names, HASHERS, opened.stores.run.stopping)
    for name, why in zip(names, found, strict=True):
        if why and name.endswith(".tar") and not isinstance(why, NotFound):
            files.amiss.setdefault(name, why)
    broken = {name: str(why) for name, why in zip(names, found, strict=True) if why and _is_damage(why)}
    cut = {name: str(why) for name, why in files.amiss.items() if _is_damage(why)}
    return {**broken, **cut}


def tell_what_waits(plan: Plan, opened: Opened) -> None:
    """Make tags ``unreadable`` that need a blob which is neither in the bundle nor here."""
    gone: dict[str, str] = {}
    for missing in plan.to_copy:
        if opened.files.blob_size(missing.blob.digest) is None:
            try:
                opened.files.explain(missing.blob.digest)
            except NotFound as failure:
                gone[missing.blob.digest] = str(failure)
    for tag, manifests in plan.content if gone else ():
        needed = [blob.digest for one in manifests for blob in blobs_below(one, plan.manifests)]
        reason = next((gone[digest] for digest in needed if digest in gone), "")
        if reason:
            tag.fail("unreadable", NotFound(reason))


def _is_damage(why: RegistryError) -> bool:
    return not isinstance(why, NotFound)


def _goes_back(tag: Tag, opened: Opened) -> bool:
    """Whether a tag is here as something else than the bundle builds on."""
    packed = opened.packed.get(tag.name)
    was = packed.was if packed else ""
    return tag.status == "stale" and bool(tag.local) and tag.local not in (tag.upstream, was)


def _hold(tag: Tag, opened: Opened) -> None:
    source = opened.stores.source(tag.wanted_by.source)
    there = _created(source, tag.wanted_by.repository, tag.upstream, opened.stores)
    here = _created(opened.stores.target, tag.target, tag.local, opened.stores)
    first, second = parse_date(there), parse_date(here)
    if first and second and second > first:
        tag.status = "held"
        tag.error = f"what is here was made {here}, and the bundle has what was made before, {there}"


def _created(store: Store, repository: str, digest: str, stores: Stores) -> str:
    """When an image says that it was made; empty where it cannot be told."""
    try:
        manifest = store.manifest(repository, digest)
        if manifest.children:
            manifest = store.manifest(repository, manifest.children[0].digest)
        config = manifest.blobs[0]
        if config.size > CONFIG_LIMIT:
            return ""
        return _date_in(read_whole(Source(store, repository), config, stores))
    except Stopped:
        raise
    except (RegistryError, IndexError):
        return ""


def _date_in(config: bytes) -> str:
    try:
        told_date = json.loads(config).get("created")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return told_date if isinstance(told_date, str) else ""


def _with_images(settings: Settings, images: Iterable[Image]) -> Settings:
    return replace(settings, images=tuple(images))


def _name(one: Packed) -> str:
    return f"{one.repository}{'@' if is_digest(one.reference) else ':'}{one.reference}"
