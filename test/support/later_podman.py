"""Debian 13's podman, fetched and run in a root of its own, where nothing reaches a network."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from support.signing import podman_root

# In a mount namespace of its own: $1 podman's root, $2 a directory, $3 the bundle; then names.
PULL = """
set -e
mount -t overlay -o "lowerdir=$1,upperdir=$2/changes,workdir=$2/work" overlay "$2/root"
root=$2/root bundle=$3
shift 3
cd "$root"
ln -s usr/lib usr/lib64 usr/bin .
mkdir -p proc dev tmp run var/tmp var/lib/containers sys/fs/cgroup bundle
mount -t proc proc proc
mount --bind /dev dev
mount --bind "$bundle" bundle
mount -t tmpfs tmpfs var/lib/containers
for name; do
    id=$(chroot . /usr/bin/podman --storage-driver vfs pull --quiet "oci:/bundle:$name")
    chroot . /usr/bin/podman --storage-driver vfs image inspect --format '{{.Digest}}' "$id"
done
"""


def pulled_from(bundle: Path, names: Iterable[str], cache: Path, directory: Path) -> list[str]:
    """Pull images out of a bundle that is a directory; return the digest of each.

    Args:
        bundle: the directory.
        names: of the images.
        cache: where the programs are kept.
        directory: an empty one, not on tmpfs or an overlay.
    """
    root = podman_root(cache)
    for name in ("changes", "work", "root"):
        (directory / name).mkdir(parents=True)
    words = ["unshare", "--mount", "--net", "sh", "-c", PULL, "pull", str(root), str(directory), str(bundle)]
    done = subprocess.run([*words, *names], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
