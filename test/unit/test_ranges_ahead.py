"""Where ranges wait that came ahead of their turn."""

from __future__ import annotations

import errno
import tempfile

import pytest

from _registry_store_remote_read import _Waiting

CHUNKS = [bytes([number]) * 1000 for number in range(5)]


def test_they_wait_in_a_file_that_has_no_name(tmp_path):
    waiting = _Waiting(str(tmp_path))
    for chunk in CHUNKS:
        waiting.add(chunk)
    assert list(tmp_path.iterdir()) == []
    assert not waiting._rest
    assert b"".join(waiting.chunks()) == b"".join(CHUNKS)


def test_without_the_directory_they_wait_in_memory(tmp_path):
    waiting = _Waiting(str(tmp_path / "nowhere"))
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
    waiting = _Waiting(str(tmp_path))
    for chunk in CHUNKS:
        waiting.add(chunk)
    assert b"".join(waiting.chunks()) == b"".join(CHUNKS)
