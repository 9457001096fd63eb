"""A pull through the host's own engine, as a user of the mirror would do it.

docker's SDK speaks to docker and, through podman's API socket, to podman:
https://docs.podman.io/en/latest/markdown/podman-system-service.1.html
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _registry_config_validators import SettingsError
from _registry_http_credentials import Keyring
from _registry_http_endpoint import Endpoint
from _registry_oci_errors import RegistryError
from _registry_oci_names import is_digest, is_repository, is_tag

SOCKETS = ("/run/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock")
PULL_SECONDS = 1800


def pull(local: Endpoint, name: str, sockets: Sequence[str] = SOCKETS) -> dict[str, Any]:
    """Let the engine pull one image from the local registry.

    Args:
        local: the registry, and who we are there.
        name: ``repository:tag`` or ``repository@sha256:…`` as it stands in the report.
        sockets: where engines listen; the first that is there is asked.

    Returns:
        ``image`` (the whole name), ``digest`` (empty where it failed), ``seconds`` and ``error``
        (one sentence, or empty).

    Raises:
        SettingsError: the name is none.
    """
    repository, reference = _split(name)
    began = time.monotonic()
    digest, error = "", ""
    try:
        digest = _pulled(local, repository, reference, sockets)
    except _CannotPull as failure:
        error = str(failure)
    return {
        "image": f"{local.name}/{name}",
        "digest": digest,
        "seconds": round(time.monotonic() - began, 3),
        "error": error,
    }


class _CannotPull(Exception):
    pass


def _split(name: str) -> tuple[str, str]:
    repository, at, reference = name.rpartition("@" if "@" in name else ":")
    if not is_repository(repository) or not (is_digest(reference) if at == "@" else is_tag(reference)):
        raise SettingsError(f"{name!r} is no image; give repository:tag as registry_sync.check shows it")
    return repository, reference


def _pulled(local: Endpoint, repository: str, reference: str, sockets: Sequence[str]) -> str:
    docker = _sdk()
    socket = os.environ.get("DOCKER_HOST") or next((f"unix://{s}" for s in sockets if Path(s).exists()), "")
    if not socket:
        raise _CannotPull(f"no container engine listens here (none of {', '.join(sockets)})")
    full = f"{local.name}/{repository}"
    try:
        login = _login(local, repository)
        client = docker.DockerClient(base_url=socket, timeout=PULL_SECONDS)
        try:
            for event in client.api.pull(full, tag=reference, auth_config=login, stream=True, decode=True):
                if event.get("error"):
                    raise _CannotPull(f"the engine at {socket}: {' '.join(event['error'].split())}")
            image = client.images.get(f"{full}{'@' if is_digest(reference) else ':'}{reference}")
            return _digest_of(image.attrs, full)
        finally:
            client.close()
    except RegistryError as failure:
        raise _CannotPull(str(failure)) from None
    except (docker.errors.DockerException, OSError) as failure:
        reason = getattr(failure, "explanation", None) or failure
        raise _CannotPull(f"the engine at {socket}: {' '.join(str(reason).split())}") from None


def _sdk() -> Any:
    """Docker's SDK: only a pull needs it, and only a pull waits for it to be loaded."""
    try:
        import docker
    except ImportError:
        raise _CannotPull("docker's SDK for Python is not installed for Salt (pip package docker)") from None
    return docker


def _login(local: Endpoint, repository: str) -> dict[str, str] | None:
    """Who we are there, for the engine: the same as for a sync."""
    login = Keyring(local).credentials(repository).login
    return {"username": login.username, "password": login.password} if login.username else None


def _digest_of(attributes: Mapping[str, Any], full: str) -> str:
    """The digest that the engine noted for this repository; one image may have come from several."""
    for entry in attributes.get("RepoDigests") or []:
        name, _, digest = entry.rpartition("@")
        if name == full:
            return str(digest)
    return ""
