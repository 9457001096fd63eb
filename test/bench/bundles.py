"""Race export and import of bundles against what is possible at all, and against others' bundles.

    .venv/3007/bin/python test/bench/bundles.py --runs 3
    … bundles.py --case alone --racer read --racer directory
    … bundles.py --rate 100                 upstream sends so many MB/s, four connections together

Within a round everybody runs once, one after the other, and `x read` and `x push-limit` are medians of the
ratios within rounds: others use the same machine. `read` is four curl at a time into /dev/null; `kept` the
same into files, hashed and flushed, which is what nobody can do without. The set `shared` is the overcloud's,
`alone` one repository of images that share nothing, since others' bundles have a shared layer many times.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from subprocess import run
from typing import Any

BENCH = Path(__file__).resolve().parent
CHECKOUT = BENCH.parent.parent
sys.path[:0] = [str(BENCH.parent), str(CHECKOUT / "_utils")]

import storage  # noqa: E402 - after the path is set
from dataset import MB, Content, images_of, overcloud  # noqa: E402
from lane import run_measured  # noqa: E402

from support.registries import Distribution  # noqa: E402
from support.salt_minion import Minion  # noqa: E402
from support.slow_line import SlowLine  # noqa: E402

VOLUME = 4_000_000_000
WORKERS = 4
KEPT = 'curl -sSf --noproxy "*" "$0" | tee "$1" | sha256sum >"$1.sum" && sync "$1"'
ALONE = "alone"


@dataclass(frozen=True)
class Job:
    """What a round is about.

    Args:
        upstream: ``host:port``.
        local: ``host:port`` of an empty registry.
        content: the set.
        blobs: its unique ones.
        directory: where a racer writes.
        oras: the program.
    """

    upstream: str
    local: str
    content: Content
    blobs: Sequence[storage.StoredBlob]
    directory: Path
    oras: str

    @property
    def pillar(self) -> dict[str, Any]:
        """A pillar that asks for the set."""
        (host, port), (local, local_port) = self.upstream.split(":"), self.local.split(":")
        return {
            "upstream": {"host": host, "port": int(port), "tls": False},
            "local": {"host": local, "port": int(local_port)},
            "signatures": {"directory": str(self.directory / "sigstore")},
            "images": [{"name": name, "tags": list(tags)} for name, tags in self.content.items()],
        }


def ours(what: str, volume: int) -> Callable[[Job], list[str]]:
    """Ours as a library in a fresh Python."""

    def command(job: Job) -> list[str]:
        file, path = job.directory / "pillar.json", job.directory / f"bundle-{volume}"
        file.write_text(json.dumps(job.pillar), encoding="utf-8")
        words = [BENCH / "engine_bundles.py", what, file, path, volume]
        return ["env", f"PYTHONPATH={CHECKOUT / '_utils'}", sys.executable, *map(str, words)]

    return command


def salt(function: str, *words: str) -> Callable[[Job], list[str]]:
    """What a user types; a word `PATH` is that of a bundle of its own."""

    def command(job: Job) -> list[str]:
        minion = Minion(
            job.directory / f"minion-{function}", CHECKOUT, pillar={"docker_registry": job.pillar}
        )
        synced = minion.sync()
        assert synced.retcode == 0, synced.stderr
        path = str(job.directory / "by-salt")
        return [*minion.command(function), *(path if word == "PATH" else word for word in words)]

    return command


def curls(*words: str) -> Callable[[Job], list[str]]:
    """So many at a time, the largest blob first."""

    def command(job: Job) -> list[str]:
        file = job.directory / "urls"
        lines = []
        for blob in job.blobs:
            kept = job.directory / "kept" / blob.digest.partition(":")[2]
            lines.append(f"http://{job.upstream}/v2/{blob.repository}/blobs/{blob.digest} {kept}\n")
        (job.directory / "kept").mkdir(exist_ok=True)
        file.write_text("".join(lines), encoding="utf-8")
        return ["xargs", "-a", str(file), "-n", "2", "-P", str(WORKERS), *words]

    return command


def oras_backup(job: Job) -> list[str]:
    """``oras backup``, a layout a repository."""
    script = (
        'oras=$0 host=$1 out=$2; shift 2; shift; for name; do "$oras" backup --plain-http --concurrency 4 '
    )
    script += '--output "$out/$(echo $name | tr / -)" "$host/$name" || exit 1; done'
    return ["sh", "-c", script, job.oras, job.upstream, str(job.directory / "oras"), "x", *job.content]


def skopeo_sync(job: Job) -> list[str]:
    """``skopeo sync --dest dir``, a directory a tag."""
    source = {"tls-verify": False, "images": {name: list(tags) for name, tags in job.content.items()}}
    file = job.directory / "skopeo.yaml"
    file.write_text(json.dumps({job.upstream: source}), encoding="utf-8")
    words = ["sync", "--src", "yaml", "--dest", "dir", str(file), str(job.directory / "dir")]
    return ["skopeo", "--insecure-policy", *words]


def push_limit(job: Job) -> list[str]:
    """The same blobs from local files by four curl at a time."""
    files = [str(blob.file) for blob in job.blobs]
    return [sys.executable, str(BENCH / "push_files.py"), job.local, *files]


CURL = ("curl", "-sSf", "--noproxy", "*", "--output", "/dev/null")
RACERS: Mapping[str, Callable[[Job], list[str]]] = {
    "read": curls("sh", "-c", 'exec curl -sSf --noproxy "*" -o /dev/null "$0"'),
    "kept": curls("sh", "-c", KEPT),
    "directory": ours("export", 0),
    "volume": ours("export", VOLUME),
    "oras backup": oras_backup,
    "skopeo sync dir": skopeo_sync,
    "push-limit": push_limit,
    "import directory": ours("import", 0),
    "import volume": ours("import", VOLUME),
    "test.ping": salt("test.ping"),
    "salt export": salt("registry_sync.export", "PATH", f"volume={VOLUME}"),
    "salt import": salt("registry_sync.import", "PATH"),
}
# What an import reads was exported in the same round; it and its measure fill a registry of their own.
FILLS = ("push-limit", "import directory", "import volume", "salt import")
# A shared layer lies in their bundles once a tag or repository: of the shared set that is ten times as much.
MEANT_FOR_ALONE = ("oras backup", "skopeo sync dir")
Figures = dict[str, list[dict[str, Any]]]


def main() -> int:
    """Race, and print a table a set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", action="append", choices=("shared", ALONE))
    parser.add_argument("--racer", action="append", choices=RACERS)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=0, help="MB/s of upstream's whole line; 0: no limit")
    parser.add_argument("--work", type=Path, default=CHECKOUT / ".bench", help="where sets are kept")
    parser.add_argument("--to", type=Path, help="where bundles are written (default: --work)")
    parser.add_argument("--oras", default=shutil.which("oras") or "")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    for case in arguments.case or ("shared", ALONE):
        with _set(case, arguments) as (upstream, content):
            print_table(case, race(case, arguments, upstream, content))
    return 0


@contextmanager
def _set(case: str, arguments: argparse.Namespace) -> Iterator[tuple[Distribution, Content]]:
    directory = arguments.work / f"bundles-{case}-{arguments.scale:g}"
    with Distribution(directory) as upstream:
        file = directory / "set.json"
        if case == ALONE:
            size = max(1, round(10 * MB * arguments.scale))
            yield upstream, images_of(upstream.url, ALONE, 13, 10, size, file)
        else:
            yield upstream, overcloud(upstream.url, arguments.scale, file)


def race(case: str, arguments: argparse.Namespace, upstream: Distribution, content: Content) -> Figures:
    """Have everybody run once a round."""
    names = [
        name
        for name in arguments.racer or RACERS
        if (case == ALONE or name not in MEANT_FOR_ALONE) and (name != "oras backup" or arguments.oras)
    ]
    figures: Figures = {name: [] for name in names}
    rate = arguments.rate * MB / WORKERS
    with SlowLine(upstream.address, rtt=0, rate=rate) if rate else nullcontext(upstream) as way:
        for _ in range(arguments.runs):
            blobs = storage.blobs_of(upstream, content)
            directory = (arguments.to or arguments.work) / f"round-{os.getpid()}"
            directory.mkdir()
            try:
                for name in names:
                    with Distribution(directory / f"local-{name}") as local:
                        job = Job(way.address, local.address, content, blobs, directory, arguments.oras)
                        figures[name].append(measure(name, job))
                    shutil.rmtree(directory / f"local-{name}")
            finally:
                shutil.rmtree(directory)
    return figures


def measure(name: str, job: Job) -> dict[str, Any]:
    """Run one racer."""
    run(["sync"], check=True)
    log = job.directory / "output"
    measured = run_measured(RACERS[name](job), log)
    load = os.getloadavg()[0]
    print(
        f"  {name:<18}{measured['seconds']:7.2f} s {measured['cpu']:6.2f} s cpu, load {load:.1f}", flush=True
    )
    if measured["retcode"]:
        raise SystemExit(f"{name}: {log.read_text(errors='replace')[-2000:]}")
    for left in ("kept", "oras", "dir"):
        shutil.rmtree(job.directory / left, ignore_errors=True)
    return {**measured, "load": load}


def print_table(case: str, figures: Figures) -> None:
    """Print medians, and ratios within rounds."""
    print(f"\n| {case} | seconds | x measure | min..max | cpu s | peak MB | load |")
    print("|---|---|---|---|---|---|---|")
    for name, samples in figures.items():
        against = figures.get("push-limit" if name in FILLS else "read")
        ratios = [
            one["seconds"] / it["seconds"] for one, it in zip(samples, against or (), strict=bool(against))
        ]
        told = [
            f"{median(one['seconds'] for one in samples):.2f}",
            f"{median(ratios):.2f}" if ratios else "",
            f"{min(ratios):.2f}..{max(ratios):.2f}" if ratios else "",
            f"{median(one['cpu'] for one in samples):.2f}",
            f"{max(one['peak'] for one in samples) / 1e6:.0f}",
            f"{max(one['load'] for one in samples):.1f}",
        ]
        print(f"| {name} | {' | '.join(told)} |")


if __name__ == "__main__":
    sys.exit(main())
