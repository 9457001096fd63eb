"""Returns of states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Ret = dict[str, Any]


def ret(name: str, result: bool | None, comment: str, changes: Mapping[str, Any] | None = None) -> Ret:
    """The return of one state.

    Args:
        name: of the state.
        result: whether all is as it should be; None = it would be made so.
        comment: a sentence.
        changes: what was made, or would be.
    """
    return {"name": name, "result": result, "changes": dict(changes or {}), "comment": comment}


def joined(name: str, rets: Sequence[Ret], otherwise: str = "") -> Ret:
    """The returns of several states, joined.

    Args:
        name: of the one.
        rets: of the others.
        otherwise: the comment where they have none.
    """
    results = [one["result"] for one in rets]
    return ret(
        name,
        False if False in results else None if None in results else True,
        "\n".join(one["comment"] for one in rets if one["comment"]) or otherwise,
        {one["name"]: one["changes"] for one in rets if one["changes"]},
    )


def required_changes(low: Mapping[str, Any], running: Mapping[str, Ret]) -> bool:
    """Whether a state that is required, and named by its ID, has changed something.

    Args:
        low: the state that requires: ``__low__``.
        running: what has run so far: ``__running__``.
    """
    required = {pair for requisite in low.get("require", ()) for pair in requisite.items()}
    return any(
        ran["changes"] and (tag.partition("_|-")[0], ran.get("__id__")) in required
        for tag, ran in running.items()
    )
