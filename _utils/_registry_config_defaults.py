"""What the pillar means where it is silent."""

from __future__ import annotations

from typing import Any

# Services of an OpenStack overcloud (Queens) and the images of each; an empty part is the service itself.
OVERCLOUD_SERVICES: dict[str, tuple[str, ...]] = {
    "aodh": ("api", "evaluator", "listener", "notifier"),
    "ceilometer": ("central", "compute", "notification"),
    "cinder": ("api", "scheduler", "volume"),
    "cron": ("",),
    "glance": ("api",),
    "gnocchi": ("api", "metricd", "statsd"),
    "haproxy": ("",),
    "heat": ("api-cfn", "api", "engine"),
    "horizon": ("",),
    "iscsid": ("",),
    "keystone": ("",),
    "mariadb": ("",),
    "memcached": ("",),
    "neutron": ("dhcp-agent", "l3-agent", "metadata-agent", "openvswitch-agent", "server"),
    "nova": (
        "api",
        "compute",
        "conductor",
        "consoleauth",
        "libvirt",
        "novncproxy",
        "placement-api",
        "scheduler",
    ),
    "panko": ("api",),
    "rabbitmq": ("",),
    "redis": ("",),
    "swift": ("account", "container", "object", "proxy-server"),
}
OVERCLOUD_IMAGES = tuple(
    f"{service}-{part}" if part else service
    for service, parts in OVERCLOUD_SERVICES.items()
    for part in parts
)

UPSTREAM_DEFAULTS: dict[str, Any] = {
    "host": "registry.access.redhat.com",
    "port": 443,
    "tls": True,
    "verify": True,
}
IMAGE_DEFAULTS: dict[str, Any] = {
    "namespace": "rhosp13",
    "prefix": "openstack-",
    "tags": ["13.0"],
    "platforms": [],
    "signed_by": [],
}
LOCAL_PORT = 5000
UNDERCLOUD_PORT = 8787
# Where vendors keep their simple signatures; signatures:stores names others.
SIGNATURE_STORES: dict[str, str] = {
    "registry.access.redhat.com": "https://access.redhat.com/webassets/docker/content/sigstore",
    "registry.redhat.io": "https://registry.redhat.io/containers/sigstore",
}
SIGNATURE_DIRECTORY = "/var/lib/docker_registry/sigstore"
# Directory of the authority that signs the registry's certificate; lookup:authority names another.
AUTHORITY_DIRECTORY = "/etc/pki/docker_registry"
