"""Relay blobs from one registry to another with four `curl | curl` at a time, the largest first.

No manifests, no digests, no question what is there already: nobody who brings a registry in step can be
faster than this by much.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

WORKERS = 4
PIPE_BYTES = 1 << 20
CURL = ("curl", "--silent", "--show-error", "--fail", "--noproxy", "*")
# Without these two curl sends chunks of an unknown length, and asks before it sends.
WITH_LENGTH = ("--header", "Transfer-Encoding:", "--header", "Expect:")


class Blob(NamedTuple):
    """A blob, and a repository that has it."""

    repository: str
    digest: str
    size: int


def relay(upstream: str, local: str, blob: Blob) -> None:
    """Carry one blob over."""
    url = f"http://{upstream}/v2/{blob.repository}/blobs/{blob.digest}"
    headers = [
        "--header",
        f"Content-Length: {blob.size}",
        "--header",
        "Content-Type: application/octet-stream",
    ]
    target = f"{begin_upload(local)}&digest={blob.digest}"
    put = [*CURL, *WITH_LENGTH, *headers, "--output", "/dev/null", "--upload-file", "-", target]
    with subprocess.Popen([*CURL, url], stdout=subprocess.PIPE) as read:
        assert read.stdout is not None
        fcntl.fcntl(read.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        subprocess.run(put, stdin=read.stdout, check=True)
    if read.returncode:
        raise subprocess.CalledProcessError(read.returncode, url)


def begin_upload(registry: str) -> str:
    """Return the URL that takes a new blob."""
    connection = HTTPConnection(registry)
    connection.request("POST", "/v2/bench/blobs/uploads/", headers={"Content-Length": "0"})
    answer = connection.getresponse()
    assert answer.status == 202, answer.read()
    connection.close()
    return answer.headers["Location"]


def main() -> None:
    """Relay what the file of the third argument names, from the first one's registry to the second one's."""
    upstream, local, file = sys.argv[1:]
    blobs = [Blob(*words) for words in json.loads(Path(file).read_text(encoding="utf-8"))]
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(partial(relay, upstream, local), sorted(blobs, key=lambda blob: -blob.size)))


if __name__ == "__main__":
    main()
