"""One racer with an empty local registry of its own, and what is measured of its runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import storage
from dataset import Content
from landings import Landings
from racers import Job, Racer

from support.images import DOCKER_MANIFEST, OCI_MANIFEST
from support.registries import Distribution
from support.slow_line import SlowLine
from support.traffic import LoggedRequest, read_access_log

BENCH = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Sample:
    """One timed run.

    Args:
        case: which.
        racer: whose.
        round: racers are compared within it.
        seconds: from start to end.
        cpu: seconds of the racer's processes.
        peak: bytes of memory of the largest of them.
        bytes_down: what upstream sent.
        connections: to upstream, through the far line; a near one has nobody who could count them.
        upstream: requests by kind.
        local: requests by kind.
        left: bytes in the local registry's unfinished uploads afterwards.
        again: of a run that was killed before: bytes that upstream sent more than once.
        failure: why it does not count.
    """

    case: str
    racer: str
    round: int
    seconds: float
    cpu: float
    peak: int
    bytes_down: int = 0
    connections: int = 0
    upstream: dict[str, int] = field(default_factory=dict)
    local: dict[str, int] = field(default_factory=dict)
    left: int = 0
    again: int | None = None
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
    before: Path | None
    transfer: Mapping[str, Any]
    samples: list[Sample] = field(default_factory=list)
    landings: list[Landings] = field(default_factory=list)

    @property
    def syncers(self) -> list[Racer]:
        """Those who bring in step what is there already."""
        return [racer for racer in self.racers if not racer.copies_only]

    @property
    def ours(self) -> list[Racer]:
        """Those who understand our pillar."""
        return [racer for racer in self.racers if racer.ours]

    def scaled(self, number: int) -> int:
        """Make a size or a count smaller."""
        return max(1, round(number * self.scale))

    def record(self, sample: Sample) -> None:
        """Keep a sample and show it at once."""
        self.samples.append(sample)
        failure = f"  FAILED: {sample.failure}" if sample.failure else ""
        print(f"  {sample.case:<13} {sample.racer:<13} {sample.seconds:8.2f} s{failure}", file=sys.stderr)

    @contextmanager
    def upstream(self, name: str, *, share: float = 1.0) -> Iterator[tuple[Distribution, Path]]:
        """Run the registry that keeps a set, and name the file that says what it has."""
        directory = self.work / f"{name}-{self.scale * share:g}"
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

    def run(self, case: str, content: Content) -> None:
        """Measure the racer's command and keep the sample."""
        self.bench.record(self.measure(case, content))

    def measure(self, case: str, content: Content) -> Sample:
        """Time the racer's command, and see whether the local registry has everything then."""
        os.sync()
        marks = self.upstream.log_position(), self.local.log_position()
        log = self.job.directory / "output"
        connections = self._connections()
        measured = run_measured(self.command, log)
        asked_upstream = list(read_access_log(self.upstream.access_log(marks[0])))
        asked_local = list(read_access_log(self.local.access_log(marks[1])))
        return Sample(
            case=case,
            racer=self.racer.name,
            round=self.round,
            seconds=measured["seconds"],
            cpu=measured["cpu"],
            peak=measured["peak"],
            connections=self._connections() - connections,
            bytes_down=bytes_sent(asked_upstream),
            upstream=count_kinds(asked_upstream),
            local=count_kinds(asked_local),
            left=sum(storage.unfinished_uploads(self.local)),
            failure=self._failure(measured["retcode"], log, content),
        )

    def _connections(self) -> int:
        return self.way.stats().connections if isinstance(self.way, SlowLine) else 0

    def _failure(self, retcode: int, log: Path, content: Content) -> str:
        if retcode:
            return f"exit {retcode}: {log.read_text(errors='replace')[-600:]}"
        if self.racer.copies_only:
            return ""
        wrong = count_wrong_tags(self.local, content, any_digest=self.racer.uploads)
        return f"{wrong} tags are missing or wrong" if wrong else ""


def lanes(
    bench: Bench,
    racers: Sequence[Racer],
    upstream: Distribution,
    content: Content,
    *,
    far: bool = False,
    tags: Mapping[str, Sequence[str]] | None = None,
    transfer: Mapping[str, Any] | None = None,
    pillar: Mapping[str, Any] | None = None,
) -> Iterator[Lane]:
    """Yield each racer in each round, with an empty local registry.

    Args:
        bench: how many rounds, and which checkouts.
        racers: in an order that changes from round to round.
        upstream: the registry that has the set.
        content: the set.
        far: whether a slow line leads to it.
        tags: what to ask for instead of every tag by its name.
        transfer: of our pillar, beside what the command line says.
        pillar: what else it is to say.
    """
    line = SlowLine(upstream.address, rtt=bench.rtt, rate=bench.rate) if far else nullcontext(upstream)
    with line as way:
        for round_ in range(bench.runs):
            shift = round_ % len(racers) if racers else 0
            for racer in (*racers[shift:], *racers[:shift]):
                with bench.scratch() as scratch, racer.registry(scratch / "local") as local:
                    # As a package leaves it: there, and empty.
                    local.data.mkdir(exist_ok=True)
                    job = Job(
                        upstream=way.address,
                        local=local.address,
                        images=tags or {name: list(there) for name, there in content.items()},
                        blobs=storage.blobs_of(upstream, content) if racer.copies_only else (),
                        directory=scratch,
                        transfer={**bench.transfer, **(transfer or {})},
                        pillar=pillar or {},
                        formula=bench.formula,
                        before=bench.before,
                        storage=str(local.data),
                        push_socket=str(getattr(local, "socket", "")),
                    )
                    command = racer.prepare(job)
                    with racer.beside(scratch):
                        yield Lane(bench, racer, round_, way, upstream, local, job, command)


def bytes_sent(logged: Iterable[LoggedRequest]) -> int:
    """Return the bytes of all answers that have a body."""
    return sum(request.size for request in logged if request.kind.startswith("GET"))


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


def count_wrong_tags(registry: Distribution, content: Content, *, any_digest: bool = False) -> int:
    """Return how many tags do not have the digest they should, or with `any_digest` have none."""
    with requests.Session() as http, ThreadPoolExecutor(4) as pool:
        http.trust_env = False

        def is_wrong(wanted: tuple[str, str, str]) -> bool:
            repository, tag, digest = wanted
            url = f"{registry.url}/v2/{repository}/manifests/{tag}"
            head = http.head(url, headers={"Accept": f"{DOCKER_MANIFEST}, {OCI_MANIFEST}"})
            found = head.headers.get("Docker-Content-Digest")
            return not found if any_digest else found != digest

        everything = [(name, tag, im.digest) for name, tags in content.items() for tag, im in tags.items()]
        return sum(pool.map(is_wrong, everything))
