"""Ours without Salt: sync what a pillar in a JSON file says, and print the summary."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from _registry_config_read import read_settings
from _registry_show_report import return_code
from _registry_sync_commands import sync


def main() -> int:
    """Sync, and return what a script is told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pillar", type=Path)
    parser.add_argument("--push-socket", default="", help="where the local registry is written to")
    parser.add_argument("--storage", default="", help="where it keeps its files, if it is this host's")
    arguments = parser.parse_args()
    settings = read_settings(json.loads(arguments.pillar.read_text(encoding="utf-8")), host="127.0.0.1")
    if arguments.push_socket:
        settings = replace(settings, local=replace(settings.local, push_socket=arguments.push_socket))
    report = sync(settings, directory=str(arguments.pillar.parent), storage=arguments.storage)
    print(json.dumps(report["summary"]))
    for name, entry in report["images"].items():
        if entry["error"]:
            print(name, entry["cause"], entry["error"])
    return return_code(report)


if __name__ == "__main__":
    sys.exit(main())
