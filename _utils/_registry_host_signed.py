"""Who signs the repositories of the mirror, and where it keeps signatures itself, by the pillar; no I/O."""

from __future__ import annotations

from dataclasses import replace

from _registry_config_values import Image, Settings
from _registry_host_policy import Signed, image_name, known_name
from _registry_http_pools import is_loopback


def signed_images(settings: Settings) -> tuple[Signed, ...]:
    """The repositories of the list, each once."""
    found: dict[str, Signed] = {}
    for image in settings.images:
        signed = _signed(image, settings)
        first = found.setdefault(image.target, signed)
        if _signers(first) != _signers(signed):
            found[image.target] = replace(first, divided=True)
    return tuple(found.values())


def _signed(image: Image, settings: Settings) -> Signed:
    keys = [settings.keys[name] for name in image.signed_by]
    source = image.source
    return Signed(
        target=image.target,
        upstream=f"{image_name(source.host, source.port, tls=source.tls)}/{image.repository}",
        signed_name=known_name(image.signed_name),
        gpg=tuple(dict.fromkeys(path for key in keys for path in key.gpg)),
        cosign=tuple(dict.fromkeys(path for key in keys for path in key.cosign)),
        keyless=any(key.issuer for key in keys),
        insecure=not source.tls or source.verify is False,
    )


def _signers(signed: Signed) -> tuple[object, ...]:
    return signed.upstream, signed.signed_name, signed.gpg, signed.cosign, signed.keyless


def store_address(settings: Settings) -> str:
    """The address at which this formula serves signatures; empty = it does not."""
    if not settings.signatures.serve:
        return ""
    local = replace(settings.local, port=settings.signatures.serve, path="")
    return local.url


def store_warnings(settings: Settings) -> list[str]:
    """What is to be known of a store of ours that speaks plain HTTP over a network."""
    address = store_address(settings)
    if not address or settings.local.tls or is_loopback(settings.local.host):
        return []
    return [
        f"{address} is plain HTTP: nobody on the way can forge a signature, but he can hide one, and engines "
        "then refuse the image"
    ]
