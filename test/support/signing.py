"""The programs by which images get signed, and engines that verify: Debian's of later releases.

They run here as they are, but for skopeo, which is started by the C library of its own release.

They are fetched once with apt, from the servers that this machine's own packages come from, into a
directory of their own; the system's packages stay as they are.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PACKAGES = {"trixie": ("cosign", "oras"), "sid": ("cosign", "oras", "notation")}
# The engine of Debian 12 is built without sigstore.
ENGINES = {
    "trixie": ("skopeo", "libc6", "libgpgme11t64", "libassuan9", "libgpg-error0", "libsqlite3-0"),
    "sid": ("skopeo", "libc6", "libgpgme45", "libassuan9", "libgpg-error0", "libsqlite3-0"),
}
PODMAN = (
    *("podman", "conmon", "crun", "netavark", "golang-github-containers-common", "libc6", "libgpgme11t64"),
    *("libassuan9", "libgpg-error0", "libsqlite3-0", "libsubid5", "libseccomp2", "libselinux1"),
    *("libpcre2-8-0", "libaudit1", "libcap-ng0", "libcrypt1", "libpam0g", "libbsd0", "libmd0", "libacl1"),
    *("libattr1", "libsemanage2", "libsepol2", "libbz2-1.0"),
)
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Programs:
    """Programs of both releases, and a home in which they keep their keys and settings."""

    def __init__(self, roots: dict[str, Path], home: Path) -> None:
        self._roots = roots
        self.home = home
        self._env = {
            **{key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")},
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
            "COSIGN_PASSWORD": "",
            "DOCKER_CONFIG": str(home),
        }

    def __call__(self, program: str, *arguments: str, suite: str = "sid", fails: bool = False) -> str:
        """Run a program, and return what it says; raise unless it ends as is told."""
        done = subprocess.run(
            [str(self._roots[suite] / "usr/bin" / program), *arguments],
            env=self._env,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode != 0) == fails, f"{program} {arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def command(self, suite: str, program: str, *arguments: str) -> list[str]:
        """Return how somebody else runs a program with this home."""
        settings = [f"{name}={self._env[name]}" for name in ("HOME", "XDG_CONFIG_HOME", "DOCKER_CONFIG")]
        return ["env", *settings, str(self._roots[suite] / "usr/bin" / program), *arguments]

    def cosign_key(self) -> Path:
        """Return the private key of cosign, made once; the public one lies beside it."""
        key = self.home / "cosign.key"
        if not key.exists():
            self("cosign", "generate-key-pair", suite="trixie")
            self("cosign", "signing-config", "create", "--out", str(self.home / "offline.json"))
        return key

    def sign_as_cosign_2(self, name: str) -> None:
        """Sign under a tag like `sha256-….sig`."""
        how = ("--yes", "--tlog-upload=false", "--key", str(self.cosign_key()))
        self("cosign", "sign", *how, "--allow-http-registry", name, suite="trixie")

    def attest_as_cosign_2(self, name: str) -> None:
        """Attest under a tag like `sha256-….att`."""
        predicate = self.home / "predicate.json"
        predicate.write_text('{"made": "by a test"}')
        how = ("--yes", "--tlog-upload=false", "--key", str(self.cosign_key()), "--type", "custom")
        self(
            "cosign",
            "attest",
            *how,
            "--predicate",
            str(predicate),
            "--allow-http-registry",
            name,
            suite="trixie",
        )

    def sign_as_cosign_3(self, name: str) -> None:
        """Sign by a bundle that refers to the image."""
        key = self.cosign_key()
        how = ("--yes", "--signing-config", str(self.home / "offline.json"), "--key", str(key))
        self("cosign", "sign", *how, "--allow-http-registry", name)

    def verifies(self, name: str, suite: str, *, fails: bool = False) -> None:
        """See that the cosign of a release verifies an image, or that it does not."""
        how = ("--insecure-ignore-tlog", "--key", str(self.home / "cosign.pub"), "--allow-http-registry")
        self("cosign", "verify", *how, name, suite=suite, fails=fails)

    def sign_as_notation(self, name: str) -> None:
        """Sign with a key of notation's, which is trusted for every registry."""
        if not (self.home / "notation" / "trustpolicy.json").exists():
            self("notation", "cert", "generate-test", "--default", "test.example.com")
            policy = (
                '{"version": "1.0", "trustPolicies": [{"name": "all", "registryScopes": ["*"],'
                ' "signatureVerification": {"level": "strict"},'
                ' "trustStores": ["ca:test.example.com"], "trustedIdentities": ["*"]}]}'
            )
            (self.home / "notation" / "trustpolicy.json").write_text(policy)
        self("notation", "sign", "--insecure-registry", name)


def programs(cache: Path, home: Path) -> Programs:
    """Return the programs, fetched where they are not there yet; skip where they cannot be had."""
    home.mkdir(exist_ok=True)
    roots = {suite: _root(f"signing-{suite}", suite, PACKAGES[suite], cache) for suite in PACKAGES}
    return Programs(roots, home)


def skopeo_of(suite: str, cache: Path) -> tuple[str, ...]:
    """Return the first words of a later release's skopeo; skip where it cannot be had."""
    root = _root(f"engine-{suite}", suite, ENGINES[suite], cache)
    loader = next(iter(root.glob("usr/lib/*/ld-linux*.so.*")), None)
    if loader is None:
        pytest.skip("needs the C library of another release for skopeo")
    return str(loader), "--library-path", str(loader.parent), str(root / "usr/bin/skopeo")


def podman_root(cache: Path) -> Path:
    """Return where Debian 13's podman lies with all that it needs; skip where it cannot be had."""
    return _root("podman-trixie", "trixie", PODMAN, cache)


def crane_of(cache: Path) -> str:
    """Return the path of sid's crane; skip where it cannot be had."""
    return str(_root("crane-sid", "sid", ("crane",), cache) / "usr/bin/crane")


def _root(name: str, suite: str, packages: tuple[str, ...], cache: Path) -> Path:
    root = cache / name
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            _fetch(suite, packages, root)
    return root


def _fetch(suite: str, packages: tuple[str, ...], root: Path) -> None:
    if shutil.which("apt-get") is None or not Path(KEYRING).exists():
        pytest.skip(f"needs {packages[0]} of {suite}, which is fetched on Debian alone")
    work = root.with_name(f"unfinished-{root.name}")
    shutil.rmtree(work, ignore_errors=True)
    for name in ("lists/partial", "cache/archives/partial", "root"):
        (work / name).mkdir(parents=True)
    (work / "sources.list").write_text(f"deb [signed-by={KEYRING}] {next(_mirrors(), '')} {suite} main\n")
    options = [
        *("-qq", "-o", "Dir::Etc::SourceParts=-", "-o", f"Dir::Etc::SourceList={work / 'sources.list'}"),
        *("-o", f"Dir::State::Lists={work / 'lists'}", "-o", f"Dir::Cache={work / 'cache'}"),
    ]
    _apt("update", options, work)
    _apt("download", [*options, *packages], work)
    for package in work.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", str(package), str(work / "root")], check=True)
    (work / "root").rename(root)
    shutil.rmtree(work)


def _apt(command: str, options: list[str], directory: Path) -> None:
    done = subprocess.run(
        ["apt-get", command, *options],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"needs programs of later releases, which apt does not get: {done.stderr[-300:]}")


def _mirrors() -> Iterator[str]:
    """The servers of Debian's own packages that this machine knows, those of its updates left out."""
    told = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"]
    found: Any = subprocess.run(told, capture_output=True, text=True, check=False).stdout.splitlines()
    for line in found:
        uri, _, release = line.partition(" ")
        if "-" not in release:
            yield uri
