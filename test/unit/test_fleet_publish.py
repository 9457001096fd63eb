"""What comes back from a client of Salt; it is played here, since no master is too busy at will."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from _registry_fleet_publish import publish
from _registry_fleet_returns import Answer

JOB = {"jid": "20261126", "minions": ["a", "b"]}


class BusyError(Exception):
    pass


class Client:
    """Yields what it was given, and raises what is an exception among it."""

    def __init__(self, *stream: Any) -> None:
        self._stream = stream

    def cmd_iter(self, target: list[str], function: str, **options: Any) -> Iterator[Any]:
        for entry in self._stream:
            if isinstance(entry, Exception):
                raise entry
            yield entry


def asked(*stream: Any) -> dict[str, Answer]:
    return publish(Client(*stream), "test.ping", ["a", "b"], {}, timeout=1, failures=(BusyError,))


def test_only_who_was_asked_and_has_answered_is_told() -> None:
    resource = {"a-managed": {"ret": True}}
    stream = (JOB, {"a": {"ret": 1, "retcode": 2}}, resource, {"b": {"failed": True}}, {"a": {"ret": 9}})
    assert asked(*stream) == {"a": Answer(1, 2)}


@pytest.mark.parametrize(("sent", "code"), [(None, 0), (2, 2), ("x", 1), ({"x": 1}, 1)])
def test_a_return_code_that_is_no_number_loses_no_answer(sent: Any, code: int) -> None:
    assert asked(JOB, {"a": {"ret": 1, "retcode": sent}}) == {"a": Answer(1, code)}


def test_a_job_that_matches_nobody_has_no_answers() -> None:
    assert asked({}) == asked() == {}


def test_what_was_heard_before_a_master_got_too_busy_is_kept() -> None:
    assert asked(JOB, {"a": {"ret": 1}}, BusyError(), {"b": {"ret": 1}}) == {"a": Answer(1, 0)}


def test_a_job_that_did_not_go_out_is_an_error() -> None:
    with pytest.raises(BusyError):
        asked(BusyError())
