"""Ours without Salt: sync what a pillar in a JSON file says, and print the summary."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from _registry_config_read import read_settings
from _registry_show_report import return_code
from _registry_sync_commands import sync


def main() -> int:
    """Sync, and return what a script is told."""
    file = Path(sys.argv[1])
    settings = read_settings(json.loads(file.read_text(encoding="utf-8")), host="127.0.0.1")
    report = sync(settings, directory=str(file.parent))
    print(json.dumps(report["summary"]))
    for name, entry in report["images"].items():
        if entry["error"]:
            print(name, entry["cause"], entry["error"])
    return return_code(report)


if __name__ == "__main__":
    sys.exit(main())
