"""How fast a run may go and how often it tries: retries, pauses, a bandwidth cap, a deadline, a stop."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from _registry_http_endpoint import Transfer
from _registry_oci_errors import NotFound, RateLimited, Retryable, Stopped, Unreachable

FIRST_DELAY = 0.2
LONGEST_DELAY = 30.0
# What a short stall leaves unused may be made up for within this time.
BUDGET_SECONDS = 0.25
# Of a registry's allowance: with fewer pulls left than this, they are spread over time.
FEW_LEFT = 20
# A registry that never answered in this run is more likely switched off than restarting.
RETRIES_BEFORE_FIRST_ANSWER = 2
# Waits that a registry asks for are told from here on.
LONG_WAIT = 5.0

Result = TypeVar("Result")

log = logging.getLogger(__name__)


class Run:
    """What all workers of one run share, whichever store they talk to.

    Args:
        transfer: the limits.
    """

    def __init__(self, transfer: Transfer) -> None:
        self.transfer = transfer
        self.stopping = threading.Event()
        self._ends = time.monotonic() + transfer.deadline if transfer.deadline else None
        self._lock = threading.Lock()
        self._budget_full_at = time.monotonic()

    def stop(self) -> None:
        """Let every worker end at its next step."""
        self.stopping.set()

    def check(self) -> None:
        """Raise where the run must end.

        Raises:
            Stopped: it was asked to.
            Unreachable: the deadline has passed.
        """
        if self.stopping.is_set():
            raise Stopped("stopped before this was done")
        if self._ends is not None and time.monotonic() > self._ends:
            raise Unreachable(f"not done within transfer:deadline ({self.transfer.deadline} s)")

    def sleep(self, seconds: float) -> None:
        """Wait, unless the run ends meanwhile."""
        if self._ends is not None:
            seconds = min(seconds, max(0.0, self._ends - time.monotonic()))
        self.stopping.wait(seconds)
        self.check()

    def spend(self, size: int) -> None:
        """Take bytes from the bandwidth that all workers share; waits while there is none left."""
        rate = self.transfer.bandwidth
        if not rate:
            return
        with self._lock:
            now = time.monotonic()
            self._budget_full_at = max(self._budget_full_at, now - BUDGET_SECONDS) + size / rate
            wait = self._budget_full_at - now
        if wait > 0:
            self.sleep(wait)


class Health:
    """Whether one store answers, as all workers have seen it.

    Args:
        retries: tries after the first that anything gets.
    """

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self._answered = False
        self._gave_up = False

    def answered(self) -> None:
        """Note that the store answers."""
        self._answered = True
        self._gave_up = False

    def failed(self, failure: Retryable) -> None:
        """Note that something was tried often enough."""
        self._gave_up = self._gave_up or isinstance(failure, Unreachable)

    def retries(self, failure: Retryable) -> int:
        """How many tries after the first are worth while."""
        if isinstance(failure, RateLimited):
            return self._retries
        # One worker waited in vain for the store to come back: the others need not.
        if self._gave_up:
            return 0
        return self._retries if self._answered else min(self._retries, RETRIES_BEFORE_FIRST_ANSWER)


class Attempts:
    """The tries of one thing: a request, or a blob.

    Args:
        run: ends the waiting.
        health: of the store that is asked.
    """

    def __init__(self, run: Run, health: Health) -> None:
        self._run = run
        self._health = health
        self._waited = 0.0
        self.failed = 0

    def progressed(self) -> None:
        """Note that something has come of the last try: the next failure is a first one again."""
        self.failed = 0

    def wait_or_raise(self, failure: Retryable) -> None:
        """Wait before the next try: as long as the registry asks for, else longer with each try.

        Raises:
            RegistryError: the failure, where it was tried often enough or is to be waited for too long.
        """
        self._run.check()
        self.failed += 1
        if self.failed > self._health.retries(failure):
            self._health.failed(failure)
            raise failure
        self._waited += failure.retry_after
        patience = self._run.transfer.patience
        if self._waited > patience:
            raise type(failure)(
                f"{failure}; it asks for a wait of {failure.retry_after:.0f} s, which is beyond "
                f"transfer:patience ({patience} s)",
                side=failure.side,
            ) from failure
        if failure.retry_after >= LONG_WAIT:
            log.warning("%s; waiting %.0f s as it asks", failure, failure.retry_after)
        self._run.sleep(failure.retry_after or back_off(self.failed))


def back_off(tries: int) -> float:
    """Seconds to wait after so many tries in vain, where nobody asks for a wait."""
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (tries - 1))
    return random.uniform(longest / 2, longest)


class Pace:
    """The pace of all workers towards one registry.

    One worker's 429 pauses all of them, and an allowance that runs out slows all pulls down.

    Args:
        run: what is shared with the other registries.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.health = Health(run.transfer.retries)
        self._lock = threading.Lock()
        self._paused_until = 0.0
        self._next_pull_at = 0.0
        self._gap = 0.0

    def attempt(self, request: Callable[[], Result], *, is_pull: bool = True) -> Result:
        """Call until it succeeds, cannot get better, or has been tried often enough.

        Args:
            request: makes one request.
            is_pull: it counts as a pull where the registry counts.

        Returns:
            What the request returned.

        Raises:
            RegistryError: of the last try.
        """
        attempts = Attempts(self.run, self.health)
        while True:
            try:
                return self.once(request, is_pull=is_pull)
            except Retryable as failure:
                attempts.wait_or_raise(failure)

    def once(self, request: Callable[[], Result], *, is_pull: bool = True) -> Result:
        """Call when it is our turn; a failure is for the caller to try again.

        Raises:
            RegistryError: of the request.
        """
        self._wait_for_turn(is_pull)
        try:
            result = request()
        except RateLimited as failure:
            self._pause(failure.retry_after)
            raise
        except NotFound:
            self.health.answered()
            raise
        self.health.answered()
        return result

    def spread(self, remaining: int, seconds: float) -> None:
        """Heed what a registry still allows.

        Args:
            remaining: pulls.
            seconds: from one to the next, so that they last.
        """
        self._gap = min(seconds, LONGEST_DELAY) if remaining < FEW_LEFT else 0.0

    def _pause(self, seconds: float) -> None:
        if seconds > self.run.transfer.patience:
            return
        with self._lock:
            self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def _wait_for_turn(self, is_pull: bool) -> None:
        self.run.check()
        while (wait := self._wait_or_go(is_pull)) > 0:
            self.run.sleep(wait)

    def _wait_or_go(self, is_pull: bool) -> float:
        """Seconds to wait before asking again for a turn; 0 = it is ours."""
        with self._lock:
            now = time.monotonic()
            ready = max(self._paused_until, self._next_pull_at if is_pull and self._gap else 0.0)
            if now < ready:
                return ready - now
            if is_pull:
                self._next_pull_at = now + self._gap
            return 0.0
