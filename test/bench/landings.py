"""How many images stand when a share of a run's bytes has moved."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dataset import Content

SHARES = (25, 50, 75)


@dataclass(frozen=True)
class Landings:
    """What stood in one recorded run, in percent, when so many percent of its bytes had moved.

    Args:
        case: which.
        racer: whose.
        round: of the recorded ones.
        images: distinct ones, of which at least one tag stood.
        tags: all of them.
        failure: why it does not count.
    """

    case: str
    racer: str
    round: int
    images: dict[int, float] = field(default_factory=dict)
    tags: dict[int, float] = field(default_factory=dict)
    failure: str = ""


def read(file: Path, content: Content, case: str, racer: str, round_: int) -> Landings:
    """Read what `record.py` wrote of a run into an empty registry."""
    record = json.loads(file.read_text(encoding="utf-8"))
    images = {
        f"{name}:{tag}": (name, image.digest) for name, tags in content.items() for tag, image in tags.items()
    }
    stood = {
        share: [
            tag
            for moved, copied in record["notes"]
            if moved * 100 <= share * record["size"]
            for tag in copied
        ]
        for share in SHARES
    }
    return Landings(
        case,
        racer,
        round_,
        images={
            share: _percent((images[tag] for tag in tags), images.values()) for share, tags in stood.items()
        },
        tags={share: _percent(tags, images) for share, tags in stood.items()},
    )


def _percent(part: Iterable[object], whole: Iterable[object]) -> float:
    return 100 * len(set(part)) / len(set(whole))
