"""What prune and history look like on a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from _registry_prune_table import history_lines, prune_lines
from support.cursor import moving, spoilt

DIGEST = "sha256:" + "4f1c2b7d9e0a" + "0" * 52


def image(status: str, reason: str, cause: str = "", error: str = "") -> dict[str, Any]:
    return {"status": status, "reason": reason, "cause": cause, "error": error}


def report(images: dict[str, Any], **more: Any) -> dict[str, Any]:
    statuses = ("kept", "waiting", "doomed", "pruned", "failed")
    summary: dict[str, Any] = {
        status: sum(it["status"] == status for it in images.values()) for status in statuses
    }
    registry = {"url": "http://mirror.example.com:5000", "up": True, "tags": 137}
    told = {"plan": "", "refused": "", "ceiling": "", "summary": summary | {"bytes": 18_000_000}}
    return {"registry": registry, "images": images, **told, **more}


def test_what_is_wrong_stands_last_and_what_is_wanted_not_at_all() -> None:
    images = {
        "a/b:failed": image("failed", "", "network", "local mirror: no answer"),
        "a/b:1": image("doomed", "no entry of the list wants it since 2026-11-02 04:00"),
        "a/b:2": image("doomed", "no entry of the list wants it since 2026-11-02 04:00"),
        f"a/b@{DIGEST}": image("doomed", "it is part of 1"),
        "a/b:3": image("kept", "it is on the image list"),
        "a/b:hand": image("kept", "sync never put it here"),
    }
    assert prune_lines(report(images, plan="p3f2a91c")) == [
        "mirror.example.com:5000  up, 137 tags",
        "  a/b:hand  kept: sync never put it here",
        "  a/b:1 2  doomed: no entry of the list wants it since 2026-11-02 04:00",
        "  a/b:4f1c2b7d9e0a  doomed: it is part of 1",
        "  a/b:failed  failed: network: local mirror: no answer",
        "",
        "2 kept, 3 doomed, 1 failed; 18 MB to be freed by a collection  plan p3f2a91c",
    ]


def test_a_refusal_and_a_ceiling_are_the_last_lines() -> None:
    told = report({}, refused="docker_registry:images is empty", ceiling="67 % of the tags would go")
    assert prune_lines(told)[-2:] == [
        "  refused: docker_registry:images is empty",
        "  ceiling: 67 % of the tags would go",
    ]


def test_a_history_tells_what_is_here_and_what_can_be_pulled() -> None:
    entry = {"from": 0.0, "until": 0.0, "by": "sync"}
    told = {
        "image": "a/b:1",
        "held": DIGEST,
        "error": "",
        "history": [
            {**entry, "digest": DIGEST, "here": True, "pullable": True},
            {**entry, "digest": "", "by": "prune", "here": False, "pullable": False},
        ],
    }
    assert history_lines(told) == [
        "a/b:1",
        "  some time         4f1c2b7d9e0a  by sync  here, pullable",
        "  some time         nothing       by prune  gone",
        f"  a roll-back holds it at {DIGEST}",
    ]


@pytest.mark.parametrize("but", [(), ("status",)])
def test_nothing_that_a_minion_says_can_move_the_cursor(but: Any) -> None:
    images = {
        "a/b:1": image("failed", "", "network", "no answer"),
        f"a/b@{DIGEST}": image("doomed", "it is part of 1"),
    }
    told = report(images, plan="3f2a91c0", refused="the list is empty", ceiling="67 % would go")
    assert moving(prune_lines(spoilt(told, but=but))) == []
    entry = {"from": 0.0, "until": 0.0, "by": "sync", "digest": DIGEST, "here": True, "pullable": True}
    told = {"image": "a/b:1", "held": DIGEST, "error": "damaged", "history": [entry]}
    assert moving(history_lines(spoilt(told))) == []
