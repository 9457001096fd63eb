"""Registries that want to know who comes, and the files in which logins stand."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import bcrypt
import requests

from _registry_config_read import read_settings
from _registry_config_values import Settings
from _registry_http_environment import Environment
from support.pki import Pair
from support.registries import SECONDS_TO_START, Distribution, RegistryError, _can_bind, merge

FAST_BCRYPT = 4


def htpasswd_config(directory: Path, users: Mapping[str, str]) -> dict[str, Any]:
    """Return what makes a docker-distribution ask for one of these users."""
    path = directory / "htpasswd"
    lines = [
        f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(FAST_BCRYPT)).decode()}\n"
        for user, password in users.items()
    ]
    path.write_text("".join(lines))
    return {"auth": {"htpasswd": {"realm": "test", "path": str(path)}}}


def tls_config(pair: Pair, *, clients: Path | None = None) -> dict[str, Any]:
    """Return what makes it speak TLS, and demand certificates of the clients' CA."""
    tls: dict[str, Any] = {"certificate": str(pair.certificate), "key": str(pair.key)}
    if clients:
        tls["clientcas"] = [str(clients)]
    return {"http": {"tls": tls}}


class Guarded(Distribution):
    """A docker-distribution that does not speak to a client without a certificate."""

    def _wait_until_it_answers(self, log_offset: int) -> None:
        deadline = time.monotonic() + SECONDS_TO_START
        while _can_bind(self.host, self.port):
            self._raise_if_ended(log_offset)
            if time.monotonic() > deadline:
                raise RegistryError(f"{self.url} does not listen")
            time.sleep(0.01)


def session(bundle: Path | None = None, login: tuple[str, str] | None = None) -> requests.Session:
    """Return a session with which a test may push."""
    new = requests.Session()
    new.trust_env = False
    new.verify = str(bundle) if bundle else False
    if login:
        new.auth = tuple(part.encode() for part in login)  # type: ignore[assignment]
    return new


def endpoint(server: Any, **others: Any) -> dict[str, Any]:
    """Return the pillar of one side: a server that has `.host`, `.port` and perhaps `.scheme`."""
    tls = getattr(server, "scheme", "http") == "https"
    return {"host": server.host, "port": server.port, "tls": tls, **others}


def settings_between(
    upstream: Mapping[str, Any],
    local: Mapping[str, Any],
    images: Sequence[str] = ("team/image",),
    *,
    tags: Sequence[str] = ("1",),
    environment: Environment | None = None,
    **others: Any,
) -> Settings:
    """Return settings to mirror some images, in an environment that says nothing."""
    pillar = {
        "upstream": dict(upstream),
        "local": dict(local),
        "images": [{"name": name, "tags": list(tags)} for name in images],
    }
    return read_settings(
        merge(pillar, others), host="unused.example.com", environment=environment or Environment()
    )


def write_auth_file(path: Path, logins: Mapping[str, tuple[str, str]], **others: Any) -> Path:
    """Write a docker or podman auth file: key → user and password."""
    auths = {
        key: {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
        for key, (user, password) in logins.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(merge({"auths": auths}, others)))
    return path


def write_helper(directory: Path, name: str, script: str) -> Path:
    """Write a credential helper, a shell script; `directory` has to be on PATH."""
    path = directory / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def skopeo_login(server: Distribution, auth_file: Path, login: tuple[str, str], certs: Path) -> None:
    """Have skopeo log in and write its own auth file."""
    user, password = login
    command = ["skopeo", "login", "--authfile", str(auth_file), "--cert-dir", str(certs), "-u", user]
    subprocess.run(
        [*command, "--password-stdin", server.address],
        input=password.encode(),
        check=True,
        capture_output=True,
        timeout=60,
    )
