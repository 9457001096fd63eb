"""Race the sync against other tools, and against what the registry can take at all.

    .venv/3007/bin/python test/bench/bench.py                        every case, everybody who is installed
    … bench.py --case cold --case idle --racer engine --racer skopeo --runs 5
    … bench.py --scale 0.02                                          a quick look whether it works

Each racer gets an empty registry of its own and all read from the same one. In a round everybody runs once,
in an order that changes from round to round; the table has medians, and `x engine` is the median of the
ratios within the rounds. After each run every tag's digest is compared; who does not have them all has
failed. Requests and bytes are counted in the two registries' own access logs. The far line (`-far`) is a
proxy that delays each way by half a round-trip, limits each connection's rate and counts connections; the
local registry stays near. The sets of images are kept in `--work` for the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import requests

BENCH = Path(__file__).resolve().parent
CHECKOUT = BENCH.parent.parent
sys.path[:0] = [str(BENCH.parent), str(CHECKOUT / "_utils")]

import dataset  # noqa: E402 - after the path is set
from racers import RACERS, Job, Racer  # noqa: E402

from support.images import DOCKER_MANIFEST  # noqa: E402
from support.registries import Distribution  # noqa: E402
from support.salt_minion import Minion  # noqa: E402
from support.slow_line import SlowLine  # noqa: E402
from support.traffic import LoggedRequest, read_access_log  # noqa: E402

MB = 1_000_000
CASES = (
    "start",
    "cold",
    "idle",
    "delta",
    "cold-far",
    "idle-far",
    "delta-far",
    "large",
    "large-far",
    "many-tags",
    "memory",
    "killed",
    "upload",
)


@dataclass(frozen=True)
class Sample:
    """One timed run."""

    case: str
    racer: str
    round: int
    seconds: float
    cpu: float
    peak: int
    bytes_down: int = 0
    # Through the far line; a near one has nobody who could count them.
    connections: int = 0
    upstream: dict[str, int] = field(default_factory=dict)
    local: dict[str, int] = field(default_factory=dict)
    failure: str = ""


@dataclass
class Bench:
    """What the command line asks for, and what has been measured."""

    cases: Sequence[str]
    racers: Sequence[Racer]
    uploaders: Sequence[Racer]
    scale: float
    runs: int
    rtt: float
    rate: float
    work: Path
    formula: Path
    transfer: dict[str, Any]
    samples: list[Sample] = field(default_factory=list)

    def scaled(self, number: int) -> int:
        """Make a size or a count smaller."""
        return max(1, round(number * self.scale))

    def record(self, sample: Sample) -> None:
        """Keep a sample and show it at once."""
        self.samples.append(sample)
        failure = f"  FAILED: {sample.failure}" if sample.failure else ""
        print(f"  {sample.case:<13} {sample.racer:<10} {sample.seconds:8.2f} s{failure}", file=sys.stderr)

    @contextmanager
    def upstream(self, name: str) -> Iterator[tuple[Distribution, Path]]:
        """Run the registry that keeps a set, and name the file that says what it has."""
        directory = self.work / f"{name}-{self.scale:g}"
        with Distribution(directory) as registry:
            yield registry, directory / "set.json"

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Lend a directory on the same file system as everything else."""
        with tempfile.TemporaryDirectory(dir=self.work) as directory:
            yield Path(directory)


@dataclass
class Lane:
    """One racer with its own local registry, in one round."""

    bench: Bench
    racer: Racer
    round: int
    way: Distribution | SlowLine
    upstream: Distribution
    local: Distribution
    job: Job
    command: list[str]

    def run(self, case: str, content: dataset.Content) -> None:
        """Time the racer's command, and see whether the local registry has everything then."""
        os.sync()
        marks = self.upstream.log_position(), self.local.log_position()
        log = self.job.directory / "output"
        connections = self._connections()
        measured = run_measured(self.command, log)
        asked_upstream = list(read_access_log(self.upstream.access_log(marks[0])))
        asked_local = list(read_access_log(self.local.access_log(marks[1])))
        self.bench.record(
            Sample(
                case=case,
                racer=self.racer.name,
                round=self.round,
                seconds=measured["seconds"],
                cpu=measured["cpu"],
                peak=measured["peak"],
                connections=self._connections() - connections,
                bytes_down=sum(asked.size for asked in asked_upstream if asked.kind.startswith("GET")),
                upstream=count_kinds(asked_upstream),
                local=count_kinds(asked_local),
                failure=self._failure(measured["retcode"], log, content),
            )
        )

    def _connections(self) -> int:
        return self.way.stats().connections if isinstance(self.way, SlowLine) else 0

    def _failure(self, retcode: int, log: Path, content: dataset.Content) -> str:
        if retcode:
            return f"exit {retcode}: {log.read_text(errors='replace')[-600:]}"
        if self.racer.copies_only:
            return ""
        wrong = count_wrong_tags(self.local, content, any_digest=self.racer.uploads)
        return f"{wrong} tags are missing or wrong" if wrong else ""


def count_kinds(logged: Iterable[LoggedRequest]) -> dict[str, int]:
    """Count requests by kind, the most frequent first."""
    return dict(Counter(request.kind for request in logged).most_common())


def run_measured(command: Sequence[str], log: Path) -> dict[str, Any]:
    """Run a command and return seconds, cpu, peak (bytes) and retcode."""
    report = log.with_name("measured.json")
    launcher = [sys.executable, "-I", "-S", str(BENCH / "measure.py"), str(report)]
    # A minion compiles its modules once, not each time.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with log.open("wb") as output:
        subprocess.run([*launcher, *command], stdout=output, stderr=output, env=environment, check=True)
    return dict(json.loads(report.read_text(encoding="utf-8")))


def count_wrong_tags(registry: Distribution, content: dataset.Content, *, any_digest: bool = False) -> int:
    """Return how many tags do not have the digest they should, or with `any_digest` have none."""
    with requests.Session() as http, ThreadPoolExecutor(4) as pool:
        http.trust_env = False

        def is_wrong(wanted: tuple[str, str, str]) -> bool:
            repository, tag, digest = wanted
            url = f"{registry.url}/v2/{repository}/manifests/{tag}"
            head = http.head(url, headers={"Accept": DOCKER_MANIFEST})
            found = head.headers.get("Docker-Content-Digest")
            return not found if any_digest else found != digest

        everything = [(name, tag, im.digest) for name, tags in content.items() for tag, im in tags.items()]
        return sum(pool.map(is_wrong, everything))


def start(bench: Bench) -> None:
    """Salt's own start: what `salt-call` takes to do nothing."""
    with bench.scratch() as scratch:
        minion = Minion(scratch / "minion", bench.formula)
        for number in range(bench.runs):
            measured = run_measured(minion.command("test.ping"), scratch / "output")
            bench.record(
                Sample("start", "salt-call", number, measured["seconds"], measured["cpu"], measured["peak"])
            )


def overcloud(bench: Bench, *, suffix: str) -> None:
    """The overcloud set: into an empty registry, again at once, and again after one image has a new layer."""
    with bench.upstream("overcloud") as (upstream, cache):
        content = {
            name: dict(tags) for name, tags in dataset.overcloud(upstream.url, bench.scale, cache).items()
        }
        first = next(iter(content))
        racers = [racer for racer in bench.racers if not (racer.copies_only and suffix)]
        for number, lane in lanes(bench, racers, upstream, content, suffix):
            lane.run(f"cold{suffix}", content)
            if lane.racer.copies_only:
                continue
            if f"idle{suffix}" in bench.cases:
                lane.run(f"idle{suffix}", content)
            if f"delta{suffix}" in bench.cases:
                seed = f"delta/{time.time_ns()}/{number}"
                content[first][dataset.LATEST] = dataset.add_layer(
                    upstream.url, first, content[first][dataset.NEW_TAG], seed
                )
                lane.run(f"delta{suffix}", content)


def large(bench: Bench, *, suffix: str) -> None:
    """One image with one layer of 500 MB."""
    with bench.upstream("large") as (upstream, cache):
        size = bench.scaled(500 * MB)
        content = dataset.images_of(upstream.url, "large", images=1, layers=1, size=size, cache=cache)
        racers = [racer for racer in bench.racers if not (racer.copies_only and suffix)]
        for _, lane in lanes(bench, racers, upstream, content, suffix):
            lane.run(f"large{suffix}", content)


def memory(bench: Bench) -> None:
    """Peak memory with layers of 10 MB and of 200 MB."""
    racers = [racer for racer in bench.racers if not racer.copies_only]
    for megabytes, images, layers in ((10, 4, 8), (200, 2, 4)):
        name = f"memory-{megabytes}mb"
        with bench.upstream(name) as (upstream, cache):
            size = bench.scaled(megabytes * MB)
            content = dataset.images_of(upstream.url, name, images, layers, size, cache)
            for _, lane in lanes(bench, racers, upstream, content, ""):
                lane.run(name, content)


def killed(bench: Bench) -> None:
    """One layer of 1 GB: killed once the registry has half of it; what is measured is the run after that."""
    racers = [racer for racer in bench.racers if not racer.copies_only]
    with bench.upstream("killed") as (upstream, cache):
        size = bench.scaled(1000 * MB)
        content = dataset.images_of(upstream.url, "killed", images=1, layers=1, size=size, cache=cache)
        for _, lane in lanes(bench, racers, upstream, content, ""):
            run_until(lane.command, lambda local=lane.local: upload_size(local) >= size / 2)  # type: ignore[misc]
            lane.run("killed", content)


def run_until(command: Sequence[str], reached: Callable[[], bool]) -> None:
    """Start a command and kill it as soon as something is so."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not reached():
        time.sleep(0.01)
    process.kill()
    process.wait()


def upload_size(registry: Distribution) -> int:
    """Return how many bytes of its largest unfinished upload a registry has."""
    sizes = [0]
    for file in registry.data.glob("**/_uploads/*/data"):
        with suppress(FileNotFoundError):
            sizes.append(file.stat().st_size)
    return max(sizes)


def upload(bench: Bench) -> None:
    """The overcloud set with one tag each, as an undercloud wants it, against its own command line."""
    racers = [racer for racer in bench.racers if not racer.copies_only]
    with bench.upstream("overcloud") as (upstream, cache):
        everything = dataset.overcloud(upstream.url, bench.scale, cache)
        content = {name: {dataset.OLD_TAG: tags[dataset.OLD_TAG]} for name, tags in everything.items()}
        for _, lane in lanes(bench, [*racers, *bench.uploaders], upstream, content, ""):
            lane.run("upload", content)


def many_tags(bench: Bench) -> None:
    """Ten thousand tags, all of them in step already."""
    racers = [racer for racer in bench.racers if not racer.copies_only]
    with bench.upstream("many-tags") as (upstream, cache):
        content = dataset.many_tags(upstream.url, bench.scaled(100), 100, cache)
        everything = dict.fromkeys(content, ("*",))
        for _, lane in lanes(bench, racers, upstream, content, "", tags=everything):
            lane.local.stop()
            shutil.rmtree(lane.local.data, ignore_errors=True)
            shutil.copytree(upstream.data, lane.local.data)
            lane.local.start()
            lane.run("many-tags", content)


def lanes(
    bench: Bench,
    racers: Sequence[Racer],
    upstream: Distribution,
    content: dataset.Content,
    suffix: str,
    tags: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[tuple[int, Lane]]:
    """Yield each racer in each round, with an empty local registry and its number."""
    number = 0
    line = SlowLine(upstream.address, rtt=bench.rtt, rate=bench.rate) if suffix else nullcontext(upstream)
    with line as way:
        for round_ in range(bench.runs):
            shift = round_ % len(racers) if racers else 0
            for racer in (*racers[shift:], *racers[:shift]):
                number += 1
                with bench.scratch() as scratch, Distribution(scratch / "local") as local:
                    job = Job(
                        upstream=way.address,
                        local=local.address,
                        images=tags or {name: list(there) for name, there in content.items()},
                        blobs=blob_files(upstream, content) if racer.copies_only else (),
                        directory=scratch,
                        transfer=bench.transfer,
                        formula=bench.formula,
                    )
                    command = racer.prepare(job)
                    with racer.beside(scratch):
                        yield number, Lane(bench, racer, round_, way, upstream, local, job, command)


def blob_files(registry: Distribution, content: dataset.Content) -> list[Path]:
    """Return the files in which a registry keeps the blobs of a set."""
    images = {image.digest: image for tags in content.values() for image in tags.values()}
    digests = {blob.digest.partition(":")[2] for image in images.values() for blob in image.blobs}
    root = registry.data / "docker/registry/v2/blobs/sha256"
    return [root / digest[:2] / digest / "data" for digest in sorted(digests)]


def table(samples: Sequence[Sample]) -> str:
    """Return medians, one line for each case and racer."""
    lines = [
        f"{'case':<13} {'racer':<10} {'seconds':>8} {'min..max':>15} {'x engine':>8} {'cpu s':>6} "
        f"{'peak':>6} {'down':>8} {'upstream':>9} {'local':>6} {'connections':>11}"
    ]
    for (case, racer), runs in grouped(samples).items():
        good = [sample for sample in runs if not sample.failure]
        if not good:
            lines.append(f"{case:<13} {racer:<10} failed: {runs[0].failure.splitlines()[-1][:80]}")
            continue
        seconds = [sample.seconds for sample in good]
        last = good[-1]
        lines.append(
            f"{case:<13} {racer:<10} {statistics.median(seconds):8.2f} "
            f"{f'{min(seconds):.2f}..{max(seconds):.2f}':>15} {ratio_to_engine(samples, good):>8} "
            f"{statistics.median(sample.cpu for sample in good):6.2f} "
            f"{max(sample.peak for sample in good) / MB:5.0f}M {last.bytes_down / MB:7.1f}M "
            f"{sum(last.upstream.values()):9} {sum(last.local.values()):6} {last.connections or '':>11}"
            + (f"  ({len(runs) - len(good)} of {len(runs)} failed)" if len(good) < len(runs) else "")
        )
    return "\n".join(lines)


def ratio_to_engine(samples: Sequence[Sample], runs: Sequence[Sample]) -> str:
    """Return the median over rounds of what a racer took by what the engine took."""
    engine = {
        (sample.case, sample.round): sample.seconds
        for sample in samples
        if sample.racer == "engine" and not sample.failure
    }
    ratios = [run.seconds / engine[run.case, run.round] for run in runs if (run.case, run.round) in engine]
    return f"{statistics.median(ratios):.2f}" if ratios else ""


def request_table(samples: Sequence[Sample]) -> str:
    """Return the requests by kind of each case and racer's last run."""
    lines = []
    for (case, racer), runs in grouped(samples).items():
        for side in ("upstream", "local"):
            kinds = ", ".join(f"{count} {kind}" for kind, count in getattr(runs[-1], side).items())
            if kinds:
                lines.append(f"{case:<13} {racer:<10} {side:<8} {kinds}")
    return "\n".join(lines)


def grouped(samples: Sequence[Sample]) -> dict[tuple[str, str], list[Sample]]:
    """Group samples by case and racer, in the order of the cases."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.case, sample.racer), []).append(sample)
    order = {case: position for position, case in enumerate(CASES)}
    return dict(sorted(groups.items(), key=lambda item: order.get(item[0][0], len(order))))


def race(bench: Bench) -> None:
    """Run every case that is wanted."""
    plans: tuple[tuple[tuple[str, ...], Callable[[], None]], ...] = (
        (("start",), lambda: start(bench)),
        (("cold", "idle", "delta"), lambda: overcloud(bench, suffix="")),
        (("cold-far", "idle-far", "delta-far"), lambda: overcloud(bench, suffix="-far")),
        (("large",), lambda: large(bench, suffix="")),
        (("large-far",), lambda: large(bench, suffix="-far")),
        (("many-tags",), lambda: many_tags(bench)),
        (("memory",), lambda: memory(bench)),
        (("killed",), lambda: killed(bench)),
        (("upload",), lambda: upload(bench)),
    )
    for names, run in plans:
        if not set(names).isdisjoint(bench.cases):
            run()


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [racer.name for racer in RACERS]
    parser.add_argument("--case", action="append", choices=CASES, help="only this; may be repeated")
    parser.add_argument("--racer", action="append", choices=names, help="only this; may be repeated")
    parser.add_argument("--runs", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--scale", type=float, default=1.0, help="of sizes and counts (default: 1)")
    parser.add_argument("--rtt", type=float, default=40, help="milliseconds, of the far line (default: 40)")
    parser.add_argument("--rate", type=float, default=25, help="MB/s a connection, far (default: 25)")
    parser.add_argument("--parallel", type=int, help="transfer:parallel of ours (default: the formula's)")
    parser.add_argument("--work", type=Path, default=CHECKOUT / ".bench", help="where sets are kept")
    parser.add_argument("--formula", type=Path, default=CHECKOUT, help="the checkout to race (default: this)")
    parser.add_argument("--json", type=Path, help="write every sample to this file")
    return parser.parse_args()


def main() -> int:
    """Race, and print the tables."""
    arguments = parse_arguments()
    wanted = [racer for racer in RACERS if not arguments.racer or racer.name in arguments.racer]
    for racer in wanted:
        if racer.why_not:
            print(f"skipped: {racer.name} ({racer.why_not})")
    racers = [racer for racer in wanted if not racer.why_not]
    busy = os.getloadavg()[0]
    if busy > 0.5:
        print(f"others are busy on this machine (load {busy:.1f}): the figures will be worth little")
    arguments.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(
        cases=arguments.case or CASES,
        racers=[racer for racer in racers if not racer.uploads],
        uploaders=[racer for racer in racers if racer.uploads],
        scale=arguments.scale,
        runs=arguments.runs,
        rtt=arguments.rtt / 1000,
        rate=arguments.rate * MB,
        work=arguments.work.resolve(),
        formula=arguments.formula.resolve(),
        transfer={"parallel": arguments.parallel} if arguments.parallel else {},
    )
    race(bench)
    print(table(bench.samples), request_table(bench.samples), sep="\n\n")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(sample) for sample in bench.samples]), encoding="utf-8")
    return 1 if any(sample.failure for sample in bench.samples) else 0


if __name__ == "__main__":
    sys.exit(main())
