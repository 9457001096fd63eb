"""A first pillar: from names that somebody types, and from the files of other programs."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest
import yaml

import _registry_sync_init as beginning
from _registry_config_read import read_settings
from _registry_oci_reference import ReferenceMistake
from support.hostile import fresh_name
from support.images import Layer, docker_image, docker_list, oci_index
from support.pillar import settings_of
from support.registry_content import digest_of, push

pytestmark = pytest.mark.needs("docker-distribution")

TAGS = ["1.9.0", "1.10.0", "1.10.0-rc1", "1.8.2", "1.8.2-alpine", "latest", "4f5e6d7"]


@pytest.fixture
def node_exporter(module_upstream):
    """Return a repository with the tags that such repositories have."""
    name = f"{fresh_name('prometheus')}/node-exporter"
    push(module_upstream.url, name, TAGS, docker_image([Layer(name)]))
    return name


@pytest.fixture
def settings(module_upstream, module_local):
    return settings_of(module_upstream, module_local, ["a/b"])


def pillar_in(text):
    return yaml.safe_load(text)["docker_registry"]


def test_the_newest_releases_of_a_name_are_in_the_pillar(module_upstream, settings, node_exporter):
    text, failed = beginning.first_pillar([f"{module_upstream.address}/{node_exporter}"], settings, newest=3)
    assert not failed
    assert pillar_in(text)["images"] == [{"name": node_exporter, "tags": ["1.10.0", "1.9.0", "1.8.2"]}]
    assert "# " + f"{module_upstream.address} has 7 tags of it" in text
    assert "tags: {include: ['*'], newest: 3}" in text


def test_a_pillar_that_is_printed_is_accepted_and_means_that_registry(
    module_upstream, settings, node_exporter
):
    text, _ = beginning.first_pillar([f"{module_upstream.address}/{node_exporter}"], settings, newest=1)
    read = read_settings(pillar_in(text), host="unused")
    (image,) = read.images
    assert (image.source.host, image.source.port, image.source.tls) == (
        module_upstream.host,
        module_upstream.port,
        False,
    )
    assert read.local.name == settings.local.name
    assert (image.repository, image.tags.include) == (node_exporter, ("1.10.0",))


def test_a_registry_that_no_pillar_names_may_speak_plain_http_and_that_is_said(
    module_upstream, module_local, node_exporter
):
    unknown = settings_of(module_local, module_local, [{"name": "a/b", "target": "c/d"}])
    text, _ = beginning.first_pillar([f"{module_upstream.address}/{node_exporter}"], unknown, newest=1)
    assert pillar_in(text)["upstream"]["tls"] is False
    assert "plain HTTP" in text


def test_a_tag_that_is_typed_is_taken_alone(module_upstream, settings, node_exporter):
    text, _ = beginning.first_pillar([f"{module_upstream.address}/{node_exporter}:1.8.2"], settings, newest=3)
    assert pillar_in(text)["images"][0]["tags"] == ["1.8.2"]


def test_a_tag_that_upstream_lacks_suggests_the_nearest(module_upstream, settings, node_exporter):
    with pytest.raises(beginning.NothingFound, match=r"has no tag 1\.10\.1 of .*; did you mean 1\.10\.0\?"):
        beginning.first_pillar([f"{module_upstream.address}/{node_exporter}:1.10.1"], settings, newest=3)


def test_what_is_typed_of_one_repository_is_one_image(module_upstream, settings, node_exporter):
    name = f"{module_upstream.address}/{node_exporter}"
    text, _ = beginning.first_pillar([f"{name}:1.8.2", name, f"{name}:1.9.0"], settings, newest=2)
    tags = ["1.10.0", "1.9.0", "1.8.2"]
    assert pillar_in(text)["images"] == [{"name": node_exporter, "tags": tags}]
    assert text.count("has 7 tags of it; to follow the newest") == text.count("tags of it") == 1


def test_a_tag_that_is_typed_with_and_without_its_digest_is_asked_for_once(
    module_upstream, settings, node_exporter
):
    name = f"{module_upstream.address}/{node_exporter}"
    digest = digest_of(module_upstream.url, node_exporter, "1.8.2")
    text, _ = beginning.first_pillar([f"{name}:1.8.2", f"{name}:1.8.2@{digest}"], settings, newest=2)
    assert pillar_in(text)["images"][0]["tags"] == [f"1.8.2@{digest}"]


def test_two_digests_of_one_tag_are_refused(settings):
    names = [f"quay.io/a/b:1@sha256:{digit * 64}" for digit in "12"]
    with pytest.raises(ReferenceMistake, match=f"^{names[1]} and {names[0]} give one tag two digests"):
        beginning.first_pillar(names, settings, newest=1)


def test_a_name_that_two_registries_have_lands_in_two_places_each_with_its_comment(
    module_upstream, module_local, settings, node_exporter
):
    push(module_local.url, node_exporter, "1.0", docker_image([Layer("other")]))
    registries = (module_upstream.address, module_local.address)
    other = replace(settings, local=replace(settings.local, port=1))
    text, _ = beginning.first_pillar([f"{each}/{node_exporter}" for each in registries], other, newest=1)
    first, second = read_settings(pillar_in(text), host="unused").images
    assert (first.repository, first.target) == (node_exporter, node_exporter)
    assert (second.repository, second.source.port) == (node_exporter, module_local.port)
    assert second.target == f"{module_local.address.replace(':', '-')}/{node_exporter}"
    images = text.partition("  images:\n")[2]
    before, _, after = images.partition(node_exporter)
    assert before.startswith(f"    # {registries[0]} has 7 tags of it")
    assert f"\n    # {registries[1]} has 1 tag of it.\n" in after


def test_one_name_that_is_not_there_does_not_keep_the_others(module_upstream, settings, node_exporter):
    names = [f"{module_upstream.address}/{name}" for name in ("nobody/nothing", node_exporter)]
    text, failed = beginning.first_pillar(names, settings, newest=1)
    assert failed
    assert text.startswith(f"# {names[0]}: upstream {module_upstream.address} has no ")
    assert [image["name"] for image in pillar_in(text)["images"]] == [node_exporter]


@pytest.mark.parametrize("index_of", [docker_list, oci_index])
def test_the_platforms_of_an_index_are_told(module_upstream, settings, index_of):
    name = fresh_name("index")
    children = [docker_image([Layer(name + machine)], architecture=machine) for machine in ("arm64", "amd64")]
    push(module_upstream.url, name, "1.0", index_of(children))
    text, _ = beginning.first_pillar([f"{module_upstream.address}/{name}"], settings, newest=1)
    assert "for linux/arm64, linux/amd64; for one alone: platforms: [linux/amd64]" in text


def test_what_is_attached_to_images_is_no_tag_of_theirs(module_upstream, settings, node_exporter):
    push(
        module_upstream.url, node_exporter, "sha256-" + 64 * "a" + ".sig", docker_image([Layer("signature")])
    )
    text, _ = beginning.first_pillar([f"{module_upstream.address}/{node_exporter}"], settings, newest=100)
    assert ".sig" not in text


@pytest.mark.parametrize("name", ["", "Has/Capitals", "a/b:", "quay.io/a@sha256:12", "user:secret@x/y"])
def test_what_is_no_name_of_an_image_is_refused(settings, name):
    with pytest.raises(ReferenceMistake):
        beginning.first_pillar([name], settings, newest=1)


def test_salt_prints_the_text_of_a_pillar_and_nothing_else(make_minion, module_upstream, node_exporter):
    minion = make_minion(pillar={})
    minion.sync()
    words = minion.words("registry_sync.init", f"{module_upstream.address}/{node_exporter}", newest=2)
    words = [word for word in words if word != "--out=json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("docker_registry:\n")
    read_settings(pillar_in(done.stdout), host="unused")
    answer = minion.call("registry_sync.init", f"{module_upstream.address}/{node_exporter}:1.10")
    assert answer.retcode != 0
    assert "did you mean 1.10.0?" in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stdout + answer.stderr


def test_salt_converts_a_file(make_minion, tmp_path):
    minion = make_minion(pillar={})
    minion.sync()
    file = tmp_path / "sync.yaml"
    file.write_text("quay.io:\n  images:\n    coreos/etcd: [v3.5]\n")
    answer = minion.call("registry_sync.convert", str(file))
    assert answer.retcode == 0
    (text,) = json.loads(answer.stdout).values()
    assert pillar_in(text)["images"] == [{"name": "coreos/etcd", "tags": ["v3.5"]}]
    answer = minion.call("registry_sync.convert", str(tmp_path))
    assert answer.retcode != 0
    assert f"{tmp_path}: cannot be read" in answer.stdout + answer.stderr
