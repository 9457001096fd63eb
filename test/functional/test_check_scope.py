"""What a look at the two sides costs: only what the list of images wants is asked for."""

from __future__ import annotations

import itertools
import shutil
import time
from functools import partial

import pytest

import _registry_sync_commands as commands
from support import faults
from support.hostile import fresh_name, standing
from support.images import Layer, docker_image, oci_index
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registry_content import push

pytestmark = pytest.mark.needs("docker-distribution")

FOREIGN = 300
REPOSITORIES = "docker/registry/v2/repositories"


@pytest.fixture(scope="module")
def crowded(start_module_registry):
    """A local registry with a tag in each of 300 repositories that no list wants."""
    registry = start_module_registry()
    push(registry.url, "foreign/image0", "old", docker_image([Layer("foreign")]))
    first = registry.data / REPOSITORIES / "foreign/image0"
    for number in range(1, FOREIGN):
        shutil.copytree(first, first.with_name(f"image{number}"))
    return registry


@pytest.fixture
def name(module_upstream):
    name = fresh_name("scope")
    push(module_upstream.url, name, "1", docker_image([Layer(name)]))
    return name


def costs(command, local, *, before=None):
    """The requests that a command costs the local registry, those for its catalog left out."""
    with FaultProxy(local.url) as near:
        if before:
            before(near)
        near.forget_seen()
        command(near)
        return {kind: count for kind, count in near.counts().items() if kind != "GET catalog"}


COMMANDS = {
    "check": lambda settings, directory: commands.check(settings),
    "plan": lambda settings, directory: commands.plan(settings),
    "sync": lambda settings, directory: commands.sync(settings, directory=directory),
}


@pytest.mark.parametrize("current", [False, True], ids=["missing", "current"])
@pytest.mark.parametrize("command", list(COMMANDS))
def test_foreign_repositories_cost_nothing_but_pages_of_the_catalog(
    module_upstream, module_local, crowded, tmp_path, name, command, current
):
    def run(name_of_command, near):
        settings = settings_of(module_upstream, near, [{"name": name, "tags": ["1"]}])
        COMMANDS[name_of_command](settings, str(tmp_path / near.address.replace(":", "-")))

    before = partial(run, "sync") if current else None
    asked = costs(partial(run, command), crowded, before=before)
    assert asked == costs(partial(run, command), module_local, before=before)
    assert sum(asked.values()) < 20


def test_the_number_of_all_repositories_is_told_and_the_list_s_extras_alone(
    module_upstream, crowded, tmp_path, name
):
    push(crowded.url, name, "old", docker_image([Layer("old")]))
    settings = settings_of(module_upstream, crowded, [{"name": name, "tags": ["1"]}])
    commands.sync(settings, directory=str(tmp_path))
    report = commands.check(settings)
    statuses = {tag: entry["status"] for tag, entry in report["images"].items()}
    assert statuses == {f"{name}:1": "current", f"{name}:old": "extra"}
    assert report["images"][f"{name}:old"]["local"] == standing(crowded, name, "old")
    assert report["registry"]["repositories"] > FOREIGN


def test_with_everything_foreign_tags_are_extras_too(module_upstream, crowded, name):
    settings = settings_of(module_upstream, crowded, [{"name": name, "tags": ["1"]}])
    report = commands.check(settings, everything=True)
    extras = {tag for tag, entry in report["images"].items() if entry["status"] == "extra"}
    assert extras >= {f"foreign/image{number}:old" for number in range(FOREIGN)}
    assert report["images"]["foreign/image7:old"]["local"] == standing(crowded, "foreign/image7", "old")


def test_list_lists_everything(module_upstream, crowded, name):
    settings = settings_of(module_upstream, crowded, [{"name": name, "tags": ["1"]}])
    assert len(commands.listing(settings)) >= FOREIGN


class Chosen:
    """A tag for two platforms of which one is mirrored, a line that counts, and a cache directory."""

    def __init__(self, line, local, name, directory):
        self.line, self.local, self.name, self.directory = line, local, name, str(directory)
        images = [{"name": name, "tags": ["1"], "platforms": ["linux/amd64"]}]
        self.settings = settings_of(line, local, images)
        self.push("first")

    def push(self, seed):
        both = [
            docker_image([Layer(f"{self.name}-{seed}")], architecture=name) for name in ("amd64", "s390x")
        ]
        push(self.line.upstream.geturl(), self.name, "1", oci_index(both))
        return both[0]

    def sync(self):
        self.line.forget_seen()
        return commands.sync(self.settings, directory=self.directory)["images"][f"{self.name}:1"]

    def check(self):
        self.line.forget_seen()
        return commands.check(self.settings, directory=self.directory)["images"][f"{self.name}:1"]


@pytest.fixture
def chosen(module_upstream, module_local, tmp_path):
    with FaultProxy(module_upstream.url) as line:
        yield Chosen(line, module_local, fresh_name("scope"), tmp_path)


def test_a_current_tag_of_chosen_platforms_costs_no_pull(chosen):
    assert chosen.sync()["status"] == "copied"
    assert chosen.sync()["status"] == "current"
    assert chosen.line.count("GET manifests") == 0
    entry = chosen.check()
    assert (entry["status"], entry["upstream"]) == ("current", standing(chosen.local, chosen.name, "1"))
    assert chosen.line.count("GET manifests") == 0


def test_a_check_remembers_for_the_next_one(chosen):
    commands.sync(chosen.settings, directory="")
    assert chosen.check()["status"] == "current"
    assert chosen.check()["status"] == "current"
    assert chosen.line.count("GET manifests") == 0


def test_what_was_chosen_of_another_digest_is_not_believed(chosen):
    chosen.sync()
    child = chosen.push("second")
    entry = chosen.check()
    assert (entry["status"], entry["upstream"] == entry["local"]) == ("stale", False)
    assert chosen.sync()["status"] == "copied"
    assert standing(chosen.local, chosen.name, child.digest) == child.digest
    assert chosen.check()["status"] == "current"


def test_what_was_chosen_for_other_platforms_is_not_believed(chosen):
    chosen.sync()
    images = [{"name": chosen.name, "tags": ["1"], "platforms": ["linux/s390x"]}]
    chosen.settings = settings_of(chosen.line, chosen.local, images)
    assert chosen.check()["status"] == "stale"


@pytest.mark.parametrize("damage", [b"", b"\xff\x00", b"[[[]]]"], ids=["empty", "no-text", "lists"])
def test_a_memory_that_is_damaged_is_not_believed(chosen, tmp_path, damage):
    chosen.sync()
    assert chosen.check()["status"] == "current"
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.write_bytes(damage)
    assert chosen.check()["status"] == "current"
    assert chosen.sync()["status"] == "current"


FEW_LEFT = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "3;w=21600"}


def test_few_pulls_left_do_not_slow_down_what_counts_as_none(module_upstream, module_local):
    """https://docs.docker.com/docker-hub/usage/pulls/: a HEAD is no pull."""
    name, tags = fresh_name("scope"), [str(number) for number in range(20)]
    push(module_upstream.url, name, tags, docker_image([Layer(name)]))
    with FaultProxy(module_upstream.url) as line:
        line.on(None, "/manifests/", faults.set_headers(FEW_LEFT), times=None)
        settings = settings_of(
            line, module_local, [{"name": name, "tags": tags}], transfer={"deadline": "8s"}
        )
        began = time.monotonic()
        report = commands.check(settings)
        assert time.monotonic() - began < 5
        assert {entry["status"] for entry in report["images"].values()} == {"missing"}
        assert line.count("HEAD manifests") == 20


def test_few_pulls_left_slow_down_pulls(module_upstream, module_local, tmp_path):
    names = [fresh_name("scope") for _ in range(5)]
    for name in names:
        push(module_upstream.url, name, "1", docker_image([Layer(name)]))
    with FaultProxy(module_upstream.url) as line:
        told = {"RateLimit-Limit": "100;w=20", "RateLimit-Remaining": "3;w=20"}
        line.on(None, "/manifests/", faults.set_headers(told), times=None)
        settings = settings_of(line, module_local, [{"name": name, "tags": ["1"]} for name in names])
        report = commands.sync(settings, directory=str(tmp_path))
        assert {entry["status"] for entry in report["images"].values()} == {"copied"}
        came = [request.arrived for request in line.requests("GET manifests")]
    gaps = [after - before for before, after in itertools.pairwise(came)]
    assert len(gaps) == 4
    assert min(gaps) > 0.15
