"""Upstreams that answer some requests for a part of a blob with all of it, or with another part."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

import _registry_sync_commands as commands
from support import faults
from support.hostile_local import bytes_of, far, gets_of, leftovers, make_far, without_range
from support.images import Layer, docker_image
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registry_content import digest_of, push

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

MIB = 1024 * 1024
FIRST, SECOND = Layer("first", 34 * MIB), Layer("second", 34 * MIB)
IMAGE = docker_image([FIRST, SECOND])
LIST = [{"name": "large/image", "tags": ["1"]}]


@pytest.fixture(scope="module")
def filled(module_upstream):
    push(module_upstream.url, "large/image", "1", IMAGE)
    return module_upstream


@pytest.fixture
def line(filled):
    with FaultProxy(filled.url) as line:
        make_far(line)
        yield line


@pytest.fixture
def sync(line, local, tmp_path):
    def run(**transfer):
        settings = settings_of(line, local, LIST, transfer={"retries": 2, **transfer})
        report = commands.sync(settings, directory=str(tmp_path / "cache"))
        assert report["images"]["large/image:1"]["error"] == ""
        assert digest_of(local.url, "large/image", "1") == IMAGE.digest
        assert leftovers(local) == []

    return run


def blob(layer):
    return f"/blobs/{layer.digest}"


def test_a_blob_that_is_sent_whole_beside_one_that_is_not_crosses_the_line_twice_at_most(line, sync):
    """A pull-through cache does so: what it has not yet comes whole."""
    line.on("GET", blob(FIRST), far(without_range), times=None)
    line.on("GET", blob(SECOND), far(faults.limit_rate(20 * MIB)), times=None)
    sync()
    assert bytes_of(line, FIRST.digest) <= 2 * FIRST.size
    assert bytes_of(line, SECOND.digest) <= 1.2 * SECOND.size


@pytest.mark.parametrize("skip", [0, 1, 5])
def test_an_upstream_that_forgets_ranges_from_some_request_on_sends_twice_at_most(line, sync, skip):
    line.on("GET", blob(FIRST), far(without_range), times=None, skip=skip)
    sync()
    assert bytes_of(line, FIRST.digest) <= 2 * FIRST.size


def test_an_upstream_that_sends_the_first_request_whole_and_then_ranges_sends_twice_at_most(line, sync):
    line.on("GET", blob(FIRST), far(without_range), times=1)
    sync()
    assert bytes_of(line, FIRST.digest) <= 2 * FIRST.size


def from_elsewhere(request, pass_on):
    """Send as many bytes as were asked for, from 1000 bytes on, and say so in Content-Range."""
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.header("Range") or "bytes=0-")
    assert wanted
    if not int(wanted[1]):
        return pass_on(request)
    last = 1000 + (int(wanted[2]) - int(wanted[1])) if wanted[2] else ""
    others = tuple(pair for pair in request.headers if pair[0].lower() != "range")
    return pass_on(replace(request, headers=(*others, ("Range", f"bytes=1000-{last}"))))


def test_a_part_that_begins_elsewhere_is_refused_and_read_again(line, sync):
    line.on("GET", blob(FIRST), far(from_elsewhere), times=3)
    # Where no parts are asked for, one that broke goes on with one.
    line.on("GET", blob(FIRST), far(faults.cut_after(20 * MIB)), times=1)
    # How many of them one try meets depends on how many ranges are under way.
    sync(retries=4)
    assert bytes_of(line, FIRST.digest) <= 1.6 * FIRST.size


def test_a_part_without_content_range_is_right_if_its_bytes_are(line, sync):
    line.on("GET", blob(FIRST), far(faults.set_headers({"Content-Range": None})), times=None)
    sync()
    assert bytes_of(line, FIRST.digest) <= 2 * FIRST.size
    assert gets_of(line, FIRST.digest)


@pytest.mark.thorough
def test_of_a_broken_line_only_what_broke_is_fetched_again(line, sync):
    """What other connections have brought ahead by then is kept for the next try."""
    line.on("GET", blob(FIRST), far(faults.cut_after(MIB)), times=1, skip=4)
    sync()
    # Without that it is up to half of it more.
    assert bytes_of(line, FIRST.digest) <= 1.3 * FIRST.size
