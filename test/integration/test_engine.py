"""Engines that refuse the mirror before the formula and pull from it after, at an address beyond 127/8."""

from __future__ import annotations

import json

import bcrypt
import pytest

from integration.conftest import minion_on
from integration.story import changes, failures, states
from support.pki import Authority

pytestmark = pytest.mark.thorough

IMAGE = "tools/busybox"
USER, PASSWORD = "site-a", "of-site-a"
DAEMON_JSON = "/etc/docker/daemon.json"
# What lets docker run in a container; to the formula, settings of the site.
SITE = {
    "iptables": False,
    "bridge": "none",
    "ip-forward": False,
    "storage-driver": "vfs",
    "insecure-registries": ["site.example.com:5000"],
}


@pytest.fixture
def mirror(boot, vendor):
    """Return a host that serves the vendor's images."""
    host = boot("mirror")
    answer = minion_on(host, vendor.pillar(host.address)).apply("docker_registry")
    assert failures(answer) == []
    return host


@pytest.fixture
def compute(boot):
    """Return a host on which docker runs."""
    host = boot("compute")
    host.write(DAEMON_JSON, json.dumps(SITE))
    host.output("apt-get", "install", "-qq", "docker.io")
    assert host.is_active("docker")
    return host


def pulled(minion):
    """Return what the formula's own pull through the engine says, with the return code that belongs to it."""
    answer = minion.call("registry_sync.pull", f"{IMAGE}:13.0")
    assert answer.retcode == (1 if answer.value["error"] else 0)
    return answer.value


def run_of(host):
    """Return what tells one run of docker from another: systemd's name of it, its process, and since when."""
    pid = host.read("/run/docker.pid").strip()
    started = host.read(f"/proc/{pid}/stat").rpartition(")")[2].split()[19]
    return host.invocation("docker"), pid, started


def reloads(host):
    """Return how often docker says that it was reloaded."""
    return host.output("journalctl", "-u", "docker", "-o", "cat").count("Got signal to reload configuration")


def trusted(host):
    """Return the registries that the running docker names as insecure ones."""
    index = json.loads(host.output("docker", "info", "--format", "{{json .RegistryConfig.IndexConfigs}}"))
    return {name for name, registry in index.items() if not registry["Secure"]}


RELOADED = {"Docker trusts the registries through its daemon.json", "Docker is reloaded"}


def test_a_client_pulls_from_the_mirror_after_the_formula_and_not_before(mirror, compute, vendor):
    image = f"{mirror.address}:5000/{IMAGE}:13.0"
    refused = compute.run("docker", "pull", image)
    assert refused.returncode != 0
    assert "server gave HTTP response to HTTPS client" in refused.stderr

    minion = minion_on(compute, vendor.pillar(mirror.address))
    minion.sync()
    told = pulled(minion)
    assert told["digest"] == ""
    assert told["error"].startswith("the engine at unix:///run/docker.sock: ")
    assert told["error"].endswith("server gave HTTP response to HTTPS client")
    plan = minion.apply("docker_registry.engine", test=True)
    assert failures(plan) == []
    assert (
        states(plan)["Docker is reloaded"]["comment"] == "Would reload docker; its containers are not touched"
    )
    assert json.loads(compute.read(DAEMON_JSON)) == SITE

    before = run_of(compute)
    assert reloads(compute) == 0
    answer = minion.apply("docker_registry.engine")
    assert failures(answer) == []
    assert set(changes(answer)) == RELOADED
    assert (run_of(compute), reloads(compute)) == (before, 1)
    told = pulled(minion)
    assert (told["error"], told["digest"]) == ("", vendor.images[IMAGE].digest)
    assert (told["image"], told["seconds"] > 0) == (image, True)
    assert "Image is up to date" in compute.output("docker", "pull", image)
    # Upstream is no business of a host that pulls from the mirror.
    registries = [*SITE["insecure-registries"], f"{mirror.address}:5000"]
    assert json.loads(compute.read(DAEMON_JSON)) == {**SITE, "insecure-registries": registries}

    again = minion.apply("docker_registry.engine")
    assert (failures(again), changes(again)) == ([], {})
    assert (run_of(compute), reloads(compute)) == (before, 1)

    assert failures(minion.apply("docker_registry.clean")) == []
    assert json.loads(compute.read(DAEMON_JSON)) == SITE
    assert (run_of(compute), reloads(compute)) == (before, 2)
    assert trusted(compute) == set(SITE["insecure-registries"])


@pytest.fixture
def plain(boot):
    """Return a host on which docker runs and is told of no registry in its file."""
    host = boot("plain")
    host.write(
        DAEMON_JSON, json.dumps({key: value for key, value in SITE.items() if key != "insecure-registries"})
    )
    return host


def with_docker(host, options=""):
    """Install docker, with options on its command line."""
    if options:
        host.write(
            "/etc/systemd/system/docker.service.d/site.conf",
            f"[Service]\nEnvironment=DOCKER_OPTS={options}\n",
        )
    host.output("apt-get", "install", "-qq", "docker.io")
    return host


def test_what_runs_goes_on_while_docker_is_told_of_a_registry_and_forgets_it_again(plain, vendor):
    host = with_docker(plain)
    site = json.loads(host.read(DAEMON_JSON))
    before = run_of(host)
    minion = minion_on(host, vendor.pillar("mirror.example.com"))
    assert failures(minion.apply("docker_registry.engine")) == []
    assert trusted(host) == {"mirror.example.com:5000"}
    # Docker forgets at a reload what the file no longer names, not what is in no list at all.
    assert failures(minion.apply("docker_registry.clean")) == []
    assert trusted(host) == set()
    assert json.loads(host.read(DAEMON_JSON)) == site
    assert run_of(host) == before
    again = minion.apply("docker_registry.clean")
    assert (failures(again), changes(again)) == ([], {})


def test_a_reload_that_somebody_has_missed_is_made_up_for(compute, vendor):
    before = run_of(compute)
    names = [*SITE["insecure-registries"], "mirror.example.com:5000"]
    compute.write(DAEMON_JSON, json.dumps({**SITE, "insecure-registries": names}))
    minion = minion_on(compute, vendor.pillar("mirror.example.com"))
    plan = minion.apply("docker_registry.engine", test=True)
    assert set(changes(plan)) == {"Docker is reloaded"}
    assert trusted(compute) == set(SITE["insecure-registries"])
    answer = minion.apply("docker_registry.engine")
    assert (failures(answer), set(changes(answer))) == ([], {"Docker is reloaded"})
    assert (trusted(compute), run_of(compute)) == (set(names), before)


def test_a_docker_that_would_forget_registries_at_a_reload_is_left_to_the_operator(compute, vendor):
    site = {**SITE, "registry-mirrors": ["http://cache.example.com"]}
    compute.write(DAEMON_JSON, json.dumps(site))
    compute.output("systemctl", "restart", "docker")
    before = run_of(compute)
    minion = minion_on(compute, vendor.pillar("mirror.example.com"))
    for _ in range(2):
        (failure,) = failures(minion.apply("docker_registry.engine"))
        assert failure.startswith("Docker is reloaded: docker 20.10.")
        assert "would forget all its insecure registries at a reload" in failure
        assert (run_of(compute), trusted(compute)) == (before, set(SITE["insecure-registries"]))
    compute.output("systemctl", "restart", "docker")
    answer = minion.apply("docker_registry.engine")
    assert (failures(answer), changes(answer)) == ([], {})


def test_a_docker_with_registries_on_its_command_line_gets_no_file_with_which_it_would_not_start(
    plain, vendor
):
    host = with_docker(plain, "--insecure-registry=site.example.com:5000")
    before = host.read(DAEMON_JSON), run_of(host)
    minion = minion_on(host, vendor.pillar("mirror.example.com"))
    for test in (True, False):
        (failure, *_) = failures(minion.apply("docker_registry.engine", test=test))
        assert failure.startswith(
            "Docker trusts the registries through its daemon.json: docker runs with --inse"
        )
    assert (host.read(DAEMON_JSON), run_of(host)) == before
    minion.set_pillar({"docker_registry": vendor.pillar("site.example.com")})
    answer = minion.apply("docker_registry.engine")
    assert (failures(answer), changes(answer)) == ([], {})
    host.write(DAEMON_JSON, "{")
    for target in ("engine", "clean"):
        (failure, *_) = failures(minion.apply(f"docker_registry.{target}"))
        assert ": /etc/docker/daemon.json is no JSON (" in failure


@pytest.fixture
def secured(compute, vendor, tmp_path):
    """Return a host with docker and podman, and its pillar: a registry with a certificate and a user."""
    authority = Authority(tmp_path)
    pair = authority.issue("mirror", compute.address)
    bundle = authority.bundle.read_text(encoding="utf-8")
    compute.write("/srv/ca.pem", bundle)
    compute.output("apt-get", "install", "-qq", "podman")
    registry = {
        "tls": {
            "certificate": pair.certificate.read_text(encoding="utf-8"),
            "key": pair.key.read_text(encoding="utf-8"),
            "ca": bundle,
        },
        "htpasswd": {USER: bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode()},
    }
    login = {"username": USER, "password": PASSWORD}
    local = {"host": compute.address, "tls": True, "verify": "/srv/ca.pem", **login}
    return compute, vendor.pillar(compute.address, local=local, registry=registry)


def test_engines_log_in_and_pull_where_the_registry_has_a_certificate_and_users(secured, vendor):
    host, pillar = secured
    address, digest = f"{host.address}:5000", vendor.images[IMAGE].digest
    minion = minion_on(host, {**pillar, "engine": {"manage": "none"}})
    assert failures(minion.apply("docker_registry")) == []
    assert "certificate signed by unknown authority" in pulled(minion)["error"]

    minion.set_pillar({"docker_registry": {**pillar, "force": True}})
    answer = minion.apply("docker_registry")
    assert failures(answer) == []
    assert {f"{engine} trusts the CAs of the registries" for engine in ("Docker", "Podman")} <= set(
        changes(answer)
    )
    assert (pulled(minion)["error"], pulled(minion)["digest"]) == ("", digest)

    host.write("/srv/password", PASSWORD)
    # In this order, as podman knows docker's logins too.
    for engine in ("podman", "docker"):
        refused = host.run(engine, "pull", f"{address}/rhosp13/openstack-cron:13.0")
        assert refused.returncode != 0, engine
        assert "auth" in refused.stderr, engine
        login = f"{engine} login --username {USER} --password-stdin {address} </srv/password"
        assert "Login Succeeded" in host.output("sh", "-c", login)
        host.output(engine, "pull", f"{address}/{IMAGE}:13.0")
        inspect = ("image", "inspect", "--format", "{{.RepoDigests}}", f"{address}/{IMAGE}:13.0")
        assert digest in host.output(engine, *inspect)
    again = minion.apply("docker_registry")
    assert (failures(again), changes(again)) == ([], {})

    assert failures(minion.apply("docker_registry.clean")) == []
    for engine in ("docker", "containers"):
        assert not host.path(f"/etc/{engine}/certs.d/{address}").exists()
