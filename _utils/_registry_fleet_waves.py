"""Waves of a rollout as a state machine: returns of minions in, what to publish out. No I/O.

It is a generator. Whoever drives it does what it yields: publishes a function and sends the answers back,
waits, or tells of an event. So a rollout of two hundred sites over a night is a test of milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import _registry_fleet_batches as batches
import _registry_fleet_report as reports
import _registry_fleet_returns as returns
from _registry_fleet_config import Wave
from _registry_fleet_report import DONE, NOT_STARTED, RUNNING, STOPPED
from _registry_fleet_returns import Answer, Outcome, Snapshot

# Between two questions whether a run that was lost sight of goes on.
SECONDS_BETWEEN = 10.0


class Publish(NamedTuple):
    """Have minions run a function; the driver sends back id → ``Answer`` of those that did not stay silent.

    Args:
        function: of the minions.
        sites: their ids; never none.
        arguments: by name.
        wave: whose sites these are.
    """

    function: str
    sites: tuple[str, ...]
    arguments: Mapping[str, Any] = {}
    wave: str = ""


class Wait(NamedTuple):
    """Do nothing for a while, unless the rollout is stopped meanwhile.

    Args:
        seconds: how long.
    """

    seconds: float


class Tell(NamedTuple):
    """Say how a wave goes.

    Args:
        wave: its name.
        progress: as the report has it.
    """

    wave: str
    progress: Mapping[str, Any]


Action = Publish | Wait | Tell
Steps = Generator[Action, Any, Any]


@dataclass
class Sites:
    """What the rollout knows of the sites: it begins with their snapshots and learns from returns.

    Args:
        snapshots: id → the last word of each.
        parents: id → id of the site that it mirrors from.
        outcomes: id → how it stood at last.
        touched: sites that this rollout has published to.
    """

    snapshots: Mapping[str, Snapshot]
    parents: Mapping[str, str]
    outcomes: dict[str, Outcome]
    touched: set[str] = field(default_factory=set)

    def obstacle(self, site: str) -> str:
        """Why a site has to wait for the one that it mirrors from; empty = it has not."""
        parent = self.parents.get(site, "")
        if not parent:
            return ""
        status = self.outcomes[parent].status
        if status == returns.UNREACHABLE and parent not in self.touched:
            # Its minion is silent, which says nothing of its registry.
            status = returns.of_snapshot(self.snapshots[parent]).status
        return "" if status == returns.CURRENT else f"{parent}, which it mirrors from, is {status}"

    def upstream(self, site: str) -> str:
        """What a site pulls from, as far as is known."""
        return self.parents.get(site) or next(iter(self.snapshots[site]["upstreams"]), "")


@dataclass(frozen=True)
class Order:
    """How a rollout is to go.

    Args:
        function: ``registry_sync.sync`` or ``state.apply``; of a dry one ``registry_sync.plan``.
        arguments: of it.
        retries: how often silent sites are asked again at the end of their wave.
        force: do not wait for parents.
        dry: nothing stops it, nothing waits, nothing is checked afterwards.
    """

    function: str = returns.SYNC
    arguments: Mapping[str, Any] = field(default_factory=dict)
    retries: int = 2
    force: bool = False
    dry: bool = False


class Rollout:
    """Waves in their order.

    Args:
        waves: what each is.
        sites: wave → ids.
        known: what was learnt of all sites before.
        order: how to go.
        clock: seconds that only ever grow.
        stopping: why it is to end; empty = it is not.
    """

    def __init__(
        self,
        waves: Sequence[Wave],
        sites: Mapping[str, Sequence[str]],
        known: Sites,
        order: Order,
        *,
        clock: Callable[[], float],
        stopping: Callable[[], str],
    ) -> None:
        self._waves = waves
        self.known = known
        self._order = order
        self._clock = clock
        self._stopping = stopping
        self.progress = {wave.name: _Progress(wave, sites[wave.name]) for wave in waves}

    def report(self) -> dict[str, dict[str, Any]]:
        """How each wave stands, as the fleet's report has it."""
        return {name: progress.report(self._clock) for name, progress in self.progress.items()}

    def moves(self) -> dict[str, dict[str, int]]:
        """What each site has moved or, by a dry rollout, would; those that move nothing are left out."""
        return {
            site: {"tags": seen.copied, "bytes": seen.bytes}
            for progress in self.progress.values()
            for site, seen in progress.outcomes.items()
            if seen.copied or seen.bytes
        }

    def code(self) -> int:
        """The return code: 1 where a wave is not done, 2 where within the allowances a site is not current.

        Of a dry rollout: 1 where a wave would be ended, 2 where something would be moved.
        """
        if self._order.dry:
            errors = any(progress.error for progress in self.progress.values())
            return 1 if errors else 2 if self.moves() else 0
        if any(progress.status != DONE for progress in self.progress.values()):
            return 1
        seen = (one for progress in self.progress.values() for one in progress.outcomes.values())
        return 0 if all(outcome.status == returns.CURRENT for outcome in seen) else 2

    def steps(self) -> Steps:
        """Yield what is to be done, until all waves are done or one has ended the rollout."""
        for wave in self._waves:
            if self._stopping():
                return
            progress = self.progress[wave.name]
            progress.begin(self._clock())
            yield Tell(wave.name, progress.report(self._clock))
            error = yield from self._wave(wave, progress)
            progress.end(self._clock(), error, dry=self._order.dry)
            yield Tell(wave.name, progress.report(self._clock))
            if error and not self._order.dry:
                return

    def _wave(self, wave: Wave, progress: _Progress) -> Generator[Action, Any, str]:
        """Carry one wave out; return what ends the rollout, or nothing."""
        waiting = list(progress.sites)
        for _ in range(1 + self._order.retries):
            error = yield from self._batches(wave, progress, waiting)
            if error:
                return error
            waiting += progress.silent()
            if not progress.silent():
                break
        self._hold_back(progress, waiting)
        if self._order.dry:
            return progress.excess()
        return progress.excess() or progress.lagging() or (yield from self._proof(wave, progress))

    def _batches(self, wave: Wave, progress: _Progress, waiting: list[str]) -> Generator[Action, Any, str]:
        """Publish to all that need not wait for others, batch after batch."""
        size = max(1, wave.batch.of(len(progress.sites)))
        while batch := self._next(waiting, size, wave.per_parent):
            if why := self._stopping():
                return why
            for site in batch:
                waiting.remove(site)
            outcomes = yield from self._published(wave, batch)
            self.known.touched.update(batch)
            self.known.outcomes.update(outcomes)
            progress.outcomes.update(outcomes)
            if not self._order.dry and (error := progress.too_many_failed()):
                return error
        return ""

    def _next(self, waiting: Sequence[str], size: int, per_parent: int) -> list[str]:
        free = self._order.force or self._order.dry
        ready = [site for site in waiting if free or not self.known.obstacle(site)]
        ready.sort(key=lambda site: reports.tier_of(site, self.known.parents))
        if not free:
            ready = batches.without_descendants(ready, self.known.parents)
        return batches.capped(ready, size, per_parent, self.known.upstream)

    def _hold_back(self, progress: _Progress, waiting: Iterable[str]) -> None:
        """Sites whose parent has not become current count as failed: nothing was asked of them."""
        for site in waiting:
            if site not in progress.outcomes and (obstacle := self.known.obstacle(site)):
                outcome = Outcome(returns.FAILED, error=f"nothing was done: {obstacle}")
                self.known.outcomes[site] = progress.outcomes[site] = outcome

    def _published(self, wave: Wave, sites: Sequence[str]) -> Generator[Action, Any, dict[str, Outcome]]:
        function = self._order.function
        answers = yield Publish(function, tuple(sites), self._order.arguments, wave.name)
        if not self._order.dry and (busy := (yield from self._busy(wave, answers))):
            again = yield Publish(function, tuple(busy), self._order.arguments, wave.name)
            answers = {site: answer for site, answer in answers.items() if site not in busy} | again
        outcomes = {site: returns.outcome_of(function, answer) for site, answer in answers.items()}
        found: dict[str, Outcome] = {}
        if not self._order.dry:
            doubtful = [site for site in sites if site not in answers]
            if function == returns.APPLY:
                doubtful += [site for site, seen in outcomes.items() if seen.status == returns.CURRENT]
            found = yield from self._asked_again(wave, doubtful, outcomes)
        return {site: outcomes.get(site, returns.SILENT) for site in sites} | found

    def _busy(self, wave: Wave, answers: Mapping[str, Answer]) -> Generator[Action, Any, list[str]]:
        """Sites that refused since an earlier run still went on there, and are free now."""
        asked = [site for site, answer in answers.items() if _is_refusal(answer)]
        found: dict[str, None] = {}
        while asked and not self._stopping():
            said = yield Publish(returns.LAST, tuple(asked), {}, wave.name)
            asked = [site for site, answer in said.items() if _runs(answer)]
            found.update(dict.fromkeys(asked))
            if asked:
                yield Wait(SECONDS_BETWEEN)
        return [] if self._stopping() else list(found)

    def _asked_again(
        self, wave: Wave, sites: Sequence[str], outcomes: Mapping[str, Outcome]
    ) -> Generator[Action, Any, dict[str, Outcome]]:
        """Ask those whose return was lost how their last run ended, and wait for those where it goes on."""
        found: dict[str, Outcome] = {}
        asked = list(sites)
        while asked and not self._stopping():
            answers = yield Publish(returns.LAST, tuple(asked), {}, wave.name)
            told = {site: self._ended(site, answer, outcomes) for site, answer in answers.items()}
            found.update({site: outcome for site, outcome in told.items() if outcome})
            asked = [site for site, outcome in told.items() if outcome is None]
            if asked:
                yield Wait(SECONDS_BETWEEN)
        return found

    def _ended(self, site: str, answer: Answer, outcomes: Mapping[str, Outcome]) -> Outcome | None:
        """What a site's snapshot says of the run that we wait for; None = it still runs."""
        snapshot = returns.snapshot_in(answer.value)
        if snapshot is None:
            return outcomes.get(site) or returns.outcome_of(returns.LAST, answer)
        if snapshot["running"]:
            return None
        has_run = snapshot["at"] != self.known.snapshots[site]["at"]
        if has_run and (snapshot["function"] == "sync" or self._order.function == returns.APPLY):
            return returns.of_snapshot(snapshot)
        lost = returns.SILENT._replace(error="its minion answers, but has not run what was published")
        return outcomes.get(site, lost)

    def _proof(self, wave: Wave, progress: _Progress) -> Generator[Action, Any, str]:
        """Let a wave soak, see that its sites are still current, and pull from them."""
        sites = tuple(site for site, seen in progress.outcomes.items() if seen.status == returns.CURRENT)
        if wave.soak and sites:
            yield Wait(wave.soak)
            if why := self._stopping():
                return why
            yield from self._proven(wave, progress, Publish(returns.CHECK, sites, {}, wave.name))
        if wave.pull and sites:
            yield from self._proven(
                wave, progress, Publish(returns.PULL, sites, {"name": wave.pull}, wave.name)
            )
        return progress.excess()

    def _proven(self, wave: Wave, progress: _Progress, question: Publish) -> Steps:
        answers = yield question
        for site in question.sites:
            answer = answers.get(site)
            seen = returns.outcome_of(question.function, answer) if answer else returns.SILENT
            if seen.status != returns.CURRENT:
                before = progress.outcomes[site]
                error = seen.error or f"it is {seen.status} after {reports.spelt(wave.soak)}"
                # One that is no longer current has failed what the wave is for.
                status = returns.FAILED if seen.status == returns.BEHIND else seen.status
                seen = before._replace(status=status, cause=seen.cause, error=error)
                self.known.outcomes[site] = progress.outcomes[site] = seen


def _runs(answer: Answer) -> bool:
    snapshot = returns.snapshot_in(answer.value)
    return snapshot is not None and bool(snapshot["running"])


def _is_refusal(answer: Answer) -> bool:
    """Whether a minion has said in words what it did not do, as one that is busy does."""
    return isinstance(answer.value, (str, list)) and not returns.is_unavailable(answer)


class _Progress:
    """How one wave goes."""

    def __init__(self, wave: Wave, sites: Sequence[str]) -> None:
        self.wave = wave
        self.sites = tuple(sites)
        self.outcomes: dict[str, Outcome] = {}
        self.status = NOT_STARTED
        self.error = ""
        self._started = self._ended = 0.0

    def begin(self, now: float) -> None:
        self.status, self._started = RUNNING, now

    def end(self, now: float, error: str, *, dry: bool) -> None:
        self._ended, self.error = now, error
        self.status = NOT_STARTED if dry else STOPPED if error else DONE

    def silent(self) -> list[str]:
        return self._with(returns.UNREACHABLE)

    def too_many_failed(self) -> str:
        failed = self._with(returns.FAILED, returns.UNKNOWN)
        allowed = self.wave.allow_fail.of(len(self.sites))
        return "" if len(failed) <= allowed else self._sentence(failed, "failed", allowed)

    def excess(self) -> str:
        """Why the wave may not be followed by another; empty = it may."""
        silent = self.silent()
        allowed = self.wave.allow_unreachable.of(len(self.sites))
        if len(silent) > allowed:
            return self._sentence(silent, "silent", allowed)
        return self.too_many_failed()

    def lagging(self) -> str:
        """Which sites have run, and are not up to date: their pillar lets nothing be copied."""
        sites = self._with(returns.BEHIND)
        return self._sentence(sites, "behind", 0) if sites else ""

    def _sentence(self, sites: Sequence[str], what: str, allowed: int) -> str:
        first = self.outcomes[sites[0]]
        why = ": ".join(filter(None, (first.cause, first.error)))
        more = f" and {len(sites) - 1} more" if sites[1:] else ""
        limit = f", allowed are {allowed}" if allowed else ""
        return (
            f"{len(sites)} of {len(self.sites)} {what}{limit}: {sites[0]}{more}{f' ({why})' if why else ''}"
        )

    def _with(self, *statuses: str) -> list[str]:
        return [site for site, outcome in self.outcomes.items() if outcome.status in statuses]

    def report(self, clock: Callable[[], float]) -> dict[str, Any]:
        ended = self._ended or (clock() if self._started else 0.0)
        return {
            "status": self.status,
            "sites": len(self.sites),
            "copied": sum(outcome.copied for outcome in self.outcomes.values()),
            "bytes": sum(outcome.bytes for outcome in self.outcomes.values()),
            "failed": len(self._with(returns.FAILED, returns.UNKNOWN)),
            "unreachable": len(self.silent()),
            "seconds": round(ended - self._started, 1),
            "error": self.error,
        }
