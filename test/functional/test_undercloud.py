"""An undercloud with the real command line of OpenStack, between registries on loopback."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from support.images import Layer, docker_image
from support.pillar import pillar_of
from support.registry_content import digest_of, push
from support.undercloud import (
    DOCKER_SOCKET,
    QUEENS,
    ROOT,
    TRAIN,
    docker_answers,
    docker_daemon,
    everybodys,
    stack_user,
)

pytestmark = [
    pytest.mark.needs("docker-distribution", "skopeo", "useradd", "setpriv"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a user stack is made"),
]

SERVICES = ("Memcached", "Redis", "Keystone")
NAMES = tuple(f"rhosp13/openstack-{service.lower()}" for service in SERVICES)
IMAGES = {name: docker_image([Layer(name, 30_000), Layer("base", 30_000)]) for name in NAMES}
PREPARED = "Undercloud image list is prepared"
UPLOADED = "Undercloud images are uploaded"
MIRRORED = "Images are mirrored"


@pytest.fixture
def stack():
    with stack_user() as user:
        yield user


@pytest.fixture
def site(upstream):
    """The site's registry, which has what the overcloud needs."""
    for name, image in IMAGES.items():
        push(upstream.url, name, "13.0", image)
    return upstream


@pytest.fixture(scope="module")
def queens():
    yield from lent(QUEENS)


@pytest.fixture(scope="module")
def train():
    yield from lent(TRAIN)


def lent(command):
    """Yield a command line of OpenStack where user stack can run it, wherever the checkout lies."""
    if not command.exists():
        pytest.skip(f"needs {command.relative_to(ROOT)}")
    with everybodys(command) as copy:
        yield copy


@pytest.fixture
def director(stack, site, local, make_minion, queens):
    """Return a function that makes a minion on an undercloud, whose registry is empty but runs."""

    def make(command=queens, **undercloud):
        if not stack.can_run(command):
            pytest.skip(f"needs a Python for {command.name} that user {stack.name} can run")
        overcloud = stack.write_overcloud(*SERVICES)
        pillar = pillar_of(site, local, [], undercloud=stack.pillar(command, **overcloud, **undercloud))
        del pillar["images"]
        return make_minion(pillar={"docker_registry": pillar})

    return make


def states(answer):
    assert isinstance(answer.value, dict), answer.stdout + answer.stderr
    return {state["__id__"]: state for state in answer.value.values()}


def failures(ran):
    return {name: state["comment"] for name, state in ran.items() if state["result"] is False}


def test_one_command_prepares_mirrors_and_checks_and_the_second_changes_nothing(director, stack, site, local):
    minion = director()
    planned = states(minion.apply("docker_registry", test=True))
    assert failures(planned) == {}
    assert planned[PREPARED]["result"] is None
    assert set(planned[PREPARED]["changes"]) == {str(stack.images_file), str(stack.env_file)}
    assert planned[MIRRORED]["comment"].startswith("Would copy 3 of 3 tags")
    assert not stack.images_file.exists()

    ran = states(minion.apply("docker_registry"))
    assert failures(ran) == {}
    assert "nothing was configured" in ran["Registry is left alone unless forced"]["comment"]
    assert ran["Undercloud is recognised"]["comment"].startswith("This is an undercloud: found directory")
    assert ran[PREPARED]["changes"][str(stack.images_file)]["added"] == [
        f"{site.address}/{name}:13.0 → {local.address}" for name in sorted(NAMES)
    ]
    assert ran[MIRRORED]["comment"].startswith("Mirrored 3 of 3 tags")
    assert stack.owns(stack.images_file)
    assert stack.owns(stack.env_file)
    parameters = stack.read(stack.env_file)["parameter_defaults"]
    assert parameters["DockerRedisImage"] == f"{local.address}/rhosp13/openstack-redis:13.0"
    # The command line asked the registry, which runs by then.
    assert parameters["DockerInsecureRegistryAddress"] == [local.address]
    assert {digest_of(local.url, name, "13.0") for name in NAMES} == {i.digest for i in IMAGES.values()}
    # Nothing of stackrc was taken for a command, and nothing is left behind.
    assert {path.name for path in stack.home.iterdir() if path.name[0] != "."} == {
        "stackrc",
        "undercloud.conf",
        "docker.yaml",
        "roles_data.yaml",
        stack.images_file.name,
        stack.env_file.name,
    }
    assert not list(stack.home.glob(".docker_registry*"))

    written = stack.env_file.read_text()
    again = states(minion.apply("docker_registry"))
    assert failures(again) == {}
    assert [name for name, state in again.items() if state["changes"]] == []
    assert stack.env_file.read_text() == written


def test_the_command_line_runs_as_the_user_with_stackrc_sourced(director, queens, stack):
    seen = stack.home / "seen"
    # It tells who runs it and with what, and is the real one then.
    told = 'printf "%s\\0" "$(id -un)" "$OS_USERNAME" "$OS_PASSWORD" "$NOVA_VERSION" "$PWD"'
    wrapper = stack.write("openstack", f'#!/bin/sh\n{told} >{seen}\nexec {queens} "$@"\n')
    wrapper.chmod(0o755)
    minion = director(wrapper)
    minion.sync()
    prepared = minion.call("registry_undercloud.prepare", test=True)
    assert prepared.value["images"] == len(NAMES)
    user, name, password, version, directory = seen.read_text().split("\0")[:-1]
    assert (user, name, version) == (stack.name, "admin", "1.1")
    assert password == f'a $(touch {stack.home}/executed) "password"'
    assert not (stack.home / "executed").exists()
    # Its files come to a place of their own first.
    assert directory.startswith(f"{stack.home}/.docker_registry.")


def test_a_deployment_with_one_image_missing_is_told_by_name_with_return_code_2(director, stack, local):
    minion = director()
    assert failures(states(minion.apply("docker_registry"))) == {}
    complete = minion.call("registry_sync.check", environment=str(stack.env_file))
    assert complete.retcode == 0
    assert complete.value["summary"]["current"] == 3

    stack.env_file.write_text(
        stack.env_file.read_text().replace("openstack-redis:13.0", "openstack-redis:13.1")
    )
    lacking = minion.call("registry_sync.check", environment=str(stack.env_file))
    assert lacking.retcode == 2
    assert lacking.value["summary"]["missing"] == 1
    missing = lacking.value["images"]["rhosp13/openstack-redis:13.1"]
    assert (missing["status"], missing["cause"]) == ("missing", "absent")
    assert missing["error"] == (
        f"{local.address} has no rhosp13/openstack-redis:13.1, which DockerRedisConfigImage names"
    )
    local.stop()
    down = minion.call("registry_sync.check", environment=str(stack.env_file))
    assert down.retcode == 1
    assert down.value["summary"]["unreadable"] == 3


def test_an_image_that_the_site_lacks_is_named_and_the_others_come(director, site, local, stack):
    minion = director()
    # The list names its tag, the site has lost it.
    minion.set_pillar({"docker_registry": pillar_with_tag(minion, "13.0-38")})
    push(site.url, NAMES[0], "13.0-38", IMAGES[NAMES[0]])
    ran = states(minion.apply("docker_registry"))
    assert MIRRORED in failures(ran)
    assert "rhosp13/openstack-redis:13.0-38 (absent: " in ran[MIRRORED]["comment"]
    assert digest_of(local.url, NAMES[0], "13.0-38") == IMAGES[NAMES[0]].digest


def pillar_with_tag(minion, tag):
    return {**pillar_read(minion), "image_defaults": {"tags": [tag]}}


def pillar_read(minion):
    text = (minion.pillar_root / "data.sls").read_text(encoding="utf-8")
    return json.loads(text.removeprefix("#!json\n"))["docker_registry"]


def test_vendor_site_and_undercloud_are_one_chain_of_one_formula(
    director, site, local, start_registry, make_minion
):
    vendor = start_registry()
    for name, image in IMAGES.items():
        push(vendor.url, name, "13.0-38", image)
    images = [name.removeprefix("rhosp13/openstack-") for name in NAMES]
    pillar = pillar_of(vendor, site, images, image_defaults={"tags": ["13.0-38"]})
    mirrored = states(make_minion(pillar={"docker_registry": pillar}).apply("docker_registry"))
    assert mirrored[MIRRORED]["comment"].startswith("Mirrored 3 of 3 tags")

    undercloud = director()
    undercloud.set_pillar({"docker_registry": pillar_with_tag(undercloud, "13.0-38")})
    assert failures(states(undercloud.apply("docker_registry"))) == {}
    for name, image in IMAGES.items():
        assert digest_of(local.url, name, "13.0-38") == image.digest


@pytest.mark.thorough
def test_a_newer_director_prepares_from_container_image_prepare(director, train, stack, site, local):
    minion = director(train)
    ran = states(minion.apply("docker_registry"))
    assert failures(ran) == {}
    assert "openstack tripleo container image prepare" in ran[PREPARED]["comment"]
    assert ran[MIRRORED]["comment"].startswith("Mirrored 3 of 3 tags")
    entry = stack.read(stack.home / "containers-prepare-parameter.yaml")["parameter_defaults"]
    assert entry["ContainerImagePrepare"][0]["push_destination"] == local.address
    assert stack.read(stack.images_file)["container_images"] == [
        {"imagename": f"{site.address}/{name}:13.0", "push_destination": local.address}
        for name in sorted(NAMES)
    ]
    checked = minion.call("registry_sync.check", environment=str(stack.env_file))
    assert (checked.retcode, checked.value["summary"]["current"]) == (0, 3)
    again = states(minion.apply("docker_registry"))
    assert [name for name, state in again.items() if state["changes"]] == []


@pytest.mark.needs("dockerd", "docker")
def test_the_command_lines_own_upload_ends_with_the_same_digests(
    director, stack, site, local, start_registry, tmp_path
):
    minion = director(upload_with="openstack")
    if DOCKER_SOCKET.exists() and docker_answers():
        pytest.skip("a dockerd of somebody else's runs here")
    scratch = start_registry()
    with docker_daemon(tmp_path, group=stack.name):
        # Two of them as docker itself writes manifests; the third it will write anew, with another digest.
        pushed = {name: written_by_docker(site, scratch, name) for name in NAMES[:2]}
        ran = states(minion.apply("docker_registry.undercloud"))
        uploaded = {name: digest_of(local.url, name, "13.0") for name in NAMES[:2]}
        synced = states(minion.apply("docker_registry.sync"))
        again = states(minion.apply("docker_registry.undercloud"))
    assert failures(ran) == {}
    assert uploaded == pushed
    assert ran[UPLOADED]["comment"].startswith("openstack overcloud container image upload copied 3 tags")
    assert set(ran[UPLOADED]["changes"]) == {f"{name}:13.0" for name in NAMES}
    assert "1 tag left for registry_sync" in ran[UPLOADED]["comment"]
    assert "Mirrored 1 of 3 tags" in synced[MIRRORED]["comment"]
    assert [digest_of(local.url, name, "13.0") for name in NAMES] == [
        digest_of(site.url, name, "13.0") for name in NAMES
    ]
    assert again[UPLOADED]["comment"] == "All images are there already"


def written_by_docker(server, scratch, name):
    """Have docker compress an image's layers and write its manifest, and return the digest it then has."""
    old, new = (f"{registry.address}/{name}:13.0" for registry in (server, scratch))
    for words in (("pull", old), ("tag", old, new), ("push", new), ("rmi", old, new)):
        subprocess.run(["docker", *words], check=True, capture_output=True)
    copy = ["skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false"]
    subprocess.run([*copy, f"docker://{new}", f"docker://{old}"], check=True, capture_output=True)
    return digest_of(server.url, name, "13.0")


def test_an_upload_that_fails_says_what_the_command_line_said(director, tmp_path):
    if DOCKER_SOCKET.exists():
        pytest.skip("a dockerd of somebody else's runs here")
    ran = states(director(upload_with="openstack").apply("docker_registry.undercloud"))
    assert list(failures(ran)) == [UPLOADED]
    assert ran[UPLOADED]["comment"].startswith("openstack overcloud container image upload failed (1): ")
    assert "FileNotFoundError" in ran[UPLOADED]["comment"]


def test_what_keeps_the_command_line_from_running_is_one_sentence(director, stack):
    cases = {
        f"docker_registry:undercloud:command: user {stack.name} cannot run /nowhere/openstack: ": {
            "command": "/nowhere/openstack"
        },
        "docker_registry:undercloud:stackrc: there is no file /nowhere/rc": {"stackrc": "/nowhere/rc"},
        "docker_registry:undercloud:user: there is no user nobody-here here": {"user": "nobody-here"},
        "openstack overcloud container image prepare failed (1): ": {"set": {}, "exclude": ["("]},
    }
    minion = director()
    pillar = pillar_read(minion)
    for sentence, wrong in cases.items():
        changed = {**pillar, "undercloud": {**pillar["undercloud"], **wrong}}
        minion.set_pillar({"docker_registry": changed})
        ran = states(minion.apply("docker_registry.undercloud", test=True))
        assert ran[PREPARED]["result"] is False
        assert ran[PREPARED]["comment"].startswith(sentence)
        assert "Traceback" not in ran[PREPARED]["comment"]


# Without any command line


def test_a_list_that_was_made_elsewhere_is_mirrored(site, local, make_minion, tmp_path):
    file = tmp_path / "images.yaml"
    lines = [
        f"- imagename: {site.address}/{name}:13.0\n  push_destination: 192.168.24.1:8787\n" for name in NAMES
    ]
    file.write_text("container_images:\n" + "".join(lines), encoding="utf-8")
    minion = make_minion(pillar={"docker_registry": pillar_of(site, local, ["other/image"])})
    minion.sync()
    assert minion.call("registry_sync.check", images_file=str(file)).retcode == 2
    planned = minion.call("registry_sync.plan", images_file=str(file))
    assert planned.value["summary"]["missing"] == 3
    synced = minion.call("registry_sync.sync", images_file=str(file))
    assert (synced.retcode, synced.value["summary"]["copied"]) == (0, 3)
    assert minion.call("registry_sync.check", images_file=str(file)).retcode == 0
    assert {digest_of(local.url, name, "13.0") for name in NAMES} == {i.digest for i in IMAGES.values()}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read: No such file or directory"),
        ("a: [", "is no YAML (line 1)"),
        ("just words", "is no mapping"),
        ("parameter_defaults: {}", "has no list container_images"),
        ("container_images: [{imagename: 'UPPER/case:1'}]", "'UPPER/case:1' is no name of an image"),
        ("container_images: [{push_destination: 'x:1'}]", "container_images:0: has no imagename"),
    ],
)
def test_a_file_that_is_no_list_is_one_sentence(text, sentence, make_minion, tmp_path):
    file = tmp_path / "images.yaml"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    minion = make_minion(pillar={"docker_registry": {"local": {"host": "127.0.0.1"}}})
    minion.sync()
    answer = minion.call("registry_sync.check", images_file=str(file))
    assert answer.retcode != 0
    said = answer.stdout + answer.stderr
    assert str(file) in said
    assert sentence in said
    assert "Traceback" not in said


def test_recognition_decides_on_the_port_everywhere(stack, make_minion):
    pillar = {"local": {"host": "192.0.2.1"}, "undercloud": stack.pillar("openstack", prepare=False)}
    minion = make_minion(pillar={"docker_registry": pillar})
    minion.sync()
    caller = minion.caller()
    assert caller.cmd("registry_undercloud.is_undercloud") is True
    assert caller.cmd("registry_host.port") == 8787
    (stack.home / "undercloud.conf").unlink()
    assert caller.cmd("registry_host.port") == 5000
    told = caller.cmd("registry_undercloud.recognise")
    assert told["comment"] == (
        f"This is no undercloud: missing file {stack.home}/undercloud.conf; "
        f"found directory {stack.home}, file {stack.home}/stackrc"
    )
    pillar["undercloud"]["profile"]["packages"] = ["base-*", "no-such-package"]
    minion.set_pillar({"docker_registry": pillar})
    told = minion.call("registry_undercloud.recognise").value
    assert "packages: no-such-package" in told["missing"]
