"""What an operator asks of a fleet, carried out by a master that can match, publish and tell."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import _registry_fleet_batches as batches
import _registry_fleet_files as files
import _registry_fleet_metrics as metrics
import _registry_fleet_report as reports
import _registry_fleet_returns as returns
from _registry_fleet_config import ROOT, Fleet, FleetError, Wave
from _registry_fleet_returns import Answer
from _registry_fleet_waves import Action, Order, Publish, Rollout, Sites, Tell, Wait
from _registry_show_file import replace_file

log = logging.getLogger(__name__)

SECONDS_TO_END = 10.0
SECONDS_BETWEEN_LOOKS = 0.5
STOPPED = "registry_fleet.stop was called"
Answers = dict[str, Answer]


class Master(Protocol):
    """What is needed of Salt.

    ``directory`` is where a rollout keeps its files, ``owner`` the user that the master runs as, ``jid`` that
    of this run.
    """

    directory: str
    owner: str
    jid: str

    def match(self, target: str) -> list[str]:
        """Ids of the accepted minions that a compound match means."""

    def ask(
        self,
        function: str,
        sites: Iterable[str],
        arguments: Mapping[str, Any] | None = None,
        *,
        began: Callable[[str, tuple[str, ...]], None] | None = None,
        heard: Callable[[str, Answer], None] | None = None,
    ) -> Answers:
        """Run a function on minions; who is not in the answers was silent.

        Raises:
            FleetError: it could not be published.
        """

    def last_words(self, sites: Iterable[str]) -> dict[str, Any]:
        """Snapshots that the mine has of sites."""

    def tell(self, what: str, data: Mapping[str, Any]) -> None:
        """Put an event on the bus."""

    def say(self, line: str) -> None:
        """Tell whoever has typed the command how far it is."""


def matrix(master: Master, fleet: Fleet, *, target: str = "", fresh: bool = False) -> dict[str, Any]:
    """Ask every site once how it stands.

    Args:
        master: who asks.
        fleet: the configuration.
        target: other minions than the configuration's.
        fresh: have them run ``check`` first.
    """
    began = time.monotonic()
    ids = master.match(target or fleet.target)
    answers = master.ask(returns.LAST, ids, {"refresh": True} if fresh else {}) if ids else {}
    named = {wave.name: master.match(wave.target) for wave in fleet.waves}
    optional = [_optional(wave) for wave in fleet.waves]
    sites = batches.sites_of(optional, named, ids)
    report = _joined(master, fleet, ids, answers, sites=sites, waves=_last_waves(master, fleet))
    report["summary"]["seconds"] = round(time.monotonic() - began, 1)
    return report


def _last_waves(master: Master, fleet: Fleet) -> dict[str, Any]:
    """How the last rollout went or, where one runs, goes."""
    found = files.read_state(master.directory)["waves"]
    waves = {wave.name: found[wave.name] for wave in fleet.waves if wave.name in found}
    for progress in waves.values():
        if progress["status"] == reports.RUNNING and not files.is_running(master.directory):
            progress.update(status=reports.STOPPED, error="the rollout was killed")
    return waves


def write_page(path: str, report: Mapping[str, Any], max_age: int, page_of: Callable[..., str] | None) -> int:
    """Write the page of a report, in one step.

    Args:
        path: the file; its directory exists.
        report: of the fleet.
        max_age: seconds after which the page says that it is an old one; 0 = never.
        page_of: makes it; None = there is nobody who can.

    Returns:
        Its bytes.

    Raises:
        FleetError: nobody can make it.
        OSError: the file cannot be written; the old one is as it was.
    """
    if page_of is None:
        raise FleetError("the formula on this master makes no page; run salt-run saltutil.sync_all")
    content = page_of(report, time.time(), max_age).encode()
    replace_file(Path(path), content)
    return len(content)


def keep(fleet: Fleet, report: Mapping[str, Any], page_of: Callable[..., str] | None) -> None:
    """Write the page and the figures of the whole fleet; where that fails, nothing else does.

    Args:
        fleet: the configuration.
        report: of all sites.
        page_of: makes the page; None = there is nobody who can.
    """
    try:
        if fleet.metrics:
            metrics.write_fleet_metrics(fleet.metrics, report, time.time())
        if fleet.page and page_of:
            write_page(fleet.page, report, fleet.max_age, page_of)
    except (OSError, ValueError, OverflowError) as failure:
        log.warning("%s: page and metrics are not all written: %s", ROOT, failure)


def stop(master: Master, *, kill: bool) -> dict[str, Any]:
    """End a rollout, and with ``kill`` what it has published last.

    Returns:
        ``jid`` of the rollout, empty where none runs; ``job`` and ``running``, the sites where that goes on.
    """
    state = files.read_state(master.directory)
    lives = files.is_running(master.directory)
    if lives:
        files.ask_to_stop(master.directory, master.owner)
    job, sites = state["job"].get("jid", ""), state["job"].get("sites", [])
    if job and kill:
        master.ask("saltutil.term_job", sites, {"jid": job})
    return {
        "jid": state["jid"] if lives else "",
        "job": job,
        "running": _running(master, job, sites, patience=SECONDS_TO_END if kill else 0.0),
    }


def _running(master: Master, job: str, sites: Sequence[str], *, patience: float) -> list[str]:
    """Where a job goes on, once it ends nowhere any more or patience does."""
    deadline = time.monotonic() + patience
    left = list(sites) if job else []
    while left:
        answers = master.ask("saltutil.find_job", left, {"jid": job})
        left = [site for site, answer in answers.items() if answer.value]
        if time.monotonic() >= deadline:
            break
        if left:
            time.sleep(SECONDS_BETWEEN_LOOKS)
    return left


def rollout(
    master: Master, fleet: Fleet, chosen: Sequence[Wave], order: Order, *, set_up: bool = False
) -> dict[str, Any]:
    """Carry waves out.

    Args:
        master: who publishes.
        fleet: the configuration.
        chosen: the waves to be carried out.
        order: how.
        set_up: sites may be new to the formula: copy it to those that do not know it.

    Raises:
        FleetError: a wave is of nobody; nothing was done.
    """
    began = time.monotonic()
    ids = master.match(fleet.target)
    sites = batches.sites_of(
        [wave if wave in chosen else _optional(wave) for wave in fleet.waves],
        {wave.name: master.match(wave.target) for wave in fleet.waves},
        ids,
    )
    answers = _first_words(master, ids, new=set_up and not order.dry)
    course = Rollout(
        chosen,
        sites,
        _known(master, fleet, ids, answers),
        order,
        clock=time.monotonic,
        stopping=lambda: STOPPED if not order.dry and files.asked_to_stop(master.directory) else "",
    )
    _Driver(master, course, dry=order.dry).drive()
    if not order.dry:
        answers = master.ask(returns.LAST, ids)
    report = _joined(master, fleet, ids, answers, sites=sites, waves=course.report())
    report["summary"]["seconds"] = round(time.monotonic() - began, 1)
    return report | {"moves": course.moves(), "jid": master.jid, "retcode": course.code()}


def _optional(wave: Wave) -> Wave:
    return Wave(wave.name, wave.target, optional=True)


def _first_words(master: Master, ids: Sequence[str], *, new: bool) -> Answers:
    """How the sites stand before a rollout, and where they mirror from.

    Args:
        master: who asks.
        ids: of all sites.
        new: bring the formula to those that do not know it.
    """
    if not ids:
        raise FleetError(f"{ROOT}:target: no minion matches")
    answers = master.ask(returns.LAST, ids)
    strangers = [site for site, answer in answers.items() if returns.is_unavailable(answer)]
    if new and strangers:
        master.ask(returns.SYNC_ALL, strangers)
        answers |= master.ask(returns.LAST, strangers)
    beginners = [site for site, answer in answers.items() if _is_beginner(answer)]
    return answers | _addresses(master, beginners, answers)


def _is_beginner(answer: Answer) -> bool:
    snapshot = returns.snapshot_in(answer.value)
    return snapshot is not None and not snapshot["at"]


def _addresses(master: Master, beginners: Sequence[str], answers: Answers) -> Answers:
    """Where those mirror from whose snapshot does not say it yet, since nothing has run there."""
    found = master.ask(returns.REGISTRY, beginners) if beginners else {}
    return {
        site: Answer({**answers[site].value, **{key: answer.value[key] for key in ("url", "upstreams")}})
        for site, answer in found.items()
        if isinstance(answer.value, Mapping) and {"url", "upstreams"} <= answer.value.keys()
    }


def _joined(
    master: Master,
    fleet: Fleet,
    ids: Sequence[str],
    answers: Answers,
    *,
    sites: Mapping[str, Sequence[str]] | None = None,
    waves: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    waves_of = {site: wave for wave, members in (sites or {}).items() for site in members}
    return reports.fleet_report(
        answers,
        _words_of_silent(master, ids, answers),
        ids=ids,
        now=time.time(),
        parents=fleet.parents,
        waves_of=waves_of,
        waves=waves,
        left_out=[site for site in ids if site not in waves_of] if fleet.waves else (),
        max_age=fleet.max_age,
    )


def _known(master: Master, fleet: Fleet, ids: Sequence[str], answers: Answers) -> Sites:
    words = _words_of_silent(master, ids, answers)
    snapshots = {site: reports.snapshot_of(site, answers, words) for site in ids}
    outcomes = {
        site: returns.outcome_of(returns.LAST, answers[site]) if site in answers else returns.SILENT
        for site in ids
    }
    return Sites(snapshots, reports.parents_of(snapshots, fleet.parents), outcomes)


def _words_of_silent(master: Master, ids: Sequence[str], answers: Answers) -> dict[str, Any]:
    silent = [site for site in ids if site not in answers]
    return master.last_words(silent) if silent else {}


class _Driver:
    """Does what a rollout's steps ask for, and keeps how far it is where others can read it."""

    def __init__(self, master: Master, course: Rollout, *, dry: bool) -> None:
        self._master, self._course, self._dry = master, course, dry
        self._job: dict[str, Any] = {}
        self._function = ""

    def drive(self) -> None:
        steps = self._course.steps()
        answers: Answers | None = None
        try:
            while True:
                answers = self._do(steps.send(answers))
        except StopIteration:
            self._job = {}
        finally:
            self._keep()
        self._tell("done", {"retcode": self._course.code(), "waves": self._course.report()})

    def _do(self, action: Action) -> Answers | None:
        if isinstance(action, Publish):
            return self._publish(action)
        if isinstance(action, Wait):
            self._wait(action.seconds)
        if isinstance(action, Tell):
            self._tell("wave", {"wave": action.wave, **action.progress})
            self._master.say(_sentence(action))
            self._keep()
        return None

    def _publish(self, action: Publish) -> Answers:
        def began(jid: str, sites: tuple[str, ...]) -> None:
            self._job = {"jid": jid, "sites": list(sites), "function": action.function}
            self._keep()

        def heard(site: str, answer: Answer) -> None:
            outcome = returns.outcome_of(action.function, answer)
            what = {"site": site, "wave": action.wave, "function": action.function}
            self._tell("site", what | outcome._asdict())
            self._master.say(f"  {site}: {outcome.status}{_why(outcome)}")

        try:
            return self._master.ask(action.function, action.sites, action.arguments, began=began, heard=heard)
        except FleetError as failure:
            # What was done is worth a report; who was not asked counts as silent.
            log.error("%s", failure)
            return {}

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not files.asked_to_stop(self._master.directory):
            time.sleep(min(left, SECONDS_BETWEEN_LOOKS))

    def _tell(self, what: str, data: Mapping[str, Any]) -> None:
        if not self._dry:
            self._master.tell(what, data)

    def _keep(self) -> None:
        if self._dry:
            return
        state = {"jid": self._master.jid, "pid": os.getpid(), "at": time.time(), "job": self._job}
        files.write_state(
            self._master.directory, state | {"waves": self._course.report()}, self._master.owner
        )


def _why(outcome: returns.Outcome) -> str:
    return "".join(f"; {part}" for part in (outcome.cause, outcome.error) if part)


def _sentence(action: Tell) -> str:
    progress = action.progress
    if progress["status"] == reports.RUNNING:
        return f"{action.wave}: begins ({progress['sites']})"
    error = f", {progress['error']}" if progress["error"] else ""
    return f"{action.wave}: {progress['status']} after {progress['seconds']} s{error}"
