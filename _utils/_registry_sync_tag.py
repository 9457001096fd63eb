"""One tag of the image list, and how it stands."""

from __future__ import annotations

from dataclasses import dataclass, field

from _registry_config_values import Image
from _registry_oci_errors import NotFound, Unsupported
from _registry_oci_manifest import Manifest, ManifestError, keep_platforms
from _registry_oci_names import is_digest
from _registry_oci_referrers import Attachment


@dataclass(slots=True)
class Tag:
    """One tag of the list, and how it stands.

    Args:
        image: the entry of the list that wants it; None = no entry does.
        reference: tag or digest upstream.
        target: the local repository.
        target_reference: tag or digest there.
        status: one of the words of the returns.
        source: digest that upstream has.
        media_type: of the manifest that upstream has; empty = untold.
        upstream: digest that the local side should have: upstream's, or that of the chosen platforms.
        local: digest that it has.
        previous: digest that it had before this run replaced it.
        size: bytes to move, or moved, on behalf of this tag.
        cause: of an error, one word.
        error: of an error, one sentence; also of a tag that a roll-back holds.
        unresolved: the references are patterns, since upstream could not be asked what they mean.
        root: the manifest that the local side should have, once it was read.
        below: digests of the manifests below it, where something may be attached to them.
        signed_by: names of the keys of the list that have signed it.
        attached: what upstream has attached to it, to its children, and to what is attached to these.
    """

    image: Image | None
    reference: str
    target: str
    target_reference: str
    status: str = ""
    source: str = ""
    media_type: str = ""
    upstream: str = ""
    local: str = ""
    previous: str = ""
    size: int = 0
    cause: str = ""
    error: str = ""
    unresolved: bool = False
    root: Manifest | None = None
    below: tuple[str, ...] = ()
    signed_by: tuple[str, ...] = ()
    attached: list[Attachment] = field(default_factory=list)

    @property
    def name(self) -> str:
        """``repository:tag`` as it stands locally; ``repository@sha256:…`` for a digest."""
        return f"{self.target}{'@' if is_digest(self.target_reference) else ':'}{self.target_reference}"

    @property
    def lacking(self) -> list[Attachment]:
        """What upstream has attached to it and is to be brought."""
        return [attachment for attachment in self.attached if attachment.lacking]

    @property
    def wanted_by(self) -> Image:
        """The entry of the list that wants it; what none wants is never asked for one."""
        if self.image is None:
            raise AssertionError(f"{self.name} is on no list")
        return self.image

    def fail(self, status: str, failure: Exception) -> None:
        """Note why this tag cannot be told or moved."""
        self.status = status
        self.cause = getattr(failure, "cause", "internal")
        self.error = str(failure) or type(failure).__name__


def chosen(tag: Tag, manifest: Manifest) -> Manifest:
    """What is left of a tag's manifest after the choice of platforms.

    Raises:
        NotFound: none of the platforms is there.
        Unsupported: what is left cannot be read.
    """
    image = tag.wanted_by
    try:
        return keep_platforms(manifest, image.platforms)
    except ManifestError as failure:
        error = NotFound if failure.cause == "absent" else Unsupported
        said = f"upstream {image.source.name}: {image.repository}:{tag.reference}: {failure}"
        raise error(said, side=image.source.side) from None
