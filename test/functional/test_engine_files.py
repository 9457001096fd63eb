"""What a site has in its engines' files is there again after the formula, and what that has added is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from support.salt_minion import Minion

MIRROR = "127.0.0.1:5000"
PEM = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
OURS, THEIRS = PEM.format("OURS"), PEM.format("THEIRS")
PLAIN = {"local": {"host": "127.0.0.1", "port": 5000, "tls": False}}
MOVED = {"local": {"host": "127.0.0.1", "port": 5001, "tls": False}}
WITH_TLS = {
    "local": {"host": "127.0.0.1", "port": 5000, "tls": True},
    "registry": {"install": "none", "tls": {"ca": OURS}},
}
FORMER_DAEMON = f'{{\n  "insecure-registries": [\n    "{MIRROR}"\n  ]\n}}\n'.encode()
FORMER_SYSCONFIG = f"OPTIONS=''\nINSECURE_REGISTRY=\"--insecure-registry {MIRROR}\"\n".encode()


class Host:
    """A minion whose engines have their files in a directory of its own."""

    def __init__(self, minion: Minion, directory: Path) -> None:
        self.minion = minion
        self.daemon = directory / "etc/docker/daemon.json"
        self.sysconfig = directory / "etc/sysconfig/docker"
        self.authorities = directory / "etc/docker/certs.d"
        self.authority = self.authorities / MIRROR / "ca.crt"
        for module in minion.file_root.glob("_modules/registry_engine*.py"):
            text = module.read_text()
            for file in ("/etc/docker/daemon.json", "/etc/sysconfig/docker"):
                text = text.replace(f'= "{file}"', f'= "{directory}{file}"')
            module.write_text(text)
        self.directory = directory
        self._callers: dict[str, Any] = {}
        self.minion.sync()

    def begin(self) -> None:
        """Forget what an earlier test has left."""
        shutil.rmtree(self.directory / "etc", ignore_errors=True)
        shutil.rmtree(self.minion.root / "var/lib", ignore_errors=True)
        for file in (self.daemon, self.sysconfig):
            file.parent.mkdir(parents=True)

    def say(self, pillar: dict[str, Any] | None) -> None:
        """Set the pillar; without any, the minion has left it."""
        usual = {"registry": {"install": "none"}, "engine": {"manage": "docker"}}
        told = {} if pillar is None else {"docker_registry": {**usual, **pillar}}
        self.minion.set_pillar(told)
        # What it has loaded does for the same pillar again.
        key = json.dumps(told)
        if key not in self._callers:
            self._callers[key] = self.minion.caller()
        self.caller = self._callers[key]

    def state(self, function: str, name: Path, *, test: bool = False, **arguments: Any) -> dict[str, Any]:
        """Run one state; return its return."""
        told = {"name": str(name), "test": test, **arguments}
        single = self.caller.cmd("state.single", f"registry_engine.{function}", **told)
        return next(iter(single.values()))  # type: ignore[no-any-return]

    def apply(self, *, test: bool = False) -> list[dict[str, Any]]:
        """Have docker trust the registries, as ``engine.sls`` does."""
        return [
            self.state("file_managed", self.sysconfig, of="sysconfig", test=test),
            self.state("file_managed", self.daemon, of="daemon", test=test),
            self.state("authorities", self.authorities, engine="docker", test=test),
        ]

    def clean(self, *, test: bool = False) -> list[dict[str, Any]]:
        """Undo it, as ``clean.sls`` does."""
        return [
            self.state("file_cleaned", self.sysconfig, of="sysconfig", test=test),
            self.state("file_cleaned", self.daemon, of="daemon", test=test),
            self.state("file_cleaned", self.daemon, of="tidy", test=test),
            self.state("authorities_absent", self.authorities, test=test),
        ]

    def insecure(self) -> list[str]:
        """Return what docker's files name."""
        told = json.loads(self.daemon.read_text() or "{}") if self.daemon.exists() else {}
        words = self.sysconfig.read_text().split() if self.sysconfig.exists() else []
        flags = [word.strip("\"'") for word in words if "127.0.0.1" in word]
        return [*told.get("insecure-registries", []), *flags]


@pytest.fixture(scope="module")
def only_host(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Host:
    directory = tmp_path_factory.mktemp("host")
    return Host(Minion(directory / "minion", checkout), directory)


@pytest.fixture
def host(only_host: Host) -> Host:
    only_host.begin()
    return only_host


def good(rets: list[dict[str, Any]]) -> bool:
    """Return whether no state failed."""
    assert [ret["comment"] for ret in rets if ret["result"] is False] == []
    return any(ret["changes"] for ret in rets)


@pytest.mark.parametrize("of", ["daemon", "sysconfig"])
@pytest.mark.parametrize(
    ("later", "named"), [(WITH_TLS, []), (MOVED, ["127.0.0.1:5001"])], ids=["tls", "moved"]
)
def test_docker_is_not_left_to_trust_in_the_clear_what_has_tls_or_another_port(
    host: Host, of: str, later: dict[str, Any], named: list[str]
) -> None:
    if of == "sysconfig":
        host.sysconfig.write_text("OPTIONS=''\n")
    host.say(PLAIN)
    assert good(host.apply())
    assert host.insecure() == [MIRROR]
    host.say(later)
    plan = host.apply(test=True)
    assert any(ret["changes"] for ret in plan)
    assert host.insecure() == [MIRROR]
    assert good(host.apply())
    assert host.insecure() == named
    assert not good(host.apply())
    assert good(host.clean())
    assert not host.daemon.exists()
    assert host.sysconfig.exists() == (of == "sysconfig")
    assert host.sysconfig.read_text() == "OPTIONS=''\n" if of == "sysconfig" else True
    assert not list(host.minion.root.rglob("engines.json"))


def test_a_registry_that_the_site_itself_trusts_in_the_clear_stays_when_ours_gets_tls(host: Host) -> None:
    text = f'{{"insecure-registries": ["{MIRROR}"]}}'
    host.daemon.write_text(text)
    host.say(PLAIN)
    assert not good(host.apply())
    host.say(WITH_TLS)
    good(host.apply())
    assert host.daemon.read_text() == text
    good(host.clean())
    assert host.daemon.read_text() == text


DAEMONS = {
    "none": None,
    "empty": b"",
    "empty object": b"{}\n",
    "no end of line": b'{"debug": true}',
    "site's registry": b'{"insecure-registries":["site:1"],\r\n"debug":true}\r\n',
    "names the mirror": f'{{"insecure-registries": ["{MIRROR}"]}}\n'.encode(),
    "empty list": b'{"insecure-registries": []}',
    "bytes": '{"data-root": "/srv/f\xfcr"}\n'.encode("latin-1"),
}
SYSCONFIGS = {
    "empty": b"",
    "CRLF": b"# x\r\nOPTIONS='--selinux-enabled'\r\n",
    "bytes": "# f\xfcr alle\nOPTIONS='--selinux-enabled'\n".encode("latin-1"),
    "names the mirror": f"INSECURE_REGISTRY='--insecure-registry {MIRROR}'\n".encode(),
    "site's registry": b"INSECURE_REGISTRY='--insecure-registry=site:1'",
    "empty value": b"INSECURE_REGISTRY=''\nOPTIONS=--debug",
    "two": b"INSECURE_REGISTRY='--insecure-registry a:1'\nINSECURE_REGISTRY=\"--insecure-registry b:1\"\n",
}


def telling_first(name: str, files: dict[str, Any]) -> list[Any]:
    """Leave those to the thorough run that are told in short by the others."""
    telling = ("none", "names the mirror", "bytes", "two")
    marks = {each: () if each in telling else pytest.mark.thorough for each in files}
    return [pytest.param(name, files[each], id=f"{name} {each}", marks=marks[each]) for each in files]


@pytest.mark.parametrize(
    ("name", "before"), [*telling_first("daemon", DAEMONS), *telling_first("sysconfig", SYSCONFIGS)]
)
def test_the_very_file_of_the_site_comes_back(host: Host, name: str, before: bytes | None) -> None:
    file = getattr(host, name)
    if before is not None:
        file.write_bytes(before)
    host.say(PLAIN)
    good(host.apply())
    assert host.daemon.exists() or host.sysconfig.exists()
    applied = file.read_bytes()
    assert MIRROR.encode() in applied
    good(host.apply())
    assert file.read_bytes() == applied
    planned = [bool(ret["changes"]) for ret in host.clean(test=True)]
    assert file.read_bytes() == applied
    done = host.clean()
    good(done)
    assert planned == [bool(ret["changes"]) for ret in done]
    assert (file.read_bytes() if file.exists() else None) == before
    assert not good(host.clean())
    assert (file.read_bytes() if file.exists() else None) == before


def test_what_others_have_changed_since_stays_and_ours_goes(host: Host) -> None:
    host.say(PLAIN)
    good(host.apply())
    host.daemon.write_text(json.dumps({"debug": True, "insecure-registries": [MIRROR, "site:1"]}))
    assert good(host.clean())
    assert json.loads(host.daemon.read_text()) == {"debug": True, "insecure-registries": ["site:1"]}


@pytest.mark.parametrize("before", [b'{\n\t"debug": true\n}\n', b""], ids=["settings", "empty"])
def test_a_link_of_the_site_stays_one(host: Host, before: bytes) -> None:
    target = host.daemon.with_name("real.json")
    target.write_bytes(before)
    host.daemon.symlink_to("real.json")
    host.say(PLAIN)
    good(host.apply())
    assert json.loads(target.read_text())["insecure-registries"] == [MIRROR]
    good(host.clean())
    assert host.daemon.is_symlink()
    assert target.read_bytes() == before


@pytest.mark.parametrize("applied", [False, True], ids=["cleaned at once", "applied before"])
@pytest.mark.parametrize(
    ("name", "former", "left"),
    [("daemon", FORMER_DAEMON, None), ("sysconfig", FORMER_SYSCONFIG, b"OPTIONS=''\n")],
)
def test_what_a_version_before_the_notes_has_added_goes(
    host: Host, name: str, former: bytes, left: bytes | None, applied: bool
) -> None:
    file = getattr(host, name)
    file.write_bytes(former)
    host.say(PLAIN)
    if applied:
        assert not good(host.apply())
        host.say(WITH_TLS)
        assert good(host.apply())
        assert host.insecure() == []
    assert good(host.clean())
    assert (file.read_bytes() if file.exists() else None) == left


def test_a_minion_that_has_left_the_pillar_is_cleaned_by_what_was_noted(host: Host) -> None:
    host.say(PLAIN)
    good(host.apply())
    host.say(None)
    assert good(host.clean())
    assert not host.daemon.exists()
    host.say(WITH_TLS)
    good(host.apply())
    assert host.authority.read_text() == OURS
    host.say(None)
    assert good(host.clean())
    assert not host.authority.parent.exists()


def test_registries_that_are_no_list_are_refused_and_stay(host: Host) -> None:
    host.daemon.write_text('{"insecure-registries": "a:1"}')
    host.say(PLAIN)
    said = "/etc/docker/daemon.json: insecure-registries is no list of registries; mend it first"
    assert host.state("file_managed", host.daemon, of="daemon")["comment"] == said
    assert host.state("file_cleaned", host.daemon, of="daemon")["comment"] == said
    assert host.daemon.read_text() == '{"insecure-registries": "a:1"}'


def test_a_ca_of_the_site_comes_back(host: Host) -> None:
    host.authority.parent.mkdir(parents=True)
    host.authority.write_text(THEIRS)
    host.say(WITH_TLS)
    assert good(host.apply())
    assert host.authority.read_text() == OURS
    assert not good(host.apply())
    assert good(host.clean())
    assert host.authority.read_text() == THEIRS
    assert not good(host.clean())
    assert host.authority.read_text() == THEIRS


def test_a_ca_that_others_have_put_in_place_of_ours_stays(host: Host) -> None:
    host.say(WITH_TLS)
    good(host.apply())
    host.authority.write_text(THEIRS)
    good(host.clean())
    assert host.authority.read_text() == THEIRS


def test_a_ca_of_a_registry_that_has_moved_goes_and_its_neighbour_stays(host: Host) -> None:
    host.say(WITH_TLS)
    good(host.apply())
    site = host.authorities / "site:1/ca.crt"
    site.parent.mkdir()
    site.write_text(THEIRS)
    moved = {**WITH_TLS, "local": {**WITH_TLS["local"], "port": 5001}}
    host.say(moved)
    assert good(host.apply())
    assert sorted(each.name for each in host.authorities.iterdir()) == ["127.0.0.1:5001", "site:1"]
    good(host.clean())
    assert [each.name for each in host.authorities.iterdir()] == ["site:1"]


def test_a_ca_of_a_version_before_the_notes_goes_where_it_is_the_pillars(host: Host) -> None:
    for text, stays in ((OURS, False), (THEIRS, True)):
        host.authority.parent.mkdir(parents=True)
        host.authority.write_text(text)
        host.say(WITH_TLS)
        good(host.clean())
        assert host.authority.exists() == stays


def test_a_mistake_in_the_pillar_is_a_sentence_in_clean_too(host: Host) -> None:
    host.say({"prune": {"aftr": "1d"}})
    for ret in host.clean()[-1:]:
        assert (ret["result"], ret["changes"]) == (False, {})
        assert ret["comment"].startswith("docker_registry:prune")
