"""Who is there to be told how far a run has come, as Salt's options say it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any


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
