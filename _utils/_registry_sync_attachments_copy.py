"""Bring what is attached to images: manifests, then the lists of referrers, and all of it before the tag.

A registry without an API for referrers gets the list of each subject from us, as any client has to write it:
https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-manifests-with-subject
Another client may write the same list at the same time. It is therefore a union with what is there, each
subject has one writer in this process, and what was written is read back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from _registry_oci_errors import BlobUnknown, DigestMismatch, NotFound, RegistryError, Unsupported
from _registry_oci_manifest import Manifest
from _registry_oci_referrers import (
    Attachment,
    entries_of,
    fallback_index,
    fallback_tag,
    listed_referrers,
    refers_to,
    with_layers_of,
)
from _registry_store_protocol import Store
from _registry_sync_jobs import Job
from _registry_sync_tag import Tag

# Of writing a list that others write, too.
ROUNDS = 4
SECONDS_BETWEEN_ROUNDS = 0.2
# Small work that completes an image goes before the next large blob.
FIRST = (0, 0)
# Under such a tag each layer stands for itself, so a site's own can stay beside upstream's.
ADDITIVE = (".sig", ".att")


class Attacher:
    """The jobs that bring what is attached to tags.

    Args:
        target: the store that is filled.
        put: stores a manifest for a tag under a reference.
        requirements: the jobs that bring what a manifest needs, for a tag.
        put_here: what an earlier run has put under a tag of a repository; empty = nothing that is known.
    """

    def __init__(
        self,
        target: Store,
        put: Callable[[Tag, str, Manifest], None],
        requirements: Callable[[Tag, Manifest], list[Job]],
        put_here: Callable[[str, str], str],
    ) -> None:
        self.jobs: list[Job] = []
        self.written: dict[tuple[str, str], str] = {}
        self.lists: dict[str, str] = {}
        self._target = target
        self._put = put
        self._requirements = requirements
        self._put_here = put_here
        self._manifests: dict[tuple[str, str, str], Job] = {}
        self._by_digest: dict[tuple[str, str], Job] = {}
        self._lists: dict[tuple[str, str], Job] = {}

    def add(self, tags: Iterable[tuple[Tag, Job | None]]) -> None:
        """Make the jobs.

        Args:
            tags: those that get something, each with the job that brings its own manifest, if it moves.
        """
        listed: dict[tuple[str, str], dict[str, Manifest]] = {}
        for tag, root in tags:
            for attachment in tag.lacking:
                if attachment.manifest is None:
                    continue
                self._add_manifest(tag, attachment, attachment.manifest, root)
                if not attachment.tag:
                    of_subject = listed.setdefault((tag.target, attachment.subject), {})
                    of_subject[attachment.manifest.digest] = attachment.manifest
        for (target, subject), manifests in listed.items():
            needs = [self._manifests[target, subject, digest] for digest in manifests]
            work = partial(self._list, target, subject, manifests.values())
            self._lists[target, subject] = self._add(Job(work, FIRST, needs=needs))

    def jobs_of(self, tag: Tag) -> list[Job]:
        """What must be done before a tag may be seen."""
        jobs: dict[Job, None] = {}
        for one in tag.lacking:
            jobs[self._manifests[tag.target, one.subject, one.tag or one.descriptor.digest]] = None
            if not one.tag:
                jobs[self._lists[tag.target, one.subject]] = None
        return list(jobs)

    def _add(self, job: Job) -> Job:
        self.jobs.append(job)
        return job

    def _add_manifest(self, tag: Tag, attachment: Attachment, manifest: Manifest, root: Job | None) -> None:
        key = (tag.target, attachment.subject, attachment.tag or manifest.digest)
        if key in self._manifests:
            return
        before = [self._by_digest.get((tag.target, attachment.subject)), root]
        job = Job(
            partial(self._bring, tag, attachment, manifest),
            FIRST,
            needs=self._requirements(tag, manifest),
            # Whether these succeed is for the tags to say that need them.
            after=[job for job in before if job],
        )
        self._manifests[key] = self._by_digest[tag.target, manifest.digest] = self._add(job)

    def _bring(self, tag: Tag, attachment: Attachment, manifest: Manifest) -> None:
        if not attachment.tag:
            self._put(tag, manifest.digest, manifest)
            return
        whole = self._with_own(tag.target, attachment.tag, manifest)
        self._put(tag, attachment.tag, whole)
        # What has something of the site's in it is not a run's alone to replace, nor to prune.
        if whole.digest == manifest.digest:
            self.written[tag.target, attachment.tag] = manifest.digest

    def _with_own(self, target: str, name: str, manifest: Manifest) -> Manifest:
        """A manifest for one of cosign's tags, with the signatures that the site has added there."""
        if not name.endswith(ADDITIVE):
            return manifest
        try:
            here = self._target.resolve(target, name).digest
            if here in (manifest.digest, self._put_here(target, name)):
                return manifest
            return with_layers_of(manifest, self._target.manifest(target, here))
        except NotFound:
            return manifest

    def _list(self, target: str, subject: str, manifests: Iterable[Manifest]) -> None:
        """Write the list of referrers of one subject, and see that it stays.

        Raises:
            Unsupported: something else stands under its tag; that is left alone.
            RegistryError: others go on writing it, or it could not be read or written.
        """
        if self._target.lists_referrers(target, subject):
            return
        name = fallback_tag(subject)
        referrers = {manifest.digest: manifest for manifest in manifests}
        others: dict[str, Any] = {}
        refused: BlobUnknown | None = None
        for left in reversed(range(ROUNDS)):
            here, listed = self._read_list(target, subject)
            for digest in listed.keys() - referrers.keys():
                self._sort(target, subject, digest, listed[digest], referrers, others)
            if referrers.keys() | others.keys() <= listed.keys():
                self.written[target, name] = here
                self.lists[here] = " ".join(listed)
                return
            if left:
                try:
                    self._target.put(target, name, fallback_index(referrers.values(), others.values()))
                except BlobUnknown as failure:
                    # docker-distribution sees only a part of a manifest that another client is writing again.
                    refused = failure
                    time.sleep(SECONDS_BETWEEN_ROUNDS)
        raise refused or RegistryError(
            f"{self._target}: others go on writing {target}:{name}; not all that was attached is listed",
            side=self._target.side,
        )

    def _read_list(self, target: str, subject: str) -> tuple[str, dict[str, Any]]:
        """The digest of the list that is here, and what it says of each referrer."""
        name = fallback_tag(subject)
        try:
            here = self._target.manifest(target, name)
        except NotFound:
            return "", {}
        if listed_referrers(here, subject) is None:
            raise Unsupported(
                f"{self._target}: what stands under {target}:{name} is no list of referrers; "
                "delete it, so that they can be listed there",
                side=self._target.side,
            )
        return here.digest, entries_of(here)

    def _sort(
        self,
        target: str,
        subject: str,
        digest: str,
        entry: Any,
        referrers: dict[str, Manifest],
        others: dict[str, Any],
    ) -> None:
        """Tell a referrer that is listed here from what is only said to be one, which stays as it is told."""
        try:
            manifest = self._target.manifest(target, digest)
        except NotFound:
            return
        except (Unsupported, DigestMismatch):
            others[digest] = entry
            return
        if refers_to(manifest, subject):
            referrers[digest] = manifest
        else:
            others[digest] = entry
