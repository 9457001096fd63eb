"""A registry whose name nobody resolves is told before anything is set up."""

from __future__ import annotations

import os

import pytest

from support.registries import free_port

GUARD = "Registry is left alone unless forced"
# https://www.rfc-editor.org/rfc/rfc6761#section-6.4
NAME = "mirror.invalid"
FAILURE = f"docker_registry:local:host: {NAME} does not resolve on this host ("


@pytest.fixture
def plan(make_minion):
    """Return a function that plans with a pillar on a virgin minion, and gives each state's result."""
    if os.geteuid() != 0:
        pytest.skip("needs root: Salt's states ask the package manager")

    def plan(sls="docker_registry", grains=None, **pillar):
        minion = make_minion(pillar={"docker_registry": pillar}, grains=grains)
        answer = minion.apply(sls, test=True)
        assert isinstance(answer.value, dict), answer.stdout + answer.stderr
        return {ran["__id__"]: (ran["result"], ran["comment"]) for ran in answer.value.values()}

    return plan


@pytest.mark.parametrize("force", [False, True])
def test_the_plan_fails_and_says_what_to_give(plan, force):
    ran = plan(local={"host": NAME}, force=force)
    result, comment = ran[GUARD]
    assert result is False
    assert comment.startswith(FAILURE)
    assert comment.endswith(f"give a name that does, or an address, or have {NAME} in DNS or /etc/hosts")
    assert ran["Registry package is installed"][0] is False


def test_the_default_is_this_hosts_own_name_and_held_to_the_same(plan):
    assert plan(grains={"fqdn": NAME})[GUARD][1].startswith(FAILURE)


def test_a_client_alone_need_not_resolve_it_yet(plan):
    assert plan("docker_registry.engine", local={"host": NAME})[GUARD][0] is True


def test_a_proxy_resolves_it_for_this_host(plan):
    proxied = {"host": NAME, "proxy": f"http://127.0.0.1:{free_port()}"}
    assert "does not resolve" not in plan(local=proxied)[GUARD][1]


def test_an_address_is_no_name(plan):
    assert plan(local={"host": "127.0.0.1", "port": free_port()})[GUARD][0] is True
