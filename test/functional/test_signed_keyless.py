"""Images that an identity has signed without a key, by a Sigstore of the test's own, with no network."""

from __future__ import annotations

import base64
import json
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.hostile import standing
from support.images import Image, Layer, oci_image
from support.made_signatures import push_bundle, statement
from support.private_sigstore import IDENTITY, ISSUER, PrivateSigstore
from support.signed_site import Entry, Site, accepted, refused
from support.signing import programs

pytestmark = pytest.mark.needs("docker-distribution")

Bundle = dict[str, Any]
RUN = """
import json, pickle, sys
sys.path[:0] = sys.argv[1:3]
import _registry_sync_commands as commands
import _registry_sync_signatures as who
command, settings = pickle.load(sys.stdin.buffer)
report = commands.sync(settings, directory=sys.argv[3]) if command == "sync" else who.signatures(settings)
json.dump(report, sys.stdout)
"""


@pytest.fixture(scope="module")
def python(checkout: Path) -> str:
    """A Python that has the package sigstore, whose own packages would not go with Salt's."""
    program = shutil.which("python", path=str(checkout / ".venv" / "sigstore" / "bin"))
    if program is None:
        pytest.skip("needs the package sigstore (test/run)")
    return program


@pytest.fixture(scope="module")
def sigstore() -> PrivateSigstore:
    return PrivateSigstore()


class KeylessSite(Site):
    """A site whose commands run where the package sigstore is."""

    python = ""
    sigstore: PrivateSigstore
    checkout: Path

    def sign(
        self, image: Image, change: Callable[[Bundle], None] = lambda bundle: None, **claim: Any
    ) -> None:
        """Sign an image, and attach the bundle as cosign 3 does."""
        subject = claim.pop("digest", image.digest)
        bundle = claim.pop("by", self.sigstore).bundle(statement(subject), **claim)
        change(bundle)
        push_bundle(self.upstream.url, self.name, image, json.dumps(bundle).encode())

    def keyless(self, command: str = "sync", **key: str) -> dict[str, Any]:
        """Return the report of a command; the one key is an identity of this test's Sigstore."""
        root = self.directory / "trusted_root.json"
        root.write_text(self.sigstore.trusted_root())
        wanted = {"issuer": ISSUER, "identity": IDENTITY, "trusted_root": str(root), **key}
        settings = self.settings(keys={"ours": {"keyless": wanted}})
        paths = [str(self.checkout / name) for name in ("_utils", "test")]
        done = subprocess.run(
            [self.python, "-c", RUN, *paths, str(self.directory / "cache")],
            input=pickle.dumps((command, settings)),
            capture_output=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return dict(json.loads(done.stdout))

    def mirror(self, **key: str) -> Entry:
        """Sync, and return what the report says of the image."""
        return dict(self.keyless(**key)["images"][f"{self.name}:1"])


@pytest.fixture
def site(
    module_upstream: Any,
    module_local: Any,
    tmp_path: Path,
    python: str,
    sigstore: PrivateSigstore,
    checkout: Path,
) -> KeylessSite:
    site = KeylessSite(module_upstream, module_local, tmp_path)
    site.python, site.sigstore, site.checkout = python, sigstore, checkout
    return site


def image_of(seed: str) -> Image:
    return oci_image([Layer(seed, 2000)])


def test_an_image_that_the_wanted_identity_has_signed_is_mirrored_and_told(site: KeylessSite) -> None:
    image = site.push(image_of("signed"))
    site.sign(image)
    assert accepted(site.mirror())
    report = site.keyless("signatures")["images"][f"{site.name}:1"]
    (finding,) = report["signatures"]
    assert (finding["verdict"], finding["keys"], finding["key"]) == ("valid", ["ours"], IDENTITY)


def test_a_workflow_is_an_identity_too(site: KeylessSite) -> None:
    workflow = "https://git.example.com/a/b/.github/workflows/release.yml@refs/heads/main"
    site.sign(site.push(image_of("workflow")), identity=workflow)
    assert accepted(site.mirror(identity=workflow))


@pytest.mark.parametrize(
    "claim",
    [{"identity": "mallory@example.com"}, {"issuer": "https://accounts.example.net"}],
    ids=["identity", "issuer"],
)
def test_another_identity_or_issuer_has_not_signed_it(site: KeylessSite, claim: dict[str, str]) -> None:
    site.sign(site.push(image_of(f"other-{claim}")), **claim)
    entry = site.mirror()
    assert "nobody of signed_by (ours) has signed" in refused(entry)
    assert standing(site.local, site.name, "1") is None
    assert accepted(site.mirror(**claim))


def other_payload(bundle: Bundle) -> None:
    payload = statement("sha256:" + "2" * 64)
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()


def other_signature(bundle: Bundle) -> None:
    (signature,) = bundle["dsseEnvelope"]["signatures"]
    signature["sig"] = PrivateSigstore().bundle(b"{}")["dsseEnvelope"]["signatures"][0]["sig"]


def other_certificate(bundle: Bundle) -> None:
    stranger = PrivateSigstore().bundle(b"{}")
    bundle["verificationMaterial"]["certificate"] = stranger["verificationMaterial"]["certificate"]


def without_log(bundle: Bundle) -> None:
    bundle["verificationMaterial"]["tlogEntries"] = []


def log_of_another(bundle: Bundle) -> None:
    stranger = PrivateSigstore().bundle(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    bundle["verificationMaterial"]["tlogEntries"] = stranger["verificationMaterial"]["tlogEntries"]


def later_moment(bundle: Bundle) -> None:
    (entry,) = bundle["verificationMaterial"]["tlogEntries"]
    entry["integratedTime"] = str(int(entry["integratedTime"]) + 1)


@pytest.mark.parametrize(
    "change",
    [other_payload, other_signature, other_certificate, without_log, log_of_another, later_moment],
)
def test_a_bundle_that_was_changed_is_refused(site: KeylessSite, change: Callable[[Bundle], None]) -> None:
    site.sign(site.push(image_of(change.__name__)), change)
    assert "nobody of signed_by (ours) has signed" in refused(site.mirror())


def test_another_sigstore_vouches_for_nobody(site: KeylessSite) -> None:
    site.sign(site.push(image_of("stranger")), by=PrivateSigstore())
    assert "nobody of signed_by (ours) has signed" in refused(site.mirror())


def test_a_bundle_of_another_image_is_refused(site: KeylessSite) -> None:
    site.sign(site.push(image_of("moved")), digest="sha256:" + "3" * 64)
    assert "is for sha256:3333" in refused(site.mirror())


def test_the_real_cosign_agrees_with_us_about_this_sigstore(
    site: KeylessSite, checkout: Path, tmp_path: Path
) -> None:
    run = programs(checkout / ".cache", tmp_path / "home")
    root = tmp_path / "root.json"
    root.write_text(site.sigstore.trusted_root())
    image = site.push(image_of("cosign"))
    site.sign(image)
    who = ("--certificate-identity", IDENTITY, "--certificate-oidc-issuer")
    verify = ("verify", "--trusted-root", str(root), "--allow-http-registry", "--offline", *who)
    name = f"{site.upstream.address}/{site.name}@{image.digest}"
    run("cosign", *verify, ISSUER, name)
    run("cosign", *verify, "https://accounts.example.net", name, fails=True)
    assert accepted(site.mirror())
