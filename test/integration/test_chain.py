"""A vendor, a site and an undercloud in a row: one formula, two pillars, and the command line of Queens."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
import yaml

from _registry_config_defaults import OVERCLOUD_IMAGES
from integration.conftest import ENVIRONMENTS, SALT, minion_on
from integration.story import changes, failures, states
from support.hosts import Host, become_el7
from support.images import Layer, docker_image
from support.registry_content import push
from support.undercloud import QUEENS, ROOT, everybodys

PAGE = (ROOT / "docs/undercloud.md").read_text(encoding="utf-8")
SITE_PILLAR, UNDERCLOUD_PILLAR = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[:2]

CONFIG = "/etc/docker-distribution/registry/config.yml"
SERVICE = "docker-distribution"
PREPARED = "Undercloud image list is prepared"
UPLOADED = "Undercloud images are uploaded"
# What the overcloud runs; its services are those of two images.
SERVICES = ("OS::TripleO::Services::ContainersLogrotateCrond", "OS::TripleO::Services::NovaApi")
WANTED = ("rhosp13/openstack-cron", "rhosp13/openstack-nova-api")
TEMPLATES = "/usr/share/openstack-tripleo-heat-templates"
ENV_FILE = "/home/stack/overcloud-container-images.yaml"
IMAGES_FILE = "/home/stack/upstream-container-images.yaml"

# A functional test of the undercloud has the same chain without hosts.
pytestmark = [pytest.mark.needs("skopeo"), pytest.mark.thorough]


@pytest.fixture(scope="module")
def openstack():
    if not QUEENS.exists():
        pytest.skip(f"needs {QUEENS.relative_to(ROOT)}")
    with everybodys(QUEENS) as command:
        yield command


@pytest.fixture(scope="module")
def images(vendor, wire):
    """The 44 images of an overcloud, which the vendor has."""
    made = {f"rhosp13/openstack-{name}": docker_image([Layer(name, 500)]) for name in OVERCLOUD_IMAGES}
    with wire.entered():
        for name, image in made.items():
            push(vendor.server.url, name, "13.0", image)
    return made


@pytest.fixture(scope="module")
def site(boot_module, vendor, images):
    """A host that mirrors the vendor's registry by this formula, for all clouds of the site."""
    host = boot_module("site")
    documented = yaml.safe_load(SITE_PILLAR)["docker_registry"]
    upstream = vendor.pillar(host.address)["upstream"]
    pillar = {**documented, "upstream": upstream, "local": {"host": host.address}}
    answer = minion_on(host, pillar).apply("docker_registry")
    assert failures(answer) == []
    assert set(changes(answer)["Images are mirrored"]) == {f"{name}:13.0" for name in images}
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
        # What the director's packages bring to the paths that the page names.
        overcloud = {"resource_registry": dict.fromkeys(SERVICES, "/nowhere/docker/services/x.yaml")}
        role = {"name": "Controller", "CountDefault": 1, "ServicesDefault": list(SERVICES)}
        for name, text in (
            ("/home/stack/stackrc", "export OS_AUTH_URL=http://127.0.0.1:5000/\n"),
            ("/home/stack/undercloud.conf", "[DEFAULT]\n"),
            (f"{TEMPLATES}/environments/docker.yaml", yaml.safe_dump(overcloud)),
            (f"{TEMPLATES}/roles_data.yaml", yaml.safe_dump([role])),
        ):
            host.write(name, text)
        yield host


@pytest.fixture
def pillar(site, undercloud, openstack):
    """The pillar that docs/undercloud.md has, with addresses and a command line of the test's own."""
    if undercloud.run("runuser", "-u", "stack", "--", str(openstack), "--version").returncode:
        pytest.skip("needs a command line of OpenStack that runs with the Python of Debian 12")
    pillar = yaml.safe_load(UNDERCLOUD_PILLAR)["docker_registry"]
    pillar["upstream"]["host"] = site.address
    pillar["local"]["host"] = undercloud.address
    pillar["undercloud"]["command"] = str(openstack)
    return pillar


def documented(minion, beginning):
    """Have a host run the command of the page that begins so, as it stands there."""
    (command,) = re.findall(rf"^salt-call (?:--\S+ )?{beginning}.*$", PAGE, re.MULTILINE)
    salt_call, config, local, *_ = minion.command("test.ping")
    _, *words = command.split()
    return minion.host.run(salt_call, local, config, *words)


def digest(wire, registry, name):
    """Return what skopeo says of an image, asked from the wire's far end."""
    with wire.entered():
        done = subprocess.run(
            ["skopeo", "inspect", "--tls-verify=false", f"docker://{registry}/{name}:13.0"],
            capture_output=True,
            check=True,
        )
    return json.loads(done.stdout)["Digest"]


def test_the_documents_have_the_same_pillars():
    text = (ROOT / "docs/chains.md").read_text(encoding="utf-8")
    assert SITE_PILLAR in text
    assert UNDERCLOUD_PILLAR in text


def test_one_formula_carries_the_images_from_the_vendor_to_the_undercloud(
    wire, vendor, images, site, undercloud, pillar
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
        assert found == [images[name].digest] * 3

    second = minion.apply("docker_registry")
    assert (failures(second), changes(second)) == ([], {})

    assert documented(minion, "registry_sync.check environment").returncode == 0
    text = undercloud.read(ENV_FILE)
    undercloud.write(ENV_FILE, text.replace("openstack-cron:13.0", "openstack-cron:13.1"))
    lacking = documented(minion, "registry_sync.check environment")
    assert lacking.returncode == 2
    assert "rhosp13/openstack-cron:13.1  missing: absent; " in lacking.stdout
    assert "which DockerCrondConfigImage names" in lacking.stdout

    # A list that was made elsewhere has one image more.
    more = yaml.safe_load(undercloud.read(IMAGES_FILE))
    more["container_images"].append({"imagename": f"{site.address}:5000/rhosp13/openstack-redis:13.0"})
    undercloud.write("/root/upstream-container-images.yaml", yaml.safe_dump(more))
    assert "1 missing" in documented(minion, "registry_sync.plan images_file").stdout
    assert documented(minion, "registry_sync.sync images_file").returncode == 0
    assert digest(wire, ours, "rhosp13/openstack-redis") == images["rhosp13/openstack-redis"].digest


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
