"""Read two registries side by side: each is asked once for each tag, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from _registry_config_values import Endpoint, Image, Settings
from _registry_http_retry import Pace, Run
from _registry_oci_errors import NotFound, RegistryError, Unauthorized, Unsupported
from _registry_oci_manifest import (
    SCHEMA1,
    Manifest,
    ModelError,
    is_digest,
    is_pattern,
    keep_platforms,
    select_tags,
)
from _registry_store_remote import Registry
from _registry_sync_jobs import in_parallel

Item = TypeVar("Item")
Result = TypeVar("Result")

# Lookups are small: on a far line they only wait, on a near one more threads only cost.
FAR_SECONDS = 0.01
LOOKUPS_NEAR = 4
LOOKUPS_FAR = 32
# What a sentence about a missing tag names of those that are there.
TAGS_SHOWN = 5


@dataclass(slots=True)
class Tag:
    """One tag of the list, and how it stands.

    Args:
        image: the entry of the list that wants it.
        reference: tag or digest upstream; a pattern where upstream could not be asked what it means.
        target: the local repository.
        landing: tag or digest there.
        status: one of the words of the returns.
        upstream: digest that the local side should have.
        local: digest that it has.
        size: bytes to move, or moved, on behalf of this tag.
        cause: of an error, one word.
        error: of an error, one sentence.
    """

    image: Image | None
    reference: str
    target: str
    landing: str
    status: str = ""
    upstream: str = ""
    local: str = ""
    size: int = 0
    cause: str = ""
    error: str = ""

    @property
    def name(self) -> str:
        """``repository:tag`` as it stands locally; ``repository@sha256:…`` for a pinned digest."""
        return f"{self.target}{'@' if is_digest(self.landing) else ':'}{self.landing}"

    def fail(self, status: str, failure: Exception) -> None:
        """Note why this tag cannot be told or moved."""
        self.status = status
        self.cause = getattr(failure, "cause", "internal")
        self.error = str(failure) or type(failure).__name__


@dataclass(slots=True)
class Inventory:
    """What the local registry holds by name, and whether it answers at all.

    Args:
        up: it answers.
        error: why it does not.
        tags: of each repository.
        unread: repositories that exist but would not be listed, and why.
    """

    up: bool = False
    error: RegistryError | None = None
    tags: dict[str, set[str]] = field(default_factory=dict)
    unread: dict[str, RegistryError] = field(default_factory=dict)

    @property
    def repositories(self) -> int:
        """How many repositories have a tag."""
        return sum(1 for names in self.tags.values() if names)


class Registries:
    """The local registry and every upstream of one run.

    Args:
        settings: who they are.
        run: what their workers share.
    """

    def __init__(self, settings: Settings, run: Run) -> None:
        connections = max(LOOKUPS_FAR, settings.transfer.parallel)
        self.local = Registry(settings.local, Pace(run), connections=connections)
        self.run = run
        self._connections = connections
        self._upstreams: dict[Endpoint, Registry | RegistryError] = {}

    @property
    def far(self) -> bool:
        """Whether the round-trips to an upstream are what takes the time, as far as it has answered yet."""
        met = self._upstreams.values()
        return any(isinstance(upstream, Registry) and upstream.distance > FAR_SECONDS for upstream in met)

    def ask(self, lookup: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Look up every item, so many at a time as upstream's distance asks for."""
        workers = LOOKUPS_FAR if self.far else LOOKUPS_NEAR
        return in_parallel(lookup, items, workers, self.run.stopping)

    def ask_local(self, lookup: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Look up every item, so many at a time as a registry near by answers best."""
        return in_parallel(lookup, items, LOOKUPS_NEAR, self.run.stopping)

    def both(self, one: Callable[[], Result], other: Callable[[], Item]) -> tuple[Result, Item]:
        """Read two sides at the same time: one is busy while the other waits for round-trips."""
        sides: list[Callable[[], Any]] = [one, other]
        first, second = in_parallel(lambda read: read(), sides, 2, self.run.stopping)
        return first, second

    def meet(self, endpoints: Iterable[Endpoint]) -> None:
        """Greet every upstream once."""
        fresh = [endpoint for endpoint in endpoints if endpoint not in self._upstreams]
        for endpoint, met in zip(fresh, self.ask_local(self._greet, fresh), strict=True):
            self._upstreams[endpoint] = met

    def upstream(self, endpoint: Endpoint) -> Registry:
        """An upstream that answered its greeting.

        Raises:
            RegistryError: why it did not.
        """
        met = self._upstreams[endpoint]
        if isinstance(met, RegistryError):
            raise met
        return met

    def _greet(self, endpoint: Endpoint) -> Registry | RegistryError:
        try:
            registry = Registry(endpoint, Pace(self.run), connections=self._connections)
            registry.ping()
        except RegistryError as failure:
            return failure
        except Exception as failure:  # noqa: BLE001 - whatever it is, the images of other upstreams go on
            return RegistryError(f"upstream {endpoint.name}: {failure or type(failure).__name__}")
        return registry


@dataclass(slots=True)
class Comparison:
    """Both sides, read.

    Args:
        tags: every tag of the list, in its order.
        holdings: of the local registry.
    """

    tags: list[Tag]
    holdings: Inventory


def look(registries: Registries, repositories: Iterable[str]) -> Inventory:
    """List what the local registry holds.

    Args:
        registries: how it is reached.
        repositories: names to ask for where it keeps no catalog.
    """
    local = registries.local
    try:
        local.ping()
    except RegistryError as failure:
        return Inventory(up=isinstance(failure, Unauthorized), error=failure)
    try:
        names: Iterable[str] = local.catalog()
    except RegistryError:
        names = dict.fromkeys(repositories)

    holdings = Inventory(up=True)

    def list_tags(name: str) -> None:
        try:
            holdings.tags[name] = set(local.tags(name))
        except NotFound:
            # A catalog also names repositories that have blobs but no tag.
            holdings.tags[name] = set()
        except RegistryError as failure:
            holdings.unread[name] = failure

    registries.ask_local(list_tags, list(names))
    return holdings


def compare(settings: Settings, registries: Registries, *, fresh: bool = False) -> Comparison:
    """Read both sides and give every tag of the list a status.

    Args:
        settings: the list and the two sides.
        registries: how they are reached.
        fresh: take a local registry that cannot be read for one that is still empty.

    Returns:
        Tags that are ``current``, ``missing``, ``stale`` or ``unreadable``; one that fails never
        keeps the others from being told.
    """
    targets = [image.target for image in settings.images]
    holdings, _ = registries.both(
        partial(look, registries, targets), partial(registries.meet, settings.upstreams)
    )
    if fresh and (holdings.error or holdings.unread):
        holdings = Inventory(up=holdings.up)
    found = registries.ask(lambda image: _tags_of_image(image, registries), settings.images)
    tags = _without_collisions([tag for tags in found for tag in tags])
    for tag in tags:
        unread = holdings.error or holdings.unread.get(tag.target)
        if unread and not tag.status:
            tag.fail("unreadable", unread)
    _compare_tags([tag for tag in tags if not tag.status], registries, holdings)
    return Comparison(tags, holdings)


def find_extras(comparison: Comparison, registries: Registries) -> list[Tag]:
    """Tags that the local registry holds and the list does not want.

    Returns:
        Tags with the status ``extra``, sorted by name.
    """
    wanted = {tag.name for tag in comparison.tags}
    # Where upstream could not say what a pattern means, nothing can be called superfluous.
    unknown = {tag.target for tag in comparison.tags if is_pattern(tag.landing)}
    extras = [
        Tag(None, name, repository, name, "extra")
        for repository, names in sorted(comparison.holdings.tags.items())
        for name in sorted(names)
        if repository not in unknown and f"{repository}:{name}" not in wanted
    ]

    def read(tag: Tag) -> None:
        try:
            tag.local = registries.local.head(tag.target, tag.landing).digest
        except RegistryError as failure:
            tag.fail("unreadable", failure)

    registries.ask_local(read, extras)
    return extras


def _tags_of_image(image: Image, registries: Registries) -> list[Tag]:
    """What an entry of the list means upstream, one Tag each."""
    tags = [_literal(image, entry) for entry in image.tags.literals]
    if not image.tags.needs_list:
        return tags
    try:
        there = registries.upstream(image.source).tags(image.repository)
        found = select_tags(image.tags, there)
        if not found:
            raise NotFound(
                f"upstream {image.source.name} has no tag of {image.repository} that matches "
                f"{_patterns(image)} ({_there(there)})"
            )
    except RegistryError as failure:
        unknown = Tag(image, _patterns(image), image.target, _patterns(image))
        unknown.fail("unreadable", failure)
        return [*tags, unknown]
    named = {tag.landing for tag in tags}
    return tags + [Tag(image, name, image.target, name) for name in found if name not in named]


def _literal(image: Image, entry: str) -> Tag:
    name, _, pin = entry.partition("@")
    return Tag(image, pin or name, image.target, name)


def _patterns(image: Image) -> str:
    return " ".join(entry for entry in image.tags.include if entry not in image.tags.literals)


def _there(tags: Sequence[str]) -> str:
    shown = ", ".join(tags[:TAGS_SHOWN])
    more = len(tags) - TAGS_SHOWN
    return f"there: {shown or 'none'}" + (f" and {more} more" if more > 0 else "")


def _without_collisions(tags: list[Tag]) -> list[Tag]:
    """Fail tags of different entries that patterns have led to one target."""
    seen: dict[str, Tag] = {}
    for tag in tags:
        first = seen.setdefault(tag.name, tag)
        if first is not tag and first.image and tag.image:
            first.fail("unreadable", Unsupported(f"{first.image.key} and {tag.image.key} both land here"))
    return list(seen.values())


def _compare_tags(tags: Sequence[Tag], registries: Registries, holdings: Inventory) -> None:
    """Give each tag its status from one look at each side."""
    locals_, upstreams = registries.both(
        partial(registries.ask_local, _or_failure(partial(_local_digest, registries.local, holdings)), tags),
        partial(registries.ask, _or_failure(partial(_upstream_digest, registries)), tags),
    )
    for tag, local, upstream in zip(tags, locals_, upstreams, strict=True):
        _settle(tag, local, upstream)
    narrowed = [tag for tag in tags if tag.status in ("missing", "stale") and image_of(tag).platforms]
    choices = registries.ask(_or_failure(partial(_digest_of_choice, registries)), narrowed)
    for tag, choice in zip(narrowed, choices, strict=True):
        _settle(tag, tag.local, choice)


def _or_failure(read: Callable[[Tag], str]) -> Callable[[Tag], str | Exception]:
    """The same, with a failure as its result: whatever it is, the other tags go on."""

    def read_or_fail(tag: Tag) -> str | Exception:
        try:
            return read(tag)
        except Exception as failure:  # noqa: BLE001 - told by whoever settles the tag
            return failure

    return read_or_fail


def _settle(tag: Tag, local: str | Exception, upstream: str | Exception) -> None:
    """Give a tag its status from the digests of both sides, or from why there is none."""
    tag.local, tag.upstream = ("" if isinstance(side, Exception) else side for side in (local, upstream))
    for side in (local, upstream):
        if isinstance(side, Exception):
            tag.fail("unreadable", side)
            return
    if tag.local == tag.upstream:
        tag.status = "current"
    else:
        tag.status = "stale" if tag.local else "missing"


def _local_digest(local: Registry, holdings: Inventory, tag: Tag) -> str:
    there = holdings.tags.get(tag.target)
    if there is None or not (tag.landing in there or is_digest(tag.landing)):
        return ""
    try:
        return local.head(tag.target, tag.landing).digest
    except NotFound:
        return ""


def _upstream_digest(registries: Registries, tag: Tag) -> str:
    image = image_of(tag)
    upstream = registries.upstream(image.source)
    try:
        head = upstream.head(image.repository, tag.reference)
    except NotFound as failure:
        raise NotFound(_explain_absence(failure, tag, upstream)) from None
    if head.media_type in SCHEMA1:
        raise Unsupported(f"{upstream} has {tag.reference} of {image.repository} only as obsolete schema1")
    return head.digest


def _digest_of_choice(registries: Registries, tag: Tag) -> str:
    """The digest that the local side should have: of what is left after the choice of platforms."""
    image = image_of(tag)
    manifest = registries.upstream(image.source).manifest(image.repository, tag.upstream)
    return chosen(tag, manifest).digest


def chosen(tag: Tag, manifest: Manifest) -> Manifest:
    """What is left of a tag's manifest after the choice of platforms.

    Raises:
        NotFound: none of the platforms is there.
        Unsupported: what is left cannot be read.
    """
    image = image_of(tag)
    try:
        return keep_platforms(manifest, image.platforms)
    except ModelError as failure:
        error = NotFound if failure.cause == "absent" else Unsupported
        raise error(f"upstream {image.source.name}: {image.repository}:{tag.reference}: {failure}") from None


def _explain_absence(failure: NotFound, tag: Tag, upstream: Registry) -> str:
    """What upstream has instead: a repository without the tag, or nothing of that name."""
    repository = image_of(tag).repository
    try:
        there = upstream.tags(repository)
    except RegistryError:
        return f"{failure}; it shows no repository of that name"
    return f"{failure}; it has the repository but no such tag ({_there(there)})"


def image_of(tag: Tag) -> Image:
    """The entry of the list that wants a tag; extras have none and are never asked."""
    if tag.image is None:
        raise AssertionError(f"{tag.name} is on no list")
    return tag.image
