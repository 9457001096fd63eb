from __future__ import annotations

import fcntl
import hashlib
import json
import re
from pathlib import Path

import pytest

import _registry_sync_snapshot as snapshots

CHECKOUT = Path(__file__).resolve().parents[2]
URL = "http://mirror.example.com:5000"


def digest(text):
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def image(status="current", *, local="old", upstream="new", cause="", error=""):
    return {
        "status": status,
        "local": local and digest(local),
        "upstream": upstream and digest(upstream),
        "cause": cause,
        "error": error,
    }


def report(images, *, url=URL, up=True, error="", size=0):
    counts = dict.fromkeys(snapshots.STATUSES, 0)
    for entry in images.values():
        counts[entry["status"]] += 1
    wanted = sum(entry["status"] != "extra" for entry in images.values())
    return {
        "registry": {"url": url, "up": up, "error": error, "upstreams": ["vendor.example.com:443"]},
        "images": images,
        "summary": {**counts, "tags": wanted, "seconds": 1.5, "bytes": size},
    }


def snapshot(images, *, at=100.0, before=None, function="check", code=0, **others):
    return snapshots.snapshot_of(
        report(images, **others), function, code=code, at=at, before=before or snapshots.no_snapshot()
    )


def short(text):
    return digest(text)[7:19]


def test_the_version_is_that_of_the_formula():
    found = re.search(r"^version: '(.+)'$", (CHECKOUT / "FORMULA").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    assert found[1] == snapshots.VERSION


def test_tags_are_those_of_the_list_that_are_here():
    taken = snapshot(
        {
            "a:1": image("current", local="a"),
            "b:1": image("missing", local=""),
            "c:1": image("stale", local="c", upstream="newer"),
            "d:1": image("held", local="d"),
            "e:1": image("extra", local="e"),
        }
    )
    assert taken["tags"] == {"a:1": short("a"), "c:1": short("c"), "d:1": short("d")}
    assert (taken["held"], taken["extra"]) == ({"d:1": short("d")}, {"e:1": short("e")})
    assert {name: entry["status"] for name, entry in taken["behind"].items()} == {
        "b:1": "missing",
        "c:1": "stale",
    }
    assert taken["behind"]["c:1"]["upstream"] == short("newer")
    assert taken["counts"]["tags"] == 4


def test_the_list_has_one_fingerprint_whatever_its_order_and_whatever_is_extra():
    assert snapshots.fingerprint(["b:1", "a:1"]) == hashlib.sha256(b"a:1\nb:1").hexdigest()[:12]
    with_extra = snapshot({"b:1": image(), "x:1": image("extra"), "a:1": image()})
    assert with_extra["list"] == snapshots.fingerprint(["a:1", "b:1"])


def test_a_lag_keeps_its_age_while_its_status_changes():
    first = snapshot({"a:1": image("missing")}, at=100.0)
    second = snapshot({"a:1": image("failed", cause="network", error="no line")}, at=200.0, before=first)
    assert second["behind"]["a:1"]["since"] == 100.0
    caught_up = snapshot({"a:1": image()}, at=300.0, before=second)
    later = snapshot({"a:1": image("stale")}, at=400.0, before=caught_up)
    assert later["behind"]["a:1"]["since"] == 400.0


def test_a_lag_of_another_registry_is_none_of_this_one():
    before = snapshot({"a:1": image("missing")}, at=100.0, url="http://other.example.com:5000")
    assert snapshot({"a:1": image("missing")}, at=200.0, before=before)["behind"]["a:1"]["since"] == 200.0


def test_nothing_lags_since_a_time_to_come_where_a_clock_was_put_back():
    before = snapshot({"a:1": image("missing")}, at=500.0)
    assert snapshot({"a:1": image("missing")}, at=200.0, before=before)["behind"]["a:1"]["since"] == 200.0


def test_the_first_failure_is_told_and_that_the_registry_is_down_before_it():
    images = {"a:1": image(), "b:1": image("unreadable", cause="auth", error="refused")}
    taken = snapshot(images, code=1)
    assert (taken["cause"], taken["error"], taken["code"]) == ("auth", "refused", 1)
    down = snapshot({"b:1": image("unreadable", cause="network", error="tag")}, up=False, error="no answer")
    assert (down["cause"], down["error"], down["up"]) == ("network", "no answer", False)


def test_an_error_is_cut_to_two_hundred_characters():
    taken = snapshot({"a:1": image("failed", cause="internal", error="x" * 1000)})
    assert len(taken["behind"]["a:1"]["error"]) == len(taken["error"]) == 200


def test_only_a_sync_has_moved_bytes():
    assert snapshot({"a:1": image()}, size=7)["moved"] == 0
    assert snapshot({"a:1": image()}, size=7, function="sync")["moved"] == 7


def test_a_run_that_could_not_look_keeps_what_was_known():
    before = snapshot({"a:1": image("missing"), "b:1": image(local="b")}, at=100.0)
    failed = snapshots.failed_snapshot(before, "sync", at=200.0, cause="space", error="the disk is full")
    assert (failed["at"], failed["function"], failed["code"]) == (200.0, "sync", 1)
    assert (failed["cause"], failed["error"]) == ("space", "the disk is full")
    for key in ("tags", "behind", "counts", "list", "url", "up"):
        assert failed[key] == before[key]


def test_every_key_is_always_there():
    keys = set(snapshots.no_snapshot())
    taken = snapshot({"a:1": image()})
    assert set(taken) == keys
    assert set(snapshots.failed_snapshot(taken, "check", at=1.0, cause="", error="x")) == keys


def test_what_was_written_is_read_again(tmp_path):
    directory = str(tmp_path / "registry_sync")
    taken = snapshot({"a:1": image("stale")})
    snapshots.write_snapshot(directory, taken)
    assert snapshots.read_snapshot(directory) == taken
    assert [file.name for file in Path(directory).iterdir()] == ["last.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "\0\xff", "[" * 100_000])
def test_a_damaged_snapshot_is_as_none(tmp_path, text):
    (tmp_path / "last.json").write_text(text, "latin-1")
    assert snapshots.read_snapshot(str(tmp_path)) == snapshots.no_snapshot()


def test_what_a_snapshot_lacks_or_has_of_another_kind_is_as_if_unknown(tmp_path):
    taken = {**snapshot({"a:1": image()}), "behind": ["a:1"], "new": 1}
    del taken["held"]
    (tmp_path / "last.json").write_text(json.dumps(taken), "utf-8")
    found = snapshots.read_snapshot(str(tmp_path))
    assert (found["behind"], found["held"]) == ({}, {})
    assert "new" not in found
    assert found["tags"] == taken["tags"]


def test_the_mine_gives_it_wrapped_or_not():
    taken = snapshot({"a:1": image()})
    wrapped = {"__data__": taken, "__saltmine_acl__": 1, "allow_tgt": "site"}
    assert snapshots.from_mine(wrapped) == snapshots.from_mine(taken) == taken
    for damaged in (None, "text", {"__saltmine_acl__": 1}):
        assert snapshots.from_mine(damaged) == snapshots.no_snapshot()


def test_runs_are_kept_up_to_a_number_the_latest_first(tmp_path):
    for at in range(5):
        snapshots.note_run(str(tmp_path), snapshot({"a:1": image()}, at=float(at)), 3)
    assert [run["at"] for run in snapshots.read_runs(str(tmp_path))] == [4.0, 3.0, 2.0]
    assert [run["at"] for run in snapshots.read_runs(str(tmp_path), 1)] == [4.0]
    snapshots.note_run(str(tmp_path), snapshot({"a:1": image()}), 0)
    assert snapshots.read_runs(str(tmp_path)) == []


def test_a_damaged_line_of_the_history_is_left_out(tmp_path):
    snapshots.note_run(str(tmp_path), snapshot({"a:1": image()}, at=1.0), 9)
    with (tmp_path / "history.jsonl").open("ab") as history:
        history.write(b'{"at": 2.0, "fun\xff\n[]\n')
    snapshots.note_run(str(tmp_path), snapshot({"a:1": image()}, at=3.0), 9)
    assert [run["at"] for run in snapshots.read_runs(str(tmp_path))] == [3.0, 1.0]


def test_a_run_names_twenty_of_its_failures():
    failures = {f"a:{n}": image("failed", cause="network", error="no line") for n in range(30)}
    run = snapshots.run_of(snapshot({"b:1": image("missing"), **failures}, code=1))
    assert run["failed"] == [f"a:{n}" for n in range(20)]
    assert run.keys() == {
        "at",
        "function",
        "code",
        "seconds",
        "moved",
        "counts",
        "failed",
        "cause",
        "error",
    }


def test_a_lock_that_is_held_means_a_run(tmp_path):
    assert not snapshots.is_running(str(tmp_path))
    with (tmp_path / "lock-of-a-registry").open("w") as file:
        assert not snapshots.is_running(str(tmp_path))
        fcntl.flock(file, fcntl.LOCK_EX)
        assert snapshots.is_running(str(tmp_path))
    assert not snapshots.is_running(str(tmp_path))


def test_a_snapshot_of_132_tags_has_at_most_nine_kilobytes():
    images = {
        f"rhosp13/openstack-nova-placement-api{n % 44}:13.0-{n // 44}": image(local=str(n))
        for n in range(132)
    }
    assert len(json.dumps(snapshot(images))) <= 9000
