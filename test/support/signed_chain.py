"""A vendor who signs, a mirror of it, and what the library of real engines makes of the mirror."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _registry_host_policy as policy
import _registry_sync_commands as mirror
from _registry_config_read import read_settings
from _registry_config_values import Settings
from _registry_host_signed import signed_images
from support.images import Image
from support.lookaside import Signer, put_signature
from support.made_signatures import cosign_payload, make_key, public_pem, push_sig, signature
from support.pillar import pillar_of
from support.registries import Distribution
from support.registry_content import push


class Chain:
    """A vendor with a registry and a store, a mirror that serves what it keeps, and an engine's files."""

    # The program with its first words.
    engine: Sequence[str] = ("skopeo",)

    def __init__(self, vendor: Distribution, local: Distribution, signer: Signer | None, root: Path) -> None:
        self.vendor = vendor
        self.local = local
        self.signer = signer
        self.root = root
        self.store = root / "store"
        self.kept = root / "kept"
        self.vendor_address = self.kept_address = ""
        self.key = root / "vendor.asc"
        if signer:
            self.key.write_bytes(signer.public_key)

    def publish(self, repository: str, tag: str, image: Image, **claim: Any) -> str:
        """Push an image at the vendor's, signed unless told otherwise; each child of an index, too."""
        push(self.vendor.url, repository, tag, image)
        name = claim.get("name", f"{self.vendor.address}/{repository}:{tag}")
        for digest in (image.digest, *(child.digest for child in image.children)):
            if claim.get("signed", True):
                signer = claim.get("signer", self.signer)
                assert signer
                signature = signer.sign(name, claim.get("digest", digest))
                put_signature(self.store, repository, digest, signature)
        return image.digest

    def key_of_the_vendor(self) -> dict[str, Any]:
        """Return its entry of `signatures:keys`."""
        return {"gpg": [str(self.key)]}

    def settings(self, images: list[Any], **pillar: Any) -> Settings:
        """Return the settings of a mirror that wants these images and that its engines verify them."""
        signatures = {
            "stores": {self.vendor.address: self.vendor_address},
            "directory": str(self.kept),
            "keys": {"vendor": self.key_of_the_vendor()},
        }
        merged = {"engine": {"policy": True}, "transfer": {"retries": 0}, "signatures": signatures, **pillar}
        whole = {**pillar_of(self.vendor, self.local, images), **merged}
        return read_settings(whole, host="unused.example.com")

    def mirror(self, *images: Any, **pillar: Any) -> None:
        """Mirror images, verified by nobody yet, and write what engines read."""
        entries = [{"signed_by": ["vendor"], **image} for image in images]
        plain = [{name: value for name, value in entry.items() if name != "signed_by"} for entry in entries]
        report = mirror.sync(self.settings(plain, **pillar), directory=str(self.root / "cache"))
        assert report["summary"]["copied"] == report["summary"]["tags"], report["images"]
        settings = self.settings(entries, **pillar)
        listed = signed_images(settings)
        stands_in = settings.engine.stand_in_for_upstream
        scopes = policy.wanted_scopes(
            self.local.address, listed, lambda path: Path(path).read_bytes(), by_upstream=stands_in
        )
        merged, _ = policy.with_scopes(policy.parse_policy("", "policy.json"), scopes, {}, "policy.json")
        (self.root / "policy.json").write_text(policy.policy_text(merged, ""))
        (self.root / "registries.d").mkdir()
        text = policy.lookaside(self.local.address, self.kept_address)
        (self.root / "registries.d" / "docker_registry.yaml").write_text(text)
        mirrors = policy.mirrors(self.local.address, True, listed) if stands_in else ""
        (self.root / "registries.conf").write_text(mirrors)

    def pull(self, name: str, *options: str, tls: str = "--src-tls-verify=false") -> str:
        """Pull by a name; return why not, empty where it was pulled."""
        command = [
            *self.engine,
            "--policy",
            str(self.root / "policy.json"),
            "--registries.d",
            str(self.root / "registries.d"),
            "--registries-conf",
            str(self.root / "registries.conf"),
            *("copy", *options, tls, "--remove-signatures"),
            f"docker://{name}",
            f"dir:{self.root / 'pulled'}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == (not done.stderr), done.stderr
        return done.stderr

    def pull_from_mirror(self, reference: str, *options: str, **keywords: str) -> str:
        """Pull from the mirror by its own name."""
        return self.pull(f"{self.local.address}/{reference}", *options, **keywords)


class CosignChain(Chain):
    """The same with a vendor who signs as cosign 2 does."""

    def __init__(self, vendor: Distribution, local: Distribution, root: Path) -> None:
        self.private = make_key()
        super().__init__(vendor, local, None, root)
        self.key.write_text(public_pem(self.private))

    def key_of_the_vendor(self) -> dict[str, Any]:
        """Return its entry of `signatures:keys`."""
        return {"cosign": [str(self.key)]}

    def publish(self, repository: str, tag: str, image: Image, **claim: Any) -> str:
        """Push an image at the vendor's, signed unless told otherwise; each child of an index, too."""
        push(self.vendor.url, repository, tag, image)
        name = claim.get("name", f"{self.vendor.address}/{repository}")
        for digest in (image.digest, *(child.digest for child in image.children)):
            if claim.get("signed", True):
                payload = cosign_payload(claim.get("digest", digest), name)
                made = signature(claim.get("signer", self.private), payload)
                push_sig(self.vendor.url, repository, digest, (payload, made))
        return image.digest
