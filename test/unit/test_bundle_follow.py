"""A volume's hash follows what is written, in whatever order its parts come."""

from __future__ import annotations

import hashlib
import os
import random
import threading

import pytest

from _registry_store_bundle_follow import CHUNK, Followers, FollowingHash
from _registry_store_bundle_places import flush

SIZES = [512, 3 * CHUNK + 7, 0, 1, CHUNK, 9000]


@pytest.fixture
def parts():
    return [random.Random(number).randbytes(size) for number, size in enumerate(SIZES)]


@pytest.fixture
def volume(tmp_path):
    file = os.open(tmp_path / "volume", os.O_RDWR | os.O_CREAT)
    yield file
    os.close(file)


def ends_of(parts):
    # Each part has a header before it, so no two end at one place.
    ends, at = [], 0
    for part in parts:
        at += 512 + len(part)
        ends.append(at)
    return ends


@pytest.mark.parametrize("seed", range(5))
def test_parts_in_any_order_give_the_hash_of_the_whole(parts, volume, seed):
    ends = ends_of(parts)
    following = FollowingHash(volume, ends, threading.Event())
    order = list(range(len(parts)))
    random.Random(seed).shuffle(order)
    os.ftruncate(volume, ends[-1] + 1024)
    for number in order:
        os.pwrite(volume, parts[number], ends[number] - len(parts[number]))
        following.came(ends[number])
        following.follow()
    whole = b"".join(bytes(512) + part for part in parts) + bytes(1024)
    assert following.hexdigest() == hashlib.sha256(whole).hexdigest()


def test_it_goes_no_further_than_what_is_whole_from_the_first_byte_on(parts, volume):
    ends = ends_of(parts)
    following = FollowingHash(volume, ends, threading.Event())
    os.ftruncate(volume, ends[-1])
    following.came(ends[1])
    assert following.follow() == (0, 0)
    following.came(ends[0])
    assert following.follow() == (0, ends[1])
    assert following.follow() == (ends[1], ends[1])


def test_who_is_stopped_reads_no_further(parts, volume):
    stopping = threading.Event()
    following = FollowingHash(volume, ends_of(parts), stopping)
    following.came(ends_of(parts)[0])
    stopping.set()
    assert following.follow() == (0, 0)


def test_followers_leave_no_thread_behind(tmp_path, volume):
    followers = Followers()
    (tmp_path / "blob").write_bytes(bytes(CHUNK))
    ran = threading.Event()
    followers.hash(ran.set)
    followers.write_back(volume, 0, CHUNK)
    followers.write_back_file(tmp_path / "blob")
    followers.write_back_file(tmp_path / "gone")
    assert ran.wait(10)
    followers.close()
    names = {thread.name for thread in threading.enumerate()}
    assert not {name for name in names if name.startswith(("registry-hash", "registry-flush"))}


def test_a_directory_is_flushed_like_a_file(tmp_path):
    flush(tmp_path)
