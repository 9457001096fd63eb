"""The docker that runs: what it is found by, what it says, and which ones lose registries at a reload."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time

import pytest

from _registry_host_docker import ask_info, loses_registries, running_process, trusted_registries

# As docker 20.10 answers, shortened.
INFO = {
    "ServerVersion": "20.10.24+dfsg1",
    "RegistryConfig": {
        "InsecureRegistryCIDRs": ["127.0.0.0/8"],
        "IndexConfigs": {
            "docker.io": {"Name": "docker.io", "Mirrors": [], "Secure": True, "Official": True},
            "mirror:5000": {"Name": "mirror:5000", "Mirrors": [], "Secure": False, "Official": False},
        },
    },
}


@pytest.fixture
def answering(tmp_path):
    """Return a function that has one request on a Unix socket answered, and gives the socket's path."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "docker.sock"))
    listener.listen()

    def answer(status, body):
        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall(head.encode() + body.encode())

        threading.Thread(target=serve, daemon=True).start()
        return str(tmp_path / "docker.sock")

    yield answer
    listener.close()


def test_it_is_asked_on_its_socket_what_it_trusts(answering):
    assert trusted_registries(ask_info(answering("200 OK", json.dumps(INFO)))) == {"mirror:5000"}


@pytest.mark.parametrize(("status", "body"), [("500 Oops", "{}"), ("200 OK", "nonsense"), ("200 OK", "[]")])
def test_what_it_cannot_say_is_nothing(status, body, answering):
    assert ask_info(answering(status, body)) == {}


def test_where_nobody_listens_the_answer_is_nothing(tmp_path):
    assert ask_info(str(tmp_path / "absent.sock")) == {}
    assert trusted_registries({}) == set()


def _soon(read, wanted, seconds=10):
    """Tell whether something is read in a while: a process has its name only once it has begun."""
    ends = time.monotonic() + seconds
    while read() != wanted and time.monotonic() < ends:
        time.sleep(0.01)
    return read() == wanted


def test_its_process_is_one_of_that_name_that_runs(tmp_path):
    program, note = tmp_path / "dockerd-current", tmp_path / "docker.pid"
    program.symlink_to(sys.executable)
    words = [str(program), "-c", "input()", "--insecure-registry", "a:1"]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as running:
        note.write_text(f"{running.pid}\n")
        assert _soon(lambda: running_process(str(note)), (running.pid, words))
        running.communicate(b"\n")
    assert running_process(str(note)) == (0, [])


def test_a_note_of_a_process_that_is_another_program_by_now_is_none(tmp_path):
    note = tmp_path / "docker.pid"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        note.write_text(str(other.pid))
        assert running_process(str(note)) == (0, [])
        other.communicate(b"\n")
    note.write_text("")
    assert running_process(str(note)) == (0, [])
    assert running_process(str(tmp_path / "absent.pid")) == (0, [])


@pytest.mark.parametrize(
    ("version", "loses"),
    [
        ("1.13.1", False),
        ("17.05.0-ce", True),
        ("20.10.24+dfsg1", True),
        ("23.0.6", True),
        ("23.0.7", False),
        ("24.0.1", True),
        ("24.0.2", False),
        ("26.1.5+dfsg1", False),
        ("", False),
    ],
)
def test_some_lose_their_registries_at_a_reload_beside_mirrors(version, loses):
    assert loses_registries(version) == loses
