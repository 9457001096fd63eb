"""What podman, CRI-O and skopeo on this host are told of signatures, and of a mirror in upstream's stead."""

from __future__ import annotations

from pathlib import Path

import salt.utils.yaml
from salt.exceptions import CommandExecutionError

import _registry_host_policy as policy
import _registry_host_signed as signed
import _registry_state_files as files
import _registry_state_settings as checked


def text(of, path, clean=False):
    """
    Contents of a file of the engines.

    Args:
        of (str): ``lookaside`` (our file in registries.d: where the signatures of the mirror's images lie),
            ``mirrors`` (our file in registries.conf.d: the mirror is asked first for upstream's images) or
            ``policy`` (policy.json: who must have signed what).
        path (str): of the file.
        clean (bool): without what is ours.

    Returns:
        str: the whole text; None where there is to be no such file.

    Raises:
        CommandExecutionError: the file that is there, or one beside it, says what cannot be added to.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_policy.text policy /etc/containers/policy.json
    """
    try:
        found = _TEXTS[checked.choice(_TEXTS, of, "of")](path, clean)
        if found is not None:
            _refuse_dangling_link(path)
    except policy.PolicyError as error:
        raise CommandExecutionError(str(error)) from None
    return found


def concerns(of, path, clean=False):
    """
    Whether anything of ours is in a file, or is to be.

    Args:
        of (str): as in ``text``.
        path (str): of the file.
        clean (bool): nothing of ours is to be in it.

    Returns:
        bool: false only of a policy.json that belongs to others alone.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_policy.concerns policy /etc/containers/policy.json
    """
    if of != "policy" or _noted(path):
        return True
    return not clean and _settings().engine.policy


def manages():
    """
    Whether the formula tells the engines of this host anything of signatures.

    Returns:
        bool: true if it configures podman here.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_policy.manages
    """
    left_alone = __salt__["registry_host.skips_configuration"]()
    return not left_alone and __salt__["registry_engine.manages"]("podman")


def note(path):
    """
    Note what is going to be ours in a policy.json, so that it can be taken back.

    Args:
        path (str): of the file.

    Returns:
        bool: whether the pillar wants anything of ours in it.

    Raises:
        CommandExecutionError: the file cannot be added to, or nothing can be noted.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_policy.note /etc/containers/policy.json
    """
    if not _settings().engine.policy:
        return False
    known = _noted(path)
    try:
        before = known["before"] if known else _read(path)
        scopes = _merged(path)[1]
        # The file may not let itself be written, and then says what it says now.
        left = _ours(path)
    except policy.PolicyError as error:
        raise CommandExecutionError(str(error)) from None
    _notes().write(path, {"before": before, "scopes": scopes, "left": left})
    return True


def forget(path):
    """
    Forget what was noted of a policy.json.

    Args:
        path (str): of the file.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_policy.forget /etc/containers/policy.json
    """
    _notes().forget(path)


def warnings(of):
    """
    What a file cannot say although the pillar wants it, or what is to be known of it.

    Args:
        of (str): as in ``text``.

    Returns:
        list: one sentence each.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_policy.warnings policy
    """
    settings = _settings()
    if of == "lookaside":
        return signed.store_warnings(settings)
    if of != "policy" or not settings.engine.policy:
        return []
    return [
        f"no policy can say who must have signed {image.target}: {image.mistake}"
        for image in _images(settings)
        if image.mistake
    ]


def _settings():
    return checked.settings_of(__pillar__, __grains__, __salt__, __context__)


def _lookaside(path, clean):
    settings = _settings()
    address = signed.store_address(settings)
    if clean or not (address or settings.engine.policy):
        return None
    for other in sorted(Path(path).parent.glob("*.yaml")):
        if str(other) != path and settings.local.name in _scopes_in(other):
            raise policy.PolicyError(
                f"{other} already speaks of {settings.local.name}; with two every pull would fail"
            )
    return policy.lookaside(settings.local.name, address)


def _scopes_in(file):
    try:
        return policy.scopes_of(salt.utils.yaml.safe_load(_read(str(file)) or ""))
    except (salt.utils.yaml.YAMLError, ValueError):
        # Engines say what is wrong with it.
        return set()


def _mirrors(_path, clean):
    settings = _settings()
    if clean or not settings.engine.stand_in_for_upstream:
        return None
    insecure = not settings.local.tls or settings.local.verify is False
    return policy.mirrors(settings.local.name, insecure, signed.signed_images(settings)) or None


def _policy(path, clean):
    known = _noted(path)
    if clean or not _settings().engine.policy:
        now = _read(path)
        if not known or now is None:
            return now
        return policy.restored(now, known["before"], _ours(path), path)
    merged, added = _merged(path)
    now = _read(path)
    if not (added or now):
        return now
    same = now and merged == policy.parse_policy(now, path)
    return now if same else policy.policy_text(merged, now or "")


def _merged(path):
    settings = _settings()
    images = _images(settings)
    now = policy.parse_policy(_read(path) or "", path)
    wanted = policy.wanted_scopes(
        settings.local.name, images, _key, by_upstream=settings.engine.stand_in_for_upstream
    )
    for scope, key in policy.key_paths(wanted):
        if not __salt__["file.file_exists"](key):
            raise policy.PolicyError(f"{key}: is not on this host, and {path} would refuse all of {scope}")
    merged, added = policy.with_scopes(now, wanted, _ours(path), path)
    if refused := policy.refuses_the_rest(merged, settings.local.name, images) if added else "":
        raise policy.PolicyError(f"{path}: its default is reject and it has no scope for {refused}")
    return merged, added


def _ours(path):
    known = _noted(path) or {}
    now = policy.parse_policy(_read(path) or "", path)
    return policy.scopes_left(now, known.get("scopes", {}), known.get("left", {}))


def _images(settings):
    return [
        policy.with_each_cosign_key(image, lambda path: _bytes(path) or b"")
        for image in signed.signed_images(settings)
    ]


def _key(path):
    found = _bytes(path)
    if found is None:
        raise CommandExecutionError(f"{path}: there is no such key")
    return found


def _refuse_dangling_link(path):
    # Salt would call it as it should be, and write nothing.
    link = Path(path)
    if link.is_symlink() and not link.exists():
        raise policy.PolicyError(
            f"{path} is a symbolic link to {link.readlink()}, which is not there; mend it first"
        )


def _read(path):
    found = _bytes(path)
    try:
        return None if found is None else found.decode()
    except UnicodeDecodeError:
        raise policy.PolicyError(f"{path} is not UTF-8; mend it first") from None


def _bytes(path):
    return __salt__["file.read"](path, binary=True) if __salt__["file.file_exists"](path) else None


def _noted(path):
    return _notes().of(path)


def _notes():
    return files.Notes(__opts__["root_dir"], files.POLICIES)


_TEXTS = {"lookaside": _lookaside, "mirrors": _mirrors, "policy": _policy}
