"""A registry that somebody else has set up on a host: what could go wrong for it, and does not.

It is a real one, the system's package with a configuration of its own. Its images could vanish behind
another storage; its login, TLS or port be gone; a restart cut the pulls of its clients; a firewall or an
engine be changed for a registry that is not ours. What cannot be read could be taken for what is not there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import yaml

from integration.conftest import SALT, minion_on, salts
from integration.story import KEPT, changes, failures, states
from support.hosts import Host, HostedMinion, Wire
from support.images import Layer, docker_image
from support.pki import Authority
from support.registry_content import push

CONFIG = "/etc/docker/registry/config.yml"
SERVICE = "docker-registry"
PODMAN = "/etc/containers/registries.conf.d/docker_registry.conf"
SITE = "/srv/site"
# What it leaves behind, and what it would take for its own.
OF_THE_FORMULA = ("/var/lib/docker-registry/docker", "/var/lib/docker_registry")
GUARD = "Registry is left alone unless forced"
IMAGES = "Images are mirrored"
USER, PASSWORD = "site", "Pw-Of-The-Site"
HASHED = "site:$2b$05$jpCtuBNiTw2w4Y6aRsQJE.DNzpXMC9Z7ZYJoKohbFBYcKirHd2OWi"
OTHER = "site/other"
# Only the far end of the wire comes in, so that the formula would have something to open.
WALL = ("-s 10.99.7.1 -j ACCEPT", "-i lo -j ACCEPT", "-j REJECT")
PLAIN = {
    "version": 0.1,
    "storage": {"filesystem": {"rootdirectory": f"{SITE}/images"}},
    "http": {"addr": ":5000", "secret": "of the site"},
}
WITH_USERS = {"auth": {"htpasswd": {"realm": "site", "path": f"{SITE}/users"}}}
TLS = {"certificate": f"{SITE}/cert.pem", "key": f"{SITE}/key.pem"}
WITH_TLS = {"http": {**PLAIN["http"], "tls": TLS}}
# A server whose health check fails answers 503, whatever it holds.
WITH_FAILING_HEALTH = {"health": {"file": [{"file": f"{SITE}/users", "interval": "1s"}]}}
# What is no registry: it says what an SSH server says, or nothing at all.
PROGRAM = """
import socket, sys
server, clients = socket.create_server(("", 5000)), []
while True:
    clients.append(server.accept()[0])
    clients[-1].sendall((sys.argv[1] + "\\r\\n" if sys.argv[1:] else "").encode())
"""
BANNER = "SSH-2.0-OpenSSH_9.2"


@dataclass(frozen=True)
class Foreign:
    """A host with a registry that the formula has not set up."""

    minion: HostedMinion
    wire: Wire

    @property
    def host(self) -> Host:
        return self.minion.host

    def serve(self, config: dict[str, Any] | None = None, *, images: bool = True, port: int = 5000) -> None:
        """Serve, with an image or without any, as a plain configuration and this one say."""
        self.host.run("systemctl", "stop", SERVICE, "other-program")
        self.host.output("rm", "-rf", f"{SITE}/images", *OF_THE_FORMULA)
        self.host.output("install", "-d", "-o", SERVICE, f"{SITE}/images")
        self._restart(PLAIN)
        if images:
            with self.wire.entered():
                push(f"http://{self.host.address}:5000", OTHER, "1", docker_image([Layer("of the site")]))
        if config:
            self._restart(PLAIN | config, port)

    def occupy(self, *says: str) -> None:
        """Have another program on the port."""
        self.host.run("systemctl", "stop", SERVICE, "other-program")
        self.host.write(f"{SITE}/program", PROGRAM)
        self.host.start_service("other-program", "/usr/bin/python3", f"{SITE}/program", *says)
        self._wait()

    def everything(self) -> dict[str, Any]:
        """What must stay: files and when they changed, what runs, whom the firewall lets in."""
        files = self.host.files(*(path for path in (*KEPT, SITE) if self.host.path(path).is_dir()))
        passing = re.compile(rf"/__pycache__/|^{SITE}/images/")
        return {
            **{path: at for path, at in files.items() if not passing.search(path)},
            "runs": [self.host.invocation(service) for service in (SERVICE, "other-program")],
            "rules": self.host.output("iptables", "-S"),
        }

    def catalog(self, scheme: str = "http", **options: Any) -> list[str]:
        """The repositories that a client sees."""
        url = f"{scheme}://{self.host.address}:5000/v2/_catalog"
        with self.wire.entered():
            return sorted(requests.get(url, timeout=10, **options).json()["repositories"])

    def _restart(self, config: dict[str, Any], port: int = 5000) -> None:
        self.host.write(CONFIG, yaml.safe_dump(config))
        # systemd would refuse the sixth start within ten seconds.
        self.host.run("systemctl", "reset-failed", SERVICE)
        self.host.output("systemctl", "restart", SERVICE)
        self._wait(port)

    def _wait(self, port: int = 5000) -> None:
        listens = f"ss -ltnH | grep -q ':{port} '"
        self.host.output("sh", "-c", f"for n in $(seq 100); do {listens} && exit; sleep 0.1; done; exit 1")


def site(boot, wire, tmp_path_factory, name, **keywords):
    """Boot a host with the system's registry, a firewall, and what looks like an engine."""
    host = boot(name, **keywords)
    host.output("apt-get", "install", "-qq", SERVICE)
    # An engine's program is only looked for.
    host.output("ln", "-s", "/bin/true", "/usr/bin/podman")
    for rule in WALL:
        host.output("iptables", "-A", "INPUT", *rule.split())
    pair = Authority(tmp_path_factory.mktemp("authority")).issue("site", host.address)
    host.write(f"{SITE}/cert.pem", pair.certificate.read_text())
    host.write(f"{SITE}/key.pem", pair.key.read_text())
    host.write(f"{SITE}/users", HASHED)
    host.output("chmod", "-R", "a+rX", SITE)
    return Foreign(minion_on(host, {}), wire)


@pytest.fixture(scope="module", params=salts(SALT))
def foreign(request, boot_module, wire, tmp_path_factory):
    return site(boot_module, wire, tmp_path_factory, f"foreign-{request.param}", salt=request.param)


def apply(foreign, vendor, target="docker_registry", *, local=None, **pillar):
    """Apply all of the formula to the host."""
    wanted = vendor.pillar(foreign.host.address, **pillar)
    wanted["local"] |= local or {}
    foreign.minion.set_pillar({"docker_registry": wanted})
    return foreign.minion.apply(target)


def refused(answer):
    """The one sentence of a run that has ended before it began anything."""
    ran = states(answer)
    guard = ran.pop(GUARD)
    assert guard["result"] is False
    others = {
        name: state["comment"] for name, state in ran.items() if "requisite failed" not in state["comment"]
    }
    assert set(others) <= {"Modules of the formula are loaded", "Docker is reloaded"}, others
    assert changes(answer) == {}
    # What salt-call says of a failed state, with --retcode-passthrough.
    assert answer.retcode == 2
    return guard["comment"]


def test_one_that_serves_images_stays_as_it_is_and_gets_those_of_the_list(foreign, vendor):
    foreign.serve()
    before = foreign.everything()
    answer = apply(foreign, vendor)
    assert (failures(answer), set(changes(answer)), answer.retcode) == ([], {IMAGES}, 0)
    comment = states(answer)[GUARD]["comment"]
    address = foreign.host.address
    assert comment.startswith(f"{address}:5000 already serves 1 repository; nothing was configured. ")
    assert "docker_registry:force: true would change" in comment
    assert foreign.everything() == before
    assert foreign.catalog() == sorted([OTHER, *vendor.images])


CANNOT_BE_READ = {
    "behind a login": (WITH_USERS, "docker_registry:local:username and password"),
    "with TLS": (WITH_TLS, "docker_registry:local:tls"),
    "that answers 503": (WITH_FAILING_HEALTH, "503"),
}


@pytest.mark.parametrize("kind", CANNOT_BE_READ)
def test_one_that_cannot_be_read_stays_and_fails_the_run_with_what_to_give(kind, foreign, vendor):
    config, advice = CANNOT_BE_READ[kind]
    foreign.serve(config)
    before = foreign.everything()
    said = refused(apply(foreign, vendor))
    # As a script without Salt's options sees it.
    words = foreign.minion.words("state.apply", "docker_registry.guard")
    plain = foreign.host.run(*(word for word in words if word != "--retcode-passthrough"))
    assert plain.returncode == 1, plain.stdout
    assert foreign.everything() == before
    assert said.startswith(f"{foreign.host.address}:5000 was not set up by this formula")
    assert advice in said
    assert said.endswith("docker_registry:force: true")
    assert "\n" not in said


GIVEN = {
    "behind a login": {"username": USER, "password": PASSWORD},
    "with TLS": {"tls": True, "verify": False},
}


@pytest.mark.thorough
@pytest.mark.parametrize("kind", GIVEN)
def test_given_what_it_wants_it_is_read_and_left_alone(kind, foreign, vendor):
    foreign.serve(CANNOT_BE_READ[kind][0])
    before = foreign.everything()
    answer = apply(foreign, vendor, local=GIVEN[kind])
    assert (failures(answer), set(changes(answer)), answer.retcode) == ([], {IMAGES}, 0)
    assert "already serves 1 repository; nothing was configured" in states(answer)[GUARD]["comment"]
    assert foreign.everything() == before


@pytest.mark.thorough
@pytest.mark.parametrize("says", [[BANNER], []], ids=["another protocol", "nothing"])
def test_another_program_on_the_port_stays_and_fails_the_run(says, foreign, vendor):
    foreign.occupy(*says)
    before = foreign.everything()
    said = refused(apply(foreign, vendor))
    assert foreign.everything() == before
    assert "docker_registry:local:port" in said


@pytest.mark.parametrize(
    "kind",
    [
        "behind a login",
        *(pytest.param(kind, marks=pytest.mark.thorough) for kind in ("with TLS", "that answers 503")),
    ],
)
def test_forced_it_is_replaced_and_clean_brings_it_back(kind, foreign, vendor):
    foreign.serve(CANNOT_BE_READ[kind][0])
    config = foreign.host.read(CONFIG)
    answer = apply(foreign, vendor, force=True)
    assert failures(answer) == []
    assert {"Registry is configured", "Registry is running", "Registry port is open", IMAGES} <= set(
        changes(answer)
    )
    assert foreign.catalog() == sorted(vendor.images)
    # From here on it is ours, and needs no force.
    again = apply(foreign, vendor)
    assert (failures(again), changes(again)) == ([], {})
    assert failures(apply(foreign, vendor, "docker_registry.clean")) == []
    assert foreign.host.read(CONFIG) == config
    assert foreign.host.is_active(SERVICE)


def stopped(foreign):
    foreign.serve()
    foreign.host.output("systemctl", "stop", SERVICE)


def on_another_port(foreign):
    foreign.serve({"http": {**PLAIN["http"], "addr": ":5999"}}, port=5999)


def stopped_with_a_store_elsewhere(foreign):
    foreign.serve()
    foreign.host.output("systemctl", "stop", SERVICE)
    foreign.host.write(CONFIG, yaml.safe_dump(PLAIN | {"storage": {"s3": {"bucket": "of-the-site"}}}))


NOT_AT_THE_ADDRESS = {
    stopped: f"1 repository in {SITE}/images",
    on_another_port: f"1 repository in {SITE}/images",
    stopped_with_a_store_elsewhere: "its storage in s3 of-the-site",
}


@pytest.mark.thorough
@pytest.mark.parametrize("how", NOT_AT_THE_ADDRESS)
def test_one_that_does_not_serve_at_the_address_is_still_one(how, foreign, vendor):
    how(foreign)
    before = foreign.everything()
    said = refused(apply(foreign, vendor))
    assert foreign.everything() == before
    assert said.startswith(f"{CONFIG} was not written by this formula")
    assert f"has {NOT_AT_THE_ADDRESS[how]}, though it does not serve" in said
    assert said.endswith("docker_registry:force: true")


@pytest.mark.thorough
def test_force_ends_no_other_program(foreign, vendor):
    foreign.serve(images=False)
    foreign.occupy(BANNER)
    before = foreign.host.invocation("other-program")
    answer = apply(foreign, vendor, force=True)
    failed = [name for name, ran in states(answer).items() if ran["result"] is False]
    assert states(answer)["Registry is running"]["comment"] == (
        f"{SERVICE} cannot start: another program has its port 5000"
    )
    assert failed[0] == "Registry is running"
    assert foreign.host.invocation("other-program") == before
    foreign.host.run("systemctl", "stop", "other-program")
    assert failures(apply(foreign, vendor, "docker_registry.clean")) == []


def test_whoever_runs_the_registry_has_the_formula_leave_it_and_tell_the_engines(foreign, vendor):
    foreign.serve(WITH_FAILING_HEALTH)
    before = foreign.everything()
    answer = apply(foreign, vendor, "docker_registry.engine", registry={"install": "none"})
    assert (failures(answer), set(changes(answer))) == ([], {"Podman trusts the registries"})
    foreign.host.path(PODMAN).unlink()
    assert foreign.everything() == before


@pytest.mark.thorough
def test_an_empty_one_is_configured_as_the_role_did(foreign, vendor):
    foreign.serve(images=False)
    answer = apply(foreign, vendor)
    assert failures(answer) == []
    assert {"Registry is configured", "Registry is running", "Registry port is open", IMAGES} <= set(
        changes(answer)
    )
    assert foreign.host.path(PODMAN).exists()
    assert failures(apply(foreign, vendor, "docker_registry.clean")) == []


@pytest.mark.thorough
def test_an_empty_one_of_an_undercloud_is_its_directors(foreign, vendor):
    foreign.serve(images=False)
    before = foreign.everything()
    undercloud = {"recognise": True, "prepare": False}
    answer = apply(foreign, vendor, local={"port": 5000}, undercloud=undercloud)
    assert (failures(answer), set(changes(answer)), answer.retcode) == ([], {IMAGES}, 0)
    address = f"{foreign.host.address}:5000"
    assert f"{address} is the undercloud's own registry, still empty" in states(answer)[GUARD]["comment"]
    assert foreign.everything() == before
    assert foreign.catalog() == sorted(vendor.images)
