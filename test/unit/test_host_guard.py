"""Whose registry may be configured."""

from __future__ import annotations

import pytest

from _registry_host_guard import (
    EMPTY,
    NOTHING,
    POPULATED,
    UNKNOWN,
    Found,
    hidden,
    judge,
    kept,
    left_alone,
    out_of_use,
)


def found(contents, **facts):
    return Found("10.0.0.5:5000", contents, **facts)


@pytest.mark.parametrize(
    ("what", "configures"),
    [
        (found(NOTHING), True),
        (found(EMPTY), True),
        (found(POPULATED), False),
        (found(UNKNOWN, reason="503"), False),
        (found(EMPTY, undercloud=True), False),
        (found(NOTHING, undercloud=True), True),
    ],
)
def test_what_serves_and_is_not_ours_is_left_alone(what, configures):
    assert judge(what).configures is configures


@pytest.mark.parametrize(
    ("cause", "advice"),
    [("auth", "local:username"), ("tls", "local:tls"), ("", "local:port")],
)
def test_what_cannot_be_told_fails_and_says_what_to_give(cause, advice):
    failure = judge(found(UNKNOWN, reason="refused us", cause=cause)).failure
    assert failure.startswith("10.0.0.5:5000 was not set up by this formula")
    assert "refused us" in failure
    assert f"docker_registry:{advice}" in failure
    assert "docker_registry:registry:install: none" in failure
    assert failure.endswith("docker_registry:force: true")


def test_what_is_known_fails_nothing():
    for contents in (NOTHING, EMPTY, POPULATED):
        assert judge(found(contents)).failure == ""


def test_a_registry_that_is_left_alone_is_named_with_what_force_would_change():
    said = left_alone("h:5000", 1, ["change /c (3 lines)", "restart r"])
    assert said == (
        "h:5000 already serves 1 repository; nothing was configured. docker_registry:force: true would "
        "change /c (3 lines) and restart r"
    )
    assert left_alone("h:5000", 2, []).endswith("would change nothing either")
    assert left_alone("h:8787", 0, []).startswith(
        "h:8787 is the undercloud's own registry, still empty; nothing"
    )


def test_images_of_somebody_else_that_nobody_serves_are_counted():
    said = out_of_use("h:5000", "/etc/config.yml", kept(1, "/srv/site"))
    assert said.startswith(
        "/etc/config.yml was not written by this formula, and the registry that it configures "
    )
    assert "has 1 repository in /srv/site, though it does not serve them at h:5000" in said


def test_images_that_would_be_out_of_sight_are_counted():
    assert "12 repositories in /srv/old would be out of sight" in hidden("/srv/old", "/srv/new", 12)
