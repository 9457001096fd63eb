"""A real engine's library pulls what is signed through the mirror, and refuses what is not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from _registry_host_web import Web
from support.images import Image, Layer, docker_image, docker_list
from support.lookaside import Signer, nginx, serve
from support.pki import Authority
from support.registries import LOOPBACK, Distribution, free_port
from support.registry_content import push
from support.signed_chain import Chain

pytestmark = pytest.mark.needs("docker-distribution", "skopeo", "gpg")


@pytest.fixture(scope="module")
def signer() -> Iterator[Signer]:
    with Signer() as signer:
        yield signer


@pytest.fixture
def chain(start_registry: Callable[..., Distribution], signer: Signer, tmp_path: Path) -> Iterator[Chain]:
    chain = Chain(start_registry(), start_registry(), signer, tmp_path)
    chain.store.mkdir()
    chain.kept.mkdir()
    with ExitStack() as served:
        chain.vendor_address = served.enter_context(serve(chain.store))
        chain.kept_address = served.enter_context(serve(chain.kept))
        yield chain


def simple(seed: str = "app") -> Image:
    return docker_image([Layer("base"), Layer(seed)])


APP = {"name": "team/app", "tags": ["1.0"]}
REFUSED = "Source image rejected: "


def test_what_the_vendor_signed_is_pulled_by_the_mirrors_name(chain: Chain) -> None:
    digest = chain.publish("team/app", "1.0", simple())
    chain.mirror(APP)
    assert chain.pull_from_mirror("team/app:1.0") == ""
    assert chain.pull_from_mirror(f"team/app@{digest}") == ""


def test_a_whole_namespace_is_one_scope_and_what_comes_later_is_verified_too(chain: Chain) -> None:
    chain.publish("team/app", "1.0", simple())
    chain.publish("team/other", "1.0", simple("other"), signed=False)
    chain.mirror(APP)
    assert list(json.loads((chain.root / "policy.json").read_text())["transports"]["docker"]) == [
        f"{chain.local.address}/team"
    ]
    push(chain.local.url, "team/other", "1.0", simple("other"))
    assert "A signature was required, but no signature exists" in chain.pull_from_mirror("team/other:1.0")


def test_an_image_that_nobody_signed_is_refused(chain: Chain) -> None:
    chain.publish("team/app", "1.0", simple(), signed=False)
    chain.mirror(APP)
    assert "A signature was required, but no signature exists" in chain.pull_from_mirror("team/app:1.0")


def test_an_image_that_was_changed_in_the_mirror_is_refused(chain: Chain) -> None:
    chain.publish("team/app", "1.0", simple())
    chain.mirror(APP)
    push(chain.local.url, "team/app", "1.0", simple("evil"))
    assert "A signature was required, but no signature exists" in chain.pull_from_mirror("team/app:1.0")


def test_a_signature_that_was_moved_to_another_image_is_refused(chain: Chain) -> None:
    honest = simple()
    chain.publish("team/app", "1.0", simple("evil"), digest=honest.digest)
    chain.mirror(APP)
    assert REFUSED in chain.pull_from_mirror("team/app:1.0")


def test_an_image_that_is_signed_under_another_name_is_refused(chain: Chain) -> None:
    chain.publish("team/app", "1.0", simple(), name=f"{chain.vendor.address}/team/another:1.0")
    chain.mirror(APP)
    assert "is not accepted" in chain.pull_from_mirror("team/app:1.0")


def test_an_image_under_a_tag_that_was_never_signed_is_refused(chain: Chain) -> None:
    chain.publish("team/app", "1.0", simple())
    chain.mirror(APP)
    push(chain.local.url, "team/app", "latest", simple())
    assert "is not accepted" in chain.pull_from_mirror("team/app:latest")


def test_an_image_that_somebody_else_signed_is_refused(chain: Chain) -> None:
    with Signer("other@example.com") as other:
        chain.publish("team/app", "1.0", simple(), signer=other)
        chain.mirror(APP)
    assert REFUSED in chain.pull_from_mirror("team/app:1.0")


def test_of_several_keys_each_will_do(chain: Chain) -> None:
    with Signer("other@example.com") as other:
        chain.publish("team/app", "1.0", simple(), signer=other)
        chain.publish("team/tool", "1.0", simple("tool"))
        keys = {"vendor": {"gpg": [str(chain.key)]}, "other": {"gpg": [other.public_key.decode()]}}
        signatures = chain.settings([]).signatures
        chain.mirror(
            *(
                {"name": f"team/{name}", "tags": ["1.0"], "signed_by": ["vendor", "other"]}
                for name in ("app", "tool")
            ),
            signatures={"stores": signatures.stores, "directory": signatures.directory, "keys": keys},
        )
    assert chain.pull_from_mirror("team/app:1.0") == chain.pull_from_mirror("team/tool:1.0") == ""


def test_an_index_is_pulled_if_its_children_are_signed(chain: Chain) -> None:
    index = docker_list(
        [docker_image([Layer("base"), Layer(name)], architecture=name) for name in ("amd64", "arm64")]
    )
    chain.publish("team/app", "1.0", index)
    chain.mirror(APP)
    assert chain.pull_from_mirror("team/app:1.0") == chain.pull_from_mirror("team/app:1.0", "--all") == ""


def test_an_image_with_another_name_here_is_known_by_the_vendors(chain: Chain) -> None:
    chain.publish("team/app", "1.0", simple())
    chain.mirror({**APP, "target": "mirror/renamed"})
    assert chain.pull_from_mirror("mirror/renamed:1.0") == ""
    push(chain.local.url, "mirror/renamed", "1.0", simple("evil"))
    assert REFUSED in chain.pull_from_mirror("mirror/renamed:1.0")


def test_what_nobody_has_to_sign_is_pulled_beside_what_somebody_has_to(chain: Chain) -> None:
    chain.publish("team/app", "1.0", simple())
    chain.publish("team/free", "1.0", simple("free"), signed=False)
    chain.mirror(APP, {"name": "team/free", "tags": ["1.0"], "signed_by": []})
    assert chain.pull_from_mirror("team/app:1.0") == chain.pull_from_mirror("team/free:1.0") == ""
    push(chain.local.url, "team/app", "1.0", simple("evil"))
    assert REFUSED in chain.pull_from_mirror("team/app:1.0")


STANDS_IN = {"engine": {"policy": True, "stand_in_for_upstream": True}}


def test_the_mirror_stands_in_for_a_vendor_that_is_gone_and_the_policy_holds(chain: Chain) -> None:
    chain.publish("team/app", "1.0", simple())
    chain.mirror(APP, **STANDS_IN)
    chain.vendor.stop()
    assert chain.pull(f"{chain.vendor.address}/team/app:1.0") == ""


@pytest.mark.parametrize("wrong", ["unsigned", "changed", "wrongly named"])
def test_by_the_vendors_name_the_mirror_gives_nothing_that_the_vendor_did_not_sign(
    chain: Chain, wrong: str
) -> None:
    claim: dict[str, Any] = {
        "unsigned": {"signed": False},
        "wrongly named": {"name": f"{chain.vendor.address}/team/another:1.0"},
    }.get(wrong, {})
    chain.publish("team/app", "1.0", simple(), **claim)
    chain.mirror(APP, **STANDS_IN)
    chain.vendor.stop()
    if wrong == "changed":
        push(chain.local.url, "team/app", "1.0", simple("evil"))
    said = chain.pull(f"{chain.vendor.address}/team/app:1.0")
    expected = "is not accepted" if wrong == "wrongly named" else "no signature exists"
    assert expected in said


@pytest.mark.needs("nginx")
@pytest.mark.skipif(os.geteuid() != 0, reason="nginx keeps what it has under way where only root writes")
def test_over_tls_engines_trust_the_store_by_the_ca_of_the_registry(
    start_registry: Callable[..., Distribution], signer: Signer, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("mirror", LOOPBACK)
    tls = {"certificate": str(pair.certificate), "key": str(pair.key)}
    local = start_registry(config={"http": {"tls": tls}})
    chain = Chain(start_registry(), local, signer, tmp_path)
    chain.kept.mkdir()
    chain.store.mkdir()
    chain.publish("team/app", "1.0", simple())
    chain.publish("team/other", "1.0", simple("other"), signed=False)
    web = Web(str(chain.kept), free_port(), "root", ipv6=False, **tls)
    with serve(chain.store) as chain.vendor_address, nginx(tmp_path, web):
        chain.kept_address = f"https://{LOOPBACK}:{web.port}"
        chain.mirror(
            APP,
            {"name": "team/other", "tags": ["1.0"]},
            local={"host": LOOPBACK, "port": local.port, "tls": True, "verify": str(authority.bundle)},
        )
        trust = f"--src-cert-dir={authority.bundle.parent}"
        assert chain.pull_from_mirror("team/app:1.0", tls=trust) == ""
        assert "no signature exists" in chain.pull_from_mirror("team/other:1.0", tls=trust)
