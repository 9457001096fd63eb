"""Whether a registry that this formula has not set up may be configured; decided without I/O."""

from __future__ import annotations

from dataclasses import dataclass

# What a look at the registry's address has found.
POPULATED, EMPTY, NOTHING, UNKNOWN = "populated", "empty", "nothing", "unknown"
_ADVICE = {
    "auth": "give a login (docker_registry:local:username and password, or auth_file)",
    "tls": "see to docker_registry:local:tls, verify and port",
    "": "see to docker_registry:local:port, or wait until it answers",
}
_NOT_OURS = "set docker_registry:registry:install: none where another than this formula runs the registry"
_FORCE = "replace it with docker_registry:force: true"


def not_purged(directory: str, reason: str) -> str:
    """Why images stay although they are to be purged."""
    return (
        f"docker_registry:registry:purge: the images in {directory} are not deleted, as this formula has set "
        f"up no registry there and {reason}; remove them yourself if nobody needs them"
    )


@dataclass(frozen=True)
class Found:
    """What serves at the address of ``docker_registry:local``.

    Args:
        name: ``host:port`` of it.
        contents: ``populated``, ``empty``, ``nothing`` (no server listens) or ``unknown``.
        reason: why the contents are unknown.
        cause: ``auth``, ``tls``, or empty.
        undercloud: this host is an undercloud, whose director sets one up.
    """

    name: str
    contents: str
    reason: str = ""
    cause: str = ""
    undercloud: bool = False


@dataclass(frozen=True)
class Verdict:
    """What follows for the states that configure.

    Args:
        configures: they run.
        failure: why they must not, and what to do about it; empty where they may, or need not.
    """

    configures: bool
    failure: str = ""


def judge(found: Found) -> Verdict:
    """Decide; what somebody else has set up, and what serves or may serve, is not ours to change."""
    if found.contents == NOTHING:
        return Verdict(configures=True)
    if found.contents == UNKNOWN:
        return Verdict(
            configures=False,
            failure=(
                f"{found.name} was not set up by this formula, and it cannot be told what it serves: "
                f"{found.reason}. Nothing was configured; {_ADVICE[found.cause]}, {_NOT_OURS}, or {_FORCE}"
            ),
        )
    return Verdict(configures=found.contents == EMPTY and not found.undercloud)


def unresolved(name: str, reason: str) -> str:
    """Say that this host does not know the registry's name.

    Args:
        name: of the host, without a port.
        reason: the resolver's words.
    """
    return (
        f"docker_registry:local:host: {name} does not resolve on this host ({reason}). Nothing was "
        f"configured; give a name that does, or an address, or have {name} in DNS or /etc/hosts"
    )


def left_alone(name: str, repositories: int, changes: list[str]) -> str:
    """Say that a registry is left alone.

    Args:
        name: ``host:port`` of it.
        repositories: how many it serves; 0 where it is that of an undercloud.
        changes: what force would change, as phrases.
    """
    empty = f"{name} is the undercloud's own registry, still empty"
    serves = f"{name} already serves {_repositories(repositories)}" if repositories else empty
    change = _and(changes) or "change nothing either"
    return f"{serves}; nothing was configured. docker_registry:force: true would {change}"


def out_of_use(name: str, config: str, images: str) -> str:
    """Say that somebody else's registry has images, though none of them is served.

    Args:
        name: ``host:port`` of ``docker_registry:local``.
        config: path of that registry's configuration file.
        images: how many it has and where, as a phrase.
    """
    return (
        f"{config} was not written by this formula, and the registry that it configures has {images}, though "
        f"it does not serve them at {name}. Nothing was configured; start it, see to "
        f"docker_registry:local:port, {_NOT_OURS}, or {_FORCE}"
    )


def hidden(old: str, new: str, repositories: int) -> str:
    """Say that images would be out of sight in another storage.

    Args:
        old: where they lie.
        new: where the pillar has them.
        repositories: how many lie there.
    """
    return (
        f"docker_registry:registry: the images would be kept in {new}, but {_repositories(repositories)} "
        f"in {old} would be out of sight. Nothing was configured; move them, or leave them behind with "
        "docker_registry:force: true"
    )


def kept(repositories: int, storage: str) -> str:
    """Say where how many repositories are kept."""
    return f"{_repositories(repositories)} in {storage}"


def _repositories(number: int) -> str:
    return "1 repository" if number == 1 else f"{number} repositories"


def _and(phrases: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(phrases[:-1]), phrases[-1]))) if phrases else ""
