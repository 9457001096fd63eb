"""Race the sync against other tools, against an older one of its own, and against what is possible at all.

    .venv/3007/bin/python test/bench/bench.py                        every case, everybody who is installed
    … bench.py --case cold --case idle --racer engine --racer relay --runs 5
    … bench.py --before DIR                                          and the engine of an older checkout
    … bench.py --scale 0.02 --runs 1                                 a quick look whether it works

Each racer gets an empty registry of its own and all read from the same one. In a round everybody runs once,
in an order that changes from round to round; the table has medians, and `x engine` is the median of the
ratios within the rounds. After each run every tag's digest is compared; who does not have them all has
failed. Requests and bytes are counted in the two registries' own access logs. The far line (`-far`) is a
proxy that delays each way by half a round-trip, limits each connection's rate and counts connections; the
local registry stays near. Which images stand when a share of the bytes has moved is seen in runs of their
own, whose time does not count. The sets of images are kept in `--work` for the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

BENCH = Path(__file__).resolve().parent
CHECKOUT = BENCH.parent.parent
sys.path[:0] = [str(BENCH.parent), str(CHECKOUT / "_utils")]

import report  # noqa: E402 - after the path is set
from cases import TITLES, race  # noqa: E402
from lane import Bench  # noqa: E402
from racers import BEFORE, RACERS, Racer  # noqa: E402

MB = 1_000_000


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [racer.name for racer in RACERS]
    parser.add_argument("--case", action="append", choices=TITLES, help="only this; may be repeated")
    parser.add_argument("--racer", action="append", choices=names, help="only this; may be repeated")
    parser.add_argument("--runs", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="of sizes and counts (default: 1)")
    parser.add_argument("--rtt", type=float, default=40, help="milliseconds, of the far line (default: 40)")
    parser.add_argument("--rate", type=float, default=25, help="MB/s a connection, far (default: 25)")
    parser.add_argument("--parallel", type=int, help="transfer:parallel of ours (default: the formula's)")
    parser.add_argument("--work", type=Path, default=CHECKOUT / ".bench", help="where sets are kept")
    parser.add_argument("--formula", type=Path, default=CHECKOUT, help="the checkout to race (default: this)")
    parser.add_argument("--before", type=Path, help="an older checkout, whose engine races as well")
    parser.add_argument("--json", type=Path, help="write every sample to this file")
    return parser.parse_args()


def choose_racers(arguments: argparse.Namespace) -> list[Racer]:
    """Return who is wanted and can run; say who cannot."""
    wanted = [racer for racer in RACERS if not arguments.racer or racer.name in arguments.racer]
    why_not = {racer.name: racer.why_not for racer in wanted}
    if not arguments.before:
        why_not[BEFORE] = "no --before"
    for racer in wanted:
        if why_not[racer.name]:
            print(f"skipped: {racer.name} ({why_not[racer.name]})")
    return [racer for racer in wanted if not why_not[racer.name]]


def main() -> int:
    """Race, and print the tables."""
    arguments = parse_arguments()
    racers = choose_racers(arguments)
    busy = os.getloadavg()[0]
    if busy > 0.5:
        print(f"others are busy on this machine (load {busy:.1f}): the figures will be worth little")
    arguments.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(
        cases=arguments.case or list(TITLES),
        racers=[racer for racer in racers if not racer.uploads],
        uploaders=[racer for racer in racers if racer.uploads],
        scale=arguments.scale,
        runs=arguments.runs,
        rtt=arguments.rtt / 1000,
        rate=arguments.rate * MB,
        work=arguments.work.resolve(),
        formula=arguments.formula.resolve(),
        before=arguments.before.resolve() if arguments.before else None,
        transfer={"parallel": arguments.parallel} if arguments.parallel else {},
    )
    race(bench)
    tables = (
        report.table(bench.samples),
        report.landing_table(bench.landings),
        report.target_table(bench.samples, bench.landings),
        report.request_table(bench.samples),
    )
    print(*filter(None, tables), sep="\n\n")
    if arguments.json:
        everything = {
            "samples": [asdict(sample) for sample in bench.samples],
            "landings": [asdict(landed) for landed in bench.landings],
        }
        arguments.json.write_text(json.dumps(everything), encoding="utf-8")
    failures = [run.failure for run in bench.samples] + [run.failure for run in bench.landings]
    return 1 if any(failures) else 0


if __name__ == "__main__":
    sys.exit(main())
