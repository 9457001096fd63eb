from __future__ import annotations

from _registry_collect_table import collect_lines


def lines(**report):
    whole = {
        "registry": {"url": "http://mirror:5000", "up": True},
        "seconds": 2.94,
        "read_only_seconds": 0.0,
        "manifests": 264,
        "blobs": 0,
        "bytes": 0,
        "leased": 0,
        "repositories": [],
        "refused": "",
        "error": "",
    }
    return collect_lines({**whole, **report})


def test_a_look_says_what_could_be_freed():
    assert lines(blobs=212, bytes=3_100_000_000) == [
        "mirror:5000  up, 264 manifests",
        "",
        "3.1 GB in 212 blobs to be freed; 2.9 s",
    ]


def test_a_run_says_what_went_and_how_long_pushes_waited():
    shown = lines(blobs=1, bytes=2000, leased=4, read_only_seconds=1.44, repositories=["team/old"])
    assert shown == [
        "mirror:5000  up, 264 manifests",
        "  team/old  empty",
        "",
        "2.0 kB in 1 blob freed; 4 kept since they are young; 2.9 s, 1.4 s of them without pushes",
    ]


def test_what_stood_against_it_and_what_went_wrong_stand_in_full():
    assert lines(manifests=0, refused="push is everyone") == [
        "mirror:5000  up",
        "  refused: push is everyone",
        "",
        "nothing was freed",
    ]
    shown = lines(read_only_seconds=1.0, error="it does not\x1banswer")
    assert "  error: it does not answer" in shown
