"""A masterless minion in a directory of its own, that sees this formula as its file roots."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.salt_forks import SaltForks

FORMULA_PARTS = ("_beacons", "_modules", "_output", "_runners", "_states", "_utils", "docker_registry")
SECONDS_FOR_A_CALL = 600
FORKS = SaltForks()


@dataclass(frozen=True)
class Answer:
    """What `salt-call` said. `value` is the function's return, None where the output is no JSON."""

    retcode: int
    value: Any
    stdout: str
    stderr: str


class Minion:
    """A throw-away minion below `directory`.

    It serves itself a copy of the formula from `checkout`, and `pillar` as its pillar. `config` is
    merged into the minion's configuration, `states` are further files of the file roots: name to
    text.
    """

    def __init__(
        self,
        directory: Path | str,
        checkout: Path | str,
        *,
        pillar: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        grains: Mapping[str, Any] | None = None,
        states: Mapping[str, str] | None = None,
        minion_id: str = "minion",
    ) -> None:
        self.root = Path(directory).resolve()
        self.minion_id = minion_id
        self.config_dir = self.root / "conf"
        self.file_root = self.root / "states"
        self.pillar_root = self.root / "pillar"
        self._copy_formula(Path(checkout))
        for name, text in (states or {}).items():
            _write(self.file_root / name, text)
        self.set_pillar(pillar or {})
        settings = self._settings() | {"grains": dict(grains or {})} | dict(config or {})
        self._serves_itself_alone = "file_roots" not in (config or {})
        _write(self.config_dir / "minion", yaml.safe_dump(settings))

    @property
    def loads_from(self) -> Path:
        """Where Salt copies modules to, and loads them from."""
        return self.root / "var/cache/salt/minion/extmods"

    def set_pillar(self, pillar: Mapping[str, Any]) -> None:
        """Replace the pillar."""
        # JSON without Jinja: what a test says reaches Salt as it is.
        _write(self.pillar_root / "top.sls", "#!json\n" + json.dumps({"base": {"*": ["data"]}}))
        _write(self.pillar_root / "data.sls", "#!json\n" + json.dumps(pillar))

    def sync(self) -> Answer:
        """Copy the formula's modules to where the minion loads them from."""
        if self.loads_from.exists() or not self._serves_itself_alone:
            return self.call("saltutil.sync_all")
        return SYNCED.copy_for(self)

    def apply(self, *sls: str, test: bool = False, **arguments: Any) -> Answer:
        """Run `state.apply`."""
        return self.call("state.apply", *sls, test=test, **arguments)

    def call(self, function: str, *arguments: Any, **keywords: Any) -> Answer:
        """Run `salt-call --local` in a process of its own, which has Salt imported already."""
        words = self.words(function, *arguments, **keywords)
        return answer_of(FORKS.run(words, timeout=SECONDS_FOR_A_CALL))

    def start(self, function: str, *arguments: Any, **keywords: Any) -> Answer:
        """Do as `call`, in a process that starts from nothing: for what is about its imports too."""
        done = subprocess.run(
            self.words(function, *arguments, **keywords),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=SECONDS_FOR_A_CALL,
            check=False,
        )
        return answer_of(done)

    def words(self, function: str, *arguments: Any, **keywords: Any) -> list[str]:
        """Return the whole command line of a `salt-call`."""
        named = (f"{key}={_as_argument(value)}" for key, value in keywords.items())
        return [*self.command(function), *map(_as_argument, arguments), *named]

    def command(self, function: str) -> list[str]:
        """Return the words of a `salt-call` that prints JSON and exits as the function wishes."""
        options = ["--local", "--out=json", "--no-color", "--retcode-passthrough"]
        return [salt_call(), f"--config-dir={self.config_dir}", *options, function]

    def caller(self) -> Any:
        """Return a `salt.client.Caller` in this process: `.cmd("test.ping")`.

        It is much faster than `call`. What it loads stays loaded, so one process should use it
        for one version of the modules.
        """
        import salt.client
        import salt.config

        options = salt.config.minion_config(str(self.config_dir / "minion"))
        options["file_client"] = "local"
        return salt.client.Caller(mopts=options)

    def _copy_formula(self, checkout: Path) -> None:
        # Not the checkout itself: Salt would walk the virtual environment and the tests' data too.
        self.file_root.mkdir(parents=True, exist_ok=True)
        for part in FORMULA_PARTS:
            if (checkout / part).is_dir():
                no_bytecode = shutil.ignore_patterns("__pycache__")
                shutil.copytree(checkout / part, self.file_root / part, ignore=no_bytecode)

    def _settings(self) -> dict[str, Any]:
        return {
            "id": self.minion_id,
            "file_client": "local",
            "root_dir": str(self.root),
            "pki_dir": str(self.root / "pki"),
            "cachedir": str(self.root / "cache"),
            "extension_modules": str(self.loads_from),
            "sock_dir": str(self.root / "run"),
            "log_file": str(self.root / "minion.log"),
            "log_level_logfile": "quiet",
            "file_roots": {"base": [str(self.file_root)]},
            "pillar_roots": {"base": [str(self.pillar_root)]},
            # A name server asked for every address is a time-out where there is none.
            "enable_fqdns_grains": False,
        }


class _Synced:
    """What Salt has copied for one minion is there for the next whose formula is the same."""

    def __init__(self) -> None:
        self._answers: dict[str, Answer] = {}
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def copy_for(self, minion: Minion) -> Answer:
        """Act as `saltutil.sync_all`, which takes more than a second of a core."""
        self._directory = self._directory or tempfile.TemporaryDirectory(prefix="synced-")
        formula = _fingerprint(minion.file_root)
        kept = Path(self._directory.name, formula)
        if formula in self._answers:
            shutil.copytree(kept, minion.loads_from)
        else:
            answer = minion.call("saltutil.sync_all")
            if answer.retcode:
                return answer
            shutil.copytree(minion.loads_from, kept)
            self._answers[formula] = answer
        return self._answers[formula]


SYNCED = _Synced()


def _fingerprint(file_root: Path) -> str:
    files = sorted(path for path in file_root.glob("_*/**/*") if path.is_file())
    content = ([str(path.relative_to(file_root)).encode(), path.read_bytes()] for path in files)
    return hashlib.sha256(b"\0".join(itertools.chain.from_iterable(content))).hexdigest()


def answer_of(done: subprocess.CompletedProcess[str]) -> Answer:
    """Return what a `salt-call` said that has ended."""
    return Answer(done.returncode, _local_value(done.stdout), done.stdout, done.stderr)


def salt_call() -> str:
    """Return the `salt-call` that `SALT_CALL` names, or that belongs to this Python, or the one on PATH."""
    if "SALT_CALL" in os.environ:
        return os.environ["SALT_CALL"]
    beside = Path(sys.executable).with_name("salt-call")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("salt-call")
    assert found is not None, "no salt-call"
    return found


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _as_argument(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _local_value(stdout: str) -> Any:
    try:
        return json.loads(stdout)["local"]
    except (ValueError, KeyError, TypeError):
        return None
