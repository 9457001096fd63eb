"""The program that frees space is found in what runs the service; what forbids it is one sentence."""

from __future__ import annotations

import pytest

from _registry_config_read import read_settings
from _registry_host_collector import against_configs, against_pillar, read_unit, shared_file_system
from _registry_host_service import Site, push_config, service_config
from _registry_host_units import Container, Program, init_script, program_unit, quadlet, unit

PROGRAM = Program(
    name="docker-registry-push",
    path="/usr/bin/docker-registry",
    config="/etc/of site/100%/push.yml",
    user="registry",
    group="images",
    socket_directory="/run/docker_registry",
)
CONTAINER = Container(
    name="registry-push",
    image="docker.io/library/registry:2",
    config="/etc/registry/push.yml",
    storage="/srv/images",
    socket_directory="/run/docker_registry",
)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("/etc/systemd/system/docker-registry-push.service", program_unit(PROGRAM)),
        ("/etc/init.d/docker-registry-push", init_script(PROGRAM)),
    ],
)
def test_a_program_is_run_as_its_service_runs_it(file, text):
    found = read_unit(file, text)
    assert found is not None
    assert found.name == "docker-registry-push"
    assert found.command == ("/usr/bin/docker-registry", "garbage-collect")
    assert (found.config, found.user, found.group) == (PROGRAM.config, "registry", "images")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("/etc/systemd/system/registry-push.service", unit(CONTAINER)),
        ("/etc/containers/systemd/registry-push.container", quadlet(CONTAINER)),
    ],
)
def test_an_image_is_run_with_the_same_directories_and_no_network(file, text):
    found = read_unit(file, text)
    assert found is not None
    assert (found.name, found.config, found.user) == ("registry-push", "/etc/registry/push.yml", "")
    assert found.command == (
        "/usr/bin/podman",
        "run",
        "--rm",
        "--name",
        "registry-push-collect",
        "--network",
        "none",
        "--log-driver",
        "none",
        "--volume",
        "/etc/registry:/etc/registry:ro,z",
        "--volume",
        "/srv/images:/srv/images",
        "docker.io/library/registry:2",
        "garbage-collect",
    )


@pytest.mark.parametrize("file", ["/a/x-push.service", "/a/x-push.container", "/etc/init.d/x-push"])
def test_what_runs_something_else_is_none(file):
    for text in ("", "[Service]\nExecStart=/bin/true\n", "[Container]\nImage=x\nExec=sleep 1\n"):
        assert read_unit(file, text) is None


def service(**registry):
    return read_settings({"registry": registry}, host="h").service


@pytest.mark.parametrize(
    ("registry", "said"),
    [
        ({"push": "everyone"}, "push is everyone"),
        ({"install": "none"}, "install is none"),
        ({"config": {"proxy": {"remoteurl": "https://x"}}}, "pull-through"),
        ({"config": {"storage": {"s3": {"bucket": "b"}}}}, "the storage s3"),
        ({"config": {"storage": {"inmemory": {}}}}, "the storage inmemory"),
    ],
)
def test_what_forbids_it_is_named_by_its_key(registry, said):
    against = against_pillar(service(**registry))
    assert against.startswith("docker_registry:registry:")
    assert said in against


def test_a_mirror_as_the_formula_makes_it_may_be_collected():
    assert against_pillar(service()) == ""
    assert against_configs(service_config(SITE), push_config(SITE)) == ""


SITE = Site(config={}, storage="/srv", port=5000, secret="s", readonly=True)


@pytest.mark.parametrize(
    ("public", "pushes", "said"),
    [
        ({}, push_config(SITE), "one directory"),
        (service_config(SITE), {}, "one directory"),
        (service_config(Site({}, "/other", 5000, "s", readonly=True)), push_config(SITE), "one directory"),
        (service_config(Site({}, "/srv", 5000, "s")), push_config(SITE), "not read-only"),
        (
            service_config(SITE),
            push_config(Site({"storage": {"cache": {"blobdescriptor": "redis"}}}, "/srv", 5000, "s")),
            "the cache redis",
        ),
    ],
)
def test_services_that_are_not_as_they_should_be(public, pushes, said):
    assert said in against_configs(public, pushes)


MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /srv rw,relatime shared:2 - nfs4 nas:/srv rw
31 30 8:2 / /srv/of\\040site rw,relatime shared:3 - xfs /dev/sdb rw
"""


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/srv/images", "nfs4"),
        ("/srv", "nfs4"),
        ("/srv/of site/images", ""),
        ("/srvx", ""),
        ("/var/lib/registry", ""),
    ],
)
def test_what_other_hosts_may_write_to_is_no_storage_to_collect(directory, kind):
    assert shared_file_system(MOUNTS, directory) == kind
