"""Simple signatures come with the images: from a real store, beside real registries."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import _registry_sync_commands as mirror
from _registry_http_retry import Run
from _registry_sync_lookaside import LARGEST_SIGNATURE, Lookaside
from support.faults import answer, delay, redirect
from support.images import Image, Layer, docker_image, docker_list
from support.lookaside import put_signature, serve
from support.pillar import settings_of
from support.proxy import FaultProxy
from support.registries import Distribution
from support.registry_content import push

pytestmark = pytest.mark.needs("docker-distribution")

# What begins as an OpenPGP message does; what it says is for those who verify it.
SIGNATURE = b"\x90\x0dthe first"
OTHER = b"\xa3\x01the second, of a key that nobody here can read"


class Site:
    """A vendor's registry and store, and a mirror with its directories."""

    def __init__(self, upstream: Distribution, local: Distribution, line: FaultProxy, root: Path) -> None:
        self.upstream = upstream
        self.local = local
        self.line = line
        self.store = root / "store"
        self.kept = root / "kept" / "sigstore"
        self.cache = root / "cache"

    def settings(self, *images: Any, **signatures: Any) -> Any:
        """Return the settings of a pillar."""
        where = {"stores": {self.upstream.address: self.line.url}, "directory": str(self.kept)}
        return settings_of(
            self.upstream,
            self.local,
            images or [{"name": "team/app", "tags": ["1.0"]}],
            signatures={**where, **signatures},
            transfer={"retries": 0},
        )

    def sync(self, *images: Any, **signatures: Any) -> dict[str, Any]:
        """Sync, and demand that each image is here in the end."""
        report = mirror.sync(self.settings(*images, **signatures), directory=str(self.cache))
        assert report["summary"]["failed"] == report["summary"]["unreadable"] == 0, report["images"]
        return report

    def error(self, report: dict[str, Any], name: str = "team/app:1.0") -> str:
        """Return what a report says of a tag."""
        return str(report["images"][name]["error"])

    def kept_of(self, digest: str, repository: str = "team/app") -> dict[str, bytes]:
        """Return the files that are kept of an image."""
        directory = self.kept / f"{repository}@{digest.replace(':', '=')}"
        return {path.name: path.read_bytes() for path in directory.glob("*")} if directory.is_dir() else {}

    def sign(self, digest: str, *contents: bytes) -> None:
        """Put signatures into the vendor's store."""
        for number, content in enumerate(contents, 1):
            put_signature(self.store, "team/app", digest, content, number)


@pytest.fixture
def site(upstream: Distribution, local: Distribution, tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "store").mkdir()
    with serve(tmp_path / "store") as address, FaultProxy(address) as line:
        yield Site(upstream, local, line, tmp_path)


def simple(seed: str = "app") -> Image:
    return docker_image([Layer("base"), Layer(seed)])


def two_platforms() -> Image:
    return docker_list(
        [docker_image([Layer("base"), Layer(name)], architecture=name) for name in ("amd64", "arm64")]
    )


def test_signatures_are_kept_byte_for_byte_under_their_own_numbers(site: Site) -> None:
    digest = push(site.upstream.url, "team/app", "1.0", simple())
    site.sign(digest, SIGNATURE, OTHER)
    report = site.sync()
    assert site.kept_of(digest) == {"signature-1": SIGNATURE, "signature-2": OTHER}
    assert site.error(report) == ""


def test_they_lie_under_the_name_that_the_image_has_here(site: Site) -> None:
    digest = push(site.upstream.url, "team/app", "1.0", simple())
    site.sign(digest, SIGNATURE)
    site.sync({"name": "team/app", "tags": ["1.0"], "target": "mirror/app"})
    assert site.kept_of(digest, "mirror/app") == {"signature-1": SIGNATURE}


def test_an_index_and_each_of_its_children_have_their_own(site: Site) -> None:
    index = two_platforms()
    push(site.upstream.url, "team/app", "1.0", index)
    digests = [index.digest, *(child.digest for child in index.children)]
    for digest in digests:
        site.sign(digest, SIGNATURE + digest.encode())
    site.sync()
    assert [site.kept_of(digest) for digest in digests] == [
        {"signature-1": SIGNATURE + digest.encode()} for digest in digests
    ]


def test_where_an_index_cannot_be_read_again_its_tag_says_that_signatures_may_be_lacking(site: Site) -> None:
    index = two_platforms()
    push(site.upstream.url, "team/app", "1.0", index)
    site.sync()
    with FaultProxy(site.local.url) as near:
        near.on("GET", f"/manifests/{index.digest}", answer(500), times=None)
        site.local = near
        report = site.sync()
    assert report["images"]["team/app:1.0"]["status"] == "current"
    assert site.error(report).startswith("its signatures are not all here: local ")


def test_of_chosen_platforms_the_children_have_theirs_and_nobody_asks_for_the_index(site: Site) -> None:
    index = two_platforms()
    push(site.upstream.url, "team/app", "1.0", index)
    chosen = index.children[0]
    site.sign(chosen.digest, SIGNATURE)
    images = {"name": "team/app", "tags": ["1.0"], "platforms": ["linux/amd64"]}
    site.sync(images)
    assert site.kept_of(chosen.digest) == {"signature-1": SIGNATURE}
    assert {request.path.rpartition("/")[0] for request in site.line.requests()} == {
        f"/team/app@{chosen.digest.replace(':', '=')}"
    }
    site.line.forget_seen()
    site.sync(images)
    assert len(site.line.seen) == 1


def test_an_image_without_signatures_costs_one_request_and_no_word(site: Site) -> None:
    push(site.upstream.url, "team/app", "1.0", simple())
    report = site.sync()
    assert len(site.line.seen) == 1
    assert site.error(report) == ""
    assert not site.kept.exists()


def test_of_what_is_known_only_the_next_one_is_asked_for(site: Site) -> None:
    index = two_platforms()
    push(site.upstream.url, "team/app", "1.0", index)
    for digest in (index.digest, *(child.digest for child in index.children)):
        site.sign(digest, SIGNATURE, OTHER)
    site.sync()
    site.line.forget_seen()
    report = site.sync()
    assert report["summary"]["current"] == 1
    assert sorted(request.path.rpartition("/")[2] for request in site.line.requests()) == ["signature-3"] * 3


def test_a_signature_that_came_later_comes_with_the_next_run(site: Site) -> None:
    digest = push(site.upstream.url, "team/app", "1.0", simple())
    site.sign(digest, SIGNATURE)
    site.sync()
    site.sign(digest, SIGNATURE, OTHER)
    assert site.sync()["summary"]["current"] == 1
    assert site.kept_of(digest) == {"signature-1": SIGNATURE, "signature-2": OTHER}


def test_what_the_vendor_takes_back_or_changes_stays_as_it_was(site: Site) -> None:
    digest = push(site.upstream.url, "team/app", "1.0", simple())
    site.sign(digest, SIGNATURE, OTHER)
    site.sync()
    site.sign(digest, b"\x90changed")
    put_signature(site.store, "team/app", digest, b"", 2).unlink()
    site.sync()
    assert site.kept_of(digest) == {"signature-1": SIGNATURE, "signature-2": OTHER}


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (answer(200, b"<html>Log in</html>"), "has something else than a signature as signature-2"),
        (answer(200, b""), "has something else than a signature as signature-2"),
        (answer(403), "refused anonymous access"),
        (answer(500), "answered 500 for signature-2"),
        (answer(200, b"\x90" * (LARGEST_SIGNATURE + 1)), f"an answer of more than {LARGEST_SIGNATURE} bytes"),
        (redirect("ftp://elsewhere.example.com/"), "redirects to something else than a web address"),
    ],
    ids=["html", "empty", "403", "500", "too long", "redirect"],
)
def test_what_cannot_be_read_is_told_and_nothing_of_it_is_kept(site: Site, response: Any, said: str) -> None:
    digest = push(site.upstream.url, "team/app", "1.0", simple())
    site.sign(digest, SIGNATURE, OTHER)
    site.line.on("GET", "signature-2", response)
    report = site.sync()
    assert report["summary"]["copied"] == 1
    assert site.error(report).startswith(
        f"its signatures are not all here: signature store {site.line.address}"
    )
    assert said in site.error(report)
    assert site.kept_of(digest) == {}
    again = site.sync()
    assert site.error(again) == ""
    assert site.kept_of(digest) == {"signature-1": SIGNATURE, "signature-2": OTHER}


def test_a_store_that_is_down_is_tried_once_for_all_images_and_fails_none(site: Site) -> None:
    for name in ("one", "two", "three"):
        push(site.upstream.url, f"team/{name}", "1.0", simple(name))
    with FaultProxy("http://127.0.0.1:1") as line:
        line.on(None, "", answer(503), times=None)
        report = site.sync(
            *({"name": f"team/{name}", "tags": ["1.0"]} for name in ("one", "two", "three")),
            stores={site.upstream.address: line.url},
        )
        assert report["summary"]["copied"] == 3
        # So many threads may have been under way.
        assert len(line.seen) <= 3
    assert all("answered 503" in image["error"] for image in report["images"].values())


def test_a_store_without_end_is_read_as_far_as_engines_read(site: Site) -> None:
    digest = push(site.upstream.url, "team/app", "1.0", simple())
    site.line.on("GET", "signature-", answer(200, SIGNATURE), times=None)
    site.sync()
    assert len(site.kept_of(digest)) == 128


def test_no_login_is_shown_to_a_store(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    auth = tmp_path / "auth.json"
    auth.write_text(json.dumps({"auths": {site.line.address: {"auth": "bWU6c2VjcmV0"}}}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(auth))
    digest = push(site.upstream.url, "team/app", "1.0", simple())
    site.sign(digest, SIGNATURE)
    site.line.on(None, "", answer(401, headers={"WWW-Authenticate": 'Basic realm="store"'}), times=None)
    report = site.sync()
    assert "refused anonymous access" in site.error(report)
    assert not any(request.header("Authorization") for request in site.line.requests())


def test_a_full_or_forbidden_directory_fails_no_image(site: Site) -> None:
    digest = push(site.upstream.url, "team/app", "1.0", simple())
    site.sign(digest, SIGNATURE)
    site.kept.parent.mkdir()
    site.kept.write_text("a file is in the way")
    report = site.sync()
    assert report["summary"]["copied"] == 1
    assert "cannot be written: " in site.error(report)


def test_no_tag_is_seen_before_its_signatures(site: Site) -> None:
    digest = push(site.upstream.url, "team/app", "1.0", simple())
    site.sign(digest, SIGNATURE, OTHER)
    with FaultProxy(site.local.url) as line:
        seen: list[dict[str, bytes]] = []

        def look(request: Any, pass_on: Any) -> Any:
            seen.append(site.kept_of(digest))
            return pass_on(request)

        line.on("PUT", "/manifests/1.0$", look)
        site.local = line  # type: ignore[assignment]
        site.sync()
    assert seen == [{"signature-1": SIGNATURE, "signature-2": OTHER}]


def test_two_tags_of_one_image_ask_once(site: Site) -> None:
    digest = push(site.upstream.url, "team/app", ["1.0", "1.1", "latest"], simple())
    site.sign(digest, SIGNATURE)
    site.sync({"name": "team/app", "tags": ["1.0", "1.1", "latest"]})
    assert len(site.line.seen) == 2


def test_threads_that_publish_one_image_at_the_same_time_write_it_once(site: Site) -> None:
    digest = push(site.upstream.url, "team/app", "1.0", simple())
    site.sign(digest, SIGNATURE, OTHER)
    settings = site.settings()
    lookaside = Lookaside(settings.signatures, Run(settings.transfer))
    failures: list[Any] = []
    threads = [
        threading.Thread(target=lambda: failures.append(lookaside.publish(settings.images[0], digest)))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [None] * 16
    assert site.kept_of(digest) == {"signature-1": SIGNATURE, "signature-2": OTHER}
    assert len(site.line.seen) == 3


def test_check_and_plan_ask_no_store_and_write_nothing(site: Site) -> None:
    digest = push(site.upstream.url, "team/app", "1.0", simple())
    site.sign(digest, SIGNATURE)
    mirror.check(site.settings(), directory=str(site.cache))
    mirror.plan(site.settings(), directory=str(site.cache))
    assert site.line.seen == []
    assert not site.kept.exists()


def test_others_can_read_what_is_kept_whatever_the_umask(site: Site) -> None:
    digest = push(site.upstream.url, "team/app", "1.0", simple())
    site.sign(digest, SIGNATURE)
    before = os.umask(0o077)
    try:
        site.sync()
    finally:
        os.umask(before)
    directory = site.kept / f"team/app@{digest.replace(':', '=')}"
    assert (directory / "signature-1").stat().st_mode & 0o777 == 0o644
    assert all(path.stat().st_mode & 0o777 == 0o755 for path in (directory, directory.parent, site.kept))


def test_a_far_store_is_asked_by_many_at_a_time(site: Site) -> None:
    tags = [str(number) for number in range(60)]
    for tag in tags:
        push(site.upstream.url, "team/app", tag, simple(tag))
    site.line.on(None, "", delay(0.05), times=None)
    site.sync({"name": "team/app", "tags": tags})
    assert len(site.line.seen) == 60
    assert site.line.most_at_once > 8
