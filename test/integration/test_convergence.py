"""A registry that the formula has set up follows the pillar, whatever it holds.

A change could wait for ever since images are there, or restart what it does not concern; a second apply could
change more; a directory of other images could be put in place of the ones that clients pull.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import requests
import yaml

from integration.conftest import minion_on
from integration.story import changes, failures, states
from support.hosts import Host, HostedMinion
from support.pki import Authority

pytestmark = pytest.mark.thorough

CONFIG = "/etc/docker/registry/config.yml"
DIRECTORY = "/etc/docker/registry"
SERVICE = "docker-registry"
# Through which this host alone pushes; it asks nobody for a login or a certificate.
PUSH_SERVICE = "docker-registry-push"
GUARD = "Registry is left alone unless forced"
RUNNING = "Registry is running"
CONFIGURED = "Registry is configured"
BOTH_CONFIGURED = {CONFIGURED, "Registry is configured for pushes of this host"}
PUSHES_RUN = "Registry for pushes is running"
BOTH_RUN = {RUNNING, PUSHES_RUN}
USERS = "Registry htpasswd file is managed"
ENGINE = "Podman trusts the registries"
ENGINE_CA = "Podman trusts the CAs of the registries"
SITE_CA = "/etc/ssl/site-ca.pem"
LOGIN = {"username": "site", "password": "Pw-Of-The-Site"}


@dataclass
class Ours:
    """A host whose registry the formula has set up, and the pillar that it follows."""

    minion: HostedMinion
    pillar: dict[str, Any]

    @property
    def host(self) -> Host:
        return self.minion.host

    def apply(self, **pillar: Any) -> Any:
        self.minion.set_pillar({"docker_registry": self.pillar | pillar})
        return self.minion.apply("docker_registry")

    def status(self, scheme: str = "http", port: int = 5000, **options: Any) -> int:
        """What the registry's catalog answers to a client on the wire."""
        url = f"{scheme}://{self.host.address}:{port}/v2/_catalog"
        return requests.get(url, timeout=10, **options).status_code


def set_up(boot, vendor, name):
    host = boot(name)
    # An engine's program is only looked for.
    host.output("ln", "-s", "/bin/true", "/usr/bin/podman")
    pillar = vendor.pillar(host.address)
    ours = Ours(minion_on(host, pillar), pillar)
    assert failures(ours.apply()) == []
    return ours


@pytest.fixture(scope="module")
def ours(boot_module, vendor):
    return set_up(boot_module, vendor, "ours")


@pytest.fixture(scope="module")
def authority(ours, tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp("authority"))
    ours.host.write(SITE_CA, authority.bundle.read_text())
    return authority


def runs(host):
    return [host.invocation(service) for service in (SERVICE, PUSH_SERVICE)]


def lands(ours, expected, **pillar):
    """Apply twice: the first changes what it should, and restarts what that concerns, the second nothing."""
    before = runs(ours.host)
    first = ours.apply(**pillar)
    assert failures(first) == []
    assert set(changes(first)) == expected
    after = runs(ours.host)
    assert [old != new for old, new in zip(before, after, strict=True)] == [
        state in expected for state in (RUNNING, PUSHES_RUN)
    ]
    again = ours.apply(**pillar)
    assert (failures(again), changes(again)) == ([], {})
    assert runs(ours.host) == after
    assert ours.minion.call("registry_sync.check").retcode == 0


def test_a_setting_of_the_server_lands_and_goes_again(ours):
    lands(ours, BOTH_CONFIGURED | BOTH_RUN, registry={"config": {"log": {"level": "warn"}}})
    assert yaml.safe_load(ours.host.read(CONFIG))["log"]["level"] == "warn"
    lands(ours, BOTH_CONFIGURED | BOTH_RUN)
    assert "level" not in yaml.safe_load(ours.host.read(CONFIG))["log"]


def test_another_port_lands_and_goes_again(ours, wire):
    moved = {"local": {**ours.pillar["local"], "port": 5050}}
    lands(ours, {*BOTH_CONFIGURED, *BOTH_RUN, ENGINE}, **moved)
    with wire.entered():
        assert ours.status(port=5050) == 200
        with pytest.raises(requests.ConnectionError):
            ours.status()
    lands(ours, {*BOTH_CONFIGURED, *BOTH_RUN, ENGINE})


def test_users_come_change_and_go(ours, wire):
    local = {**ours.pillar["local"], **LOGIN}
    first = {LOGIN["username"]: LOGIN["password"]}
    lands(ours, {CONFIGURED, USERS, RUNNING}, local=local, registry={"htpasswd": first})
    with wire.entered():
        assert ours.status() == 401
        assert ours.status(auth=tuple(LOGIN.values())) == 200
    second = {**first, "more": "Pw-Of-More"}
    lands(ours, {USERS, RUNNING}, local=local, registry={"htpasswd": second})
    with wire.entered():
        assert ours.status(auth=("more", "Pw-Of-More")) == 200
    third = {LOGIN["username"]: "Pw-Another"}
    local["password"] = "Pw-Another"
    lands(ours, {USERS, RUNNING}, local=local, registry={"htpasswd": third})
    with wire.entered():
        assert ours.status(auth=("more", "Pw-Of-More")) == 401
        assert ours.status(auth=tuple(LOGIN.values())) == 401
        assert ours.status(auth=(LOGIN["username"], "Pw-Another")) == 200
    lands(ours, {CONFIGURED, RUNNING})
    with wire.entered():
        assert ours.status() == 200


def test_a_certificate_of_the_site_then_another_then_one_of_its_own_then_none(
    ours, wire, authority, tmp_path
):
    local = {**ours.pillar["local"], "tls": True, "verify": SITE_CA}
    ca = authority.bundle.read_text()

    def tls(name):
        pair = authority.issue(name, ours.host.address)
        texts = {"certificate": pair.certificate.read_text(), "key": pair.key.read_text()}
        return {"tls": {**texts, "ca": ca}}

    files = {"Registry has a certificate", "Registry has a key"}
    expected = {*files, CONFIGURED, RUNNING, ENGINE, ENGINE_CA}
    lands(ours, expected, local=local, registry=tls("one"))
    with wire.entered():
        assert ours.status("https", verify=str(authority.bundle)) == 200
    lands(ours, {*files, RUNNING}, local=local, registry=tls("two"))
    own = "Registry certificate is signed by its own CA"
    lands(ours, {own, RUNNING, ENGINE_CA}, registry={"tls": "self_signed"})
    (tmp_path / "ca").write_text(ours.host.read("/etc/pki/docker_registry/ca.pem"))
    with wire.entered():
        assert ours.status("https", verify=str(tmp_path / "ca")) == 200
    lands(ours, {CONFIGURED, RUNNING, ENGINE, ENGINE_CA})
    with wire.entered():
        assert ours.status() == 200


def test_what_engines_trust_lands_without_a_restart_of_the_registry(ours):
    ours.host.path("/etc/containers/registries.conf.d/docker_registry.conf").unlink()
    lands(ours, set(), engine={"manage": "none"})
    lands(ours, {ENGINE})


def test_stopped_by_hand_it_is_started(ours):
    ours.host.output("systemctl", "stop", SERVICE)
    lands(ours, {RUNNING})
    ours.host.output("systemctl", "disable", "--now", SERVICE)
    lands(ours, {RUNNING})
    ours.host.output("systemctl", "stop", PUSH_SERVICE)
    lands(ours, {PUSHES_RUN})


def test_while_it_answers_503_it_is_mended_by_the_pillar(ours, wire):
    unhealthy = {"config": {"health": {"file": [{"file": "/srv/down", "interval": "1s"}]}}}
    lands(ours, BOTH_CONFIGURED | BOTH_RUN, registry=unhealthy)
    ours.host.write("/srv/down", "")
    ours.host.output("sh", "-c", "sleep 2")
    with wire.entered():
        assert ours.status() == 503
    lands(ours, BOTH_CONFIGURED | BOTH_RUN)


MOVES = {
    "another directory": ({"storage": "/srv/elsewhere"}, "/srv/elsewhere"),
    "another driver": ({"config": {"storage": {"inmemory": {}}}}, "inmemory"),
}


@pytest.mark.parametrize("kind", MOVES)
def test_another_storage_is_refused_with_what_would_be_out_of_sight_unless_forced(kind, ours, vendor, wire):
    registry, named = MOVES[kind]
    config, before = ours.host.read(CONFIG), runs(ours.host)
    answer = ours.apply(registry=registry)
    assert answer.retcode == 2
    assert changes(answer) == {}
    said = states(answer)[GUARD]["comment"]
    assert said == (
        f"docker_registry:registry: the images would be kept in {named}, but {len(vendor.images)} "
        "repositories in /var/lib/docker-registry would be out of sight. Nothing was configured; move them, "
        "or leave them behind with docker_registry:force: true"
    )
    assert (ours.host.read(CONFIG), runs(ours.host)) == (config, before)
    with wire.entered():
        assert ours.status() == 200
    forced = ours.apply(registry=registry, force=True)
    assert failures(forced) == []
    assert {CONFIGURED, RUNNING, "Images are mirrored"} <= set(changes(forced))
    assert named in ours.host.read(CONFIG)
    assert failures(ours.apply(force=True)) == []
    assert ours.host.read(CONFIG) == config
