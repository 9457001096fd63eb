from __future__ import annotations

import datetime

import pytest

from _registry_config_defaults import OVERCLOUD_IMAGES
from _registry_config_read import SettingsError, read_settings

DIGEST = "sha256:" + "a" * 64


def read(pillar):
    return read_settings(pillar, host="mirror.example.com")


def test_an_empty_pillar_means_the_overcloud_from_red_hat():
    settings = read({})
    assert len(settings.images) == len(set(OVERCLOUD_IMAGES)) == 44
    assert settings.images[0].repository == "rhosp13/openstack-aodh-api"
    assert settings.images[0].tags.include == ("13.0",)
    assert settings.upstream.url == "https://registry.access.redhat.com:443"
    assert settings.local.url == "http://mirror.example.com:5000"
    assert (settings.force, settings.sync) == (False, True)


def test_an_undercloud_listens_on_8787_unless_the_site_says_otherwise():
    assert read_settings({}, host="h", undercloud=True).local.port == 8787
    assert read_settings({"local": {"port": 5001}}, host="h", undercloud=True).local.port == 5001


def test_a_name_with_a_slash_is_taken_whole():
    settings = read({"images": ["cron", "ceph/rhceph-3-rhel7"]})
    assert [image.target for image in settings.images] == ["rhosp13/openstack-cron", "ceph/rhceph-3-rhel7"]


def test_namespace_and_prefix_may_be_empty():
    settings = read({"image_defaults": {"namespace": "", "prefix": ""}, "images": ["cron"]})
    assert settings.images[0].repository == "cron"


def test_an_image_of_another_upstream_does_not_get_our_credentials():
    settings = read(
        {
            "upstream": {"host": "a.example.com", "username": "u", "password": "secret", "tls": False},
            "images": [{"name": "x/y", "upstream": {"host": "b.example.com"}}, "x/z"],
        }
    )
    other, common = (image.source for image in settings.images)
    assert (other.host, other.username, other.password, other.tls) == ("b.example.com", "", "", False)
    assert common.username == "u"
    assert "secret" not in repr(settings)


def test_every_upstream_is_named_once():
    settings = read({"images": ["a", "b", {"name": "c", "upstream": {"host": "b.example.com"}}]})
    assert [endpoint.host for endpoint in settings.upstreams] == [
        "registry.access.redhat.com",
        "b.example.com",
    ]


def test_an_ipv6_address_stands_in_brackets_in_names():
    assert read({"local": {"host": "fd00::1"}}).local.name == "[fd00::1]:5000"
    assert read({"local": {"host": "[fd00::1]"}}).local.name == "[fd00::1]:5000"


def test_one_repository_may_be_filled_by_entries_whose_tags_cannot_meet():
    images = [{"name": "a/b", "tags": ["1"]}, {"name": "c/d", "target": "a/b", "tags": ["2"]}]
    assert len(read({"images": images}).images) == 2


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("20MB", 20_000_000),
        ("1.5 MiB/s", 1_572_864),
        (1000, 1000),
        ("", 0),
        (None, 0),
        ("1g", 10**9),
        ("0GB", 0),
    ],
)
def test_bandwidth_is_bytes_a_second(text, rate):
    assert read({"transfer": {"bandwidth": text}}).transfer.bandwidth == rate


@pytest.mark.parametrize(("text", "seconds"), [("2h", 7200), (90, 90), ("15m", 900), (None, 0)])
def test_a_deadline_is_seconds(text, seconds):
    assert read({"transfer": {"deadline": text}}).transfer.deadline == seconds


@pytest.mark.parametrize(
    ("pillar", "sentence"),
    [
        ({"imagess": []}, "docker_registry:imagess: unknown key; did you mean images?"),
        ({"tags": ["1"]}, "docker_registry:tags: unknown key; did you mean image_defaults:tags?"),
        ({"port": 5000}, "docker_registry:port: unknown key; did you mean local:port?"),
        ({"host": "a.b"}, "docker_registry:host: unknown key; did you mean upstream:host?"),
        ({"upstream": {"hots": "x"}}, "docker_registry:upstream:hots: unknown key; did you mean host?"),
        ([1], "docker_registry: is a list; give a mapping of force, sync,"),
        ({"force": "yes"}, "docker_registry:force: 'yes' is a string; give true or false"),
        ({"sync": None}, "docker_registry:sync: is empty; give true or false"),
        ({"upstream": {"host": "https://a.b"}}, "docker_registry:upstream:host: 'https://a.b' is a URL"),
        ({"upstream": {"host": "a.b:5000"}}, "docker_registry:upstream:host: 'a.b:5000' has a port in it"),
        ({"upstream": {"host": ""}}, "docker_registry:upstream:host: '' is no host name or address"),
        ({"upstream": {"port": "443"}}, "docker_registry:upstream:port: '443' is a string; give a whole"),
        ({"local": {"port": 99999}}, "docker_registry:local:port: 99999 is not between 1 and 65535"),
        ({"upstream": {"verify": "ca.pem"}}, "docker_registry:upstream:verify: 'ca.pem' is a string;"),
        ({"images": "cron"}, "docker_registry:images: 'cron' is a string; give a list"),
        ({"images": [None]}, "docker_registry:images:0: an image needs a name"),
        ({"images": [{"tags": ["1"]}]}, "docker_registry:images:0: an image needs a name"),
        ({"images": ["Cron"]}, "docker_registry:images:0: 'rhosp13/openstack-Cron' is no repository name"),
        ({"images": ["../etc"]}, "docker_registry:images:0: '../etc' is no repository name"),
        ({"images": ["a/b:1"]}, "docker_registry:images:0: 'a/b:1' names a tag or a digest"),
        (
            {"images": ["q.io:443/a/b"]},
            "docker_registry:images:0: 'q.io:443/a/b' begins with a registry,",
        ),
        ({"images": [{"name": "a/b", "target": "A"}]}, "docker_registry:images:0:target: 'A' is no repo"),
        (
            {"images": ["a/b", "a/c", {"name": "a/c", "tags": "13.0"}]},
            "docker_registry:images:2:tags: '13.0' is a string; give a list, e.g. ['13.0']",
        ),
        (
            {"image_defaults": {"tags": [13.0]}},
            "docker_registry:image_defaults:tags:0: 13.0 is a number, as YAML reads it; put it in quotes",
        ),
        ({"images": [{"name": "a/b", "tags": []}]}, "docker_registry:images:0:tags: is empty; give a list"),
        ({"images": [{"name": "a/b", "tags": ["-x"]}]}, "docker_registry:images:0:tags:0: '-x' is no tag"),
        (
            {"images": [{"name": "a/b", "tags": {"semver": "about 3"}}]},
            "docker_registry:images:0:tags:semver: 'about' is no comparison",
        ),
        (
            {"images": [{"name": "a/b", "platforms": ["amd64"]}]},
            "docker_registry:images:0:platforms:0: 'amd64' is no platform; give e.g. linux/amd64",
        ),
        ({"images": ["cron", "cron"]}, "docker_registry:images:1: lands on rhosp13/openstack-cron, as"),
        (
            {"images": [{"name": "a/b"}, {"name": "c/d", "target": "a/b", "tags": ["1*"]}]},
            "docker_registry:images:1: lands on a/b, as docker_registry:images:0 does",
        ),
        (
            {"upstream": {"host": "m.x", "port": 1}, "local": {"host": "m.x", "port": 1}, "images": ["a/b"]},
            "docker_registry:images:0: m.x:1/a/b would mirror itself",
        ),
        ({"transfer": {"parallel": 0}}, "docker_registry:transfer:parallel: 0 is not between 1 and 64"),
        ({"transfer": {"bandwidth": "fast"}}, "docker_registry:transfer:bandwidth: 'fast' is a string;"),
        ({"transfer": {"bandwidth": 0.5}}, "docker_registry:transfer:bandwidth: 0.5 is a number;"),
        ({"firewall": "ufw"}, "docker_registry:firewall: 'ufw' is a string; give one of auto, firewalld"),
        ({"undercloud": 1}, "docker_registry:undercloud: 1 is a number; give one of auto, true, false"),
        (
            {"registry": {"tls": "self-signed"}},
            "docker_registry:registry:tls: 'self-signed' is a string; give self_signed, or a mapping of",
        ),
        ({"registry": {"tls": True}}, "docker_registry:registry:tls: true is a boolean; give self_signed"),
        (
            {"registry": {"tls": {"certificate": "/a"}}},
            "docker_registry:registry:tls:certificate: there is no key to it",
        ),
        (
            {"registry": {"tls": {"certificate": "mirror.pem", "key": "/k"}}},
            "docker_registry:registry:tls:certificate: is neither an absolute path nor PEM text",
        ),
        (
            {"registry": {"tls": "self_signed"}, "local": {"tls": False}},
            "docker_registry:local:tls: is false, but docker_registry:registry:tls is self_signed",
        ),
        (
            {"registry": {"tls": "self_signed"}, "lookup": {"authority": "pki"}},
            "docker_registry:lookup:authority: 'pki' is no absolute path",
        ),
        (
            {"registry": {"htpasswd": {"a": "b"}, "token": {"realm": "https://t"}}},
            "docker_registry:registry:token: the registry asks for one kind of login, and",
        ),
        ({"registry": {"htpasswd": ["a"]}}, "docker_registry:registry:htpasswd: is a list; give a mapping"),
        ({"registry": {"htpasswd": {"a:b": "x"}}}, "docker_registry:registry:htpasswd:'a:…': is no name"),
        (
            {"registry": {"htpasswd": {"a": 1234}}},
            "docker_registry:registry:htpasswd:a: is no string; put it in quotes",
        ),
        (
            {"registry": {"htpasswd": {"a": "$apr1$x$y"}}},
            "docker_registry:registry:htpasswd:a: looks like a hash, but is none of bcrypt",
        ),
        ({"registry": {"install": "rpm"}}, "docker_registry:registry:install: 'rpm' is a string; give one"),
    ],
)
def test_a_mistake_is_one_sentence_that_begins_with_its_key(pillar, sentence):
    with pytest.raises(SettingsError) as caught:
        read(pillar)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_an_authority_of_its_own_has_the_sync_speak_tls_and_trust_it():
    settings = read({"registry": {"tls": "self_signed"}})
    assert settings.local.url == "https://mirror.example.com:5000"
    assert settings.local.verify == settings.authority == "/etc/pki/docker_registry/ca.pem"
    elsewhere = {"registry": {"tls": "self_signed"}, "lookup": {"authority": "/srv/pki"}}
    assert read(elsewhere).local.verify == "/srv/pki/ca.pem"
    assert read({**elsewhere, "local": {"verify": "/site.pem"}}).local.verify == "/site.pem"
    given = read({"registry": {"tls": {"certificate": "/c", "key": "/k", "ca": "/a"}}})
    assert (given.authority, given.local.tls, given.local.verify) == ("", True, True)


def test_a_wrong_value_next_to_a_password_does_not_show_it():
    with pytest.raises(SettingsError) as caught:
        read({"upstream": {"password": {"hunter2": "x"}}})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("since", "read_as"),
    [
        ("2025-01-01", "2025-01-01"),
        (datetime.date(2025, 1, 1), "2025-01-01"),
        (datetime.datetime(2025, 1, 1, 12, 30), "2025-01-01T12:30:00"),
        ("2025-01-01T12:30:00Z", "2025-01-01T12:30:00Z"),
        (None, ""),
    ],
)
def test_since_is_a_date_however_yaml_reads_it(since, read_as):
    rule = read({"images": [{"name": "a/b", "tags": {"since": since}}]}).images[0].tags
    assert rule.since == read_as
    assert rule.needs_dates is bool(read_as)


@pytest.mark.parametrize(
    ("since", "shown"),
    [("yesterday", "yesterday"), (2025, "2025"), ("2025-13-01", "2025-13-01"), ([1], "[1]")],
)
def test_since_refuses_what_is_no_date(since, shown):
    with pytest.raises(SettingsError) as caught:
        read({"images": [{"name": "a/b", "tags": {"since": since}}]})
    key = "docker_registry:images:0:tags:since"
    assert str(caught.value) == f"{key}: {shown!r} is no date; give e.g. 2025-01-01"


@pytest.mark.parametrize("digest", [DIGEST, "sha512:" + "a" * 128])
def test_a_digest_without_a_tag_cannot_be_chosen_from(digest):
    image = {"name": "a/b", "tags": ["1.0", digest]}
    with pytest.raises(SettingsError) as caught:
        read({"images": [{**image, "platforms": ["linux/amd64"]}]})
    message = str(caught.value)
    assert message.startswith("docker_registry:images:0:tags: sha")
    assert f"give a tag, e.g. '13.0@{digest[:19]}…', or platforms: [] for this image" in message
    with pytest.raises(SettingsError, match=r"^docker_registry:images:0:tags: sha"):
        read({"images": [image], "image_defaults": {"platforms": ["linux/amd64"]}})
    with pytest.raises(SettingsError, match=r"^docker_registry:images:0:platforms: sha"):
        read(
            {
                "images": [{"name": "a/b", "platforms": ["linux/amd64"]}],
                "image_defaults": {"tags": [digest]},
            }
        )
    defaults = {"platforms": ["linux/amd64"]}
    assert (
        read({"images": [{**image, "platforms": []}], "image_defaults": defaults}).images[0].platforms == ()
    )


@pytest.mark.parametrize("digest", [DIGEST, "sha512:" + "a" * 128])
def test_a_pinned_tag_can_be_chosen_from(digest):
    image = {"name": "a/b", "tags": [f"13.0@{digest}"], "platforms": ["linux/amd64"]}
    assert read({"images": [image]}).images[0].tags.include == (f"13.0@{digest}",)


def test_a_digest_and_a_pinned_tag_are_tags():
    rule = read({"images": [{"name": "a/b", "tags": [DIGEST, f"1.0@{DIGEST}"]}]}).images[0].tags
    assert rule.include == (DIGEST, f"1.0@{DIGEST}")
