"""A pillar as text that people read and change; no I/O."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from _registry_config_schema import ROOT

_WIDTH = 100


def pillar_text(pillar: Mapping[str, Any], comments: Sequence[Iterable[str]] = ()) -> str:
    """YAML of the pillar ``docker_registry``, small mappings and lists on one line.

    Args:
        pillar: its keys.
        comments: lines that stand before each of its images.
    """
    lines = [f"{ROOT}:"]
    for key, value in pillar.items():
        if key == "images":
            lines.append("  images:")
            for image, about in itertools.zip_longest(value, comments, fillvalue=()):
                lines += [f"    # {line}" for line in about]
                lines += _indented([image], 4)
        else:
            lines += _indented({key: value}, 2)
    return "\n".join(lines) + "\n"


def commented(lines: Iterable[str]) -> str:
    """Lines as comments."""
    return "".join(f"# {line}\n" for line in lines)


def _indented(value: Any, by: int) -> list[str]:
    text = yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=_WIDTH, allow_unicode=True)
    return [" " * by + line for line in text.splitlines()]
