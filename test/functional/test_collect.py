"""Space is freed and nothing that somebody needs is: each test is one way in which it could be.

The servers are those of the formula, the program is docker-distribution's own `garbage-collect`.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from _registry_sync_collect import LEASE
from _registry_sync_collect_apply import collect, foresee
from _registry_sync_collect_window import locked
from support.collecting import SOCKET_URL, CollectedRegistry, bytes_below, pull
from support.images import Image, Layer, docker_image, docker_list
from support.registry_content import push, push_blob

pytestmark = pytest.mark.needs("docker-distribution", "flock")

BASE = Layer("base", 300_000)
KEPT = docker_image([BASE, Layer("kept", 200_000)])
GONE = docker_image([BASE, Layer("gone", 400_000)])
CHILDREN = [docker_image([BASE, Layer(arch)], architecture=arch) for arch in ("amd64", "arm64")]
INDEX = docker_list(CHILDREN)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[CollectedRegistry]:
    """A registry with a kept image, a kept index, and an image that was deleted."""
    with CollectedRegistry(tmp_path) as registry:
        send(registry, "team/app", "1", KEPT)
        send(registry, "team/app", "index", INDEX)
        send(registry, "team/app", "gone", GONE)
        registry.delete("team/app", GONE.digest)
        yield registry


def send(registry: CollectedRegistry, name: str, tag: str, image: Image) -> None:
    with registry.session() as http:
        push(SOCKET_URL, name, tag, image, session=http)


def upload(registry: CollectedRegistry, name: str, layer: Layer) -> None:
    with registry.session() as http:
        push_blob(SOCKET_URL, name, layer, session=http)


def assert_kept(registry: CollectedRegistry) -> None:
    pull(registry.url, "team/app", "1")
    pull(registry.url, "team/app", "index")
    send(registry, "team/later", "1", docker_image([BASE, Layer(f"later-{time.time_ns()}")]))
    pull(registry.url, "team/later", "1")
    assert LEASE not in registry.catalog()


def bare(registry: CollectedRegistry, *flags: str) -> None:
    """Run the tool as scripts do."""
    command = [*registry.collector().command, *flags, str(registry.push.config_file)]
    subprocess.run(command, check=True, capture_output=True)


# What is freed


def test_what_a_deleted_image_alone_needed_goes_and_all_else_stays(registry):
    told = foresee(registry.site())
    assert (told.refused, told.error) == ("", "")
    before = bytes_below(registry.top / "blobs")
    done = collect(registry.site())
    assert (done.refused, done.error) == ("", "")
    assert (done.blobs, done.size) == (told.blobs, told.size) == (3, done.size)
    assert before - bytes_below(registry.top / "blobs") == done.size > 400_000
    assert not registry.data_of(GONE.blobs[2].digest).exists()
    assert done.manifests == 4
    assert_kept(registry)


def test_a_swept_digest_is_gone_for_clients_and_for_pushes_at_once(registry):
    layer = GONE.blobs[2].digest
    collect(registry.site())
    assert requests.head(f"{registry.url}/v2/team/app/blobs/{layer}", timeout=10).status_code == 404
    with registry.session() as http:
        assert http.head(f"{SOCKET_URL}/v2/team/app/blobs/{layer}").status_code == 404
    send(registry, "team/app", "gone", GONE)
    pull(registry.url, "team/app", "gone")


def test_a_look_changes_nothing_and_leaves_pushes_alone(registry):
    pid = registry.push.pid
    before = sorted(registry.data.rglob("*"))
    told = foresee(registry.site())
    assert told.blobs == 3
    assert registry.push.pid == pid
    assert sorted(registry.data.rglob("*")) == before
    assert not Path(registry.lock).exists()


def test_a_second_run_finds_nothing(registry):
    collect(registry.site())
    again = collect(registry.site())
    assert (again.blobs, again.size, again.leased, again.refused, again.error) == (0, 0, 0, "", "")


def test_an_empty_registry_is_no_mistake(tmp_path):
    with CollectedRegistry(tmp_path) as registry:
        registry.data.mkdir(exist_ok=True)
        send(registry, "only/one", "1", KEPT)
        registry.delete("only/one", KEPT.digest)
        done = collect(registry.site(repositories=True))
        assert (done.refused, done.error, done.repositories) == ("", "", ["only/one"])
        assert list((registry.top / "blobs").rglob("data")) == []
        assert registry.catalog() == []
        send(registry, "only/one", "1", KEPT)
        pull(registry.url, "only/one", "1")


# What stays


def test_children_that_no_tag_names_stay_where_the_tool_with_m_takes_them(registry):
    collect(registry.site())
    pull(registry.url, "team/app", "index")
    bare(registry, "-m")
    with pytest.raises(requests.HTTPError, match="404"):
        pull(registry.url, "team/app", "index")


def test_a_digest_without_a_tag_stays(registry):
    send(registry, "team/app", "1", docker_image([BASE, Layer("newer")]))
    collect(registry.site())
    pull(registry.url, "team/app", KEPT.digest)


def test_layers_of_a_child_whose_own_link_was_lost_stay_so_that_it_can_be_mended(registry):
    registry.revision("team/app", CHILDREN[0].digest).unlink()
    done = collect(registry.site())
    assert (done.refused, done.error) == ("", "")
    with registry.session() as http:
        answer = http.put(
            f"{SOCKET_URL}/v2/team/app/manifests/{CHILDREN[0].digest}",
            data=CHILDREN[0].manifest,
            headers={"Content-Type": CHILDREN[0].media_type},
        )
    assert answer.status_code == 201
    assert_kept(registry)


def test_an_index_of_nothing_in_a_repository_of_its_own_stays_where_the_bare_tool_takes_it(registry):
    empty = docker_list([])
    send(registry, "team/empty", "1", empty)
    done = collect(registry.site())
    assert (done.refused, done.error) == ("", "")
    pull(registry.url, "team/empty", "1")
    bare(registry)
    assert not registry.data_of(empty.digest).exists()


def test_a_young_blob_that_nothing_names_yet_stays_and_an_old_one_goes(registry):
    layer = Layer("under-way", 50_000)
    upload(registry, "team/app", layer)
    done = collect(registry.site(grace=3600.0))
    # The deleted image was pushed a moment ago, too.
    assert (done.leased, done.blobs) == (4, 0)
    assert registry.data_of(layer.digest).exists()
    later = collect(registry.site(grace=3600.0, clock=lambda: time.time() + 7200))
    assert (later.leased, later.blobs) == (0, 4)
    assert not registry.data_of(layer.digest).exists()


def test_the_last_byte_of_a_blob_may_be_old_when_its_push_ends(registry):
    layer = Layer("slow", 50_000)
    upload(registry, "team/app", layer)
    os.utime(registry.data_of(layer.digest), (1, 1))
    assert collect(registry.site(grace=3600.0)).leased == 4
    assert registry.data_of(layer.digest).exists()


def test_an_upload_under_way_goes_on_afterwards(registry):
    layer = Layer("in-two-halves", 200_000)
    body = b"".join(layer.chunks())
    with registry.session() as http:
        begun = http.post(f"{SOCKET_URL}/v2/team/app/blobs/uploads/")
        half = http.patch(f"{SOCKET_URL}{begun.headers['Location']}", data=body[:100_000])
        assert half.status_code == 202
        collect(registry.site())
        ended = http.put(f"{SOCKET_URL}{half.headers['Location']}&digest={layer.digest}", data=body[100_000:])
        assert ended.status_code == 201, ended.text
        assert http.get(f"{SOCKET_URL}/v2/team/app/blobs/{layer.digest}").content == body


def test_a_push_that_waits_with_its_manifest_ends_well_within_the_grace(registry):
    image = docker_image([BASE, Layer("late", 50_000)])
    with registry.session() as http:
        for blob in image.blobs:
            push_blob(SOCKET_URL, "team/late", blob, session=http)
        collect(registry.site(grace=3600.0))
        push(SOCKET_URL, "team/late", "1", image, session=http)
    pull(registry.url, "team/late", "1")


def test_a_push_whose_blobs_went_is_refused_where_the_bare_tool_lets_it_break_an_image(registry):
    images = [docker_image([BASE, Layer(name, 50_000)]) for name in ("ours", "bare")]
    with registry.session() as http:
        for image in images:
            for blob in image.blobs:
                push_blob(SOCKET_URL, "team/late", blob, session=http)
        answers = []
        for image, run in zip(
            images, (lambda: collect(registry.site()), lambda: bare(registry)), strict=True
        ):
            for blob in image.blobs:
                push_blob(SOCKET_URL, "team/late", blob, session=http)
            run()
            answer = http.put(
                f"{SOCKET_URL}/v2/team/late/manifests/{image.digest[-8:]}",
                data=image.manifest,
                headers={"Content-Type": image.media_type},
            )
            answers.append(answer.status_code)
    assert answers == [400, 201]
    with pytest.raises((requests.RequestException, AssertionError)):
        pull(registry.url, "team/late", images[1].digest)


# What stands against it


def test_a_manifest_deleted_while_the_tool_looks_is_refused(registry, tmp_path):
    """As a delete from elsewhere does: the bare tool then marks nothing more of that repository."""
    link = registry.revision("team/app", KEPT.digest)
    script = tmp_path / "racing"
    script.write_text(f'#!/bin/sh\nrm -f "{link}"\nexec "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    done = collect(registry.site(collector=registry.collector(str(script))))
    assert "garbage-collect has marked 3 of 4 manifests; not team/app@" in done.refused
    assert (done.blobs, done.size) == (0, 0)
    assert registry.data_of(KEPT.blobs[2].digest).exists()
    assert registry.data_of(GONE.blobs[2].digest).exists()
    pull(registry.url, "team/app", "index")
    assert registry.push.runs()


def test_who_writes_to_the_disk_beside_the_service_is_found(registry, tmp_path):
    """Another server over the same storage."""
    foreign = registry.data_of("sha256:" + "ab" * 32)
    script = tmp_path / "racing"
    script.write_text(
        f'#!/bin/sh\nmkdir -p "{foreign.parent}"\ntouch "{foreign}"\nexec "$@"\n', encoding="utf-8"
    )
    script.chmod(0o755)
    done = collect(registry.site(collector=registry.collector(str(script))))
    assert "somebody writes to the disk meanwhile" in done.refused
    assert foreign.exists()
    assert_kept(registry)


@pytest.mark.parametrize("damage", ["empty", "other", "manifest", "cut", "tag"])
def test_a_damaged_file_is_named_and_nothing_is_freed_nor_stopped(registry, damage):
    pid = registry.push.pid
    if damage in ("empty", "other"):
        file = registry.revision("team/app", KEPT.digest)
        file.write_text("" if damage == "empty" else "sha256:" + "0" * 64, encoding="utf-8")
    elif damage == "tag":
        file = registry.repository("team/app") / "_manifests/tags/1/current/link"
        file.write_text("", encoding="utf-8")
    else:
        file = registry.data_of(KEPT.digest)
        file.write_bytes(b"{}" if damage == "manifest" else file.read_bytes()[:100])
    done = collect(registry.site())
    assert str(file) in done.refused
    assert registry.data_of(GONE.blobs[2].digest).exists()
    assert registry.push.pid == pid
    assert foresee(registry.site()).refused == done.refused


def test_an_image_that_is_broken_already_is_no_reason_to_keep_the_rest(registry):
    registry.data_of(KEPT.blobs[2].digest).unlink()
    done = collect(registry.site())
    assert (done.refused, done.error, done.blobs) == ("", "", 3)


def test_a_repository_with_the_name_of_the_lease_is_somebodys(registry):
    send(registry, LEASE, "1", KEPT)
    done = collect(registry.site())
    assert f"the repository {LEASE} is in the way" in done.refused
    pull(registry.url, LEASE, "1")


def test_a_program_that_fails_or_is_not_there_frees_nothing_and_pushes_go_on(registry):
    for words, said in (("/bin/false", "ended with 1"), ("/no/such", "cannot be run")):
        done = collect(registry.site(collector=registry.collector(words)))
        assert said in done.refused
        assert registry.data_of(GONE.blobs[2].digest).exists()
        assert_kept(registry)


def test_another_storage_in_the_environment_is_not_collected(registry, monkeypatch, tmp_path):
    monkeypatch.setenv("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", str(tmp_path / "elsewhere"))
    assert collect(registry.site()).blobs == 3


def test_one_collection_at_a_time(registry):
    with locked(registry.lock):
        done = collect(registry.site())
    assert "space is being freed" in done.refused
    assert registry.push.runs()


# Repositories that hold nothing any more


def test_an_empty_repository_goes_and_one_below_its_name_stays(registry):
    for name in ("team", "team/app/tools", "emptied"):
        send(registry, name, "1", GONE)
    for name in ("team", "emptied"):
        registry.delete(name, GONE.digest)
    done = collect(registry.site(repositories=True))
    assert (done.refused, done.error, sorted(done.repositories)) == ("", "", ["emptied", "team"])
    assert registry.catalog() == ["team/app", "team/app/tools"]
    assert list((registry.data / ".registry_sync").iterdir()) == []
    assert_kept(registry)
    pull(registry.url, "team/app/tools", "1")
    send(registry, "team", "1", KEPT)
    pull(registry.url, "team", "1")


def test_without_the_setting_an_empty_repository_stays(registry):
    send(registry, "emptied", "1", GONE)
    registry.delete("emptied", GONE.digest)
    assert collect(registry.site()).repositories == []
    assert "emptied" in registry.catalog()


def test_a_repository_that_is_being_filled_is_not_empty(registry):
    upload(registry, "fresh/one", Layer("fresh"))
    with registry.session() as http:
        http.post(f"{SOCKET_URL}/v2/fresh/two/blobs/uploads/").raise_for_status()
    assert collect(registry.site(grace=3600.0, repositories=True)).repositories == []
    later = collect(registry.site(grace=3600.0, repositories=True, clock=lambda: time.time() + 7200))
    # An upload may go on for a week.
    assert later.repositories == ["fresh/one"]
