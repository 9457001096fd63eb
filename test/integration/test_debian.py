"""A Debian 12 with the real package: the whole way, and what steers it."""

from __future__ import annotations

import json

import pytest
import yaml

from integration.conftest import minion_on, salts
from integration.story import changes, failures, live, states

CONFIG = "/etc/docker/registry/config.yml"
SERVICE = "docker-registry"
IMAGES = "Images are mirrored"

# Debian 13 tells the same in short.
pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module", params=salts("3008"))
def story(request, boot_module, vendor):
    host = boot_module(f"debian-{request.param}", salt=request.param)
    return live(minion_on(host, vendor.pillar(host.address)))


@pytest.fixture
def served(boot, vendor):
    """Return a minion whose registry was set up by the formula, and its pillar."""
    host = boot("mirror")
    pillar = vendor.pillar(host.address)
    minion = minion_on(host, pillar)
    answer = minion.apply("docker_registry")
    assert failures(answer) == []
    return minion, pillar


def apply_with(minion, pillar, target="docker_registry", **arguments):
    minion.set_pillar({"docker_registry": pillar})
    return minion.apply(target, **arguments)


class TestLife:
    def test_the_plan_tells_what_the_run_then_does(self, story):
        assert failures(story.plan) == []
        assert story.plan.retcode == 0
        ran = states(story.plan)
        assert ran["Registry package is installed"]["result"] is None
        assert ran["Registry is running"]["comment"] == f"Would start {SERVICE}"
        assert ran[IMAGES]["comment"].startswith("Would copy 4 of 4 tags")

    def test_the_plan_writes_nothing(self, story):
        assert story.written_by_plan == set()

    def test_the_first_run_does_it_all(self, story, vendor):
        assert failures(story.first) == []
        assert story.first.retcode == 0
        assert SERVICE in changes(story.first)["Registry package is installed"]
        assert set(changes(story.first)[IMAGES]) == {f"{name}:13.0" for name in vendor.images}

    def test_the_package_is_the_systems(self, story):
        assert "install ok installed" in story.host.output("dpkg-query", "-W", "-f", "${Status}", SERVICE)

    def test_the_service_runs_under_systemd_now_and_after_a_boot(self, story):
        assert story.host.is_active(SERVICE)
        assert story.host.output("systemctl", "is-enabled", SERVICE).strip() == "enabled"

    def test_the_second_run_changes_nothing(self, story):
        assert failures(story.second) == []
        assert changes(story.second) == {}
        assert "All 4 tags are current" in states(story.second)[IMAGES]["comment"]

    def test_the_check_finds_everything_in_step(self, story, vendor):
        assert story.check.retcode == 0
        images = story.check.value["images"]
        assert {key: image["local"] for key, image in images.items()} == {
            f"{name}:13.0": image.digest for name, image in vendor.images.items()
        }


def test_with_sync_off_nothing_is_copied_and_what_is_there_is_told(served):
    minion, pillar = served
    wanted = {**pillar, "sync": False, "images": [*pillar["images"], {"name": "site/more", "tags": ["1"]}]}
    answer = apply_with(minion, wanted)
    assert (failures(answer), changes(answer)) == ([], {})
    comment = states(answer)[IMAGES]["comment"]
    assert comment.startswith("docker_registry:sync is false, nothing is copied")
    assert "holds 4 repositories, 4 tags" in comment


def test_at_the_end_an_empty_registry_fails_the_run_with_its_address(boot, vendor):
    host = boot("empty")
    answer = minion_on(host, vendor.pillar(host.address, sync=False)).apply("docker_registry")
    assert answer.retcode != 0
    assert failures(answer) == [
        f"Registry serves the images: http://{host.address}:5000 answers but holds no image"
    ]


def test_clean_takes_away_what_was_set_up_and_keeps_the_images(served):
    minion, pillar = served
    host = minion.host
    plan = apply_with(minion, pillar, "docker_registry.clean", test=True)
    assert failures(plan) == []
    assert host.is_active(SERVICE)
    answer = minion.apply("docker_registry.clean")
    assert failures(answer) == []
    assert not host.is_active(SERVICE)
    assert not host.path(CONFIG).exists()
    assert host.run("dpkg-query", "-W", SERVICE).returncode != 0
    kept = host.output("find", "/var/lib/docker-registry", "-name", "link", "-path", "*/tags/13.0/*")
    assert len(kept.splitlines()) >= 4
    assert not host.path("/var/lib/docker_registry").exists() or not host.files("/var/lib/docker_registry")
    again = minion.apply("docker_registry.clean")
    assert (failures(again), changes(again)) == ([], {})


def test_clean_puts_back_what_was_here_before_the_formula(boot, vendor):
    host = boot("before")
    host.output("apt-get", "install", "-qq", SERVICE)
    # No line ends the last line, as nobody would write it but somebody does.
    site = "version: 0.1\nhttp: {addr: ':5999'}\nstorage: {filesystem: {rootdirectory: /srv/site}}"
    host.write(CONFIG, site)
    host.output("install", "-d", "-o", SERVICE, "/srv/site")
    host.output("chmod", "0640", CONFIG)
    host.output("chgrp", SERVICE, CONFIG)
    host.output("systemctl", "restart", SERVICE)
    minion = minion_on(host, vendor.pillar(host.address))
    assert failures(minion.apply("docker_registry")) == []
    assert ":5999" not in host.read(CONFIG)
    assert failures(minion.apply("docker_registry.clean")) == []
    assert host.read(CONFIG) == site
    assert host.output("stat", "-c", "%a %U %G", CONFIG).split() == ["640", "root", SERVICE]
    assert "install ok installed" in host.output("dpkg-query", "-W", "-f", "${Status}", SERVICE)
    assert host.is_active(SERVICE)
    assert ":5999" in host.output("ss", "-ltn")
    again = minion.apply("docker_registry.clean")
    assert (failures(again), changes(again)) == ([], {})
    assert host.read(CONFIG) == site


def test_names_of_the_site_are_used_and_its_images_purged_where_the_pillar_says(boot, vendor):
    host = boot("lookup")
    unit = "[Service]\nExecStart=/usr/bin/docker-registry serve /srv/site/config.yml\n"
    host.write("/etc/systemd/system/site-registry.service", f"{unit}[Install]\nWantedBy=multi-user.target\n")
    lookup = {
        "service": "site-registry",
        "config": "/srv/site/config.yml",
        "storage": "/srv/site/images",
        "user": "root",
        "group": "root",
    }
    # The package's own service would take the port.
    host.output("systemctl", "mask", SERVICE)
    pillar = vendor.pillar(host.address, lookup=lookup, registry={"purge": True})
    minion = minion_on(host, pillar)
    assert failures(minion.apply("docker_registry")) == []
    assert host.is_active("site-registry")
    assert host.is_active("site-registry-push")
    assert yaml.safe_load(host.read("/srv/site/config.yml"))["storage"]["filesystem"] == {
        "rootdirectory": "/srv/site/images"
    }
    assert host.path("/srv/site/images/docker/registry/v2/repositories/tools").is_dir()
    host.write("/srv/site/images/of-the-site", "")
    again = minion.apply("docker_registry")
    assert (failures(again), changes(again)) == ([], {})
    assert failures(minion.apply("docker_registry.clean")) == []
    assert not host.is_active("site-registry")
    assert not host.is_active("site-registry-push")
    assert host.output("ls", "/srv/site/images").split() == ["docker", "of-the-site"]
    assert not host.path("/srv/site/images/docker/registry").exists()
    # A unit that is not the formula's stays.
    assert unit in host.read("/etc/systemd/system/site-registry.service")


def test_the_plan_of_a_clean_host_is_the_one_of_a_new_one(served):
    minion, _ = served
    minion.apply("docker_registry.clean")
    answer = minion.apply("docker_registry")
    assert failures(answer) == []
    # What it had kept is there again and is not copied anew.
    assert IMAGES not in changes(answer)


def test_a_plan_at_the_terminal_of_the_mirror_alone(served):
    minion, _ = served
    host = minion.host
    done = host.run(*minion.words("registry_sync.plan"))
    assert done.returncode == 0
    assert json.loads(done.stdout)["local"]["summary"]["current"] == 4
