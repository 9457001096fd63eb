"""The page that a minion writes, through Salt's own loader and with real registries."""

from __future__ import annotations

import json
import logging
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from support.images import Layer, docker_image
from support.pillar import pillar_of
from support.registries import Distribution
from support.registry_content import push
from support.salt_minion import Minion

pytestmark = pytest.mark.needs("docker-distribution")

IMAGES = [{"name": "team/app", "tags": ["1", "2"]}, {"name": "team/web", "tags": ["1"]}]
BASE = Layer("base", 30_000)


class Site:
    """A masterless minion between two registries, in this process."""

    def __init__(self, upstream: Distribution, local: Distribution, minion: Minion) -> None:
        self.upstream, self.local, self.minion = upstream, local, minion
        self.file = minion.root / "mirror.html"
        self.set_pillar()
        self._caller.cmd("saltutil.sync_all")
        self.set_pillar()

    def set_pillar(self, **others: Any) -> None:
        keys = {"transfer": {"retries": 0}, "page": str(self.file)} | others
        pillar = pillar_of(self.upstream, self.local, IMAGES)
        self.minion.set_pillar({"docker_registry": pillar | keys})
        self._caller = self.minion.caller()

    def call(self, function: str, **keywords: Any) -> Any:
        return self._caller.cmd(f"registry_sync.{function}", **keywords)

    def page(self) -> str:
        return self.file.read_text("utf-8")


@pytest.fixture
def site(
    upstream: Distribution, local: Distribution, make_minion: Callable[..., Minion], tmp_path: Path
) -> Site:
    for name, tag in (("team/app", "1"), ("team/app", "2"), ("team/web", "1")):
        push(upstream.url, name, tag, docker_image([BASE, Layer(f"{name} {tag}", 20_000)]))
    return Site(upstream, local, make_minion())


def test_each_check_and_sync_writes_the_page(site: Site) -> None:
    site.call("check")
    assert "3 of 3 tags are behind upstream." in site.page()
    assert site.page().count(">missing<td") == 6
    site.call("sync")
    assert "All 3 tags are in step with upstream." in site.page()
    assert "synced <time" in site.page()
    assert "2 runs: 1 in step, 1 behind." in site.page()
    assert stat.S_IMODE(site.file.stat().st_mode) == 0o644
    assert [path.name for path in site.minion.root.glob("*mirror.html*")] == ["mirror.html"]


def test_a_run_of_a_plan_or_of_a_test_writes_nothing(site: Site) -> None:
    site.call("plan")
    with (site.minion.config_dir / "minion").open("a") as config:
        config.write("test: true\n")
    site.set_pillar()
    site.call("check")
    assert site.call("page") == {"path": str(site.file), "bytes": 0}
    assert not site.file.exists()


def test_sizes_count_a_shared_layer_once_and_ask_for_no_manifest_twice(site: Site) -> None:
    site.call("sync")
    # What others have pushed here, no sync has read.
    (site.minion.root / "cache/registry_sync/digests.json").unlink()
    site.call("check")
    row = r"<th scope=row>team/(\w+)<td class=n data-t=tags>(\d)<td class=n data-v=(\d+)>"
    (app, app_tags, app_size), (web, web_tags, web_size) = re.findall(row, site.page())
    assert (app, app_tags, web, web_tags) == ("app", "2", "web", "1")
    assert 70_000 < int(app_size) < 85_000
    assert 50_000 < int(web_size) < 60_000
    whole = re.search(r"([0-9.]+) kB in 2 repositories, each layer counted once", site.page())
    assert whole is not None
    shared = int(app_size) + int(web_size) - 1000 * float(whole[1])
    assert 29_000 < shared < 34_000
    position = site.local.log_position()
    site.call("check")
    assert [
        line for line in site.local.access_log(position) if '"GET ' in line and "/manifests/" in line
    ] == []


def test_a_registry_that_is_down_is_told_on_the_page(site: Site) -> None:
    site.call("sync")
    site.local.stop()
    site.call("check")
    assert "The registry does not answer." in site.page()
    assert 'class="m down">Down' in site.page()


def test_the_page_is_had_at_another_place_and_without_asking_anybody(site: Site) -> None:
    site.call("sync")
    site.upstream.stop()
    elsewhere = site.minion.root / "else.html"
    answer = site.call("page", path=str(elsewhere), refresh=False)
    assert answer == {"path": str(elsewhere), "bytes": elsewhere.stat().st_size}
    assert "All 3 tags are in step with upstream." in elsewhere.read_text("utf-8")
    site.call("page", path=str(elsewhere))
    assert "3 of 3 tags could not be read or copied." in elsewhere.read_text("utf-8")


def test_a_page_that_cannot_be_written_is_a_warning_and_the_run_goes_on(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.set_pillar(page="/nowhere/at/all/mirror.html")
    with caplog.at_level(logging.WARNING):
        report = site.call("sync")
    assert report["summary"]["copied"] == 3
    assert "docker_registry:page: not written: [Errno 2]" in caplog.text
    with pytest.raises(CommandExecutionError, match=r"^/nowhere/at/all/mirror\.html: not written"):
        site.call("page")


def test_a_page_that_cannot_be_made_is_a_warning_and_the_run_goes_on(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.call("check")
    damaged = dict.fromkeys(("at", "function", "code", "seconds", "moved", "counts", "cause", "error"), "")
    (site.minion.root / "cache/registry_sync/history.jsonl").write_text(json.dumps(damaged) + "\n")
    with caplog.at_level(logging.WARNING):
        report = site.call("sync")
    assert report["summary"]["copied"] == 3
    assert "docker_registry:page: not written: " in caplog.text


def test_a_link_that_leads_elsewhere_is_not_followed(site: Site, tmp_path: Path) -> None:
    victim = tmp_path / "shadow"
    victim.write_text("secret")
    site.file.symlink_to(victim)
    site.call("check")
    assert victim.read_text() == "secret"
    with pytest.raises(CommandExecutionError, match=r"is a link to .*shadow, which is not in its directory"):
        site.call("page")


def test_a_page_without_a_path_says_what_to_give(site: Site) -> None:
    site.set_pillar(page="")
    with pytest.raises(CommandExecutionError, match="give the absolute path of a file"):
        site.call("page")


def test_logins_are_not_on_the_page(site: Site) -> None:
    upstream = {"host": site.upstream.host, "port": site.upstream.port, "tls": False}
    login = {"username": "site-a", "password": "not-this-one", "proxy": "http://me:nor-this@127.0.0.1:9"}
    site.set_pillar(upstream={**upstream, **login})
    site.call("check")
    assert "not-this-one" not in site.page()
    assert "nor-this" not in site.page()


def test_the_last_verification_stands_on_the_page(site: Site) -> None:
    site.set_pillar(registry={"storage": str(site.local.data)})
    site.call("sync")
    assert "<dt>Verified" not in site.page()
    site.call("verify")
    site.call("check")
    verified = re.search(r"<dt>Verified<dd>(.*?)<dt>", site.page())
    assert verified is not None
    assert re.search(r"current\">whole</span> <time .*, every byte: 3 whole$", verified[1])
