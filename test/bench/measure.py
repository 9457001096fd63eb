"""Run a command and say how long it took and how much memory it had at most.

It is a script of its own because a process inherits its parent's peak memory when it starts, and this parent,
unlike the bench, has next to none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time


def main() -> None:
    """Run the command after the first argument, the report's file."""
    report, *command = sys.argv[1:]
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    measured = {
        "seconds": seconds,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss * 1024,
        "retcode": os.waitstatus_to_exitcode(status),
    }
    with open(report, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib alone is 2 MB
        json.dump(measured, file)


if __name__ == "__main__":
    main()
