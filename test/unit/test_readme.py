"""What the documents name is there: functions, keys of the pillar, metrics, other pages."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest
import yaml

from _registry_config_read import read_settings
from _registry_show_prometheus import METRICS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODULES = sorted(
    path for room in ("_modules", "_states", "_output") for path in (ROOT / room).glob("registry_*.py")
)
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("test/**/*.md")])
# Files and parts of file names that look like a function.
NO_FUNCTIONS = {"py", "sls", "json", "yaml", "yml", "prom", "lock", "sqlite"}


@pytest.mark.parametrize(
    "page", [*MODULES, *PAGES, ROOT / "pillar.example"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_functions_that_are_told_of_are_there(page: Path) -> None:
    told = re.findall(r"\b(registry_[a-z]+)\.([a-z_]+)\b(?!\.(?:py|md|yml))", texts_for_people(page))
    known = functions()
    assert [
        f"{module}.{name}" for module, name in told if name not in known.get(module, set()) | NO_FUNCTIONS
    ] == []


def texts_for_people(page: Path) -> str:
    """Return a page as it is, of a module its docstrings alone."""
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".py":
        return text
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = (node for node in ast.walk(ast.parse(text)) if isinstance(node, documented))
    return "\n".join(ast.get_docstring(node) or "" for node in nodes)


@functools.cache
def functions() -> dict[str, set[str]]:
    """Return the functions that each module of Salt's offers, its states among them."""
    found: dict[str, set[str]] = {}
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        public = {name for node in tree.body for name in names_of(node) if not name.startswith("_")}
        # A module may be a part of another one.
        virtual = re.search(r'^__virtualname__ = "(\w+)"', path.read_text(encoding="utf-8"), re.M)
        found.setdefault(virtual[1] if virtual else path.stem, set()).update(public)
    return found


def names_of(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef):
        # Salt calls list_ by the name of list.
        return [node.name.rstrip("_")]
    return []


def test_pillars_in_the_readme_are_accepted() -> None:
    blocks = [
        yaml.safe_load(block)
        for block in re.findall("```yaml\n(?:#[^\n]*\n)?(docker_registry:\n.*?)```", README, re.S)
    ]
    assert blocks
    for block in blocks:
        read_settings(block["docker_registry"], host="mirror")


def test_metrics_in_the_readme_are_those_that_are_written() -> None:
    assert set(re.findall(r"`(registry_sync_\w+)", README)) == set(METRICS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub("(?s)```.*?```|`[^`\n]+`", "", text)):
        if re.match("[a-z]+:", target):
            continue
        file, _, heading = target.partition("#")
        there = page.parent / file if file else page
        if not there.exists() or (heading and heading not in anchors(there)):
            dead.append(target)
    assert dead == []


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links, as GitHub has it."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
