"""Ours without Salt, recorded: sync what a pillar in a JSON file says, and write how it came along.

It runs with the modules of any checkout that can sync, older ones with other names included.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

TICK_SECONDS = 0.01
# Who reads settings, who syncs, who counts: as they are named now, and before rooms had wings.
NAMES = ("_registry_config_read", "_registry_sync_commands", "_registry_show_progress")
NAMES_BEFORE = ("_registry_settings", "_registry_mirror", "_registry_progress")


class Recorder:
    """Notes the bytes that have moved, and the tags that stand since the note before."""

    def __init__(self) -> None:
        self.size = 0
        self.notes: list[tuple[int, list[str]]] = []

    def __call__(self, state: Any, results: Sequence[Any]) -> None:
        """Take a note; see `Sink` of the formula's progress."""
        self.size = state.size
        copied = [result.name for result in results if result.status == "copied"]
        if copied or not self.notes or self.notes[-1][0] != state.moved:
            self.notes.append((state.moved, copied))


def main() -> int:
    """Sync as the first argument says, and write to the second."""
    file, record = map(Path, sys.argv[1:])
    names = NAMES if find_spec(NAMES[0]) else NAMES_BEFORE
    reader, commands, counting = map(import_module, names)
    settings = reader.read_settings(json.loads(file.read_text(encoding="utf-8")), host="127.0.0.1")
    recorder = Recorder()
    progress = counting.Progress((recorder,), tick=TICK_SECONDS)
    report = commands.sync(settings, directory=str(file.parent), progress=progress)
    record.write_text(json.dumps({"size": recorder.size, "notes": recorder.notes}), encoding="utf-8")
    print(json.dumps(report["summary"]))
    return int(commands.return_code(report))


if __name__ == "__main__":
    sys.exit(main())
