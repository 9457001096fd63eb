"""Who has made a bundle: a signature of its ``SHA256SUMS``, which covers the table of contents and the index.

Digests protect blobs, but not which digest a tag means.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from _registry_config_values import SigningKey
from _registry_oci_errors import NotFound, NotSigned, RegistryError
from _registry_store_bundle_format import CONTENTS, INDEX, SIGNATURE, SUMS
from _registry_store_bundle_read import BundleFiles
from _registry_trust_evidence import Unverified
from _registry_trust_gpg import GpgHome
from _registry_trust_keys import BadKey, read_keys

SECONDS_TO_SIGN = 60


def sign(sums: bytes, fingerprint: str) -> bytes:
    """Sign with a key of this user's.

    Args:
        sums: what is signed.
        fingerprint: of the key, or what else gpg takes for one.

    Raises:
        RegistryError: gpg does not.
    """
    words = ["gpg", "--batch", "--yes", "--armor", "--detach-sign", "--local-user", fingerprint]
    try:
        done = subprocess.run(words, input=sums, capture_output=True, timeout=SECONDS_TO_SIGN, check=False)
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise RegistryError(f"sign_with: gpg: {failure}") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise RegistryError(f"sign_with: {' '.join(said[-1:]) or 'gpg does not sign'}")
    return done.stdout


def demand_signature(files: BundleFiles, accept: Sequence[str], keys: Mapping[str, SigningKey]) -> str:
    """See that one of some keys has signed a bundle.

    Args:
        files: the bundle.
        accept: names of the keys; without any nothing is asked for.
        keys: ``signatures:keys``.

    Returns:
        Who has; empty where nothing is asked for.

    Raises:
        NotSigned: nobody of them has.
        BadKey: one of them is none.
    """
    if not accept:
        return ""
    unknown = next((name for name in accept if name not in keys), "")
    if unknown:
        raise BadKey(f"docker_registry:bundle:accept: {unknown!r} is not among signatures:keys")
    nobody = f"nobody of accept ({', '.join(accept)}) has signed {SUMS} of {files.path}"
    _demand_cover(files, nobody)
    home = GpgHome(read_keys(keys, accept).values())
    try:
        return " ".join(home.signer_of(files.raw(SIGNATURE), files.sums_body).names)
    except NotFound:
        raise NotSigned(f"{nobody}: there is no {SIGNATURE}") from None
    except Unverified as failure:
        raise NotSigned(f"{nobody}: the signature {failure}") from None
    finally:
        home.close()


def _demand_cover(files: BundleFiles, nobody: str) -> None:
    """See that what ``SHA256SUMS`` says tells of the index, too.

    Where it and the table of contents have no hash of the index, one volume that is right will do: all begin
    with the same.
    """
    if CONTENTS not in files.sums:
        raise NotSigned(f"{nobody}: it does not cover {CONTENTS}")
    if files.is_covered(INDEX) or not files.has_file(INDEX):
        return
    volumes = [name for name in files.sums if name.endswith(".tar")]
    if all(files.check_sums(name) for name in volumes):
        raise NotSigned(f"{nobody}: it does not cover {INDEX}")
