"""What stands on the certificates of the registry's own authority, and when they are made anew. No I/O.

The words are those of Salt's module x509, which makes them:
https://docs.saltproject.io/en/latest/ref/modules/all/salt.modules.x509_v2.html
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

AUTHORITY_DAYS = 3650
LEAF_DAYS = 365
# A site that applies the formula once a quarter has a certificate that never ends.
LEAF_RENEWAL_DAYS = 90
# Before a certificate could outlive the authority. It keeps its key, so that who knows the older certificate
# of the authority has until then to learn of the newer one.
AUTHORITY_RENEWAL_DAYS = LEAF_DAYS + LEAF_RENEWAL_DAYS

KEY: Mapping[str, Any] = {"algo": "ec", "keysize": 256}
_COMMON: Mapping[str, Any] = {"digest": "sha256", "subjectKeyIdentifier": "hash"}
_LONGEST_COMMON_NAME = 64


def authority(host: str) -> dict[str, Any]:
    """What ``x509.create_certificate`` is told for an authority that signs this registry's certificate."""
    return {
        **_COMMON,
        "CN": f"docker_registry on {host}"[:_LONGEST_COMMON_NAME],
        "basicConstraints": "critical, CA:true, pathlen:0",
        "keyUsage": "critical, keyCertSign, cRLSign",
        "days_valid": AUTHORITY_DAYS,
    }


def leaf(hosts: Iterable[str], addresses: Iterable[str]) -> dict[str, Any]:
    """The same for the registry's own certificate.

    Args:
        hosts: names and addresses by which others call the registry, the first one most often.
        addresses: what else this host has; those that mean nothing to others are left out.
    """
    names = list(dict.fromkeys([*hosts, "localhost", *filter(_is_meant_for_others, addresses)]))
    return {
        **_COMMON,
        # Nobody reads it any more where there are alternative names.
        "CN": names[0][:_LONGEST_COMMON_NAME],
        "subjectAltName": [_general_name(name) for name in names],
        "basicConstraints": "critical, CA:false",
        "keyUsage": "critical, digitalSignature",
        "extendedKeyUsage": "serverAuth",
        "authorityKeyIdentifier": "keyid",
        "days_valid": LEAF_DAYS,
    }


def names_missing(certificate: Mapping[str, Any], hosts: Iterable[str]) -> list[str]:
    """Names that a certificate, as ``x509.read_certificate`` shows it, does not have."""
    shown = certificate["extensions"].get("subjectAltName", {}).get("value", [])
    there = set(_plain_names(shown))
    return [host for host in hosts if _plain(host) not in there]


def _plain_names(shown: Iterable[str]) -> Iterator[str]:
    for name in shown:
        yield _plain(name.partition(":")[2])


def _plain(name: str) -> str:
    address = _address(name)
    return str(address) if address else name.lower()


def _general_name(name: str) -> str:
    return f"IP:{name}" if _address(name) else f"DNS:{name}"


def _is_meant_for_others(text: str) -> bool:
    address = _address(text)
    return address is not None and not address.is_link_local


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
