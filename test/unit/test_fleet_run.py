"""What an operator asks of a fleet, on a master whose minions are played: some answer what cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

import _registry_fleet_files as files
import _registry_fleet_returns as returns
import _registry_fleet_run as fleets
from _registry_fleet_config import read_fleet
from _registry_fleet_returns import Answer
from _registry_fleet_waves import Order
from _registry_sync_snapshot import no_snapshot

SITES = ["a", "b", "c"]
REPORT = {"registry": {"up": True, "error": ""}, "images": {}, "summary": {"bytes": 0}}
SNAPSHOT = {**no_snapshot(), "at": 5.0, "function": "check", "up": True, "code": 0, "error": ""}
FLEET = read_fleet({"waves": [{"all": {"target": "*"}}]})


class Played:
    """A master; what its minions answer is the usual, or in the table."""

    owner = ""
    jid = "20261126"

    def __init__(self, directory: Path, answers: Mapping[tuple[str, str], Any]) -> None:
        self.directory = str(directory / "registry_fleet")
        self.published: list[tuple[str, tuple[str, ...]]] = []
        self.said: list[str] = []
        self._answers = answers

    def match(self, target: str) -> list[str]:
        return SITES

    def ask(
        self,
        function: str,
        sites: Iterable[str],
        arguments: Mapping[str, Any] | None = None,
        *,
        began: Callable[[str, tuple[str, ...]], None] | None = None,
        heard: Callable[[str, Answer], None] | None = None,
    ) -> dict[str, Answer]:
        self.published.append((function, tuple(sites)))
        usual = SNAPSHOT if function == returns.LAST else REPORT
        answers = {site: Answer(self._answers.get((site, function), usual)) for site in sites}
        for site, answer in answers.items():
            if heard:
                heard(site, answer)
        return answers

    def last_words(self, sites: Iterable[str]) -> dict[str, Any]:
        return {}

    def tell(self, what: str, data: Mapping[str, Any]) -> None:
        pass

    def say(self, line: str) -> None:
        self.said.append(line)


def test_a_snapshot_that_cannot_be_read_keeps_nobody_from_being_brought_up_to_date(tmp_path: Path) -> None:
    master = Played(tmp_path, {("b", returns.LAST): {**SNAPSHOT, "behind": {"x:1": {}}}})
    statuses = [site["status"] for site in fleets.matrix(master, FLEET)["sites"].values()]
    assert statuses == ["current", "failed", "current"]
    with files.only_one(master.directory, master.jid, ""):
        report = fleets.rollout(master, FLEET, FLEET.waves, Order())
    assert (returns.SYNC, tuple(SITES)) in master.published
    assert report["waves"]["all"]["status"] == "done"


def test_a_report_that_cannot_be_read_ends_the_rollout_in_order(tmp_path: Path) -> None:
    master = Played(tmp_path, {("b", returns.SYNC): {**REPORT, "summary": {}}})
    with files.only_one(master.directory, master.jid, ""):
        report = fleets.rollout(master, FLEET, FLEET.waves, Order())
    assert report["waves"]["all"]["error"] == "1 of 3 failed: b (its answer cannot be read)"
    assert files.read_state(master.directory)["waves"]["all"]["status"] == "stopped"
    assert "  b: failed; its answer cannot be read" in master.said


@pytest.mark.parametrize("failure", [OSError, ValueError, OverflowError])
def test_a_page_that_cannot_be_made_fails_nothing_else(
    failure: type[Exception], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def page_of(*of_a_report: Any) -> str:
        raise failure("no such time")

    fleet = read_fleet({"page": str(tmp_path / "fleet.html")})
    fleets.keep(fleet, fleets.matrix(Played(tmp_path, {}), fleet), page_of)
    assert "page and metrics are not all written: no such time" in caplog.text
