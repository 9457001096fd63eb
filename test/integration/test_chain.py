"""A vendor, a site and an undercloud in a row: one formula, two pillars, and the command line of Queens."""

from __future__ import annotations

import json
import subprocess

import pytest
import yaml

from integration.conftest import ENVIRONMENTS, SALT, minion_on
from integration.story import changes, failures, states
from support.hosts import Host, become_el7
from support.undercloud import QUEENS, ROOT, everybodys

CONFIG = "/etc/docker-distribution/registry/config.yml"
SERVICE = "docker-distribution"
PREPARED = "Undercloud has its list of images"
UPLOADED = "Undercloud has uploaded its images"
# What the overcloud runs; its services are those of two of the vendor's images.
SERVICES = ("OS::TripleO::Services::ContainersLogrotateCrond", "OS::TripleO::Services::NovaApi")
WANTED = ("rhosp13/openstack-cron", "rhosp13/openstack-nova-api")
ENV_FILE = "/home/stack/overcloud-container-images.yaml"
IMAGES_FILE = "/home/stack/upstream-container-images.yaml"

pytestmark = pytest.mark.needs("skopeo")


@pytest.fixture(scope="module")
def openstack():
    if not QUEENS.exists():
        pytest.skip(f"needs {QUEENS.relative_to(ROOT)}")
    with everybodys(QUEENS) as command:
        yield command


@pytest.fixture(scope="module")
def site(boot_module, vendor):
    """A host that mirrors the vendor's registry by this formula, for all clouds of the site."""
    host = boot_module("site")
    answer = minion_on(host, vendor.pillar(host.address)).apply("docker_registry")
    assert failures(answer) == []
    return host


@pytest.fixture
def undercloud(openstack, wire, host_root, tmp_path_factory):
    """A host with everything that the profile asks for, from packages on, and no registry yet."""
    host = Host(
        "undercloud",
        root=host_root,
        wire=wire,
        directory=tmp_path_factory.mktemp("undercloud"),
        environment=ENVIRONMENTS[SALT],
        # The command line's shebang names where it lies outside.
        binds={
            tmp_path_factory.mktemp("docker"): "/var/lib/docker",
            openstack.parents[2]: str(openstack.parents[2]),
        },
    )
    with host:
        become_el7(host)
        host.output("dnf", "-y", "-q", "install", "instack-undercloud", "python2-openstackclient")
        host.output("groupadd", "docker")
        host.output("useradd", "--create-home", "--groups=docker", "--shell=/bin/bash", "stack")
        overcloud = {"resource_registry": dict.fromkeys(SERVICES, "/nowhere/docker/services/x.yaml")}
        role = {"name": "Controller", "CountDefault": 1, "ServicesDefault": list(SERVICES)}
        for name, text in (
            ("stackrc", "export OS_AUTH_URL=http://127.0.0.1:5000/\n"),
            ("undercloud.conf", "[DEFAULT]\n"),
            ("docker.yaml", yaml.safe_dump(overcloud)),
            ("roles_data.yaml", yaml.safe_dump([role])),
        ):
            host.write(f"/home/stack/{name}", text)
        yield host


@pytest.fixture
def pillar(site, undercloud, openstack):
    """The pillar that docs/undercloud.md has, with addresses and a command line of the test's own."""
    if undercloud.run("runuser", "-u", "stack", "--", str(openstack), "--version").returncode:
        pytest.skip("needs a command line of OpenStack that runs with the Python of Debian 12")
    return {
        "upstream": {"host": site.address, "port": 5000, "tls": False},
        "local": {"host": undercloud.address},
        "undercloud": {
            "command": str(openstack),
            "environment_files": ["docker.yaml"],
            "roles_file": "roles_data.yaml",
        },
    }


def digest(wire, registry, name):
    """Return what skopeo says of an image, asked from the wire's far end."""
    with wire.entered():
        done = subprocess.run(
            ["skopeo", "inspect", "--tls-verify=false", f"docker://{registry}/{name}:13.0"],
            capture_output=True,
            check=True,
        )
    return json.loads(done.stdout)["Digest"]


def test_one_formula_carries_the_images_from_the_vendor_to_the_undercloud(
    wire, vendor, site, undercloud, pillar
):
    minion = minion_on(undercloud, pillar)
    first = minion.apply("docker_registry")
    assert failures(first) == []
    ran = states(first)
    told = ran["Undercloud is recognised"]["comment"]
    assert told.startswith("This is an undercloud: found directory /home/stack, file /home/stack/stackrc")
    assert told.endswith("package python2-openstackclient, service openstack-*")
    assert set(ran[PREPARED]["changes"]) == {ENV_FILE, IMAGES_FILE}
    assert set(changes(first)["Images are mirrored"]) == {f"{name}:13.0" for name in WANTED}
    assert undercloud.output("stat", "-c", "%U", ENV_FILE, IMAGES_FILE).split() == ["stack", "stack"]
    ours = f"{undercloud.address}:8787"
    for name in WANTED:
        found = [digest(wire, at, name) for at in (vendor.address, f"{site.address}:5000", ours)]
        assert found == [vendor.images[name].digest] * 3

    second = minion.apply("docker_registry")
    assert (failures(second), changes(second)) == ([], {})

    check = minion.words("registry_sync.check", environment=ENV_FILE)
    assert undercloud.run(*check).returncode == 0
    text = undercloud.read(ENV_FILE)
    undercloud.write(ENV_FILE, text.replace("openstack-cron:13.0", "openstack-cron:13.1"))
    lacking = undercloud.run(*check)
    assert lacking.returncode == 2
    assert f"{ours} has no rhosp13/openstack-cron:13.1, which DockerCrondConfigImage names" in lacking.stdout


def test_the_directors_own_registry_is_left_alone_even_while_it_is_empty(undercloud, pillar):
    undercloud.output("dnf", "-y", "-q", "install", SERVICE)
    own = undercloud.read(CONFIG).replace(":5000", ":8787") + "# the director's\n"
    undercloud.write(CONFIG, own)
    undercloud.output("systemctl", "start", SERVICE)
    before = undercloud.invocation(SERVICE)
    minion = minion_on(undercloud, pillar)
    answer = minion.apply("docker_registry")
    assert failures(answer) == []
    assert "nothing was configured" in states(answer)["Registry is left alone unless forced"]["comment"]
    assert set(changes(answer)["Images are mirrored"]) == {f"{name}:13.0" for name in WANTED}
    assert undercloud.read(CONFIG) == own
    assert undercloud.invocation(SERVICE) == before

    minion.set_pillar({"docker_registry": {**pillar, "force": True}})
    forced = minion.apply("docker_registry")
    assert failures(forced) == []
    assert "# the director's" not in undercloud.read(CONFIG)
    assert undercloud.invocation(SERVICE) != before


def test_the_command_line_uploads_through_a_docker_that_the_formula_made_trust_both(wire, undercloud, pillar):
    pillar["undercloud"]["upload_with"] = "openstack"
    pillar["engine"] = {"install": True}
    answer = minion_on(undercloud, pillar).apply("docker_registry")
    assert failures(answer) == []
    assert set(states(answer)[UPLOADED]["changes"]) == {f"{name}:13.0" for name in WANTED}
    site = f"{pillar['upstream']['host']}:5000"
    for name in WANTED:
        assert digest(wire, f"{undercloud.address}:8787", name) == digest(wire, site, name)
