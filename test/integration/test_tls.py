"""The registry with a CA of its own and users, and what engines on other hosts make of it."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from integration.conftest import SALT, minion_on, salts
from integration.story import changes, failures, live, states
from integration.test_engine import DAEMON_JSON, SITE
from integration.test_master import Master, failed

pytestmark = pytest.mark.thorough

DIRECTORY = "/etc/docker/registry"
AUTHORITY = "/etc/pki/docker_registry"
SERVICE = "docker-registry"
USER, PASSWORD = "site-a", "Pw-Secured-2c81: é"
IMAGE = "tools/busybox"
STORAGE = """
[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
"""
CERTIFICATE = "Registry certificate is signed by its own CA"
USERS = "Registry htpasswd file is managed"


def secured_pillar(vendor, host, **registry):
    """Return a pillar for a registry with an authority and a user of its own, whom the sync logs in as."""
    login = {"username": USER, "password": PASSWORD}
    settings = {"tls": "self_signed", "htpasswd": {USER: PASSWORD}, **registry}
    return vendor.pillar(host, local={"host": host, **login}, registry=settings)


@pytest.fixture(scope="module", params=salts(SALT))
def story(request, boot_module, vendor):
    host = boot_module(f"tls-{request.param}", salt=request.param)
    return live(minion_on(host, secured_pillar(vendor, host.address)))


def facts(host, name):
    """Return owner and mode of a file."""
    return host.output("stat", "-c", "%U %G %a", name).strip()


def test_the_plan_writes_nothing_and_fails_nowhere(story):
    assert failures(story.plan) == []
    assert story.written_by_plan == set()
    assert states(story.plan)[CERTIFICATE]["comment"].startswith("Would make the authority: there is none")


def test_one_run_makes_an_authority_and_fills_the_registry_over_tls(story, vendor):
    assert failures(story.first) == []
    assert changes(story.first)[CERTIFICATE]
    assert story.check.retcode == 0
    assert story.check.value["registry"]["url"] == f"https://{story.host.address}:5000"
    assert story.check.value["registry"]["repositories"] == len(vendor.images)


def test_the_second_run_changes_nothing(story):
    assert failures(story.second) == []
    assert changes(story.second) == {}


def test_keys_are_readable_by_those_who_need_them(story):
    assert facts(story.host, f"{AUTHORITY}/ca-key.pem") == "root root 600"
    assert facts(story.host, f"{AUTHORITY}/ca.pem") == "root root 644"
    assert facts(story.host, f"{DIRECTORY}/tls-key.pem") == "docker-registry docker-registry 600"
    assert facts(story.host, f"{DIRECTORY}/htpasswd") == "docker-registry docker-registry 600"


def test_the_password_is_nowhere_but_in_the_pillar(story):
    assert PASSWORD not in story.host.read(f"{DIRECTORY}/htpasswd")
    for answer in (story.plan, story.first, story.second):
        assert "Pw-Secured" not in answer.stdout + answer.stderr
        assert "PRIVATE KEY" not in answer.stdout + answer.stderr


def test_only_its_own_authority_vouches_for_the_registry(story):
    asked = ["openssl", "s_client", "-connect", f"{story.host.address}:5000", "-verify_return_error"]
    trusted = story.host.run(*asked, "-CAfile", f"{AUTHORITY}/ca.pem", "-verify_ip", story.host.address)
    assert "Verify return code: 0 (ok)" in trusted.stdout
    assert story.host.run(*asked, "-CAfile", "/etc/ssl/certs/ca-certificates.crt").returncode != 0


def shorten(host, days):
    """Put a certificate of the same authority in place that ends in so many days."""
    key = load_pem_private_key(host.read(f"{AUTHORITY}/ca-key.pem").encode(), None)
    old = x509.load_pem_x509_certificate(host.read(f"{DIRECTORY}/tls-certificate.pem").encode())
    end = datetime.now(timezone.utc) + timedelta(days=days)
    builder = x509.CertificateBuilder(
        issuer_name=old.issuer,
        subject_name=old.subject,
        public_key=old.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=old.not_valid_before_utc - timedelta(days=300),
        not_valid_after=end,
        extensions=list(old.extensions),
    )
    new = builder.sign(key, hashes.SHA256())
    host.path(f"{DIRECTORY}/tls-certificate.pem").write_bytes(new.public_bytes(serialization.Encoding.PEM))


def test_what_is_about_to_end_is_renewed_and_the_registry_restarted_though_it_is_populated(story):
    host, minion = story.host, story.minion
    authority = host.read(f"{AUTHORITY}/ca.pem")
    shorten(host, days=120)
    assert changes(minion.apply("docker_registry")) == {}
    shorten(host, days=20)
    before = host.invocation(SERVICE)
    plan = minion.apply("docker_registry", test=True)
    assert "it ends within 90 days" in states(plan)[CERTIFICATE]["comment"]
    answer = minion.apply("docker_registry")
    assert failures(answer) == []
    assert set(changes(answer)) == {CERTIFICATE, "Registry is running"}
    assert host.invocation(SERVICE) != before
    assert host.read(f"{AUTHORITY}/ca.pem") == authority
    assert changes(minion.apply("docker_registry")) == {}
    assert minion.call("registry_sync.check").retcode == 0


def test_clean_takes_all_of_it_away(story):
    assert failures(story.minion.apply("docker_registry.clean")) == []
    for gone in (AUTHORITY, f"{DIRECTORY}/tls-key.pem", f"{DIRECTORY}/htpasswd"):
        assert story.host.run("test", "-e", gone).returncode == 1, gone


@pytest.fixture
def sites(boot, vendor):
    """Return a master, a registry and a host with docker, which know each other by name."""
    master, mirror, compute = (boot(name) for name in ("master", "mirror", "compute"))
    names = "".join(f"{host.address} {host.name}\n" for host in (master, mirror, compute))
    for host in (master, mirror, compute):
        host.write("/etc/hosts", f"127.0.0.1 localhost\n{names}")
    compute.write(DAEMON_JSON, json.dumps({key: SITE[key] for key in SITE if key != "insecure-registries"}))
    # In a container there is no overlay of overlays.
    compute.write("/etc/containers/storage.conf", STORAGE)
    compute.output("apt-get", "install", "-qq", "docker.io", "podman", "crun")
    pillar = secured_pillar(vendor, "mirror")
    salt = Master(master, {"mirror": pillar, "compute": {**pillar, "sync": False}})
    for host in (mirror, compute):
        salt.accept(host)
    salt.wait_for("mirror", "compute")
    return salt, mirror, compute


@pytest.mark.needs("skopeo", "busybox-static")
def test_engines_of_another_host_are_told_by_the_mine_and_log_in(sites, vendor, wire, tmp_path):
    salt, mirror, compute = sites
    reference = f"mirror:5000/{IMAGE}:13.0"
    early = salt.run("state.apply", "docker_registry.engine", target="compute")["compute"]
    assert any("the mine has nothing of a minion whose ID is" in line for line in failed(early))

    first = salt.run("state.apply", "docker_registry", target="mirror")["mirror"]
    assert failed(first) == []
    again = salt.run("state.apply", "docker_registry", target="mirror")["mirror"]
    assert [ran["changes"] for ran in again.values() if ran["changes"]] == []

    refused = compute.run("docker", "pull", reference)
    assert "certificate signed by unknown authority" in refused.stderr
    before = compute.invocation("docker")
    assert failed(salt.run("state.apply", "docker_registry.engine", target="compute")["compute"]) == []
    second = salt.run("state.apply", "docker_registry.engine", target="compute")["compute"]
    assert [ran["changes"] for ran in second.values() if ran["changes"]] == []
    # No restart is needed for an authority.
    assert compute.invocation("docker") == before
    compute.write("/root/wrong", "wrong")
    compute.write("/root/right", PASSWORD)
    for engine, refusal in (("docker", "401"), ("podman", "invalid username/password")):
        login = f"{engine} login --username {USER} --password-stdin mirror:5000"
        assert compute.run(engine, "pull", reference).returncode != 0
        assert refusal in compute.run("sh", "-c", f"{login} </root/wrong").stderr
        assert "Login Succeeded" in compute.output("sh", "-c", f"{login} </root/right")
        compute.output(engine, "pull", reference)
        inspected = compute.output(engine, "image", "inspect", reference, "--format={{.RepoDigests}}")
        assert vendor.images[IMAGE].digest in inspected
        # podman would use docker's login as well.
        compute.output(engine, "logout", "mirror:5000")
    skopeo_agrees(mirror, compute, wire, tmp_path, vendor)

    cleaned = salt.run("state.apply", "docker_registry.clean", target="compute")["compute"]
    assert failed(cleaned) == []
    for gone in ("/etc/docker/certs.d/mirror:5000", "/etc/containers/certs.d/mirror:5000", AUTHORITY):
        assert compute.run("test", "-e", gone).returncode == 1, gone


def skopeo_agrees(mirror, compute, wire, tmp_path, vendor):
    """Inspect with what compute was told, from another host on the wire."""
    (tmp_path / "ca.crt").write_text(compute.read("/etc/containers/certs.d/mirror:5000/ca.crt"))
    reference = f"docker://{mirror.address}:5000/{IMAGE}:13.0"

    def inspect(*options):
        words = ["skopeo", "inspect", *options, "--format={{.Digest}}", reference]
        with wire.entered():
            return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    trusting = f"--cert-dir={tmp_path}"
    inspected = inspect(trusting, f"--creds={USER}:{PASSWORD}")
    assert inspected.stdout.strip() == vendor.images[IMAGE].digest, inspected.stderr
    assert "unauthorized" in inspect(trusting, "--no-creds").stderr
    assert "unknown authority" in inspect(f"--creds={USER}:{PASSWORD}").stderr
