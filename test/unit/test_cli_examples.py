"""Every function that an operator can type has an example that works as it stands, as far as its words go."""

from __future__ import annotations

import ast
import itertools
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path for room in ("_modules", "_runners") for path in (ROOT / room).glob("registry_*.py"))
COMMANDS = {"_modules": ("salt", "salt-call", "salt-ssh"), "_runners": ("salt-run",)}
# What all functions take, and no signature has.
OF_SALT = {"saltenv", "pillarenv", "queue"}


class Function(NamedTuple):
    room: str
    name: str
    node: ast.FunctionDef


def functions_of(path: Path) -> list[Function]:
    text = path.read_text(encoding="utf-8")
    virtual = re.search(r'^__virtualname__ = "(\w+)"', text, re.M)
    module = virtual[1] if virtual else path.stem
    public = (node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef))
    return [
        # Salt calls list_ by the name of list.
        Function(path.parent.name, f"{module}.{node.name.rstrip('_')}", node)
        for node in public
        if not node.name.startswith("_")
    ]


FUNCTIONS = [function for path in FILES for function in functions_of(path)]


def examples(function: Function) -> list[tuple[str, list[str]]]:
    """The command lines of a docstring that call one of ours: the function, and what it is given."""
    told = (ast.get_docstring(function.node) or "").partition("CLI Example:")[2]
    lines = (line.strip() for line in told.replace("\\\n", " ").splitlines())
    ours = (line for line in lines if line.partition(" ")[0] in COMMANDS[function.room])
    return [call for line in ours if (call := called(shlex.split(line)))[0]]


def called(words: list[str]) -> tuple[str, list[str]]:
    """The function of a command line, and what it is given up to where the shell takes over."""
    names = (index for index, word in enumerate(words) if re.fullmatch(r"registry_\w+\.\w+", word))
    place = next(names, len(words))
    given = itertools.takewhile(lambda word: word not in (">", "|", "&&"), words[place + 1 :])
    return "".join(words[place : place + 1]), [word for word in given if not word.startswith("--")]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: f"{function.room} {function.name}")
def test_a_function_has_an_example_of_itself(function: Function) -> None:
    lines = examples(function)
    assert lines, "no CLI Example"
    assert {name for name, _ in lines} == {function.name}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: f"{function.room} {function.name}")
def test_an_example_gives_arguments_that_the_function_takes(function: Function) -> None:
    taken = function.node.args
    names = [argument.arg for argument in taken.args]
    for _, given in examples(function):
        keywords = {name[1] for word in given if (name := re.match(r"(\w+)=", word))}
        positional = [word for word in given if not re.match(r"\w+=", word)]
        assert taken.kwarg or keywords <= {*names, *(only.arg for only in taken.kwonlyargs), *OF_SALT}, given
        assert taken.vararg or len(positional) <= len(names), given
        required = names[: len(names) - len(taken.defaults)]
        assert set(required[len(positional) :]) <= keywords, given
