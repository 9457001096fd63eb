"""README keeps pace with the code: every message has its row, and every row is still said."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from _registry_config_read import read_settings
from _registry_show_prometheus import METRICS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = sorted(path for room in ("_utils", "_modules", "_states") for path in (ROOT / room).glob("*.py"))
# Every mistake in the pillar is of this kind, and says its key first.
PILLAR = "docker_registry:KEY: …"
# Functions that return a part of a message, as against those that raise it.
WORDINGS = {"_reason", "_tls_reason", "_tls_words", "_explain_absence", "_warnings"}
# Who calls wrongly, not who operates.
OF_PROGRAMMERS = {"AssertionError", "ValueError"}
# A message with no more letters of its own only passes another one on; a fragment with fewer fits too much.
LETTERS = 8


def test_every_message_has_a_row_in_troubleshooting() -> None:
    told = [fragment for fragment in fragments() if fragment != PILLAR]
    untold = [
        f"{where}: {message}"
        for where, message in messages()
        if not any(matches(fragment, message) for fragment in told)
    ]
    assert untold == [], "say in README.md, Troubleshooting, what they mean and what to do"


def test_every_row_of_troubleshooting_is_a_message() -> None:
    said = [*OF_OTHERS, *texts()]
    stale = [
        fragment
        for fragment in fragments()
        if fragment != PILLAR and not any(matches(fragment, message) for message in said)
    ]
    assert stale == []


# Words of the system, and of Salt itself where it knows our modules not yet or nobody keeps its schedules.
OF_OTHERS = (
    "connection refused",
    "'registry_sync.…' is not available",
    "State 'registry_sync.…' was not found",
    "Failed to add job docker_registry to schedule",
    "Invalid outputter registry_sync specified, fall back to nested",
    "No matching sls found for 'docker_registry' in env 'base'",
)


def test_there_is_something_to_compare() -> None:
    assert len(list(messages())) > 60
    assert PILLAR in fragments()


@pytest.mark.parametrize(
    ("fragment", "message", "same"),
    [
        ("… has no space left", "… has no space left", True),
        ("has the repository but no such tag", "…; it has the repository but no such tag (…)", True),
        ("… is no …", "… is no registry", False),
        ("user … cannot run", "…: user … cannot run …: …", True),
        ("cannot run … user", "user … cannot run", False),
    ],
)
def test_a_fragment_is_a_part_of_a_message(fragment: str, message: str, same: bool) -> None:
    assert matches(fragment, message) == same


def fragments() -> list[str]:
    """What stands between backticks in the first column of the tables."""
    section = README.partition("\n## Troubleshooting\n")[2].partition("\n## ")[0]
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    return [fragment for row in rows for fragment in re.findall("`([^`]+)`", row)]


def matches(fragment: str, message: str) -> bool:
    """Whether the words of a fragment stand in a message in their order; "…" is anything."""
    pieces = [piece.strip() for piece in fragment.split("…") if piece.strip()]
    if sum(character.isalpha() for piece in pieces for character in piece) < LETTERS:
        return False
    return re.search(".*".join(map(re.escape, pieces)), message) is not None


def messages() -> Iterator[tuple[str, str]]:
    """Where each message stands and what it says, "…" for what is filled in."""
    for path in CODE:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = dict(constants_of(tree))
        for node in ast.walk(tree):
            for said in said_by(node):
                message = constants.get(said.id, "…") if isinstance(said, ast.Name) else text_of(said)
                if sum(map(str.isalpha, message)) > LETTERS and not message.startswith("docker_registry:"):
                    yield f"{path.name}:{node.lineno}", message  # type: ignore[attr-defined]


def texts() -> Iterator[str]:
    """Every text in the code; some messages are put together where `said_by` does not look."""
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.JoinedStr, ast.Constant)):
                yield text_of(node)


def constants_of(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Texts that have a name at the top of a file."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, text_of(node.value)


def said_by(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions that are shown to an operator as what went wrong."""
    if isinstance(node, ast.Call) and node.args:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in FAILURES and name != "SettingsError":
            yield node.args[0]
        elif name in ("_state", "_ret") and len(node.args) > 2 and is_false(node.args[1]):
            yield node.args[2]
    elif isinstance(node, ast.FunctionDef) and node.name in WORDINGS:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Return) and inner.value:
                yield from inner.value.elts if isinstance(inner.value, ast.List) else [inner.value]


def is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def text_of(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text_of, node.values))
    return "…"


def failures() -> set[str]:
    """The exceptions that the formula defines, and Salt's."""
    classes = (node for path in CODE for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for node in classes
        if isinstance(node, ast.ClassDef)
    }
    found = {"CommandExecutionError", "Exception", *OF_PROGRAMMERS}
    while more := {name for name, of in bases.items() if of & found} - found:
        found |= more
    return found - OF_PROGRAMMERS - {"Exception"}


FAILURES = failures()


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


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("test/bench/*.md")])
)
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
