"""Pushes and pulls while space is freed: what is pushed is whole or was refused, and no pull notices."""

from __future__ import annotations

import itertools
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

import _registry_sync_commands as mirror
import _registry_sync_prune_run as prune_run
from _registry_sync_collect_apply import collect, foresee
from support.collecting import SOCKET_URL, CollectedRegistry, bytes_below, pull
from support.images import Image, Layer, docker_image, docker_list
from support.pillar import settings_of
from support.registry_content import push, push_blob

pytestmark = pytest.mark.needs("docker-distribution", "flock")

PUSHES, PULLS = 40, 100
BASE = Layer("base", 200_000)
STANDING = [docker_image([BASE, Layer(f"standing-{number}", 100_000)]) for number in range(12)]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[CollectedRegistry]:
    with CollectedRegistry(tmp_path) as registry, registry.session() as http:
        for number, image in enumerate(STANDING):
            push(SOCKET_URL, "team/standing", str(number), image, session=http)
        for number in range(12):
            gone = docker_image([BASE, Layer(f"gone-{number}", 100_000)])
            push(SOCKET_URL, "team/gone", str(number), gone, session=http)
            registry.delete("team/gone", gone.digest)
        yield registry


class Pushing:
    """Pushes of many clients, one image each, with a pause before each manifest.

    Every other client is patient: it asks again where nobody listens, and does nothing over.
    """

    def __init__(self, registry: CollectedRegistry) -> None:
        self.registry = registry
        self.images = {f"push-{n}": _image(n) for n in range(PUSHES)}
        self.patient = set(itertools.islice(self.images, 0, None, 2))
        self.ended: dict[str, Exception | None] = {}
        self._threads = [threading.Thread(target=self._push, args=(name,)) for name in self.images]

    def begin(self, between: slice) -> None:
        for thread in self._threads[between]:
            thread.start()

    def wait(self) -> None:
        for thread in self._threads:
            thread.join()

    @property
    def failed(self) -> set[str]:
        return {name for name, failure in self.ended.items() if failure}

    def _push(self, name: str) -> None:
        patience = 30 if name in self.patient else 0
        try:
            with self.registry.session() as http:
                self._send(http, name, self.images[name], patience)
        except (requests.RequestException, AssertionError, OSError) as failure:
            self.ended[name] = failure
        else:
            self.ended[name] = None

    def _send(self, http: requests.Session, tag: str, image: Image, patience: float) -> None:
        for blob in image.blobs:
            _insist(lambda blob=blob: push_blob(SOCKET_URL, "team/pushed", blob, session=http), patience)
        for child in image.children:
            self._send(http, child.digest, child, patience)
        time.sleep(0.3)
        _insist(lambda: self._put(http, tag, image), patience)

    def _put(self, http: requests.Session, tag: str, image: Image) -> None:
        url = f"{SOCKET_URL}/v2/team/pushed/manifests/{tag}"
        http.put(url, data=image.manifest, headers={"Content-Type": image.media_type}).raise_for_status()


def _insist(act: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            act()
            return
        except requests.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _image(number: int) -> Image:
    image = docker_image([BASE, Layer(f"pushed-{number}", 300_000), Layer(f"shared-{number % 7}", 50_000)])
    return docker_list([image]) if number % 4 == 0 else image


class Pulling:
    """Clients that pull until they are told to stop."""

    def __init__(self, registry: CollectedRegistry) -> None:
        self._registry = registry
        self.failures: list[str] = []
        self.longest = 0.0
        self.count = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._pull) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _pull(self) -> None:
        with requests.Session() as http:
            for number in itertools.cycle(range(len(STANDING))):
                began = time.monotonic()
                try:
                    pull(self._registry.url, "team/standing", str(number), http)
                except (requests.RequestException, AssertionError) as failure:
                    self.failures.append(str(failure))
                self.longest = max(self.longest, time.monotonic() - began)
                self.count += 1
                if self._stop.is_set():
                    return

    def end(self) -> None:
        deadline = time.monotonic() + 60
        while self.count < PULLS and time.monotonic() < deadline:
            time.sleep(0.05)
        self._stop.set()
        for thread in self._threads:
            thread.join()


def busy(registry: CollectedRegistry, free: Callable[[], None]) -> Pushing:
    pulling, pushing = Pulling(registry), Pushing(registry)
    pushing.begin(slice(PUSHES // 2))
    time.sleep(0.4)
    freeing = threading.Thread(target=free)
    freeing.start()
    pushing.begin(slice(PUSHES // 2, None))
    freeing.join()
    pushing.wait()
    pulling.end()
    assert pulling.count >= PULLS
    assert pulling.failures == []
    print(f"{pulling.count} pulls, the longest {pulling.longest:.2f} s")
    return pushing


def broken(pushing: Pushing) -> list[str]:
    """Pushes that were said to have ended well and cannot be pulled."""
    found = []
    for name, failure in pushing.ended.items():
        if failure is None:
            try:
                pull(pushing.registry.url, "team/pushed", name)
            except (requests.RequestException, AssertionError):
                found.append(name)
    return found


@pytest.mark.parametrize("grace", [3600.0, 0.0])
def test_every_push_ends_well_or_fails_loudly_and_no_pull_fails(registry, grace):
    done = []
    pushing = busy(registry, lambda: done.append(collect(registry.site(grace=grace))))
    (found,) = done
    print(
        f"{len(pushing.failed)} of {PUSHES} failed; {found.read_only_seconds:.2f} s without pushes; {found}"
    )
    assert (found.refused, found.error) == ("", "")
    assert len(pushing.ended) == PUSHES
    assert broken(pushing) == []
    if grace:
        # What they had sent before was kept for them.
        assert pushing.failed & pushing.patient == set()
    # What was cut goes through the second time.
    again = Pushing(registry)
    again.begin(slice(None))
    again.wait()
    assert again.failed == set()
    assert broken(again) == []
    for number in range(len(STANDING)):
        pull(registry.url, "team/standing", str(number))


def test_the_bare_tool_breaks_images_that_are_pushed_meanwhile(registry):
    """The loss that the test above would see."""
    command = [*registry.collector().command, str(registry.push.config_file)]
    pushing = busy(registry, lambda: subprocess.run(command, check=True, capture_output=True) and None)
    assert broken(pushing) != []


def test_the_disk_is_smaller_by_what_prune_has_foretold(upstream, tmp_path):
    with CollectedRegistry(tmp_path / "local") as registry:
        tags = [f"v{number}" for number in range(30)]
        for number, tag in enumerate(tags):
            image = docker_image([BASE, Layer(f"of-{number % 20}", 150_000), Layer(tag, 40_000)])
            push(upstream.url, "team/app", tag, docker_list([image]) if number % 3 else image)
        places = {"directory": str(tmp_path / "cache"), "ledger_directory": str(tmp_path / "ledger")}

        def settings(wanted):
            images = [{"name": "team/app", "tags": wanted}]
            rules = {"after": 0, "untagged": 0, "ceiling": "100%"}
            public = settings_of(upstream, registry.public, images, prune=rules)
            return registry.public.written_through_the_socket(public)

        for wanted in (tags, tags[:9]):
            assert mirror.sync(settings(wanted), **places)["summary"]["failed"] == 0
        pruned = prune_run.prune(settings(tags[:9]), automatic=True, **places)
        assert pruned["summary"]["pruned"] >= 21
        before = bytes_below(registry.top / "blobs")
        assert foresee(registry.site()).size == pytest.approx(pruned["summary"]["bytes"], rel=0.01)
        done = collect(registry.site())
        freed = before - bytes_below(registry.top / "blobs")
        print(f"foretold {pruned['summary']['bytes']}, freed {freed}")
        assert (done.refused, done.error, done.size) == ("", "", freed)
        assert freed == pytest.approx(pruned["summary"]["bytes"], rel=0.01)
        for tag in tags[:9]:
            pull(registry.url, "team/app", tag)


@pytest.mark.skipif("MEASURE" not in os.environ, reason="a stopwatch: MEASURE=1 asks for it")
def test_the_window_of_132_tags_is_five_seconds_at_most(tmp_path):
    with CollectedRegistry(tmp_path) as registry, registry.session() as http:
        for number in range(44):
            layers = [BASE, *(Layer(f"{number}-{part}", 1_000_000) for part in range(8))]
            image = docker_image(layers)
            push(SOCKET_URL, f"rhosp13/image-{number}", [f"13.0-{n}" for n in range(2)], image, session=http)
            other = docker_image([*layers[:-1], Layer(f"{number}-other", 1_000_000)])
            push(SOCKET_URL, f"rhosp13/image-{number}", "latest", other, session=http)
            if number < 10:
                registry.delete(f"rhosp13/image-{number}", other.digest)
        done = collect(registry.site())
        print(done)
        assert (done.refused, done.error) == ("", "")
        assert done.read_only_seconds <= 5
