"""Unit files by which systemd runs the registry's image under podman; no I/O, nothing of Salt."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

UNIT_MARK = "# Written by the Salt formula docker_registry.\n"
# Slow enough not to run into systemd's limit of starts, which would refuse the next one by hand as well.
_RESTART = (("Restart", "always"), ("RestartSec", "5"))


@dataclass(frozen=True)
class Container:
    """The registry's image run by podman.

    Args:
        name: of the container and of its unit.
        image: whole reference.
        config: path of the configuration file, the same inside.
        storage: directory of the images, the same inside; empty where they lie elsewhere.
        files: other paths that the configuration names.
    """

    name: str
    image: str
    config: str
    storage: str = ""
    files: tuple[str, ...] = ()

    @property
    def volumes(self) -> list[str]:
        """Bind mounts; ``z`` lets a container read them under SELinux."""
        directory = self.config.rpartition("/")[0]
        outside = [path for path in self.files if not path.startswith(f"{directory}/")]
        mounts = [f"{path}:{path}:ro,z" for path in (directory, *outside)]
        # Relabelling a tree of images at each start would take minutes; the storage has its context already.
        return mounts + [f"{self.storage}:{self.storage}"] * bool(self.storage)


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
    return _unit_file({"Container": settings, "Service": [*_RESTART, ("TimeoutStartSec", "900")]})


def unit(container: Container) -> str:
    """A systemd unit for a podman that has no quadlet (before 4.4)."""
    run = ["/usr/bin/podman", "run", "--rm", "--name", container.name, "--network", "host"]
    # The unit's journal has it already.
    run += ["--log-driver", "none"]
    for volume in container.volumes:
        run += ["--volume", volume]
    run += [container.image, "serve", container.config]
    settings = [
        ("ExecStartPre", f"-/usr/bin/podman rm --force {container.name}"),
        ("ExecStart", shlex.join(run)),
        ("ExecStop", f"/usr/bin/podman stop --time 10 {container.name}"),
        ("ExecStopPost", f"-/usr/bin/podman rm --force {container.name}"),
        *_RESTART,
    ]
    return _unit_file({"Service": settings})


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
