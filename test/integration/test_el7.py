"""An Enterprise Linux 7 with real dnf and packages of its layout, docker and its sysconfig among them."""

from __future__ import annotations

import pytest

from integration.conftest import minion_on, salts
from integration.story import changes, failures, live, states
from support.hosts import become_el7
from support.selinux import changing_calls, give_selinux

CONFIG = "/etc/docker-distribution/registry/config.yml"
SERVICE = "docker-distribution"
SYSCONFIG = "/etc/sysconfig/docker"
TRUST = "Docker trusts the registries through its sysconfig"


@pytest.fixture(scope="module", params=salts("3006"))
def story(request, boot_module, vendor):
    host = boot_module(f"el7-{request.param}", salt=request.param)
    become_el7(host)
    give_selinux(host)
    # A virgin host and a pillar that says no more than where it is and what it mirrors.
    return live(minion_on(host, vendor.pillar(host.address)))


@pytest.fixture
def el7(boot):
    """Return a host on which docker is installed already, and is to run after a boot."""
    host = boot("el7")
    become_el7(host)
    host.output("dnf", "-y", "-q", "install", "docker")
    host.output("systemctl", "enable", "-q", "docker")
    return host


def setting(host):
    """Return the assignment that docker's unit hands on."""
    lines = host.read(SYSCONFIG).splitlines()
    return [line for line in lines if line.startswith("INSECURE_REGISTRY=")]


def docker_command(host):
    """Return the command line of the docker that runs."""
    return host.output("pgrep", "--oldest", "--list-full", "dockerd")


class TestLife:
    def test_the_plan_writes_nothing(self, story):
        assert failures(story.plan) == []
        assert story.written_by_plan == set()

    def test_the_plan_says_that_docker_comes_and_starts(self, story):
        plan = states(story.plan)
        assert plan["Docker is installed"]["result"] is None
        assert plan["Docker is running"]["comment"] == "Would start docker"

    def test_the_first_run_does_it_all(self, story):
        assert failures(story.first) == []
        assert changes(story.first)["Registry package is installed"][SERVICE]["new"].startswith("2.6.2")
        assert "docker" in changes(story.first)["Docker is installed"]
        assert len(changes(story.first)["Images are mirrored"]) == 4

    def test_packages_are_the_systems(self, story):
        assert story.host.output("rpm", "-q", "--qf", "%{NAME} ", SERVICE, "docker") == f"{SERVICE} docker "
        assert story.host.output("rpm", "-qf", "--qf", "%{NAME}", SYSCONFIG) == "docker"

    def test_services_run_now_and_after_a_boot(self, story):
        for service in (SERVICE, f"{SERVICE}-push", "docker"):
            assert story.host.is_active(service)
            assert story.host.output("systemctl", "is-enabled", service).strip() == "enabled"

    def test_docker_is_told_of_both_registries_and_keeps_its_other_settings(self, story, vendor):
        assert setting(story.host) == [
            f'INSECURE_REGISTRY="--insecure-registry {story.host.address}:5000 '
            f'--insecure-registry {vendor.address}"'
        ]
        assert "\nOPTIONS='--iptables=false --bridge=none " in story.host.read(SYSCONFIG)
        assert f"--insecure-registry {story.host.address}:5000" in docker_command(story.host)

    def test_the_images_get_the_context_of_a_containers_data_once(self, story):
        assert changing_calls(story.host, "/var/lib/registry") == [
            "semanage fcontext --add --type container_var_lib_t /var/lib/registry(/.*)?",
            "restorecon -v -F -R /var/lib/registry",
        ]

    def test_docker_pulls_from_the_mirror(self, story, vendor):
        image = f"{story.host.address}:5000/tools/busybox:13.0"
        assert vendor.images["tools/busybox"].digest in story.host.output("docker", "pull", image)

    def test_the_second_run_changes_nothing(self, story):
        assert failures(story.second) == []
        assert changes(story.second) == {}

    def test_the_check_finds_everything_in_step(self, story):
        assert story.check.retcode == 0
        assert story.check.value["summary"]["current"] == 4


def test_what_a_site_wrote_stays_beside_ours_and_docker_restarts_once(el7, vendor):
    text = el7.read(SYSCONFIG) + 'INSECURE_REGISTRY="--insecure-registry site.example.com:5000"\n'
    el7.write(SYSCONFIG, text)
    el7.output("systemctl", "start", "docker")
    before = el7.invocation("docker")
    minion = minion_on(el7, vendor.pillar(el7.address))
    plan = minion.apply("docker_registry.engine", test=True)
    assert set(changes(plan)) == {TRUST, "Docker is restarted"}
    assert states(plan)["Docker is restarted"]["comment"] == (
        "Would restart docker, and with it the containers that run without live-restore"
    )
    assert (el7.read(SYSCONFIG), el7.invocation("docker")) == (text, before)
    answer = minion.apply("docker_registry.engine")
    assert failures(answer) == []
    assert set(changes(answer)) == {TRUST, "Docker is restarted"}
    assert setting(el7) == [
        'INSECURE_REGISTRY="--insecure-registry site.example.com:5000 '
        f'--insecure-registry {el7.address}:5000 --insecure-registry {vendor.address}"'
    ]
    after = el7.invocation("docker")
    assert after != before
    again = minion.apply("docker_registry.engine")
    assert (failures(again), changes(again)) == ([], {})
    assert el7.invocation("docker") == after


@pytest.mark.thorough
def test_a_file_that_names_both_is_not_touched_and_docker_not_restarted(el7, vendor):
    # In another order and another spelling than the formula's.
    ours = (
        f"INSECURE_REGISTRY='--insecure-registry={vendor.address} --insecure-registry {el7.address}:5000'\n"
    )
    el7.write(SYSCONFIG, el7.read(SYSCONFIG) + ours)
    el7.output("systemctl", "start", "docker")
    before = (el7.path(SYSCONFIG).stat().st_mtime_ns, el7.read(SYSCONFIG), el7.invocation("docker"))
    answer = minion_on(el7, vendor.pillar(el7.address)).apply("docker_registry.engine")
    assert (failures(answer), changes(answer)) == ([], {})
    assert (el7.path(SYSCONFIG).stat().st_mtime_ns, el7.read(SYSCONFIG), el7.invocation("docker")) == before


def test_docker_pulls_from_the_mirror_after_the_formula_and_not_before(el7, vendor):
    host = el7
    host.output("systemctl", "start", "docker")
    image = f"{host.address}:5000/tools/busybox:13.0"
    minion = minion_on(host, vendor.pillar(host.address, engine={"manage": "none"}))
    assert failures(minion.apply("docker_registry")) == []
    refused = host.run("docker", "pull", image)
    assert refused.returncode != 0
    assert "server gave HTTP response to HTTPS client" in refused.stderr
    minion.set_pillar({"docker_registry": vendor.pillar(host.address, force=True)})
    assert failures(minion.apply("docker_registry")) == []
    assert vendor.images["tools/busybox"].digest in host.output("docker", "pull", image)


@pytest.mark.thorough
def test_a_docker_that_does_not_start_fails_the_run(el7, vendor):
    el7.write(SYSCONFIG, "OPTIONS=--no-such-option\n")
    minion = minion_on(el7, vendor.pillar(el7.address))
    (failure,) = failures(minion.apply("docker_registry.engine"))
    assert failure.startswith("Docker is running: docker does not start")


@pytest.mark.thorough
def test_a_docker_that_runs_is_not_restarted_to_be_enabled(el7, vendor):
    both = (
        f"INSECURE_REGISTRY='--insecure-registry {el7.address}:5000 --insecure-registry {vendor.address}'\n"
    )
    el7.write(SYSCONFIG, el7.read(SYSCONFIG) + both)
    el7.output("systemctl", "start", "docker")
    el7.output("systemctl", "disable", "-q", "docker")
    before = el7.invocation("docker")
    answer = minion_on(el7, vendor.pillar(el7.address)).apply("docker_registry.engine")
    assert (failures(answer), changes(answer)) == ([], {"Docker is running": {"at boot": "enabled"}})
    assert el7.invocation("docker") == before


@pytest.mark.thorough
def test_docker_is_not_installed_where_the_pillar_says_no(boot, vendor):
    host = boot("el7")
    become_el7(host)
    minion = minion_on(host, vendor.pillar(host.address, engine={"install": False}))
    answer = minion.apply("docker_registry.engine")
    assert (failures(answer), changes(answer)) == ([], {})
    assert host.run("rpm", "-q", "docker").returncode != 0


def test_an_undercloud_serves_on_its_own_port(boot, vendor):
    host = boot("undercloud")
    become_el7(host)
    for name in ("undercloud.conf", "stackrc"):
        host.write(f"/home/stack/{name}", "")
    host.output("dnf", "-y", "-q", "install", "instack-undercloud", "python2-openstackclient")
    # The command line of OpenStack has tests of its own.
    pillar = vendor.pillar(host.address, undercloud={"prepare": False})
    answer = minion_on(host, pillar).apply("docker_registry")
    assert failures(answer) == []
    comment = states(answer)["Registry serves the images"]["comment"]
    assert comment == f"http://{host.address}:8787 serves 4 repositories, 4 tags"


@pytest.mark.thorough
def test_clean_takes_our_registries_alone_out_of_dockers_file(el7, vendor):
    text = el7.read(SYSCONFIG) + 'INSECURE_REGISTRY="--insecure-registry site.example.com:5000"\n'
    el7.write(SYSCONFIG, text)
    minion = minion_on(el7, vendor.pillar(el7.address))
    assert failures(minion.apply("docker_registry")) == []
    assert failures(minion.apply("docker_registry.clean")) == []
    assert el7.read(SYSCONFIG) == text
    assert setting(el7)[0].removeprefix("INSECURE_REGISTRY=").strip('"') in docker_command(el7)
    assert el7.address not in docker_command(el7)
    assert not el7.is_active(SERVICE)
    assert not el7.is_active(f"{SERVICE}-push")
    assert el7.run("rpm", "-q", SERVICE).returncode != 0
    assert not el7.path(CONFIG).exists()
    assert el7.path("/var/lib/registry/docker").is_dir()
