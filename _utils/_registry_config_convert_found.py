"""What another program's file says, on its way to our pillar; no I/O.

Nothing of a file that may be a secret gets here: what cannot be carried is named by where it stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from _registry_config_convert_rules import CannotSay, TagSet, tags_value
from _registry_oci_names import printable
from _registry_oci_reference import host_and_port

PLACEHOLDER = "PLACEHOLDER"


@dataclass(frozen=True)
class Wanted:
    """Tags of one repository that a file asks for.

    Args:
        where: the place in the file, for comments.
        registry: ``host`` or ``host:port``.
        repository: at that registry.
        tags: of it.
        target: its name in the local registry; empty = the same.
        platforms: empty = all.
    """

    where: str
    registry: str
    repository: str
    tags: TagSet
    target: str = ""
    platforms: tuple[str, ...] = ()


@dataclass
class Found:
    """All that a file says.

    Args:
        images: in the order of the file.
        registries: registry → keys of ``upstream`` that are not the usual ones, without host and port.
        rest: keys of the pillar beside ``upstream``, ``image_defaults`` and ``images``.
        notes: one line each of what is not carried, or is carried otherwise.
    """

    images: list[Wanted] = field(default_factory=list)
    registries: dict[str, dict[str, Any]] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, where: str, what: str) -> None:
        """Have a comment say something of a place in the file."""
        line = f"{printable(where, 200)}: {what}"
        if line not in self.notes:
            self.notes.append(line)

    def want(self, wanted: Wanted) -> None:
        """Add an image, and tell where it is more than the file asks for."""
        self.images.append(wanted)
        if wanted.tags.wider:
            left = f", of which semver {wanted.tags.semver} leaves the versions" if wanted.tags.semver else ""
            shown = ", ".join(wanted.tags.include)
            self.note(wanted.where, f"no pattern is this expression exactly; {shown} finds more{left}")

    def note_unknown(self, where: str, given: Mapping[Any, Any], known: Iterable[str]) -> None:
        """Name the keys that nothing here stands for."""
        for name in given:
            if name not in set(known) and not str(name).startswith("x-"):
                self.note(f"{where}:{name}" if where else str(name), "not carried; nothing here is like it")

    def with_login(self, registry: str, where: str) -> None:
        """Note that the file has a login for a registry."""
        self.registries.setdefault(registry, {}).update(username=PLACEHOLDER, password=PLACEHOLDER)
        self.note(
            where,
            f"has the login for {registry}, which is not shown; {PLACEHOLDER} stands for it: give username "
            "and password, or auth_file in their place",
        )


def pillar_of(found: Found) -> dict[str, Any]:
    """The pillar that says the same.

    Args:
        found: is told of what cannot be said.
    """
    entries = _entries(found)
    if not entries:
        return {}
    main = Counter(registry for registry, _ in entries).most_common(1)[0][0]
    common = _endpoint(main, found)
    images = []
    for registry, entry in entries:
        own = _endpoint(registry, found)
        usual = {name: common[name] for name in ("host", "port", "tls", "verify")}
        differs = {name: value for name, value in own.items() if usual.get(name) != value}
        images.append(entry if registry == main else {**entry, "upstream": differs})
    return {
        "upstream": {name: value for name, value in common.items() if _USUAL.get(name) != value},
        **found.rest,
        # The default prefix is for names of one part.
        "image_defaults": {"namespace": "", "prefix": ""},
        "images": images,
    }


_USUAL = {"port": 443, "tls": True, "verify": True}


def _endpoint(registry: str, found: Found) -> dict[str, Any]:
    host, port = host_and_port(registry)
    own = found.registries.get(registry, {})
    usual_port = 80 if own.get("tls") is False else 443
    return {"host": host, **_USUAL, "port": port or usual_port, **own}


def _entries(found: Found) -> list[tuple[str, dict[str, Any]]]:
    """The entries of ``images``, each with its registry; what several places of the file say is one entry."""
    together: dict[tuple[str, str, str, tuple[str, ...]], list[Wanted]] = {}
    for image in found.images:
        key = (image.registry, image.repository, image.target, image.platforms)
        together.setdefault(key, []).append(image)
    entries = []
    for (registry, repository, target, platforms), parts in together.items():
        try:
            tags = tags_value(part.tags for part in parts)
        except CannotSay as lack:
            found.note(", ".join(part.where for part in parts), f"not carried; it {lack}")
            continue
        entry: dict[str, Any] = {"name": repository, "tags": tags}
        if platforms:
            entry["platforms"] = list(platforms)
        if target and target != repository:
            entry["target"] = target
        entries.append((registry, entry))
    return entries
