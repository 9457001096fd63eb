"""Comments of the states: what a person reads of a run."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

STATE = Path(__file__).resolve().parents[2] / "_states" / "registry_sync.py"
NEW = "sha256:" + "b" * 64


@pytest.fixture(scope="module")
def state() -> ModuleType:
    spec = importlib.util.spec_from_file_location("registry_sync_state", STATE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(images: dict[str, dict[str, Any]], *, tags: int = 132, **summary: Any) -> dict[str, Any]:
    blank = {"status": "copied", "previous": "", "upstream": NEW, "local": NEW, "cause": "", "error": ""}
    counts = {"tags": tags, "current": 0, "blobs": 31, "bytes": 1_200_000_000, "seconds": 48.04}
    return {"images": {key: blank | image for key, image in images.items()}, "summary": counts | summary}


def failed(cause: str, error: str) -> dict[str, Any]:
    return {"status": "failed", "cause": cause, "error": error}


def told(state: ModuleType, after: dict[str, Any]) -> str:
    return str(state._sync_return("x", after)["comment"])


def test_a_run_is_told_in_one_sentence(state: ModuleType) -> None:
    images: dict[str, dict[str, Any]] = {f"rhosp13/a:{number}": {} for number in range(12)}
    images["rhosp13/openstack-cron:13.0"] = failed("auth", "upstream refused user site-a")
    assert told(state, report(images)) == (
        "Mirrored 12 of 132 tags (1.2 GB in 31 blobs, 48 s); "
        "1 failed: rhosp13/openstack-cron:13.0 (auth: upstream refused user site-a)"
    )


def test_a_reason_that_many_share_is_said_once(state: ModuleType) -> None:
    images = {f"a/b:{number}": failed("network", "upstream x:443: connection refused") for number in range(9)}
    assert told(state, report(images, tags=9)) == (
        "0 of 9 tags are current; 9 failed: a/b:0, a/b:1, a/b:2 and 6 more "
        "(network: upstream x:443: connection refused)"
    )


def test_many_reasons_are_not_all_told(state: ModuleType) -> None:
    images = {f"a/b:{number}": failed("absent", f"no {number}") for number in range(9)}
    comment = told(state, report(images))
    assert "a/b:4 (absent: no 4); …; registry_sync.check names all" in comment
    assert "no 5" not in comment


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (9_949, "9.9 kB"),
        (9_950, "10 kB"),
        (999_499, "999 kB"),
        (999_700, "1.0 MB"),
        (1_320_000_000, "1.3 GB"),
        (5_500_000_000_000, "5.5 TB"),
    ],
)
def test_bytes_have_the_unit_that_a_person_would_choose(state: ModuleType, size: int, text: str) -> None:
    assert state._bytes(size) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (48.04, "48 s")])
def test_seconds_are_as_exact_as_they_are_short(state: ModuleType, seconds: float, text: str) -> None:
    assert state._seconds({"summary": {"seconds": seconds}}) == text


def test_images_without_all_their_signatures_are_told_and_fail_nothing(state: ModuleType) -> None:
    images: dict[str, dict[str, Any]] = {
        "a/b:1": {},
        "a/b:2": {"error": "its signatures are not all here: x"},
    }
    ret = state._sync_return("x", report(images, tags=2))
    assert ret["result"] is True
    assert ret["comment"].endswith("; 1 without all signatures: a/b:2 (its signatures are not all here: x)")
