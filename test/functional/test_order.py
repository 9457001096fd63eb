"""Images become usable as the bytes come: what lacks least first, shared layers with who needs them first."""

from __future__ import annotations

import pytest

import _registry_sync_commands as commands
from _registry_show_progress import Progress
from support.hostile_local import make_far
from support.images import Layer, docker_image
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registry_content import push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

MB = 1_000_000
BASE = Layer("base", MB)
ALIKE = {f"alike/image{number:02}": docker_image([BASE, Layer(f"alike{number}", MB)]) for number in range(30)}
# Each lacks more than the one before, and their names say nothing of it.
GROWING = {
    f"growing/{chr(ord('z') - number)}": docker_image([Layer(f"growing{number}", (number + 1) * MB // 2)])
    for number in range(8)
}


class Landings:
    """A sink that notes how many bytes had moved when a tag landed."""

    def __init__(self):
        self.names = []
        self.moved = []

    def __call__(self, state, landings):
        for landing in landings:
            assert landing.status == "copied", landing.error
            self.names.append(landing.name.partition(":")[0])
            self.moved.append(state.moved)


@pytest.fixture
def line(upstream):
    with FaultProxy(upstream.url) as line:
        yield line


def mirror(upstream, line, local, directory, images, **transfer):
    for name, image in images.items():
        push(upstream.url, name, "1", image)
    landings = Landings()
    listed = [{"name": name, "tags": ["1"]} for name in images]
    commands.sync(
        settings_of(line, local, listed, transfer=transfer),
        directory=str(directory),
        progress=Progress([landings], tick=0.01),
    )
    assert sorted(landings.names) == sorted(images)
    return landings


def share_landed(landings, share_of_bytes):
    """Return the share of the images that stood when this share of the bytes had moved."""
    limit = share_of_bytes * max(landings.moved)
    return sum(moved <= limit for moved in landings.moved) / len(landings.moved)


LINES = pytest.mark.parametrize("distance", ["near", "far"])


@LINES
@pytest.mark.parametrize("cap", [{"bandwidth": "9MB"}, {"parallel": 4}], ids=["capped", "free"])
def test_after_half_of_the_bytes_nearly_half_of_the_images_stand(
    upstream, line, local, tmp_path, distance, cap
):
    if distance == "far":
        make_far(line)
    landings = mirror(upstream, line, local, tmp_path, ALIKE, **cap)
    assert share_landed(landings, 0.5) >= (0.4 if "bandwidth" in cap else 0.3)
    # The base came once.
    assert max(landings.moved) <= 32 * MB


@LINES
def test_the_image_that_lacks_least_stands_first(upstream, line, local, tmp_path, distance):
    if distance == "far":
        make_far(line)
    landings = mirror(upstream, line, local, tmp_path, GROWING, bandwidth="9MB")
    smallest_first = list(GROWING)
    assert landings.names[0] == smallest_first[0]
    assert set(landings.names[:3]) <= set(smallest_first[:4])
    assert set(landings.names[-2:]) <= set(smallest_first[-3:])


def test_what_shares_its_layers_with_an_image_that_stands_comes_before_what_does_not(
    upstream, line, local, tmp_path
):
    """It lacks less, though it is the larger one."""
    first = {"with/base": docker_image([BASE])}
    mirror(upstream, line, local, tmp_path, first)
    lacks_little = {"zz/large": docker_image([BASE, Layer("little", 1 * MB)])}
    lacks_more = {f"aa/small{n}": docker_image([Layer(f"small{n}", 3 * MB)]) for n in range(3)}
    landings = mirror(upstream, line, local, tmp_path, {**lacks_more, **lacks_little}, bandwidth="6MB")
    assert landings.names[0] == "zz/large"
