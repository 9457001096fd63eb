"""Files by which engines trust a registry: what a site has put into them stays."""

from __future__ import annotations

import json

import pytest

from _registry_config_read import read_settings
from _registry_host_engines import (
    EngineFileError,
    add_to_daemon_json,
    add_to_sysconfig,
    daemon_settings,
    drop_from_daemon_json,
    drop_from_sysconfig,
    insecure_registries,
    may_have_written_daemon_json,
    may_have_written_sysconfig,
    names_insecure_registries,
    pulled_from,
    registries_conf,
    restored_daemon_json,
    restored_sysconfig,
    without_empty_list,
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


def test_daemon_json_keeps_an_empty_list_for_the_reload_and_then_goes_whole():
    # Docker forgets no registry at a reload for a list that is not there.
    forgotten = drop_from_daemon_json(add_to_daemon_json("", BOTH), BOTH)
    assert json.loads(forgotten) == {"insecure-registries": []}
    assert without_empty_list(forgotten) == ""
    assert json.loads(without_empty_list('{"debug": true, "insecure-registries": []}')) == {"debug": True}


@pytest.mark.parametrize("text", ["", '{"debug": true}', '{"insecure-registries":["site:1"]}'])
def test_daemon_json_that_does_not_name_us_is_not_touched_by_clean(text):
    assert drop_from_daemon_json(text, BOTH) == text
    assert without_empty_list(text) == text


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        (add_to_daemon_json("", BOTH), True),
        (add_to_daemon_json('{\n\t"debug": true\n}', BOTH), True),
        (f'{{\n  "insecure-registries": ["{LOCAL}"]\n}}\n', False),
        (json.dumps({"insecure-registries": [LOCAL]}), False),
        ('{\n  "debug": true\n}\n', False),
        ("", False),
    ],
)
def test_a_daemon_json_in_another_layout_is_none_that_a_former_version_has_written(text, ours):
    assert may_have_written_daemon_json(text) is ours


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        (add_to_sysconfig(SHIPPED, BOTH), True),
        (OURS, True),
        (f"INSECURE_REGISTRY='--insecure-registry {LOCAL}'\n", False),
        (f'INSECURE_REGISTRY="--insecure-registry  {LOCAL}"\n', False),
        (SHIPPED, False),
    ],
)
def test_a_sysconfig_in_another_layout_is_none_that_a_former_version_has_written(text, ours):
    assert may_have_written_sysconfig(text) is ours


def test_a_file_that_somebody_has_changed_since_keeps_the_change_and_loses_ours():
    before = "OPTIONS=''"
    now = add_to_sysconfig(before, BOTH)
    assert restored_sysconfig(now, BOTH, before) == before
    assert restored_sysconfig(now + "DEBUG=1\n", BOTH, before) == "OPTIONS=''\nDEBUG=1\n"
    before = '{"debug":true}'
    now = drop_from_daemon_json(add_to_daemon_json(before, BOTH), BOTH)
    assert restored_daemon_json(now, before) == before
    changed = json.dumps({**json.loads(now), "debug": False})
    assert json.loads(restored_daemon_json(changed, before)) == {"debug": False}


@pytest.mark.parametrize("named", ['"a:1"', "[1]", '{"a:1": 1}', "true"])
def test_registries_that_are_no_list_of_names_are_refused(named):
    text = f'{{"insecure-registries": {named}}}'
    with pytest.raises(EngineFileError, match=r"insecure-registries is no list of registries; mend it first"):
        add_to_daemon_json(text, BOTH)


FLAGGED = [
    "/usr/sbin/dockerd",
    "-H",
    "fd://",
    "--insecure-registry",
    LOCAL,
    f"--insecure-registry={UPSTREAM}",
]


def test_daemon_json_is_not_needed_where_the_command_line_names_us():
    assert add_to_daemon_json('{"debug": true}', BOTH, beside=FLAGGED) == '{"debug": true}'


def test_daemon_json_gets_no_list_beside_one_of_the_command_line_with_which_docker_would_not_start():
    with pytest.raises(
        EngineFileError, match=r"would refuse insecure-registries in .* beside it; give other:1"
    ):
        add_to_daemon_json("", ["other:1"], beside=FLAGGED)
    assert json.loads(add_to_daemon_json("", BOTH, beside=["/usr/sbin/dockerd", "-H", "fd://"])) == {
        "insecure-registries": BOTH
    }


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "{'a': 1}"])
def test_a_broken_daemon_json_is_refused_in_a_sentence(text):
    with pytest.raises(EngineFileError, match=r"/etc/docker/daemon\.json is no JSON.*; mend it first"):
        add_to_daemon_json(text, BOTH)


def test_the_key_alone_decides_where_docker_is_told():
    assert names_insecure_registries('{"insecure-registries": []}')
    assert not names_insecure_registries('{"debug": true}')
    assert not names_insecure_registries("")
    assert daemon_settings(" \n") == {}
    assert insecure_registries('{"insecure-registries": null}') == []


def test_podman_gets_version_two_of_its_format():
    assert registries_conf(["a:5000", "[fd00::1]:5000"]) == (
        '[[registry]]\nlocation = "a:5000"\ninsecure = true\n\n'
        '[[registry]]\nlocation = "[fd00::1]:5000"\ninsecure = true\n'
    )


def names_pulled_from(*, is_el7=False, is_undercloud=False, is_here=True, **pillar):
    upstream = {"host": "up.example.com", "port": 80, "tls": False}
    local = {"host": "mirror.example.com", "port": 5000}
    given = {"local": local, "upstream": upstream, "images": ["cron"], **pillar}
    settings = read_settings(given, host="here")
    endpoints = pulled_from(
        settings,
        is_el7=is_el7,
        is_undercloud=is_undercloud,
        is_here=lambda name: name == LOCAL[:-5] and is_here,
    )
    return [endpoint.name for endpoint in endpoints]


def test_engines_pull_from_the_mirror_alone():
    assert names_pulled_from() == [LOCAL]
    assert names_pulled_from(is_undercloud=True) == [LOCAL]


def test_on_enterprise_linux_7_both_are_named_as_by_the_role():
    assert names_pulled_from(is_el7=True) == BOTH


def test_an_undercloud_whose_command_line_uploads_pulls_from_upstream():
    uploads = {"undercloud": {"upload_with": "openstack"}}
    assert names_pulled_from(is_undercloud=True, **uploads) == BOTH
    assert names_pulled_from(is_undercloud=False, **uploads) == [LOCAL]


def test_the_host_of_a_registry_whose_image_comes_from_upstream_pulls_from_there():
    image = {"registry": {"image": f"{UPSTREAM}/library/registry:2"}}
    assert names_pulled_from(**image) == BOTH
    assert names_pulled_from(is_here=False, **image) == [LOCAL]
    assert names_pulled_from(registry={"image": f"{UPSTREAM}80/library/registry:2"}) == [LOCAL]
