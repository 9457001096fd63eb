"""What is checked before a commit is what test/run checks, by the same tools."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def told_apart(command: str) -> str:
    """A command without the files that it is given, which pre-commit appends."""
    words = command.split()
    return " ".join(word for word in words if word not in (".", "--force-exclude") and "*" not in word)


def test_each_check_of_style_is_a_hook_and_each_hook_a_check() -> None:
    lines = (ROOT / "test" / "run").read_text(encoding="utf-8").splitlines()
    steps = {told_apart(line.partition("step $bin/")[2]) for line in lines if "step $bin/" in line}
    configured = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (repository,) = configured["repos"]
    hooks = {told_apart(hook["entry"].removeprefix(".venv/unit/bin/")) for hook in repository["hooks"]}
    assert hooks == steps
    assert {"ruff check", "mypy", "salt-lint"} <= steps
