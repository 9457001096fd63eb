"""What execution modules leave of a run: a snapshot, a line of the history, a word in the mine.

None of it makes a run fail: what cannot be written or sent is a warning.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

import _registry_state_progress as telling
import _registry_sync_snapshot as snapshots
from _registry_config_values import Settings
from _registry_oci_errors import RegistryError
from _registry_show_report import Report, return_code
from _registry_sync_lock import AlreadyRunning

log = logging.getLogger(__name__)


class LastRun:
    """Where the end of a run is noted.

    Args:
        directory: in which runs keep what outlives them; empty = nothing is noted.
        opts: ``__opts__``.
        functions: ``__salt__``; of them ``mine.send`` is called where there is a master.
    """

    def __init__(
        self, directory: str, opts: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]
    ) -> None:
        self._directory = directory
        self._opts = opts
        self._functions = functions

    def note(self, function: str, settings: Settings, report: Report) -> None:
        """Keep how the tags stand.

        Args:
            function: ``check`` or ``sync``.
            settings: how many runs are remembered, and whether the mine is told.
            report: of that function, on the pillar's own list.
        """
        before = snapshots.read_snapshot(self._directory)
        code = return_code(report)
        self._keep(
            snapshots.snapshot_of(report, function, code=code, at=time.time(), before=before), settings
        )
        self._show(function, settings, report)

    @contextlib.contextmanager
    def failures(self, function: str, settings: Settings | None = None) -> Iterator[None]:
        """Keep why a run ended before it had a report, and have it end with Salt's kind of error.

        One that another keeps out leaves the last word to that one.

        Args:
            function: ``check`` or ``sync``.
            settings: as for ``note``; None = the pillar could not be read.

        Raises:
            CommandExecutionError: what went wrong, in one sentence.
        """
        try:
            yield
        except AlreadyRunning as other:
            raise CommandExecutionError(str(other)) from None
        except RegistryError as failure:
            self._note_failure(function, settings, failure.cause, str(failure))
            raise CommandExecutionError(str(failure)) from None
        except CommandExecutionError as mistake:
            self._note_failure(function, settings, "", str(mistake))
            raise

    def _note_failure(self, function: str, settings: Settings | None, cause: str, error: str) -> None:
        if not self._directory:
            return
        before = snapshots.read_snapshot(self._directory)
        self._keep(
            snapshots.failed_snapshot(before, function, at=time.time(), cause=cause, error=error), settings
        )
        if settings:
            self._show(function, settings, None)

    def _keep(self, snapshot: snapshots.Snapshot, settings: Settings | None) -> None:
        kept = settings.history if settings else snapshots.RUNS_KEPT
        try:
            snapshots.write_snapshot(self._directory, snapshot)
            snapshots.note_run(self._directory, snapshot, kept)
        except OSError as failure:
            log.warning("what registry_sync.last reads was not written: %s", failure)
        if settings and settings.mine and telling.has_master(self._opts):
            self._publish(snapshot)

    def _show(self, function: str, settings: Settings, report: Report | None) -> None:
        """Write the page, where the pillar wants one."""
        path = settings.page.path
        if not path or self._opts.get("test"):
            return
        try:
            # What makes pages is more than a check loads for itself.
            import _registry_state_page as pages

            pages.put_page(
                path,
                settings,
                report,
                directory=self._directory,
                minion=self._opts["id"],
                functions=self._functions,
                written_by=f"registry_sync.{function}",
            )
        except Exception as failure:  # noqa: BLE001 - whatever it is, the run itself was good
            log.warning("docker_registry:page: not written: %s", failure)

    def _publish(self, snapshot: snapshots.Snapshot) -> None:
        """Give the mine the snapshot, which no other minion may read: it names what this site runs."""
        if not _minion_runs(self._opts):
            log.debug("docker_registry:mine: not sent: no minion runs")
            return
        # test.echo: registry_sync.last itself would set the return code of whoever runs this.
        what = {"mine_function": "test.echo", "text": snapshot, "allow_tgt": self._opts["id"]}
        try:
            failure = "" if self._functions["mine.send"]("registry_sync.last", **what) else "the bus is down"
        except Exception as raised:  # noqa: BLE001 - whatever it is, the run itself was good
            failure = str(raised)
        if failure:
            log.warning("docker_registry:mine: not sent: %s", failure)


def _minion_runs(opts: Mapping[str, Any]) -> bool:
    """Whether a minion has a bus here, which carries what is for the mine; else it is waited for in vain."""
    return opts.get("ipc_mode") == "tcp" or any(Path(opts["sock_dir"]).glob("minion_event_*_pull.ipc"))
