"""The files that tell engines of signatures, managed and taken back by real Salt."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.registries import free_port
from support.salt_minion import Minion

IMAGES = [
    {"name": "team/app", "tags": ["1.0"], "signed_by": ["vendor"]},
    {"name": "free/app", "tags": ["1.0"]},
]
ACCEPTED = '"default": [{"type": "insecureAcceptAnything"}]'
SITES = {
    "absent": None,
    "empty": "",
    "of the site": f'{{{ACCEPTED},\n  "transports": {{"docker-daemon": {{"": []}}}}}}',
    "of a distribution": f"{{\n    {ACCEPTED}\n}}\n",
}


class Host:
    """A minion whose engines have their files in a directory of its own."""

    def __init__(self, minion: Minion, directory: Path) -> None:
        self.minion = minion
        self.containers = directory / "containers"
        self.policy = self.containers / "policy.json"
        self.lookaside = self.containers / "registries.d" / "docker_registry.yaml"
        self.mirrors = self.containers / "registries.conf.d" / "docker_registry-upstream.conf"
        self.port = free_port()
        self.name = f"127.0.0.1:{self.port}"
        self.key = directory / "vendor.asc"
        self.key.write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
        self.minion.sync()
        self.say()

    def say(self, **pillar: Any) -> None:
        """Set the pillar."""
        usual = {
            "local": {"host": "127.0.0.1", "port": self.port},
            "images": IMAGES,
            "signatures": {"serve": 5001, "keys": {"vendor": {"gpg": [str(self.key)]}}},
            "engine": {"manage": "podman", "policy": True, "stand_in_for_upstream": True},
        }
        self.minion.set_pillar({"docker_registry": {**usual, **pillar}})
        self.caller = self.minion.caller()

    def apply(self, of: str, function: str = "managed", *, test: bool = False) -> dict[str, Any]:
        """Run one state; return its return."""
        path = {"policy": self.policy, "lookaside": self.lookaside, "mirrors": self.mirrors}[of]
        single = self.caller.cmd(
            "state.single", f"registry_policy.{function}", name=str(path), of=of, test=test
        )
        return next(iter(single.values()))  # type: ignore[no-any-return]

    def scopes(self) -> list[str]:
        """Return the scopes of the policy."""
        return list(json.loads(self.policy.read_text())["transports"]["docker"])


@pytest.fixture
def host(tmp_path: Path, checkout: Path) -> Host:
    return Host(Minion(tmp_path / "minion", checkout), tmp_path)


@pytest.mark.parametrize("before", SITES.values(), ids=SITES)
def test_a_policy_is_added_to_and_the_very_file_comes_back(host: Host, before: str | None) -> None:
    if before is not None:
        host.policy.parent.mkdir()
        host.policy.write_text(before)
    assert host.apply("policy", test=True)["result"] is None
    assert (host.policy.read_text() if host.policy.exists() else None) == before
    assert host.apply("policy")["result"] is True
    assert host.scopes() == [f"{host.name}/team", "registry.access.redhat.com/team"]
    again = host.apply("policy")
    assert (again["result"], again["changes"]) == (True, {})
    assert host.apply("policy", "absent")["result"] is True
    assert (host.policy.read_text() if host.policy.exists() else None) == before
    again = host.apply("policy", "absent")
    assert (again["result"], again["changes"]) == (True, {})
    assert not list(host.minion.root.rglob("policies.json"))


def test_a_policy_that_is_not_wanted_any_more_is_taken_back_and_what_others_wrote_stays(host: Host) -> None:
    host.apply("policy")
    said = json.loads(host.policy.read_text())
    said["transports"]["docker"]["quay.io"] = [{"type": "reject"}]
    host.policy.write_text(json.dumps(said))
    host.say(images=[{**IMAGES[0], "name": "other/app"}])
    assert host.apply("policy")["result"] is True
    assert sorted(host.scopes()) == [f"{host.name}/other", "quay.io", "registry.access.redhat.com/other"]
    host.say(engine={"manage": "podman"})
    assert host.apply("policy")["result"] is True
    assert host.scopes() == ["quay.io"]
    assert not list(host.minion.root.rglob("policies.json"))


def other_key(host: Host) -> dict[str, Any]:
    other = host.key.with_name("new.asc")
    other.write_bytes(host.key.read_bytes())
    return {"keys": {"vendor": {"gpg": [str(other)]}}}


def test_what_was_noted_and_not_written_leaves_what_is_there_ours(host: Host) -> None:
    host.apply("policy")
    host.say(signatures=other_key(host))
    for _ in range(2):
        host.caller.cmd("registry_policy.note", str(host.policy))
    assert host.apply("policy")["result"] is True
    assert "new.asc" in host.policy.read_text()
    host.say()
    host.caller.cmd("registry_policy.note", str(host.policy))
    assert host.apply("policy", "absent")["result"] is True
    assert not host.policy.exists()


def test_what_an_earlier_version_has_noted_is_ours(host: Host) -> None:
    host.apply("policy")
    (record,) = host.minion.root.rglob("policies.json")
    noted = json.loads(record.read_text())
    noted[str(host.policy)] = {name: noted[str(host.policy)][name] for name in ("before", "scopes")}
    record.write_text(json.dumps(noted))
    host.say(signatures=other_key(host))
    assert host.apply("policy")["result"] is True
    assert host.apply("policy", "absent")["result"] is True
    assert not host.policy.exists()


def test_where_no_policy_is_wanted_no_key_is(host: Host) -> None:
    host.key.unlink()
    host.say(engine={"manage": "podman"})
    host.policy.parent.mkdir()
    host.policy.write_text(f"{{{ACCEPTED}}}")
    ret = host.apply("policy")
    assert (ret["result"], ret["changes"]) == (True, {})
    assert not list(host.minion.root.rglob("policies.json"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "policy.json is no JSON"),
        (
            '{"default": [{"type": "reject"}]}',
            "its default is reject and it has no scope for {name}/free/app",
        ),
        (
            '{{"default": [], "transports": {{"docker": {{"{name}/team": []}}}}}}',
            "already has a scope {name}/team that this formula did not write",
        ),
    ],
)
def test_a_policy_that_cannot_be_added_to_is_left_as_it_is(host: Host, text: str, said: str) -> None:
    text = text.format(name=host.name) if "{{" in text else text
    host.policy.parent.mkdir()
    host.policy.write_text(text)
    ret = host.apply("policy")
    assert ret["result"] is False
    assert said.format(name=host.name) in ret["comment"]
    assert host.policy.read_text() == text


def test_a_key_that_is_not_here_is_told_before_it_refuses_every_image(host: Host) -> None:
    host.key.unlink()
    ret = host.apply("policy")
    assert ret["result"] is False
    assert ret["comment"].startswith(
        f"{host.key}: is not on this host, and {host.policy} would refuse all of"
    )
    assert not host.policy.exists()


def test_a_policy_that_is_not_utf_8_is_told(host: Host) -> None:
    text = f'{{{ACCEPTED}, "x": "\xe9"}}'.encode("latin-1")
    host.apply("policy")
    host.policy.write_bytes(text)
    for function in ("managed", "absent"):
        ret = host.apply("policy", function)
        assert (ret["result"], ret["comment"]) == (False, f"{host.policy} is not UTF-8; mend it first")
    assert host.policy.read_bytes() == text


@pytest.mark.parametrize("text", [b"", b'{"x": "\xe9"}', b"{\r\n}"], ids=["empty", "latin-1", "of dos"])
def test_a_policy_that_has_nothing_of_ours_is_not_touched(host: Host, text: bytes) -> None:
    host.policy.parent.mkdir()
    host.policy.write_bytes(text)
    host.say(engine={"manage": "podman"})
    for function in ("managed", "absent"):
        ret = host.apply("policy", function)
        assert (ret["result"], ret["changes"]) == (True, {})
        assert host.policy.read_bytes() == text


@pytest.mark.parametrize("of", ["policy", "lookaside", "mirrors"])
def test_a_link_to_nothing_is_told_where_something_is_to_be_written(host: Host, of: str) -> None:
    path = {"policy": host.policy, "lookaside": host.lookaside, "mirrors": host.mirrors}[of]
    path.parent.mkdir(parents=True)
    path.symlink_to(host.containers / "nowhere")
    ret = host.apply(of)
    assert ret["result"] is False
    assert ret["comment"] == (
        f"{path} is a symbolic link to {host.containers}/nowhere, which is not there; mend it first"
    )
    assert host.apply(of, "absent")["result"] is True
    host.say(engine={"manage": "podman"}, signatures={"serve": 0, "keys": {"vendor": {"gpg": ["/x"]}}})
    assert host.apply(of)["result"] is True


def test_what_is_noted_of_a_file_that_was_removed_is_forgotten(host: Host) -> None:
    host.apply("policy")
    host.policy.unlink()
    host.apply("policy", "absent", test=True)
    assert list(host.minion.root.rglob("policies.json"))
    host.apply("policy", "absent")
    assert not list(host.minion.root.rglob("policies.json"))


def test_binary_keys_and_armored_ones_are_one_keyring(host: Host) -> None:
    binary = host.key.with_name("vendor.gpg")
    binary.write_bytes(b"\x99\x00\xff")
    host.key.write_text(
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmAEE\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"
    )
    host.say(signatures={"keys": {"vendor": {"gpg": [str(binary), str(host.key)]}}})
    assert host.apply("policy")["result"] is True
    ((requirement,), _) = json.loads(host.policy.read_text())["transports"]["docker"].values()
    assert base64.b64decode(requirement["keyData"]) == b"\x99\x00\xff\x98\x01\x04"


def test_a_file_of_several_cosign_keys_is_a_warning(host: Host) -> None:
    keys = (f"-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n" for text in ("AAAA", "BBBB"))
    host.key.write_text("".join(keys))
    host.say(signatures={"keys": {"vendor": {"cosign": [str(host.key)]}}})
    ret = host.apply("policy")
    assert ret["result"] is True
    assert "team/app: it has several cosign keys" in ret["comment"]
    assert not host.policy.exists()


def test_what_no_policy_can_say_is_a_warning(host: Host) -> None:
    keys = {"vendor": {"gpg": [str(host.key)]}, "ours": {"cosign": ["/b"]}}
    host.say(
        images=[{**IMAGES[0], "signed_by": ["vendor", "ours"]}, {**IMAGES[0], "name": "b/c"}],
        signatures={"keys": keys},
    )
    ret = host.apply("policy")
    assert ret["result"] is True
    assert (
        "Warning: no policy can say who must have signed team/app: it has signers of several"
        in ret["comment"]
    )
    assert host.scopes() == [f"{host.name}/b", "registry.access.redhat.com/b"]


def test_where_signatures_are_is_said_and_taken_back(host: Host) -> None:
    assert host.apply("lookaside")["result"] is True
    assert yaml.safe_load(host.lookaside.read_text()) == {
        "docker": {
            host.name: {
                "lookaside": "http://127.0.0.1:5001",
                "sigstore": "http://127.0.0.1:5001",
                "use-sigstore-attachments": True,
            }
        }
    }
    host.say(engine={"manage": "podman"}, images=IMAGES[1:], signatures={"serve": 0})
    assert host.apply("lookaside")["changes"]
    assert not host.lookaside.exists()


def test_a_store_that_speaks_plain_http_over_a_network_is_told(host: Host) -> None:
    assert "Warning" not in host.apply("lookaside")["comment"]
    elsewhere = {"host": "mirror.example.com", "port": host.port}
    host.say(local=elsewhere)
    assert (
        "Warning: http://mirror.example.com:5001 is plain HTTP: nobody on the way can forge"
        in (host.apply("lookaside")["comment"])
    )
    host.say(local={**elsewhere, "tls": True})
    assert "Warning" not in host.apply("lookaside")["comment"]


def test_a_scope_in_another_file_is_refused_and_nothing_is_written(host: Host) -> None:
    other = host.lookaside.with_name("other.yaml")
    other.parent.mkdir(parents=True)
    other.write_text(f"docker:\n  {host.name}:\n    sigstore: file:///srv\n")
    ret = host.apply("lookaside")
    assert ret["result"] is False
    assert ret["comment"] == f"{other} already speaks of {host.name}; with two every pull would fail"
    assert not host.lookaside.exists()
    for text in (b"docker: {elsewhere.example.com: {}}\n", b"docker:\n  x: \xe9\n", b"since: 2024-13-45\n"):
        other.write_bytes(text)
        assert host.apply("lookaside")["result"] is True


def test_the_mirror_stands_in_for_upstream_and_no_longer(host: Host) -> None:
    assert host.apply("mirrors")["result"] is True
    assert (
        f'[[registry.mirror]]\nlocation = "{host.name}/team/app"\ninsecure = true\n'
        in host.mirrors.read_text()
    )
    host.apply("mirrors", "absent")
    assert not host.mirrors.exists()


def test_where_podman_is_not_managed_nothing_is_touched(host: Host) -> None:
    host.say(engine={"manage": "docker", "policy": True})
    for of in ("policy", "lookaside", "mirrors"):
        ret = host.apply(of)
        assert (ret["result"], ret["changes"]) == (True, {})
    assert not host.containers.exists()
