"""What the registry's own files say."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
import yaml

from _registry_host_firewall import input_rule, replace_saved_rules
from _registry_host_service import (
    Site,
    config_lines_changed,
    is_pem,
    is_push_config,
    listen_addresses,
    merge,
    push_config,
    secret_in,
    service_config,
    storage_directory,
    storage_driver,
    storage_location,
)
from _registry_host_units import (
    UNIT_MARK,
    Container,
    Program,
    init_script,
    is_ours,
    program_unit,
    quadlet,
    unit,
)

RULE = "-p tcp -m tcp --dport 5000 -j ACCEPT"


def config(**site):
    return service_config(Site(**{"config": {}, "storage": "/srv", "port": 5000, "secret": "s", **site}))


def test_a_site_that_says_nothing_gets_deletes_a_secret_and_its_own_directory():
    assert config() == {
        "version": 0.1,
        "log": {"fields": {"service": "registry"}},
        "storage": {
            "cache": {"blobdescriptor": "inmemory"},
            "delete": {"enabled": True},
            "filesystem": {"rootdirectory": "/srv"},
        },
        "http": {"addr": ":5000", "secret": "s", "headers": {"X-Content-Type-Options": ["nosniff"]}},
        "validation": {"manifests": {"urls": {"allow": ["^https?://"]}}},
        "health": {"storagedriver": {"enabled": True, "interval": "10s", "threshold": 3}},
    }


@pytest.mark.parametrize("driver", ["s3", "swift", "azure", "gcs", "oss", "inmemory"])
def test_another_storage_driver_replaces_the_filesystem(driver):
    storage = config(config={"storage": {driver: {"bucket": "b"}}})["storage"]
    assert storage == {
        "cache": {"blobdescriptor": "inmemory"},
        "delete": {"enabled": True},
        driver: {"bucket": "b"},
    }


@pytest.mark.parametrize("option", ["cache", "delete", "maintenance", "redirect", "tag"])
def test_an_option_of_the_storage_is_no_driver(option):
    assert storage_driver({"storage": {option: {}}}) == "filesystem"
    assert "filesystem" in config(config={"storage": {option: {}}})["storage"]


def test_the_site_has_the_last_word():
    site = {
        "http": {"addr": "10.0.0.1:443", "secret": "shared"},
        "storage": {"cache": {"blobdescriptor": "redis"}},
    }
    made = config(config=site)
    assert made["http"]["addr"] == "10.0.0.1:443"
    assert made["http"]["secret"] == "shared"
    assert made["http"]["headers"] == {"X-Content-Type-Options": ["nosniff"]}
    assert made["storage"]["cache"] == {"blobdescriptor": "redis"}
    assert made["storage"]["filesystem"] == {"rootdirectory": "/srv"}


def test_tls_users_and_tokens_stand_where_the_server_looks():
    assert config(certificate="/c", key="/k")["http"]["tls"] == {"certificate": "/c", "key": "/k"}
    assert config(htpasswd="/h")["auth"] == {"htpasswd": {"realm": "registry", "path": "/h"}}
    assert config(token={"realm": "https://t"})["auth"] == {"token": {"realm": "https://t"}}
    assert "auth" not in config()
    assert "tls" not in config()["http"]


def test_merging_replaces_lists_and_leaves_its_arguments():
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert merge(base, {"a": {"c": [3]}, "d": {"e": 1}}) == {"a": {"b": 1, "c": [3]}, "d": {"e": 1}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 1}


LOOPBACKS = [("127.0.0.1", 5000), ("::1", 5000)]


@pytest.mark.parametrize(
    ("addr", "reached"),
    [
        (":5000", LOOPBACKS),
        ("0.0.0.0:5000", LOOPBACKS),
        ("[::]:5000", LOOPBACKS),
        ("10.0.0.1:443", [("10.0.0.1", 443)]),
        ("[fd00::1]:5000", [("fd00::1", 5000)]),
        ("mirror.example.com:80", [("mirror.example.com", 80)]),
    ],
)
def test_a_client_on_the_host_reaches_what_the_server_listens_on(addr, reached):
    assert listen_addresses({"http": {"addr": addr}}, 1) == reached


def test_without_an_address_it_is_the_port_of_the_pillar():
    assert listen_addresses({}, 8787) == [("127.0.0.1", 8787), ("::1", 8787)]
    assert listen_addresses({"http": {"secret": "s"}}, 5000) == LOOPBACKS


def test_the_directory_of_the_images_is_the_one_of_the_configuration_if_that_says():
    assert storage_directory({}, "/d") == "/d"
    assert storage_directory({"storage": {"filesystem": {"rootdirectory": "/x"}}}, "/d") == "/x"
    assert storage_directory({"storage": {"filesystem": None}}, "/d") == "/d"
    assert storage_directory({"storage": {"s3": {}}}, "/d") == ""


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("http: {secret: abc}", "abc"),
        ("http: {secret: 12}", ""),
        ("http: {addr: ':1'}", ""),
        ("http:", ""),
        ("- a list", ""),
        ("", ""),
        ("a: b: c", ""),
    ],
)
def test_the_secret_that_a_file_has_is_found(text, secret):
    assert secret_in(text) == secret


def test_changed_lines_do_not_count_layout():
    made = config()
    written = "# ours\n" + yaml.safe_dump(made, default_flow_style=True)
    assert config_lines_changed(written, made) == 0
    assert config_lines_changed(written, merge(made, {"http": {"addr": ":5001"}})) == 1
    assert config_lines_changed(written, merge(made, {"log": {"level": "warn"}})) == 1
    assert config_lines_changed("", {"a": 1, "b": 2}) == 2
    assert config_lines_changed("a: b: c\n", {"a": 1}) == 1


@pytest.mark.parametrize(
    ("storage", "location"),
    [
        ({"filesystem": {"rootdirectory": "/srv/images/"}, "delete": {"enabled": True}}, "/srv/images"),
        ({"s3": {"bucket": "images", "accesskey": "AKIA", "rootdirectory": "/site"}}, "s3 images /site"),
        ({"inmemory": None}, "inmemory"),
        (None, ""),
    ],
)
def test_where_images_lie_is_told_without_logins(storage, location):
    assert storage_location({"storage": storage} if storage else {}) == location


def test_pem_is_told_from_a_path():
    assert is_pem("-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n")
    assert not is_pem("/etc/pki/tls/certs/mirror.pem")
    assert not is_pem("")


CONTAINER = Container(
    name="registry",
    image="docker.io/library/registry:2",
    config="/etc/registry/config.yml",
    storage="/srv/100% images",
    files=("/etc/pki/mirror.pem", "/etc/registry/tls-key.pem"),
)


def test_a_quadlet_mounts_what_the_server_reads_where_it_stands():
    assert quadlet(CONTAINER) == UNIT_MARK + (
        "[Unit]\n"
        "Description=Registry of container images\n"
        "Wants=network-online.target\n"
        "After=network-online.target\n"
        "\n"
        "[Container]\n"
        "Image=docker.io/library/registry:2\n"
        "ContainerName=registry\n"
        "Network=host\n"
        "Volume=/etc/registry:/etc/registry:ro,z\n"
        "Volume=/etc/pki/mirror.pem:/etc/pki/mirror.pem:ro,z\n"
        "Volume=/srv/100%% images:/srv/100%% images\n"
        "Exec=serve /etc/registry/config.yml\n"
        "\n"
        "[Service]\n"
        "Restart=always\n"
        "RestartSec=5\n"
        "SuccessExitStatus=2 143\n"
        "TimeoutStartSec=900\n"
        "\n"
        "[Install]\n"
        "WantedBy=multi-user.target\n"
    )


def test_a_unit_for_an_old_podman_says_the_same():
    service = unit(CONTAINER).partition("[Service]\n")[2].partition("\n\n")[0]
    assert service.splitlines() == [
        "ExecStartPre=-/usr/bin/podman rm --force registry",
        "ExecStart=/usr/bin/podman run --rm --name registry --network host --log-driver none"
        " --volume /etc/registry:/etc/registry:ro,z"
        " --volume /etc/pki/mirror.pem:/etc/pki/mirror.pem:ro,z"
        " --volume '/srv/100%% images:/srv/100%% images'"
        " docker.io/library/registry:2 serve /etc/registry/config.yml",
        "ExecStop=/usr/bin/podman stop --time 10 registry",
        "ExecStopPost=-/usr/bin/podman rm --force registry",
        "Restart=always",
        "RestartSec=5",
        "SuccessExitStatus=2 143",
    ]


def test_a_container_with_a_socket_gets_a_directory_that_root_alone_may_enter():
    runtime = ["RuntimeDirectory=docker_registry", "RuntimeDirectoryMode=0700"]
    behind_socket = replace(CONTAINER, socket_directory="/run/docker_registry")
    assert behind_socket.volumes == [*CONTAINER.volumes, "/run/docker_registry:/run/docker_registry:z"]
    for text in (quadlet(behind_socket), unit(behind_socket)):
        assert text.partition("[Service]\n")[2].splitlines()[:2] == runtime
    for text in (quadlet(CONTAINER), unit(CONTAINER)):
        assert "RuntimeDirectory" not in text


PROGRAM = Program(
    name="registry-push",
    path="/usr/bin/registry",
    config="/etc/of site/push.yml",
    user="registry",
    group="registry",
    socket_directory="/run/docker_registry",
)


def test_a_program_runs_as_its_user_who_alone_may_enter_the_directory_of_its_socket():
    assert program_unit(PROGRAM).partition("[Service]\n")[2].splitlines()[:7] == [
        "User=registry",
        "Group=registry",
        "RuntimeDirectory=docker_registry",
        "RuntimeDirectoryMode=0700",
        "ExecStart=/usr/bin/registry serve '/etc/of site/push.yml'",
        "Restart=always",
        "RestartSec=5",
    ]


def test_an_init_script_is_one_for_a_shell_and_says_no_less():
    script = init_script(PROGRAM)
    assert subprocess.run(["sh", "-n"], input=script, text=True, check=False).returncode == 0
    assert "# Provides:          registry-push\n" in script
    assert 'install -d -m 0700 -o registry -g registry "$directory"' in script
    assert "--chuid registry:registry --exec \"$program\" -- serve '/etc/of site/push.yml' >>" in script


def test_what_this_formula_wrote_is_known_by_its_mark_and_nothing_else_is():
    ours = (quadlet(CONTAINER), unit(CONTAINER), program_unit(PROGRAM), init_script(PROGRAM))
    assert [is_ours(text) for text in ours] == [True] * 4
    assert not is_ours("")
    assert not is_ours(f"[Service]\nExecStart=/bin/true\n{UNIT_MARK}")
    site = Site(config={}, storage="/srv", port=5000, secret="s")
    assert is_push_config(push_config(site))
    for other in (service_config(site), {}, {"http": None}, {"http": {"addr": "/run/site.sock"}}):
        assert not is_push_config(other)


def test_images_in_a_bucket_need_no_mount():
    bare = Container(name="r", image="i", config="/c/config.yml")
    assert bare.volumes == ["/c:/c:ro,z"]


SAVED = """\
*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -j DOCKER
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
-A INPUT -m state --state ESTABLISHED -j ACCEPT
-A INPUT -j REJECT --reject-with icmp-host-prohibited
COMMIT
"""


def test_a_saved_rule_stands_before_the_one_that_rejects_and_once():
    once = replace_saved_rules(SAVED, [], [RULE])
    lines = once.splitlines()
    assert (
        lines.index(f"-A INPUT {RULE}") == lines.index("-A INPUT -m state --state ESTABLISHED -j ACCEPT") - 1
    )
    assert replace_saved_rules(once, [RULE], [RULE]) == once
    assert replace_saved_rules(once, [RULE], []) == SAVED
    assert replace_saved_rules(SAVED, [RULE], []) == SAVED


def test_a_saved_rule_finds_its_place_in_a_table_without_rules():
    empty = "*filter\n:INPUT DROP [0:0]\nCOMMIT\n"
    assert replace_saved_rules(empty, [], [RULE]) == f"*filter\n:INPUT DROP [0:0]\n-A INPUT {RULE}\nCOMMIT\n"


@pytest.mark.parametrize("text", ["", "*nat\nCOMMIT\n"])
def test_a_file_that_filters_nothing_gets_a_table_that_goes_with_our_rules(text):
    once = replace_saved_rules(text, [], [RULE])
    assert once == f"{text}*filter\n-A INPUT {RULE}\nCOMMIT\n"
    moved = replace_saved_rules(once, [RULE], ["-j ACCEPT", RULE])
    assert moved == f"{text}*filter\n-A INPUT -j ACCEPT\n-A INPUT {RULE}\nCOMMIT\n"
    assert replace_saved_rules(moved, ["-j ACCEPT", RULE], []) == text
    assert replace_saved_rules(text, [], []) == text


def test_a_table_stands_on_lines_of_its_own():
    assert replace_saved_rules("*nat\nCOMMIT", [], [RULE]).startswith("*nat\nCOMMIT\n*filter\n")


def test_rules_are_found_behind_their_counters():
    counted = SAVED.replace("-A ", "[3:180] -A ")
    once = replace_saved_rules(counted, [], [RULE])
    lines = once.splitlines()
    assert lines.index(f"-A INPUT {RULE}") == lines.index(":FORWARD ACCEPT [0:0]") + 1
    saved_again = once.replace(f"-A INPUT {RULE}", f"[7:420] -A INPUT {RULE}")
    assert next(rule for rule in map(input_rule, saved_again.splitlines()) if rule) == RULE
    assert replace_saved_rules(saved_again, [RULE], []) == counted
