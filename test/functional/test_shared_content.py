"""Two images need the same blob or child: what is wrong with one of them is no matter of the other's."""

from __future__ import annotations

import pytest

import _registry_sync_commands as commands
from support import faults
from support.hostile import fresh_name, standing, with_first_layer
from support.images import Layer, docker_image, oci_index
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registry_content import push

pytestmark = pytest.mark.needs("docker-distribution")

SIZE = 20_000


@pytest.fixture(scope="module")
def second_upstream(start_module_registry):
    return start_module_registry()


class Two:
    """A bad image, and a good one that needs some of the same content from elsewhere."""

    def __init__(self, line, good_source, local, directory, order):
        self.line, self.good_source, self.local = line, good_source, local
        self.directory, self.order = str(directory), order
        self.bad, self.good = fresh_name("bad"), fresh_name("good")
        self.shared = Layer(self.bad, SIZE)

    def push(self, bad_image, good_image):
        self.good_image = good_image
        push(self.line.url, self.bad, "1", bad_image)
        push(self.good_source.url, self.good, "1", good_image)

    def sync(self):
        """Return the bad image's entry, having seen that the good one arrived."""
        source = {"host": self.good_source.host, "port": self.good_source.port}
        images = [{"name": self.bad, "tags": ["1"]}, {"name": self.good, "tags": ["1"], "upstream": source}]
        settings = settings_of(self.line, self.local, images[:: self.order], transfer={"retries": 1})
        entries = commands.sync(settings, directory=self.directory)["images"]
        good = entries[f"{self.good}:1"]
        assert (good["status"], good["error"]) == ("copied", "")
        assert standing(self.local, self.good, "1") == self.good_image.digest
        return entries[f"{self.bad}:1"]


@pytest.fixture(params=[1, -1], ids=["bad-first", "good-first"])
def order(request):
    return request.param


@pytest.fixture(params=["same-upstream", "another-upstream"])
def two(request, order, module_upstream, second_upstream, module_local, tmp_path):
    with FaultProxy(module_upstream.url) as line:
        good_source = line if request.param == "same-upstream" else second_upstream
        yield Two(line, good_source, module_local, tmp_path, order)


def beside(layer, seed):
    return docker_image([layer, Layer(seed)])


@pytest.mark.parametrize("size", [SIZE * 2, 0], ids=["larger", "none"])
def test_a_wrong_size_is_believed_of_its_own_image_alone(two, size):
    bad_image = with_first_layer(beside(two.shared, two.bad), size=size)
    two.push(bad_image, beside(two.shared, two.good))
    entry = two.sync()
    # Once the other has brought the blob, a registry takes the manifest that lies about it.
    assert (entry["status"], entry["cause"]) in (("failed", "digest"), ("copied", ""))


@pytest.mark.parametrize(
    "fault",
    [faults.answer(404), faults.answer(500), faults.change_byte(100)],
    ids=["404", "500", "changed"],
)
def test_a_blob_that_one_repository_does_not_give_comes_from_the_next(two, fault):
    two.push(beside(two.shared, two.bad), beside(two.shared, two.good))
    two.line.on("GET", f"/{two.bad}/blobs/{two.shared.digest}", fault, times=None)
    entry = two.sync()
    # The bytes are the same wherever they come from.
    assert entry["status"] == "copied"
    assert standing(two.local, two.bad, "1") is not None


@pytest.mark.parametrize(
    "fault",
    [faults.answer(404), faults.answer(500), faults.change_byte(5)],
    ids=["404", "500", "changed"],
)
def test_a_child_that_one_repository_does_not_give_comes_from_the_next(two, fault):
    child = docker_image([two.shared])
    others = [docker_image([Layer(seed)], architecture="arm64") for seed in (two.bad, two.good)]
    two.push(oci_index([child, others[0]]), oci_index([child, others[1]]))
    two.line.on("GET", f"/{two.bad}/manifests/{child.digest}", fault, times=None)
    assert two.sync()["status"] == "copied"


def test_a_child_that_nobody_gives_fails_its_index_alone(two):
    child = docker_image([two.shared])
    two.push(oci_index([child]), beside(two.shared, two.good))
    two.line.on("GET", f"/manifests/{child.digest}", faults.answer(404), times=None)
    entry = two.sync()
    assert (entry["status"], entry["cause"]) == ("failed", "absent")
    assert child.digest in entry["error"]
