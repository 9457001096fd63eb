"""What operators mean by a tag; the lists of tags are those of real repositories, cut."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from _registry_oci_names import is_tag
from _registry_oci_tags import (
    TagRule,
    is_comparison,
    parse_date,
    satisfies,
    select_recent,
    select_tags,
    version_key,
)

THERE = ["13.0", "13.0-9", "13.0-38", "13.0-38-source", "12.0", "latest", "3-9", "3-38", "4.1"]


@pytest.mark.parametrize(
    ("rule", "tags"),
    [
        (TagRule(("13.0*",)), ["13.0", "13.0-9", "13.0-38-source", "13.0-38"]),
        (TagRule(("13.0*",), exclude=("*-source",)), ["13.0", "13.0-9", "13.0-38"]),
        (TagRule(("*",), exclude=("latest", "1*"), semver=">=3 <4"), ["3-9", "3-38"]),
        (TagRule(("*",), semver=">=3 <5", newest=2), ["3-38", "4.1"]),
        (TagRule(("13.0-*",), exclude=("*-source",), newest=1), ["13.0-38"]),
        (TagRule(("nothing*",)), []),
        (TagRule(("nothing*",), newest=1), []),
        (TagRule(("12.0",)), []),
    ],
)
def test_patterns_choose_tags_in_version_order(rule, tags):
    assert select_tags(rule, THERE) == tags


def test_a_tag_that_is_no_tag_is_never_chosen():
    assert select_tags(TagRule(("*",)), ["ok", "../../etc", "a b", ""]) == ["ok"]


REPOSITORIES = {
    "rhosp13/openstack-nova-api": "13.0 13.0-38 13.0-105.1553 13.0-20190304.1 13.0-105-source latest",
    "ubi8/ubi": "8.8 8.9 8.9-1028 8.9-1107 8.9-1107.1705420509 8.9-1107.1705420509-source latest",
    "rhceph/rhceph-3-rhel7": "3 3-9 3-38 4-1 latest",
    "library/nginx": "1.24.0 1.25 1.25.3 1.25.3-alpine 1.25.3-alpine3.18 1.25.3-bookworm-perl alpine latest "
    "mainline stable stable-alpine",
    "library/postgres": "15.5 16 16.1 16.1-alpine3.19 16.1-bookworm 16rc1 17beta1 alpine latest",
    "library/alpine": "3.18.5 3.19 3.19.0 20230901 20231219 edge latest",
    "library/debian": "11.8 12.4 12.4-slim bookworm bookworm-20231218 bookworm-20240110 sid latest",
    "library/golang": "1.20.13 1.21.6 1.21.6-alpine3.19 1.22rc1 1.22rc1-bookworm 1.22rc2 latest "
    "1.21.6-windowsservercore-1809",
    "library/node": "18.19.0 20.10.0 20.10.0-alpine3.18 21.5.0 21.5.0-bookworm-slim lts-iron current slim",
    "library/openjdk": "8u342 8u342-jdk 11.0.16-jre 17-jdk-slim 17.0.2 22-ea-29-jdk-oraclelinux8 22-ea-jdk",
    "library/eclipse-temurin": "17-jdk 17.0.9_9-jdk 17.0.9_9-jre-alpine 21-jdk 21.0.1_12-jdk 8u392-b08-jdk",
    "library/python": "3.11.7 3.12.1 3.12.1-slim 3.13.0a2 3.13.0a3-bookworm 3.13.0a10 latest",
    "library/redis": "6.2.14 7.0 7.2.4 7.2-rc3 7.2-rc3-alpine 7.2.4-alpine alpine3.19 latest",
    "library/mysql": "8.0.35 8.0.35-debian 8.2.0 8.2.0-oracle innovation latest",
    "library/traefik": "v1.7.34 v2.10.7 v3.0 v3.0.0-beta5 v3.0.0-rc1 v2.11.0-rc1 saintmarcelin latest",
    "prometheus/prometheus": "v2.48.1 v2.49.0 v2.49.0-rc.1 v2.49.0-rc.2 v2.50.0-rc.0 main latest",
    "kubernetes/pause": "0.8.0 1.0 2.0 3.1 3.9 3.10 3.10-windows-amd64 go latest test",
    "kubernetes/kube-apiserver": "v1.28.4 v1.29.0 v1.29.0-alpha.3 v1.29.0-rc.1 v1.30.0-alpha.0 "
    "sha256-0123456789012345678901234567890123456789012345678901234567890123.sig",
    "kubernetes/prow": "v20231220-9f2eb3e5b1 v20240115-4f5e6d7abc v20240116-13dcc4b7c9 latest",
    "bitnami/postgresql": "15 15.2.0 15.2.0-debian-11-r9 15.2.0-debian-11-r21 16.1.0-debian-11-r3 latest",
    "cilium/cilium": "v1.13.10 v1.14.5 v1.15.0-pre.3 v1.15.0-rc.0 v1.15.0-rc.1 stable latest",
    "cilium/cilium-ci": "0b49f1e6a2cbd0cd8ad6aa4ff3b5ba5be0ff8de5 4f5e6d7 3aabbcc latest",
    "rancher/k3s": "v1.28.4-k3s1 v1.28.4-k3s2 v1.29.0-k3s1 v1.29.0-rc1-k3s1 v1.29.0-k3s1-arm64 latest",
    "keycloak/keycloak": "22.0.5 23.0.3 nightly 23.0.3-0 10.0.2 legacy 12.0.0.Alpha1",
    "jboss/wildfly": "10.1.0.CR1 10.1.0.Final 10.1.0.Beta1 8.2.1.Final latest",
    "minio/minio": "RELEASE.2023-12-23T07-19-11Z RELEASE.2024-01-11T07-46-16Z latest",
    "gitlab/gitlab-ce": "16.6.4-ce.0 16.7.0-ce.0 16.7.2-ce.0 16.7.0-rc42.ce.0 nightly latest rc",
    "mssql/server": "2017-latest 2019-CU9-ubuntu-20.04 2019-CU24-ubuntu-20.04 2022-CU10-ubuntu-22.04 latest",
    "homeassistant/home-assistant": "2023.12.4 2024.1.0 2024.1.2 2024.1.0b3 2024.2.0.dev20240111 latest",
    "ceph/ceph": "v17.2.7 v17.2.7-20231114 v18.2.1 v18.2.1-20231218 v18.2.1-20240118 v18 latest-main",
    "grafana/grafana": "10.2.3 10.2.3-ubuntu 10.3.0-64167 main nightly latest 9.5.15",
    "a/hashes": "4f5e6d7 3aabbcc 1234567 sha-4f5e6d7 git-3aabbcc",
    "a/previews": "1.0.0-alpha 1.0.0-alpha.1 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1",
    "an/operator": "1.9.0 1.10.0 1.10.0-alpha.1 1.10.0-rc2 4f5e6d7",
    "a/young": "0.1.9 0.2.0 0.2.7 0.3.0 0.9.0 0.0.3 0.0.4",
    "a/described": "v1.2.3 v1.2.3-5-g4f5e6d7 v1.2.4-dirty 2.0.0-beta",
}


def wish(*include, **rest):
    return TagRule(include or ("*",), **rest)


CASES = [
    ("rhosp13/openstack-nova-api", wish(newest=1), "13.0-20190304.1"),
    ("rhosp13/openstack-nova-api", wish("13.0*", newest=2), "13.0-105.1553 13.0-20190304.1"),
    ("rhosp13/openstack-nova-api", wish("*-source", newest=1), "13.0-105-source"),
    ("rhosp13/openstack-nova-api", wish(semver=">=13.0-38 <13.0-1000"), "13.0-38 13.0-105.1553"),
    ("ubi8/ubi", wish(semver="~8.9"), "8.9 8.9-1028 8.9-1107 8.9-1107.1705420509"),
    ("ubi8/ubi", wish(newest=1), "8.9-1107.1705420509"),
    ("ubi8/ubi", wish("8.9-*", exclude=("*-source",), newest=1), "8.9-1107.1705420509"),
    ("rhceph/rhceph-3-rhel7", wish("3-*", exclude=("*-source",), semver=">=3 <4", newest=2), "3-9 3-38"),
    ("library/nginx", wish(newest=1), "1.25.3"),
    ("library/nginx", wish("1.*", semver=">=1.25"), "1.25 1.25.3"),
    ("library/nginx", wish("*-alpine*", newest=1, semver=">=1"), "1.25.3-alpine3.18"),
    ("library/nginx", wish("*-alpine", newest=1, semver=">=1"), "1.25.3-alpine"),
    ("library/postgres", wish(newest=1), "16.1"),
    ("library/postgres", wish(semver=">=16 <17"), "16 16.1"),
    ("library/postgres", wish(semver=">=15"), "15.5 16 16.1"),
    ("library/postgres", wish(semver=">=17beta0"), "17beta1"),
    ("library/alpine", wish(newest=1), "3.19.0"),
    ("library/alpine", wish(semver=">=3.18"), "3.18.5 3.19 3.19.0"),
    ("library/alpine", wish(semver=">=20231001"), "20231219"),
    ("library/alpine", wish("202*", newest=1), "20231219"),
    ("library/debian", wish(newest=1), "12.4"),
    ("library/debian", wish("bookworm-*", newest=1), "bookworm-20240110"),
    ("library/debian", wish("*-slim", semver="12.4"), "12.4-slim"),
    ("library/golang", wish(newest=2), "1.20.13 1.21.6"),
    ("library/golang", wish(semver="^1.21"), "1.21.6"),
    ("library/golang", wish(semver=">=1.22rc1", newest=1), "1.22rc2"),
    ("library/golang", wish("*rc*", newest=1), "1.22rc2"),
    ("library/node", wish(semver="^20"), "20.10.0"),
    ("library/node", wish("*-bookworm-slim", semver="~21", newest=1), "21.5.0-bookworm-slim"),
    ("library/openjdk", wish(newest=1), "17.0.2"),
    ("library/openjdk", wish(semver=">=8 <9"), "8u342"),
    ("library/openjdk", wish("*-jdk*", semver="^17"), ""),
    ("library/openjdk", wish("*-jdk-slim*", semver="^17"), "17-jdk-slim"),
    ("library/eclipse-temurin", wish(newest=1), "21.0.1_12-jdk"),
    ("library/eclipse-temurin", wish(semver=">=17"), ""),
    ("library/eclipse-temurin", wish("*-jdk", semver=">=17 <18", newest=1), "17.0.9_9-jdk"),
    ("library/eclipse-temurin", wish("*-jdk", semver="^8"), "8u392-b08-jdk"),
    ("library/python", wish(newest=1), "3.12.1"),
    ("library/python", wish("3.13*", newest=1), "3.13.0a10"),
    ("library/redis", wish(semver="^7", newest=1), "7.2.4"),
    ("library/redis", wish(semver=">=7"), "7.0 7.2.4"),
    ("library/mysql", wish(newest=2), "8.0.35 8.2.0"),
    ("library/traefik", wish(newest=1), "v3.0"),
    ("library/traefik", wish(semver="^2"), "v2.10.7"),
    ("library/traefik", wish("v3*-*", newest=1), "v3.0.0-rc1"),
    ("prometheus/prometheus", wish(newest=1), "v2.49.0"),
    ("prometheus/prometheus", wish("v2.49.0-rc.*", newest=1), "v2.49.0-rc.2"),
    ("prometheus/prometheus", wish(semver=">=2.50.0-rc.0"), "v2.50.0-rc.0"),
    ("prometheus/prometheus", wish(semver=">=2.49.0-rc.1"), "v2.49.0-rc.1 v2.49.0-rc.2 v2.49.0"),
    ("kubernetes/pause", wish(newest=2), "3.9 3.10"),
    ("kubernetes/pause", wish(semver="~3"), "3.1 3.9 3.10"),
    ("kubernetes/kube-apiserver", wish("v*", newest=1), "v1.29.0"),
    ("kubernetes/kube-apiserver", wish(semver=">=1.28"), "v1.28.4 v1.29.0"),
    ("kubernetes/kube-apiserver", wish("sha256-*", newest=1), "sha256-" + "0123456789" * 6 + "0123.sig"),
    ("kubernetes/prow", wish(newest=1), "v20240116-13dcc4b7c9"),
    ("bitnami/postgresql", wish(newest=1), "15.2.0"),
    ("bitnami/postgresql", wish("*-debian-*", semver="^15", newest=1), "15.2.0-debian-11-r21"),
    ("cilium/cilium", wish(newest=1), "v1.14.5"),
    ("cilium/cilium", wish(semver="^1.15.0-rc.0"), "v1.15.0-rc.0 v1.15.0-rc.1"),
    ("cilium/cilium-ci", wish(newest=1), "latest"),
    ("cilium/cilium-ci", wish(semver=">=0"), ""),
    ("rancher/k3s", wish(newest=1), "v1.29.0-k3s1"),
    ("rancher/k3s", wish("*-k3s*", semver="~1.28", newest=1), "v1.28.4-k3s2"),
    ("rancher/k3s", wish("*-k3s*", semver="~1.29"), "v1.29.0-k3s1"),
    ("keycloak/keycloak", wish(newest=1), "23.0.3-0"),
    ("keycloak/keycloak", wish(semver=">=10 <23"), "10.0.2 22.0.5"),
    ("jboss/wildfly", wish(newest=1), "10.1.0.Final"),
    ("jboss/wildfly", wish("10*"), "10.1.0.Beta1 10.1.0.CR1 10.1.0.Final"),
    ("minio/minio", wish("RELEASE*", newest=1), "RELEASE.2024-01-11T07-46-16Z"),
    ("minio/minio", wish(newest=2), "RELEASE.2024-01-11T07-46-16Z latest"),
    ("gitlab/gitlab-ce", wish(newest=1), "16.7.2-ce.0"),
    ("gitlab/gitlab-ce", wish("*-ce.0", semver="~16.7"), "16.7.0-ce.0 16.7.2-ce.0"),
    ("mssql/server", wish("2019-*", newest=1), "2019-CU24-ubuntu-20.04"),
    ("mssql/server", wish("*-ubuntu-*", semver=">=2019-CU0"), ""),
    ("homeassistant/home-assistant", wish(newest=1), "2024.1.2"),
    ("homeassistant/home-assistant", wish(semver="~2024.1"), "2024.1.0 2024.1.2"),
    ("ceph/ceph", wish(semver="^18", newest=1), "v18.2.1-20240118"),
    ("ceph/ceph", wish(semver="=17.2.7"), "v17.2.7"),
    ("grafana/grafana", wish(semver="^10.2", newest=1), "10.3.0-64167"),
    ("a/hashes", wish(newest=2), "git-3aabbcc sha-4f5e6d7"),
    ("a/hashes", wish(semver=">=0 <9999999999"), ""),
    ("a/previews", wish(), "1.0.0-alpha 1.0.0-alpha.1 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1"),
    ("a/previews", wish(newest=2), "1.0.0-beta.11 1.0.0-rc.1"),
    ("a/previews", wish(semver=">=0"), ""),
    ("an/operator", wish(newest=2), "1.9.0 1.10.0"),
    ("an/operator", wish(newest=5), "1.9.0 1.10.0"),
    ("an/operator", wish(semver=">=1.10.0-alpha.1", newest=2), "1.10.0-rc2 1.10.0"),
    ("an/operator", wish(semver=">=3 <5"), ""),
    ("a/young", wish(semver="^0.2"), "0.2.0 0.2.7"),
    ("a/young", wish(semver="^0.0.3"), "0.0.3"),
    ("a/young", wish(semver="~0.2"), "0.2.0 0.2.7"),
    ("a/young", wish(semver="^0"), "0.0.3 0.0.4 0.1.9 0.2.0 0.2.7 0.3.0 0.9.0"),
    ("a/described", wish(semver=">=1"), "v1.2.3"),
    ("a/described", wish(newest=1), "v1.2.3"),
]


@pytest.mark.parametrize(("repository", "rule", "tags"), CASES)
def test_a_rule_finds_what_its_operator_means(repository, rule, tags):
    assert select_tags(rule, REPOSITORIES[repository].split()) == tags.split()


def test_every_tag_of_the_table_is_one():
    assert [tag for tags in REPOSITORIES.values() for tag in tags.split() if not is_tag(tag)] == []
    assert {repository for repository, _, _ in CASES} == set(REPOSITORIES)


@pytest.mark.parametrize(
    ("tag", "comparisons", "holds"),
    [
        ("3.2", ">=3 <4", True),
        ("v3.2.1", "^3", True),
        ("4.0", "^3", False),
        ("1.4.9", "~1.4.2", True),
        ("1.5.0", "~1.4.2", False),
        ("1.5.0", "~1.4", False),
        ("1.4.0", "~1.4", True),
        ("1.9", "~1", True),
        ("2.0", "~1", False),
        ("3", "=3.0", True),
        ("3", "3.0.0", True),
        ("latest", ">=0", False),
        ("13.0-38", ">13.0", True),
        ("13.0-38", "=13.0", False),
        ("13.0-38", "<13.0.1", True),
        ("1.2.3+5", ">1.2.3", True),
        ("13.0-rc1", ">=12", False),
        ("2.0.0-beta", ">=2", False),
        ("2.0.0-beta", "<2", False),
        ("2.0.0-rc1", "^1.9", False),
        ("1.10.0-rc2", ">=1.10.0-rc1 <2", True),
        ("1.11.0-rc2", ">=1.10.0-rc1 <2", False),
        ("1.10-rc2", ">=1.10.0-rc1", True),
        ("1.10.0-rc10", ">=1.10.0-rc9", True),
        ("0.9", "^0.2", False),
        ("0.2.9", "^0.2", True),
        ("0.0.4", "^0.0.3", False),
        ("3.19-alpine", ">=3", False),
        ("3.19-alpine", ">=3.18-alpine", True),
        ("3.19-alpine", "<=3.19", False),
        ("20240115", ">=3", False),
        ("20240115", ">=20240101 <20240201", True),
        ("3.0", "<20240101", False),
        ("4f5e6d7", ">=3 <5", False),
        ("4f5e6d7-amd64", ">=3 <5", False),
        ("1234567", ">=3", False),
        ("3.2", ">=4f5e6d7", False),
    ],
)
def test_semver_compares_versions(tag, comparisons, holds):
    assert satisfies(tag, comparisons) is holds


@pytest.mark.parametrize("word", [">=3", "<4.1", "^0.2", "~1.4", "3", "=v3", ">=1.10.0-rc1", ">=1.22rc1"])
def test_words_that_compare(word):
    assert is_comparison(word)


@pytest.mark.parametrize("word", ["", "about", ">=", "=>3", "3.x", "*", ">=4f5e6d7", ">=" + "9" * 9000])
def test_words_that_compare_nothing(word):
    assert not is_comparison(word)


def test_versions_sort_by_number():
    names = "4f5e6d7 main latest 20240115 1.9-rc1-slim 1.9-rc1 1.9-slim-x 1.9-alpine 1.9 1.9-2-source 1.9-2"
    ordered = [*names.split(), "1.9-10", "1.9.1", "1.10", "v2.0"]
    shuffled = ordered[::-1]
    assert sorted(shuffled, key=version_key) == ordered


UTC = timezone.utc
NEW_YEAR = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-01-01", NEW_YEAR),
        ("2025-01-01T00:00:00Z", NEW_YEAR),
        ("2025-01-01 00:00", NEW_YEAR),
        ("2025-01-01T00:00:00.000000999Z", NEW_YEAR),
        ("2025-01-01T00:00:00.5Z", NEW_YEAR + timedelta(milliseconds=500)),
        ("2025-01-01T02:00:00+02:00", NEW_YEAR),
        ("2024-12-31T19:00:00-0500", NEW_YEAR),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("2025-02-30", None),
        ("2025-01-01T25:00:00Z", None),
        ("2025-01-01T00:00:00+99:00", None),
        ("20250101", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_dates_are_read_as_configs_and_people_write_them(text, moment):
    assert parse_date(text) == moment


def test_a_rule_with_since_gives_candidates_and_then_the_recent_ones():
    rule = wish("1.*", semver="<1.9", since="2025-01-01", newest=2)
    candidates = select_tags(rule, ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5-rc1", "1.9", "2.0", "latest"])
    assert candidates == ["1.0", "1.1", "1.2", "1.3", "1.4"]
    created = dict.fromkeys(candidates, NEW_YEAR)
    created["1.1"] = NEW_YEAR - timedelta(seconds=1)
    created["1.3"] = None
    created["1.2"] = NEW_YEAR.replace(tzinfo=None)
    assert select_recent(rule, created) == ["1.2", "1.4"]


def test_the_newest_of_the_recent_ones_are_releases_where_there_are_any():
    rule = wish(since="2025-01-01T00:00:00Z", newest=2)
    young = NEW_YEAR + timedelta(days=1)
    assert select_tags(rule, ["1.0", "1.1-rc1", "4f5e6d7"]) == ["4f5e6d7", "1.0", "1.1-rc1"]
    assert select_recent(rule, {"1.0": young, "1.1-rc1": young, "4f5e6d7": young}) == ["1.0"]
    assert select_recent(rule, {"1.0": None, "1.1-rc1": None, "4f5e6d7": young}) == ["4f5e6d7"]
    assert select_recent(rule, {}) == []
