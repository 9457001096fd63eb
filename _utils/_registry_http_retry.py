"""How fast a run may go: retries, a rate shared by all workers, a bandwidth cap, a deadline, a stop."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from _registry_config_values import Transfer
from _registry_oci_errors import NotFound, RateLimited, Stopped, Unreachable

FIRST_DELAY = 0.2
LONGEST_DELAY = 30.0
# What a short stall leaves unused may be made up for within this time.
BUDGET_SECONDS = 0.25
# Of a registry's allowance: with fewer requests left than this, they are spread over time.
FEW_LEFT = 20
# A registry that never answered in this run is more likely switched off than restarting.
RETRIES_BEFORE_FIRST_ANSWER = 2

Result = TypeVar("Result")


class Run:
    """What all workers of one run share, whichever registry they talk to.

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


class Pace:
    """The pace of all workers towards one registry.

    One worker's 429 pauses all of them, and an allowance that runs out slows all of them down; one
    success after failures lets all of them try again.

    Args:
        run: what is shared with the other registries.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._lock = threading.Lock()
        self._paused_until = 0.0
        self._gap = 0.0
        self._answered = False
        self._gave_up = False

    def attempt(self, request: Callable[[], Result]) -> Result:
        """Call until it succeeds, cannot get better, or has been tried often enough.

        Args:
            request: makes one request; raises RateLimited or Unreachable where another try may help.

        Returns:
            What the request returned.

        Raises:
            RegistryError: of the last try.
        """
        tries = 0
        while True:
            self._wait_for_turn()
            try:
                result = request()
            except (RateLimited, Unreachable) as failure:
                self.run.check()
                tries += 1
                if tries > self._tries_left(failure):
                    self._gave_up = self._gave_up or isinstance(failure, Unreachable)
                    raise
                self.back_off(tries, failure)
            except NotFound:
                self.succeeded()
                raise
            else:
                self.succeeded()
                return result

    def succeeded(self) -> None:
        """Note that the registry answers."""
        self._answered = True
        self._gave_up = False

    def spread(self, remaining: int, seconds: float) -> None:
        """Heed what a registry still allows.

        Args:
            remaining: requests.
            seconds: from one to the next, so that they last.
        """
        self._gap = min(seconds, LONGEST_DELAY) if remaining < FEW_LEFT else 0.0

    def _tries_left(self, failure: RateLimited | Unreachable) -> int:
        retries = self.run.transfer.retries
        if isinstance(failure, RateLimited):
            return retries
        # One worker waited in vain for the registry to come back: the others need not.
        if self._gave_up:
            return 0
        return retries if self._answered else min(retries, RETRIES_BEFORE_FIRST_ANSWER)

    def back_off(self, tries: int, failure: RateLimited | Unreachable) -> None:
        """Wait as long as the registry asks for, else longer with each try; a 429 makes all wait."""
        longest = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (tries - 1))
        delay = failure.retry_after or random.uniform(longest / 2, longest)
        if isinstance(failure, RateLimited):
            with self._lock:
                self._paused_until = max(self._paused_until, time.monotonic() + delay)
        else:
            self.run.sleep(delay)

    def _wait_for_turn(self) -> None:
        self.run.check()
        while (wait := self._wait_or_go()) > 0:
            self.run.sleep(wait)

    def _wait_or_go(self) -> float:
        """Seconds to wait before asking again for a turn; 0 = it is ours."""
        with self._lock:
            now = time.monotonic()
            if now >= self._paused_until:
                self._paused_until = now + self._gap
                return 0.0
            return self._paused_until - now
