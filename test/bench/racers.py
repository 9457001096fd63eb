"""Who races: each tool told to bring one registry in step with another, in its own words."""

from __future__ import annotations

import compileall
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from storage import StoredBlob

from support.formula_registry import FormulaRegistry
from support.registries import Distribution
from support.salt_minion import Minion
from support.undercloud import DOCKER_SOCKET, QUEENS, docker_daemon

BENCH = Path(__file__).resolve().parent

BEFORE = "engine before"

Command = list[str]


@dataclass(frozen=True)
class Job:
    """What is to be brought in step.

    Args:
        upstream: `host:port`.
        local: `host:port`.
        images: repository to tags; `['*']` = all.
        blobs: the unique ones, for those who only copy.
        directory: where a racer may keep its files.
        transfer: ours alone: the pillar's `transfer`.
        formula: ours alone: the checkout to race.
        before: ours alone: an older checkout to compare it with.
        storage: ours alone: where the local registry keeps its files.
        push_socket: ours alone: where a registry that is read-only to its clients is written to.
        pillar: ours alone: what else it says.
    """

    upstream: str
    local: str
    images: Mapping[str, Sequence[str]]
    blobs: Sequence[StoredBlob]
    directory: Path
    transfer: Mapping[str, Any]
    formula: Path
    before: Path | None = None
    storage: str = ""
    push_socket: str = ""
    pillar: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Racer:
    """A tool: `prepare` writes its configuration, outside of what is timed, and returns its command.

    Args:
        name: as in the table.
        prepare: from a job to a command.
        programs: what must be installed.
        copies_only: whether it has no notion of being in step, so that only the cold run makes sense.
        uploads: whether it races in the case `upload` alone, where it may write manifests of its own.
        beside: from a directory to what must run meanwhile.
        ours: whether it understands our pillar.
        record: from a job and a file to a command that does the same and writes there how it came along.
        registry: from a directory to the local registry that it fills.
    """

    name: str
    prepare: Callable[[Job], Command]
    programs: tuple[str, ...] = ()
    copies_only: bool = False
    uploads: bool = False
    beside: Callable[[Path], AbstractContextManager[None]] = lambda _: nullcontext()
    ours: bool = False
    record: Callable[[Job, Path], Command] | None = None
    registry: Callable[[Path], Distribution] = Distribution

    @property
    def why_not(self) -> str:
        """Why it cannot run on this machine, if it cannot."""
        missing = [program for program in self.programs if shutil.which(program) is None]
        if missing:
            return f"{' and '.join(missing)} not installed"
        return (
            f"somebody else's docker is at {DOCKER_SOCKET}" if self.uploads and DOCKER_SOCKET.exists() else ""
        )


def pillar(job: Job) -> dict[str, Any]:
    """Say the job as a pillar."""
    upstream_host, upstream_port = job.upstream.split(":")
    local_host, local_port = job.local.split(":")
    return {
        "upstream": {"host": upstream_host, "port": int(upstream_port), "tls": False},
        "local": {"host": local_host, "port": int(local_port)},
        "images": [{"name": name, "tags": list(tags)} for name, tags in job.images.items()],
        "transfer": dict(job.transfer),
        **job.pillar,
    }


def engine(job: Job) -> Command:
    """Ours as a library in a fresh Python, without Salt."""
    return _python_of(job.formula, job.formula / "test/bench/engine.py", _pillar_file(job))


def engine_before(job: Job) -> Command:
    """The same of an older checkout, by its own script since modules have other names there."""
    assert job.before is not None
    return _python_of(job.before, job.before / "test/bench/engine.py", _pillar_file(job))


def recorded_engine(job: Job, record: Path) -> Command:
    """Like `engine`, and write what had moved and what stood at each moment."""
    return _python_of(job.formula, BENCH / "record.py", _pillar_file(job), record)


def recorded_engine_before(job: Job, record: Path) -> Command:
    """Like `engine_before`, recorded."""
    assert job.before is not None
    return _python_of(job.before, BENCH / "record.py", _pillar_file(job), record)


def engine_over_socket(job: Job) -> Command:
    """Like `engine`, where the registry is read-only to its clients and its host pushes through a socket."""
    return [*engine_on_its_host(job), "--push-socket", job.push_socket]


def engine_on_its_host(job: Job) -> Command:
    """Like `engine`, where the registry is this host's and its files can be looked at."""
    return [*engine(job), "--storage", job.storage]


def _pillar_file(job: Job) -> Path:
    file = job.directory / "pillar.json"
    file.write_text(json.dumps(pillar(job)), encoding="utf-8")
    return file


def _python_of(checkout: Path, *words: Path) -> Command:
    # Or the first round would compile within its time.
    compileall.compile_dir(checkout / "_utils", quiet=2)
    return ["env", f"PYTHONPATH={checkout / '_utils'}", sys.executable, *map(str, words)]


def ours_salt(job: Job) -> Command:
    """Ours as a user runs it, Salt's own start included."""
    minion = Minion(job.directory / "minion", job.formula, pillar={"docker_registry": pillar(job)})
    synced = minion.sync()
    assert synced.retcode == 0, synced.stderr
    return minion.command("registry_sync.sync")


def skopeo_sync(job: Job) -> Command:
    """`skopeo sync`, which keeps only the last part of a repository's name: all must have one parent."""
    (parent,) = {name.rpartition("/")[0] for name in job.images}
    source = {"tls-verify": False, "images": {name: _tags_or_all(tags) for name, tags in job.images.items()}}
    file = job.directory / "skopeo.yaml"
    file.write_text(yaml.safe_dump({job.upstream: source}), encoding="utf-8")
    command = ["skopeo", "--insecure-policy", "sync", "--src", "yaml", "--dest", "docker"]
    return [*command, "--dest-tls-verify=false", str(file), f"{job.local}/{parent}"]


def regsync(job: Job) -> Command:
    """`regsync once`, eight at a time."""
    config = {
        "version": 1,
        "creds": [{"registry": side, "tls": "disabled"} for side in (job.upstream, job.local)],
        "defaults": {"parallel": 8},
        "sync": [
            {
                "source": f"{job.upstream}/{name}",
                "target": f"{job.local}/{name}",
                "type": "repository",
                "tags": {"allow": [f"^{tag}$".replace(".", r"\.") for tag in _tags_or_all(tags)]},
            }
            for name, tags in job.images.items()
        ],
    }
    file = job.directory / "regsync.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return ["regsync", "once", "--config", str(file)]


def crane(job: Job) -> Command:
    """`crane copy --all-tags -j 8`, a process for each repository."""
    script = "set -e; for name; do crane copy --insecure --all-tags -j 8 $0/$name %s/$name; done"
    return ["sh", "-c", script % shlex.quote(job.local), job.upstream, *job.images]


def push_limit(job: Job) -> Command:
    """The same blobs from local files by four curl at a time: what the local registry can take at all."""
    return [sys.executable, str(BENCH / "push_files.py"), job.local, *(str(blob.file) for blob in job.blobs)]


def relay(job: Job) -> Command:
    """The same blobs through four `curl | curl` at a time: what both registries together can do at all."""
    file = job.directory / "blobs.json"
    file.write_text(json.dumps([[blob.repository, blob.digest, blob.size] for blob in job.blobs]))
    return [sys.executable, str(BENCH / "relay.py"), job.upstream, job.local, str(file)]


def openstack_upload(job: Job) -> Command:
    """`openstack overcloud container image upload`, which docker pulls, tags and pushes for."""
    entries = [
        {"imagename": f"{job.upstream}/{name}:{tag}", "push_destination": job.local}
        for name, tags in job.images.items()
        for tag in tags
    ]
    file = job.directory / "images.yaml"
    file.write_text(yaml.safe_dump({"container_images": entries}), encoding="utf-8")
    # It asks the registries itself whether they speak TLS, and a proxy would answer in their place.
    proxies = [word for name in os.environ if name.lower().endswith("_proxy") for word in ("-u", name)]
    upload = ["overcloud", "container", "image", "upload", f"--config-file={file}"]
    return ["env", *proxies, f"HOME={job.directory}", str(QUEENS), *upload]


def docker_beside(directory: Path) -> AbstractContextManager[None]:
    """An empty dockerd, as it runs on an undercloud."""
    return docker_daemon(directory, group="root")


RACERS = (
    Racer("engine", engine, ours=True, record=recorded_engine),
    Racer(BEFORE, engine_before, ours=True, record=recorded_engine_before),
    Racer("engine own host", engine_on_its_host, ours=True),
    Racer("engine socket", engine_over_socket, ours=True, registry=FormulaRegistry),
    Racer("salt-call", ours_salt, ours=True),
    Racer("skopeo", skopeo_sync, programs=("skopeo",)),
    Racer("regsync", regsync, programs=("regsync",)),
    Racer("crane", crane, programs=("crane",)),
    Racer("relay", relay, programs=("curl",), copies_only=True),
    Racer("push-limit", push_limit, programs=("curl",), copies_only=True),
    Racer(
        "openstack",
        openstack_upload,
        programs=(str(QUEENS), "dockerd", "docker", "skopeo"),
        uploads=True,
        beside=docker_beside,
    ),
)


def _tags_or_all(tags: Sequence[str]) -> list[str]:
    return [] if list(tags) == ["*"] else list(tags)
