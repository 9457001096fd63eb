"""Warnings about what the pillar says, or does not say, given on each run."""

from __future__ import annotations

from _registry_config_values import Settings
from _registry_http_endpoint import Endpoint
from _registry_http_pools import is_loopback


def warnings_of(settings: Settings) -> list[str]:
    """Insecure settings in the pillar.

    Args:
        settings: as checked.

    Returns:
        One sentence each; none where all is well. They hold no secrets.
    """
    endpoints = dict.fromkeys((settings.local, *settings.upstreams))
    insecure = (warning for endpoint in endpoints for warning in _warnings(endpoint))
    return list(dict.fromkeys((*_defaults(settings), *_open_to_pushes(settings), *insecure)))


def _open_to_pushes(settings: Settings) -> list[str]:
    service = settings.service
    if service.push == "local" or (settings.local.tls and (service.htpasswd or service.token)):
        return []
    return [
        f"docker_registry:registry:push is everyone: whoever reaches {settings.local.name} can replace its "
        "images; TLS and users would prevent it"
    ]


def _defaults(settings: Settings) -> list[str]:
    if settings.given:
        return []
    return [
        f"the pillar has no docker_registry, so the defaults hold: {len(settings.images)} images of "
        f"{settings.upstream.name}"
    ]


def _warnings(endpoint: Endpoint) -> list[str]:
    login = _login(endpoint)
    if endpoint.tls:
        if endpoint.verify is not False:
            return []
        harm = f" and take {login}" if login else ""
        return [f"{endpoint}: verify is false, so anybody on the way to it can pose as it{harm}"]
    if login and not is_loopback(endpoint.host):
        return [f"{endpoint}: tls is false, so anybody on the way to it can read {login}"]
    return []


def _login(endpoint: Endpoint) -> str:
    if endpoint.username:
        return f"the password of user {endpoint.username}"
    return f"the login from {endpoint.auth_file}" if endpoint.auth_file else ""
