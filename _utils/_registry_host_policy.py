"""What podman, CRI-O and skopeo are told of signatures, as texts of their files; no I/O, nothing of Salt.

Engines look for signatures under the name of the registry that they pull from, and in ``policy.json`` under
the name that was asked for: https://github.com/containers/image/issues/1175.
"""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from _registry_trust_keys import openpgp_packets, pem_keys

Policy = dict[str, Any]
Scopes = dict[str, list[dict[str, Any]]]
ACCEPT_ALL = [{"type": "insecureAcceptAnything"}]
# What image names have for the host that serves them.
_NAMES_OF_HOSTS = {"registry-1.docker.io": "docker.io"}


class PolicyError(ValueError):
    """A file says something that cannot be added to."""


@dataclass(frozen=True)
class Signed:
    """A repository of the mirror, and who signs it.

    Args:
        target: its name in the mirror.
        upstream: its name at upstream, ``host[:port]/repository``.
        signed_name: the same in signatures.
        gpg: OpenPGP keys of all who may have signed it, each a path or the text itself.
        cosign: public keys, likewise.
        keyless: whether somebody without a key may have signed it, too.
        insecure: whether upstream speaks plain HTTP, or is not verified.
        divided: whether the list has several entries of it, which do not agree in this.
    """

    target: str
    upstream: str
    signed_name: str
    gpg: tuple[str, ...] = ()
    cosign: tuple[str, ...] = ()
    keyless: bool = False
    insecure: bool = False
    divided: bool = False

    @property
    def mistake(self) -> str:
        """Why no policy can say it; empty where one can."""
        if self.divided:
            return "entries of the list differ in it"
        kinds = bool(self.gpg) + bool(self.cosign) + self.keyless
        if kinds > 1:
            return "it has signers of several kinds, and a policy asks for all of them, not for one"
        if self.keyless:
            return "its signers have no keys"
        if len(self.cosign) > 1:
            return (
                "it has several cosign keys, and only engines of 2024 and later know a policy for one of them"
            )
        return ""


def with_each_cosign_key(image: Signed, read: Callable[[str], bytes]) -> Signed:
    """A repository whose files of several cosign keys are told apart; engines know only the first of one."""
    keys = [each for key in image.cosign for each in _each_cosign_key(key, read)]
    return replace(image, cosign=tuple(dict.fromkeys(keys)))


def _each_cosign_key(key: str, read: Callable[[str], bytes]) -> list[str]:
    found = pem_keys(_body(key, read))
    return [key] if len(found) == 1 else [body.decode("utf-8", "replace") for body in found]


def image_name(host: str, port: int, *, tls: bool) -> str:
    """A registry as image names have it."""
    bracketed = f"[{host}]" if ":" in host else host
    known = _NAMES_OF_HOSTS.get(host, bracketed)
    return known if port == (443 if tls else 80) else f"{known}:{port}"


def known_name(name: str) -> str:
    """A whole name as signatures and policies have it."""
    host, _, repository = name.partition("/")
    return f"{_NAMES_OF_HOSTS.get(host, host)}/{repository}"


# registries.d


def lookaside(mirror: str, address: str) -> str:
    """A file for ``registries.d``: where the signatures of the mirror's images are.

    Args:
        mirror: ``host:port``.
        address: of the server of simple signatures; empty = there is none.

    Engines of before July 2022 know the second of the two names only, and later ones both.
    https://github.com/containers/image/blob/main/docs/containers-registries.d.5.md
    """
    store = [f"    {key}: {json.dumps(address)}" for key in ("lookaside", "sigstore")] if address else []
    lines = ["docker:", f"  {json.dumps(mirror)}:", *store, "    use-sigstore-attachments: true"]
    return "".join(f"{line}\n" for line in lines)


def scopes_of(document: Any) -> set[str]:
    """The registries and repositories that a file of ``registries.d`` speaks of."""
    entries = document.get("docker") if isinstance(document, Mapping) else None
    return {str(scope) for scope in entries} if isinstance(entries, Mapping) else set()


# registries.conf.d


def mirrors(mirror: str, insecure: bool, images: Iterable[Signed]) -> str:
    """A file for ``registries.conf.d``, so that the mirror is asked first for upstream's images.

    Args:
        mirror: ``host:port``.
        insecure: whether it speaks plain HTTP, or is not verified.
        images: the repositories that it has.
    """
    tables = {
        image.upstream: _location(image.upstream, image.insecure, "registry")
        + _location(f"{mirror}/{image.target}", insecure, "registry.mirror")
        for image in images
    }
    return "\n".join(table for _, table in sorted(tables.items()))


def _location(location: str, insecure: bool, table: str) -> str:
    return f"[[{table}]]\nlocation = {json.dumps(location)}\n" + ("insecure = true\n" if insecure else "")


# policy.json


def wanted_scopes(
    mirror: str, images: Sequence[Signed], read: Callable[[str], bytes], *, by_upstream: bool
) -> Scopes:
    """What a ``policy.json`` is to demand.

    Args:
        mirror: ``host:port``.
        images: all repositories of the mirror, with those that nobody has to have signed.
        read: gives what is in a key's file.
        by_upstream: whether engines ask the mirror by upstream's names, too.

    Returns:
        For each scope one requirement. A namespace is one scope where all that the list has of it is signed
        by the same OpenPGP keys under the same names; else each repository is one.
    """
    found: Scopes = {}
    for image in images:
        if image.mistake or not (image.gpg or image.cosign):
            continue
        if image.cosign:
            requirement = _signed_by_cosign(image)
            names = [f"{mirror}/{image.target}", *([image.upstream] if by_upstream else [])]
            found.update({name: [requirement] for name in names})
            continue
        ours, signed, upstream = _common_names(image, images)
        found[f"{mirror}/{ours}"] = [_signed_by_gpg(image, read, f"{mirror}/{ours}", signed)]
        if by_upstream:
            found[upstream] = [_signed_by_gpg(image, read, upstream, signed)]
    return dict(sorted(found.items()))


def _common_names(image: Signed, images: Sequence[Signed]) -> tuple[str, str, str]:
    """The mirror's, the signatures' and upstream's name of an image's namespace, else of the image alone."""
    ours, signed, upstream = (_namespace(name) for name in (image.target, image.signed_name, image.upstream))
    beside = [other for other in images if other.target.startswith(f"{ours}/")]
    agree = ours and all(
        (other.gpg, other.cosign, other.keyless, other.divided) == (image.gpg, (), False, False)
        and other.signed_name == signed + other.target[len(ours) :]
        and other.upstream == upstream + other.target[len(ours) :]
        for other in beside
    )
    return (ours, signed, upstream) if agree else (image.target, image.signed_name, image.upstream)


def _namespace(name: str) -> str:
    return name.rpartition("/")[0]


def _signed_by_gpg(image: Signed, read: Callable[[str], bytes], asked: str, signed: str) -> dict[str, Any]:
    identity: dict[str, Any] = {"type": "matchRepoDigestOrExact"}
    if asked != signed:
        identity = {"type": "remapIdentity", "prefix": asked, "signedPrefix": signed}
    return {
        "type": "signedBy",
        "keyType": "GPGKeys",
        **_gpg_keys(image.gpg, read),
        "signedIdentity": identity,
    }


def _signed_by_cosign(image: Signed) -> dict[str, Any]:
    """What cosign signs has no tag, which no remapped name matches."""
    identity = {"type": "exactRepository", "dockerRepository": image.signed_name}
    return {"type": "sigstoreSigned", **_key(image.cosign[0]), "signedIdentity": identity}


def _gpg_keys(keys: Sequence[str], read: Callable[[str], bytes]) -> dict[str, str]:
    """Several as one keyring: a list of paths is no older engine's, and some read one armored block only."""
    return _key(keys[0]) if len(keys) == 1 else _key_data(b"".join(_packets(key, read) for key in keys))


def _packets(key: str, read: Callable[[str], bytes]) -> bytes:
    packets = openpgp_packets(_body(key, read))
    if not packets:
        raise PolicyError(f"{key if _is_path(key) else 'the text of a key'} holds no OpenPGP key")
    return packets


def _key(key: str) -> dict[str, str]:
    return {"keyPath": key} if _is_path(key) else _key_data(key.encode())


def _key_data(body: bytes) -> dict[str, str]:
    return {"keyData": base64.b64encode(body).decode()}


def _body(key: str, read: Callable[[str], bytes]) -> bytes:
    return read(key) if _is_path(key) else key.encode()


def _is_path(key: str) -> bool:
    return key.startswith("/")


def key_paths(scopes: Scopes) -> list[tuple[str, str]]:
    """Each scope with the path of the key that it names, where it names one."""
    return [
        (scope, requirement["keyPath"])
        for scope, requirements in scopes.items()
        for requirement in requirements
        if "keyPath" in requirement
    ]


def parse_policy(text: str, path: str) -> Policy:
    """What a ``policy.json`` says; an empty one accepts everything.

    Raises:
        PolicyError: it is no JSON object, or not such a one.
    """
    try:
        policy = json.loads(text) if text.strip() else {"default": copy.deepcopy(ACCEPT_ALL)}
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"{path} is no JSON ({error}); mend it first") from None
    if not _is_policy(policy):
        raise PolicyError(f"{path} is no policy of signatures; mend it first")
    return policy


def _is_policy(document: Any) -> bool:
    if not isinstance(document, dict) or not isinstance(document.get("default", []), list):
        return False
    transports = document.get("transports", {})
    return isinstance(transports, dict) and isinstance(transports.get("docker", {}), dict)


def with_scopes(policy: Policy, wanted: Scopes, ours: Scopes, path: str) -> tuple[Policy, Scopes]:
    """A policy that demands what is wanted, beside all that it demanded before.

    Args:
        policy: as it is.
        wanted: of ``wanted_scopes``.
        ours: what an earlier run has added.
        path: of the file, for messages.

    Returns:
        The new policy, and what of it is ours.

    Raises:
        PolicyError: somebody else has said something about the same scope.
    """
    merged = without_scopes(policy, ours)
    docker = merged.setdefault("transports", {}).setdefault("docker", {})
    for scope in wanted:
        if scope in docker and docker[scope] != wanted[scope]:
            raise PolicyError(
                f"{path} already has a scope {scope} that this formula did not write; remove it"
            )
    added = {scope: requirement for scope, requirement in wanted.items() if scope not in docker}
    docker.update(added)
    return (merged if docker or _has_docker(policy) else without_scopes(policy, ours)), added


def scopes_left(policy: Policy, *noted: Scopes) -> Scopes:
    """What of several notes a policy still says; it is ours."""
    docker = policy.get("transports", {}).get("docker", {})
    return {
        scope: requirement
        for scopes in noted
        for scope, requirement in scopes.items()
        if docker.get(scope) == requirement
    }


def _has_docker(policy: Policy) -> bool:
    return "docker" in policy.get("transports", {})


def without_scopes(policy: Policy, ours: Scopes) -> Policy:
    """A policy without what an earlier run has added; what was changed since is somebody else's."""
    left = copy.deepcopy(policy)
    docker = left.get("transports", {}).get("docker", {})
    for scope, requirement in ours.items():
        if docker.get(scope) == requirement:
            del docker[scope]
    return left


def restored(text: str, before: str | None, ours: Scopes, path: str) -> str | None:
    """The text of a ``policy.json`` without what is ours.

    Args:
        text: as it is.
        before: as it was before this formula changed it; None = there was no such file.
        ours: what was added.
        path: of the file, for messages.

    Returns:
        The very text that it had, unless something else has changed since; None = the file goes.

    Raises:
        PolicyError: it cannot be read.
    """
    left = _without_empty_tables(without_scopes(parse_policy(text, path), ours))
    if left == _without_empty_tables(parse_policy(before or "", path)):
        return before
    return policy_text(left, text)


def _without_empty_tables(policy: Policy) -> Policy:
    pruned = copy.deepcopy(policy)
    transports = pruned.get("transports", {})
    if not transports.get("docker", True):
        del transports["docker"]
    if not pruned.get("transports", True):
        del pruned["transports"]
    return pruned


def policy_text(policy: Policy, like: str) -> str:
    """A policy as JSON, indented as a text is."""
    indentation = re.search(r"\n([ \t]+)\"", like)
    width = indentation[1] if indentation else 4
    return json.dumps(policy, indent=width, ensure_ascii=False) + "\n"


def refuses_the_rest(policy: Policy, mirror: str, images: Iterable[Signed]) -> str:
    """The first repository of the mirror that a policy's default refuses, although nobody has to sign it."""
    default = policy.get("default") or []
    if not any(isinstance(entry, dict) and entry.get("type") == "reject" for entry in default):
        return ""
    transports = policy.get("transports", {})
    scopes = transports.get("docker", {})
    unsigned = (f"{mirror}/{image.target}" for image in images if not (image.gpg or image.cosign))
    return next((name for name in unsigned if "" not in scopes and not _is_covered(name, scopes)), "")


def _is_covered(name: str, scopes: Mapping[str, Any]) -> bool:
    parts = name.split("/")
    parents = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
    return any(parent in scopes for parent in parents)
