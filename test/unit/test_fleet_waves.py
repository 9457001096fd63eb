"""A rollout in waves, its minions played by a table: who is asked what, in which order, and what ends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

import _registry_fleet_batches as batches
import _registry_fleet_returns as returns
from _registry_fleet_config import Amount, FleetError, Wave
from _registry_fleet_returns import Answer, Outcome
from _registry_fleet_waves import Order, Publish, Rollout, Sites, Tell, Wait
from _registry_sync_snapshot import no_snapshot

TEN = tuple(f"site-{number:02}" for number in range(10))
FAILURE = {"cause": "network", "error": "upstream: no answer"}


def report(status: str = "copied", *, up: bool = True, size: int = 100) -> dict[str, Any]:
    failed = status in ("failed", "unreadable")
    image = {"status": status, **(FAILURE if failed else {"cause": "", "error": ""})}
    summary = {status: 1, "bytes": 0 if failed or status == "current" else size}
    return {"registry": {"up": up, "error": ""}, "images": {"a/b:1": image}, "summary": summary}


def snapshot(at: float = 1.0, **keys: Any) -> dict[str, Any]:
    usual = {"at": at, "up": True, "function": "sync", "code": 0, "error": ""}
    return {**no_snapshot(), **usual, **keys}


Play = Callable[[str, str, int], Any]
"""Function, site and how often that was asked before → what it returns; None = it is silent."""


class Stage:
    """Drive a rollout, and keep what was published, waited for and told."""

    def __init__(
        self,
        *waves: tuple[Wave, tuple[str, ...]],
        play: Play | None = None,
        parents: Mapping[str, str] | None = None,
        snapshots: Mapping[str, Any] | None = None,
        stop_after: int = 1_000_000,
        **order: Any,
    ) -> None:
        sites = {wave.name: members for wave, members in waves}
        ids = [site for members in sites.values() for site in members]
        words = {site: snapshot() for site in ids} | dict(snapshots or {})
        outcomes = {site: returns.of_snapshot(one) for site, one in words.items()}
        self.known = Sites(words, dict(parents or {}), outcomes)
        self.published: list[tuple[str, tuple[str, ...]]] = []
        self.waited: list[float] = []
        self.told: list[tuple[str, str]] = []
        self._play = play or (lambda function, site, count: report())
        self._stop_after = stop_after
        self._asked: dict[tuple[str, str], int] = {}
        self._now = 0.0
        self.rollout = Rollout(
            [wave for wave, _ in waves],
            sites,
            self.known,
            Order(**order),
            clock=lambda: self._now,
            stopping=lambda: "stopped" if len(self.published) >= self._stop_after else "",
        )
        self._drive()
        self.waves = self.rollout.report()

    def _drive(self) -> None:
        steps = self.rollout.steps()
        answers: Any = None
        while True:
            try:
                action = steps.send(answers)
            except StopIteration:
                return
            answers = self._done(action)

    def _done(self, action: Any) -> Any:
        if isinstance(action, Wait):
            self.waited.append(action.seconds)
            self._now += action.seconds
        elif isinstance(action, Tell):
            self.told.append((action.wave, action.progress["status"]))
        elif isinstance(action, Publish):
            self.published.append((action.function, action.sites))
            said = {site: self._said(action.function, site) for site in action.sites}
            return {site: answer for site, answer in said.items() if answer}
        return None

    def _said(self, function: str, site: str) -> Answer | None:
        count = self._asked.get((function, site), 0)
        self._asked[function, site] = count + 1
        value = self._play(function, site, count)
        return value if value is None or isinstance(value, Answer) else Answer(value)

    def asked(self, function: str = returns.SYNC) -> list[tuple[str, ...]]:
        return [sites for name, sites in self.published if name == function]

    def statuses(self) -> list[str]:
        return [wave["status"] for wave in self.waves.values()]


def silent(*sites: str, times: int = 1_000_000) -> Play:
    """Some sites do not answer for a while, whatever they are asked."""
    return lambda function, site, count: None if site in sites and count < times else report()


def failing(*sites: str, function: str = returns.SYNC) -> Play:
    def play(asked: str, site: str, count: int) -> Any:
        return report("failed" if site in sites and asked == function else "copied")

    return play


def wave(name: str = "sites", **keys: Any) -> Wave:
    return Wave(name, f"{name}-*", **keys)


def test_waves_follow_each_other_and_each_is_one_publish() -> None:
    stage = Stage((wave("region"), ("r",)), (wave("sites"), TEN))
    assert stage.published == [(returns.SYNC, ("r",)), (returns.SYNC, TEN)]
    assert stage.statuses() == ["done", "done"]
    assert stage.told == [("region", "running"), ("region", "done"), ("sites", "running"), ("sites", "done")]
    assert stage.waves["sites"] == {
        "status": "done",
        "sites": 10,
        "copied": 10,
        "bytes": 1000,
        "failed": 0,
        "unreachable": 0,
        "seconds": 0.0,
        "error": "",
    }


@pytest.mark.parametrize(
    ("batch", "sizes"),
    [(Amount(4), [4, 4, 2]), (Amount(30, True), [3, 3, 3, 1]), (Amount(1, True), [1] * 10)],
)
def test_a_batch_is_a_number_or_a_percentage_and_never_nobody(batch: Amount, sizes: list[int]) -> None:
    stage = Stage((wave(batch=batch), TEN))
    assert [len(sites) for sites in stage.asked()] == sizes
    assert sorted(site for sites in stage.asked() for site in sites) == list(TEN)


def test_a_failure_ends_the_rollout_before_the_next_batch_and_the_next_wave() -> None:
    stage = Stage((wave(batch=Amount(2)), TEN), (wave("edge"), ("e",)), play=failing("site-01"))
    assert stage.asked() == [("site-00", "site-01")]
    assert stage.statuses() == ["stopped", "not started"]
    assert stage.waves["sites"]["error"] == "1 of 10 failed: site-01 (network: upstream: no answer)"
    assert stage.waves["edge"]["sites"] == 1


@pytest.mark.parametrize(
    ("allowed", "status"), [(Amount(1), "stopped"), (Amount(2), "done"), (Amount(20, True), "done")]
)
def test_as_many_may_fail_as_are_allowed(allowed: Amount, status: str) -> None:
    stage = Stage((wave(allow_fail=allowed), TEN), play=failing("site-01", "site-07"))
    assert stage.statuses() == [status]
    assert stage.waves["sites"]["failed"] == 2


def test_silent_sites_are_asked_again_at_the_end_of_their_wave() -> None:
    stage = Stage((wave(batch=Amount(5)), TEN), play=silent("site-01", times=1))
    assert stage.asked() == [TEN[:5], TEN[5:], ("site-01",)]
    assert stage.statuses() == ["done"]


@pytest.mark.parametrize(
    ("allowed", "status"), [(Amount(0), "stopped"), (Amount(1), "stopped"), (Amount(20, True), "done")]
)
def test_who_stays_silent_is_counted_apart_from_who_fails(allowed: Amount, status: str) -> None:
    play = silent("site-01", "site-02")
    stage = Stage((wave(allow_unreachable=allowed), TEN), (wave("edge"), ("e",)), play=play, retries=2)
    assert stage.asked()[:3] == [TEN, ("site-01", "site-02"), ("site-01", "site-02")]
    assert stage.statuses() == [status, "done" if status == "done" else "not started"]
    assert (stage.waves["sites"]["failed"], stage.waves["sites"]["unreachable"]) == (0, 2)
    if status == "stopped":
        assert stage.waves["sites"]["error"].startswith("2 of 10 silent")


def test_a_lost_return_is_asked_for_before_the_site_is_called_silent() -> None:
    def play(function: str, site: str, count: int) -> Any:
        if function == returns.SYNC:
            return None if site == "site-03" else report()
        return snapshot(2.0, moved=700, counts={"copied": 3})

    stage = Stage((wave(), TEN), play=play)
    assert stage.published == [(returns.SYNC, TEN), (returns.LAST, ("site-03",))]
    assert stage.statuses() == ["done"]
    assert (stage.waves["sites"]["copied"], stage.waves["sites"]["bytes"]) == (12, 1600)


def test_a_return_that_was_lost_and_was_a_failure_is_one() -> None:
    def play(function: str, site: str, count: int) -> Any:
        return None if function == returns.SYNC else snapshot(2.0, code=1, **FAILURE)

    stage = Stage((wave(), ("a",)), play=play)
    assert stage.waves["sites"]["error"] == "1 of 1 failed: a (network: upstream: no answer)"


def test_a_site_that_still_runs_is_waited_for() -> None:
    def play(function: str, site: str, count: int) -> Any:
        return None if function == returns.SYNC else snapshot(1.0 if count < 3 else 2.0, running=count < 3)

    stage = Stage((wave(), ("a",)), play=play)
    assert stage.waited == [10.0, 10.0, 10.0]
    assert (stage.statuses(), stage.asked()) == (["done"], [("a",)])


BUSY = Answer("ERROR: another sync into m:5000 runs (pid 7); nothing was done", 1)


def test_a_site_that_a_killed_rollout_has_left_busy_is_waited_for_and_then_asked_again() -> None:
    def play(function: str, site: str, count: int) -> Any:
        if site == "b":
            return report()
        if function == returns.SYNC:
            return BUSY if count == 0 else report("current", size=0)
        return snapshot(running=count < 2)

    stage = Stage((wave(), ("a", "b")), play=play)
    assert stage.waited == [10.0, 10.0]
    assert stage.asked() == [("a", "b"), ("a",)]
    assert (stage.statuses(), stage.rollout.moves()) == (["done"], {"b": {"tags": 1, "bytes": 100}})


def test_a_site_that_stays_busy_is_a_failure() -> None:
    def play(function: str, site: str, count: int) -> Any:
        return BUSY if function == returns.SYNC else snapshot(running=count == 0)

    stage = Stage((wave(), ("a",)), play=play)
    assert stage.asked() == [("a",), ("a",)]
    assert stage.waves["sites"]["error"].startswith("1 of 1 failed: a (ERROR: another sync into m:5000")


def test_a_refusal_that_no_run_explains_is_a_failure_with_its_sentence() -> None:
    def play(function: str, site: str, count: int) -> Any:
        return (
            Answer("ERROR: docker_registry:images: is empty", 1) if function == returns.SYNC else snapshot()
        )

    stage = Stage((wave(), ("a",)), play=play)
    assert stage.waves["sites"]["error"] == "1 of 1 failed: a (ERROR: docker_registry:images: is empty)"


def test_a_job_that_never_ran_is_published_again() -> None:
    def play(function: str, site: str, count: int) -> Any:
        return snapshot() if function == returns.LAST else None if count == 0 else report()

    stage = Stage((wave(), ("a",)), play=play)
    assert stage.asked() == [("a",), ("a",)]
    assert stage.statuses() == ["done"]


def test_an_old_formula_is_told_in_a_sentence() -> None:
    answer = Answer("'registry_sync.sync' is not available.", 1)
    stage = Stage((wave(), ("a",)), play=lambda function, site, count: answer)
    assert stage.waves["sites"]["error"] == (
        "1 of 1 failed: a (registry_sync.sync is not there; run saltutil.sync_all first)"
    )


DAMAGED_REPORTS = [
    report() | {"summary": {}},
    report() | {"summary": None},
    report() | {"summary": {"bytes": "many"}},
    report() | {"summary": {"bytes": 1, "stale": float("nan")}},
    report() | {"images": []},
    report() | {"images": {"a/b:1": {}}},
    report() | {"images": {"a/b:1": "current"}},
    report() | {"images": {"a/b:1": {"status": "failed"}}},
    report() | {"registry": {}},
    report() | {"registry": None},
]


@pytest.mark.parametrize("function", [returns.SYNC, returns.CHECK])
@pytest.mark.parametrize("damaged", DAMAGED_REPORTS)
def test_a_report_that_cannot_be_read_is_a_failure_of_its_site_alone(function: str, damaged: Any) -> None:
    def play(asked: str, site: str, count: int) -> Any:
        return damaged if (asked, site) == (function, "site-01") else report()

    stage = Stage((wave(soak=1), TEN), play=play)
    assert stage.waves["sites"]["error"] == "1 of 10 failed: site-01 (its answer cannot be read)"
    assert [outcome.status for outcome in stage.known.outcomes.values()].count("current") == 9


@pytest.mark.parametrize("damaged", [{"behind": {"a/b:1": {}}}, {"counts": None}, {"running": "yes"}])
@pytest.mark.parametrize("lost", [None, BUSY])
def test_a_last_word_that_cannot_be_read_is_not_waited_for(lost: Any, damaged: Any) -> None:
    def play(function: str, site: str, count: int) -> Any:
        return lost if function == returns.SYNC else snapshot(2.0) | damaged

    stage = Stage((wave(), ("a",)), play=play)
    assert (stage.waited, stage.statuses()) == ([], ["stopped"])


PARENTS = {"b": "a", "c": "b", "d": "a"}


def test_children_wait_for_their_parents_within_a_wave() -> None:
    stage = Stage((wave(), ("a", "b", "c", "d", "z")), parents=PARENTS)
    assert stage.asked() == [("a", "z"), ("b", "d"), ("c",)]


def test_children_of_a_parent_that_fails_are_not_published_to() -> None:
    stage = Stage(
        (wave("region", allow_fail=Amount(1)), ("a", "z")),
        (wave("edge"), ("b", "y")),
        parents={"b": "a", "y": "z"},
        play=failing("a"),
    )
    assert stage.asked() == [("a", "z"), ("y",)]
    assert stage.waves["edge"]["error"] == (
        "1 of 2 failed: b (nothing was done: a, which it mirrors from, is failed)"
    )


def test_children_of_a_parent_that_stays_silent_are_not_published_to() -> None:
    stage = Stage((wave(), ("a", "b")), parents={"b": "a"}, play=silent("a"), retries=1)
    assert stage.asked() == [("a",), ("a",)]
    assert (stage.waves["sites"]["failed"], stage.waves["sites"]["unreachable"]) == (1, 1)


def test_force_does_not_wait_for_parents() -> None:
    stage = Stage((wave(), ("a", "b", "c", "d")), parents=PARENTS, force=True)
    assert [set(sites) for sites in stage.asked()] == [{"a", "b", "c", "d"}]


@pytest.mark.parametrize(("code", "asked"), [(0, [("b",)]), (2, [])])
def test_a_parent_outside_of_the_rollout_counts_by_its_last_word(code: int, asked: list[Any]) -> None:
    snapshots = {"a": snapshot(code=code)}
    stage = Stage((wave(), ("b",)), parents={"b": "a"}, snapshots=snapshots)
    assert stage.asked() == asked


def test_a_parent_that_is_silent_before_the_rollout_counts_by_its_last_word() -> None:
    known = Sites({"a": snapshot(), "b": snapshot()}, {"b": "a"}, {"a": returns.SILENT})
    assert known.obstacle("b") == ""
    known.touched.add("a")
    assert known.obstacle("b") == "a, which it mirrors from, is unreachable"


def test_per_parent_caps_how_many_of_a_batch_pull_from_one_registry() -> None:
    of = {site: snapshot(upstreams=["east:5000" if site < "site-05" else "west:5000"]) for site in TEN}
    stage = Stage((wave(per_parent=2, batch=Amount(5)), TEN), snapshots=of)
    assert stage.asked()[0] == ("site-00", "site-01", "site-05", "site-06")
    assert [len(sites) for sites in stage.asked()] == [4, 4, 2]


def test_a_canary_soaks_is_checked_and_pulled_from_before_others_start() -> None:
    def play(function: str, site: str, count: int) -> Any:
        if function == returns.PULL:
            return {"image": "a/b:1", "digest": "", "seconds": 1, "error": ""}
        return report("current" if function == returns.CHECK else "copied")

    stage = Stage((wave("canary", soak=600, pull="a/b:1"), ("c",)), (wave(), ("s",)), play=play)
    assert [function for function, _ in stage.published] == [
        returns.SYNC,
        returns.CHECK,
        returns.PULL,
        returns.SYNC,
    ]
    assert stage.waited == [600]
    assert stage.statuses() == ["done", "done"]
    assert stage.waves["canary"]["seconds"] == 600


@pytest.mark.parametrize(
    ("function", "value", "sentence"),
    [
        (returns.CHECK, report("stale"), "it is behind after 10 min"),
        (returns.CHECK, report("unreadable"), "network: upstream: no answer"),
        (returns.PULL, {"error": "denied"}, "a pull fails: denied"),
        (returns.PULL, Answer("ERROR: docker's SDK is missing", 1), "ERROR: docker's SDK is missing"),
        (returns.CHECK, None, "its minion does not answer"),
    ],
)
def test_a_canary_that_does_not_hold_ends_the_rollout(function: str, value: Any, sentence: str) -> None:
    def play(asked: str, site: str, count: int) -> Any:
        usual = {"error": ""} if asked == returns.PULL else report("current")
        return value if asked == function else usual

    stage = Stage((wave("canary", soak=600, pull="a/b:1"), ("c",)), (wave(), ("s",)), play=play)
    assert stage.statuses() == ["stopped", "not started"]
    assert stage.waves["canary"]["error"].endswith(f"c ({sentence})")
    assert ("s",) not in stage.asked()


def test_stop_publishes_no_further_batch_and_waits_for_the_one_that_runs() -> None:
    stage = Stage((wave(batch=Amount(2)), TEN), (wave("edge"), ("e",)), stop_after=2)
    assert stage.asked() == [TEN[:2], TEN[2:4]]
    assert (stage.statuses(), stage.waves["sites"]["error"]) == (["stopped", "not started"], "stopped")


def test_stop_ends_a_soak() -> None:
    stage = Stage((wave(soak=600, pull="a/b:1"), ("c",)), (wave("edge"), ("e",)), stop_after=1)
    assert stage.published == [(returns.SYNC, ("c",))]
    assert stage.statuses() == ["stopped", "not started"]


def test_a_plan_asks_every_wave_in_batches_waits_for_nobody_and_is_ended_by_nobody() -> None:
    def play(function: str, site: str, count: int) -> Any:
        return None if site == "b" else report("failed") if site == "a" else report("missing")

    stage = Stage(
        (wave("canary", soak=600, pull="a/b:1", batch=Amount(1)), ("a", "b")),
        (wave(), ("c",)),
        parents={"b": "a", "c": "a"},
        play=play,
        function=returns.PLAN,
        dry=True,
        retries=0,
    )
    assert stage.published == [(returns.PLAN, ("a",)), (returns.PLAN, ("b",)), (returns.PLAN, ("c",))]
    assert stage.waited == []
    assert stage.statuses() == ["not started", "not started"]
    assert (stage.waves["sites"]["copied"], stage.waves["sites"]["bytes"]) == (1, 100)
    assert stage.waves["canary"]["error"].startswith("1 of 2 silent: b")
    assert stage.waves["sites"]["error"] == ""
    assert stage.rollout.moves() == {"c": {"tags": 1, "bytes": 100}}


@pytest.mark.parametrize(
    ("play", "dry", "code"),
    [
        (silent(), False, 0),
        (silent("site-01"), False, 2),
        (failing("site-01", "site-02"), False, 1),
        (lambda *of_a_question: report("current", size=0), True, 0),
        (lambda *of_a_question: report("missing"), True, 2),
        (lambda *of_a_question: report("unreadable"), True, 1),
    ],
)
def test_the_return_code_tells_done_from_not_quite_and_from_ended(play: Play, dry: bool, code: int) -> None:
    function = returns.PLAN if dry else returns.SYNC
    one = wave(allow_unreachable=Amount(1), allow_fail=Amount(1))
    assert Stage((one, TEN), play=play, dry=dry, function=function).rollout.code() == code


def test_a_site_that_has_run_and_lags_ends_the_rollout() -> None:
    stage = Stage((wave(), ("a",)), (wave("edge"), ("e",)), play=lambda *of_a_question: report("stale"))
    assert stage.statuses() == ["stopped", "not started"]
    assert stage.waves["sites"]["error"] == "1 of 1 behind: a"


def test_states_that_were_applied_are_asked_what_they_moved() -> None:
    def play(function: str, site: str, count: int) -> Any:
        if function == returns.LAST:
            return snapshot(2.0, moved=900, counts={"copied": 9})
        return {"pkg_|-a_|-a_|-installed": {"result": site != "b", "__id__": "Is there", "comment": "no"}}

    stage = Stage((wave(allow_fail=Amount(1)), ("a", "b")), play=play, function=returns.APPLY)
    assert stage.published == [(returns.APPLY, ("a", "b")), (returns.LAST, ("a",))]
    assert stage.known.outcomes == {
        "a": Outcome("current", 9, 900),
        "b": Outcome("failed", error="Is there: no"),
    }


def test_a_site_belongs_to_the_first_wave_that_names_it() -> None:
    waves = [wave("canary"), wave("sites"), wave("spare", optional=True)]
    named = {"canary": ["s1"], "sites": ["s1", "s2", "stranger"], "spare": []}
    assert batches.sites_of(waves, named, ["s1", "s2", "s3"]) == {
        "canary": ["s1"],
        "sites": ["s2"],
        "spare": [],
    }


@pytest.mark.parametrize(
    ("named", "why"),
    [([], "no minion matches"), (["s1"], "the 1 minions it names are no sites, or in earlier waves")],
)
def test_a_wave_of_nobody_is_an_error(named: list[str], why: str) -> None:
    waves = [wave("canary"), wave("sites")]
    with pytest.raises(FleetError, match=f"^registry_fleet:waves: sites .* is of nobody: {why}"):
        batches.sites_of(waves, {"canary": ["s1"], "sites": named}, ["s1"])
