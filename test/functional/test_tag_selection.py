"""Which tags and platforms are meant, from the pillar to what stands in the local registry."""

from __future__ import annotations

import pytest

import _registry_sync_commands as commands
from support.hostile import created_at, fresh_name, is_whole, standing
from support.images import Layer, docker_image, docker_list, oci_index
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registry_content import push, tags_of

pytestmark = pytest.mark.needs("docker-distribution", "skopeo")

RELEASES = [
    "13.0",
    "13.0-rc1",
    "13.0-38",
    "13.0-beta.2",
    "12.9",
    "2.0.0-alpha",
    "4f5e6d7",
    "3aabbcc",
    "latest",
]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"newest": 1}, ["13.0-38"]),
        ({"newest": 2}, ["13.0", "13.0-38"]),
        ({"semver": ">=13"}, ["13.0", "13.0-38"]),
        ({"semver": ">=2 <14"}, ["12.9", "13.0", "13.0-38"]),
        ({"semver": ">=13.0-beta.1 <13.0"}, ["13.0-beta.2", "13.0-rc1"]),
    ],
    ids=["newest", "newest-two", "range", "wide-range", "range-names-a-pre-release"],
)
def test_versions_are_chosen_as_people_mean_them(module_upstream, module_local, tmp_path, rule, expected):
    name = fresh_name("select")
    push(module_upstream.url, name, RELEASES, docker_image([Layer(name)]))
    images = [{"name": name, "tags": {"include": ["*"], **rule}}]
    report = commands.sync(settings_of(module_upstream, module_local, images), directory=str(tmp_path))
    assert {entry["status"] for entry in report["images"].values()} == {"copied"}
    assert tags_of(module_local.url, name) == sorted(expected)


DATES = {
    "1.0": "2023-05-01T10:00:00Z",
    "1.1": "2023-12-31T23:59:59.999999999Z",
    "1.2": "2024-01-01T00:00:00Z",
    "1.3": "2025-06-01T12:00:00+02:00",
    "2.0-nobody-asks": "2025-06-02T00:00:00Z",
}


class Dated:
    """A repository of images that were made on these days."""

    def __init__(self, line):
        self.line, self.name = line, fresh_name("dated")
        for tag, date in DATES.items():
            push(line.url, self.name, tag, created_at(docker_image([Layer(self.name + tag)]), date))
        line.forget_seen()

    def settings(self, local, **rule):
        tags = {"include": ["1.*"], "since": "2024-01-01", **rule}
        return settings_of(self.line, local, [{"name": self.name, "tags": tags}])


@pytest.fixture
def dated(module_upstream):
    with FaultProxy(module_upstream.url) as line:
        yield Dated(line)


def test_images_made_since_a_day_are_mirrored(dated, module_local, tmp_path):
    settings = dated.settings(module_local)
    report = commands.sync(settings, directory=str(tmp_path))
    assert {entry["status"] for entry in report["images"].values()} == {"copied"}
    assert tags_of(module_local.url, dated.name) == ["1.2", "1.3"]
    assert {entry["status"] for entry in commands.check(settings)["images"].values()} == {"current"}


def test_dates_are_read_of_candidates_alone(dated, module_local):
    commands.check(dated.settings(module_local, exclude=["1.0"]))
    # A config each of 1.1, 1.2 and 1.3, and no layer.
    assert dated.line.count("GET blobs") <= 3
    assert dated.line.count("GET manifests") <= 3


def test_a_day_after_all_images_finds_none_and_says_so(dated, module_local):
    report = commands.check(dated.settings(module_local, since="2030-01-01"))
    (entry,) = [entry for entry in report["images"].values() if entry["status"] != "extra"]
    assert (entry["status"], entry["cause"]) == ("unreadable", "absent")
    assert "2030-01-01" in entry["error"]


def test_the_newest_since_a_day_is_chosen_of_those(dated, module_local, tmp_path):
    commands.sync(dated.settings(module_local, newest=1), directory=str(tmp_path))
    assert tags_of(module_local.url, dated.name) == ["1.3"]


def test_a_date_that_is_none_is_no_candidate_and_ends_nothing(dated, module_local, tmp_path):
    for tag, date in (("1.4", "yesterday"), ("1.5", ""), ("1.6", "0001-01-01T00:00:00Z")):
        push(dated.line.url, dated.name, tag, created_at(docker_image([Layer(dated.name + tag)]), date))
    commands.sync(dated.settings(module_local), directory=str(tmp_path))
    assert {"1.2", "1.3"} <= set(tags_of(module_local.url, dated.name)) <= {"1.2", "1.3", "1.4", "1.5"}


@pytest.mark.parametrize("kind", [oci_index, docker_list], ids=["index", "list"])
def test_a_pin_to_an_index_with_platforms_copies_the_subset_and_is_current(
    module_upstream, module_local, tmp_path, kind
):
    name = fresh_name("pinned")
    children = [docker_image([Layer(name + arch)], architecture=arch) for arch in ("amd64", "arm64", "s390x")]
    index = kind(children)
    push(module_upstream.url, name, "1.0", index)
    images = [{"name": name, "tags": [f"1.0@{index.digest}"], "platforms": ["linux/amd64", "linux/arm64"]}]
    settings = settings_of(module_upstream, module_local, images)
    report = commands.sync(settings, directory=str(tmp_path))
    assert report["images"][f"{name}:1.0"]["status"] == "copied"
    assert all(is_whole(module_local, name, child) for child in children[:2])
    assert standing(module_local, name, children[2].digest) is None
    # Upstream's tag may move on: a pin is a pin.
    push(module_upstream.url, name, "1.0", children[0])
    for again in (commands.check(settings), commands.sync(settings, directory=str(tmp_path))):
        assert again["images"][f"{name}:1.0"]["status"] == "current"
