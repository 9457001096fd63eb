"""A throw-away user as an undercloud has one, and the real command lines of OpenStack for it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
# `test/run` installs them: the director of Queens, and one that knows ContainerImagePrepare.
QUEENS = ROOT / ".venv/openstack/bin/openstack"
TRAIN = ROOT / ".venv/openstack-train/bin/openstack"
# A checkout, or TMPDIR, may lie where only root may enter.
OPEN_TO_ALL = Path("/var/tmp")
DOCKER_SOCKET = Path("/var/run/docker.sock")
SECONDS_TO_START = 30
STACKRC = """\
NOVA_VERSION=1.1
export NOVA_VERSION
OS_USERNAME=admin
OS_PASSWORD='a $(touch {home}/executed) "password"'
[ -n "$NOTHING" ] && echo never
"""


class Stack:
    """The user, whose home has the profile's files."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.home = home
        self.images_file = home / "upstream-container-images.yaml"
        self.env_file = home / "overcloud-container-images.yaml"

    def write(self, name: str, text: str) -> Path:
        """Write a file of the user's."""
        path = self.home / name
        path.write_text(text, encoding="utf-8")
        shutil.chown(path, self.name)
        return path

    def write_overcloud(self, *services: str) -> dict[str, Any]:
        """Write the overcloud's roles and environment, and return what the pillar says of them."""
        names = [f"OS::TripleO::Services::{service}" for service in services]
        role = {"name": "Controller", "CountDefault": 1, "ServicesDefault": names}
        self.write("roles_data.yaml", yaml.safe_dump([role]))
        registry = {name: f"/nowhere/docker/services/{name.lower()}.yaml" for name in names}
        self.write("docker.yaml", yaml.safe_dump({"resource_registry": registry}))
        return {"environment_files": ["docker.yaml"], "roles_file": "roles_data.yaml"}

    def pillar(self, command: Path | str, **others: Any) -> dict[str, Any]:
        """Return the pillar `undercloud` for a director that lives in this user's home."""
        profile = {
            "packages": [],
            "services": [],
            "files": [str(self.home / "stackrc"), str(self.home / "undercloud.conf")],
            "directories": [str(self.home)],
        }
        return {
            "profile": profile,
            "user": self.name,
            "stackrc": str(self.home / "stackrc"),
            "directory": str(self.home),
            "command": str(command),
            **others,
        }

    def can_run(self, command: Path) -> bool:
        """Whether the user reaches a command, whose Python may lie in somebody else's home."""
        done = subprocess.run(
            ["setpriv", f"--reuid={self.name}", "--clear-groups", str(command), "--version"],
            capture_output=True,
            check=False,
            cwd="/",
            env={**os.environ, "HOME": str(self.home)},
        )
        return done.returncode == 0

    def owns(self, path: Path) -> bool:
        """Whether a file is the user's."""
        return path.stat().st_uid == pwd.getpwnam(self.name).pw_uid

    def read(self, path: Path) -> Any:
        """Return what a YAML file says."""
        return yaml.safe_load(path.read_text(encoding="utf-8"))


@contextmanager
def stack_user() -> Iterator[Stack]:
    """Make the user, and a home for it where everybody may enter."""
    name = "stack" if _is_free("stack") else f"stack{os.getpid()}"
    home = Path(tempfile.mkdtemp(prefix="undercloud-", dir=OPEN_TO_ALL))
    subprocess.run(
        ["useradd", "--no-create-home", f"--home-dir={home}", "--shell=/bin/bash", name],
        check=True,
        capture_output=True,
    )
    try:
        home.chmod(0o755)
        shutil.chown(home, name)
        stack = Stack(name, home)
        stack.write("stackrc", STACKRC.format(home=home))
        stack.write("undercloud.conf", "[DEFAULT]\n")
        yield stack
    finally:
        subprocess.run(["userdel", name], check=False, capture_output=True)
        shutil.rmtree(home, ignore_errors=True)


def _is_free(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return True
    return False


@contextmanager
def everybodys(command: Path) -> Iterator[Path]:
    """Lend a copy of a command, with the environment that it lives in, that every user may run."""
    environment = command.parents[1]
    directory = Path(tempfile.mkdtemp(prefix="undercloud-", dir=OPEN_TO_ALL))
    try:
        directory.chmod(0o755)
        copy = directory / environment.name
        subprocess.run(["cp", "-a", "--", str(environment), str(copy)], check=True)
        subprocess.run(["chmod", "-R", "go+rX", str(copy)], check=True)
        script = copy / command.relative_to(environment)
        _, _, program = script.read_text(encoding="utf-8").partition("\n")
        script.write_text(f"#!{copy / 'bin/python3'}\n{program}", encoding="utf-8")
        yield script
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def docker_daemon(directory: Path, *, group: str) -> Iterator[None]:
    """Run a dockerd at the one address where the command line looks for it.

    Raises:
        RuntimeError: it does not come up here.
    """
    log = directory / "dockerd.log"
    # An address of the machine's own must not be resolved through a proxy.
    environment: Mapping[str, str] = {
        name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
    }
    with log.open("wb") as output, exec_root() as executions:
        process = subprocess.Popen(
            [
                "dockerd",
                "--iptables=false",
                "--ip6tables=false",
                "--bridge=none",
                f"--group={group}",
                f"--host=unix://{DOCKER_SOCKET}",
                f"--data-root={directory / 'data'}",
                f"--exec-root={executions}",
                f"--pidfile={directory / 'pid'}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environment),
        )
        try:
            _wait_for_docker(process, log)
            yield
        finally:
            process.terminate()
            try:
                process.wait(SECONDS_TO_START)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            DOCKER_SOCKET.unlink(missing_ok=True)
            release_data(directory)


@contextmanager
def exec_root() -> Iterator[Path]:
    """Lend a directory for a dockerd's sockets: the path of a Unix socket has 107 bytes at most."""
    directory = Path(tempfile.mkdtemp(prefix="dockerd-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def release_data(directory: Path) -> None:
    """Unmount the data of a dockerd that has ended: it mounts them over themselves, and leaves them so."""
    subprocess.run(["umount", "--lazy", directory / "data"], stderr=subprocess.DEVNULL, check=False)


def docker_answers() -> bool:
    """Whether a dockerd runs on this machine already."""
    done = subprocess.run(["docker", "version"], capture_output=True, check=False)
    return done.returncode == 0


def _wait_for_docker(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < deadline:
        if docker_answers():
            return
        time.sleep(0.2)
    raise RuntimeError(f"dockerd does not come up: {log.read_text(errors='replace')[-500:]}")
