"""Functions published to minions by a client of Salt, so that every one that stays silent is known.

Salt's own batches ask who is there first, and drop without a word who does not answer.
https://github.com/saltstack/salt/issues/65693
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from _registry_fleet_returns import Answer

log = logging.getLogger(__name__)

Heard = Callable[[str, Answer], None]
"""Takes a site and its return, as soon as it is there."""
Began = Callable[[str, tuple[str, ...]], None]
"""Takes the job's jid and the minions that it went to."""


def publish(
    client: Any,
    function: str,
    sites: Iterable[str],
    arguments: Mapping[str, Any],
    *,
    timeout: int,
    failures: tuple[type[Exception], ...] = (),
    began: Began = lambda jid, sites: None,
    heard: Heard = lambda site, answer: None,
) -> dict[str, Answer]:
    """Run a function on minions, and wait for as long as one of them says that it still works.

    Args:
        client: a ``salt.client.LocalClient``.
        function: of the minions.
        sites: their ids.
        arguments: by name.
        timeout: seconds of silence after which a minion is asked whether it works.
        failures: what the client raises where the master is too busy; once the job is out, who has not
            answered by then counts as silent.
        began: called once the job is out.
        heard: called for each return.

    Returns:
        Id → answer; who is not in it was silent.

    Raises:
        Exception: one of ``failures``, where the job did not go out.
    """
    wanted = tuple(sites)
    stream = client.cmd_iter(
        list(wanted),
        function,
        tgt_type="list",
        timeout=timeout,
        kwarg=dict(arguments),
        expect_minions=True,
        yield_pub_data=True,
    )
    found: dict[str, Answer] = {}
    with contextlib.closing(stream):
        job = next(stream, None) or {}
        began(str(job.get("jid", "")), wanted)
        try:
            for site, answer in _answers(stream):
                # Salt 3008 adds rows for what minions manage, its Resources.
                if site in wanted and site not in found:
                    found[site] = answer
                    heard(site, answer)
        except failures as failure:
            log.warning("%s: lost sight of it: %s", function, failure)
    return found


def _answers(stream: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Answer]]:
    for returned in stream:
        for site, entry in (returned or {}).items():
            if isinstance(entry, Mapping) and "ret" in entry:
                yield site, Answer(entry["ret"], _code(entry.get("retcode")))


def _code(returned: Any) -> int:
    # Whatever a minion sends as its own is no number that is needed.
    return returned if isinstance(returned, int) else int(bool(returned))
