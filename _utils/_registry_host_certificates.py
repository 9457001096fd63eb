"""Contents of the certificates of the registry's own authority, and when they are renewed. No I/O.

The keys are those of Salt's module x509, which creates them:
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
# Before a certificate could outlive the authority. It keeps its key, so that hosts with the older certificate
# of the authority have until then to fetch the newer one.
AUTHORITY_RENEWAL_DAYS = LEAF_DAYS + LEAF_RENEWAL_DAYS

KEY: Mapping[str, Any] = {"algo": "ec", "keysize": 256}
_COMMON: Mapping[str, Any] = {"digest": "sha256", "subjectKeyIdentifier": "hash"}
_LONGEST_COMMON_NAME = 64
_AUTHORITY_NAME = "docker_registry on "


def authority(host: str) -> dict[str, Any]:
    """Arguments of ``x509.create_certificate`` for an authority that signs this registry's certificate."""
    return {
        **_COMMON,
        "CN": f"{_AUTHORITY_NAME}{host}"[:_LONGEST_COMMON_NAME],
        "basicConstraints": "critical, CA:true, pathlen:0",
        "keyUsage": "critical, keyCertSign, cRLSign",
        "days_valid": AUTHORITY_DAYS,
    }


def leaf(hosts: Iterable[str], addresses: Iterable[str]) -> dict[str, Any]:
    """The same for the registry's own certificate.

    Args:
        hosts: names and addresses by which clients reach the registry, the most common one first.
        addresses: others of this host; link-local ones are left out.
    """
    names = list(dict.fromkeys([*hosts, "localhost", *filter(_is_reachable, addresses)]))
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


def is_authority(certificate: Mapping[str, Any]) -> bool:
    """Whether a certificate, as ``x509.read_certificate`` returns it, is one of ``authority``."""
    subject = certificate.get("subject", {})
    return str(subject.get("CN", "")).startswith(_AUTHORITY_NAME) and subject == certificate.get("issuer")


def names_missing(certificate: Mapping[str, Any], hosts: Iterable[str]) -> list[str]:
    """Names that a certificate, as ``x509.read_certificate`` returns it, lacks."""
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


def _is_reachable(text: str) -> bool:
    address = _address(text)
    return address is not None and not address.is_link_local


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
