"""What upstream has attached to images: found while both sides are compared, and what of it is lacking here.

``compare`` gives each tag in ``tag.attached`` an ``Attachment`` for everything that upstream has attached to
the manifest that the tag is to have here, to that manifest's children, and to what is attached to these in
turn. Whoever wants to look into them before a blob moves, as a check of signatures does, calls

    read_manifests(tags, stores)

which fills in ``attachment.manifest`` of each, read from upstream by its digest and hashed (one that was read
already is not read again), and makes a tag whose attachments cannot be read ``unreadable``. Its blobs are
then ``attachment.manifest.blobs``, to be read from ``source_of(tag, stores)``. ``attachment.subject`` is the
digest that it is about: ``tag.upstream`` for the image itself, else a child or another attachment.
``attachment.tag`` ends in ``.sig``, ``.att`` or ``.sbom`` for what cosign 2 attached, and is empty for a
referrer, whose kind is ``attachment.manifest.artifact_type``. A referrer's ``subject`` was read and is
right; of what stands under a tag nothing was read yet.
"""

from __future__ import annotations

from collections.abc import Iterable

from _registry_oci_errors import RegistryError
from _registry_oci_referrers import Attachment
from _registry_sync_blobs import Source
from _registry_sync_stores import Stores
from _registry_sync_tag import Tag


def read_manifests(tags: Iterable[Tag], stores: Stores, *, lacking: bool = False) -> None:
    """Read the manifests of what is attached to tags; a tag of which one cannot be read is ``unreadable``.

    Args:
        tags: of ``compare``.
        stores: that ``compare`` was called with.
        lacking: read only what is not here.
    """
    users: dict[int, list[Tag]] = {}
    unread: dict[int, tuple[Source, Attachment]] = {}
    for tag in tags:
        for attachment in tag.attached:
            if attachment.manifest is None and not attachment.skipped and (attachment.lacking or not lacking):
                users.setdefault(id(attachment), []).append(tag)
                image = tag.wanted_by
                source = Source(stores.source(image.source), image.repository)
                unread.setdefault(id(attachment), (source, attachment))
    failures = stores.map_sources(_read, list(unread.values()))
    for key, failure in zip(unread, failures, strict=True):
        if failure:
            for tag in users[key]:
                tag.fail("unreadable", failure)


def _read(item: tuple[Source, Attachment]) -> RegistryError | None:
    (store, repository), attachment = item
    try:
        attachment.manifest = store.manifest(repository, attachment.descriptor.digest)
    except RegistryError as failure:
        return failure
    return None
