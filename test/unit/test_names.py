from __future__ import annotations

import hashlib

import pytest

from _registry_oci_names import digest_of, hasher, is_digest, is_repository, is_tag, matches, printable


@pytest.mark.parametrize("name", ["a", "a/b-c_d.e", "a__b", "a---b", "0/1/2"])
def test_repository_names_of_the_spec(name):
    assert is_repository(name)


@pytest.mark.parametrize("name", ["", "A", "a/", "/a", "a//b", "a..b", "a/../b", "a___b", "-a", "a" * 256])
def test_names_that_are_no_repository(name):
    assert not is_repository(name)


def test_tags_of_the_spec():
    assert is_tag("A_b.c-1")
    assert not is_tag("a" * 129)
    assert not is_tag(".a")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_digest_names_the_bytes_it_was_made_of(algorithm):
    digest = digest_of(b"x", algorithm)
    assert digest == f"{algorithm}:{hashlib.new(algorithm, b'x').hexdigest()}"
    assert is_digest(digest)
    assert matches(b"x", digest)
    assert not matches(b"y", digest)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_bytes_that_come_piece_by_piece_are_hashed_by_the_algorithm_of_their_digest(algorithm):
    digest = digest_of(b"one two", algorithm)
    pieces = hasher(digest)
    pieces.update(b"one ")
    pieces.update(b"two")
    assert digest.endswith(":" + pieces.hexdigest())


NO_DIGESTS = [
    "",
    "sha256:",
    "sha256:" + "a" * 63,
    "sha256:" + "A" * 64,
    "sha256:" + "a" * 128,
    "sha512:" + "a" * 64,
    "md5:" + "a" * 32,
    "sha384:" + "a" * 96,
    "sha256:" + "a" * 64 + "\n",
]


@pytest.mark.parametrize("name", NO_DIGESTS)
def test_names_that_are_no_digest_match_nothing(name):
    assert not is_digest(name)
    assert not matches(b"x", name)
    with pytest.raises(ValueError, match="is no sha256 or sha512 digest"):
        hasher(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("linux/amd64", "linux/amd64"),
        ("größe 1", "größe 1"),
        ("a\nb\x1b[31m\x00", "a?b?[31m?"),
        ("\ud800", "?"),
        ("abc\u202edcba", "abc?dcba"),
        (None, "None"),
        ({"a": "\ud800"}, "{'a': '\\ud800'}"),
    ],
)
def test_what_a_stranger_sends_is_printable(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("limit", [1, 10, 100])
def test_what_a_stranger_sends_is_cut(limit):
    shown = printable("x" * 2_000_000, limit)
    assert len(shown) == limit
    assert shown.endswith("…")
    assert printable("x" * limit, limit) == "x" * limit
