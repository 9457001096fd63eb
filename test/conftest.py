"""Fixtures every test may use: empty registries, minions, and tools without which a test skips."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.browser import axe_script
from support.images import static_busybox
from support.prometheus import exporter_binary
from support.registries import Distribution, registry_binary
from support.salt_minion import Minion

REPOSITORY_ROOT = Path(__file__).resolve().parent.parent

# Functional tests of a minute or more, by parts of their files' names, the longest first. What is not among
# them comes later, which costs a run a minute at worst.
LONG_FILES = (
    "fleet",
    "undercloud",
    "events",
    "mine",
    "wheel",
    "killed",
    "_salt",
    "environments",
    "formula",
    "login_tls",
    "attachments",
)

# Tools whose presence is more than a name on PATH.
PROBES: dict[str, Callable[[], str | None]] = {
    "docker-distribution": registry_binary,
    "busybox-static": static_busybox,
    "node-exporter": exporter_binary,
    "axe-core": axe_script,
}


def pytest_configure(config: pytest.Config) -> None:
    """Announce our markers, and have a run that is told to end stop what it has started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A plugin imports Salt, which keeps what is logged for a log that nobody sets up here, and would write it
    # at the end into a stream that is closed by then.
    with contextlib.suppress(ImportError):
        salt_logging = importlib.import_module("salt._logging")
        salt_logging.shutdown_temp_handler()
    config.addinivalue_line(
        "markers",
        "thorough: minutes, for what is told in short elsewhere; left to test/run thorough",
    )
    config.addinivalue_line("markers", "needs(*tools): skip, naming the tool, where one is not installed")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where workers take file after file, have those that take longest come first."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    tests_in = Counter(item.path for item in items)
    items.sort(key=lambda item: (*_place_in_queue(item.path), -tests_in[item.path], item.path))


def _place_in_queue(path: Path) -> tuple[bool, int]:
    names = [name in path.name for name in LONG_FILES]
    return "integration" not in path.parts, names.index(True) if any(names) else len(names)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a tool this machine lacks."""
    for marker in item.iter_markers("needs"):
        skip_without(*marker.args)


def skip_without(*tools: str) -> None:
    """Skip the running test unless all tools are installed."""
    for tool in tools:
        probe = PROBES.get(tool)
        if not (probe() if probe else shutil.which(tool)):
            pytest.skip(f"needs {tool}")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Return the formula's root."""
    return REPOSITORY_ROOT


@pytest.fixture
def start_registry(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Distribution]]:
    """Return a function that starts an empty registry, which ends with the test.

    It takes `Distribution`'s keywords.
    """
    yield from _registry_starter(tmp_path_factory)


@pytest.fixture(scope="module")
def start_module_registry(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Distribution]]:
    """Do as `start_registry`, for a whole module."""
    yield from _registry_starter(tmp_path_factory)


@pytest.fixture
def make_minion(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Callable[..., Minion]:
    """Return a function that makes a throw-away masterless minion (keywords as `Minion`'s)."""

    def make(**keywords: Any) -> Minion:
        return Minion(tmp_path_factory.mktemp("minion"), checkout, **keywords)

    return make


@pytest.fixture
def upstream(start_registry: Callable[..., Distribution]) -> Distribution:
    """Return an empty registry to mirror from."""
    return start_registry()


@pytest.fixture
def local(start_registry: Callable[..., Distribution]) -> Distribution:
    """Return an empty registry to mirror to."""
    return start_registry()


@pytest.fixture(scope="module")
def module_upstream(start_module_registry: Callable[..., Distribution]) -> Distribution:
    """Return a registry to mirror from that a module's tests share."""
    return start_module_registry()


@pytest.fixture(scope="module")
def module_local(start_module_registry: Callable[..., Distribution]) -> Distribution:
    """Return a registry to mirror to that a module's tests share."""
    return start_module_registry()


def _registry_starter(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Distribution]]:
    skip_without("docker-distribution")
    with ExitStack() as running:

        def start(directory: Path | None = None, **keywords: Any) -> Distribution:
            directory = directory or tmp_path_factory.mktemp("registry")
            return running.enter_context(Distribution(directory, **keywords))

        yield start
