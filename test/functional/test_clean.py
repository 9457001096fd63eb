"""What clean may take away of a host, and in which bytes it gives back what was there."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest

from support.pki import Authority
from support.registries import free_port
from support.salt_minion import Minion

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files get owners")

BEFORE = "/var/lib/docker_registry/before.json"


class Host:
    """A minion that keeps what was before in a directory of its own."""

    def __init__(self, directory: Path, checkout: Path) -> None:
        self.minion = Minion(directory / "minion", checkout)
        self.before = directory / "before.json"
        self.config = directory / "etc/config.yml"
        self.storage = directory / "images"
        self.port = free_port()
        module = self.minion.file_root / "_modules/registry_backup.py"
        module.write_text(module.read_text().replace(BEFORE, str(self.before)))
        self.pki = directory / "pki-of-ours"
        module = self.minion.file_root / "_states/registry_tls.py"
        usual = 'f"{defaults.AUTHORITY_DIRECTORY}/'
        module.write_text(module.read_text().replace(usual, f'"{self.pki}/'))
        self.config.parent.mkdir()
        self.minion.sync()

    def say(self, lookup: dict[str, str] | None = None, **registry: Any) -> None:
        """Set the pillar's ``registry``."""
        local = {"host": "127.0.0.1", "port": self.port}
        told = {"storage": str(self.storage), "install": "container", **registry}
        pillar = {"local": local, "registry": told, "lookup": lookup or {}}
        self.minion.set_pillar({"docker_registry": pillar})
        self.caller = self.minion.caller()

    def state(self, function: str, **arguments: Any) -> dict[str, Any]:
        """Run one state; return its return."""
        single = self.caller.cmd("state.single", function, **{"name": "x", **arguments})
        return next(iter(single.values()))  # type: ignore[no-any-return]

    def keep(self, repository: str, tag: str) -> Path:
        """Have an image in the storage; return the directory of all of them."""
        registry = self.storage / "docker/registry"
        (registry / f"v2/repositories/{repository}/_manifests/tags/{tag}").mkdir(parents=True)
        return registry

    def note(self, repository: str, tag: str) -> None:
        """Have a sync put an image there."""
        was = {"digest": "sha256:1", "at": 1.0, "by": "sync", "gone": False}
        entry = {"history": [was], "unwanted": 0.0, "held": "", "pending": ""}
        content = {
            "version": 1,
            "registry": f"http://127.0.0.1:{self.port}",
            "written": 1.0,
            "complete": "",
            "tags": {repository: {tag: entry}},
        }
        book = self.minion.root / f"var/lib/docker_registry/ledger-127.0.0.1-{self.port}.json"
        book.parent.mkdir(parents=True, exist_ok=True)
        book.write_text(json.dumps(content))

    def purge(self) -> dict[str, Any]:
        """Delete the images if the pillar says so."""
        return self.state("registry_host.images_purged", default="/nowhere")


@pytest.fixture
def host(tmp_path: Path, checkout: Path) -> Host:
    return Host(tmp_path, checkout)


@pytest.mark.parametrize(
    ("install", "said"),
    [("container", "team/app was not put there"), ("none", "registry:install is none")],
)
def test_images_of_a_registry_that_the_formula_has_not_set_up_stay(
    host: Host, install: str, said: str
) -> None:
    images = host.keep("team/app", "1")
    host.say(purge=True, install=install)
    refused = host.purge()
    assert (refused["result"], refused["changes"]) == (False, {})
    assert said in refused["comment"]
    assert (images / "v2/repositories/team/app").exists()


def test_images_of_ours_go_where_the_configuration_or_the_ledger_shows_that_they_are(host: Host) -> None:
    host.say(purge=True)
    host.config.write_text(f"storage: {{filesystem: {{rootdirectory: {host.storage}}}}}\n")
    host.before.write_text(json.dumps({"package": "", "service": {}, "files": {str(host.config): None}}))
    images = host.keep("team/app", "1")
    assert host.purge()["result"] is True
    assert not images.exists()
    assert host.purge()["result"] is True
    # Cleaned before, with purge false.
    host.before.unlink()
    host.note("team/app", "1")
    host.keep("team/app", "1")
    assert host.purge()["result"] is True
    assert not images.exists()


def test_an_image_that_somebody_else_has_pushed_keeps_all_where_only_the_ledger_is_left(host: Host) -> None:
    host.say(purge=True)
    host.note("team/app", "1")
    host.keep("team/app", "1")
    images = host.keep("team/app", "2")
    assert "team/app:2 was not put there" in host.purge()["comment"]
    assert images.exists()


def test_images_of_another_directory_than_that_of_our_configuration_stay(host: Host) -> None:
    host.say(purge=True)
    host.config.write_text("storage: {filesystem: {rootdirectory: /srv/other}}\n")
    host.before.write_text(json.dumps({"package": "", "service": {}, "files": {str(host.config): None}}))
    images = host.keep("team/app", "1")
    assert host.purge()["result"] is False
    assert images.exists()


def test_a_mistake_in_the_pillar_is_a_sentence_before_anything_is_undone(host: Host) -> None:
    host.say(purge="of course")
    for function in ("registry_sync.pillar_checked", "registry_host.images_purged"):
        ret = host.state(function, **({"default": "/x"} if "purged" in function else {}))
        assert (ret["result"], ret["changes"]) == (False, {})
        assert ret["comment"].startswith("docker_registry:registry:purge")


def test_the_authority_goes_from_a_host_whose_pillar_no_longer_says_that_it_has_one(host: Host) -> None:
    host.pki.mkdir()
    host.say(lookup={"authority": str(host.pki)}, tls="self_signed")
    made = host.state("registry_tls.certificate", name=str(host.config.parent), user="root", group="root")
    assert made["result"] is True, made["comment"]
    assert sorted(each.name for each in host.pki.iterdir()) == ["ca-key.pem", "ca.pem"]
    host.say()
    assert host.state("registry_tls.absent")["result"] is True
    assert not host.pki.exists()


def test_an_authority_of_the_site_stays_where_ours_would_lie(host: Host) -> None:
    host.pki.mkdir()
    theirs = host.pki / "ca.pem"
    theirs.write_bytes(Authority(host.storage.parent).bundle.read_bytes())
    host.say()
    assert host.state("registry_tls.absent")["changes"] == {}
    assert theirs.exists()


def test_where_the_storage_is_a_link_its_target_gets_the_owner(host: Host) -> None:
    target = host.storage.with_name("large-disk")
    target.mkdir()
    host.storage.symlink_to(target)
    host.say()
    ret = host.state("registry_host.storage", default="/nowhere", user="nobody", group="nogroup")
    assert ret["result"] is True, ret["comment"]
    assert (target.owner(), host.storage.lstat().st_uid) == ("nobody", 0)


@pytest.mark.parametrize(
    "content",
    [
        "# Registry f\xfcr alle\nversion: 0.1\n".encode("latin-1"),
        b"version: 0.1\r\nlog: {}\r\n",
        b"version: 0.1\n\n",
        b"\x00\xff\x0c\x1c",
        b"",
    ],
    ids=["latin-1", "CRLF", "two ends", "binary", "empty"],
)
def test_a_configuration_of_the_site_comes_back_byte_for_byte(host: Host, content: bytes) -> None:
    host.config.write_bytes(content)
    host.config.chmod(0o640)
    host.say()
    saved = host.state("registry_backup.saved", package="x", service="x", files=[str(host.config)])
    assert saved["result"] is True, saved["comment"]
    assert host.caller.cmd("registry_host.service_config", str(host.config), "/srv")["version"] == 0.1
    host.config.write_text("version: 0.1\nours: true\n")
    plan = host.state("registry_backup.files_restored", test=True)
    assert plan["result"] is None
    assert host.state("registry_backup.files_restored")["result"] is True
    assert (host.config.read_bytes(), host.config.stat().st_mode & 0o777) == (content, 0o640)
    assert host.state("registry_backup.files_restored")["changes"] == {}


@pytest.mark.parametrize(("ran", "planned"), [(False, {}), (True, {"now": "start"})])
def test_a_plan_does_not_stop_a_service_again_that_clean_stops_first(
    checkout: Path, ran: bool, planned: dict[str, str]
) -> None:
    path = checkout / "_states" / "registry_backup.py"
    spec = importlib.util.spec_from_file_location("loaded_registry_backup", path)
    assert spec
    assert spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.__opts__ = {"test": True}
    saved = {"package": "", "service": {"runs": ran, "enabled": True}, "files": {}}
    module.__salt__ = {
        "registry_backup.saved_state": lambda: saved,
        "registry_service.control": lambda name, action: True,
    }
    assert module.service_restored("x")["changes"] == {**planned, "backup": "removed"}
