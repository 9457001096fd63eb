"""salt-ssh to a booted host that has Debian's Python with requests, and of Salt nothing."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from integration.conftest import ENVIRONMENTS, REPOSITORY_ROOT, salts
from support.salt_minion import FORMULA_PARTS

SECONDS_FOR_A_COMMAND = 300
PACKAGES = ("--no-install-recommends", "openssh-server", "python3-requests")
UNKNOWN_HOST = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]


class SaltSsh:
    """A `salt-ssh` of one version, whose roster is one host."""

    def __init__(self, host, wire, environment, pillar):
        self.host, self._wire, self._environment = host, wire, environment
        self.root = host.directory / "salt-ssh"
        for part in FORMULA_PARTS:
            no_bytecode = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY_ROOT / part, self.root / "states" / part, ignore=no_bytecode)
        self._write("pillar/top.sls", {"base": {"*": ["site"]}})
        self._write("pillar/site.sls", pillar)
        entry = {"host": host.address, "user": "root", "priv": str(self._key()), "ssh_options": UNKNOWN_HOST}
        self._write("roster", {host.name: entry})
        roots = {
            f"{kind}_roots": {"base": [str(self.root / name)]}
            for kind, name in (("file", "states"), ("pillar", "pillar"))
        }
        self._write("master", {"root_dir": str(self.root), "user": "root", **roots})

    def run(self, *command):
        """Return what the host answered."""
        program = str(self._environment / "bin" / "salt-ssh")
        options = (f"--config-dir={self.root}", "--out=json", "--static", "--no-color")
        with self._wire.entered():
            done = subprocess.run(
                [program, *options, self.host.name, *command],
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=SECONDS_FOR_A_COMMAND,
                check=False,
            )
        try:
            return json.loads(done.stdout)[self.host.name]
        except ValueError:
            return done.stdout + done.stderr

    def _key(self):
        key = self.root / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        self.host.write("/root/.ssh/authorized_keys", key.with_suffix(".pub").read_text(encoding="utf-8"))
        return key

    def _write(self, name, content):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        header = "#!json\n" if name.endswith(".sls") else ""
        path.write_text(header + json.dumps(content), encoding="utf-8")


@pytest.fixture(params=salts("3008"))
def salt_ssh(request, boot, wire, vendor):
    """Return a salt-ssh, and its host, where nothing of the formula has been."""
    salt = request.param
    if salt == "3006":
        pytest.skip("salt-ssh of 3006 ships no _utils")
    host = boot(f"ssh{salt}", salt)
    host.output("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qq", *PACKAGES)
    pillar = {"docker_registry": vendor.pillar(host.address)}
    return SaltSsh(host, wire, ENVIRONMENTS[salt], pillar)


def states(answer):
    assert isinstance(answer, dict), answer
    return {state["__id__"]: state for state in answer.values()}


def failed(answer):
    return [f"{name}: {ran['comment']}" for name, ran in states(answer).items() if ran["result"] is False]


def test_a_state_run_plans_sets_up_and_then_rests(salt_ssh):
    planned = salt_ssh.run("state.apply", "docker_registry", "test=True")
    assert failed(planned) == []
    assert "Would copy" in states(planned)["Images are mirrored"]["comment"]
    assert not salt_ssh.host.is_active("docker-registry")

    applied = salt_ssh.run("state.apply", "docker_registry")
    assert failed(applied) == []
    assert states(applied)["Images are mirrored"]["comment"].startswith("Mirrored ")
    assert salt_ssh.host.is_active("docker-registry")

    again = salt_ssh.run("state.apply", "docker_registry")
    assert failed(again) == []
    assert [ran["changes"] for ran in states(again).values() if ran["changes"]] == []


@pytest.mark.thorough
def test_a_function_gets_the_pillar_from_a_state_and_else_refuses_to_go_by_the_defaults(salt_ssh, vendor):
    for function in ("check", "sync", "list", "warnings"):
        answer = str(salt_ssh.run(f"registry_sync.{function}"))
        assert "salt-ssh gives a function no pillar" in answer
        assert "state.single module.run name=registry_sync.check" in answer
        assert "Traceback" not in answer
    (asked,) = salt_ssh.run("state.single", "module.run", "name=registry_sync.check").values()
    assert set(asked["changes"]["ret"]["images"]) == {f"{name}:13.0" for name in vendor.images}
