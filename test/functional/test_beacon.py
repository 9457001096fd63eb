"""The beacon through Salt's own loader, on snapshots as runs leave them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from support.salt_minion import Minion

HOUR = 3600.0
PLAIN = [{"max_age": "2h"}]


class Watch:
    """A minion's beacons, in the loader that its main loop uses; nothing was told yet."""

    def __init__(self, caller: Any) -> None:
        self.caller = caller
        self.directory = Path(caller.opts["cachedir"], "registry_sync")
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()
        self.start()

    def start(self) -> None:
        """Load it anew, as a refresh of the pillar or a start of the minion does."""
        import salt.beacons

        caller = self.caller.sminion
        self.beacons = salt.beacons.Beacon(caller.opts, caller.functions)

    def leave(self, *, code: int, lag: float | None = None, function: str = "check", error: str = "") -> None:
        """Leave the snapshot of a run that has just ended, with a tag that has lagged for so many seconds."""
        now = time.time()
        entry = {"status": "stale", "since": now - (lag or 0), "cause": "", "error": "", "upstream": ""}
        behind = {} if lag is None else {"a/b:1": entry}
        known = {"at": now, "function": function, "code": code, "behind": behind, "error": error}
        (self.directory / "last.json").write_text(json.dumps(known))

    def look(self, *config: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """Tag and data of the events of one turn of the main loop."""
        events = self.beacons.process({"registry_sync": list(config or PLAIN)}, {})
        return [(event["tag"], event["data"]) for event in events]

    def told(self) -> list[str]:
        """The last words of the tags."""
        return [tag.rpartition("/")[2] for tag, _ in self.look()]


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Any:
    """Return a minion that has the formula."""
    caller = Minion(tmp_path_factory.mktemp("minion"), checkout).caller()
    assert "beacons.registry_sync" in caller.cmd("saltutil.sync_all")["beacons"]
    return caller


@pytest.fixture
def watch(caller: Any) -> Watch:
    return Watch(caller)


def test_each_change_is_told_once(watch: Watch) -> None:
    words = []
    for state in ({"code": 0}, {"code": 2, "lag": 3 * HOUR}, {"code": 1, "error": "no line"}, {"code": 0}):
        watch.leave(**state)
        words += [watch.told(), watch.told()]
    assert words == [[], [], ["behind"], [], ["failed"], [], ["current"], []]


def test_an_event_says_what_was_and_what_is(watch: Watch) -> None:
    watch.leave(code=2, lag=3 * HOUR)
    ((tag, data),) = watch.look()
    assert tag == "salt/beacon/minion/registry_sync/behind"
    assert (data["status"], data["was"], data["behind"], data["id"]) == ("behind", "current", 1, "minion")
    assert data["since"] == pytest.approx(time.time() - 3 * HOUR, abs=60)
    watch.leave(code=1, error="the registry is down")
    ((_, data),) = watch.look()
    assert (data["was"], data["error"]) == ("behind", "the registry is down")


def test_a_young_lag_is_not_told_and_ends_nothing(watch: Watch) -> None:
    watch.leave(code=2, lag=HOUR)
    assert watch.told() == []
    watch.leave(code=1)
    assert watch.told() == ["failed"]
    watch.leave(code=2, lag=HOUR)
    assert watch.told() == []
    watch.leave(code=0)
    assert watch.told() == ["current"]


def test_a_lag_becomes_an_event_without_another_run(watch: Watch) -> None:
    watch.leave(code=2, lag=1)
    assert watch.look({"max_age": "2h"}) == []
    assert watch.look({"max_age": 0}) != []


def test_nothing_is_told_before_the_first_run(watch: Watch) -> None:
    assert watch.told() == []
    watch.leave(code=1, function="")
    assert watch.told() == []


def test_a_minion_that_starts_again_tells_nothing_again(watch: Watch) -> None:
    watch.leave(code=1)
    assert watch.told() == ["failed"]
    watch.start()
    assert watch.told() == []
    watch.leave(code=0)
    assert watch.told() == ["current"]


def test_a_word_that_cannot_be_written_is_not_told_for_ever(watch: Watch) -> None:
    (watch.directory / "beacon").mkdir()
    watch.leave(code=1)
    assert watch.told() == ["failed"]
    assert watch.told() == []
    watch.leave(code=0)
    assert watch.told() == ["current"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ([{"max_age": "2 weeks"}], "max_age"),
        ([{"max_age": -5}], "max_age"),
        ([{"max_aeg": "2h"}], "max_aeg"),
        ({"max_age": "2h"}, "must be a list"),
        (["max_age"], "must be a list"),
    ],
)
def test_a_mistake_in_its_configuration_is_told(watch: Watch, config: Any, said: str) -> None:
    valid, sentence = watch.beacons.beacons["registry_sync.validate"](config)
    assert not valid
    assert said in sentence


def test_what_is_right_is_valid_with_salts_own_keys(watch: Watch) -> None:
    config = [{"max_age": 90}, {"interval": 60}, {"disable_during_state_run": True}, {"enabled": True}]
    assert watch.beacons.beacons["registry_sync.validate"](config)[0] is True
    assert watch.beacons.beacons["registry_sync.validate"]([])[0] is True


def test_it_waits_for_a_state_run_where_it_is_told_to(watch: Watch, tmp_path: Path) -> None:
    patient = ({"max_age": "2h"}, {"disable_during_state_run": True})
    watch.leave(code=1)
    opts = watch.caller.sminion.opts
    # Salt knows what runs by notes of processes that are alive.
    running = Path(opts["cachedir"], "proc")
    running.mkdir(exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "salt-minion"]) as process:
        import salt.payload

        job = {"fun": "state.apply", "jid": "20260101000000000000", "pid": process.pid, "tgt": "", "arg": []}
        (running / job["jid"]).write_bytes(salt.payload.dumps(job))
        # For a moment after its start a process has no arguments.
        while b"salt-minion" not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
            time.sleep(0.01)
        assert watch.look(*patient) == []
        process.kill()
    assert [data["status"] for _, data in watch.look(*patient)] == ["failed"]


def test_a_look_takes_less_than_five_milliseconds(watch: Watch) -> None:
    watch.leave(code=0)
    watch.look()
    took = []
    for _ in range(50):
        began = time.perf_counter()
        watch.look()
        took.append(time.perf_counter() - began)
    # Of a busy machine the quickest look tells.
    assert min(took) < 0.005
