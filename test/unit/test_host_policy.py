"""What engines are told of signatures: the texts of their files."""

from __future__ import annotations

import base64
import json

import pytest

import _registry_host_policy as policy
from _registry_config_read import read_settings
from _registry_host_policy import PolicyError, Signed
from _registry_host_signed import signed_images, store_address

MIRROR = "mirror.example.com:5000"
VENDOR = "vendor.example.com"
PATH = "/etc/containers/policy.json"
KEY = "/etc/pki/vendor.asc"
SITE = {
    "default": [{"type": "insecureAcceptAnything"}],
    "transports": {"docker": {"quay.io/site": [{"type": "reject"}]}, "docker-daemon": {"": []}},
}


def signed(target, **rest):
    names = {"upstream": f"{VENDOR}/{target}", "signed_name": f"{VENDOR}/{target}", "gpg": (KEY,)}
    return Signed(target, **{**names, **rest})


def key_in(path):
    return b"\x99 of " + path.encode()


def scopes(*images, by_upstream=False):
    return policy.wanted_scopes(MIRROR, images, key_in, by_upstream=by_upstream)


def settings(**pillar):
    return read_settings(pillar, host="mirror.example.com")


def identity_of(requirements):
    return requirements[0]["signedIdentity"]


def test_signatures_are_named_for_old_engines_and_for_new_ones() -> None:
    assert policy.lookaside(MIRROR, "https://mirror.example.com:5001") == (
        "docker:\n"
        '  "mirror.example.com:5000":\n'
        '    lookaside: "https://mirror.example.com:5001"\n'
        '    sigstore: "https://mirror.example.com:5001"\n'
        "    use-sigstore-attachments: true\n"
    )


def test_without_a_store_only_attachments_are_looked_for() -> None:
    assert policy.lookaside(MIRROR, "") == (
        'docker:\n  "mirror.example.com:5000":\n    use-sigstore-attachments: true\n'
    )


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"docker": {"a:5000": {}, "b/c": None}}, {"a:5000", "b/c"}),
        ({"default-docker": {}}, set()),
        ({"docker": ["a"]}, set()),
        ("text", set()),
        (None, set()),
    ],
)
def test_of_other_files_the_scopes_are_known(document, expected) -> None:
    assert policy.scopes_of(document) == expected


def test_the_mirror_is_asked_first_for_each_repository_of_the_list() -> None:
    images = [signed("team/app"), signed("mirror/db", upstream="other.example.com:5000/db", insecure=True)]
    assert policy.mirrors(MIRROR, True, images) == (
        '[[registry]]\nlocation = "other.example.com:5000/db"\ninsecure = true\n'
        '[[registry.mirror]]\nlocation = "mirror.example.com:5000/mirror/db"\ninsecure = true\n'
        "\n"
        '[[registry]]\nlocation = "vendor.example.com/team/app"\n'
        '[[registry.mirror]]\nlocation = "mirror.example.com:5000/team/app"\ninsecure = true\n'
    )


def test_a_namespace_that_one_signer_signs_is_one_scope() -> None:
    found = scopes(signed("team/app"), signed("team/db"), signed("team/deep/er"))
    assert list(found) == [f"{MIRROR}/team", f"{MIRROR}/team/deep"]
    assert found[f"{MIRROR}/team"] == [
        {
            "type": "signedBy",
            "keyType": "GPGKeys",
            "keyPath": KEY,
            "signedIdentity": {
                "type": "remapIdentity",
                "prefix": f"{MIRROR}/team",
                "signedPrefix": f"{VENDOR}/team",
            },
        }
    ]


@pytest.mark.parametrize(
    "other",
    [
        signed("team/db", gpg=()),
        signed("team/db", gpg=("/another",)),
        signed("team/db", cosign=("/another",)),
        signed("team/db", upstream=f"{VENDOR}/else/db"),
        signed("team/db", signed_name="else.example.com/team/db"),
        signed("team/deep/db", gpg=()),
        signed("team/db", divided=True),
    ],
    ids=["unsigned", "key", "two kinds", "upstream", "name", "below", "divided"],
)
def test_a_namespace_in_which_anything_differs_is_told_by_repository(other) -> None:
    found = scopes(signed("team/app"), other)
    assert f"{MIRROR}/team/app" in found
    assert f"{MIRROR}/team" not in found


def test_an_image_outside_of_any_namespace_is_a_scope_of_its_own() -> None:
    assert list(scopes(signed("app"))) == [f"{MIRROR}/app"]


def test_what_cosign_signs_is_known_by_its_repository() -> None:
    found = scopes(signed("team/app", gpg=(), cosign=("/etc/pki/ours.pub",)))
    assert found == {
        f"{MIRROR}/team/app": [
            {
                "type": "sigstoreSigned",
                "keyPath": "/etc/pki/ours.pub",
                "signedIdentity": {"type": "exactRepository", "dockerRepository": f"{VENDOR}/team/app"},
            }
        ]
    }


TEXT = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmAEE\n-----END PGP PUBLIC KEY BLOCK-----\n"


def test_several_keys_and_texts_are_one_keyring() -> None:
    found = scopes(signed("team/app", gpg=(KEY, TEXT)))
    keyring = base64.b64decode(found[f"{MIRROR}/team"][0]["keyData"])
    assert keyring == b"\x99 of " + KEY.encode() + b"\x98\x01\x04"


def test_one_text_is_left_as_it_is() -> None:
    found = scopes(signed("team/app", gpg=(TEXT,)))
    assert base64.b64decode(found[f"{MIRROR}/team"][0]["keyData"]).decode() == TEXT


@pytest.mark.parametrize(("key", "told"), [("/html", "/html"), ("<html>", "the text of a key")])
def test_one_of_several_keys_that_is_none_is_told(key, told) -> None:
    with pytest.raises(PolicyError, match=f"^{told} holds no OpenPGP key$"):
        policy.wanted_scopes(
            MIRROR, [signed("team/app", gpg=(TEXT, key))], lambda _: b"<html>", by_upstream=False
        )


PEM = "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n"


@pytest.mark.parametrize("keys", [("/ours.pub",), (PEM.format("AAAA") + PEM.format("BBBB"),)])
def test_several_cosign_keys_in_one_file_are_several(keys) -> None:
    text = (PEM.format("AAAA") + PEM.format("BBBB")).encode()
    image = policy.with_each_cosign_key(signed("a/b", gpg=(), cosign=keys), lambda _: text)
    assert "several cosign keys" in image.mistake


@pytest.mark.parametrize("body", [PEM.format("AAAA").encode(), b""])
def test_one_cosign_key_is_named_by_its_path(body) -> None:
    image = signed("a/b", gpg=(), cosign=("/ours.pub",))
    assert policy.with_each_cosign_key(image, lambda _: body) == image


def test_by_upstreams_names_nothing_is_remapped() -> None:
    found = scopes(signed("team/app"), by_upstream=True)
    assert list(found) == [f"{MIRROR}/team", f"{VENDOR}/team"]
    assert identity_of(found[f"{VENDOR}/team"]) == {"type": "matchRepoDigestOrExact"}


def test_in_a_chain_the_vendors_name_is_remapped_for_both_names() -> None:
    found = scopes(signed("team/app", upstream="site.example.com/team/app"), by_upstream=True)
    assert {scope: identity_of(each)["signedPrefix"] for scope, each in found.items()} == {
        f"{MIRROR}/team": f"{VENDOR}/team",
        "site.example.com/team": f"{VENDOR}/team",
    }


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (signed("a/b", cosign=("/x",)), "signers of several kinds"),
        (signed("a/b", gpg=(), keyless=True), "its signers have no keys"),
        (signed("a/b", gpg=(), cosign=("/x", "/y")), "several cosign keys"),
        (signed("a/b", divided=True), "entries of the list differ"),
    ],
)
def test_what_no_policy_can_say_is_told_and_left_out(image, said) -> None:
    assert said in image.mistake
    assert scopes(image) == {}


def test_a_policy_keeps_all_that_it_said() -> None:
    wanted = scopes(signed("team/app"))
    merged, added = policy.with_scopes(SITE, wanted, {}, PATH)
    assert added == wanted
    assert merged["transports"]["docker"] == {**SITE["transports"]["docker"], **wanted}
    assert policy.without_scopes(merged, added) == SITE


def test_what_is_ours_is_replaced_and_what_is_not_wanted_any_more_goes() -> None:
    first, ours = policy.with_scopes(SITE, scopes(signed("team/app"), signed("old/app")), {}, PATH)
    wanted = scopes(signed("team/app", gpg=("/new",)))
    merged, _ = policy.with_scopes(first, wanted, ours, PATH)
    assert merged["transports"]["docker"] == {**SITE["transports"]["docker"], **wanted}


def test_a_scope_of_somebody_else_is_not_replaced() -> None:
    taken = {"default": [], "transports": {"docker": {f"{MIRROR}/team": [{"type": "reject"}]}}}
    with pytest.raises(PolicyError, match=f"already has a scope {MIRROR}/team that this formula did not"):
        policy.with_scopes(taken, scopes(signed("team/app")), {}, PATH)


def test_a_scope_that_the_site_had_and_we_want_too_stays_its_own() -> None:
    wanted = scopes(signed("team/app"))
    theirs = {"default": [], "transports": {"docker": dict(wanted)}}
    merged, added = policy.with_scopes(theirs, wanted, {}, PATH)
    assert (merged, added) == (theirs, {})


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"transports": []}', '{"transports": {"docker": 1}}', '"x"', '{"default": 5}'],
)
def test_what_is_no_policy_is_refused(text) -> None:
    with pytest.raises(PolicyError, match=f"^{PATH} is no "):
        policy.parse_policy(text, PATH)


@pytest.mark.parametrize(
    "before",
    [
        None,
        '{"default":[{"type":"reject"}]}',
        '{\n\t"default": [{"type": "reject"}],\n\t"transports": {"docker": {}}\n}',
        json.dumps(SITE),
    ],
)
def test_the_very_text_comes_back(before) -> None:
    merged, added = policy.with_scopes(
        policy.parse_policy(before or "", PATH), scopes(signed("team/app")), {}, PATH
    )
    text = policy.policy_text(merged, before or "")
    assert policy.restored(text, before, added, PATH) == before


def test_what_the_site_wrote_meanwhile_stays() -> None:
    merged, added = policy.with_scopes(SITE, scopes(signed("team/app"), signed("own/app")), {}, PATH)
    merged["transports"]["docker"]["new.example.com"] = [{"type": "reject"}]
    merged["transports"]["docker"][f"{MIRROR}/own"] = [{"type": "reject"}]
    text = policy.restored(policy.policy_text(merged, ""), json.dumps(SITE), added, PATH)
    assert list(json.loads(text or "")["transports"]["docker"]) == [
        "quay.io/site",
        f"{MIRROR}/own",
        "new.example.com",
    ]


@pytest.mark.parametrize(
    ("default", "known", "expected"),
    [
        ("reject", {}, f"{MIRROR}/free/app"),
        ("insecureAcceptAnything", {}, ""),
        ("reject", {MIRROR: []}, ""),
        ("reject", {f"{MIRROR}/free": []}, ""),
        ("reject", {"": []}, ""),
    ],
)
def test_a_default_that_refuses_what_nobody_signs_is_known(default, known, expected) -> None:
    said = {"default": [{"type": default}], "transports": {"docker": known}}
    images = [signed("team/app"), signed("free/app", gpg=())]
    assert policy.refuses_the_rest(said, MIRROR, images) == expected


@pytest.mark.parametrize(
    ("host", "port", "tls", "expected"),
    [
        ("registry-1.docker.io", 443, True, "docker.io"),
        ("vendor.example.com", 443, True, "vendor.example.com"),
        ("vendor.example.com", 5000, True, "vendor.example.com:5000"),
        ("::1", 5000, False, "[::1]:5000"),
    ],
)
def test_a_registry_is_named_as_in_image_names(host, port, tls, expected) -> None:
    assert policy.image_name(host, port, tls=tls) == expected


def test_entries_of_one_repository_that_differ_are_told_as_such() -> None:
    keys = {"keys": {"vendor": {"gpg": [KEY]}}}
    images = [
        {"name": "team/app", "tags": ["1"], "signed_by": ["vendor"]},
        {"name": "team/app", "tags": ["2"]},
        {"name": "team/db", "tags": ["1"], "signed_by": ["vendor"]},
    ]
    found = signed_images(settings(images=images, signatures=keys))
    assert [(image.target, image.divided) for image in found] == [("team/app", True), ("team/db", False)]


def test_of_dockers_own_registry_the_name_in_signatures_is_that_of_its_images() -> None:
    (found,) = signed_images(
        settings(images=[{"name": "library/busybox", "upstream": {"host": "docker.io"}, "tags": ["1"]}])
    )
    assert found.upstream == found.signed_name == "docker.io/library/busybox"


@pytest.mark.parametrize(
    ("pillar", "expected"),
    [
        ({}, ""),
        ({"signatures": {"serve": 5001}}, "http://mirror.example.com:5001"),
        ({"signatures": {"serve": 5001}, "local": {"tls": True}}, "https://mirror.example.com:5001"),
        ({"signatures": {"serve": 1}, "local": {"host": "::1", "path": "x"}}, "http://[::1]:1"),
    ],
)
def test_signatures_are_served_where_the_registry_is(pillar, expected) -> None:
    assert store_address(settings(**pillar)) == expected
