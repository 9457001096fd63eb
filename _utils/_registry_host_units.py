"""Unit files and init scripts that run the registry, itself or its image; no I/O, nothing of Salt."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template

UNIT_MARK = "# Written by the Salt formula docker_registry.\n"
# Slow enough not to run into systemd's limit of starts, which would refuse the next one by hand as well.
_RESTART = (("Restart", "always"), ("RestartSec", "5"))
# How the first process of a container exits that is told to stop: 2 is Go's, 143 the signal's.
_STOPPED = (("SuccessExitStatus", "2 143"),)


@dataclass(frozen=True)
class Container:
    """The registry's image run by podman.

    Args:
        name: of the container and of its unit.
        image: whole reference.
        config: path of the configuration file, the same inside.
        storage: directory of the images, the same inside; empty where they lie elsewhere.
        files: other paths that the configuration names.
        socket_directory: below /run, for it and root alone; empty where it listens on a port.
    """

    name: str
    image: str
    config: str
    storage: str = ""
    files: tuple[str, ...] = ()
    socket_directory: str = ""

    @property
    def volumes(self) -> list[str]:
        """Bind mounts; ``z`` lets a container read them under SELinux."""
        directory = self.config.rpartition("/")[0]
        outside = [path for path in self.files if not path.startswith(f"{directory}/")]
        mounts = [f"{path}:{path}:ro,z" for path in (directory, *outside)]
        # Relabelling a tree of images at each start would take minutes; the storage has its context already.
        mounts += [f"{self.storage}:{self.storage}"] * bool(self.storage)
        return mounts + [f"{self.socket_directory}:{self.socket_directory}:z"] * bool(self.socket_directory)


@dataclass(frozen=True)
class Program:
    """The registry's program of a package, run a second time.

    Args:
        name: of its service.
        path: of the program.
        config: path of the configuration file.
        user: whom it runs as.
        group: and its group.
        socket_directory: below /run, for the user and root alone.
    """

    name: str
    path: str
    config: str
    user: str
    group: str
    socket_directory: str


def files(name: str) -> tuple[str, ...]:
    """Where a service's unit, quadlet or init script lies."""
    return (
        f"/etc/systemd/system/{name}.service",
        f"/etc/containers/systemd/{name}.container",
        f"/etc/init.d/{name}",
    )


def is_ours(text: str) -> bool:
    """Whether this file made a unit's text, or a script's, which begins with its interpreter."""
    return UNIT_MARK in text.splitlines(keepends=True)[:2]


def program_unit(program: Program) -> str:
    """A systemd unit of a program."""
    settings = [
        ("User", program.user),
        ("Group", program.group),
        *_runtime(program.socket_directory),
        ("ExecStart", shlex.join([program.path, "serve", program.config])),
        *_RESTART,
    ]
    return _unit_file({"Service": settings})


def init_script(program: Program) -> str:
    """An init script of a program, for a Debian without systemd.

    https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/iniscrptact.html
    """
    return _INIT_SCRIPT.substitute({key: shlex.quote(value) for key, value in vars(program).items()})


_INIT_SCRIPT = Template(f"""\
#!/bin/sh
{UNIT_MARK}### BEGIN INIT INFO
# Provides:          $name
# Required-Start:    $$remote_fs $$network
# Required-Stop:     $$remote_fs $$network
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: Registry of container images
### END INIT INFO
set -eu
program=$path
pidfile=/run/$name.pid
directory=$socket_directory

case $${{1-}} in
start)
    install -d -m 0700 -o $user -g $group "$$directory"
    start-stop-daemon --start --oknodo --background --no-close --make-pidfile --pidfile "$$pidfile" \\
        --chuid $user:$group --exec "$$program" -- serve $config >>/var/log/$name.log 2>&1
    ;;
stop)
    start-stop-daemon --stop --oknodo --retry 10 --remove-pidfile --pidfile "$$pidfile" --exec "$$program"
    rm -rf "$$directory"
    ;;
restart | force-reload)
    "$$0" stop
    "$$0" start
    ;;
status)
    start-stop-daemon --status --pidfile "$$pidfile" --exec "$$program"
    ;;
*)
    echo "usage: $$0 {{start|stop|restart|force-reload|status}}" >&2
    exit 2
    ;;
esac
""")


def quadlet(container: Container) -> str:
    """A ``.container`` file, which systemd's generator turns into a unit.

    https://docs.podman.io/en/latest/markdown/podman-systemd.unit.5.html
    """
    settings = [
        ("Image", container.image),
        ("ContainerName", container.name),
        ("Network", "host"),
        *(("Volume", volume) for volume in container.volumes),
        ("Exec", f"serve {container.config}"),
    ]
    service = [
        *_runtime(container.socket_directory),
        *_RESTART,
        *_STOPPED,
        # The first start pulls the image.
        ("TimeoutStartSec", "900"),
    ]
    return _unit_file({"Container": settings, "Service": service})


def unit(container: Container) -> str:
    """A systemd unit for a podman that has no quadlet (before 4.4)."""
    run = ["/usr/bin/podman", "run", "--rm", "--name", container.name, "--network", "host"]
    # The unit's journal has it already.
    run += ["--log-driver", "none"]
    for volume in container.volumes:
        run += ["--volume", volume]
    run += [container.image, "serve", container.config]
    settings = [
        *_runtime(container.socket_directory),
        ("ExecStartPre", f"-/usr/bin/podman rm --force {container.name}"),
        ("ExecStart", shlex.join(run)),
        ("ExecStop", f"/usr/bin/podman stop --time 10 {container.name}"),
        ("ExecStopPost", f"-/usr/bin/podman rm --force {container.name}"),
        *_RESTART,
        *_STOPPED,
    ]
    return _unit_file({"Service": settings})


def _runtime(directory: str) -> list[tuple[str, str]]:
    """Have systemd make a directory before each start, and remove it with all that is in it after a stop."""
    if not directory:
        return []
    return [("RuntimeDirectory", directory.removeprefix("/run/")), ("RuntimeDirectoryMode", "0700")]


def _unit_file(sections: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    whole = {
        "Unit": [
            ("Description", "Registry of container images"),
            ("Wants", "network-online.target"),
            ("After", "network-online.target"),
        ],
        **sections,
        "Install": [("WantedBy", "multi-user.target")],
    }
    return UNIT_MARK + "\n".join(
        f"[{section}]\n" + "".join(f"{key}={value.replace('%', '%%')}\n" for key, value in settings)
        for section, settings in whole.items()
    )
