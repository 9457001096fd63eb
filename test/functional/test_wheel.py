"""The formula's Python as a wheel: built, installed beside Salt, loaded by it, beaten by what was synced."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.registries import free_port
from support.salt_minion import Answer, Minion, answer_of

KINDS = ("modules", "states", "utils", "output", "runners", "beacons")
PARTS = ("FORMULA", "LICENSE", "pyproject.toml", "setup.py", "docs/wheel.md", "saltext")


@pytest.fixture(scope="module")
def builder(checkout: Path) -> str:
    """A Python that has pip, and a setuptools that needs no other package to build a wheel."""
    for python in (checkout / ".venv/unit/bin/python", sys.executable):
        words = [python, "-c", "import setuptools.command.bdist_wheel, pip"]
        if Path(python).exists() and not subprocess.run(words, capture_output=True, check=False).returncode:
            return str(python)
    pytest.skip("needs pip and setuptools 70.1")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, checkout: Path, builder: str) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    # A build leaves files in its tree.
    tree = directory / "tree"
    for part in (*PARTS, *(f"_{kind}" for kind in KINDS)):
        if (checkout / part).is_dir():
            shutil.copytree(checkout / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        elif (checkout / part).exists():
            (tree / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(checkout / part, tree / part)
    pip(builder, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(directory), str(tree))
    (built,) = directory.glob("*.whl")
    return built


def pip(python: str, *words: str) -> None:
    command = [python, "-m", "pip", "--disable-pip-version-check", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, wheel: Path, builder: str) -> str:
    """A Python of its own that has this one's Salt, and the wheel."""
    directory = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True)
    (site,) = directory.glob("lib/python*/site-packages")
    ours = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "salt.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in ours))
    installed = str(directory / "bin" / "python")
    pip(builder, "--python", installed, "install", "--no-deps", "--no-index", str(wheel))
    return installed


@pytest.fixture(scope="module")
def minion(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Minion:
    """A minion that serves itself no formula."""
    made = Minion(tmp_path_factory.mktemp("minion"), checkout)
    shutil.rmtree(made.file_root)
    nobody, none = ({"host": "127.0.0.1", "port": free_port(), "tls": False} for _ in range(2))
    pillar = {"upstream": none, "local": nobody, "images": ["cron"], "transfer": {"retries": 0}}
    made.set_pillar({"docker_registry": pillar})
    return made


def call(python: str, minion: Minion, function: str, *arguments: str) -> Answer:
    """Run salt-call by another Python than this one."""
    words = [python, "-c", "from salt.scripts import salt_call; salt_call()"]
    words += [*minion.words(function, *arguments)[1:]]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return answer_of(subprocess.run(words, capture_output=True, text=True, env=environment, check=False))


def ours(names: Any) -> set[str]:
    return {name for name in names if name.startswith("registry_")}


def test_the_wheel_has_every_file_of_the_formulas_python_and_no_other(wheel: Path, checkout: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {
        f"saltext/docker_registry/{kind}/{file.name}"
        for kind in KINDS
        for file in (checkout / f"_{kind}").glob("*.py")
    }
    assert inside == {"saltext/docker_registry/__init__.py", *wanted}
    version = yaml.safe_load((checkout / "FORMULA").read_text(encoding="utf-8"))["version"]
    assert wheel.name == f"saltext_docker_registry-{version}-py3-none-any.whl"


def test_salt_names_it_and_has_every_function_and_state_that_a_synced_minion_has(
    python: str, minion: Minion, make_minion: Any, checkout: Path
) -> None:
    synced = make_minion()
    synced.sync()
    for function in ("sys.list_functions", "sys.list_state_functions"):
        found = ours(call(python, minion, function).value)
        assert found == ours(synced.call(function).value), function
        assert "registry_sync.check" in found or "registry_sync.synced" in found
    version = yaml.safe_load((checkout / "FORMULA").read_text(encoding="utf-8"))["version"]
    told = call(python, minion, "test.versions").value
    assert f"saltext.docker_registry: {version}" in told


def test_it_runs_and_shows_its_table(python: str, minion: Minion) -> None:
    words = [word for word in minion.words("registry_sync.check")[1:] if word != "--out=json"]
    done = subprocess.run(
        [python, "-c", "from salt.scripts import salt_call; salt_call()", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "  down" in done.stdout.splitlines()[0], done.stdout
    assert "[ERROR" not in done.stderr


def test_what_was_synced_beats_it_with_all_that_it_imports(
    python: str, checkout: Path, make_minion: Any
) -> None:
    minion = make_minion()
    with (minion.file_root / "_modules" / "registry_sync_actions.py").open("a", encoding="utf-8") as module:
        module.write("\n\ndef places():\n    return [__file__, commands.__file__]\n")
    assert call(python, minion, "registry_sync.places").retcode != 0
    minion.sync()
    places = call(python, minion, "registry_sync.places").value
    assert [place.startswith(str(minion.root)) for place in places] == [True, True], places
