"""Where a run tells how far it has come: to whoever typed the command, and to the master."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import _registry_show_sinks as listeners
from _registry_show_progress import Progress


def progress_of(
    opts: Mapping[str, Any],
    functions: Mapping[str, Callable[..., Any]],
    write: Callable[[str], Any],
    part: str = "",
) -> Progress:
    """Who is told.

    Args:
        opts: ``__opts__``.
        functions: ``__salt__``; of them ``event.send`` is called where there is a master.
        write: takes a line for the log.
        part: of the events' tag, behind the minion's id.
    """
    sinks = [listeners.on_terminal(sys.stderr) if is_typed(opts) else listeners.in_log(write)]
    if has_master(opts):
        # Taken out of __salt__ here, which is empty in the thread that sends.
        tag = f"salt/registry_sync/{opts['id']}" + (f"/{part}" if part else "")
        sinks.append(listeners.Events(functions["event.send"], tag))
    return Progress(sinks)


def is_typed(opts: Mapping[str, Any]) -> bool:
    """Whether somebody has typed the command on this host and looks at a terminal.

    Args:
        opts: ``__opts__``.
    """
    return opts.get("__cli") == "salt-call" and sys.stderr.isatty()


def has_master(opts: Mapping[str, Any]) -> bool:
    """Whether there is a master whose event bus can be told.

    Args:
        opts: ``__opts__``.
    """
    if opts.get("use_master_when_local"):
        return True
    alone = (
        opts.get("local"),
        opts.get("file_client") == "local",
        opts.get("master_type") == "disable",
        opts.get("__role") == "master",
    )
    return not any(alone)
