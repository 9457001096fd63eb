"""A real docker without systemd takes over its daemon.json while what runs in it goes on."""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import tarfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from salt.exceptions import CommandExecutionError

from support.images import static_busybox
from support.undercloud import exec_root, release_data

pytestmark = pytest.mark.needs("dockerd", "docker", "busybox-static")
MIRROR = "mirror.example.com:5000"
SECONDS_TO_START = 30


class Docker:
    """A dockerd with a directory of its own, from `with` on."""

    def __init__(self, directory, *options):
        self.directory = directory
        self.socket, self.pid_file, self.config = (
            str(directory / name) for name in ("docker.sock", "docker.pid", "daemon.json")
        )
        self.options = options
        self.write({})

    def write(self, settings):
        Path(self.config).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    def run(self, *words, stdin=None):
        command = ["docker", f"--host=unix://{self.socket}", *words]
        done = subprocess.run(command, input=stdin, capture_output=True, check=True)
        return done.stdout.decode().strip()

    def log(self):
        return (self.directory / "log").read_text(errors="replace")

    def __enter__(self):
        self.executions = ExitStack()
        executions = self.executions.enter_context(exec_root())
        with (self.directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(
                        "dockerd",
                        "--iptables=false",
                        "--ip6tables=false",
                        "--bridge=none",
                        "--ip-forward=false",
                    ),
                    *("--storage-driver=vfs", f"--data-root={self.directory / 'data'}"),
                    *(f"--exec-root={executions}", f"--pidfile={self.pid_file}"),
                    *(f"--host=unix://{self.socket}", f"--config-file={self.config}", *self.options),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + SECONDS_TO_START
        while "API listen on" not in self.log():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                pytest.fail(f"dockerd does not come up: {self.log()[-900:]}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(SECONDS_TO_START)
        release_data(self.directory)
        self.executions.close()


@pytest.fixture
def docker(tmp_path):
    """Return a docker that is told of no registry."""
    with Docker(tmp_path) as docker:
        yield docker


@pytest.fixture
def engine_of(checkout, monkeypatch):
    """Return a function that loads the modules for a docker, on a host where no systemd runs."""

    def load(docker):
        salt = {
            "file.file_exists": lambda path: Path(path).is_file(),
            "file.read": lambda path, binary: Path(path).read_bytes(),
            "registry_engine.insecure": lambda: module.insecure(),
            "registry_engine.noted": lambda of: module.noted(of),
        }
        module, notes = (loaded(name, docker, salt) for name in ("registry_engine", "registry_engine_notes"))
        # Salt has both in one.
        module.note, module.settle = notes.note, notes.settle
        module.insecure = lambda: [MIRROR]
        for each in (module, notes):
            monkeypatch.setitem(each._FILES, "daemon", docker.config)
        monkeypatch.setattr(module, "_SECONDS_TO_RELOAD", 2)
        for name, place in (("ask_info", docker.socket), ("running_process", docker.pid_file)):
            monkeypatch.setattr(module.docker, name, partial(getattr(module.docker, name), place))
        return module

    def loaded(name, docker, salt):
        spec = importlib.util.spec_from_file_location(f"loaded_{name}", checkout / "_modules" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.__opts__ = {"root_dir": str(docker.directory)}
        module.__context__ = {"salt.utils.systemd.booted": False}
        module.__salt__ = salt
        monkeypatch.setattr(module, "_DAEMON_JSON", docker.config)
        return module

    return load


@pytest.fixture
def container(docker):
    """Return a container that runs, and what tells it from another run of it."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        archive.add(static_busybox(), "busybox")
    docker.run("import", "-", "busybox:1", stdin=layer.getvalue())
    try:
        name = docker.run("run", "--detach", "--network=none", "busybox:1", "/busybox", "sleep", "600")
    except subprocess.CalledProcessError as failure:
        pytest.skip(f"docker runs nothing here: {failure.stderr.decode()[-300:]}")
    inspect = ("inspect", "--format", "{{.State.Running}} {{.State.Pid}} {{.State.StartedAt}}", name)
    yield partial(docker.run, *inspect)
    docker.run("rm", "--force", name)


def test_docker_is_told_of_a_registry_and_of_its_end_while_a_container_runs(docker, container, engine_of):
    module = engine_of(docker)
    before = container()
    assert before.startswith("true ")
    docker.write({"insecure-registries": [MIRROR]})
    assert module.pending() == [MIRROR]
    assert module.reload("docker")
    assert module.pending() == []
    assert MIRROR in docker.run("info", "--format", "{{json .RegistryConfig.IndexConfigs}}")
    docker.write({"insecure-registries": []})
    assert module.reload("docker")
    assert MIRROR not in docker.run("info", "--format", "{{json .RegistryConfig.IndexConfigs}}")
    assert docker.log().count("Got signal to reload configuration") == 2
    assert container() == before


def test_a_docker_that_still_trusts_what_has_got_tls_is_told_again(docker, engine_of):
    module = engine_of(docker)
    docker.write({"insecure-registries": [MIRROR]})
    assert module.reload("docker")
    module.note("daemon", clean=True)
    docker.write({"insecure-registries": []})
    module.settle("daemon")
    module.insecure = list
    assert module.pending() == [MIRROR]
    assert module.reload("docker")
    assert MIRROR not in docker.run("info", "--format", "{{json .RegistryConfig.IndexConfigs}}")


def test_what_docker_does_not_take_over_is_an_error_that_names_it(tmp_path, engine_of):
    with Docker(tmp_path, "--insecure-registry=site.example.com:5000") as docker:
        docker.write({"insecure-registries": [MIRROR]})
        with pytest.raises(
            CommandExecutionError, match=rf"does not take over {MIRROR} from .*; its log says why"
        ):
            engine_of(docker).reload("docker")
        assert "specified both as a flag and in the configuration file" in docker.log()


def test_without_a_docker_nobody_is_sent_a_signal(tmp_path, engine_of):
    with pytest.raises(CommandExecutionError, match=r"^docker cannot be reloaded: .* names no dockerd$"):
        engine_of(Docker(tmp_path)).reload("docker")
