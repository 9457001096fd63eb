"""Ours without Salt: sync what a pillar in a JSON file says, and print the summary."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from _registry_config_read import read_settings
from _registry_show_report import return_code
from _registry_sync_commands import sync


def main() -> int:
    """Sync, and return what a script is told."""
    file, *socket = sys.argv[1:]
    settings = read_settings(json.loads(Path(file).read_text(encoding="utf-8")), host="127.0.0.1")
    if socket:
        settings = replace(settings, local=replace(settings.local, push_socket=socket[0]))
    report = sync(settings, directory=str(Path(file).parent))
    print(json.dumps(report["summary"]))
    for name, entry in report["images"].items():
        if entry["error"]:
            print(name, entry["cause"], entry["error"])
    return return_code(report)


if __name__ == "__main__":
    sys.exit(main())
