"""Push blobs from local files with four curl at a time, the largest first."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

WORKERS = 4
CURL = ("curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "--output", "/dev/null")


def push(registry: str, blob: Path) -> None:
    """Push a blob that lies as registries keep it: …/sha256/ab/abcdef…/data."""
    uploads = f"http://{registry}/v2/bench/blobs/uploads/"
    post = [*CURL, "--request", "POST", "--write-out", "%header{location}", uploads]
    location = subprocess.run(post, capture_output=True, text=True, check=True).stdout
    put = [*CURL, "--header", "Content-Type: application/octet-stream", "--upload-file", str(blob)]
    subprocess.run([*put, f"{location}&digest=sha256:{blob.parent.name}"], check=True)


def main() -> None:
    """Push the files after the first argument, the registry's host:port."""
    registry, *files = sys.argv[1:]
    largest_first = sorted(map(Path, files), key=lambda path: -path.stat().st_size)
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(partial(push, registry), largest_first))


if __name__ == "__main__":
    main()
