"""What a site remembers of its last runs, through Salt's own loader."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from support.images import Image, Layer, docker_image
from support.pillar import pillar_of
from support.registries import Distribution
from support.registry_content import push
from support.salt_minion import Minion

pytestmark = pytest.mark.needs("docker-distribution")

FIRST = docker_image([Layer("first", 40_000)])
SECOND = docker_image([Layer("second", 40_000)])
SLOW = docker_image([Layer("slow", 4_000_000)])
NAME = "a/b:1"
# What has been loaded of ours once Salt's loader has a function.
LOADED = """
import sys, salt.config, salt.loader
opts = salt.config.minion_config(sys.argv[1])
functions = salt.loader.minion_mods(opts, utils=salt.loader.utils(opts))
functions[sys.argv[2]]
print(*sorted(name for name in sys.modules if name.startswith("_registry_")))
"""


class Site:
    """A masterless minion between two registries, in this process."""

    def __init__(self, upstream: Distribution, local: Distribution, minion: Minion) -> None:
        self.upstream = upstream
        self.local = local
        self.minion = minion
        self.cache = minion.root / "cache" / "registry_sync"
        self.set_pillar()
        assert "modules.registry_sync_actions" in self._caller.cmd("saltutil.sync_all")["modules"]
        self.set_pillar()

    def set_pillar(self, *names: str, **others: Any) -> None:
        """Have the minion mirror tag 1 of a/b, or of others."""
        images = [{"name": name, "tags": ["1"]} for name in names or ("a/b",)]
        quick = {"transfer": {"retries": 0, "patience": 5}}
        pillar = pillar_of(self.upstream, self.local, images, **quick | others)
        self.minion.set_pillar({"docker_registry": pillar})
        self._caller = self.minion.caller()

    def call(self, function: str, *arguments: Any, **keywords: Any) -> Any:
        """What the minion answers."""
        name = function if "." in function else f"registry_sync.{function}"
        return self._caller.cmd(name, *arguments, **keywords)

    def coded(self, function: str, **keywords: Any) -> tuple[int, Any]:
        """The return code, and what the minion answers."""
        context = self._caller.sminion.functions.pack["__context__"]
        context.pop("retcode", None)
        answer = self.call(function, **keywords)
        return context["retcode"], answer

    @property
    def last(self) -> dict[str, Any]:
        """What is known of the last run."""
        known = self.call("last")
        assert isinstance(known, dict)
        return known


@pytest.fixture
def site(upstream: Distribution, local: Distribution, make_minion: Callable[..., Minion]) -> Site:
    release(upstream, FIRST)
    return Site(upstream, local, make_minion())


def release(upstream: Distribution, image: Image) -> None:
    push(upstream.url, "a/b", "1", image)


def short(image: Image) -> str:
    return image.digest.partition(":")[2][:12]


def test_before_the_first_run_nothing_is_known_and_the_code_says_so(site: Site) -> None:
    code, known = site.coded("last")
    assert (code, known["at"], known["function"]) == (1, 0.0, "")
    assert site.call("runs") == []


def test_a_check_and_a_sync_are_remembered_with_their_codes(site: Site) -> None:
    began = time.time()
    site.call("check")
    code, lagging = site.coded("last")
    assert (code, lagging["code"], lagging["function"]) == (2, 2, "check")
    assert began < lagging["at"] < time.time()
    assert (lagging["url"], lagging["up"]) == (site.local.url, True)
    assert lagging["upstreams"] == [f"{site.upstream.host}:{site.upstream.port}"]
    assert lagging["tags"] == {}
    assert lagging["behind"] == {
        NAME: {
            "status": "missing",
            "since": lagging["at"],
            "cause": "",
            "error": "",
            "upstream": short(FIRST),
        }
    }
    site.call("sync")
    code, current = site.coded("last")
    assert (code, current["code"], current["function"]) == (0, 0, "sync")
    assert (current["tags"], current["behind"]) == ({NAME: short(FIRST)}, {})
    assert current["moved"] > 40_000
    assert (current["counts"]["copied"], current["counts"]["tags"]) == (1, 1)
    assert current["list"] == lagging["list"]
    assert current.keys() == lagging.keys()
    assert [(run["function"], run["code"]) for run in site.call("runs")] == [("sync", 0), ("check", 2)]
    assert [run["function"] for run in site.call("runs", limit=1)] == ["sync"]


def test_since_when_a_tag_lags_is_carried_over_until_it_is_here(site: Site) -> None:
    site.call("check")
    first = site.last["behind"][NAME]["since"]
    site.call("check")
    assert site.last["behind"][NAME]["since"] == first
    site.call("sync")
    release(site.upstream, SECOND)
    site.call("check")
    again = site.last["behind"][NAME]
    assert (again["status"], again["upstream"]) == ("stale", short(SECOND))
    assert again["since"] > first
    assert site.last["tags"] == {NAME: short(FIRST)}


def test_the_word_of_a_sync_outlives_the_registries(site: Site) -> None:
    site.call("sync")
    known = site.last
    site.upstream.stop()
    site.local.stop()
    assert site.last == known
    code, refreshed = site.coded("last", refresh=True)
    assert (code, refreshed["up"], refreshed["cause"]) == (1, False, "network")
    assert refreshed["error"]
    assert refreshed["behind"][NAME]["status"] == "unreadable"


def test_a_run_that_a_mistake_ends_leaves_why_and_what_was_known(site: Site) -> None:
    site.call("sync")
    known = site.last
    site.set_pillar(history=-1)
    with pytest.raises(CommandExecutionError, match="docker_registry:history"):
        site.call("sync")
    failed = site.last
    assert (failed["code"], failed["function"]) == (1, "sync")
    assert "docker_registry:history" in failed["error"]
    assert failed["tags"] == known["tags"]
    assert failed["at"] > known["at"]
    assert site.call("runs")[0]["error"] == failed["error"]


def test_a_list_that_is_not_the_pillars_leaves_no_word(site: Site, tmp_path: Path) -> None:
    site.call("check")
    known = site.last
    for option in ("images_file", "environment"):
        with pytest.raises(CommandExecutionError, match=r"none\.yaml"):
            site.call("check", **{option: str(tmp_path / "none.yaml")})
    site.call("plan")
    assert site.last == known


def test_a_state_leaves_its_word_too_and_a_plan_of_it_none(site: Site) -> None:
    site.call("state.single", "registry_sync.synced", "mirror", test=True)
    assert site.last["function"] == ""
    site.call("state.single", "registry_sync.synced", "mirror")
    assert (site.last["function"], site.last["code"]) == ("sync", 0)


def test_the_history_is_cut_as_the_pillar_says(site: Site) -> None:
    site.set_pillar(history=2)
    for _ in range(3):
        site.call("check")
    assert len(site.call("runs")) == 2
    assert len((site.cache / "history.jsonl").read_text().splitlines()) == 2
    site.set_pillar(history=0)
    site.call("check")
    assert site.call("runs") == []
    assert site.last["function"] == "check"


def test_what_cannot_be_written_is_a_warning_and_no_failure(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    (site.cache / "last.json").mkdir(parents=True)
    code, report = site.coded("sync")
    assert (code, report["images"][NAME]["status"]) == (0, "copied")
    assert "what registry_sync.last reads was not written" in caplog.text


def test_it_tells_whether_a_sync_runs(site: Site) -> None:
    push(site.upstream.url, "a/slow", "1", SLOW)
    site.set_pillar("a/slow", transfer={"bandwidth": "1MB"})
    assert site.last["running"] is False
    words = site.minion.words("registry_sync.sync")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as sync:
        deadline = time.monotonic() + 30
        while not site.last["running"]:
            assert sync.poll() is None, "it ended, and was never said to run"
            assert time.monotonic() < deadline
        stdout, _ = sync.communicate(timeout=60)
    assert json.loads(stdout)["local"]["summary"]["copied"] == 1
    assert site.last["running"] is False


@pytest.mark.parametrize(
    ("function", "needless"),
    [
        ("registry_sync.last", "_registry_sync_commands"),
        ("registry_sync.check", "_registry_store_bundle_read"),
    ],
)
def test_a_function_loads_no_more_than_it_needs(site: Site, function: str, needless: str) -> None:
    """A master asks every site of a fleet for ``last`` at once, each in a process that has loaded nothing."""
    words = [sys.executable, "-c", LOADED, str(site.minion.config_dir / "minion"), function]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()
    assert "_registry_show_report" in loaded
    assert needless not in loaded
