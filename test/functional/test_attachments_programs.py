"""Signed by the real programs, mirrored, and verified by them at the mirror."""

from __future__ import annotations

import json

import pytest

import _registry_sync_commands as mirror
from support import attached
from support.images import Layer, docker_image, docker_list, oci_image
from support.pillar import settings_of
from support.registry_content import digest_of, push, tags_of
from support.signing import programs

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

NAME = "some/where"
CHILDREN = [docker_image([Layer(f"signed-{name}")], architecture=name) for name in ("amd64", "arm64")]
IMAGES = {"list": docker_list(CHILDREN), "oci": oci_image([Layer("signed-oci")])}


@pytest.fixture(scope="module")
def run(checkout, tmp_path_factory):
    return programs(checkout / ".cache", tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def signed(run, module_upstream):
    """A list, one of its children and an OCI image, each signed by each program; an SBOM with a signature."""
    subjects = {f":{tag}": image for tag, image in IMAGES.items()} | {f"@{CHILDREN[1].digest}": CHILDREN[1]}
    for tag, image in IMAGES.items():
        push(module_upstream.url, NAME, tag, image)
    for where in subjects:
        name = f"{module_upstream.address}/{NAME}{where}"
        run.sign_as_cosign_2(name)
        run.attest_as_cosign_2(name)
        run.sign_as_cosign_3(name)
        run.sign_as_notation(name)
    (run.home / "sbom.json").write_text("{}")
    where = f"{module_upstream.address}/{NAME}:oci"
    run(
        "oras",
        "attach",
        "--plain-http",
        "--artifact-type",
        "application/vnd.example.sbom",
        where,
        "sbom.json",
    )
    run.sign_as_cosign_2(f"{module_upstream.address}/{NAME}@{sbom_of(module_upstream)}")
    run.sign_as_cosign_3(f"{module_upstream.address}/{NAME}@{sbom_of(module_upstream)}")
    return module_upstream


@pytest.fixture(scope="module")
def mirrored(signed, module_local):
    settings = settings_of(signed, module_local, [{"name": NAME, "tags": list(IMAGES)}])
    report = mirror.sync(settings)
    assert {name: entry["status"] for name, entry in report["images"].items()} == {
        f"{NAME}:{tag}": "copied" for tag in IMAGES
    }
    assert mirror.return_code(mirror.check(settings)) == 0
    return module_local


def sbom_of(server):
    listed = attached.listed(server.url, NAME, IMAGES["oci"].digest)
    return next(one["digest"] for one in listed if one["artifactType"] == "application/vnd.example.sbom")


def discovered(run, server, where):
    """What `oras discover` tells, by digest."""
    told = run("oras", "discover", "--plain-http", "--format", "json", f"{server.address}/{NAME}{where}")
    return {one["digest"] for one in json.loads(told)["referrers"]}


WHERE = [*(f":{tag}" for tag in IMAGES), f"@{CHILDREN[1].digest}"]


@pytest.mark.parametrize("where", WHERE, ids=["list", "oci", "child"])
def test_everybody_verifies_at_the_mirror(run, mirrored, where):
    name = f"{mirrored.address}/{NAME}{where}"
    for suite in ("trixie", "sid"):
        run.verifies(name, suite)
    run("notation", "verify", "--insecure-registry", name)


@pytest.mark.parametrize("where", WHERE, ids=["list", "oci", "child"])
def test_oras_discovers_at_the_mirror_what_it_discovers_upstream(run, signed, mirrored, where):
    there = discovered(run, signed, where)
    assert len(there) >= 2
    assert discovered(run, mirrored, where) == there


def test_the_sbom_has_its_signatures(run, mirrored):
    name = f"{mirrored.address}/{NAME}@{sbom_of(mirrored)}"
    for suite in ("trixie", "sid"):
        run.verifies(name, suite)


def test_all_digests_are_equal(signed, mirrored):
    tags = [tag for tag in tags_of(signed.url, NAME) if tag in IMAGES or "." in tag]
    assert len(tags) == 2 + 3 + 3 + 1
    for tag in tags:
        assert digest_of(mirrored.url, NAME, tag) == digest_of(signed.url, NAME, tag)


def test_what_is_not_signed_is_not_verified_at_the_mirror(run, mirrored):
    run.verifies(f"{mirrored.address}/{NAME}@{CHILDREN[0].digest}", "trixie", fails=True)


def test_the_sites_own_signature_and_upstreams_both_verify(run, upstream, local):
    image = oci_image([Layer("signed-twice")])
    for server in (upstream, local):
        push(server.url, NAME, "1", image)
    # Each with the same key; they differ in the repository that they name.
    run.sign_as_cosign_2(f"{local.address}/{NAME}:1")
    run.sign_as_cosign_2(f"{upstream.address}/{NAME}:1")
    settings = settings_of(upstream, local, [{"name": NAME, "tags": ["1"]}])
    assert mirror.sync(settings)["images"][f"{NAME}:1"]["status"] == "copied"
    how = ("--insecure-ignore-tlog", "--key", str(run.home / "cosign.pub"), "--allow-http-registry")
    for suite in ("trixie", "sid"):
        told = json.loads(run("cosign", "verify", *how, f"{local.address}/{NAME}:1", suite=suite))
        assert len(told) == 2


def test_what_oras_attaches_here_stays(run, mirrored, signed):
    (run.home / "note.txt").write_text("own")
    where = f"{mirrored.address}/{NAME}:list"
    run("oras", "attach", "--plain-http", "--artifact-type", "application/vnd.example.own", where, "note.txt")
    before = discovered(run, mirrored, ":list")
    (run.home / "other.txt").write_text("theirs")
    there = f"{signed.address}/{NAME}:list"
    run(
        "oras", "attach", "--plain-http", "--artifact-type", "application/vnd.example.own", there, "other.txt"
    )
    settings = settings_of(signed, mirrored, [{"name": NAME, "tags": list(IMAGES)}])
    assert mirror.sync(settings)["images"][f"{NAME}:list"]["attachments"]["lacking"] == 0
    after = discovered(run, mirrored, ":list")
    assert before < after
    assert discovered(run, signed, ":list") < after
