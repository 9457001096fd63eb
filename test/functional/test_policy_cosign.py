"""Real engines that know Sigstore pull what cosign has signed through the mirror, and refuse what it has not.

Debian 12 builds its own without it; those of later releases run beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.images import Image, Layer, docker_image, oci_image, oci_index
from support.lookaside import Signer, serve
from support.made_signatures import bundle, make_key, push_bundle, statement
from support.registries import Distribution
from support.registry_content import push
from support.signed_chain import Chain, CosignChain
from support.signing import ENGINES, programs, skopeo_of

pytestmark = pytest.mark.needs("docker-distribution", "gpg")

APP = {"name": "team/app", "tags": ["1.0"]}
STANDS_IN = {"engine": {"policy": True, "stand_in_for_upstream": True}}
UNSIGNED = "A signature was required, but no signature exists"


each_engine = pytest.mark.parametrize("engine", list(ENGINES), indirect=True)


@pytest.fixture(scope="module")
def engine(checkout: Path, request: pytest.FixtureRequest) -> tuple[str, ...]:
    return skopeo_of(getattr(request, "param", "trixie"), checkout / ".cache")


@pytest.fixture
def chain(
    start_registry: Callable[..., Distribution], engine: tuple[str, ...], tmp_path: Path
) -> CosignChain:
    chain = CosignChain(start_registry(), start_registry(), tmp_path)
    chain.engine = engine
    return chain


def simple(seed: str = "app") -> Image:
    return docker_image([Layer("base"), Layer(seed)])


@each_engine
def test_what_the_vendor_signed_is_pulled_by_the_mirrors_name(chain: CosignChain) -> None:
    digest = chain.publish("team/app", "1.0", simple())
    chain.mirror(APP)
    (requirement,) = json.loads((chain.root / "policy.json").read_text())["transports"]["docker"][
        f"{chain.local.address}/team/app"
    ]
    assert requirement["type"] == "sigstoreSigned"
    assert chain.pull_from_mirror("team/app:1.0") == ""
    assert chain.pull_from_mirror(f"team/app@{digest}") == ""


def test_what_the_real_cosign_has_signed_is_pulled(
    chain: CosignChain, checkout: Path, tmp_path: Path
) -> None:
    run = programs(checkout / ".cache", tmp_path / "home")
    digest = chain.publish("team/app", "1.0", oci_image([Layer("app")]), signed=False)
    chain.key = run.cosign_key().with_suffix(".pub")
    run.sign_as_cosign_2(f"{chain.vendor.address}/team/app@{digest}")
    chain.mirror(APP)
    assert chain.pull_from_mirror("team/app:1.0") == ""
    push(chain.local.url, "team/app", "1.0", simple("evil"))
    assert UNSIGNED in chain.pull_from_mirror("team/app:1.0")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unsigned": ({"signed": False}, UNSIGNED),
    "changed in the mirror": ({}, UNSIGNED),
    "signed for another image": ({"digest": "sha256:" + "1" * 64}, "does not match"),
    "signed under another name": ({"name": "vendor.example.com/team/another"}, "is not accepted"),
    "signed by somebody else": ({"signer": make_key()}, "invalid signature"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_by_the_mirrors_name_nothing_is_pulled_that_the_vendor_did_not_sign(
    chain: CosignChain, wrong: str
) -> None:
    claim, said = WRONG[wrong]
    chain.publish("team/app", "1.0", simple(), **claim)
    chain.mirror(APP)
    if wrong == "changed in the mirror":
        assert chain.pull_from_mirror("team/app:1.0") == ""
        push(chain.local.url, "team/app", "1.0", simple("evil"))
    assert said in chain.pull_from_mirror("team/app:1.0")


@each_engine
def test_the_mirror_stands_in_for_a_vendor_that_is_gone_and_the_policy_holds(chain: CosignChain) -> None:
    chain.publish("team/app", "1.0", simple())
    chain.mirror(APP, **STANDS_IN)
    chain.vendor.stop()
    assert chain.pull(f"{chain.vendor.address}/team/app:1.0") == ""


@pytest.mark.parametrize("wrong", WRONG)
def test_by_the_vendors_name_the_mirror_gives_nothing_that_the_vendor_did_not_sign(
    chain: CosignChain, wrong: str
) -> None:
    claim, said = WRONG[wrong]
    chain.publish("team/app", "1.0", simple(), **claim)
    chain.mirror(APP, **STANDS_IN)
    chain.vendor.stop()
    if wrong == "changed in the mirror":
        push(chain.local.url, "team/app", "1.0", simple("evil"))
    assert said in chain.pull(f"{chain.vendor.address}/team/app:1.0")


def test_an_image_with_another_name_here_is_known_by_the_vendors(chain: CosignChain) -> None:
    chain.publish("team/app", "1.0", simple())
    chain.mirror({**APP, "target": "mirror/renamed"})
    assert chain.pull_from_mirror("mirror/renamed:1.0") == ""
    push(chain.local.url, "mirror/renamed", "1.0", simple("evil"))
    assert UNSIGNED in chain.pull_from_mirror("mirror/renamed:1.0")


def test_an_index_is_pulled_if_its_children_are_signed(chain: CosignChain) -> None:
    children = [oci_image([Layer("base"), Layer(name)], architecture=name) for name in ("amd64", "arm64")]
    chain.publish("team/app", "1.0", oci_index(children))
    chain.mirror(APP)
    assert chain.pull_from_mirror("team/app:1.0") == chain.pull_from_mirror("team/app:1.0", "--all") == ""


@each_engine
def test_what_only_a_bundle_of_cosign_3_signs_no_engine_accepts(chain: CosignChain) -> None:
    """The reason for a note of `registry_sync.signatures`: it goes once this fails."""
    image = oci_image([Layer("app")])
    chain.publish("team/app", "1.0", image, signed=False)
    push_bundle(chain.vendor.url, "team/app", image, bundle(chain.private, statement(image.digest)))
    chain.mirror(APP)
    assert UNSIGNED in chain.pull_from_mirror("team/app:1.0")


@each_engine
def test_a_remapped_name_never_matches_what_cosign_signs(chain: CosignChain) -> None:
    """The reason for a policy of each repository's own name."""
    chain.publish("team/app", "1.0", simple())
    chain.mirror(APP)
    document = json.loads((chain.root / "policy.json").read_text())
    (requirement,) = document["transports"]["docker"][f"{chain.local.address}/team/app"]
    names = {"prefix": f"{chain.local.address}/team", "signedPrefix": f"{chain.vendor.address}/team"}
    requirement["signedIdentity"] = {"type": "remapIdentity", **names}
    (chain.root / "policy.json").write_text(json.dumps(document))
    assert "is not accepted" in chain.pull_from_mirror("team/app:1.0")


@pytest.fixture
def simply(
    start_registry: Callable[..., Distribution], engine: tuple[str, ...], tmp_path: Path
) -> Iterator[Chain]:
    with Signer() as signer:
        chain = Chain(start_registry(), start_registry(), signer, tmp_path)
        chain.engine = engine
        chain.store.mkdir()
        chain.kept.mkdir()
        with serve(chain.store) as chain.vendor_address, serve(chain.kept) as chain.kept_address:
            yield chain


@each_engine
@pytest.mark.parametrize("stands_in", [False, True])
def test_later_engines_also_accept_simple_signatures_by_both_names(simply: Chain, stands_in: bool) -> None:
    simply.publish("team/app", "1.0", simple())
    simply.publish("team/other", "1.0", simple("other"), name=f"{simply.vendor.address}/team/another:1.0")
    simply.mirror(APP, {**APP, "name": "team/other"}, **(STANDS_IN if stands_in else {}))
    simply.vendor.stop()
    host = simply.vendor.address if stands_in else simply.local.address
    assert simply.pull(f"{host}/team/app:1.0") == ""
    assert "is not accepted" in simply.pull(f"{host}/team/other:1.0")
