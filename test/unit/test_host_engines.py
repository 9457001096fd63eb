"""Files by which engines trust a registry: what a site has put into them stays."""

from __future__ import annotations

import json

import pytest

from _registry_host_engines import (
    EngineFileError,
    add_to_daemon_json,
    add_to_sysconfig,
    daemon_settings,
    drop_from_daemon_json,
    drop_from_sysconfig,
    names_insecure_registries,
    registries_conf,
)

LOCAL, UPSTREAM = "mirror.example.com:5000", "up.example.com:80"
BOTH = [LOCAL, UPSTREAM]
# As the package of Enterprise Linux 7 has it.
SHIPPED = """\
# /etc/sysconfig/docker

# Modify these options if you want to change the way the docker daemon runs
OPTIONS='--selinux-enabled --log-driver=journald --signature-verification=false'
if [ -z "${DOCKER_CERT_PATH}" ]; then
    DOCKER_CERT_PATH=/etc/docker
fi

# If you have a registry secured with https but do not have proper certs
# distributed, you can tell docker to not look for full authorization by
# adding the registry to the INSECURE_REGISTRY line and uncommenting it.
# INSECURE_REGISTRY='--insecure-registry'

# On an SELinux system, if you remove the --selinux-enabled option, you
# also need to turn on the docker_transition_unconfined boolean.
"""
OURS = f'INSECURE_REGISTRY="--insecure-registry {LOCAL} --insecure-registry {UPSTREAM}"\n'


def test_in_the_file_as_shipped_the_setting_stands_behind_its_template():
    template = "# INSECURE_REGISTRY='--insecure-registry'\n"
    assert add_to_sysconfig(SHIPPED, BOTH) == SHIPPED.replace(template, template + OURS)


def test_an_empty_file_gets_one_line():
    assert add_to_sysconfig("", BOTH) == OURS


def test_a_file_without_an_end_of_line_gets_one():
    assert add_to_sysconfig("OPTIONS=''", BOTH) == "OPTIONS=''\n" + OURS


@pytest.mark.parametrize(
    "text",
    [
        OURS,
        f"INSECURE_REGISTRY='--insecure-registry {UPSTREAM} --insecure-registry {LOCAL}'",
        f"INSECURE_REGISTRY=--insecure-registry={UPSTREAM} --insecure-registry={LOCAL}\n",
        f"INSECURE_REGISTRY='--insecure-registry other:1 --insecure-registry {UPSTREAM}"
        f" --insecure-registry {LOCAL}'\n# the end",
        f"OPTIONS='--insecure-registry {UPSTREAM} --insecure-registry {LOCAL}'\n",
        f"OPTIONS='--insecure-registry {UPSTREAM}'\nINSECURE_REGISTRY='--insecure-registry {LOCAL}'\n",
        f'  INSECURE_REGISTRY="--insecure-registry {UPSTREAM} \\\n  --insecure-registry {LOCAL}"\n',
    ],
)
def test_a_file_that_names_both_stays_byte_for_byte(text):
    assert add_to_sysconfig(text, BOTH) == text


@pytest.mark.parametrize(
    ("setting", "kept"),
    [
        ("'--insecure-registry site:1'", "--insecure-registry site:1"),
        ('"--insecure-registry site:1"', "--insecure-registry site:1"),
        ("--insecure-registry site:1", "--insecure-registry site:1"),
        (
            "'--insecure-registry site:1 --insecure-registry other:2'",
            "--insecure-registry site:1 --insecure-registry other:2",
        ),
        ("'--insecure-registry=site:1'", "--insecure-registry=site:1"),
        ("'--insecure-registry 10.0.0.0/8'", "--insecure-registry 10.0.0.0/8"),
        ('"--insecure-registry site:1 \\\n  --debug"', "--insecure-registry site:1 --debug"),
        (f"'--insecure-registry {UPSTREAM}'", f"--insecure-registry {UPSTREAM}"),
        ("'--insecure-registry site:1", "--insecure-registry site:1"),
    ],
    ids=[
        "single",
        "double",
        "bare",
        "several",
        "equals",
        "network",
        "continued",
        "one-of-both",
        "unbalanced",
    ],
)
def test_registries_of_the_site_stay_in_front(setting, kept):
    wanted = BOTH if UPSTREAM not in kept else [UPSTREAM, LOCAL]
    ours = [f"--insecure-registry {registry}" for registry in wanted if registry not in kept]
    text = f"A=1\nINSECURE_REGISTRY={setting}\nB=2\n"
    assert add_to_sysconfig(text, wanted) == f'A=1\nINSECURE_REGISTRY="{" ".join([kept, *ours])}"\nB=2\n'


@pytest.mark.parametrize(
    "gap",
    [
        "''",
        '""',
        "'--insecure-registry'",
        "--insecure-registry",
        "'--insecure-registry \"\"'",
        "'--insecure-registry='",
        "'--insecure-registry --insecure-registry'",
    ],
)
def test_an_entry_that_names_nothing_goes_as_docker_does_not_start_with_it(gap):
    assert add_to_sysconfig(f"INSECURE_REGISTRY={gap}\n", BOTH) == OURS


def test_a_commented_line_is_no_setting():
    commented = f"#INSECURE_REGISTRY='--insecure-registry {LOCAL} --insecure-registry {UPSTREAM}'\n"
    assert add_to_sysconfig(commented, BOTH) == commented + OURS


def test_a_commented_line_that_seems_to_go_on_does_not():
    text = "# a path \\\nINSECURE_REGISTRY='--insecure-registry site:1'\n"
    assert add_to_sysconfig(text, [LOCAL]) == (
        f'# a path \\\nINSECURE_REGISTRY="--insecure-registry site:1 --insecure-registry {LOCAL}"\n'
    )


def test_of_two_assignments_the_last_one_wins():
    first = f"INSECURE_REGISTRY='--insecure-registry {LOCAL} --insecure-registry {UPSTREAM}'\n"
    second = "INSECURE_REGISTRY='--insecure-registry site:1'\n"
    assert add_to_sysconfig(first + second, [LOCAL]) == (
        first + f'INSECURE_REGISTRY="--insecure-registry site:1 --insecure-registry {LOCAL}"\n'
    )
    assert add_to_sysconfig(second + first, BOTH) == second + first


def test_a_registry_whose_name_begins_like_ours_is_another():
    text = f"INSECURE_REGISTRY='--insecure-registry {LOCAL}1'\n"
    assert add_to_sysconfig(text, [LOCAL]) == (
        f'INSECURE_REGISTRY="--insecure-registry {LOCAL}1 --insecure-registry {LOCAL}"\n'
    )


@pytest.mark.parametrize(
    "text",
    [SHIPPED, "", "OPTIONS=''\n", 'INSECURE_REGISTRY="--insecure-registry site:1"\n'],
    ids=["shipped", "empty", "other", "site"],
)
def test_what_is_added_twice_is_there_once_and_goes_without_a_trace(text):
    once = add_to_sysconfig(text, BOTH)
    assert add_to_sysconfig(once, BOTH) == once
    assert drop_from_sysconfig(once, BOTH) == text


def test_dropping_leaves_a_file_alone_that_does_not_name_us():
    text = "INSECURE_REGISTRY='--insecure-registry site:1'\nOPTIONS='--insecure-registry " + LOCAL + "'"
    assert drop_from_sysconfig(text, BOTH) == text


def test_dropping_the_last_of_two_assignments_does_not_wake_the_first():
    text = f"INSECURE_REGISTRY='--insecure-registry old:1'\n{OURS}"
    assert (
        drop_from_sysconfig(text, BOTH)
        == "INSECURE_REGISTRY='--insecure-registry old:1'\nINSECURE_REGISTRY=\"\"\n"
    )


def test_daemon_json_is_made_where_there_is_none():
    assert json.loads(add_to_daemon_json("", BOTH)) == {"insecure-registries": BOTH}


def test_daemon_json_keeps_what_it_has_its_order_and_its_indentation():
    text = '{\n    "log-driver": "journald",\n    "insecure-registries": ["site:1"],\n    "debug": true\n}\n'
    made = add_to_daemon_json(text, [LOCAL])
    assert made == (
        '{\n    "log-driver": "journald",\n    "insecure-registries": [\n        "site:1",\n'
        f'        "{LOCAL}"\n    ],\n    "debug": true\n}}\n'
    )
    assert json.loads(drop_from_daemon_json(made, [LOCAL])) == json.loads(text)


@pytest.mark.parametrize(
    "text", [f'{{"insecure-registries":["x","{LOCAL}"]}}', f'{{"insecure-registries":["{LOCAL}"]}}\n\n']
)
def test_daemon_json_that_names_us_stays_byte_for_byte(text):
    assert add_to_daemon_json(text, [LOCAL]) == text


def test_daemon_json_of_ours_alone_goes_whole():
    assert drop_from_daemon_json(add_to_daemon_json("", BOTH), BOTH) == ""
    assert drop_from_daemon_json("", BOTH) == ""
    assert drop_from_daemon_json('{"debug": true}', BOTH) == '{"debug": true}'


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "{'a': 1}"])
def test_a_broken_daemon_json_is_refused_in_a_sentence(text):
    with pytest.raises(EngineFileError, match=r"/etc/docker/daemon\.json is no JSON.*; mend it first"):
        add_to_daemon_json(text, BOTH)


def test_the_key_alone_decides_where_docker_is_told():
    assert names_insecure_registries('{"insecure-registries": []}')
    assert not names_insecure_registries('{"debug": true}')
    assert not names_insecure_registries("")
    assert daemon_settings(" \n") == {}


def test_podman_gets_version_two_of_its_format():
    assert registries_conf(["a:5000", "[fd00::1]:5000"]) == (
        '[[registry]]\nlocation = "a:5000"\ninsecure = true\n\n'
        '[[registry]]\nlocation = "[fd00::1]:5000"\ninsecure = true\n'
    )
