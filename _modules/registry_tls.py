"""
The registry's own certificate authority (``docker_registry:registry:tls: self_signed``): its files on this
host, and the master's mine, from which other hosts fetch the CA certificate.

https://docs.saltproject.io/en/latest/topics/mine/index.html
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath

import salt.loader
from salt.exceptions import CommandExecutionError, SaltInvocationError

import _registry_host_certificates as certificates
import _registry_state_settings as checked

_CANNOT_BE_READ = "it cannot be read"
_OTHER_KEY = "its key is another's"
_UNREADABLE = (CommandExecutionError, SaltInvocationError)
_MINE = "docker_registry_authority"
_PEM = "-----BEGIN CERTIFICATE-----"


def self_signed():
    """
    Whether the registry has a certificate authority of its own.

    Returns:
        bool: true if ``docker_registry:registry:tls`` is ``self_signed``.

    Raises:
        CommandExecutionError: the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_tls.self_signed
    """
    return bool(_settings().authority)


def makes_authority():
    """
    Whether the authority is created on this host, where the registry runs.

    Returns:
        bool: true if ``self_signed`` and ``docker_registry:registry:install`` is not ``none``.

    Raises:
        CommandExecutionError: the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_tls.makes_authority
    """
    return self_signed() and _settings().service.install != "none"


def authority():
    """
    The certificate of the registry's authority on this host; it is no secret.

    Returns:
        str: PEM; empty where there is none.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_tls.authority
    """
    path = _settings().authority
    return _text(path) if path else ""


def authority_path():
    """
    Path of the certificate of the registry's authority on this host.

    Returns:
        str: a path, empty where the registry has no authority of its own.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_tls.authority_path
    """
    return _settings().authority


def is_made_here(text):
    """
    Whether a certificate is that of an authority that this formula makes, be it on another host.

    Args:
        text (str): PEM, or anything else.

    Returns:
        bool: true if it is.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_tls.is_made_here "$PEM"
    """
    try:
        return certificates.is_authority(_x509()["x509.read_certificate"](text))
    except _UNREADABLE:
        return False


def host_name():
    """
    The host name by which clients reach the registry.

    Returns:
        str: ``docker_registry:local:host``, or this host's fqdn.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_tls.host_name
    """
    return _settings().local.host


def has_ca_key():
    """
    Whether the authority's key is on this host, where it was created.

    Returns:
        bool: true if it is.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_tls.has_ca_key
    """
    path = _settings().authority
    return bool(path) and Path(_key_of(path)).exists()


def files(directory):
    """
    The files of the registry's certificate.

    Args:
        directory (str): where the registry's configuration is.

    Returns:
        dict: ``authority``, ``authority_key``, ``certificate`` and ``key``, each a path.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_tls.files /etc/docker/registry
    """
    path = _settings().authority
    return {
        "authority": path,
        "authority_key": _key_of(path),
        "certificate": f"{directory}/tls-certificate.pem",
        "key": f"{directory}/tls-key.pem",
    }


def due(directory):
    """
    What has to be created or renewed before the registry can serve TLS with a certificate of its own
    authority.

    Args:
        directory (str): where the registry's configuration is.

    Returns:
        dict: ``authority`` and ``certificate``, each with the reason; empty where nothing is due.

    Raises:
        CommandExecutionError: the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_tls.due /etc/docker/registry
    """
    at, make = files(directory), _x509()
    authority_reason = _why_authority(make, at)
    if authority_reason:
        return {"authority": authority_reason, "certificate": "its authority is new"}
    leaf_reason = _why_certificate(make, at)
    return {"certificate": leaf_reason} if leaf_reason else {}


def renew(directory, user, group):
    """
    Create or renew what ``due`` names. An authority keeps its key; the registry gets a new one with each
    certificate.

    Args:
        directory (str): where the registry's configuration is.
        user (str): of the registry's process.
        group (str): and its group.

    Returns:
        dict: as ``due`` has returned it.

    Raises:
        CommandExecutionError: the pillar has a mistake.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_tls.renew /etc/docker/registry docker-registry docker-registry
    """
    reasons, at, make = due(directory), files(directory), _x509()
    if "authority" in reasons:
        _make_authority(make, at)
    if reasons:
        wanted = certificates.leaf(_hosts(), _addresses())
        key = make["x509.create_private_key"](**certificates.KEY)
        signer = {"signing_private_key": at["authority_key"], "signing_cert": at["authority"]}
        certificate = make["x509.create_certificate"](private_key=key, **signer, **wanted)
        _write(at["key"], key, 0o600, user, group)
        _write(at["certificate"], certificate, 0o644, user, group)
    return reasons


def published_ca():
    """
    The CA certificate in the master's mine, published by the minion whose ID is
    ``docker_registry:local:host``; no other minion can publish under that ID.

    Returns:
        str: PEM; empty where there is none, or no master.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_tls.published_ca
    """
    return _pem(_mine(host_name()))


def is_published():
    """
    Whether the mine has what ``publish_ca`` would publish.

    Returns:
        bool: true if it has, or there is no master.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_tls.is_published
    """
    return _has_no_master() or _pem(_mine(__opts__["id"])) == authority()


def publish_ca():
    """
    Publish the CA certificate to the mine, for the engines of other hosts.

    Returns:
        bool: true if the master has taken it.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_tls.publish_ca
    """
    return bool(__salt__["mine.send"](_MINE, mine_function="registry_tls.authority")) and is_published()


def unpublish_ca():
    """
    Remove the CA certificate from the mine.

    Returns:
        bool: true if the mine has none.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_tls.unpublish_ca
    """
    return _has_no_master() or bool(__salt__["mine.delete"](_MINE))


def is_in_mine():
    """
    Whether the mine has a CA certificate of this host.

    Returns:
        bool: true if it has.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_tls.is_in_mine
    """
    return not _has_no_master() and bool(_mine(__opts__["id"]))


def _why_authority(make, at):
    if not (Path(at["authority"]).exists() and Path(at["authority_key"]).exists()):
        return "there is none"
    try:
        if not make["x509.verify_private_key"](at["authority_key"], at["authority"]):
            return _OTHER_KEY
    except _UNREADABLE:
        return _CANNOT_BE_READ
    return _why_old(make, at["authority"], certificates.AUTHORITY_RENEWAL_DAYS)


def _why_certificate(make, at):
    if not (Path(at["certificate"]).exists() and Path(at["key"]).exists()):
        return "there is none"
    try:
        if not make["x509.verify_signature"](at["certificate"], at["authority"]):
            return "it is of another authority"
        if not make["x509.verify_private_key"](at["key"], at["certificate"]):
            return _OTHER_KEY
        shown = make["x509.read_certificate"](at["certificate"])
    except _UNREADABLE:
        return _CANNOT_BE_READ
    missing = certificates.names_missing(shown, _hosts())
    if missing:
        return f"it lacks {', '.join(missing)}"
    return _why_old(make, at["certificate"], certificates.LEAF_RENEWAL_DAYS)


def _why_old(make, path, days):
    return f"it ends within {days} days" if make["x509.expires"](path, days=days) else ""


def _make_authority(make, at):
    directory = PurePosixPath(at["authority"]).parent
    Path(directory).mkdir(mode=0o755, parents=True, exist_ok=True)
    kept = _text(at["authority_key"])
    key = kept or make["x509.create_private_key"](**certificates.KEY)
    wanted = certificates.authority(_settings().local.host)
    try:
        certificate = make["x509.create_certificate"](signing_private_key=key, **wanted)
    except _UNREADABLE as failure:
        # No engine would trust a new one in its place, so the operator decides.
        where = at["authority_key"]
        raise CommandExecutionError(
            f"{where}: {failure}; without this file a new authority is made, and all engines have to learn it"
        ) from None
    if not kept:
        _write(at["authority_key"], key, 0o600)
    _write(at["authority"], certificate, 0o644)


def _x509():
    """
    The functions of Salt's module x509 in its second version. Salt 3006 and 3007 load it only where the
    minion's configuration has ``features: {x509_v2: true}``, else the first one, whose M2Crypto hardly
    any minion has: https://docs.saltproject.io/en/3006/ref/modules/all/salt.modules.x509_v2.html
    """
    features = {**__opts__.get("features", {}), "x509_v2": True}
    return salt.loader.minion_mods({**__opts__, "features": features}, whitelist=["x509_v2", "x509"])


def _write(path, text, mode, user="root", group="root"):
    """Atomic, and with its final owner and mode from the start."""
    handle, beside = tempfile.mkstemp(dir=PurePosixPath(path).parent, prefix=".docker_registry.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(beside).chmod(mode)
        shutil.chown(beside, user, group)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink()
        raise


def _hosts():
    """Host names in the registry's certificate."""
    return list(dict.fromkeys(filter(None, (_settings().local.host, __grains__.get("fqdn")))))


def _addresses():
    found = __salt__["network.ip_addrs"](include_loopback=True)
    return [*found, *__salt__["network.ip_addrs6"](include_loopback=True)]


def _mine(minion):
    if _has_no_master():
        return ""
    return (__salt__["mine.get"](minion, _MINE, tgt_type="list") or {}).get(minion, "")


def _pem(text):
    return text if isinstance(text, str) and text.lstrip().startswith(_PEM) else ""


def _has_no_master():
    return __opts__.get("file_client") == "local"


def _key_of(path):
    return str(PurePosixPath(path).with_name("ca-key.pem")) if path else ""


def _text(path):
    return Path(path).read_text(encoding="utf-8", errors="replace") if Path(path).exists() else ""


def _settings():
    return checked.settings_of(__pillar__, __grains__, __salt__, __context__)
