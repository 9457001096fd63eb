"""What the pillar may say of the registry that this host runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from _registry_config_read import read_settings
from _registry_config_service import LOOKUP
from _registry_config_values import Settings
from _registry_host_service import (
    Site,
    has_push_instance,
    listen_addresses,
    push_config,
    service_config,
    storage_directory,
    storage_location,
)
from support.mistakes import mistake_in

ROOT = Path(__file__).parents[2]


def read(pillar: Any) -> Settings:
    return read_settings(pillar, host="mirror.example.com")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"http": None}, "http: is empty; give a mapping"),
        ({"http": {"addr": 5000}}, "http:addr: 5000 is a number; give a port by its number,"),
        ({"http": {"addr": None}}, "http:addr: is empty; give a port by its number,"),
        ({"http": {"addr": "localhost"}}, "http:addr: 'localhost' is a string; give a port"),
        ({"http": {"addr": ":http"}}, "http:addr: ':http' is a string; give a port by its number,"),
        ({"http": {"addr": ":70000"}}, "http:addr: ':70000' is a string; give a port by its number,"),
        ({"http": {"addr": ":0"}}, "http:addr: ':0' is a string; give a port by its number,"),
        ({"storage": None}, "storage: is empty; give a mapping"),
        ({"storage": "filesystem"}, "storage: "),
        ({"storage": ["filesystem"]}, "storage: is a list; give a mapping"),
        ({"storage": {"filesystem": "/srv"}}, "storage:filesystem: "),
        ({"storage": {"s3": "bucket"}}, "storage:s3: "),
        ({"storage": {"filesystem": {"rootdirectory": None}}}, "storage:filesystem:rootdirectory: is empty"),
        ({"storage": {"filesystem": {"rootdirectory": "a"}}}, "storage:filesystem:rootdirectory: 'a' is no"),
    ],
)
def test_a_configuration_that_tells_no_address_or_storage_is_refused(
    config: dict[str, Any], said: str
) -> None:
    assert mistake_in({"registry": {"config": config}}).startswith(f"docker_registry:registry:config:{said}")


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"http": {}},
        {"http": {"addr": "10.0.0.1:443"}},
        {"http": {"addr": "[fd00::1]:5000"}},
        {"http": {"addr": "localhost:5000", "headers": None}},
        {"storage": {}},
        {"storage": {"filesystem": None}},
        {"storage": {"cache": None, "delete": None, "maintenance": None}},
        {"storage": {"inmemory": None}},
        {"auth": None, "health": None, "log": None},
    ],
)
def test_a_configuration_that_is_accepted_can_be_written_and_asked(config: dict[str, Any]) -> None:
    service = read({"registry": {"config": config}}).service
    site = Site(config=service.config, storage="/srv", port=5000, secret="s")
    assert service_config(site)["storage"]
    assert push_config(site)["http"]["net"] == "unix"
    assert listen_addresses(service.config, 5000)
    assert has_push_instance(service) is ("inmemory" not in config.get("storage", {}))


def test_what_is_empty_leaves_what_stands_there() -> None:
    config = read({"registry": {"config": {"storage": {"filesystem": None}, "auth": None}}}).service.config
    written = service_config(
        Site(config=config, storage="/srv/images", port=5000, secret="s", htpasswd="/users")
    )
    assert written["storage"]["filesystem"] == {"rootdirectory": "/srv/images"}
    assert written["auth"]["htpasswd"]["path"] == "/users"
    assert storage_directory(config, "/srv/images") == "/srv/images"


@pytest.mark.parametrize("filesystem", ["/srv", None, {"rootdirectory": None}])
def test_a_file_of_somebody_elses_may_name_no_directory(filesystem: Any) -> None:
    assert storage_location({"storage": {"filesystem": filesystem}}) == ""


@pytest.mark.parametrize(
    ("lookup", "said"),
    [
        (None, ": is empty; give a mapping of package, service, config,"),
        ("x", ": is a string; give a mapping of package, service, config,"),
        ({"packge": "x"}, ":packge: unknown key; did you mean package?"),
        ({"package": ["x"]}, ":package: is a list; give a string"),
        ({"service": None}, ":service: is empty"),
        ({"config": None}, ":config: is empty"),
        ({"config": "config.yml"}, ":config: 'config.yml' is no absolute path"),
        ({"storage": "images"}, ":storage: 'images' is no absolute path"),
        ({"program": "registry"}, ":program: 'registry' is no absolute path"),
        ({"nginx_program": "nginx"}, ":nginx_program: 'nginx' is no absolute path"),
        ({"init_script": "registry"}, ":init_script: 'registry' is no absolute path"),
        ({"authority": "pki"}, ":authority: 'pki' is no absolute path"),
    ],
)
def test_a_name_of_this_system_that_is_none_is_refused(lookup: Any, said: str) -> None:
    assert mistake_in({"lookup": lookup}).startswith(f"docker_registry:lookup{said}")


def test_every_name_of_the_formula_may_be_another_here() -> None:
    names = yaml.safe_load((ROOT / "docker_registry" / "names.yaml").read_text(encoding="utf-8"))["default"]
    assert read({"lookup": {**names, "authority": "/srv/pki"}}).given
    assert set(names) | {"authority"} == set(LOOKUP)


GIVEN = {"certificate": "/c", "key": "/k", "ca": "/a"}


def test_a_certificate_of_the_sites_has_the_sync_speak_tls() -> None:
    assert read({"registry": {"tls": GIVEN}}).local.url == "https://mirror.example.com:5000"
    assert read({"registry": {"tls": {"ca": "/a"}}}).local.url == "http://mirror.example.com:5000"
    elsewhere = {"registry": {"tls": GIVEN, "install": "none"}}
    assert read(elsewhere).local.url == "http://mirror.example.com:5000"


def test_a_certificate_and_plain_http_contradict_each_other() -> None:
    said = mistake_in({"registry": {"tls": GIVEN}, "local": {"tls": False}})
    assert said == "docker_registry:local:tls: is false, but docker_registry:registry:tls has a certificate"
    assert read({"registry": {"tls": GIVEN, "install": "none"}, "local": {"tls": False}}).local.tls is False
