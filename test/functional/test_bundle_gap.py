"""Two weeks of a whole list across a gap: the other side is a network namespace that reaches nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from _registry_sync_export import export
from support.images import Layer, docker_image, oci_image
from support.lookaside import Signer, put_signature, serve
from support.pillar import settings_of
from support.registries import Distribution
from support.registry_content import push
from support.signing import programs

pytestmark = pytest.mark.needs("docker-distribution", "unshare", "ip")

TAGS = 132
CHANGED = 3
# What else than new blobs an increment may have.
OVERHEAD = 200_000
FAR = """
import json, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
from _registry_config_read import read_settings
from support.pillar import pillar_of
from support.registries import Distribution
from _registry_store_bundle_base import write_stock
from _registry_sync_bundle import inspect
from _registry_sync_bundle_inventory import take_stock
from _registry_sync_import import import_bundle
directory, bundle, wanted = sys.argv[1:]
wanted = json.loads(wanted)
with Distribution(directory) as local:
    signatures = {"directory": directory + "/sigstore", "keys": wanted["keys"]}
    pillar = pillar_of(local, local, wanted["images"], signatures=signatures)
    pillar["upstream"]["port"] = wanted["upstream"]
    settings = read_settings(pillar, host="unused.example.com")
    report = import_bundle(settings, bundle)
    looked = inspect(settings, bundle)
    write_stock(take_stock(settings), directory + "/inventory.json.gz")
    for command in wanted["commands"]:
        subprocess.run([word.replace("LOCAL", local.address) for word in command], check=True)
    signed = {name: image["signed_by"] for name, image in looked["images"].items() if image["signed_by"]}
    print(json.dumps([report["summary"], looked["summary"], signed]))
"""


def far_side(directory: Path, bundle: Path, images=(), keys=None, upstream=1, commands=()):
    """Import a bundle where nothing is reached; return what the import and a look afterwards say.

    Args:
        directory: of the registry there.
        bundle: what is imported.
        images: the list there, of who must have signed what.
        keys: `signatures:keys` there.
        upstream: port that it has on the near side; nobody listens there.
        commands: are run there then, with the registry's address for the word LOCAL.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    wanted = {"images": images, "keys": keys or {}, "upstream": upstream, "commands": commands}
    words = ["unshare", "--net", sys.executable, "-c", FAR, str(directory), str(bundle), json.dumps(wanted)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if "Operation not permitted" in done.stderr:
        pytest.skip("needs network namespaces")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def test_two_weeks_of_a_whole_list(upstream: Distribution, start_registry, tmp_path):
    base = [Layer(f"base-{number}", 20_000) for number in range(3)]
    for number in range(TAGS):
        push(upstream.url, f"team/app-{number}", "1.0", docker_image([*base, Layer(f"own-{number}", 20_000)]))
    names = [{"name": f"team/app-{number}", "tags": ["1.0"]} for number in range(TAGS)]
    settings = settings_of(
        upstream, start_registry(), names, signatures={"directory": str(tmp_path / "sigstore")}
    )
    first = export(settings, str(tmp_path / "week-1"), volume=1_000_000)
    assert first["summary"]["copied"] == TAGS
    assert len(first["bundle"]["volumes"]) > 2
    (brought, looked, _) = far_side(tmp_path / "far", tmp_path / "week-1")
    assert (brought["copied"], looked["current"], looked["missing"]) == (TAGS, TAGS, 0)
    new = 0
    for number in range(CHANGED):
        image = docker_image([*base, Layer(f"own-{number}", 20_000), Layer(f"new-{number}", 30_000)])
        push(upstream.url, f"team/app-{number}", "1.0", image)
        new += image.blobs[0].size + image.blobs[-1].size
    inventory = str(tmp_path / "far" / "inventory.json.gz")
    second = export(settings, str(tmp_path / "week-2"), since=inventory)
    assert (second["summary"]["copied"], second["summary"]["current"]) == (CHANGED, TAGS - CHANGED)
    assert new < size_of(tmp_path / "week-2") <= new + OVERHEAD
    (brought, looked, _) = far_side(tmp_path / "far", tmp_path / "week-2")
    assert (brought["copied"], looked["current"]) == (CHANGED, CHANGED)


@pytest.mark.needs("gpg")
def test_signed_images_verify_on_the_other_side(upstream: Distribution, start_registry, tmp_path, checkout):
    """One is signed by cosign, one simply; there both are demanded, and cosign itself is asked, too."""
    cosign = programs(checkout / ".cache", tmp_path / "home")
    images = {name: oci_image([Layer(name)]) for name in ("by-cosign", "simply", "by-nobody")}
    for name, image in images.items():
        push(upstream.url, f"team/{name}", "1.0", image)
    cosign.sign_as_cosign_2(f"{upstream.address}/team/by-cosign:1.0")
    public = tmp_path / "home/cosign.pub"
    with Signer() as vendor, serve(tmp_path / "vendor") as url:
        name = f"{upstream.address}/team/simply"
        signature = vendor.sign(f"{name}:1.0", images["simply"].digest)
        put_signature(tmp_path / "vendor", "team/simply", images["simply"].digest, signature)
        near = {"directory": str(tmp_path / "near"), "stores": {upstream.address: url}}
        names = [{"name": f"team/{name}", "tags": ["1.0"]} for name in images]
        export(settings_of(upstream, start_registry(), names, signatures=near), str(tmp_path / "week-1"))
        keys = {"ours": {"cosign": [public.read_text()]}, "vendor": {"gpg": [vendor.public_key.decode()]}}
    signers = {"by-cosign": "ours", "simply": "vendor", "by-nobody": "ours"}
    wanted = [
        {"name": f"team/{name}", "tags": ["1.0"], "signed_by": [signer]} for name, signer in signers.items()
    ]
    verify = cosign.command("trixie", "cosign", "verify", "--insecure-ignore-tlog", "--key", str(public))
    asked = [*verify, "--allow-http-registry", "LOCAL/team/by-cosign:1.0"]
    (brought, looked, signed) = far_side(
        tmp_path / "far", tmp_path / "week-1", wanted, keys, upstream.port, [asked]
    )
    assert (brought["copied"], brought["failed"], looked["current"]) == (2, 1, 2)
    assert signed == {"team/by-cosign:1.0": ["ours"], "team/simply:1.0": ["vendor"]}
