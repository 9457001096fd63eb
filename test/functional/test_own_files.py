"""A registry on this host: its own files say what stands under its tags, which spares it most questions."""

from __future__ import annotations

import shutil

import pytest

import _registry_sync_commands as commands
from _registry_sync_stores import CONNECTIONS_NEAR
from support.hostile import standing
from support.images import Layer, docker_image
from support.pillar import settings_of
from support.registry_content import push
from support.traffic import read_access_log

pytestmark = pytest.mark.needs("docker-distribution")

TAGS = ["1", "2", "3"]
IMAGES = {tag: docker_image([Layer(f"layer-{tag}", 1000)]) for tag in TAGS}


@pytest.fixture
def settings(upstream, local):
    for tag, image in IMAGES.items():
        push(upstream.url, "test/app", tag, image)
    settings = settings_of(upstream, local, [{"name": "test/app", "tags": TAGS}], transfer={"retries": 0})
    commands.sync(settings)
    return settings


def statuses(report):
    return {name: entry["status"] for name, entry in report["images"].items()}


def heads(registry, mark):
    logged = read_access_log(registry.access_log(mark))
    return sum(request.kind.startswith("HEAD manifests") for request in logged)


def test_one_tag_a_connection_is_asked_for_whatever_their_number(settings, local):
    mark = local.log_position()
    report = commands.check(settings, storage=str(local.data))
    assert set(statuses(report).values()) == {"current"}
    assert heads(local, mark) == CONNECTIONS_NEAR < len(TAGS)


def test_what_has_moved_upstream_is_found(settings, upstream, local):
    new = docker_image([Layer("moved", 1000)])
    push(upstream.url, "test/app", "2", new)
    assert statuses(commands.check(settings, storage=str(local.data)))["test/app:2"] == "stale"
    assert statuses(commands.sync(settings, storage=str(local.data)))["test/app:2"] == "copied"
    assert standing(local, "test/app", "2") == new.digest


def test_files_that_are_not_the_servers_are_of_no_account(settings, upstream, local, start_registry):
    """A registry that was given another directory and not restarted: its old files say what once was."""
    other = start_registry()
    old = settings_of(upstream, other, [{"name": "test/app", "tags": TAGS}])
    commands.sync(old)
    new = docker_image([Layer("moved", 1000)])
    push(upstream.url, "test/app", "1", new)
    commands.sync(settings)
    mark = local.log_position()
    assert set(statuses(commands.check(settings, storage=str(other.data))).values()) == {"current"}
    assert heads(local, mark) > CONNECTIONS_NEAR


def test_files_that_were_copied_and_went_on_are_of_no_account(settings, upstream, local, tmp_path):
    """A registry that was started over its backup: all but what came since is the same."""
    backup = tmp_path / "backup"
    shutil.copytree(local.data, backup)
    push(upstream.url, "test/app", "2", docker_image([Layer("moved", 1000)]))
    commands.sync(settings, storage=str(local.data))
    local.reconfigure({"storage": {"filesystem": {"rootdirectory": str(backup)}}})
    found = statuses(commands.check(settings, storage=str(local.data)))
    assert found == {"test/app:1": "current", "test/app:2": "stale", "test/app:3": "current"}


def test_a_directory_without_files_is_of_no_account(settings, local, tmp_path):
    assert set(statuses(commands.check(settings, storage=str(tmp_path))).values()) == {"current"}


@pytest.mark.parametrize("harm", ["manifest", "empty", "garbled", "revision"])
def test_what_the_registry_has_lost_does_not_stand_there(settings, local, harm):
    """The server may still name it: what is lacking is what its files say."""
    digest = IMAGES["2"].digest
    top = local.data / "docker/registry/v2"
    name = digest.partition(":")[2]
    file = top / "blobs/sha256" / name[:2] / name / "data"
    if harm == "manifest":
        file.unlink()
    elif harm == "empty":
        file.write_bytes(b"")
    elif harm == "garbled":
        file.write_bytes(file.read_bytes()[:-10])
    else:
        (top / "repositories/test/app/_manifests/revisions/sha256" / name / "link").unlink()
    found = statuses(commands.check(settings, storage=str(local.data)))
    assert found == {"test/app:1": "current", "test/app:2": found["test/app:2"], "test/app:3": "current"}
    assert found["test/app:2"] in ("missing", "unreadable")
