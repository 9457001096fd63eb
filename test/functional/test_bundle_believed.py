"""What of a bundle is believed: its index, its simple signatures, and who must have signed its images."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from pathlib import Path

import pytest

import _registry_sync_export as exporting
from _registry_oci_errors import RegistryError
from _registry_store_bundle_format import CONTENTS, INDEX, SUMS, signature_name
from _registry_sync_bundle import bundle_code, inspect
from _registry_sync_export import export
from _registry_sync_import import import_bundle
from support.attached import listed, referrer, sign
from support.images import Layer, docker_image, docker_list, oci_image
from support.lookaside import Signer, put_signature, serve
from support.made_signatures import Gpg, cosign_payload, make_key, public_pem, push_sig, signature
from support.pillar import settings_of
from support.registry_content import digest_of, push, tags_of

pytestmark = pytest.mark.needs("docker-distribution")

IMAGE = oci_image([Layer("one", 1000)])
OTHER = oci_image([Layer("two", 1000)])
NAMES = [{"name": "team/app", "tags": ["1.0"]}]
# OpenPGP messages begin so; what is in them nobody looks at here.
FIRST = b"\x90first"


@pytest.fixture
def settings(upstream, local, tmp_path):
    def settings(names=NAMES, source=upstream, **signatures):
        signatures = {"directory": str(tmp_path / "sigstore"), **signatures}
        return settings_of(source, local, names, signatures=signatures)

    return settings


def statuses(report):
    return {name: image["status"] for name, image in report["images"].items()}


def without_hashes(monkeypatch):
    """Have bundles made as they were before the table of contents had hashes."""
    pack = exporting.pack
    monkeypatch.setattr(exporting, "pack", lambda *a, small, **how: pack(*a, **how))


def test_one_image_of_upstream_for_two_targets_of_which_one_has_chosen_platforms(settings, upstream, local):
    many = docker_list([docker_image([Layer(word)], architecture=word) for word in ("amd64", "arm64")])
    push(upstream.url, "team/app", "1.0", many)
    chosen = {"name": "team/app", "target": "team/one", "tags": ["1.0"], "platforms": ["linux/arm64"]}
    both = settings([*NAMES, chosen])
    path = str(Path(both.signatures.directory).parent / "week-1")
    assert set(statuses(export(both, path)).values()) == {"copied"}
    assert bundle_code(inspect(both, path)) == 0
    assert statuses(import_bundle(both, path)) == {"team/app:1.0": "copied", "team/one:1.0": "copied"}
    assert digest_of(local.url, "team/app", "1.0") == many.digest
    assert digest_of(local.url, "team/one", "1.0") not in (many.digest, "")


def test_what_is_attached_to_the_second_of_one_name_comes_with_it(settings, upstream, local, tmp_path):
    children = [docker_image([Layer(word)], architecture=word) for word in ("amd64", "arm64")]
    push(upstream.url, "team/app", "1.0", docker_list(children))
    sign(upstream.url, "team/app", children[1], "ours")
    chosen = {"name": "team/app", "target": "team/one", "tags": ["1.0"], "platforms": ["linux/arm64"]}
    amd64 = {**NAMES[0], "platforms": ["linux/amd64"]}
    export(settings([amd64, chosen]), str(tmp_path / "week-1"))
    import_bundle(settings([]), str(tmp_path / "week-1"))
    name = children[1].digest.replace(":", "-") + ".sig"
    assert name in tags_of(local.url, "team/one")
    assert name not in tags_of(local.url, "team/app")
