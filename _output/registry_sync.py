"""Show what ``registry_sync`` returns as a table; anything else as ``nested`` shows it.

``check``, ``plan``, ``sync``, ``list``, ``prune``, ``history``, ``verify``, ``collect``, ``signatures``,
``last``, ``runs``, ``init`` and ``convert`` choose it by themselves, as the runner ``registry_fleet`` does.
It runs where the command was typed: a minion has it after ``saltutil.sync_all``, a master after ``salt-run
saltutil.sync_all``. Where it is not, Salt shows nested output. ``--out=json`` gives the plain data.

Colours follow ``--no-color``, ``--force-color`` and ``color_theme``; the width is that of the
terminal (or ``COLUMNS``); a pipe or ``--out-file`` gets every name whole, one row a line.
"""

import shutil
import sys

import salt.utils.color

import _registry_collect_table as collect_table
import _registry_fleet_table as fleet_table
import _registry_last_table as last_table
import _registry_prune_table as prune_table
import _registry_signatures_table as signatures_table
import _registry_table as table
import _registry_verify_table as verify_table

# What a return of another version or a damaged one ends in; Salt itself takes not all of them for a reason to
# show it nested.
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)
# How salt-call names the one minion that it is.
SALT_CALL = "local"
COLORS = {
    "title": "CYAN",
    "up": "GREEN",
    "down": "LIGHT_RED",
    "current": "GREEN",
    "copied": "LIGHT_GREEN",
    "held": "BLUE",
    "kept": "GREEN",
    "accepted": "GREEN",
    "refused": "LIGHT_RED",
    "waiting": "YELLOW",
    "doomed": "LIGHT_RED",
    "pruned": "LIGHT_GREEN",
    "whole": "GREEN",
    "repaired": "LIGHT_GREEN",
    "broken": "LIGHT_RED",
    "lost": "LIGHT_RED",
    "extra": "BLUE",
    "stale": "YELLOW",
    "missing": "YELLOW",
    "unreadable": "LIGHT_RED",
    "failed": "LIGHT_RED",
    "behind": "YELLOW",
    "unknown": "YELLOW",
    "unreachable": "LIGHT_RED",
    "done": "GREEN",
    "stopped": "LIGHT_RED",
    "running": "YELLOW",
}


def output(data, **kwargs):
    """Show the returns of minions, one after the other.

    Args:
        data: minion → what the function returned.
        kwargs: what Salt gives every outputter; not used.

    Returns:
        Lines of text.

    CLI Example:

    .. code-block:: bash

        salt '*' registry_sync.check
        salt '*' registry_sync.check --out=registry_sync --no-color
    """
    if not isinstance(data, dict):
        return _nested(data)
    if fleet_table.is_fleet(data):
        return _encodable("\n".join(fleet_table.fleet_lines(data, width=_width(), paint=_paint)))
    return _encodable("\n".join(_shown(minion, value) for minion, value in data.items()))


def _shown(minion, value):
    try:
        lines = _pillar_lines(value) or _lines(value)
    except _UNREADABLE:
        lines = None
    if lines is not None:
        return "\n".join(lines if minion == SALT_CALL else [_paint(f"{minion}:", "title"), *lines, ""])
    if isinstance(value, str) and value and "\n" not in value:
        return table.clean(value) if minion == SALT_CALL else f"{minion}: {table.clean(value)}"
    return _nested({minion: value})


def _lines(value):
    show = {"width": _width(), "paint": _paint}
    if _is_report(value) and "plan" in value:
        return prune_table.prune_lines(value, **show)
    if _is_report(value) and "loose" in value:
        return verify_table.verify_lines(value, **show)
    if isinstance(value, dict) and {"image", "history", "held"} <= value.keys():
        return prune_table.history_lines(value, **show)
    if isinstance(value, dict) and {"registry", "leased", "read_only_seconds"} <= value.keys():
        return collect_table.collect_lines(value, **show)
    if isinstance(value, dict) and {"side", "images", "summary"} <= value.keys():
        return signatures_table.signature_lines(value, **show)
    if isinstance(value, dict) and {"at", "behind", "running"} <= value.keys():
        return last_table.last_lines(value, **show)
    if _are_runs(value):
        return last_table.run_lines(value, **show)
    if _is_report(value):
        return table.report_lines(value, **show)
    if _is_listing(value):
        return table.listing_lines(value, **show)
    return None


def _is_report(value):
    return isinstance(value, dict) and {"registry", "images", "summary"} <= value.keys()


def _are_runs(value):
    keys = {"at", "function", "code", "counts"}
    return (
        bool(value)
        and isinstance(value, list)
        and all(isinstance(run, dict) and keys <= run.keys() for run in value)
    )


def _pillar_lines(value):
    """The text of a pillar, to be put into a file as it is; None of anything else."""
    lines = value.splitlines() if isinstance(value, str) else []
    return [table.clean(line) for line in lines] if "docker_registry:" in lines else None


def _is_listing(value):
    return isinstance(value, dict) and all(
        isinstance(tags, dict) and all(isinstance(digest, str) for digest in tags.values())
        for tags in value.values()
    )


def _nested(data):
    return __salt__["nested"](data)


def _paint(text, style):
    colors = salt.utils.color.get_colors(__opts__.get("color"), __opts__.get("color_theme"))
    return f"{colors[COLORS[style]]}{text}{colors['ENDC']}" if style in COLORS else text


def _width():
    return 0 if __opts__.get("output_file") else shutil.get_terminal_size((0, 0)).columns


def _encodable(text):
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        # One column for one column, so that the table stays straight.
        return text.replace("…", "~").encode(encoding, "replace").decode(encoding)
    return text
