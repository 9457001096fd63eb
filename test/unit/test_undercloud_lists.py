"""What an undercloud is, what its files say and which words its command line gets."""

from __future__ import annotations

import pytest
import yaml

from _registry_config_read import SettingsError, read_settings, read_undercloud
from _registry_config_values import Undercloud
from _registry_tripleo_files import (
    ListError,
    Name,
    changes,
    complaint,
    listing_of,
    named_elsewhere,
    parameter_text,
    parse_name,
    prepare_words,
    profile_of,
    recognised,
    recognition,
    sourced,
    tag_of,
    wanted_images,
)

FILE = "/home/stack/list.yaml"
PILLAR = {
    "upstream": {"host": "site.example.com", "port": 5000, "tls": False, "username": "u", "password": "p"},
    "local": {"host": "192.168.24.1"},
}


def settings(listing=None, **pillar):
    return read_settings({**PILLAR, **pillar}, host="h", undercloud=True, listing=listing)


def listed(*entries, alone=True, **pillar):
    text = yaml.safe_dump({"container_images": list(entries)})
    listing = listing_of(text, FILE, settings(**pillar), alone=alone)
    return settings(listing, **pillar).images


def image(name, **others):
    return {"imagename": name, **others}


# Recognition


def test_the_default_profile_is_the_one_of_a_queens_director():
    assert profile_of(Undercloud()) == [
        ("directories", "/home/stack"),
        ("files", "/home/stack/stackrc"),
        ("files", "/home/stack/undercloud.conf"),
        ("packages", "instack-undercloud"),
        ("packages", "python2-openstackclient"),
        ("services", "openstack-*"),
    ]


@pytest.mark.parametrize("choice", [True, False])
def test_a_choice_of_the_pillar_is_stronger_than_the_profile(choice):
    for pillar in ({"undercloud": choice}, {"undercloud": {"recognise": choice}}):
        undercloud = read_undercloud(pillar)
        assert recognised(undercloud, []) is choice
        assert recognised(undercloud, [("files", "/x")]) is choice
        assert str(choice).lower() in recognition(undercloud, [], [])


def test_auto_wants_the_whole_profile_and_says_what_is_missing():
    undercloud = read_undercloud({"undercloud": "auto"})
    assert recognised(undercloud, [])
    assert not recognised(undercloud, [("packages", "instack-undercloud")])
    assert recognition(
        undercloud, [("directories", "/home/stack")], [("packages", "instack-undercloud")]
    ) == ("This is no undercloud: missing package instack-undercloud; found directory /home/stack")


def test_a_profile_that_asks_for_nothing_recognises_nothing():
    profile = {"packages": [], "services": [], "files": [], "directories": []}
    assert not recognised(read_undercloud({"undercloud": {"profile": profile}}), [])


@pytest.mark.parametrize(
    ("undercloud", "sentence"),
    [
        ("yes", "docker_registry:undercloud: 'yes' is a string; give one of auto, true, false"),
        ({"recognize": "auto"}, "docker_registry:undercloud:recognize: unknown key; did you mean recognise?"),
        (
            {"profile": {"files": ["x"]}},
            "docker_registry:undercloud:profile:files:0: 'x' is no absolute path",
        ),
        (
            {"upload_with": "skopeo"},
            "docker_registry:undercloud:upload_with: 'skopeo' is a string; give one of",
        ),
        ({"stackrc": "stackrc"}, "docker_registry:undercloud:stackrc: 'stackrc' is no absolute path"),
        ({"env_file": "../x"}, "docker_registry:undercloud:env_file: '../x' is no file name"),
        ({"tag": "13.*"}, "docker_registry:undercloud:tag: '13.*' is no tag"),
        ({"set": {"a b": "c"}}, "docker_registry:undercloud:set: 'a b' is no name of a variable"),
        (
            {"environment_files": "x"},
            "docker_registry:undercloud:environment_files: 'x' is a string; give a list",
        ),
    ],
)
def test_a_mistake_is_one_sentence(undercloud, sentence):
    with pytest.raises(SettingsError) as mistake:
        read_settings({"undercloud": undercloud}, host="h")
    assert str(mistake.value).startswith(sentence)


# Names


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("r.example.com:5000/rhosp13/x-cron:13.0", Name("r.example.com:5000", "rhosp13/x-cron", "13.0")),
        ("[fd00::1]:8787/a/b:1", Name("[fd00::1]:8787", "a/b", "1")),
        ("localhost/a:1", Name("localhost", "a", "1")),
        ("ceph/daemon:v3", Name("docker.io", "ceph/daemon", "v3")),
        ("docker.io/busybox", Name("docker.io", "library/busybox", "latest")),
        ("r.example.com/a@sha256:" + "0" * 64, Name("r.example.com", "a", "sha256:" + "0" * 64)),
        ("r.example.com/a:1@sha256:" + "0" * 64, Name("r.example.com", "a", "sha256:" + "0" * 64)),
        ("r.example.com/A:1", None),
        ("r.example.com/a:", Name("r.example.com", "a", "latest")),
        ("r.example.com/", None),
        ("", None),
    ],
)
def test_a_name_is_taken_apart_as_docker_does(text, name):
    assert parse_name(text) == name


# The list


def test_an_image_of_the_pillars_upstream_is_reached_as_the_pillar_says():
    (found,) = listed(image("site.example.com:5000/rhosp13/openstack-cron:13.0", push_destination="x:1"))
    assert found.source == settings().upstream
    assert (found.repository, found.target) == ("rhosp13/openstack-cron",) * 2
    assert found.tags.include == ("13.0",)


def test_a_name_of_one_part_is_whole_in_a_list_although_it_is_not_in_the_pillar():
    (found,) = listed(image("site.example.com:5000/acme-osp13_containers-aodh-api:13.0"))
    assert (found.repository, found.target) == ("acme-osp13_containers-aodh-api",) * 2
    with pytest.raises(SettingsError, match="would mirror itself"):
        listed(image("site.example.com:5000/app:1"), local={"host": "site.example.com", "port": 5000})


def test_another_registry_is_reached_by_https_and_gets_no_password():
    (found,) = listed(image("docker.io/ceph/daemon:v3"))
    assert (found.source.url, found.source.verify) == ("https://registry-1.docker.io:443", True)
    assert found.source.username == found.source.password == ""


def test_another_registry_that_an_image_of_the_pillar_names_is_reached_as_it_says():
    own = {"name": "a/b", "upstream": {"host": "other.example.com", "port": 5001, "username": "me"}}
    found = listed(image("other.example.com:5001/c/d:1"), images=[own])
    assert found[0].source.url == "http://other.example.com:5001"
    assert found[0].source.username == "me"


def test_the_path_of_a_destination_and_the_source_of_a_pull_are_obeyed():
    (found,) = listed(image("a/b:1", pull_source="site.example.com:5000", push_destination="x:1/below"))
    assert (found.repository, found.target) == ("a/b", "below/a/b")
    assert found.source == settings().upstream


def test_an_image_that_is_listed_twice_is_mirrored_once():
    twice = [image("site.example.com:5000/a/b:1", push_destination="x:1")] * 2
    assert len(listed(*twice, image("site.example.com:5000/a/b:2"))) == 2


def test_a_prepared_list_adds_to_the_pillars_own_which_wins():
    own = [{"name": "a/b", "tags": ["1", "2"]}, {"name": "c/d", "tags": ["*"]}]
    found = listed(
        image("site.example.com:5000/a/b:1"),
        image("site.example.com:5000/a/b:3"),
        image("site.example.com:5000/c/d:1"),
        alone=False,
        images=own,
    )
    assert [(each.target, each.tags.include) for each in found] == [
        ("a/b", ("1", "2")),
        ("c/d", ("*",)),
        ("a/b", ("3",)),
    ]


def test_two_images_that_land_on_one_target_are_told_by_the_file():
    with pytest.raises(SettingsError, match=rf"^{FILE}:container_images:1: lands on a/b, as {FILE}"):
        listed(image("site.example.com:5000/a/b:1"), image("other.example.com/a/b:1"))


@pytest.mark.parametrize("text", ["", "[]", "a: [", "\t", "x", "container_images:", "container_images: {}"])
def test_what_is_no_list_is_one_sentence_about_the_file(text):
    with pytest.raises(ListError, match=rf"^{FILE}: (is no|has no)"):
        listing_of(text, FILE, settings(), alone=True)


# The environment

ENVIRONMENT = """
parameter_defaults:
  ContainerHeatApiImage: 192.168.24.1:8787/a/heat:1
  DockerCronImage: 192.168.24.1:8787/a/cron:1
  DockerCronConfigImage: 192.168.24.1:8787/a/cron:1
  DockerInsecureRegistryAddress: [192.168.24.1:8787]
  DockerNamespace: x
  NtpServer: y
"""


def test_an_environment_names_each_image_once_and_nothing_else():
    found = wanted_images(ENVIRONMENT, FILE)
    assert [each.parameter for each in found] == ["ContainerHeatApiImage", "DockerCronConfigImage"]
    assert all(named_elsewhere(each, settings().local) == "" for each in found)
    assert named_elsewhere(found[0], settings().upstream) == (
        "ContainerHeatApiImage pulls it from 192.168.24.1:8787, not from site.example.com:5000"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("container_images: []", "has no parameter_defaults"),
        ("parameter_defaults: {NtpServer: x}", "names no image"),
        ("parameter_defaults: {DockerCronImage: 5}", "parameter_defaults:DockerCronImage: 5 is no name"),
    ],
)
def test_what_is_no_environment_is_one_sentence_about_the_file(text, sentence):
    with pytest.raises(ListError) as mistake:
        wanted_images(text, FILE)
    assert str(mistake.value).startswith(FILE)
    assert sentence in str(mistake.value)


@pytest.mark.parametrize(
    "text", ["created: 2024-13-45", "a: !!bool 2", "a: !!timestamp x", "a: !!int x", "[\n" * 1000]
)
def test_what_yaml_cannot_make_values_of_is_one_sentence_about_the_file(text):
    for read in (wanted_images, lambda text, file: listing_of(text, file, settings(), alone=True)):
        with pytest.raises(ListError, match=f"^{FILE}: is no YAML"):
            read(text, FILE)
    assert changes(text, text) == {}


def test_a_new_date_is_no_change():
    assert changes(f"# at noon\n{ENVIRONMENT}", f"# at one\n{ENVIRONMENT}") == {}
    assert changes("", "container_images: [{imagename: a, push_destination: b}]") == {
        "added": ["a → b"],
        "removed": [],
    }


# The command line


def test_values_are_joined_to_their_options_and_paths_are_the_users():
    undercloud = {
        "environment_files": ["-e.yaml", "/usr/share/x.yaml"],
        "roles_file": "roles.yaml",
        "set": {"ceph_namespace": "site.example.com:5000/ceph"},
        "exclude": ["$(reboot)"],
    }
    assert prepare_words(settings(undercloud=undercloud)) == [
        *("overcloud", "container", "image", "prepare"),
        "--namespace=site.example.com:5000/rhosp13",
        "--push-destination=192.168.24.1:8787",
        "--prefix=openstack-",
        "--tag=13.0",
        "--set=ceph_namespace=site.example.com:5000/ceph",
        "--exclude=$(reboot)",
        "--environment-file=/home/stack/-e.yaml",
        "--environment-file=/usr/share/x.yaml",
        "--roles-file=/home/stack/roles.yaml",
        "--output-env-file=overcloud-container-images.yaml",
        "--output-images-file=upstream-container-images.yaml",
    ]


def test_the_shells_text_is_the_same_whatever_the_pillar_says():
    one = sourced(Undercloud(), ["a"])
    other = sourced(Undercloud(stackrc="/x; reboot", command="$(reboot)"), ["`reboot`"])
    assert one[:3] == other[:3]
    assert other[3:] == ["/x; reboot", "$(reboot)", "`reboot`"]


@pytest.mark.parametrize(
    ("tags", "own", "tag"),
    [(["13.0", "latest"], "", "13.0"), (["*", "13.0"], "", "13.0"), (["*"], "", ""), (["*"], "13.1", "13.1")],
)
def test_the_command_line_is_asked_for_one_tag(tags, own, tag):
    assert tag_of(settings(image_defaults={"tags": tags}, undercloud={"tag": own})) == tag


def test_newer_directors_prepare_from_a_parameter():
    chosen = settings(undercloud={"exclude": ["ceph"], "set": {"name_suffix": "-x"}})
    (entry,) = yaml.safe_load(parameter_text(chosen, "r:1"))["parameter_defaults"]["ContainerImagePrepare"]
    assert entry == {
        "push_destination": "r:1",
        "excludes": ["ceph"],
        "set": {
            "namespace": "site.example.com:5000/rhosp13",
            "name_prefix": "openstack-",
            "name_suffix": "-x",
            "tag": "13.0",
        },
    }
    assert "push_destination" not in parameter_text(chosen, "")


def test_a_complaint_leaves_pythons_own_warnings_out():
    stderr = (
        "/x/utils.py:854: DeprecationWarning: 'crypt' is deprecated\n"
        "  from crypt import crypt\n"
        "[Errno 2] No such file or directory: '/nowhere'\n"
    )
    assert complaint(stderr) == "[Errno 2] No such file or directory: '/nowhere'"
    assert complaint("") == "it said nothing"
