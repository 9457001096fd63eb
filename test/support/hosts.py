"""Hosts with a systemd of their own, booted in a moment from one root that is made once.

A host is a `systemd-nspawn` container whose changes are gone when it stops. It sees a network of the
test's own and no other. `Wire` is that network; a registry to mirror from can live on it, too.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from support.salt_minion import Answer, Minion, answer_of

TOOLS = ("mmdebstrap", "systemd-nspawn", "nsenter", "ip")
RECIPE, RECIPE_DEBIAN13 = (Path(__file__).with_name(name) for name in ("host_root", "host_root_debian13"))
RELEASES = {RECIPE: "bookworm", RECIPE_DEBIAN13: "trixie"}
# Of systemd, where podman is to have control groups of its own: https://systemd.io/CONTAINER_INTERFACE/
UNIFIED_CGROUPS = ("--system-call-filter=bpf", "--capability=CAP_BPF")
# python3 for the libraries that any build of Python wants; the rest is what hosts of that kind have.
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "ca-certificates", "procps", "python3"),
    *("iproute2", "iptables", "rpm", "dnf", "createrepo-c"),
)
# Where a control group of our own makes a container's systemd happy: v1 and hybrid, else v2.
CGROUPS = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")
CLONE_NEWNET = 0x40000000
# Hexadecimal digits of a root's name.
FINGERPRINT = 12
SECONDS_TO_BOOT = 60.0
SECONDS_TO_STOP = 20.0
SECONDS_FOR_A_COMMAND = 300.0


class HostError(Exception):
    """A host did not do what every test takes for granted."""


def why_no_hosts() -> str | None:
    """Return what this machine lacks to boot hosts, or None."""
    if os.geteuid() != 0:
        return "root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return ", ".join(missing)
    return None if _cgroup_parents() else "control groups that can be written"


def salt_environments(checkout: Path) -> dict[str, Path]:
    """Return the environments that `test/run` has made, by the version of Salt in each, oldest first."""
    # Those that are made for hosts alone come last and win.
    programs = sorted(checkout.glob(".venv/*3???/bin/salt-call"))
    return {path.parents[1].name[-4:]: path.parents[1] for path in programs}


def root_filesystem(cache: Path, recipe: Path = RECIPE) -> Path:
    """Return the root that hosts boot from, made below `cache` where it is not there yet."""
    kind = recipe.name.replace("_", "-")
    root = cache / f"{kind}-{_fingerprint(recipe)}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            for old in cache.glob(f"{kind}-{'?' * FINGERPRINT}"):
                shutil.rmtree(old)
            _make_root(recipe, root)
    return root


class Wire:
    """A switch with nothing behind it, in a network namespace of its own that has an address on it."""

    def __init__(self, name: str, network: str = "10.99.7") -> None:
        self.name = f"{name}-{os.getpid()}"
        self.network = network
        self.address = f"{network}.1"
        self._taken = 1
        self._plugged: list[str] = []

    def plug_in(self, name: str) -> tuple[str, str]:
        """Return a new network namespace with one interface on this wire, and its address."""
        self._taken += 1
        namespace, address = f"{self.name}-{name}", f"{self.network}.{self._taken}"
        port = f"port{self._taken}"
        _ip("netns", "add", namespace)
        self._plugged.append(namespace)
        _ip("-n", self.name, "link", "add", port, "type", "veth", "peer", "name", "host0", "netns", namespace)
        _ip("-n", self.name, "link", "set", port, "master", "switch", "up")
        _ip("-n", namespace, "address", "add", f"{address}/24", "dev", "host0")
        for interface in ("lo", "host0"):
            _ip("-n", namespace, "link", "set", interface, "up")
        return namespace, address

    def unplug(self, namespace: str) -> None:
        """Take a namespace away again, with its end of the wire."""
        self._plugged.remove(namespace)
        _ip("netns", "delete", namespace)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Have this thread, and the programs it starts, live on the wire."""
        with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{self.name}") as there:  # noqa: PTH123
            _set_network(there.fileno())
            try:
                yield
            finally:
                _set_network(home.fileno())

    def __enter__(self) -> Wire:
        _ip("netns", "add", self.name)
        _ip("-n", self.name, "link", "add", "switch", "type", "bridge")
        _ip("-n", self.name, "address", "add", f"{self.address}/24", "dev", "switch")
        for interface in ("lo", "switch"):
            _ip("-n", self.name, "link", "set", interface, "up")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for namespace in list(self._plugged):
            self.unplug(namespace)
        _ip("netns", "delete", self.name)


class Host:
    """One booted host, from `with` on. `directory` is seen inside under the same path."""

    def __init__(
        self,
        name: str,
        *,
        root: Path,
        wire: Wire,
        directory: Path,
        environment: Path,
        binds: Mapping[Path, str] | None = None,
        unified: bool = False,
    ) -> None:
        self.name = name
        self.directory = directory.resolve()
        self.environment = environment
        self._wire = wire
        self.namespace, self.address = wire.plug_in(name)
        self._machine = f"{name}-{os.getpid()}"
        self._root = root
        self._binds = binds or {}
        self._unified = unified
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def run(self, *command: str, timeout: float = SECONDS_FOR_A_COMMAND) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as systemd would."""
        unit = ["systemd-run", "-q", "--pipe", "--wait", "--collect"]
        return subprocess.run(
            # systemd takes a dollar for a variable of its own.
            [
                *_enter(self._leader),
                *unit,
                *self._surroundings(),
                *(word.replace("$", "$$") for word in command),
            ],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )

    def start_service(self, unit: str, *command: str) -> None:
        """Have systemd run a command until the host stops."""
        stop_soon = ("-p", "TimeoutStopSec=2")
        self.output("systemd-run", "-q", f"--unit={unit}", *stop_soon, *self._surroundings(), *command)

    def output(self, *command: str) -> str:
        """Return what a command prints, which must succeed."""
        done = self.run(*command)
        if done.returncode:
            raise HostError(f"{' '.join(command)} on {self.name}: {done.stdout}{done.stderr}")
        return done.stdout

    def path(self, inside: str) -> Path:
        """Return where a file of the host is to be found from outside."""
        return Path(f"/proc/{self._leader}/root") / inside.lstrip("/")

    def read(self, inside: str) -> str:
        """Return the text of a file."""
        return self.path(inside).read_text(encoding="utf-8")

    def write(self, inside: str, text: str) -> None:
        """Write a file as whoever administers the host would."""
        self.path(inside).parent.mkdir(parents=True, exist_ok=True)
        self.path(inside).write_text(text, encoding="utf-8")

    def files(self, *below: str) -> dict[str, int]:
        """Return each file below directories and when it changed."""
        listing = self.output("find", *below, "-xdev", "-type", "f", "-printf", "%p\t%C@\n")
        pairs = (line.split("\t") for line in listing.splitlines())
        return {path: int(float(changed) * 1e6) for path, changed in pairs}

    def invocation(self, service: str) -> str:
        """Return what systemd calls the run of a service; another one after each start, empty before."""
        return self.output("systemctl", "show", "--value", "-p", "InvocationID", service).strip()

    def is_active(self, service: str) -> bool:
        """Tell whether systemd has the service running."""
        return self.run("systemctl", "is-active", "--quiet", service).returncode == 0

    def __enter__(self) -> Host:
        command = self._nspawn_command()
        if self._unified:
            command = ["env", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", *command]
        self._nspawn = _spawn_in_cgroups(self._machine, command, self.directory)
        try:
            self._leader = self._wait_until_booted()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        assert self._nspawn is not None
        # Asks the system inside to power off.
        self._nspawn.terminate()
        try:
            self._nspawn.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            # A second one ends it at once.
            self._nspawn.terminate()
            self._nspawn.wait(SECONDS_TO_STOP)
        _remove_cgroups(self._machine)
        self._wire.unplug(self.namespace)

    def _surroundings(self) -> list[str]:
        # systemd-run looks for a program where its own PATH says, env where the new one says.
        return ["env", f"PATH={self.environment}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]

    def _nspawn_command(self) -> list[str]:
        read_only = [self.environment.resolve(), Path(sys.base_prefix).resolve()]
        binds = [f"--bind-ro={path}" for path in read_only if not path.is_relative_to("/usr")]
        # Not the name of a link to it, which venv has written into its scripts.
        binds.append(f"--bind-ro={self.environment.resolve()}:{self.environment}")
        binds.append(f"--bind={self.directory}")
        binds += [f"--bind={outside}:{inside}" for outside, inside in self._binds.items()]
        return [
            *("systemd-nspawn", "--quiet", f"--directory={self._root}", f"--machine={self._machine}"),
            *("--register=no", "--keep-unit", "--boot", "--console=read-only", "--volatile=overlay"),
            *(f"--hostname={self.name}", f"--network-namespace-path=/run/netns/{self.namespace}"),
            *("--capability=CAP_NET_ADMIN", "--resolv-conf=off", "--timezone=off", "--link-journal=no"),
            *(UNIFIED_CGROUPS if self._unified else ()),
            *binds,
        ]

    def _wait_until_booted(self) -> int:
        """Return the process that is PID 1 inside, as it is called outside."""
        assert self._nspawn is not None
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        deadline = time.monotonic() + SECONDS_TO_BOOT
        while time.monotonic() < deadline and self._nspawn.poll() is None:
            # Asked anew each time: the first child is one that only prepares the way.
            leader = int((children.read_text().split() or ["0"])[0])
            if leader and self._is_up(leader):
                return leader
            time.sleep(0.05)
        raise HostError(f"{self.name} did not boot: {self._console()}")

    def _is_up(self, leader: int) -> bool:
        return _is_booted(leader)

    def _console(self) -> str:
        return (self.directory / "console.log").read_text(errors="replace")[-3000:]


class HostWithoutSystemd(Host):
    """A host that has systemd and does not run it, such as a container for one program."""

    def run(self, *command: str, timeout: float = SECONDS_FOR_A_COMMAND) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        return subprocess.run(
            [*_enter(self._leader), *self._surroundings(), *command],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )

    def _nspawn_command(self) -> list[str]:
        options = ["--as-pid2" if word == "--boot" else word for word in super()._nspawn_command()]
        return [*options, "sh", "-c", "touch /run/up && exec sleep infinity"]

    def _is_up(self, leader: int) -> bool:
        asked = [*_enter(leader), "test", "-e", "/run/up"]
        return subprocess.run(asked, capture_output=True, check=False).returncode == 0


class HostedMinion(Minion):
    """A masterless minion whose commands run on a host."""

    def __init__(self, host: Host, checkout: Path, **keywords: Any) -> None:
        super().__init__(host.directory / "minion", checkout, minion_id=host.name, **keywords)
        self.host = host

    def sync(self) -> Answer:
        """Have the host's Salt copy the formula's modules."""
        return self.call("saltutil.sync_all")

    def call(self, function: str, *arguments: Any, **keywords: Any) -> Answer:
        """Run `salt-call` on the host."""
        done = self.host.run(*self.words(function, *arguments, **keywords))
        return answer_of(done)

    def command(self, function: str) -> list[str]:
        """Return the words of a `salt-call` of the host's environment."""
        return [f"{self.host.environment}/bin/salt-call", *super().command(function)[1:]]


def become_el7(host: Host) -> None:
    """Make a host, before it has met Salt, a CentOS 7 with a yum repository of its own."""
    host.output("sh", "/srv/become", "7")


def become_el9(host: Host) -> None:
    """Make a host, before it has met Salt, a Rocky Linux 9 whose yum repository has podman alone."""
    host.output("sh", "/srv/become", "9")


def become_el10(host: Host) -> None:
    """Make a host of RECIPE_DEBIAN13, before it has met Salt, an AlmaLinux 10 with podman and quadlet."""
    host.output("sh", "/srv/become")


def _enter(leader: int) -> list[str]:
    return ["nsenter", "-t", str(leader), "-a"]


def _is_booted(leader: int) -> bool:
    asked = [*_enter(leader), "systemctl", "is-system-running"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() in ("running", "degraded")


def _make_root(recipe: Path, root: Path) -> None:
    unfinished = root.with_name(f"unfinished-{recipe.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    done = subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
            *("--dpkgopt=force-unsafe-io", "--skip=cleanup/apt", '--aptopt=APT::Install-Recommends "false"'),
            *(f"--customize-hook={recipe / 'customize'}", RELEASES[recipe], str(unfinished)),
        ],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise HostError(f"mmdebstrap could not make a root: {done.stdout[-2000:]}{done.stderr[-4000:]}")
    unfinished.rename(root)


def _fingerprint(recipe: Path) -> str:
    files = sorted(path for path in recipe.rglob("*") if path.is_file() and path.suffix != ".pyc")
    content = [repr((RELEASES[recipe], PACKAGES)).encode(), *(path.read_bytes() for path in files)]
    return hashlib.sha256(b"\0".join(content)).hexdigest()[:FINGERPRINT]


def _spawn_in_cgroups(name: str, command: Sequence[str], directory: Path) -> subprocess.Popen[bytes]:
    """Two containers in one group would take each other's processes for their own."""
    script = (
        'while [ "$1" != -- ]; do mkdir -p "$1" && echo $$ >"$1/cgroup.procs" || exit; shift; done; shift'
    )
    groups = [str(parent / f"box-{name}") for parent in _cgroup_parents()]
    with (directory / "console.log").open("wb") as console:
        return subprocess.Popen(
            ["sh", "-c", f'{script}; exec "$@"', "sh", *groups, "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
        )


def _cgroup_parents() -> list[Path]:
    found = [Path(path) for path in CGROUPS if Path(path, "cgroup.procs").exists()]
    found = found or [path for path in (Path("/sys/fs/cgroup"),) if (path / "cgroup.procs").exists()]
    return [path for path in found if os.access(path, os.W_OK)]


def _remove_cgroups(name: str) -> None:
    for parent in _cgroup_parents():
        group = parent / f"box-{name}"
        for path in sorted(group.rglob("*"), reverse=True):
            if path.is_dir():
                _remove_directory(path)
        _remove_directory(group)


def _remove_directory(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        # The kernel takes a moment to empty it; an empty group that stays is no harm.
        return


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostError(f"ip {' '.join(arguments)}: {done.stderr}")


def _set_network(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
