"""A layer whose bytes the local registry has lost, and which it goes on to name."""

from __future__ import annotations

import pytest

import _registry_sync_commands as commands
from support import faults
from support.damage import Damage
from support.hostile import fresh_name, is_whole, standing
from support.images import Layer, docker_image
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registry_content import pull_whole, push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

SIZE = 30_000


def data_of(registry, blob):
    """The file that holds a blob's bytes."""
    algorithm, _, name = blob.digest.partition(":")
    return registry.data / "docker/registry/v2/blobs" / algorithm / name[:2] / name / "data"


class Lossy:
    """A mirrored image whose layer the local registry loses, and a new one that needs it."""

    def __init__(self, upstream, local, directory, where):
        self.upstream, self.local, self.directory = upstream, local, str(directory / "cache")
        self.old = fresh_name("old")
        # A new tag of the same repository, or another one that could mount the layer.
        self.new, self.tag = (self.old, "2") if where == "same" else (fresh_name("new"), "1")
        self.layer = Layer(self.old, SIZE)
        push(upstream.url, self.old, "1", docker_image([self.layer]))
        self.sync([{"name": self.old, "tags": ["1"]}])
        self.image = docker_image([self.layer, Layer(self.new + "-new")])
        push(upstream.url, self.new, self.tag, self.image)

    def sync(self, images, storage=""):
        settings = settings_of(self.upstream, self.local, images, transfer={"retries": 2})
        return commands.sync(settings, directory=self.directory, storage=storage)["images"]

    def sync_both(self, storage=""):
        new = {"name": self.new, "tags": [self.tag]}
        images = (
            [{"name": self.old, "tags": ["1", "2"]}]
            if self.new == self.old
            else [
                {"name": self.old, "tags": ["1"]},
                new,
            ]
        )
        return self.sync(images, storage)[f"{self.new}:{self.tag}"]


@pytest.fixture(params=["same", "another"])
def lossy(request, module_upstream, module_local, tmp_path):
    return Lossy(module_upstream, module_local, tmp_path, request.param)


@pytest.mark.parametrize("restarted", [False, True], ids=["remembered", "restarted"])
def test_a_new_tag_that_needs_a_lost_layer_ends_whole(lossy, tmp_path, restarted):
    """Until it restarts, docker-distribution answers a HEAD from its memory, and a GET without bytes."""
    data_of(lossy.local, lossy.layer).unlink()
    if restarted:
        lossy.local.restart()
    entry = lossy.sync_both()
    assert (entry["status"], entry["error"]) == ("copied", "")
    assert is_whole(lossy.local, lossy.new, lossy.image)
    pull_whole(lossy.local.url, lossy.new, lossy.tag, tmp_path / "pulled")


def test_a_layer_that_is_emptied_never_makes_a_tag_that_cannot_be_pulled(lossy):
    """docker-distribution keeps a file that is there, whatever is sent: this needs its disk, not a copy."""
    data_of(lossy.local, lossy.layer).write_bytes(b"")
    lossy.local.restart()
    entry = lossy.sync_both()
    if entry["status"] == "copied":
        assert is_whole(lossy.local, lossy.new, lossy.image)
    else:
        assert (entry["status"], entry["cause"]) == ("failed", "digest")
        assert entry["error"].startswith("local")
        assert standing(lossy.local, lossy.new, lossy.tag) is None


def test_on_the_registrys_own_host_an_empty_file_makes_room(lossy, tmp_path):
    data_of(lossy.local, lossy.layer).write_bytes(b"")
    entry = lossy.sync_both(str(lossy.local.data))
    assert (entry["status"], entry["error"]) == ("copied", "")
    assert is_whole(lossy.local, lossy.new, lossy.image)
    pull_whole(lossy.local.url, lossy.new, lossy.tag, tmp_path / "pulled")


@pytest.mark.parametrize("where", ["same", "another"])
def test_a_server_without_a_cache_gives_the_right_bytes_at_once(
    module_upstream, start_registry, tmp_path, where
):
    """As the one is that the formula has the network read."""
    local = start_registry(config={"storage": {"cache": {"blobdescriptor": ""}}})
    lossy = Lossy(module_upstream, local, tmp_path, where)
    data_of(local, lossy.layer).write_bytes(b"")
    assert lossy.sync_both(str(local.data))["status"] == "copied"
    assert is_whole(local, lossy.new, lossy.image)


def test_a_server_that_has_the_empty_file_in_its_cache_is_said_to_need_a_restart(lossy):
    data_of(lossy.local, lossy.layer).write_bytes(b"")
    lossy.local.restart()
    entry = lossy.sync_both(str(lossy.local.data))
    assert (entry["status"], entry["cause"]) == ("failed", "digest")
    assert "until it is restarted" in entry["error"]
    lossy.local.restart()
    assert lossy.sync_both(str(lossy.local.data))["status"] == "copied"
    assert is_whole(lossy.local, lossy.new, lossy.image)


def test_on_the_registrys_own_host_a_file_that_is_cut_is_not_mounted(module_upstream, module_local, tmp_path):
    lossy = Lossy(module_upstream, module_local, tmp_path, "another")
    file = data_of(lossy.local, lossy.layer)
    file.write_bytes(file.read_bytes()[:100])
    assert lossy.sync_both(str(lossy.local.data))["status"] == "copied"
    assert is_whole(lossy.local, lossy.new, lossy.image)


def test_a_manifest_that_the_registry_believes_to_have_is_written(lossy, tmp_path):
    """Its cache knows what its disk has lost: a PUT makes a link to nothing then, and says 201."""
    damage = Damage(lossy.local.data)
    file = damage.data(standing(lossy.local, lossy.old, "1"))
    file.unlink()
    damage.link(lossy.old, "tags", "1").parents[1].rename(tmp_path / "tag")
    entry = lossy.sync([{"name": lossy.old, "tags": ["1"]}], str(lossy.local.data))[f"{lossy.old}:1"]
    assert entry["status"] == "copied"
    assert file.stat().st_size > 0
    pull_whole(lossy.local.url, lossy.old, "1", tmp_path / "pulled")


def empty_manifest(lossy, tmp_path, tag_stays):
    """What a full disk leaves of a manifest: docker-distribution makes its file, then has no room."""
    damage = Damage(lossy.local.data)
    file = damage.empty(damage.data(standing(lossy.local, lossy.old, "1")))
    if not tag_stays:
        damage.link(lossy.old, "tags", "1").parents[1].rename(tmp_path / "tag")
    return file


@pytest.mark.parametrize("tag_stays", [False, True], ids=["tag gone", "tag there"])
def test_on_the_registrys_own_host_an_empty_manifest_is_written_anew(lossy, tmp_path, tag_stays):
    file = empty_manifest(lossy, tmp_path, tag_stays)
    entry = lossy.sync([{"name": lossy.old, "tags": ["1"]}], str(lossy.local.data))[f"{lossy.old}:1"]
    assert (entry["status"], entry["error"]) == ("copied", "")
    assert file.stat().st_size > 0
    pull_whole(lossy.local.url, lossy.old, "1", tmp_path / "pulled")


@pytest.mark.parametrize("kind", ["tags", "revisions"])
def test_on_the_registrys_own_host_an_empty_link_is_written_anew(lossy, tmp_path, kind):
    damage = Damage(lossy.local.data)
    name = "1" if kind == "tags" else standing(lossy.local, lossy.old, "1")
    link = damage.empty(damage.link(lossy.old, kind, name))
    entry = lossy.sync([{"name": lossy.old, "tags": ["1"]}], str(lossy.local.data))[f"{lossy.old}:1"]
    assert (entry["status"], entry["error"]) == ("copied", "")
    assert link.stat().st_size > 0
    pull_whole(lossy.local.url, lossy.old, "1", tmp_path / "pulled")


def test_an_empty_manifest_of_a_registry_elsewhere_is_told_whatever_it_answers_to_a_put(lossy, tmp_path):
    empty_manifest(lossy, tmp_path, tag_stays=False)
    entry = lossy.sync([{"name": lossy.old, "tags": ["1"]}])[f"{lossy.old}:1"]
    assert (entry["status"], entry["cause"]) == ("failed", "digest")
    assert entry["error"].startswith(f"local {lossy.local.address} took manifest sha256:")
    assert "registry_sync.verify" in entry["error"]
    assert lossy.sync([{"name": lossy.old, "tags": ["1"]}])[f"{lossy.old}:1"]["status"] == "failed"


@pytest.mark.parametrize(
    ("failures", "status", "cause"), [(2, "copied", ""), (None, "failed", "digest")], ids=["soon", "never"]
)
def test_a_manifest_that_is_given_a_moment_later_is_here(module_upstream, local, failures, status, cause):
    """docker-distribution says 201 to what another client has just put, before its bytes are there."""
    name = fresh_name("late")
    push(module_upstream.url, name, "1", docker_image([Layer(name)]))
    with FaultProxy(local.url) as near:
        near.on("HEAD", "/manifests/sha256:", faults.answer(500), times=failures)
        settings = settings_of(
            module_upstream, near, [{"name": name, "tags": ["1"]}], transfer={"retries": 0}
        )
        entry = commands.sync(settings)["images"][f"{name}:1"]
    assert (entry["status"], entry["cause"]) == (status, cause)


def test_a_registry_that_goes_away_before_it_gives_a_manifest_is_told_as_such(module_upstream, local):
    name = fresh_name("gone")
    push(module_upstream.url, name, "1", docker_image([Layer(name)]))
    with FaultProxy(local.url) as near:
        near.on("HEAD", "/manifests/sha256:", faults.reset(), times=None)
        settings = settings_of(
            module_upstream, near, [{"name": name, "tags": ["1"]}], transfer={"retries": 0}
        )
        entry = commands.sync(settings)["images"][f"{name}:1"]
    assert (entry["status"], entry["cause"]) == ("failed", "network")
