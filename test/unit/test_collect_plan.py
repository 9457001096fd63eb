"""What may be freed, as values: the program's words, our own mark, and where the two differ."""

from __future__ import annotations

import json
import time

import pytest

from _registry_store_disk import DiskStore
from _registry_sync_collect import LEASE, doubts, lease_manifests, read_output
from _registry_sync_collect_disk import look
from support.disk import DiskTree
from support.images import Layer, docker_image, docker_list

IMAGE = docker_image([Layer("base"), Layer("image")])
INDEX = docker_list([IMAGE])
LOOSE = docker_image([Layer("base"), Layer("loose")])
SPACE = " "
# As docker-distribution 2.8.2 prints it.
SAID = f"""\
team/app
team/app: marking manifest {IMAGE.digest}{SPACE}
team/app: marking blob {IMAGE.blobs[0].digest}
0-team/app: marking manifest {INDEX.digest}{SPACE}

3 blobs marked, 1 blobs and 0 manifests eligible for deletion
blob eligible for deletion: {LOOSE.digest}
"""


@pytest.fixture
def view(tmp_path):
    tree = DiskTree(tmp_path)
    tree.push("team/app", "1", INDEX)
    tree.push("team/gone", "1", LOOSE)
    tree.link("team/gone", "revisions", LOOSE.digest).unlink()
    tree.link("team/gone", "tags", "1").unlink()
    for directory in sorted((tree.top / "repositories/team/gone/_manifests/tags").rglob("*"), reverse=True):
        directory.rmdir()
    return look(DiskStore(str(tmp_path)), 0, time.time())


def said(view, *, without=(), swept=(), leases=()):
    marked = [
        (name, digest)
        for name, found in view.mark.repositories.items()
        for digest in found.revisions
        if digest not in without
    ]
    lines = [f"{name}: marking manifest {digest} \n" for name, digest in marked]
    lines += [f"{LEASE}: marking manifest {digest} \n" for digest in leases]
    return read_output([*lines, *(f"blob eligible for deletion: {digest}\n" for digest in swept)])


def test_what_the_program_says_is_read_line_by_line():
    sweep = read_output(SAID.splitlines(keepends=True))
    assert sweep.marked == {("team/app", IMAGE.digest), ("0-team/app", INDEX.digest)}
    assert sweep.swept == {LOOSE.digest}


def test_where_both_agree_there_is_no_doubt(view):
    assert view.loose == {LOOSE.digest, LOOSE.blobs[0].digest, LOOSE.blobs[2].digest}
    assert doubts(view, said(view, swept=view.loose), ()) == ""


def test_a_program_that_has_missed_a_manifest_is_doubted_whatever_it_sweeps(view):
    for leases in ((), None):
        told = doubts(view, said(view, without={IMAGE.digest}), leases)
        assert told == f"garbage-collect has marked 1 of 2 manifests; not team/app@{IMAGE.digest}"


@pytest.mark.parametrize("digest", [IMAGE.digest, INDEX.digest, IMAGE.blobs[1].digest])
def test_a_program_that_would_take_what_is_needed_is_doubted(view, digest):
    told = doubts(view, said(view, swept=[*view.loose, digest]), ())
    assert told == f"garbage-collect would take what is needed: {digest}"


def test_a_blob_that_came_since_is_somebodys(view):
    digest = "sha256:" + "1" * 64
    assert "somebody writes to the disk meanwhile" in doubts(view, said(view, swept=[digest]), ())
    # While pushes go on that is what they do.
    assert doubts(view, said(view, swept=[digest]), None) == ""


def test_a_lease_that_the_program_has_not_seen_protects_nothing(view):
    lease = "sha256:" + "2" * 64
    assert "has not seen what protects" in doubts(view, said(view), [lease])
    assert doubts(view, said(view, leases=[lease]), [lease]) == ""


def test_a_lease_names_everything_once_and_is_like_no_other():
    digests = [f"sha256:{number:064x}" for number in range(12_000)]
    bodies = list(lease_manifests(digests, "nonce"))
    named = [layer["digest"] for body in bodies for layer in json.loads(body)["layers"]]
    assert named == digests
    assert max(map(len, bodies)) < 1_000_000
    assert set(bodies).isdisjoint(lease_manifests(digests, "another"))
    assert list(lease_manifests([], "nonce")) == []
