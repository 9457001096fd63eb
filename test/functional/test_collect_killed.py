"""A collection that is killed at any moment leaves a registry that takes pushes again, and loses nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from _registry_sync_collect import LEASE
from _registry_sync_collect_apply import collect
from _registry_sync_collect_window import CollectError, Window, locked, recover, without_pushes
from support.collecting import SOCKET_URL, CollectedRegistry, pull
from support.images import Layer, docker_image, docker_list
from support.killing import KILLS
from support.registry_content import push

pytestmark = pytest.mark.needs("docker-distribution", "flock")

BASE = Layer("base", 100_000)
KEPT = {
    f"kept-{number}": docker_list([docker_image([BASE, Layer(f"kept-{number}", 20_000)])])
    for number in range(8)
}
# A shell has its jobs in the background ignore an interrupt, and their children with them.
ACT = """
import json, signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
from _registry_sync_collect_apply import Collector, Site, collect
from _registry_sync_collect_window import Pushes
from support.push_process import PushProcess
told = json.loads(sys.argv[1])
push = PushProcess(Path(told["push"]))
guard = push.guard if told["guard"] else lambda lock: lambda: None
pushes = Pushes("push", push.stop, push.start, push.runs, guard)
collector = Collector(tuple(told["command"]), str(push.config_file))
print("begun", flush=True)
collect(Site(told["storage"], pushes, collector, told["lock"], 0.0, repositories=True))
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[CollectedRegistry]:
    with CollectedRegistry(tmp_path) as registry, registry.session() as http:
        for tag, image in KEPT.items():
            push(SOCKET_URL, "team/app", tag, image, session=http)
        yield registry


def litter(registry: CollectedRegistry) -> None:
    with registry.session() as http:
        for number in range(6):
            image = docker_image([BASE, Layer(f"gone-{time.time_ns()}", 20_000)])
            name = f"gone/in-{number}"
            push(SOCKET_URL, name, "1", image, session=http)
            assert http.delete(f"{SOCKET_URL}/v2/{name}/manifests/{image.digest}").status_code == 202


def begin(registry: CollectedRegistry, *, guard: bool, slow: str = "") -> subprocess.Popen[bytes]:
    """Collect in a process of its own; with `slow` the program waits before it does anything."""
    command = [*([slow] if slow else []), *registry.collector().command]
    told = {
        "push": str(registry.push.directory),
        "storage": str(registry.data),
        "command": command,
        "lock": registry.lock,
        "guard": guard,
    }
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    acting = subprocess.Popen(
        [sys.executable, "-c", ACT, json.dumps(told)], stdout=subprocess.PIPE, env=environment
    )
    assert acting.stdout is not None
    acting.stdout.readline()
    return acting


def kill(acting: subprocess.Popen[bytes]) -> bool:
    acting.kill()
    # Not to the end of its output, which who it has started may hold open.
    acting.wait()
    assert acting.stdout is not None
    acting.stdout.close()
    return acting.returncode == -signal.SIGKILL


def assert_pushes_go_on(registry: CollectedRegistry, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not (registry.push.runs() and registry.push.socket.is_socket()):
        assert time.monotonic() < deadline, "nobody has started it again"
        time.sleep(0.02)
    with registry.session() as http:
        tag = f"after-{time.time_ns()}"
        push(SOCKET_URL, "team/after", tag, docker_image([BASE, Layer(tag)]), session=http)
    pull(registry.url, "team/after", tag)


def assert_kept(registry: CollectedRegistry) -> None:
    for tag in KEPT:
        pull(registry.url, "team/app", tag)


@pytest.mark.parametrize("guard", [True, False])
def test_at_any_moment(registry, guard):
    seed = random.randrange(10**6)
    moments = random.Random(seed)
    print(f"seed {seed}")
    caught = 0
    for _ in range(KILLS):
        litter(registry)
        acting = begin(registry, guard=guard)
        time.sleep(moments.uniform(0, 1.8))
        caught += kill(acting)
        assert_kept(registry)
        if not guard:
            # As the next sync does; the program that was left may take a moment.
            wait_until_free(registry)
            recover(registry.lock, registry.pushes())
        assert_pushes_go_on(registry)
    print(f"{caught} of {KILLS} were still at it")
    wait_until_free(registry)
    done = collect(registry.site(repositories=True))
    assert (done.refused, done.error) == ("", "")
    assert sorted(registry.catalog()) == ["team/after", "team/app"]
    assert list((registry.data / ".registry_sync").iterdir()) == []
    assert_kept(registry)
    assert_pushes_go_on(registry)


def wait_until_free(registry: CollectedRegistry) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            with locked(registry.lock):
                return
        except CollectError:
            time.sleep(0.02)


@pytest.fixture
def slow(tmp_path: Path) -> str:
    script = tmp_path / "slow"
    script.write_text('#!/bin/sh\ntouch "$0.runs"\nsleep 4\ntouch "$0.ended"\nexec "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return str(script)


def killed_in_the_window(registry: CollectedRegistry, slow: str, *, guard: bool) -> None:
    acting = begin(registry, guard=guard, slow=slow)
    while not Path(f"{slow}.runs").exists():
        time.sleep(0.01)
    assert kill(acting)


def test_the_program_that_is_left_keeps_pushes_out_until_it_has_ended(registry, slow):
    litter(registry)
    killed_in_the_window(registry, slow, guard=True)
    with pytest.raises(CollectError, match=r"space is being freed \(push was stopped at "):
        recover(registry.lock, registry.pushes())
    while not registry.push.runs():
        time.sleep(0.01)
    assert Path(f"{slow}.ended").exists()
    assert_pushes_go_on(registry)
    assert_kept(registry)


def test_who_is_interrupted_ends_the_program_before_pushes_are_possible(registry, slow):
    litter(registry)
    acting = begin(registry, guard=False, slow=slow)
    while not Path(f"{slow}.runs").exists():
        time.sleep(0.01)
    acting.send_signal(signal.SIGINT)
    assert acting.wait(30) != 0
    assert registry.push.runs()
    assert LEASE not in registry.catalog()
    assert Path(registry.lock).read_text(encoding="utf-8") == ""
    before = sorted(registry.top.rglob("data"))
    time.sleep(4)
    assert sorted(registry.top.rglob("data")) == before
    assert_pushes_go_on(registry)


def test_without_a_guard_the_next_run_starts_pushes_again(registry, slow):
    litter(registry)
    killed_in_the_window(registry, slow, guard=False)
    wait_until_free(registry)
    assert not registry.push.runs()
    assert recover(registry.lock, registry.pushes())
    assert_pushes_go_on(registry)
    assert not recover(registry.lock, registry.pushes())


def test_a_service_that_somebody_has_stopped_stays_stopped(registry):
    registry.push.stop()
    assert not recover(registry.lock, registry.pushes())
    assert not registry.push.runs()


def fail(registry):
    with locked(registry.lock) as held, without_pushes(held, registry.pushes(), Window()):
        assert not registry.push.runs()
        raise RuntimeError


def test_what_fails_inside_starts_pushes_again_and_leaves_no_guard(registry):
    with pytest.raises(RuntimeError):
        fail(registry)
    assert registry.push.runs()
    registry.push.stop()
    time.sleep(0.3)
    assert not registry.push.runs()
    assert Path(registry.lock).read_text(encoding="utf-8") == ""
