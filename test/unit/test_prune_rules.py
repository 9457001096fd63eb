"""Which tags and digests may be forgotten, table by table."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from _registry_config_values import Prune
from _registry_show_progress import State
from _registry_show_sinks import in_words
from _registry_sync_ledger import OTHER, PRUNE, SYNC, Entry, Was
from _registry_sync_prune import Found, Item, judge, plan_id

DAY = 86_400
NOW = 1_000 * DAY
A, B, C, D = (f"sha256:{letter * 64}" for letter in "abcd")
AT_ONCE = {"after": 0, "untagged": 0}


def entry(*digests: str, unwanted: float = NOW - 50 * DAY, by: str = SYNC, **told: Any) -> Entry:
    history = [
        Was(digest, NOW - (100 - number) * DAY, by if digest else PRUNE)
        for number, digest in enumerate(digests)
    ]
    return Entry(history, unwanted, **told)


def decide(
    entries: dict[str, Entry], tags: dict[str, str], backups: int = 0, rules: Any = AT_ONCE, **found: Any
) -> dict[str, Item]:
    repository = Found("a", tags, entries=entries, **found)
    return {item.reference: item for item in judge(repository, Prune(**rules), NOW, backups=backups)}


def statuses(items: dict[str, Item]) -> dict[str, str]:
    return {reference: item.status for reference, item in items.items()}


def test_a_digest_counts_once_as_a_backup_however_often_a_tag_had_it() -> None:
    entries = {"latest": entry(A, B, A, C, A, D, unwanted=0)}
    items = decide(entries, {"latest": D}, backups=2, wanted={"latest"})
    assert statuses(items) == {"latest": "kept", A: "kept", C: "kept", B: "doomed"}


def test_what_was_pruned_and_what_is_gone_takes_no_backups_place() -> None:
    told = entry(A, B, "", C, D, unwanted=0)
    told.history[3].gone = True
    items = decide({"latest": told}, {"latest": D}, backups=1, wanted={"latest"})
    assert statuses(items) == {"latest": "kept", B: "kept", A: "doomed"}


def test_backups_of_a_tag_that_was_pruned_go_after_it() -> None:
    told = {"latest": entry(A, B, "", unwanted=0), "new": entry(C, unwanted=0)}
    items = decide(told, {"new": C}, backups=3, wanted={"new"})
    assert statuses(items) == {"new": "kept", A: "doomed", B: "doomed"}


def test_backups_of_a_tag_that_somebody_has_deleted_stay_while_it_is_wanted() -> None:
    told = {"latest": entry(A, B, unwanted=0), "new": entry(C, unwanted=0)}
    items = decide(told, {"new": C}, backups=3, wanted={"new", "latest"})
    assert statuses(items) == {"new": "kept", A: "kept"}


def test_what_somebody_else_had_there_is_never_left_behind_by_us() -> None:
    told = entry(A, B, unwanted=0)
    told.history[0].by = OTHER
    assert statuses(decide({"latest": told}, {"latest": B}, wanted={"latest"})) == {"latest": "kept"}


@pytest.mark.parametrize(
    ("newest", "kept"), [(0, {"3"}), (1, {"3"}), (2, {"3", "2"})], ids=["none", "one", "two"]
)
def test_newest_counts_neither_attachments_nor_what_is_no_image(newest: int, kept: set[str]) -> None:
    tags = {"1": A, "2": B, "3": C, f"sha256-{'a' * 64}.sig": D, "9-lost": "", "9-interrupted": D}
    items = decide(
        {tag: entry(digest or D) for tag, digest in tags.items()},
        tags,
        rules={**AT_ONCE, "newest": newest},
        listed=True,
        interrupted=["9-interrupted"],
    )
    real = {"1", "2", "3"}
    assert {tag for tag in real if items[tag].status == "kept"} == kept
    assert items["9-lost"].status == "doomed"
    assert items["9-interrupted"].status == "doomed"


def test_a_signature_of_the_last_tag_stays_with_it() -> None:
    signature = f"sha256-{'b' * 64}.sig"
    items = decide(
        {"1": entry(A), "2": entry(B), signature: entry(C)}, {"1": A, "2": B, signature: C}, listed=True
    )
    assert statuses(items) == {"1": "doomed", "2": "kept", signature: "kept"}


@pytest.mark.parametrize(
    ("found", "status", "reason"),
    [
        ({"unreadable": {"1"}}, "kept", "its digest cannot be read"),
        ({"wanted": {"1"}}, "kept", "it is on the image list"),
        ({}, "doomed", "no entry of the list wants it since"),
    ],
    ids=["unreadable", "wanted", "lost"],
)
def test_a_tag_without_a_digest(found: dict[str, Any], status: str, reason: str) -> None:
    item = decide({"1": entry(A), "2": entry(A)}, {"1": "", "2": ""}, **found)["1"]
    assert item.status == status
    assert item.reason.startswith(reason)
    assert item.twins == ()


def test_where_nothing_moves_a_line_tells_of_no_bytes() -> None:
    assert in_words(State(40, 0, 0, landed=12, failed=1, seconds=3.0)) == "12 of 40 tags (1 failed)"


def test_a_plans_id_is_read_as_it_was_typed() -> None:
    # Salt reads what is typed as YAML, to which 02215117 is a number in base 8.
    identities = [plan_id(f"http://{number}", Prune(), []) for number in range(500)]
    assert [yaml.safe_load(identity) for identity in identities] == identities
    assert {len(identity) for identity in identities} == {8}
