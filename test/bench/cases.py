"""What is raced: which set, from where, into a local registry of which state."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import dataset
import landings
import storage
from dataset import Content
from lane import Bench, Lane, Sample, bytes_sent, lanes, run_measured
from racers import BEFORE

from support.registries import Distribution
from support.salt_minion import Minion
from support.traffic import read_access_log

MB = 1_000_000
CAP_MB = 25
FOREIGN = 5000
# As they are asked for, in the order of the tables; one of them may be several samples.
TITLES = {
    "start": "Salt alone, `test.ping`",
    "cold": "cold",
    "idle": "nothing to do",
    "delta": "one new layer of 2 MB",
    "cold-capped": f"cold, a quarter of the set, {CAP_MB} MB/s for all",
    "cold-far": "cold, far",
    "idle-far": "nothing to do, far",
    "delta-far": "one new layer of 2 MB, far",
    "large": "one image with a layer of 500 MB",
    "large-far": "one image with a layer of 500 MB, far",
    "many-tags": "10,000 tags, nothing to do",
    "no-foreign": "nothing to do, registry just restarted",
    "foreign": f"nothing to do, {FOREIGN:,} foreign repositories",
    "memory-10mb": "layers of 10 MB",
    "memory-200mb": "layers of 200 MB",
    "killed": "1 GB killed at half, run again",
    "bare-cold": "cold, 528 attachments left out",
    "attached-cold": "cold, 528 attachments",
    "bare": "nothing to do, signatures left out",
    "signed": "nothing to do, 132 signed tags",
    "bare-far": "nothing to do, signatures left out, far",
    "signed-far": "nothing to do, 132 signed tags, far",
    "upload": "an undercloud's 44 tags, 1065 MB",
}


def start(bench: Bench) -> None:
    """Salt's own start: what `salt-call` takes to do nothing."""
    with bench.scratch() as scratch:
        minion = Minion(scratch / "minion", bench.formula)
        for number in range(bench.runs):
            measured = run_measured(minion.command("test.ping"), scratch / "output")
            bench.record(
                Sample("start", "salt-call", number, measured["seconds"], measured["cpu"], measured["peak"])
            )


def overcloud(bench: Bench, *, far: bool = False) -> None:
    """The overcloud set: into an empty registry, again at once, and again after one image has a new layer."""
    suffix = "-far" if far else ""
    with bench.upstream("overcloud") as (upstream, cache):
        content = {
            name: dict(tags) for name, tags in dataset.overcloud(upstream.url, bench.scale, cache).items()
        }
        if f"cold{suffix}" in bench.cases:
            record_landings(bench, f"cold{suffix}", upstream, content, far=far)
        for lane in lanes(bench, bench.syncers if far else bench.racers, upstream, content, far=far):
            lane.run(f"cold{suffix}", content)
            if lane.racer.copies_only:
                continue
            if f"idle{suffix}" in bench.cases:
                lane.run(f"idle{suffix}", content)
            if f"delta{suffix}" in bench.cases:
                add_layer(upstream, content)
                lane.run(f"delta{suffix}", content)


def add_layer(upstream: Distribution, content: dict[str, dict[str, Any]]) -> None:
    """Move a tag of the first repository to an image with a layer that nobody has seen."""
    name, tags = next(iter(content.items()))
    seed = f"delta/{time.time_ns()}"
    tags[dataset.LATEST] = dataset.add_layer(upstream.url, name, tags[dataset.NEW_TAG], seed)


def capped(bench: Bench) -> None:
    """A quarter of the set's bytes, through what an operator leaves to the mirror."""
    with bench.upstream("overcloud", share=0.25) as (upstream, cache):
        content = dataset.overcloud(upstream.url, bench.scale / 4, cache)
        transfer = {"bandwidth": CAP_MB * MB}
        record_landings(bench, "cold-capped", upstream, content, transfer=transfer)
        for lane in lanes(bench, bench.ours, upstream, content, transfer=transfer):
            lane.run("cold-capped", content)


def record_landings(
    bench: Bench, case: str, upstream: Distribution, content: Content, **circumstances: Any
) -> None:
    """Run into an empty registry once more, with no eye on the clock: which images stand how early."""
    racers = [racer for racer in bench.ours if racer.record]
    for lane in lanes(bench, racers, upstream, content, **circumstances):
        assert lane.racer.record is not None
        file, log = lane.job.directory / "record.json", lane.job.directory / "output"
        command = lane.racer.record(lane.job, file)
        if run_measured(command, log)["retcode"]:
            failure = log.read_text(errors="replace")[-600:]
            found = landings.Landings(case, lane.racer.name, lane.round, failure=failure)
        else:
            found = landings.read(file, content, case, lane.racer.name, lane.round)
        bench.landings.append(found)


def large(bench: Bench, *, far: bool = False) -> None:
    """One image with one layer of 500 MB."""
    with bench.upstream("large") as (upstream, cache):
        size = bench.scaled(500 * MB)
        content = dataset.images_of(upstream.url, "large", images=1, layers=1, size=size, cache=cache)
        for lane in lanes(bench, bench.syncers if far else bench.racers, upstream, content, far=far):
            lane.run("large-far" if far else "large", content)


def memory(bench: Bench, megabytes: int, images: int, layers: int) -> None:
    """Peak memory with layers of some size."""
    name = f"memory-{megabytes}mb"
    with bench.upstream(name) as (upstream, cache):
        size = bench.scaled(megabytes * MB)
        content = dataset.images_of(upstream.url, name, images, layers, size, cache)
        for lane in lanes(bench, bench.syncers, upstream, content):
            lane.run(name, content)


def killed(bench: Bench) -> None:
    """One layer of 1 GB: killed once half of it has come here; what is measured is the run after that."""
    with bench.upstream("killed") as (upstream, cache):
        size = bench.scaled(1000 * MB)
        content = dataset.images_of(upstream.url, "killed", images=1, layers=1, size=size, cache=cache)
        needed = sum(blob.size for blob in storage.blobs_of(upstream, content))
        needed += sum(len(image.manifest) for tags in content.values() for image in tags.values())
        for lane in lanes(bench, bench.syncers, upstream, content):
            mark = upstream.log_position()
            ended = not kill_when(lane.command, _has_come(lane, size // 2))
            sample = lane.measure("killed", content)
            sent = bytes_sent(read_access_log(upstream.access_log(mark)))
            failure = "ended before it could be killed" if ended else sample.failure
            bench.record(replace(sample, again=sent - needed, failure=failure))


def _has_come(lane: Lane, size: int) -> Callable[[], bool]:
    """Whether so much is here: in the registry, or where the racer keeps what is under way."""

    def reached() -> bool:
        kept = (storage.size_of(file) for file in lane.job.directory.rglob("spool/*"))
        return max([*storage.unfinished_uploads(lane.local), *kept], default=0) >= size

    return reached


def kill_when(command: Sequence[str], reached: Callable[[], bool]) -> bool:
    """Start a command and kill it as soon as something is so; return False where it ended before."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not reached():
        time.sleep(0.01)
    process.kill()
    return process.wait() < 0


def upload(bench: Bench) -> None:
    """The overcloud set with one tag each, as an undercloud wants it, against its own command line."""
    with bench.upstream("overcloud") as (upstream, cache):
        everything = dataset.overcloud(upstream.url, bench.scale, cache)
        content = {name: {dataset.OLD_TAG: tags[dataset.OLD_TAG]} for name, tags in everything.items()}
        for lane in lanes(bench, [*bench.syncers, *bench.uploaders], upstream, content):
            lane.run("upload", content)


def many_tags(bench: Bench) -> None:
    """Ten thousand tags, all of them in step already."""
    with bench.upstream("many-tags") as (upstream, cache):
        content = dataset.many_tags(upstream.url, bench.scaled(100), 100, cache)
        everything = dict.fromkeys(content, ("*",))
        for lane in lanes(bench, bench.syncers, upstream, content, tags=everything):
            storage.replace_with_copy(upstream, lane.local)
            lane.run("many-tags", content)


def foreign(bench: Bench) -> None:
    """Nothing to do, and then again beside thousands of repositories that are nobody's business."""
    with bench.upstream("overcloud") as (upstream, cache):
        content = dataset.overcloud(upstream.url, bench.scale, cache)
        for lane in lanes(bench, bench.ours, upstream, content):
            storage.replace_with_copy(upstream, lane.local)
            lane.run("no-foreign", content)
            storage.add_foreign_repositories(lane.local, bench.scaled(FOREIGN))
            lane.run("foreign", content)


def attached(bench: Bench) -> None:
    """The overcloud set with eight things attached to each of its 66 images, into an empty registry."""
    kinds, referrers = ("sig", "att", "sbom"), 5
    with bench.upstream("attached") as (upstream, cache):
        content, everything = dataset.signed(upstream.url, bench.scale, cache, kinds, referrers)
        for bare, whole in _pairs(bench, upstream, content):
            bare.run("bare-cold", content)
            whole.run("attached-cold", everything)


def signed(bench: Bench, *, far: bool = False) -> None:
    """The overcloud set, signed, all of it here already."""
    suffix = "-far" if far else ""
    with bench.upstream("signed", share=0.01) as (upstream, cache):
        content, everything = dataset.signed(upstream.url, bench.scale / 100, cache, ["sig"], 0)
        for bare, whole in _pairs(bench, upstream, content, far=far):
            for case, lane, wanted in (("bare", bare, content), ("signed", whole, everything)):
                # What an earlier run remembers is there, too.
                lane.measure(case, wanted)
                lane.run(case + suffix, wanted)


def _pairs(
    bench: Bench, upstream: Distribution, content: Content, *, far: bool = False
) -> Iterator[tuple[Lane, Lane]]:
    """Each racer of ours without what is attached, and with it; neither runs while the other one does."""
    racers = [racer for racer in bench.ours if racer.name != BEFORE]
    bare = lanes(bench, racers, upstream, content, far=far, pillar={"attachments": False})
    return zip(bare, lanes(bench, racers, upstream, content, far=far), strict=True)


PLANS: tuple[tuple[tuple[str, ...], Callable[[Bench], None]], ...] = (
    (("start",), start),
    (("cold", "idle", "delta"), overcloud),
    (("cold-capped",), capped),
    (("cold-far", "idle-far", "delta-far"), lambda bench: overcloud(bench, far=True)),
    (("large",), large),
    (("large-far",), lambda bench: large(bench, far=True)),
    (("many-tags",), many_tags),
    (("no-foreign", "foreign"), foreign),
    (("memory-10mb",), lambda bench: memory(bench, 10, images=4, layers=8)),
    (("memory-200mb",), lambda bench: memory(bench, 200, images=2, layers=4)),
    (("killed",), killed),
    (("bare-cold", "attached-cold"), attached),
    (("bare", "signed"), signed),
    (("bare-far", "signed-far"), lambda bench: signed(bench, far=True)),
    (("upload",), upload),
)


def race(bench: Bench) -> None:
    """Run every case that is wanted."""
    for names, run in PLANS:
        if not set(names).isdisjoint(bench.cases):
            run(bench)
