"""Somebody follows the README from the top, on a fresh host without a master."""

from __future__ import annotations

import re
import shutil

import pytest
import yaml

from integration.conftest import REPOSITORY_ROOT
from support.images import Layer, docker_image
from support.registry_content import push, tags_of
from support.salt_minion import FORMULA_PARTS

README = (REPOSITORY_ROOT / "README.md").read_text(encoding="utf-8")
FORMULA = "/srv/formulas/docker_registry"
IMAGES = {
    "rhosp13/openstack-aodh-api": ["13.0", "latest"],
    "ceph/rhceph-3-rhel7": ["3-9", "3-10", "3-11", "3-11-source", "4-1"],
}


def blocks(kind, heading):
    """Return the code blocks of a kind in a section of the README."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^```(\w*)\n(.*?)^```$", section, re.S | re.M)
    return [text for other, text in found if other == kind]


def commands(heading):
    """Return what the README has typed in a section, as `salt-call` without a master."""
    lines = [line.partition("  #")[0].strip() for block in blocks("", heading) for line in block.splitlines()]
    typed = [re.sub(r"^(?:salt '[^']+'|salt-call) ", "", line) for line in lines]
    return [words.split() for line, words in zip(lines, typed, strict=True) if line != words]


class Newcomer:
    """Somebody at a host, with an upstream that has what the README's pillar asks for."""

    def __init__(self, host, vendor):
        self.host, self.vendor = host, vendor
        for name, tags in IMAGES.items():
            push(vendor.server.url, name, tags, docker_image([Layer(name)]))

    def install(self):
        """Do what stands under Install; the clone is a copy."""
        for part in FORMULA_PARTS:
            shutil.copytree(REPOSITORY_ROOT / part, self.host.path(f"{FORMULA}/{part}"))
        self.write(*blocks("yaml", "Install"))
        (sync,) = commands("Install")
        self.type(*sync)

    def write(self, *files):
        """Write files whose first line is a comment with their path, without a master."""
        for text in files:
            path = re.findall(r"(/\S+?\.(?:conf|sls))", text.splitlines()[0])[-1]
            self.host.write(path, text)

    def write_pillar(self):
        """Write the README's pillar with this site's own names."""
        top, pillar = blocks("yaml", "The pillar")
        own = yaml.safe_load(pillar)
        own["docker_registry"]["upstream"] = {
            "host": self.vendor.server.host,
            "port": self.vendor.server.port,
            "tls": False,
        }
        own["docker_registry"]["local"]["host"] = self.host.address
        self.write(top.replace("mirror*", "*"))
        self.host.write("/srv/pillar/docker_registry.sls", yaml.safe_dump(own))

    def type(self, *words):
        """Return what a command prints, which must succeed and tell of no error."""
        done = self.host.run("salt-call", "--local", "--retcode-passthrough", *words)
        printed = done.stdout + done.stderr
        assert done.returncode == 0, (words, printed)
        for complaint in ("[ERROR", "[CRITICAL", "Traceback"):
            assert complaint not in printed, (words, printed)
        return printed


pytestmark = pytest.mark.thorough


@pytest.fixture(params=["Debian 12", "Debian 13"])
def newcomer(request, boot, wire, vendor, host_root, host_root_debian13):
    root = host_root if request.param == "Debian 12" else host_root_debian13
    with wire.entered():
        return Newcomer(boot(f"newcomer{request.param[-2:]}", root=root), vendor)


def test_no_step_of_the_readme_fails_or_tells_of_an_error(newcomer, wire):
    newcomer.install()
    init, plan, apply, check, sync = commands("The pillar")
    printed = newcomer.type(*init[:-1], f"{newcomer.vendor.address}/rhosp13/openstack-aodh-api")
    assert printed.startswith("docker_registry:\n")
    newcomer.write_pillar()
    assert "Would copy 4 of 4 tags" in newcomer.type(*plan)
    assert "Mirrored 4 of 4 tags" in newcomer.type(*apply)
    assert "4 current" in newcomer.type(*check)
    newcomer.type(*sync)
    with wire.entered():
        url = f"http://{newcomer.host.address}:5000"
        assert tags_of(url, "mirror/rhceph") == ["3-10", "3-11"]
        assert tags_of(url, "rhosp13/openstack-aodh-api") == ["13.0", "latest"]
