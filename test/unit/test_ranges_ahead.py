"""Where ranges wait that came ahead of their turn."""

from __future__ import annotations

import errno
import tempfile
import time

import pytest

from _registry_oci_errors import RateLimited, Unreachable
from _registry_store_read_ahead import LEFT_SECONDS, RangesAhead, Waiting
from _registry_store_remote_read import RANGE, _ranges

CHUNKS = [bytes([number]) * 1000 for number in range(5)]


def test_they_wait_in_a_file_that_has_no_name(tmp_path):
    waiting = Waiting(str(tmp_path))
    for chunk in CHUNKS:
        waiting.add(chunk)
    assert list(tmp_path.iterdir()) == []
    assert not waiting._rest
    assert b"".join(waiting.chunks()) == b"".join(CHUNKS)


def test_without_the_directory_they_wait_in_memory(tmp_path):
    waiting = Waiting(str(tmp_path / "nowhere"))
    for chunk in CHUNKS:
        waiting.add(chunk)
    assert b"".join(waiting.chunks()) == b"".join(CHUNKS)


@pytest.mark.parametrize("room", [0, 500, 1500, 2000])
def test_what_a_full_disk_does_not_take_waits_in_memory(tmp_path, monkeypatch, room):
    made = tempfile.TemporaryFile

    def full(**options):
        file = made(**options)
        write = file.write

        def limited(chunk):
            left = room - file.tell()
            if left <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(chunk[:left])

        class Limited:
            def __getattr__(self, name):
                return limited if name == "write" else getattr(file, name)

            def __enter__(self):
                return file

            def __exit__(self, *_):
                file.close()

        return Limited()

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    waiting = Waiting(str(tmp_path))
    for chunk in CHUNKS:
        waiting.add(chunk)
    assert b"".join(waiting.chunks()) == b"".join(CHUNKS)


@pytest.fixture
def ahead():
    made = RangesAhead(2, "")
    yield made
    made.close()


def test_what_a_try_leaves_is_there_for_the_next_of_the_same_blob(ahead):
    future = ahead.begin(lambda: ("range", None))
    ahead.leave("blob", 100, future)
    assert ahead.take("another", 100) is None
    assert ahead.take("blob", 0) is None
    assert ahead.take("blob", 100) is future
    assert ahead.take("blob", 100) is None


def test_what_is_left_for_long_gives_its_place_to_whoever_needs_one(ahead, monkeypatch):
    left = [ahead.begin(lambda: ("range", None)) for _ in range(2)]
    for number, future in enumerate(left):
        future.result(10)
        ahead.leave("blob", number, future)
    assert ahead.begin(lambda: ("range", None)) is None
    later = time.monotonic() + LEFT_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert ahead.begin(lambda: ("range", None)) is not None
    assert [ahead.take("blob", number) for number in range(2)] == [None, None]


@pytest.mark.parametrize("begin", [0, 1, RANGE - 1, RANGE, RANGE + 1])
def test_ranges_end_at_the_same_places_wherever_they_begin(begin):
    size = 3 * RANGE + 10
    ranges = list(_ranges(begin, size))
    assert ranges[0][0] == begin
    assert {end for _, end in ranges} <= {RANGE, 2 * RANGE, 3 * RANGE, size}
    assert [end for _, end in ranges[:-1]] == [start for start, _ in ranges[1:]]
    assert ranges[-1][1] == size


def test_what_the_disk_does_not_give_back_is_fetched_again(tmp_path, monkeypatch):
    made = tempfile.TemporaryFile

    class Rotten:
        def __init__(self, **options):
            self.file = made(**options)

        def __getattr__(self, name):
            return getattr(self.file, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def read(self, _):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(tempfile, "TemporaryFile", Rotten)
    waiting = Waiting(str(tmp_path))
    waiting.add(CHUNKS[0])
    with pytest.raises(Unreachable, match="waits on this host's disk: Input/output error"):
        list(waiting.chunks())


def test_a_range_that_failed_is_not_kept_for_the_next_try(tmp_path):
    ahead = RangesAhead(1, str(tmp_path))
    futures = [ahead.begin(lambda: (Waiting(str(tmp_path)), RateLimited("slower", 2.0)))]
    ahead.leave("blob", 0, futures[0])
    futures[0].result(10)
    assert ahead.take("blob", 0) is None
    again = ahead.begin(lambda: (Waiting(str(tmp_path)), None))
    assert again, "its place is free"
    ahead.leave("blob", 0, again)
    assert ahead.take("blob", 0) is again
    ahead.give_back(again)
    ahead.close()
