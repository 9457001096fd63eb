"""Ours without Salt: export, or import, what a pillar in a JSON file says, and print the summary."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from _registry_config_read import read_settings
from _registry_show_report import return_code
from _registry_sync_export import export
from _registry_sync_import import import_bundle


def main() -> int:
    """Do it, and return what a script is told."""
    what, file, path, volume = sys.argv[1:]
    settings = read_settings(json.loads(Path(file).read_text(encoding="utf-8")), host="127.0.0.1")
    if what == "export":
        report = export(settings, path, volume=int(volume), directory=str(Path(file).parent))
    else:
        report = import_bundle(settings, path, directory=str(Path(file).parent))
    print(json.dumps(report["summary"]))
    return return_code(report)


if __name__ == "__main__":
    sys.exit(main())
