"""Simple signatures, from a vendor's store to a podman that refuses what is not signed."""

from __future__ import annotations

import pytest

from integration.conftest import minion_on
from integration.story import changes, failures, live, states
from integration.test_tls import AUTHORITY, STORAGE
from support.lookaside import Signer, put_signature, serve

IMAGE = "tools/busybox"
UNIT = "docker-registry-signatures"
PORT = 5002
POLICY = "/etc/containers/policy.json"
KEPT = "/var/lib/docker_registry/sigstore"
FILES = (
    "/etc/containers/registries.d/docker_registry.yaml",
    "/etc/containers/registries.conf.d/docker_registry-upstream.conf",
    "/etc/docker/registry/signatures.conf",
    f"/etc/systemd/system/{UNIT}.service",
)

pytestmark = [pytest.mark.needs("busybox-static", "gpg"), pytest.mark.thorough]


@pytest.fixture(scope="module")
def store(vendor, wire, tmp_path_factory):
    """Return the address of the vendor's store, and the key that signs there."""
    directory = tmp_path_factory.mktemp("store")
    with Signer() as signer:
        digest = vendor.images[IMAGE].digest
        put_signature(directory, IMAGE, digest, signer.sign(f"{vendor.address}/{IMAGE}:13.0", digest))
        with wire.entered():
            served = serve(directory, wire.address)
            address = served.__enter__()
        yield address, signer.public_key.decode()
        served.__exit__(None, None, None)


@pytest.fixture(scope="module")
def site(boot_module, vendor, store):
    """Return the story of a mirror that is a client of its own, and the policy that it had."""
    host = boot_module("signed")
    # In a container there is no overlay of overlays.
    host.write("/etc/containers/storage.conf", STORAGE)
    host.output("apt-get", "install", "-qq", "podman", "crun")
    before = host.read(POLICY)
    address, key = store
    pillar = vendor.pillar(
        host.address,
        registry={"tls": "self_signed"},
        signatures={"keys": {"vendor": {"gpg": [key]}}, "stores": {vendor.address: address}, "serve": PORT},
        engine={"manage": "podman", "policy": True, "stand_in_for_upstream": True},
    )
    for image in pillar["images"]:
        image["signed_by"] = ["vendor"] if image["name"] == IMAGE else []
    return live(minion_on(host, pillar)), before


@pytest.fixture(scope="module")
def story(site):
    return site[0]


def pull(story, registry):
    return story.host.run("podman", "pull", f"{registry}/{IMAGE}:13.0")


def test_the_plan_writes_nothing_and_fails_nowhere(story):
    assert failures(story.plan) == []
    assert story.written_by_plan == set()


def test_one_run_does_it_all_and_the_second_changes_nothing(story):
    assert failures(story.first) == []
    assert failures(story.second) == []
    assert changes(story.second) == {}


def test_the_web_server_has_the_registrys_certificate_and_no_page_of_its_own(story):
    host = story.host
    assert host.is_active(UNIT)
    assert host.output("systemctl", "is-enabled", UNIT).strip() == "enabled"
    assert not host.is_active("nginx")
    asked = ["openssl", "s_client", "-connect", f"{host.address}:{PORT}", "-verify_return_error"]
    trusted = host.run(*asked, "-CAfile", f"{AUTHORITY}/ca.pem", "-verify_ip", host.address)
    assert "Verify return code: 0 (ok)" in trusted.stdout


def test_podman_pulls_what_is_signed_by_both_names(story, vendor):
    for registry in (f"{story.host.address}:5000", vendor.address):
        pulled = pull(story, registry)
        assert pulled.returncode == 0, pulled.stderr


def test_podman_refuses_the_same_without_its_signature_until_the_next_sync(story):
    host = story.host
    host.output("sh", "-c", f"rm -r {KEPT}/*")
    refused = pull(story, f"{host.address}:5000")
    assert refused.returncode != 0
    assert "A signature was required, but no signature exists" in refused.stderr
    assert story.minion.call("registry_sync.sync").retcode == 0
    assert pull(story, f"{host.address}:5000").returncode == 0


def test_clean_takes_all_of_it_back(site):
    story, before = site
    host = story.host
    answer = story.minion.apply("docker_registry.clean")
    assert failures(answer) == []
    assert host.read(POLICY) == before
    assert [file for file in FILES if host.run("test", "-e", file).returncode == 0] == []
    assert not host.is_active(UNIT)
    assert "Podman refuses nothing for our sake" in states(answer)
    again = story.minion.apply("docker_registry.clean")
    assert changes(again) == {}
