"""What the documents name is there: functions, keys of the pillar, metrics, other pages."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import _registry_config_schema as schema
from _registry_config_convert import convert
from _registry_config_read import read_settings
from _registry_show_prometheus import METRICS

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(
    path
    for room in ("_modules", "_runners", "_states", "_output")
    for path in (ROOT / room).glob("registry_*.py")
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pillars_on_a_page_are_accepted(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = re.findall("```yaml\n(?:#[^\n]*\n)?(docker_registry:\n.*?)```", text, re.S)
    assert blocks or page != ROOT / "README.md"
    for block in blocks:
        read_settings(yaml.safe_load(block)["docker_registry"], host="mirror")


def test_every_metric_is_told_of_and_no_other() -> None:
    told = {name for page in PAGES for name in re.findall(r"`(registry_sync_\w+)", page.read_text("utf-8"))}
    assert told == set(METRICS)


def test_every_key_of_the_pillar_is_told_of() -> None:
    page = (ROOT / "docs/pillar.md").read_text(encoding="utf-8")
    told = {name for code in re.findall(r"`([^`\n]+)`", page) for name in re.findall(r"\w+", code)}
    assert keys_of(schema.PILLAR) - told == set()


def keys_of(table: Mapping[str, Any], seen: frozenset[int] = frozenset()) -> set[str]:
    """Return the keys of a table of checkers, with those of the tables that its checkers have."""
    found = set(table)
    for checker in table.values():
        found |= keys_in(checker, seen)
    return found


def keys_in(checker: Any, seen: frozenset[int]) -> set[str]:
    if id(checker) in seen or not callable(checker):
        return set()
    seen |= {id(checker)}
    parts = inspect.getclosurevars(checker)
    found: set[str] = set()
    for part in (*parts.nonlocals.values(), *parts.globals.values()):
        if isinstance(part, dict) and part and all(map(callable, part.values())):
            found |= keys_of(part, seen)
        elif inspect.isfunction(part) and part.__module__.startswith("_registry_config"):
            found |= keys_in(part, seen)
    return found


def test_every_function_and_state_is_told_of() -> None:
    page = (ROOT / "docs/states-and-functions.md").read_text(encoding="utf-8")
    told = set(re.findall(r"\bregistry_sync\.(\w+)", page))
    assert functions_of("_modules") - told == set()
    files = {f"docker_registry.{path.stem}" for path in (ROOT / "docker_registry").glob("*.sls")}
    assert files - {"docker_registry.init"} - set(re.findall(r"docker_registry\.\w+", page)) == set()


def functions_of(room: str) -> set[str]:
    """Return the names that registry_sync has in one of Salt's rooms."""
    found: set[str] = set()
    for path in (ROOT / room).glob("registry_sync*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found |= {name for node in tree.body for name in names_of(node) if not name.startswith("_")}
    return found


# What Salt or the system says, or a program whose name and message are passed on.
OF_OTHERS = (
    "Invalid outputter",
    "is not available",
    "was not found",
    "No matching sls",
    "Failed to add job",
    "connection refused",
    "iptables: ",
)
MESSAGES = re.findall(r"^\| (`.+?) \|", (ROOT / "docs/troubleshooting.md").read_text("utf-8"), re.M)


@pytest.mark.parametrize("row", MESSAGES)
def test_messages_that_are_explained_are_those_of_the_code(row: str) -> None:
    for message in re.findall(r"`([^`]+)`", row):
        if any(words in message for words in OF_OTHERS):
            continue
        pieces = [piece for piece in re.split("…|docker_registry:KEY", message) if piece.strip(" :;,.()")]
        assert [piece for piece in pieces if not is_said(piece)] == []


def is_said(piece: str) -> bool:
    """Whether a piece of a message stands in a text of the code, or in several around a value."""
    return any(piece in text for text in texts_of_code()) or any(
        pattern.search(piece) for pattern in patterns_of_code()
    )


@functools.cache
def nodes_of_code() -> tuple[ast.AST, ...]:
    rooms = ("_modules", "_states", "_utils", "_output")
    paths = [path for room in rooms for path in (ROOT / room).glob("*.py")]
    return tuple(node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@functools.cache
def texts_of_code() -> frozenset[str]:
    """Return every text in the code, those with values in them in parts, and the states as they are."""
    constants = (node.value for node in nodes_of_code() if isinstance(node, ast.Constant))
    texts = {value for value in constants if isinstance(value, str)}
    return frozenset(texts) | {path.read_text("utf-8") for path in (ROOT / "docker_registry").glob("*.sls")}


@functools.cache
def patterns_of_code() -> tuple[re.Pattern[str], ...]:
    """Return the texts with values in them as regular expressions; short ones would find anything."""
    found = []
    for node in nodes_of_code():
        parts = [text_of(part) for part in node.values] if isinstance(node, ast.JoinedStr) else []
        if sum(len(part.strip()) for part in parts) > 12:
            found.append(re.compile(".*?".join(map(re.escape, parts))))
    return tuple(found)


def text_of(part: ast.expr) -> str:
    return part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else ""


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


def test_what_is_converted_is_what_the_page_says() -> None:
    page = (ROOT / "docs/moving-here.md").read_text(encoding="utf-8")
    pairs = re.findall(r"<td>\n\n```yaml\n(.*?)```\n\n</td><td>\n\n```yaml\n(.*?)```", page, re.S)
    assert len(pairs) == 3
    for file, pillar in pairs:
        assert yaml.safe_load(convert(file)) == yaml.safe_load(pillar)


def test_the_readme_fits_on_three_screens() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links, as GitHub has it."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
