"""Simple signatures made with gpg, and web servers for a directory of them."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _registry_host_web import Web, configuration
from support.registries import LOOPBACK


class Signer:
    """An OpenPGP key in a home of its own, while in `with`."""

    def __init__(self, name: str = "vendor@example.com") -> None:
        # gpg's agent refuses a home whose path is longer than a socket's may be.
        self.home = Path(tempfile.mkdtemp(prefix="gpg"))
        self.name = name

    def __enter__(self) -> Signer:
        self._gpg("--passphrase", "", "--quick-gen-key", self.name, "rsa2048", "sign", "never")
        self.public_key = self._gpg("--armor", "--export", self.name)
        return self

    def __exit__(self, *exception: Any) -> None:
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)

    def sign(self, reference: str, digest: str) -> bytes:
        """Return a signature that an image of a digest is what a name with a tag means."""
        claim = {
            "critical": {
                "type": "atomic container signature",
                "image": {"docker-manifest-digest": digest},
                "identity": {"docker-reference": reference},
            },
            "optional": {"creator": "test", "timestamp": 1700000000},
        }
        return self._gpg("--sign", "--local-user", self.name, stdin=json.dumps(claim).encode())

    def _gpg(self, *arguments: str, stdin: bytes = b"") -> bytes:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--pinentry-mode", "loopback"]
        environment = {**os.environ, "LC_ALL": "C"}
        return subprocess.run(
            [*command, *arguments], input=stdin, check=True, capture_output=True, env=environment
        ).stdout


def put_signature(store: Path, repository: str, digest: str, content: bytes, number: int = 1) -> Path:
    """Write a signature as a store has it."""
    path = store / f"{repository}@{digest.replace(':', '=')}" / f"signature-{number}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def serve(directory: Path, host: str = LOOPBACK) -> Iterator[str]:
    """Serve a directory; gives the address."""
    handler = functools.partial(_Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer((host, 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://{host}:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def nginx(root: Path, web: Web) -> Iterator[None]:
    """Run nginx with our configuration, but for where it notes its process; it logs to `nginx.log`."""
    config = root / "nginx.conf"
    config.write_text(re.sub(r"pid [^;]+;", f"pid {root}/nginx.pid;", configuration(web)))
    command = ["nginx", "-c", str(config), "-e", "stderr", "-g", "daemon off;"]
    log = root / "nginx.log"
    with log.open("w") as file:
        server = subprocess.Popen(command, stderr=file)
    try:
        deadline = time.monotonic() + 10
        while not (root / "nginx.pid").exists() or not (root / "nginx.pid").read_text():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield
    finally:
        server.terminate()
        server.wait()
